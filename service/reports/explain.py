"""What a rule owes its user, told from its level: what it has cost, whether it can keep its budget, what it can see.

One shape for the API and for `tocsin explain`, which words what the API answered.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from scipy.special import gammainc

from alertrules.lifecycle import Alert
from alertrules.marks import packed
from alertrules.quantities import Effect
from alertrules.rules import Rule
from alertrules.select import matches
from alertrules.wording import LEVELS, digits, percent
from detectors.core.columns import SECOND_NS, Finding
from detectors.core.engine import HORIZONS
from detectors.core.signals import SIGNALS
from detectors.core.tail import BROKEN_NATS, HOLDS_NATS
from service.pipeline.rule_runner import Level
from service.reports.learning import progress

SHOWN_MAX = 20
"""Series told in full, those with the most evidence first; ask for some by their labels to see others."""
CANNOT = "this rule cannot keep its budget on these data"
UNLIKELY = 0.025
"""So many pages marked as noise are believed only if the budget would give them this seldom."""


def told(level: Level) -> dict[str, Any]:
    """A rule in a few numbers, fit for JSON: its budget, what it has cost, and the promise in words."""
    judged = level.gauges.get("warm")
    sums = level.sums
    return {
        "rule": level.rule.name,
        "detector": level.rule.detector,
        "by": list(level.rule.by),
        "effect": str(level.rule.effect) if level.rule.effect else None,
        "budget_per_week": level.rule.budget_in_all,
        "weeks": round(sums.weeks, 2),
        "pages": sums.paged,
        "pages_noise": sums.noise,
        "pages_incident": sums.incident,
        "tail_excess_nats": _number(level.excess),
        "keeps_budget": keeps_budget(level),
        "promise": promise(level),
        "series": len(level.labels),
        "judged": sum(one > 0 for one in judged.tolist()) if judged is not None else len(level.labels),
        "series_refused": level.refused,
        "tickets": list(level.tickets[-SHOWN_MAX:]),
    }


def keeps_budget(level: Level) -> bool | None:
    """Whether its promise holds on these data; None while too little is known, and for a rule without a budget."""
    budget, sums = level.rule.budget_in_all, level.sums
    if budget is None:
        return None
    if sums.noise and gammainc(sums.noise, budget * max(sums.weeks, 1.0)) < UNLIKELY:
        return False
    return None if math.isnan(level.excess) else level.excess <= BROKEN_NATS


def promise(level: Level) -> str:
    """The same in words."""
    budget, excess = level.rule.budget_per_week, level.excess
    if budget is None:
        return "it has a limit and no budget: it pages whenever the limit is passed"
    tail = "" if math.isnan(excess) else f"the evidence's tail has a mean excess of {excess:.1f} nats"
    match keeps_budget(level):
        case False if excess > BROKEN_NATS:
            return f"{CANNOT}: {tail}, where at most {HOLDS_NATS:g} was promised; ask for a larger effect"
        case False:
            return f"{CANNOT}: {level.sums.noise} pages were marked noise in {level.sums.weeks:.1f} weeks"
        case None:
            return "it cannot be told yet whether the budget is kept: too few days are known"
    return f"it keeps its budget on these data: {tail}"


def explained(level: Level, wanted: Mapping[str, str]) -> dict[str, Any]:
    """`told`, with the series that have these labels: those with the most evidence, at most SHOWN_MAX."""
    rows = [
        row for row, values in enumerate(level.labels)
        if all(dict(zip(level.rule.by, values, strict=True)).get(name) == value for name, value in wanted.items())
    ]  # fmt: skip
    evidence = level.gauges.get("evidence")
    nearest = sorted(rows, key=lambda row: -_key(evidence, row))[:SHOWN_MAX]
    return told(level) | {
        "matching": len(rows),
        "shown": [_series(level, row) for row in nearest],
        "overrides_unmatched": _unmatched(level),
        "marks": [packed(mark) for mark in level.marks[-SHOWN_MAX:]],
    }


def _unmatched(level: Level) -> list[int]:
    """Places of the rule's overrides that none of its series has."""
    rule, left = level.rule, set(range(len(level.rule.overrides)))
    for values in level.labels if left else ():
        left -= {number for number in left if matches(rule.overrides[number].match, rule.by, values)}
    return sorted(left)


def _key(evidence: Any, row: int) -> float:
    value = -1.0 if evidence is None else float(evidence[row])
    return value if math.isfinite(value) else -1.0


def _series(level: Level, row: int) -> dict[str, Any]:
    values = level.labels[row]
    gauges = {name: _number(float(column[row])) for name, column in level.gauges.items()}
    alert = level.alerts.get(values)
    effect = level.rule.effect_for(values)
    return {
        "labels": {name: value for name, value in zip(level.rule.by, values, strict=True) if value},
        "state": state(gauges, alert),
        "effect": str(effect) if effect else None,
        "level": _shown(level.rule, gauges),
        "gauges": gauges,
        "learning": progress(level.rule, gauges),
        "warnings": list(_warnings(gauges, effect)),
        "alert": alert_told(level, values, alert) if alert else None,
    }


