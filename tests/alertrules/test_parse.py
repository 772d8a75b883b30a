"""Rule files: what is read, and what is said of what cannot be."""

from pathlib import Path

import pytest

from alertrules.parse import PACKS, RuleErrors, RuleSet, load, parse_rules
from alertrules.quantities import Effect
from alertrules.rules import Rule, Severity, Written
from detectors.core.columns import SECOND_NS


class Pager(Written):
    """A notifier's words that are none."""


class Chat(Written):
    """A notifier's words."""

    channel: str = ""


WORDS: dict[str, type[Written]] = {"chat": Chat, "pager": Pager}
HEAD = "groups:\n  - name: agents\n    rules:\n      - alert: ToolErrorsUp\n"
RULE = HEAD + "        detector: errors\n        budget: 1/week\n"


def only(text: str) -> Rule:
    """The one rule of a file."""
    (rule,) = parse_rules(text, "rules.yaml", WORDS).rules
    return rule


def problems(text: str) -> list[str]:
    """What is said of a file that cannot be read."""
    with pytest.raises(RuleErrors) as caught:
        parse_rules(text, "rules.yaml", WORDS)
    return [str(problem) for problem in caught.value.problems]


def test_the_shipped_rules() -> None:
    """One false page a week each, paging whoever `oncall` is; a ticket of models without a price; and silence."""
    rules = load([PACKS])
    assert [rule.name for rule in rules.rules] == [
        "AgentErrorsUp", "AgentLatencyUp", "AgentCostUp", "AgentSpendUp", "AgentOutcomesWorse",
        "LateOutcomesWorse", "AgentUnpriced",
        "TelemetryMissing",
        "AgentRunaway",
        "AgentVersionWorse", "AgentModelWorse", "PromptVersionWorse", "ResponseModelWorse",
    ]  # fmt: skip
    assert {rule.budget_per_week for rule in rules.rules[:5]} == {1.0}
    assert {rule.severity for rule in rules.rules[:5]} == {Severity.PAGE}
    assert rules.rules[5].severity is Severity.WARNING
    assert rules.rules[6].severity is Severity.TICKET
    assert (rules.rules[7].budget_per_week, rules.rules[7].severity) == (7 / 30, Severity.PAGE)
    assert (rules.rules[8].budget_per_week, rules.rules[8].by) == (1.0, ("tenant", "agent", "trace"))
    compared = rules.rules[9:]
    assert {one.budget_per_week for one in compared} == {1.0}
    assert [one.severity for one in compared] == [Severity.PAGE, Severity.TICKET, Severity.PAGE, Severity.PAGE]
    assert [one.compared for one in compared] == ["agent_version", "model", "prompt", "response_model"]
    assert rules.receiver("oncall").name == "oncall"
    assert (rules.route.group_by, rules.route.group_window_ns) == (("agent", "severity"), 1800 * SECOND_NS)


def test_the_file_of_the_design() -> None:
    """Everything a rule can say is read, with Prometheus' words."""
    text = (
        RULE
        + """\
        select: {operation: tool, tenant: '!~"test-.*"'}
        by: [tenant, agent]
        effect: 2x and +5pp
        for: 1m30s
        keep_firing_for: 10m
        severity: warning
        labels: {team: agents}
        annotations:
          summary: '{{ labels.agent }} of {{ labels.team }}: {{ before | percent }} to {{ now | percent }}'
          runbook: https://runbooks.example.com/tool-errors
        overrides:
          - match: {tenant: acme}
            effect: 1.5x
receivers:
  - name: oncall
    pager:
    chat: [{channel: '#agents-oncall'}]
route:
  receiver: oncall
  group_by: [alert, agent, team]
  group_wait: 10s
"""
    )
    rule = only(text)
    assert (rule.for_ns, rule.keep_firing_for_ns) == (90 * 10**9, 600 * 10**9)
    assert rule.labels == (("team", "agents"),)
    assert rule.effect_for(("acme", "support")) == Effect(1.5, None)
    assert rule.effect_for(("other", "support")) == Effect(2.0, 0.05)
    assert (rule.terms.ratio, rule.terms.points) == (2.0, 0.05)
    (receiver,) = parse_rules(text, "rules.yaml", WORDS).receivers
    assert receiver.named() == {"chat": (Chat(channel="#agents-oncall"),), "pager": (Pager(),)}


