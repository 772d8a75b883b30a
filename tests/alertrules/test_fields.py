"""Limits as people write them: what goes together, and what is told of what does not."""

import math

import pytest

from alertrules.parse import RuleErrors, combine, parse_rules
from alertrules.rules import Rule


def read(fields: str) -> Rule:
    text = f"groups: [{{name: g, rules: [{{alert: A, {fields}}}]}}]"
    return combine([parse_rules(text, "a.yaml")]).rules[0]


STATIC = "detector: static, signal: error_ratio"
SLO = "detector: slo, signal: error_ratio"
GOOD = [
    ("detector: static, signal: calls_per_minute, below: 5", {"below": 5.0, "above": math.nan}),
    (f"{STATIC}, below: 5%, window: 30d", {"below": 0.05, "window_ns": 30 * 86_400 * 10**9}),
    ("detector: static, signal: latency_p99, above: 5s, window: 1h", {"above": 5.0}),
    ("detector: static, signal: p99, above: 5, select: {metric: m}", {"above": 5.0}),
    (f"{SLO}, objective: 99.5%", {"objective": 0.995, "spans": (60, 360)}),
    (f"{SLO}, objective: 0.9, windows: [3d, 30d]", {"spans": (4320, 43_200)}),
    (f"{SLO}, objective: 0.9, windows: 3d", {"spans": (4320,)}),
    ("detector: absence, every: 24h", {"every_ns": 86_400 * 10**9, "grace_ns": 8640 * 10**9}),
    ("detector: absence, every: 5m", {"grace_ns": 300 * 10**9}),
    ("detector: absence, every: 24h, grace: 1h", {"grace_ns": 3600 * 10**9}),
    ("detector: telemetry, every: 15m", {"every_ns": 900 * 10**9}),
    ("detector: telemetry, budget: 1/month, window: 15m", {"window_ns": 900 * 10**9}),
]


@pytest.mark.parametrize(("fields", "expected"), GOOD)
def test_what_is_read(fields: str, expected: dict[str, object]) -> None:
    """Each means what the detector is told."""
    terms = vars(read(fields).terms)
    for name, value in expected.items():
        assert terms[name] == value or (isinstance(value, float) and math.isnan(value) and math.isnan(terms[name]))


def test_a_rule_about_all_telemetry_has_one_series() -> None:
    """It groups by nothing, without being told so."""
    assert read("detector: telemetry, budget: 1/month").by == ()
    assert read("detector: telemetry, budget: 1/month, by: []").by == ()
    assert read("detector: errors, budget: 1/week").by == ("tenant", "agent")


def test_pages_of_a_schedule_speak_of_it() -> None:
    """What is late is silent for so long, where it must come every so often."""
    assert read("detector: absence, every: 24h").described.subject == "silent for"
    assert read("detector: absence, budget: 1/week").described.subject == "calls a minute"


