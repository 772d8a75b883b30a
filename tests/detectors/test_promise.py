"""What a rule says of its own promise: the evidence's tail, pages called noise, slow ramps, its own wobble."""

import math

import numpy as np
import pytest

from detectors.core.anchor import Anchor
from detectors.core.columns import Verdict
from detectors.core.contract import Terms, build
from detectors.core.engine import Engine
from detectors.core.rows import resize
from detectors.core.tail import DAYS, LEAST_NATS, Tail
from tests.detectors.ticks import MIDNIGHT, tick

DAY = 1440


def engine() -> Engine:
    detector = build("errors", Terms(1.0, 1.5, 0.005))
    assert isinstance(detector, Engine)
    return detector


def fed(detector: Engine, seed: int, days: int, share: float, rows: int = 5, first: int = 0) -> list[Verdict]:
    """Ticks of a hundred calls a series, by the minute; what was said of them."""
    rng, said = np.random.default_rng(seed), []
    for t in range(first * DAY, (first + days) * DAY, 5):
        series = np.arange(rows)
        failed = rng.binomial(100, share, rows)
        judged = detector.tick(tick(MIDNIGHT + t, series, np.full(rows, 100), failed), np.zeros(rows, np.int8))
        said += [one.verdict for one in judged.values()]
    return said


@pytest.mark.parametrize(("scale", "holds"), [(0.7, True), (1.0, True), (2.5, False)])
def test_a_fat_tail_is_told_from_a_thin_one(scale: float, holds: bool) -> None:
    """Daily maxima that fall off as exp(-x) or faster keep the promise, slower ones do not."""
    tail, rng = Tail(), np.random.default_rng(1)
    resize(tail.highest, 300)
    for _ in range(DAYS):
        tail.saw(np.arange(300, dtype=np.int32), rng.exponential(scale, 300))
        tail.end_day(np.arange(300, dtype=np.int32))
    assert (tail.excess() <= 1.5) == holds


def test_little_is_known_of_a_young_tail() -> None:
    tail = Tail()
    assert math.isnan(tail.excess())
    resize(tail.highest, 3)
    tail.saw(np.array([1], np.int32), np.array([LEAST_NATS + 9]))
    tail.end_day(np.arange(3, dtype=np.int32))
    assert math.isnan(tail.excess())


def test_a_page_called_noise_raises_its_series_alone_and_for_a_while() -> None:
    """Half as much again, half of that gone after twenty days."""
    detector = engine()
    fed(detector, 1, 3, 0.02)
    detector.doubt(2)
    rows = np.array([1, 2], np.int32)
    calm, doubted = detector.thresholds(rows).tolist()
    assert doubted == pytest.approx(1.5 * calm)
    detector.now += 20 * DAY
    assert detector.thresholds(rows)[1] == pytest.approx(calm * (1 + 0.5 * 0.965**20))


def test_a_slow_ramp_is_a_ticket_once_a_week() -> None:
    """Ten percent a week is absorbed by the baseline and told against four weeks ago; a steady share is not."""
    crept: list[int] = []
    for seed, growth in ((3, 1.25), (4, 1.0)):
        detector, said = engine(), []
        for week in range(7):
            said += fed(detector, seed + week, 7, 0.03 * growth**week, rows=2, first=7 * week)
        crept.append(said.count(Verdict.CREPT))
    assert crept[0] > 0 and crept[1] == 0


def test_no_anchor_without_a_past() -> None:
    """Four weeks must have been seen."""
    anchor = Anchor()
    resize(anchor, 1)
    for _ in range(20):
        anchor.add(np.array([1000.0]), np.array([500.0]))
        assert anchor.crept(np.array([7000.0]), np.array([70.0]), np.ones(1)) == {}


def test_a_series_tells_how_far_it_wobbles_by_itself() -> None:
    """A share that doubles and halves by the hour shows a wobble; one that only draws dice shows next to none."""
    calm, wild = engine(), engine()
    fed(calm, 5, 6, 0.05)
    rng = np.random.default_rng(6)
    for t in range(0, 6 * DAY, 5):
        share = 0.05 * math.exp(0.6 * math.sin(t / 60 * 2.4))
        count = np.full(5, 100)
        wild.tick(tick(MIDNIGHT + t, np.arange(5), count, rng.binomial(100, share, 5)), np.zeros(5, np.int8))
    assert np.nanmax(calm.gauges()["wobble"]) < 1.2 < np.nanmin(wild.gauges()["wobble"])
