"""Streams of which sampling keeps some kinds whole and a tenth of the others: shares are those of the whole.

What a tick keeps by chance must not say what a unit in it is worth. Else one that is kept whole counts ten times too
much where ticks have few units, and half as often where traffic doubles.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from detectors.core.columns import Entries, Tick, Verdict
from detectors.core.contract import Terms
from detectors.core.distribution import Distribution
from detectors.core.rows import resize
from detectors.core.worth import JUMP, Worth
from detectors.outcomes import Outcomes
from detectors.versions import Versions
from tests.detectors.ticks import MIDNIGHT, Numbers, entries, tick

Signal = TypeVar("Signal", Outcomes, Distribution)
MIX, KEPT = np.array([0.8, 0.12, 0.08]), np.array([0.1, 1.0, 1.0])
"""Shares of three outcomes, and of each what is kept."""
DAY = 1440


def thinned(rows: Numbers, counts: Numbers, kept: Numbers, rng: np.random.Generator) -> tuple[Numbers, ...]:
    """Of counts (r, kinds): the sum of weights by kind, and by row; and the sum of their squares."""
    some = rng.binomial(counts, kept)
    weights = some / kept
    return weights, weights.sum(1), (weights / kept).sum(1)


def of_one_series(signal: Signal) -> Signal:
    """The signal with room for series 1."""
    for part in signal.parts.values():
        resize(part, 2)
    return signal


def of_outcomes(index: int, a_minute: float, rng: np.random.Generator) -> Tick | None:
    """A tick of one series whose bad outcomes are all kept."""
    row = np.array([1])
    weights, count, squares = thinned(row, rng.poisson(a_minute * MIX)[None], KEPT, rng)
    if not count[0]:
        return None
    return replace(tick(index, row, count, outcome=entries(row, weights)), squares=squares)


@pytest.mark.parametrize("a_minute", [0.5, 5.0, 50.0])
def test_a_mix_is_that_of_the_whole_at_any_traffic(a_minute: float) -> None:
    """At half a session a minute, by each tick's own worth, two thirds would be bad, and not a fifth."""
    rng, signal = np.random.default_rng(1), of_one_series(Outcomes(0.1))
    told = np.zeros(signal.classes)
    for minute in range(20 * DAY):
        if (one := of_outcomes(MIDNIGHT + minute, a_minute, rng)) is not None:
            told += signal.counted(one).values.sum(0)
    assert told[1:].sum() / told.sum() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("a_minute", [0.5, 5.0, 50.0])
def test_what_is_told_is_worth_no_more_than_it_is(a_minute: float) -> None:
    """Over a month units add up to Kish's number of all of them."""
    rng, signal = np.random.default_rng(2), of_one_series(Outcomes(0.1))
    told, weights, squares = 0.0, 0.0, 0.0
    for minute in range(20 * DAY):
        if (one := of_outcomes(MIDNIGHT + minute, a_minute, rng)) is not None:
            told += float(signal.counted(one).count.sum())
            weights, squares = weights + float(one.count[0]), squares + float(one.squares[0])
    assert told == pytest.approx(weights**2 / squares, rel=0.15)


def test_a_distribution_is_that_of_the_whole() -> None:
    """Failures take long and are all kept: as many values are long as in the whole."""
    rng, row = np.random.default_rng(3), np.array([1])
    signal = of_one_series(Distribution(lambda tick: tick.duration, "s", "latency_p95_seconds", 1.5))
    long, all_of_them = 0.0, 0.0
    for minute in range(5 * DAY):
        weights, count, squares = thinned(row, rng.poisson([0.9, 0.1])[None], np.array([0.1, 1.0]), rng)
        if not count[0]:
            continue
        durations = np.zeros((1, 20))
        durations[0, [0, 19]] = weights[0]
        one = replace(tick(MIDNIGHT + minute, row, count, duration=entries(row, durations)), squares=squares)
        values = signal.counted(one).values[0]
        long, all_of_them = long + float(values[len(values) // 2 + 5 :].sum()), all_of_them + float(values.sum())
    assert long / all_of_them == pytest.approx(0.1, abs=0.02)


def test_a_canary_of_few_calls_does_not_seem_worse() -> None:
    """Two versions fail alike; one has 3% of the traffic. By each tick's own worth both of these would page."""
    for seed in range(2):
        rng, detector = np.random.default_rng(seed), Versions(Terms(1.0, None, None))
        detector.meet(1, ("support",), "v1")
        detector.meet(2, ("support",), "v2")
        rows, modes = np.array([1, 2]), np.zeros(3, np.int8)
        for minute in range(24 * 60):
            calls = rng.poisson([30.0, 1.0 if minute > 90 else 0.0])
            failed = rng.binomial(calls, 0.03)
            weights, count, squares = thinned(rows, np.stack([calls - failed, failed], 1), np.array([0.1, 1.0]), rng)
            there = count > 0
            of_failed = Entries(rows[there].astype(np.int32), np.zeros(int(there.sum()), np.int32), weights[there, 1])
            one = tick(MIDNIGHT + minute, rows[there], count[there], weights[there, 1])
            said = detector.tick(replace(one, squares=squares[there], failed_squares=of_failed), modes)
            assert all(word.verdict is not Verdict.ANOMALOUS for word in said.values()), (seed, minute)


def taken(worth: Worth, rows: np.ndarray, weights: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """What a tick's sums are to be divided by, once they are taken in."""
    worth.add(rows, weights, squares)
    return worth.weight(rows, weights, squares)


def test_where_less_is_kept_from_now_on_a_unit_is_not_many() -> None:
    """The first unit of weight ten after a hundred of one counts as two, and more are kept apart soon."""
    worth, row = Worth(), np.array([0], np.int32)
    for _ in range(100):
        assert taken(worth, row, np.ones(1), np.ones(1)).tolist() == [1.0]
    first = taken(worth, row, np.array([10.0]), np.array([100.0]))
    assert 10.0 / first[0] <= JUMP
    for _ in range(60):
        last = taken(worth, row, np.array([10.0]), np.array([100.0]))
    assert last[0] == pytest.approx(10.0, rel=0.02)
    assert taken(worth, row, np.zeros(1), np.zeros(1)) == last, "a tick without a unit says nothing"


def test_what_was_never_sampled_counts_as_it_is() -> None:
    worth, rows = Worth(), np.arange(3, dtype=np.int32)
    assert np.isnan(taken(worth, rows, np.zeros(3), np.zeros(3))).all()
    for units in (1.0, 7.0, 1e6):
        assert taken(worth, rows, np.full(3, units), np.full(3, units)).tolist() == [1.0, 1.0, 1.0]


def test_what_is_asked_of_a_part_of_a_tick_is_not_taken_in() -> None:
    """Of a series that nothing was taken in of, its own units say what they are worth."""
    worth, row = Worth(), np.array([0], np.int32)
    assert worth.weight(row, np.array([10.0]), np.array([100.0])).tolist() == [10.0]
    worth.add(row, np.ones(1), np.ones(1))
    for _ in range(5):
        assert worth.weight(row, np.array([10.0]), np.array([100.0])).tolist() == [10.0 / JUMP]