def test_defaults() -> None:
    """What is not said has the meaning that design.md gives it."""
    rule = only(RULE)
    assert (rule.effect, rule.for_ns, rule.keep_firing_for_ns) == (Effect(1.5, 0.005), 0, 1800 * 10**9)
    assert (rule.severity, rule.series_max, rule.detector) == (Severity.PAGE, 10_000, "errors")


@pytest.mark.parametrize(
    ("signal", "above", "expected"),
    [
        ("error_ratio", "5%", 0.05),
        ("bad_outcome_share", "0.5", 0.5),
        ("latency_p95", "800ms", 0.8),
        ("latency_p50", "1.5s", 1.5),
        ("latency_p95", "1m30s", 90.0),
        ("spend_per_hour", "$2", 2.0),
        ("cost_per_session_p95", "0.25", 0.25),
    ],
)
def test_static_rules(signal: str, above: str, expected: float) -> None:
    """A limit in the signal's own unit, over a window, with no budget."""
    rule = only(HEAD + f"        detector: static\n        signal: {signal}\n        above: {above}\n")
    assert (rule.signal, rule.above, rule.budget_per_week) == (signal, expected, None)
    assert (rule.window_ns, rule.at_least, rule.effect) == (300 * 10**9, 1.0, None)
    assert rule.terms.above == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("severty: page", "severty: no such field; there are alert, detector, select, by"),
        ("for: 5 m", 'for: "5 m" is not a duration; write 5m, 90s or 1h30m'),
        ("for: 5", "for: 5 is not a duration"),
        ("for: -5m", 'for: "-5m" is not a duration'),
        ("keep_firing_for: 2000d", "is longer than a year"),
        ("select: {operaton: tool}", 'select: "operaton" is not a label; there are tenant, agent'),
        ("by: [tenant, agnt]", "by: 'agnt' is not a label; there are tenant, agent"),
        ("by: [tenant, tenant]", "names a label twice"),
        ("by: tenant", "by: 'tenant' is not taken; expected list"),
        ("effect: 0.5x", "a ratio is more than 1"),
        ("effect: much", 'effect: "much" is not an effect; write 1.5x'),
        ("severity: loud", "severity: 'loud' is not one of critical, page, error"),
        ("series_max: many", "series_max: 'many' is not taken; expected integer"),
        ("labels: {tenant: acme}", '"tenant" is a label of the series'),
        ("labels: {team: 5}", "put it in quotes"),
        ("annotations: {runbook: 'javascript:alert(1)'}", "is not a link"),
        ("annotations: {summary: '{{ labels.modl }}'}", "the rule has no such label; it has tenant, agent"),
        ("annotations: {summary: '{{ now | pct }}'}", "with | percent, seconds, usd, ratio"),
        ("annotations: {summary: '{{ import os }}'}", "is not a placeholder"),
        ("annotations: {summary: '{{ now'}", "is not closed"),
        ("window: 5m", "window: it has no window"),
        ("above: 5%", "above: detector: errors has none"),
        ("overrides: [{match: {model: x}, effect: 2x}]", '"model" is not in by'),
        ("overrides: [{match: {tenant: x}, efect: 2x}]", "overrides.0.efect: no such field; there are match, effect"),
    ],
)
def test_a_problem_says_where_what_and_what_else(line: str, said: str) -> None:
    """Each is one line: file, line, rule, field, what was read, what is expected."""
    found = problems(RULE + f"        {line}\n")
    assert any(problem.startswith('rules.yaml:7: rule "ToolErrorsUp": ') and said in problem for problem in found), (
        found
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("        detector: errors\n", "rules.yaml:4: rule \"ToolErrorsUp\": budget: is missing; write how many false"),
        ("        detector: errors\n        budget: 0/week\n", "out of range"),
        ("        detector: errors\n        budget: 1 a week\n", 'budget: "1 a week" is not a budget'),
        ("        detector: errrors\n", "absence, burn, cost, endings, errors, latency, level, outcomes, "),
        ("        detector: level\n", "signal: is missing"),
        ("        detector: level\n        budget: 1/week\n        series_max: 5000\n", "write at most 2000"),
        ("        detector: level\n        effect: 2x\n", "effect: detector: level has no effect"),
        ("        detector: burn\n        budget: 1/week\n", "has no budget"),
        ("        detector: burn\n        above: 5%\n", "write $2 or 0.5"),
        ("        detector: absence\n        signal: error_ratio\n", "signal: detector: absence has none"),
        ("        detector: river.ADWINN\n", "river.ADWIN, river.KSWIN"),
        ("        budget: 1/week\n", "detector: is missing"),
        ("        detector: latency\n        budget: 1/week\n        effect: 5pp\n", "is not an effect of latency"),
        ("        detector: outcomes\n        budget: 1/week\n        effect: 2x\n", "write 10pp"),
        ("        detector: static\n        above: 5%\n", "signal: is missing"),
        ("        detector: static\n        signal: error_ratio\n", "above: is missing"),
        ("        detector: static\n        signal: error_ratio\n        above: 5s\n", "write 5% or 0.05"),
        ("        detector: static\n        signal: error_ratio\n        above: 100%\n", "is never passed"),
        ("        detector: static\n        signal: error_ratio\n        above: .nan\n", "write 5% or 0.05"),
        ("        detector: static\n        budget: 1/week\n", "has no budget"),
    ],
)  # fmt: skip
def test_a_problem_of_several_fields(lines: str, said: str) -> None:
    """What a detector needs and what it cannot take."""
    assert any(said in problem for problem in problems(HEAD + lines))