def _shown(rule: Rule, gauges: Mapping[str, float | None]) -> dict[str, Any] | None:
    """The level of a series now, the usual one, and their unit; None while there is none."""
    for name, gauge in rule.described.gauges.items():
        now = gauges.get(name) if gauge.shows is not None else None
        if now is not None:
            unit = gauge.shows or (SIGNALS[rule.signal].unit if rule.signal else "")
            return {"unit": unit, "now": now, "usual": gauges.get(gauge.usual)}
    return None


def state(gauges: Mapping[str, float | None], alert: Alert | None) -> str:
    """`learning`, `watched`, or the state of its alert."""
    if alert:
        return alert.state.value
    return "watched" if gauges.get("warm", 1.0) else "learning"


def _warnings(gauges: Mapping[str, float | None], effect: Effect | None) -> Iterator[str]:
    wobble = gauges.get("wobble")
    if wobble is None or effect is None:
        return
    if effect.ratio is not None and wobble > effect.ratio:
        yield (
            f"from hour to hour it moves by {digits(wobble)}x by itself, wider than the {effect} asked for: such a "
            f"change is found late or not at all; ask for {digits(wobble**2)}x"
        )
    elif effect.ratio is None and effect.points is not None and wobble > effect.points:
        yield (
            f"from hour to hour it moves by {digits(100 * wobble)} points by itself, wider than the {effect} asked "
            "for: such a change is found late or not at all"
        )


def alert_told(level: Level, values: tuple[str, ...], alert: Alert) -> dict[str, Any]:
    """An open alert as the API shows it."""
    return {
        "rule": level.rule.name,
        "labels": {name: value for name, value in zip(level.rule.by, values, strict=True) if value},
        "severity": level.rule.severity.value,
        "state": alert.state.value,
        "id": alert.alert_id,
        "since_s": alert.since_ns / SECOND_NS,
        "fired_s": alert.fired_ns / SECOND_NS if alert.fired_ns else None,
        "finding": _finding(alert.finding) if alert.finding else None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    numbers = {
        "before": finding.before,
        "now": finding.now,
        "since_s": finding.since_ns / SECOND_NS,
        "count": finding.count,
        "log_evidence": finding.log_evidence,
        "threshold": finding.threshold,
    }
    return {"unit": finding.unit} | {name: _number(value) for name, value in numbers.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def worded(rule: Mapping[str, Any]) -> Iterator[str]:
    """What `explained` gave, in lines for people."""
    budget = rule["budget_per_week"]
    cost = "no budget" if budget is None else f"{budget:g} false pages a week"
    effect = f", for changes of {rule['effect']} or more" if rule["effect"] else ""
    yield f"{rule['rule']}: {rule['detector']} by {', '.join(rule['by']) or 'nothing'}, {cost}{effect}"
    left = rule["pages"] - rule["pages_noise"] - rule["pages_incident"]
    yield (
        f"  pages so far: {rule['pages']} in {rule['weeks']:g} weeks; {rule['pages_noise']} marked noise, "
        f"{rule['pages_incident']} marked incident, {left} not judged by anybody"
    )
    yield f"  {rule['promise']}"
    yield f"  series: {rule['series']}, of which {rule['judged']} are judged and the others still learning"
    for line in rule["tickets"]:
        yield f"  worth a look: {line}"
    for series in rule["shown"]:
        yield from _series_worded(series)
    if rule["matching"] > len(rule["shown"]):
        yield f"  … and {rule['matching'] - len(rule['shown'])} more series; name some with --series"


def _series_worded(series: Mapping[str, Any]) -> Iterator[str]:
    gauges = series["gauges"]
    labels = ", ".join(f"{name} {value}" for name, value in series["labels"].items()) or "everything"
    yield f"  {labels}: {series['state']}{_level(series)}"
    if gauges.get("evidence") is not None:
        yield f"    evidence {gauges['evidence']:.1f} of the {gauges['evidence_threshold']:.1f} nats that a page needs"
        sees = ", ".join(f"{seen(series['effect'], gauges[f'visible_{name}'])} within {name}" for name in HORIZONS)
        yield f"    smallest change it would see at its usual traffic: {sees}"
    if series["learning"]:
        yield f"    {series['learning']}"
    for warning in series["warnings"]:
        yield f"    {warning}"
    if series["alert"] and series["alert"]["id"]:
        yield f"    alert {series['alert']['id'][:12]}: say what it was with `tocsin mark`"


def _level(series: Mapping[str, Any]) -> str:
    level = series["level"]
    if level is None:
        return ""
    worded = LEVELS.get(level["unit"], digits)
    more = "" if level["unit"] in LEVELS or not level["unit"] else f" {level['unit']}"
    usual = "" if level["usual"] is None else f", usually {worded(level['usual'])}{more}"
    return f", {worded(level['now'])}{more} of late{usual}"


def seen(asked: str | None, effect: float | None) -> str:
    """The smallest effect that would be seen, as a factor, or as a share of the mix where the rule asks for points."""
    if effect is None:
        return "none"
    return f"{digits(effect)}x" if "x" in (asked or "x") else f"{percent(effect)} of the mix"
