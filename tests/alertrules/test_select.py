"""Matchers, as they are written and as they match."""

import re

import pytest

from alertrules.select import Matcher, Operator, matches, parse_matchers

NAMES = ("tenant", "agent", "operation")
VALUES = ("acme", "support", "tool")


@pytest.mark.parametrize(
    ("written", "selected"),
    [
        ({}, True),
        ({"operation": "tool"}, True),
        ({"operation": "llm"}, False),
        ({"tenant": '!~"test-.*"'}, True),
        ({"tenant": "=~ac.e"}, True),
        ({"tenant": '=~"ac"'}, False),  # Anchored at both ends.
        ({"tenant": "!=acme"}, False),
        ({"model": ""}, True),  # A missing label is empty.
        ({"model": '=~".+"'}, False),
        ('operation="tool", tenant!~"test-.*"', True),
        ("{operation='tool',agent=~\"sup.*|ops\",}", True),
        ('operation="tool",tenant!="acme"', False),
        ("", True),
    ],
)
def test_what_is_selected(written: object, selected: bool) -> None:
    """A mapping and a matcher string mean the same; every matcher has to accept."""
    assert matches(parse_matchers(written), NAMES, VALUES) is selected


def test_quotes_and_backslashes() -> None:
    """A quote is escaped by a backslash, and a regular expression keeps its own."""
    assert parse_matchers(r'agent="say \"hi\"", tenant=~"\d+"') == (
        Matcher("agent", Operator.EQUAL, 'say "hi"'),
        Matcher("tenant", Operator.REGEX, r"\d+"),
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"operaton": "tool"}, "there are tenant, agent, operation"),
        ({"tenant": 5}, "put the value in quotes"),
        ({"tenant": "=~("}, "is not a regular expression"),
        ({"tenant": "=~" + "a" * 1001}, "at most 1000"),
        ({"tenant": "=~(a+)+"}, "can take for ever"),
        ({"tenant": "=~(?:x*y)*z"}, "can take for ever"),
        ("operation=tool", 'write operation="tool"'),
        (["tool"], "is not a selection"),
    ],
)
def test_what_is_refused(written: object, said: str) -> None:
    """Each problem says what is expected."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_matchers(written)
