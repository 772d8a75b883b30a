"""One alert in words: the line and the title a page shows of it."""

import math

from alertrules.lifecycle import Labels
from alertrules.rules import Rule
from alertrules.summary import filled
from alertrules.wording import LEVELS, VALUE_LENGTH_MAX, clean, digits, labels_text, utc
from detectors.core.columns import Finding
from detectors.core.signals import SIGNALS


def line(rule: Rule, labels: Labels, finding: Finding) -> str:
    """One alert in one line: what changed, by how much, since when, over how many."""
    level = LEVELS.get(finding.unit, digits)
    subject = SIGNALS[rule.signal].subject if rule.signal else rule.described.subject
    change = f"{subject} {level(finding.now)} ({rule.described.arrow} {level(finding.before)})"
    sessions = ("operation", "session") in labels or rule.counts_sessions
    unit = ("session" if sessions else "call") + ("" if finding.count == 1 else "s")
    counted = "" if math.isnan(finding.count) else f", over {finding.count:,.0f} {unit}"
    said = f"{labels_text(labels)}: {change} since {utc(finding.since_ns)}{counted}"
    return f"{said}; {clean(finding.detail, VALUE_LENGTH_MAX)}" if finding.detail else said


def description(rule: Rule, labels: Labels, finding: Finding) -> str:
    """The rule's description filled in; empty where it has none."""
    if not rule.annotations.description:
        return ""
    return filled(rule.annotations.description, dict(rule.labels) | dict(labels), finding)


def title(rule: Rule, labels: Labels, finding: Finding) -> str:
    """The rule's summary filled in, or its name and series."""
    if rule.annotations.summary:
        return filled(rule.annotations.summary, dict(rule.labels) | dict(labels), finding)
    return f"{rule.name}: {labels_text(labels)}"
