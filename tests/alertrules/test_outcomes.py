"""Outcomes in the words of those who send them."""

import re
from pathlib import Path

import pytest

from alertrules.outcome_classes import SHIPPED
from alertrules.parse import RuleErrors, combine, parse_rules

OWN = """
outcomes:
  - class: contained
    good: true
    words: [contained, 'wrapped up*']
  - {class: breached}
  - class: escalated
    words: ['given to bob', transferred to sales]
"""


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("resolved", "resolved"), ("Resolved at 7 days", "resolved"), ("resolved_at_30_days", "resolved"),
        ("customer satisfied", "resolved"), ("High CSAT", "resolved"), ("escalated at hour 2", "escalated"),
        ("ESCALATED-AT-HOUR-12", "escalated"), ("Handed-Off", "escalated"), ("abandoned at step 3", "abandoned"),
        ("no_response", "abandoned"), ("low csat", "failed"), ("customer  dissatisfied", "failed"),
        ("not resolved", "failed"), ("reopened after 2 days", "failed"), ("resolvedish", "unmapped"),
        ("wrapped up", "unmapped"), ("", "unmapped"), ("42", "unmapped"), ("x" * 10_000, "unmapped"),
    ],
)  # fmt: skip
def test_the_shipped_words(word: str, name: str) -> None:
    """Case, gaps and what stands for a star do not matter; what no table knows is unmapped."""
    assert SHIPPED.names[SHIPPED.place(word)] == name


def test_classes_of_ones_own() -> None:
    """Those that are written come first, the good ones before the others; a shipped class keeps its words besides."""
    found = combine([parse_rules(OWN, "own.yaml")]).outcomes
    assert found.names == ("contained", "resolved", "breached", "escalated", "abandoned", "failed", "unmapped")
    assert found.goods == 2
    words = (
        "contained",
        "Wrapped up by Tuesday",
        "breached",
        "given-to Bob",
        "handed off",
        "transferred to sales",
        "ok",
    )
    names = [found.names[found.place(word)] for word in words]
    assert names == ["contained", "contained", "breached", *["escalated"] * 3, "resolved"]
    assert combine([parse_rules("groups: []", "none.yaml")]).outcomes is SHIPPED


def test_a_shipped_class_may_turn_good_or_bad() -> None:
    """An agent that is to hand over ends well when it does."""
    text = "outcomes: [{class: escalated, good: true}, {class: resolved, good: false}]"
    found = combine([parse_rules(text, "own.yaml")]).outcomes
    assert found.names[: found.goods] == ("escalated",)
    assert found.names[found.place("handoff")] == "escalated" and found.place("resolved") >= found.goods


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("outcomes: [{class: Bad Name}]", 1, "is not the name of a class"),
        ("outcomes: [{class: unmapped}]", 1, "is not the name of a class"),
        ("outcomes: [{class: a, words: ['*']}]", 1, "is not a word"),
        ("outcomes: [{class: a, words: [7]}]", 1, "is not a word"),
        ("outcomes: [{class: a, words: ['a*b*c*d*e']}]", 1, "is not a word"),
        ("outcomes: [{class: a, words: done}]", 1, "is not a list"),
        ("outcomes: [{class: a, god: true}]", 1, "no such field; there are class, good, words"),
        ("outcomes: [{good: true}]", 1, "is missing"),
        ("outcomes:\n  - {class: a}\n  - {class: a}", 3, 'the class "a" stands already'),
        ("outcomes:\n  - {class: a, words: [x]}\n  - {class: b, words: ['X']}", 3, 'the word "x" stands already'),
        ("outcomes:\n" + "".join(f"  - {{class: c{i}}}\n" for i in range(9)), 10, "13 classes; write at most 12"),
    ],
)
def test_problems_are_told_where_they_stand(text: str, line: int, said: str) -> None:
    with pytest.raises(RuleErrors) as found:
        combine([parse_rules(text, "own.yaml")])
    assert any(problem.line == line and said in problem.message for problem in found.value.problems), found.value


def test_the_documents_example_is_read() -> None:
    """And its table tells the words that are shipped."""
    readme = (Path(__file__).parents[2] / "alertrules" / "README.md").read_text()
    (example,) = re.findall(r"```yml\n(outcomes:.*?)```", readme, re.DOTALL)
    found = combine([parse_rules(example, "README.md")]).outcomes
    assert found.names == ("contained", "resolved", "escalated", "breached", "abandoned", "failed", "unmapped")
    rows = re.findall(r"^\| `(resolved|escalated|abandoned|failed)`.*?\| (.*) \|$", readme, re.MULTILINE)
    assert len(rows) == 4
    for name, told in rows:
        for word in re.findall(r"`([a-z0-9 ]+)`", told):
            assert word in ("in", "within", "after") or SHIPPED.names[SHIPPED.place(word)] == name, word