def test_all_problems_at_once() -> None:
    """Those of every rule, in the order of the file."""
    text = RULE + "        for: x\n        severty: page\n      - alert: B\n        detector: nope\n"
    assert [problem.split(":")[1] for problem in problems(text)] == ["7", "8", "10"]


def test_names_stand_once(tmp_path: Path) -> None:
    """Over all files: the second one is told where the first is."""
    (tmp_path / "a.yaml").write_text(RULE)
    (tmp_path / "b.yml").write_text(RULE + "route: {receiver: nobody}\n")
    (tmp_path / "c.txt").write_text("not a rule file")
    with pytest.raises(RuleErrors) as caught:
        load([tmp_path])
    said = [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]
    assert said == [
        'b.yml:4: rule "ToolErrorsUp": alert: "ToolErrorsUp" stands already at a.yaml:4; '
        "every rule needs a name of its own",
        'b.yml:7: route.receiver: "nobody" is not a receiver; there are oncall',
    ]


def test_secrets_are_never_repeated() -> None:
    """A key written where none belongs is not in the problem."""
    said = "\n".join(problems("receivers:\n  - name: oncall\n    pager: {routing_key: hunter2}\n    chat: hunter2\n"))
    assert "keys and URLs come from settings" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: []\ngroups: []\n", "duplicate key"),
        ("groups: &all []\n", "anchor"),
        ("a: &x [1]\nb: *x\n", "alias"),
        ("groups: !!python/object:os.system []\n", "tag"),
        ("groups: [\n", "is not YAML"),
        ("- groups\n", "is not a mapping"),
        ("groups: []\n---\ngroups: []\n", "is not YAML"),
        ("[" * 20_000, "nested more than 20 deep"),
        ("#" * (1 << 20) + "\n\n", "over 1 MiB"),
        ("groups: \x00\n", "is not YAML"),
        ("1: 2\n", "Keys should be strings"),
        ("rules: []\n", "no such field; there are groups, receivers, route"),
    ],
)
def test_yaml_that_is_not_taken(text: str, said: str) -> None:
    """Any text gets an answer with a line."""
    found = problems(text)
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("rules.yaml:") for problem in found)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """The line of the first byte that is not UTF-8."""
    (tmp_path / "a.yaml").write_bytes(b"groups: []\n# \xff\n")
    with pytest.raises(RuleErrors, match=r"a\.yaml:2: is not UTF-8"):
        load([tmp_path])
    with pytest.raises(RuleErrors, match="cannot be read: No such file"):
        load([tmp_path / "missing.yaml"])


def test_an_empty_file_has_no_rules() -> None:
    """Nothing is wrong with it."""
    assert parse_rules("# later\n", "rules.yaml").rules == ()


def test_the_default_receiver() -> None:
    """Without receivers there is `oncall`, which has every destination that the settings know."""
    rules = load([PACKS])
    assert isinstance(rules, RuleSet)
    receiver = rules.receiver("oncall")
    assert receiver.named() == {}
