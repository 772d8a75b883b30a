"""The alert of a plain number, as a rule keeps it: one page for one incident, open from its beginning to its end."""

import math

import numpy as np
import pytest

from detectors.core.columns import SECOND_NS, Finding
from detectors.core.contract import Detector, Terms
from detectors.core.descriptor import build
from tests.detectors.ticks import MIDNIGHT, Watching, entries, tick

HOUR = 60
WINDOW = 10
LOWEST = -80
"""Bucket of OTLP scale 3 that durations are counted from: a millisecond."""


def detector(name: str) -> Detector:
    """One that watches the median latency of ten minutes, at a page a week."""
    return build(name, Terms(1.0, None, None, "latency_p50", "", math.nan, WINDOW * 60 * SECOND_NS, 1))


def watched(name: str, hours: list[tuple[float, float]], seed: int = 1) -> tuple[Watching, list[Finding]]:
    """The alerts of one series whose calls take so many seconds for so many hours, and what its page says."""
    rng, watching, judge = np.random.default_rng(seed), Watching(2), detector(name)
    levels = np.concatenate([np.full(round(n * HOUR), seconds) for n, seconds in hours])
    said: list[Finding] = []
    for minute, seconds in enumerate(levels.tolist()):
        took = seconds * rng.lognormal(0, 0.2, 8)
        bucket = np.ceil(np.log2(took) * 8).astype(int) - 1 - LOWEST
        dense = np.bincount(bucket, minlength=160)[None]
        row = np.array([1])
        one = tick(MIDNIGHT + minute, row, np.array([8]), duration=entries(row, dense, LOWEST))
        before = len(watching.pages)
        watching.judge(judge, one, MIDNIGHT + minute)
        found = watching.alerts[1].finding if len(watching.pages) > before else None
        said += [found] if found else []
    return watching, said


def minutes(moved: list[tuple[int, int]]) -> list[int]:
    """Minutes since the stream began."""
    return [index - MIDNIGHT for _, index in moved]


@pytest.mark.parametrize("long", [2, 5, 20])
def test_an_incident_is_one_page_until_the_value_is_back(long: int) -> None:
    """The last hour never learns what the alert is about: so it stays open, and the way back is no news."""
    begun, back = 56 * HOUR, (56 + long) * HOUR
    watching, said = watched("level", [(56, 1.0), (long, 5.0), (12, 1.0)])
    ((page,), (closed,)) = minutes(watching.pages), minutes(watching.closed)
    assert begun <= page <= begun + 2 * WINDOW
    assert back + 30 <= closed <= back + 120
    assert 4 < said[0].now < 6 and 0.8 < said[0].before < 1.3


@pytest.mark.parametrize("name", ["river.ADWIN", "river.PageHinkley", "river.HDDMA"])
def test_a_change_that_no_drift_detector_told_before_closes_again(name: str) -> None:
    """A detection is forgotten within the hour, even where the detector has never told any: the alert closes."""
    watching, said = watched(name, [(50, 1.0), (6, 5.0)])
    ((page,), (closed,)) = minutes(watching.pages)[:1], minutes(watching.closed)[:1]
    assert page >= 50 * HOUR and page + 30 <= closed <= page + 120
    assert name.removeprefix("river.") in said[0].detail and "1.0" in said[0].detail and "0.6" in said[0].detail


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_adwin_pages_within_the_incident(seed: int) -> None:
    """It looks at every step, not at every 32nd, which might come hours later."""
    watching, _ = watched("river.ADWIN", [(56, 1.0), (2, 5.0), (6, 1.0)], seed)
    assert 56 * HOUR <= minutes(watching.pages)[0] < 58 * HOUR


def test_a_page_says_what_its_scorer_measures() -> None:
    """`level` counts usual strays, a drift detector its detections, an anomaly detector whatever River scores."""
    details = {
        name: watched(name, [(56, 1.0), (6, 5.0)])[1][0].detail
        for name in ("level", "river.ADWIN", "river.StandardAbsoluteDeviation")
    }
    assert "times its usual stray" in details["level"]
    assert "detections" in details["river.ADWIN"] and "stray" not in details["river.ADWIN"]
    assert "score" in details["river.StandardAbsoluteDeviation"]


def test_a_level_that_lasts_a_day_is_learnt() -> None:
    """It is one page, which ends by itself within hours after the day."""
    watching, _ = watched("level", [(56, 1.0), (40, 5.0)])
    ((begun,), (learnt,)) = minutes(watching.pages), minutes(watching.closed)
    assert begun <= (56 + 1) * HOUR and (56 + 24) * HOUR < learnt < (56 + 28) * HOUR
