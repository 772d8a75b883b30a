"""The words of one alert: what is not known is not said."""

import math

from alertrules.page import line, title
from alertrules.parse import parse_rules
from detectors.core.columns import Finding

SUMMARY = "annotations: {summary: '{{ labels.agent }} fell silent, {{ count }} calls'}"


def test_a_page_about_no_calls_counts_none() -> None:
    """Neither in its line nor, where a summary asks for them, as a number that is none."""
    text = f"groups: [{{name: g, rules: [{{alert: Gone, detector: absence, budget: 1/week, by: [agent], {SUMMARY}}}]}}]"
    (rule,) = parse_rules(text, "rules.yaml").rules
    labels = (("agent", "night"),)
    found = Finding("per minute", 2.0, 0.0, 0, math.nan, 30.0, 12.0, "no call for 15 minutes")
    assert ", over" not in line(rule, labels, found)
    assert title(rule, labels, found) == "night fell silent, ? calls"
