"""What a rule can never do is told from its words: each kind, and that rules which can page are left alone."""

import re
from pathlib import Path

import pytest

from alertrules.checked import checked
from alertrules.parse import PACKS, combine, load, parse_rules
from alertrules.possible import COUNTED, LABELS_OF, doubts
from detectors.core.columns import CELL_LABELS
from detectors.core.descriptor import modules
from detectors.core.signals import SIGNALS
from service.ingest.vocabulary import OPERATIONS, SESSION_UNIT, SPEND
from service.notifiers.notifier import words


def told(rule: str) -> list[str]:
    """What is odd about a rule; `!` begins what can never page."""
    text = f"groups: [{{name: g, rules: [{{alert: A, {rule}}}]}}]"
    (one,) = combine([parse_rules(text, "a.yaml")]).rules
    return [f"{'!' * doubt.never}{doubt.field}: {doubt.message}" for doubt in doubts(one)]


ERRORS, STATIC = "detector: errors, budget: 1/week", "detector: static, above: 5%, signal: "
NEVER = [
    (f"{ERRORS}, select: {{operation: tools}}", '!select: operation="tools": nothing matches, as there is no such'),
    (f"{ERRORS}, select: {{operation: '=~\"LLM|Tool\"'}}", "!select: operation=~"),
    (f'{ERRORS}, select: \'operation="llm",operation="tool"\'', "!select: operation="),
    (f'{ERRORS}, select: \'tenant="a",tenant!="a"\'', '!select: tenant="a" and tenant!="a" contradict each other'),
    (f'{ERRORS}, select: \'agent=~"a|b",agent=~"c|d"\'', "!select: agent="),
    (f'{ERRORS}, select: \'agent="a",agent!~"a.*"\'', "!select: agent="),
    (f"{ERRORS}, select: 'agent!~\".*\"'", "!select: agent!~"),
    (f"{ERRORS}, select: {{operation: llm, tool: x}}", '!select: tool="x": nothing matches, as tool is empty for the'),
    (f"{ERRORS}, select: {{operation: session, model: '=~\".+\"'}}", "!select: model=~"),
    (f"{ERRORS}, select: {{operation: tool, provider: '!=\"\"'}}", "!select: provider!="),
    (f"{ERRORS}, select: {{operation: spend}}", "!detector: errors judges"),
    (f"{ERRORS}, select: {{metric: queue.depth}}", "!detector: errors judges calls or sessions, not the points of a"),
    (
        "detector: cost, budget: 1/week, select: {operation: llm}",
        "!detector: cost judges session, and the rule",
    ),
    ("detector: outcomes, budget: 1/week, select: {operation: tool}", "!detector: outcomes judges session or evaluati"),
    (
        f"{STATIC}truncated_share, select: {{operation: tool}}",
        "!signal: truncated_share is a signal of llm or emb",
    ),
    (f"{STATIC}blocked_share, select: {{operation: llm}}", "!signal: blocked_share is a signal of guardrail, and the"),
    (f"{STATIC}bad_outcome_share, select: {{agent: a, operation: llm}}", "!signal: bad_outcome_share is a signal of"),
    (f"{STATIC}error_ratio, select: {{metric: queue.depth}}", "!signal: the points of a metric never tell error_ratio"),
    ("detector: level, signal: cache_read_share, budget: 1/week, select: {operation: session}", "!signal: cache_read"),
]
ODD = [
    (f"{ERRORS}, select: {{operation: session}}, by: [agent, tool]", "by: tool is empty in all that is selected"),
    (f"{ERRORS}, by: [agent, metric]", "by: metric is empty in all that is selected"),
    ("detector: level, signal: error_ratio, budget: 1/year", "budget: level learns its bar from four weeks"),
    (
        f"{ERRORS}, select: {{tenant: a}}, overrides: [{{match: {{tenant: b}}, effect: 2x}}]",
        'overrides.0.match: tenant="a" and tenant="b": matches no series',
    ),
    (
        f"{ERRORS}, overrides: [{{match: {{agent: a}}, effect: 2x}}, {{match: {{agent: a, tenant: t}}, effect: 3x}}]",
        "overrides.1: never counts, as overrides.0 matches all that it matches; write the narrower one first",
    ),
]


