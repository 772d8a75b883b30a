"""Two versions of an agent beside each other, from the levels of the rules that compare.

A pipeline that asks wants one word. "worse" is said where a measure shows the rule's effect, and the evidence of all
measures together reaches one in twenty, shared by all series that are asked for. "same" is said where the interval of
every measure leaves out such an effect. Anything else is "unknown": too little traffic to tell is no success.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alertrules.wording import LEVELS, digits
from detectors.core.side import CUTS, MEASURES, Measure
from service.pipeline.rule_runner import Level

WORSE, SAME, UNKNOWN = "worse", "same", "unknown"
WORSE_NATS = math.log(20)
MOST_OF_NONE = math.log(20)
"""Where none of n units is bad, at most this over n are in truth: of more, none is likely in one of twenty at most."""


def compared(levels: Iterable[Level], agent: str, old: str, new: str, tenant: str | None = None) -> dict[str, Any]:
    """What is known of a new version, model or prompt of an agent beside an old one, by rule and series.

    Raises LookupError where they are not compared, with what is.
    """
    found, others = list[tuple[Level, tuple[str, ...], dict[str, str]]](), set()
    for level in levels:
        for values, beside in level.beside.items():
            labels = dict(zip(level.rule.by, values, strict=True))
            if labels.get("agent", agent) != agent or (tenant is not None and labels.get("tenant", tenant) != tenant):
                continue
            label = level.rule.compared
            assert label is not None, "only what a rule compares stands beside something"
            its_old = dict(zip(level.rule.by, beside, strict=True))[label]
            if (its_old, labels[label]) == (old, new):
                found.append((level, values, labels))
            else:
                others.add(f"{labels[label]} with {its_old}")
    if not found:
        known = f"compared are now {', '.join(sorted(others)[:5])}" if others else "nothing of it is compared now"
        raise LookupError(
            f'"{new:.100}" of "{agent:.100}" is not compared with "{old:.100}": {known}. A comparison begins with the '
            "first call of a version (model, prompt) beside one that was there an hour before, and lasts a week"
        )
    series = [_series(*one, WORSE_NATS + math.log(len(found))) for one in found]
    verdicts = {one["verdict"] for one in series}
    verdict = WORSE if WORSE in verdicts else UNKNOWN if UNKNOWN in verdicts else SAME
    return {"agent": agent, "old": old, "new": new, "verdict": verdict, "series": series}


def _series(level: Level, values: tuple[str, ...], labels: Mapping[str, str], needed: float) -> dict[str, Any]:
    """One series; `needed` is the evidence, in nats, from which it is worse."""
    row = level.labels.index(values)
    gauges = {name: float(column[row]) for name, column in level.gauges.items()}
    effect = level.rule.effect_for(values)
    points = (effect.points if effect else None) or 0.0
    ratio = (effect.ratio if effect else None) or 1.0
    measures = [_measure(one, gauges, ratio, points) for one in MEASURES if gauges[f"units_{one.name}"] > 0]
    is_worse = gauges["compared_evidence"] >= needed and any(one["verdict"] == WORSE for one in measures)
    for one in measures:
        if one["verdict"] == WORSE and not is_worse:
            one["verdict"] = UNKNOWN  # It shows in numbers, and may be chance.
    all_same = bool(measures) and all(one["verdict"] == SAME for one in measures)
    return {
        "rule": level.rule.name,
        "labels": {name: value for name, value in labels.items() if value},
        "since_s": gauges["compared_since"],
        "calls": {"old": gauges["calls_old"], "new": gauges["calls_new"]},
        "usd_a_call": {"old": _number(gauges["usd_old"]), "new": _number(gauges["usd_new"])},
        "evidence": gauges["compared_evidence"],
        "needed": needed,
        "measures": measures,
        "verdict": WORSE if is_worse else SAME if all_same else UNKNOWN,
    }


def _measure(measure: Measure, gauges: Mapping[str, float], ratio: float, points: float) -> dict[str, Any]:
    name = measure.name
    old, new, times, least, most = (gauges[f"{stem}_{name}"] for stem in ("old", "new", "times", "least", "most"))
    units, bad = gauges[f"units_{name}"], gauges[f"bad_{name}"]
    if measure.shape is None:
        too_small = most < ratio or (most - 1) * old < points or (bad == 0 and MOST_OF_NONE / units - old < points)
    else:
        over = measure.times * (1 - CUTS[measure.cut])  # What would be over the old version's quantile.
        too_small = most < measure.times or (bad == 0 and MOST_OF_NONE / units < over)
    verdict = WORSE if gauges[f"matters_{name}"] else SAME if too_small else UNKNOWN
    return {
        "measure": name,
        "said": measure.said,
        "unit": "share" if measure.shape is None else measure.unit,
        "old": _number(old),
        "new": _number(new),
        "times_as_often": {"now": _number(times), "least": _number(least), "most": _number(most)},
        "evidence": gauges[f"evidence_{name}"],
        "verdict": verdict,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def worded(found: Mapping[str, Any]) -> Iterator[str]:
    """Lines for people."""
    said = {
        WORSE: "is worse than",
        SAME: "shows no difference that matters from",
        UNKNOWN: "has too little traffic to be told from",
    }
    yield f"{found['agent']}: {found['new']} {said[found['verdict']]} {found['old']}"
    for series in found["series"]:
        labels = ", ".join(f"{name} {value}" for name, value in series["labels"].items())
        calls = f"{series['calls']['new']:,.0f} calls beside {series['calls']['old']:,.0f}"
        evidence = f"evidence {series['evidence']:.1f} of {series['needed']:.1f} nats"
        yield f"  {labels}: {series['verdict']}, {calls}, {evidence}"
        for one in series["measures"]:
            level, often = LEVELS.get(one["unit"], digits), one["times_as_often"]
            old, new = ("unknown" if one[side] is None else level(one[side]) for side in ("old", "new"))
            times = "" if often["now"] is None else (
                f", {often['now']:.2g} times as often ({often['least']:.2g} to {often['most']:.2g})"
            )  # fmt: skip
            yield f"    {one['said']}: {old} to {new}{times}: {one['verdict']}"
        old_usd, new_usd = series["usd_a_call"]["old"], series["usd_a_call"]["new"]
        if old_usd is not None and new_usd is not None:
            yield f"    a call costs: ${old_usd:.2g} to ${new_usd:.2g} in the mean, which is not judged"
