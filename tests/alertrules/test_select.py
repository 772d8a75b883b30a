"""Matchers, as they are written and as they match."""

import contextlib
import re
import time

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
        ({"tenant": "=~(?=a)b"}, "write two matchers"),
        ({"tenant": "=~(?<!a)b"}, "write two matchers"),
        ({"tenant": "=~(?P<a>b)(?P=a)"}, "write two matchers"),
        ({"tenant": "=~(?>a)b"}, "write two matchers"),
        ({"tenant": "=~(a)\\1"}, "no back-references"),
        ({"tenant": "=~a\\Z"}, "the whole value is matched"),
        ({"tenant": "=~a++"}, "write one of"),
        ({"tenant": "=~a{1001}"}, "repeat at most 1000 times"),
        ({"tenant": "=~((a{100}){100}){100}"}, "repeat at most 1000 times"),
        ({"tenant": "=~\ud800"}, "is not text"),
        ({"tenant": "=~[z-a]"}, "is not a regular expression: invalid character class range"),
        ("operation=tool", 'write operation="tool"'),
        (["tool"], "is not a selection"),
    ],
)
def test_what_is_refused(written: object, said: str) -> None:
    """Each problem says what is expected."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_matchers(written)


@pytest.mark.parametrize(
    "pattern", ["(.|-)+prod", "(a|a)*b", "(a+)+b", "(?:x*y)*z", "(.*)*(.*)*c", "(-|a|-?)*!", ".*.*.*.*.*.*!"]
)
def test_no_expression_takes_for_ever(pattern: str) -> None:
    """Whatever repeats in it, and however the value is made to try them all."""
    begun_s = time.perf_counter()
    (matcher,) = parse_matchers({"tenant": "=~" + pattern})
    for value in ("-" * 60, "a" * 10_000, "x" * 10_000, "é-" * 5_000, "\ud800" * 100):
        assert not matcher.accepts(value)
    assert time.perf_counter() - begun_s < 2


def test_no_selection_takes_long_to_read() -> None:
    """White space, quotes and backslashes by the hundred thousand."""
    begun_s = time.perf_counter()
    for written in (
        "=" + " " * 100_000 + "a\nb",
        "=~" + "\n" * 100_000 + "(",
        '="' + "\\" * 100_001,
        " " * 100_000 + "x\n",
    ):
        with contextlib.suppress(ValueError):
            parse_matchers({"tenant": written})
        with contextlib.suppress(ValueError):
            parse_matchers("tenant" + written)
    assert time.perf_counter() - begun_s < 2


def test_what_regular_expressions_mean() -> None:
    """As in Prometheus: the whole value, a dot is any character, letters beyond ASCII are letters."""
    for pattern, value, accepted in [
        ("a.b", "a\nb", True), ("(?i)ACME", "acme", True), ("é+", "éé", True), ("a", "ab", False), ("a|b", "b", True),
        (r"\d+", "12", True), ("[[:alpha:]]+", "abc", True), ("", "", True), (r"\pL+", "é", True),
    ]:  # fmt: skip
        (matcher,) = parse_matchers({"tenant": f"=~{pattern}"})
        assert matcher.accepts(value) is accepted, (pattern, value)
