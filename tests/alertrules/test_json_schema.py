"""The schema for editors: it takes what is read, and refuses what is not where a schema can say so."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from alertrules.json_schema import schema
from alertrules.parse import PACKS, RuleErrors, grammar_of, parse_rules
from alertrules.yaml_file import plain, tree_of
from service.cli import main
from service.notifiers.notifier import words
from tests.alertrules.test_any_text import KEYS, VALUES, shown
from tests.alertrules.test_fields import BAD, GOOD, OVERRIDES
from tests.alertrules.test_possible import GOOD as MORE
from tests.alertrules.test_possible import NEVER, ODD

SCHEMA = schema(words())
VALIDATOR = Draft202012Validator(SCHEMA)
README = (PACKS.parent / "README.md").read_text()
RULE = "groups: [{{name: g, rules: [{{alert: A, {0}}}]}}]"


def complaints(text: str) -> list[str]:
    """What the schema says of a file."""
    tree = plain(tree_of(text, "a.yaml", grammar_of(words())))
    return [error.message for error in VALIDATOR.iter_errors(tree)]


def test_it_is_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the draft that it names; the command prints it."""
    Draft202012Validator.check_schema(SCHEMA)
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
    assert "x-written" not in json.dumps(SCHEMA)


def test_all_that_we_ship_and_show_fits() -> None:
    """The packs, and every rule file in the document."""
    texts = [path.read_text() for path in PACKS.glob("*.yaml") if not path.name.endswith(".test.yaml")]
    texts += re.findall(r"```ya?ml\n(.*?)```", README, re.DOTALL)
    assert len(texts) >= 3
    for text in texts:
        assert complaints(text) == []


@pytest.mark.parametrize("fields", [one for one, _ in GOOD] + MORE + [one for one, _ in NEVER + ODD])
def test_what_is_read_fits(fields: str) -> None:
    """Whatever `check` can read, an editor must not underline."""
    parse_rules(RULE.format(fields), "a.yaml")
    assert complaints(RULE.format(fields)) == []


KNOWS_LESS = (
    "above: 5%, below: 1%, x", "from 1m to", "not a share", "is the name that the rule has", "how much later than",
    "is not a level of this signal", "the rule has none", "says nothing else", "is not in by", "has no budget",
    "grace is", "has no effect", "every is whole minutes",
)  # fmt: skip
"""What a schema cannot say, or not without repeating the code: units of a signal, one field by another's value."""


@pytest.mark.parametrize(
    "fields",
    [fields for fields, said in BAD if not any(part in said for part in KNOWS_LESS)]
    + [
        "detector: errrors, budget: 1/week", "detector: errors", "detector: errors, budget: 1 a week",
        "detector: errors, budget: 1/week, for: 5 m", "detector: errors, budget: 1/week, severty: page",
        "detector: errors, budget: 1/week, severity: loud", "detector: errors, budget: 1/week, effect: twice",
        "detector: errors, budget: 1/week, by: [agnet]", "detector: errors, budget: 1/week, select: {operaton: tool}",
        "detector: errors, budget: 1/week, labels: {agent: a}", "detector: errors, budget: 1/week, series_max: 0",
        "detector: errors, budget: 1/week, annotations: {runbook: 'ftp://x'}",
        "detector: static, signal: nothing, above: 1",
        "detector: errors, budget: 1/week, window: 5m", "detector: level, budget: 1/week",
        "detector: slo, signal: error_ratio, objective: 2", "detector: static, signal: error_ratio, above: often",
    ],
)  # fmt: skip
def test_what_is_refused_is_underlined(fields: str) -> None:
    """A mistake that `check` refuses, of the kinds that a schema can tell."""
    with pytest.raises(RuleErrors):
        parse_rules(RULE.format(fields), "a.yaml")
    assert complaints(RULE.format(fields))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2))
def test_any_values_that_are_read_fit(fields: dict[str, object]) -> None:
    """No value that is read is underlined."""
    rule = {"alert": "A", "detector": "errors", "budget": "1/week"} | fields
    text = f"groups: [{{name: g, rules: [{shown(rule)}]}}]"
    try:
        parse_rules(text, "a.yaml")
    except RuleErrors:
        return
    assert complaints(text) == []


def test_receivers_are_known() -> None:
    """Each notifier's words, alone or in a list; not a key or URL."""
    assert complaints("receivers: [{name: a, slack: {channel: '#x'}, pagerduty: [{}, {key: x}], terminal: }]") == []
    assert complaints("receivers: [{name: a, slack: {webhook_url: 'https://x'}}]")
    assert complaints("receivers: [{name: a, telegram: {}}]")
    assert len(OVERRIDES) > 5