@pytest.mark.parametrize(("rule", "said"), NEVER + ODD)
def test_what_is_told(rule: str, said: str) -> None:
    """One sentence, with what was read and what to write instead."""
    (found,) = told(rule)
    assert found.startswith(said)


GOOD = [
    ERRORS,
    f'{ERRORS}, select: \'operation=~"llm|tool",agent=~"a.*",agent!~"a-test.*"\'',
    f'{ERRORS}, select: \'operation!="session",tool="x"\'',
    f"{ERRORS}, select: {{tool: ''}}",
    f"{ERRORS}, select: {{operation: '=~\"l.m\"', model: '=~\"gpt-4\\.1.*\"'}}, by: [agent, model]",
    "detector: cost, budget: 1/week",
    "detector: burn, above: $100, select: {operation: spend}",
    "detector: latency, budget: 1/week, select: {metric: queue.wait}",
    "detector: absence, budget: 1/week, select: {metric: queue.wait}",
    "detector: level, signal: value, budget: 1/week, select: {metric: '=~\"queue.*\"'}, by: [agent, metric]",
    f"{STATIC}unpriced_share, select: {{operation: session}}",
]


@pytest.mark.parametrize("rule", GOOD)
def test_what_can_page_is_left_alone(rule: str) -> None:
    """Nothing is said of rules that can match and can page."""
    assert told(rule) == []


def test_the_operations_are_those_of_ingest() -> None:
    """Words and labels are those that cells can have, and every signal's and detector's operations are among them."""
    assert set(LABELS_OF) == OPERATIONS | {SESSION_UNIT, SPEND}
    assert set.union(*map(set, LABELS_OF.values())) == set(CELL_LABELS) - {"metric"}
    named = [*(one.operations for one in SIGNALS.values()), *(one.operations for one in modules().values())]
    assert all(set(operations) <= set(LABELS_OF) for operations in named)
    assert SPEND not in COUNTED


def test_the_shipped_rules_are_not_odd() -> None:
    """Neither they nor the document's example have a doubt."""
    assert [doubt for rule in load([PACKS]).rules for doubt in doubts(rule)] == []
    text = (PACKS.parent / "README.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    rules = combine([parse_rules(example, "README.md", words())]).rules
    assert [doubt for rule in rules for doubt in doubts(rule)] == []


RULE = "groups: [{name: g, rules: [{alert: %s, detector: cost, budget: 1/week}]}]\n"


def test_files_and_directories(tmp_path: Path) -> None:
    """A directory without rule files, a file that says nothing, no rule at all, and what stands twice."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.yaml").write_text("# nothing\n")
    found = checked([tmp_path, tmp_path / "empty"])
    assert [one.message for one in found.problems] == [
        "has no rule files; name them *.yaml", "there is no rule, so nothing would ever page; write one",
    ]  # fmt: skip
    assert [(one.file, one.message) for one in found.warnings] == [
        (str(tmp_path / "a.yaml"), "says nothing; write groups:, or delete it")
    ]
    (tmp_path / "a.yaml").write_text("\n" + RULE % "A")
    (tmp_path / "b.yaml").write_text(RULE % "B")
    (same,) = checked([tmp_path]).warnings
    assert str(same).endswith(f"asks the same as A at {tmp_path}/a.yaml:2: both page for each incident; keep one")
    assert checked([tmp_path, tmp_path / "a.yaml"]).problems == ()  # Named twice, read once.
    (tmp_path / "b.yaml").write_text(RULE % "A")
    (twice,) = checked([tmp_path]).problems
    assert str(twice) == (
        f'{tmp_path}/b.yaml:1: rule "A": alert: "A" stands already at {tmp_path}/a.yaml:2; every rule needs a name of '
        "its own"
    )


def test_what_stands_twice_in_one_file_has_both_lines(tmp_path: Path) -> None:
    """Rules, receivers and classes of one name, each told at the later place with the line of the earlier."""
    path = tmp_path / "a.yaml"
    rule = "      - {alert: A, detector: cost, budget: 1/week}\n"
    text = f"groups:\n  - name: g\n    rules:\n{rule}{rule}receivers:\n  - name: r\n  - name: r\n"
    path.write_text(f"{text}outcomes:\n  - class: x\n  - class: x\n")
    said = [str(problem) for problem in checked([path]).problems]
    assert [re.findall(r"a\.yaml:(\d+)", one) for one in said] == [["5", "4"], ["8", "7"], ["11", "10"]]
