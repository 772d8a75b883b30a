"""Latency and cost: what pages, what does not, and what is not judged."""

from dataclasses import replace

import numpy as np
import pytest

from detectors import cost, latency
from detectors.core.columns import Entries
from detectors.core.contract import Detector, Terms
from tests.detectors.ticks import EMPTY, MIDNIGHT, Watching, tick

TERMS = Terms(budget_per_week=1.0, ratio=1.5, points=None)
OF_SESSIONS = replace(TERMS, of_sessions=True)


def measured(rng: np.random.Generator, rows: np.ndarray, n: np.ndarray, scale: np.ndarray) -> Entries:
    """Lognormal values with 3% slow ones, as a slot's histograms at scale 3."""
    cells, buckets = [], []
    for row, count, factor in zip(rows.tolist(), n.tolist(), scale.tolist(), strict=True):
        value = factor * np.exp(rng.normal(0, 0.5, count)) * np.where(rng.random(count) < 0.03, 4.0, 1.0)
        cells.append(np.full(count, row))
        buckets.append(np.ceil(np.log2(value) * 8).astype(int) - 1)
    pairs, counts = np.unique(np.stack([np.concatenate(cells), np.concatenate(buckets)], 1), axis=0, return_counts=True)
    return Entries(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), counts.astype(float))


def watched(detector: Detector, kind: str, begin: int, end: int, factor: float, unpriced: float = 0.0) -> Watching:
    """Three series of half a session a second over five days; the second is `factor` times slower (dearer) a while."""
    rng, watching, rows = np.random.default_rng(2), Watching(4), np.arange(1, 4)
    for t in range(5 * 1440):
        n = np.maximum(rng.poisson(30, 3), 1)
        scale = np.array([1.2, factor if begin <= t < end else 1.0, 0.02]) * (1 + 0.1 * np.sin(t / 1440 * 2 * np.pi))
        values = measured(rng, rows, n, scale)
        durations, costs = (values, EMPTY) if kind == "duration" else (EMPTY, values)
        ticked = tick(MIDNIGHT + t, rows, n, duration=durations, cost=costs, unpriced=n * unpriced)
        watching.judge(detector, ticked, MIDNIGHT + t)
    return watching


def test_a_p95_twice_as_high_pages_and_recovers() -> None:
    """One page for the series that slowed down, none for the others, closed after it is over."""
    begin, end = 4 * 1440 + 300, 4 * 1440 + 420
    watching = watched(latency.build(TERMS), "duration", begin, end, 2.0)
    assert [row for row, _ in watching.pages] == [2]
    assert begin < watching.pages[0][1] - MIDNIGHT < begin + 20
    assert end < watching.closed[0][1] - MIDNIGHT < end + 120


def test_a_tenth_slower_is_not_worth_a_page() -> None:
    """The gate: a change far smaller than the effect asked for never pages, however sure it is."""
    watching = watched(latency.build(Terms(1.0, 3.0, None)), "duration", 3 * 1440, 5 * 1440, 1.5)
    assert watching.pages == []


def test_a_page_never_tells_of_less_than_before() -> None:
    """Where the last minutes have gone back, the run's p95 is told, which is at least the gate's."""
    detector, rng, row = latency.build(TERMS), np.random.default_rng(4), np.array([1])
    for t in range(2 * 1440):
        n = np.array([10])
        detector.tick(tick(MIDNIGHT + t, row, n, duration=measured(rng, row, n, np.array([1.0]))), np.zeros(2, np.int8))
    unit, before, now, count = detector.signal.finding(1, np.array([10.0, 100.0]), 0)
    assert (unit, count) == ("s", 100.0) and now == pytest.approx(before * 1.5 ** (2 / 3), rel=1e-6)


def test_what_is_not_worth_a_page_hides_nothing() -> None:
    """Half as slow again for days gathers evidence without end; six times as slow beside it pages all the same."""
    detector, rng, watching = latency.build(Terms(1.0, 3.0, None)), np.random.default_rng(3), Watching(2)
    begin, row = 4 * 1440 + 300, np.array([1])
    for t in range(begin + 60):
        factor = 6.0 if t >= begin else 1.5 if t >= 3 * 1440 else 1.0
        n = np.maximum(rng.poisson(30, 1), 1)
        ticked = tick(MIDNIGHT + t, row, n, duration=measured(rng, row, n, np.array([factor])))
        watching.judge(detector, ticked, MIDNIGHT + t)
    assert [minute - MIDNIGHT - begin < 20 for _, minute in watching.pages] == [True]


def test_dearer_sessions_page() -> None:
    """Three times the cost a session pages within minutes."""
    begin = 4 * 1440 + 300
    watching = watched(cost.build(TERMS), "cost", begin, begin + 120, 3.0)
    assert [row for row, _ in watching.pages] == [2]
    assert begin < watching.pages[0][1] - MIDNIGHT < begin + 15


def test_unpriced_sessions_blind_the_rule() -> None:
    """With more than a tenth of the sessions unpriced, cost is neither judged nor learnt."""
    detector = cost.build(TERMS)
    watching = watched(detector, "cost", 4 * 1440, 5 * 1440, 3.0, unpriced=0.2)
    assert watching.pages == []
    assert detector.gauges()["warm"].max() == 0


def means(begin: int, end: int, factor: float, seed: int = 7, sessions: float = 8.0) -> Watching:
    """A week of sessions whose cost metrics state minute by minute, `factor` times as dear from `begin` to `end`."""
    rng, rows = np.random.default_rng(seed), np.arange(4)
    watching, detector = Watching(4), cost.build(OF_SESSIONS)
    for t in range(6 * 1440):
        n = rng.poisson(sessions, 4)
        dear = factor if begin <= t < end else 1.0
        usd = np.array([dear * float(rng.lognormal(-3, 0.8, each).sum()) for each in n])
        if n.any():
            watching.judge(detector, tick(MIDNIGHT + t, rows, n, usd=usd), MIDNIGHT + t)
    return watching


def test_sessions_whose_cost_metrics_state_can_page() -> None:
    """Three times the cost a session pages within the hour, as the mean of its minutes; the same cost pages nobody."""
    begin = 5 * 1440 + 300
    watching = means(begin, begin + 240, 3.0)
    assert {row for row, _ in watching.pages} == {0, 1, 2, 3}
    assert all(begin < at - MIDNIGHT <= begin + 60 for _, at in watching.pages)


def test_dollars_wait_for_the_next_session() -> None:
    """A minute without a session hands its dollars on, over a save; what sessions tell themselves is not told twice."""
    rows, one = np.array([0]), cost.build(OF_SESSIONS)
    seen = []
    for t, (n, usd) in enumerate([(0, 1.0), (0, 2.0), (2, 3.0), (3, 1.5), (1, 0.0)]):
        if n or usd:
            found = one.stated
            one.tick(tick(MIDNIGHT + t, rows, np.array([n]), usd=np.array([usd])), np.zeros(1, np.int8))
            seen.append(found.usd[:1].tolist()[0])
        again = cost.build(OF_SESSIONS)
        again.restore(one.snapshot())
        one = again
    assert seen == [1.0, 3.0, 0.0, 0.0, 0.0]
    own = Entries(np.array([0], np.int32), np.array([5], np.int32), np.array([1.0]))
    one.tick(tick(MIDNIGHT + 9, rows, np.array([1]), usd=np.array([4.0]), cost=own), np.zeros(1, np.int8))
    assert one.stated.means(tick(MIDNIGHT + 10, rows, np.array([1]), usd=np.array([4.0]))).count.tolist() == []
