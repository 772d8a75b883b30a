"""Failures that are kept whole, among others of which a tenth is kept: found nearly as soon as in the whole."""

from dataclasses import replace

import numpy as np
import pytest

from detectors import errors
from detectors.core.columns import Entries, Tick
from detectors.core.contract import Terms
from detectors.core.fast import FastEngine
from service.sampling.needs import SUSPECTED_FROM
from tests.detectors.ticks import MIDNIGHT, Watching, tick

TERMS = Terms(budget_per_week=1.0, ratio=1.5, points=0.005)
SERIES, KEPT, DAY = 12, 0.1, 1440
SINCE = 2 * DAY + 300
ROWS = np.arange(1, SERIES + 1)


def sampled(count: np.ndarray, failed: np.ndarray, rng: np.random.Generator) -> tuple[Tick | None, np.ndarray]:
    """A minute of which every failure is kept and a tenth of the rest, as it is weighed; and which series it has."""
    others = rng.binomial(count - failed, KEPT)
    there = failed + others > 0
    k, m = failed[there].astype(float), others[there].astype(float)
    if not there.any():
        return None, there
    one = tick(0, ROWS[there], k + m / KEPT, k)
    has = k > 0
    squares = Entries(ROWS[there][has].astype(np.int32), np.zeros(int(has.sum()), np.int32), k[has])
    return replace(one, squares=k + m / KEPT**2, failed_squares=squares), there


def delays(is_sampled: bool, times: float, seed: int) -> tuple[np.ndarray, FastEngine]:
    """Minutes until each series pages, from when it fails so many times as often on; and the detector."""
    rng, draws = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    detector, watching = errors.build(TERMS), Watching(SERIES + 1)
    waited = np.full(SERIES, np.inf)
    for minute in range(SINCE + 300):
        count = rng.poisson(10.0, SERIES)
        failed = rng.binomial(count, 0.02 * (times if minute >= SINCE else 1.0))
        if is_sampled:
            ticked, _ = sampled(count, failed, draws)
            ticked = ticked and replace(ticked, start_ns=tick(MIDNIGHT + minute, ROWS, count).start_ns)
        else:
            rows = count > 0
            ticked = tick(MIDNIGHT + minute, ROWS[rows], count[rows], failed[rows])
        watching.judge(detector, ticked, MIDNIGHT + minute)
    for row, index in watching.pages:
        minute = index - MIDNIGHT - SINCE
        if minute > 0:
            waited[row - 1] = min(waited[row - 1], minute)
    return waited, detector


def test_an_incident_is_found_nearly_as_soon() -> None:
    """From 2% to 20% of ten calls a minute: a minute of the whole tells 2.65 nats of it (Kullback and Leibler, against
    2.4%), one of the sample 1.72, as of the others only a tenth is known. So 1.54 times as late, and not ten times.
    """
    (whole, full), (some, thin) = (delays(is_sampled, 10.0, 1) for is_sampled in (False, True))
    assert np.median(some) <= 1.54 * np.median(whole) < 20
    ours, theirs = (one.signal.baseline.share[1:].mean() for one in (thin, full))  # type: ignore[attr-defined]
    assert ours == pytest.approx(theirs, rel=0.05) and theirs == pytest.approx(0.02, rel=0.1)


def test_a_sample_of_all_alike_is_worth_what_was_kept() -> None:
    """Weights that are all ten are a tenth of the calls, as before."""
    weighed = tick(MIDNIGHT, np.array([1]), np.array([100]), np.array([20]))
    squares = Entries(np.array([1], np.int32), np.zeros(1, np.int32), np.array([200.0]))
    counted = errors.Errors(1.5, 0.0).counted(replace(weighed, squares=np.array([1000.0]), failed_squares=squares))
    assert (counted.count.tolist(), counted.values.tolist()) == ([10.0], [2.0])
    assert counted.odds is not None and counted.odds.tolist() == [1.0]


def test_weights_are_remembered_for_minutes_without() -> None:
    """A minute with no failure says nothing of what failures weigh: they weigh what they did."""
    signal = errors.Errors(1.5, 0.0)
    first, _ = sampled(np.full(SERIES, 100), np.full(SERIES, 10), np.random.default_rng(1))
    assert first is not None
    assert signal.counted(first).odds == pytest.approx(np.full(SERIES, 10.0))
    quiet = replace(tick(MIDNIGHT, np.array([1]), np.array([50])), squares=np.array([500.0]))
    assert signal.counted(quiet).odds == pytest.approx([10.0])
    assert errors.Errors(1.5, 0.0).counted(quiet).odds == pytest.approx([1.0])


def test_a_minute_of_the_sample_tells_over_half_of_one_of_the_whole() -> None:
    """Fewer units by far are kept, of which each tells more: that decides how long a change takes to be seen."""
    told = []
    for is_sampled in (False, True):
        _, detector = delays(is_sampled, 1.0, 1)
        spread = detector.engine.dispersion
        a_minute = spread.effective_sum[1:, 0] / spread.ticks_sum[1:]
        told.append(a_minute[:, None] * detector.engine.signal.drift()[1:])
    share = told[1] / told[0]
    assert 0.5 < np.median(share) < 1.0


def test_a_suspicion_comes_before_the_page() -> None:
    """Of a share that triples the gauge tells within the hour, before the page; of calm days hardly anything."""
    rng, detector, watching = np.random.default_rng(4), errors.build(TERMS), Watching(SERIES + 1)
    rows, since, suspected = ROWS[:1], 5 * DAY + 300, list[int]()
    for minute in range(since + 300):
        count = rng.poisson(10.0, 1)
        failed = rng.binomial(count, 0.02 * (3.0 if minute >= since else 1.0))
        if not count[0]:
            continue
        watching.judge(detector, tick(MIDNIGHT + minute, rows, count, failed), MIDNIGHT + minute)
        if watching.pages:
            break
        if (detector.gauges()["suspicion"][1:] >= SUSPECTED_FROM).any():
            suspected.append(minute)
    assert [row for row, _ in watching.pages] == [1] and minute > since
    assert sum(at < since for at in suspected) < 0.03 * since
    assert min(at for at in suspected if at >= since) < min(since + 60, minute)