BAD = [
    (STATIC, "above: is missing; write 5%, or below: 5%"),
    (f"{STATIC}, above: 5%, below: 1%", "above: there is a below, too; a rule has one limit, so write two rules"),
    (f"{STATIC}, below: fast", 'below: "fast" is not a level of this signal; write 5% or 0.05'),
    ("detector: burn, below: $5", "below: detector: burn has none; leave it out"),
    ("detector: burn", "above: is missing; write $5000"),
    ("detector: errors, budget: 1/week, below: 5%", "below: detector: errors has none; leave it out"),
    (f"{STATIC}, above: 5%, window: 31d", "window: a window is whole minutes, from 1m to 30d; write 5m"),
    ("detector: static, signal: latency_p95, above: 5s, window: 2h", "from 1m to 1h for a percentile; write 5m"),
    ("detector: level, signal: error_ratio, budget: 1/week, window: 2h", "from 1m to 1h; write 5m"),
    (SLO, "objective: is missing; write which share must be good: 99.5%"),
    (f"{SLO}, objective: 100%", "is not an objective, which is more than 0% and less than 100%; write 99.5%"),
    (f"{SLO}, objective: 99%, windows: [2h]", "'2h' is not one of 1h, 6h, 3d, 30d; write windows: [1h, 6h]"),
    (f"{SLO}, objective: 99%, budget: 1/week", "pages whenever the objective is missed so fast, so it has no budget"),
    ("detector: slo, signal: latency_p95, objective: 99%", '"latency_p95" is not a share of what is bad; write one of'),
    (f"{STATIC}, above: 5%, objective: 99%", "objective: detector: static has none; leave it out"),
    ("detector: errors, budget: 1/week, every: 24h", "every: detector: errors has none; leave it out"),
    ("detector: absence, every: 24h, budget: 1/week", "a rule with every pages whenever that has passed, so it has no"),
    ("detector: absence", "budget: is missing; write how many false pages the rule may cost: 1/week, or every: 24h"),
    ("detector: absence, every: 8d", "every is whole minutes, from 1m to 7d; write 24h"),
    (
        "detector: absence, budget: 1/week, grace: 1h",
        "it is how much later than `every` something may come; write every",
    ),
    ("detector: absence, every: 1h, grace: 2d", "grace is from 1m to 1d; write 1h"),
    (
        "detector: telemetry, every: 1h, select: {agent: a}",
        "select: it judges all telemetry together; leave select out",
    ),
    ("detector: telemetry, every: 1h, by: [agent]", "by: it judges all telemetry together; leave by out"),
    ("detector: errors, budget: 1/week, was: A", '"A" is the name that the rule has; write the one that it had'),
]
OVERRIDES = [
    (
        "detector: errors, budget: 1/week",
        "{match: {agent: a}}",
        "says nothing else; write effect, budget, above or below",
    ),
    ("detector: errors, budget: 1/week", "{match: {agent: a}, above: 5%}", "above: the rule has none; leave it out"),
    (
        f"{STATIC}, above: 5%",
        "{match: {agent: a}, below: 5%}",
        "below: the rule has none; leave it out, or write one for",
    ),
    (f"{STATIC}, above: 5%", "{match: {agent: a}, above: 5s}", '"5s" is not a level of this signal; write 5% or 0.05'),
    (f"{STATIC}, above: 5%", "{match: {agent: a}, budget: 1/week}", "pages whenever its limit is passed, so it has no"),
    (f"{STATIC}, above: 5%", "{match: {agent: a}, effect: 2x}", "detector: static has no effect; leave it out"),
    (
        "detector: errors, budget: 1/week",
        "{match: {tool: a}, effect: 2x}",
        '"tool" is not in by; the series have tenant',
    ),
]


@pytest.mark.parametrize(
    ("fields", "said"), BAD + [(f"{rule}, overrides: [{override}]", said) for rule, override, said in OVERRIDES]
)
def test_what_is_refused(fields: str, said: str) -> None:
    """One sentence each: what was read, and what to write instead."""
    with pytest.raises(RuleErrors) as caught:
        read(fields)
    assert said in str(caught.value)


def test_an_override_has_limits_and_budgets() -> None:
    """The first that matches counts, for all that it says; the rest is the rule's."""
    rule = read(
        "detector: errors, budget: 1/week, effect: 2x, by: [agent], overrides: ["
        "{match: {agent: a}, budget: 2/week}, {match: {agent: '=~\"a|b\"'}, effect: 3x}]"
    )
    assert [rule.override_of((name,)) for name in "abc"] == [0, 1, None]
    assert [str(rule.effect_for((name,))) for name in "abc"] == ["2x", "3x", "2x"]
    assert rule.budget_in_all == 3.0
    limits = read(f"{STATIC}, above: 5%, by: [agent], overrides: [{{match: {{agent: a}}, above: 20%}}]").overrides
    assert limits[0].above == 0.2
