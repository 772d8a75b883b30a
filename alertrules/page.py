"""One alert in words: the line and the title a page shows of it."""

import math

from alertrules.lifecycle import Labels
from alertrules.rules import HAVE_A_LIMIT, Detector, Rule, Static
from alertrules.summary import filled
from alertrules.wording import LEVELS, VALUE_LENGTH_MAX, clean, digits, labels_text, utc
from detectors.core.columns import Finding

SUBJECTS: dict[str, str] = {
    Detector.ERRORS: "failed",
    Detector.LATENCY: "p95",
    Detector.COST: "p95 of a session's cost",
    Detector.OUTCOMES: "good outcomes",
    Static.ERROR_RATIO: "failed",
    Static.LATENCY_P95: "p95",
    Static.LATENCY_P50: "p50",
    Static.COST_PER_SESSION_P95: "p95 of a session's cost",
    Static.SPEND_PER_HOUR: "spend an hour",
    Static.BAD_OUTCOME_SHARE: "bad outcomes",
    Static.UNPRICED_SHARE: "calls without a known price",
    Static.CALLS_PER_MINUTE: "calls a minute",
    Static.VALUE: "value",
    Static.PER_MINUTE: "per minute",
    Static.P50: "p50",
    Static.P95: "p95",
    Detector.ABSENCE: "calls a minute",
    Detector.BURN: "cost of the month at this pace",
}


def line(rule: Rule, labels: Labels, finding: Finding) -> str:
    """One alert in one line: what changed, by how much, since when, over how many."""
    level = LEVELS.get(finding.unit, digits)
    arrow = "limit" if rule.detector in HAVE_A_LIMIT else "expected" if rule.signal else "from"
    change = f"{SUBJECTS[rule.signal or rule.detector]} {level(finding.now)} ({arrow} {level(finding.before)})"
    sessions = ("operation", "session") in labels or rule.counts_sessions
    unit = ("session" if sessions else "call") + ("" if finding.count == 1 else "s")
    counted = "" if math.isnan(finding.count) else f", over {finding.count:,.0f} {unit}"
    said = f"{labels_text(labels)}: {change} since {utc(finding.since_ns)}{counted}"
    return f"{said}; {clean(finding.detail, VALUE_LENGTH_MAX)}" if finding.detail else said


def title(rule: Rule, labels: Labels, finding: Finding) -> str:
    """The rule's summary filled in, or its name and series."""
    if rule.annotations.summary:
        return filled(rule.annotations.summary, dict(rule.labels) | dict(labels), finding)
    return f"{rule.name}: {labels_text(labels)}"
