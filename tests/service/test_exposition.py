"""The text of `/metrics`, held to what prometheus-client writes of the same numbers."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from alertrules.lifecycle import AlertState
from detectors.core.columns import CELL_LABELS
from detectors.core.descriptor import words
from service.own_metrics.catalog import DECLARED, LEVELS
from service.own_metrics.exposition import STATE, Families, level_text, page
from service.own_metrics.tallied import valid
from service.pipeline.rule_runner import Level, RuleRunner
from tests.service.test_detect import each
from tests.service.test_windows import Minutes

ODD = ("acme", "", 'quo"te', "back\\slash", "line\nbreak", "ü ✓", "lone \ud800", "a=b,c{d}", "\\n", '\\"', "x" * 300)
NUMBERS = [0.0, -1.5, 1e-9, 1e21, 123456789.25, 1 / 3, 5.0, math.nan, math.inf, -math.inf, 1e-320]


def odd(detector: str) -> Level:
    """A level of series with odd labels, whose gauges have odd numbers."""
    level = RuleRunner(each(detector)).level()
    series = tuple((value,) * len(level.rule.by) for value in ODD)
    numbers = np.array(NUMBERS)
    gauges = {name: np.roll(numbers, place) for place, name in enumerate(level.rule.described.gauges)}
    return replace(level, labels=series, gauges=gauges)


def reference(levels: list[Level]) -> Iterator[Metric]:
    """The same as objects of prometheus-client."""
    families = {name: GaugeMetricFamily(name, DECLARED[name].help) for name in (*LEVELS, STATE)}
    for level in levels:
        rows = []
        for values in level.labels:
            known = dict(zip(level.rule.by, values, strict=True))
            row = {"rule": level.rule.name} | {name: valid(known.get(name, "")) for name in (*CELL_LABELS, "trace")}
            rows.append({name: value for name, value in row.items() if value})
        for gauge, numbers in level.gauges.items():
            described = level.rule.described.gauge(gauge)
            for row, number in zip(rows, numbers.tolist(), strict=True):
                if math.isfinite(number):
                    more = dict([described.label]) if described.label else {}
                    families[described.metric].add_sample(described.metric, row | more, number)
    yield from families.values()


def samples(text: str) -> list[tuple[str, list[tuple[str, str]], float]]:
    found: list[Sample] = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return sorted((one.name, sorted(one.labels.items()), one.value) for one in found)


@pytest.mark.parametrize("detector", words())
def test_it_says_what_prometheus_client_says(detector: str) -> None:
    """Any labels and any numbers, of every detector."""
    levels = [odd(detector)]
    ours, theirs = level_text(levels), generate_latest(Families(list(reference(levels)))).decode()
    assert samples(ours) == samples(theirs)
    assert [line.partition("}")[0] for line in ours.splitlines()] == [
        line.partition("}")[0] for line in theirs.splitlines()
    ]


def test_open_alerts_are_shown() -> None:
    minutes = Minutes()
    minutes.pass_slots(18, 9.0)
    ((name, labels, value), *_) = samples(level_text(minutes.detect.levels()))
    assert (name, value) == (STATE, 1.0)
    assert labels == [("rule", "Fails"), ("state", AlertState.FIRING.value), ("tenant", "acme")]


def test_nothing_was_seen_yet() -> None:
    """Each metric is declared once, and the page can be read."""
    text = page([GaugeMetricFamily("tocsin_test", "A test.", 1.0)], []).decode()
    assert text.startswith("# HELP tocsin_test A test.\n") and text.count(f"# TYPE {STATE} gauge\n") == 1
    assert [one.name for one in text_string_to_metric_families(text)] == ["tocsin_test", *LEVELS, STATE]
