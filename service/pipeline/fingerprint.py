"""What a rule's state depends on, as a hash: with another one, what the rule has learnt is of no use to it."""

import hashlib

from alertrules.outcome_classes import SHIPPED, Outcomes
from alertrules.rules import Rule
from detectors.core.signals import SIGNALS

_NAMES_OF_FORMAT_9 = {
    "river.PageHinkley": "RIVER_PAGE_HINKLEY",
    "river.HDDMA": "RIVER_HDDM_A",
    "river.HDDMW": "RIVER_HDDM_W",
    "river.GaussianScorer": "RIVER_GAUSSIAN",
    "river.StandardAbsoluteDeviation": "RIVER_ABSOLUTE",
    "river.HalfSpaceTrees": "RIVER_TREES",
    "river.LocalOutlierFactor": "RIVER_LOCAL",
    "river.OneClassSVM": "RIVER_SVM",
}
"""Detectors whose names were not made from their words by one rule."""


def fingerprint(rule: Rule, outcomes: Outcomes = SHIPPED) -> str:
    """Hash what a rule looks at and how: detector, selection, series, signal, windows, and classes of one's own."""
    facts = repr((rule.detector, rule.select, rule.by, rule.signal, rule.window_ns))
    by_class = rule.signal is not None and SIGNALS[rule.signal].by_class is not None
    if rule.every_ns or rule.objective or rule.below is not None:
        facts += repr((bool(rule.every_ns), rule.spans if rule.objective else None, rule.below is not None))
    if rule.season == "week":
        facts += repr(rule.season)
    if outcomes is not SHIPPED and (rule.described.named or by_class):
        facts += repr(outcomes.facts)
    return _hashed(facts)


def of_format_9(rule: Rule) -> str:
    """Hash the same as state of format 9 and before did, when detectors and signals were enumerations."""
    name = _NAMES_OF_FORMAT_9.get(rule.detector, rule.detector.upper().replace(".", "_"))
    detector = f"<Detector.{name}: {rule.detector!r}>"
    signal = f"<Static.{rule.signal.upper()}: {rule.signal!r}>" if rule.signal else "None"
    return _hashed(f"({detector}, {rule.select!r}, {rule.by!r}, {signal}, {rule.window_ns!r})")


def _hashed(facts: str) -> str:
    return hashlib.sha256(facts.encode()).hexdigest()
