"""Newcomers that are judged early: what kin of like traffic lend them, how wide it is, and until when."""

import copy
import math
from functools import cache

import numpy as np
import pytest

from detectors.core.columns import Entries, Verdict
from detectors.core.contract import Detector, Terms
from detectors.core.descriptor import build
from detectors.core.engine import Engine
from detectors.core.fast import FastEngine
from detectors.core.kin import BORROWS_AT, KIN_LEAST
from tests.detectors.ticks import MIDNIGHT, tick

DAY, CALLS = 1440, 40
KIN, DAYS = 16, 3
NEW = KIN
"""The newcomer's row: kin have those before."""


def engine(detector: Detector) -> Engine:
    found = detector.engine if isinstance(detector, FastEngine) else detector
    assert isinstance(found, Engine)
    return found


def durations(rng: np.random.Generator, rows: np.ndarray, slower: float) -> Entries:
    at = np.repeat(rows, CALLS)
    bucket = np.ceil((rng.normal(0, 0.6, len(at)) + math.log(slower) * (at == NEW)) * 8 / math.log(2)).astype(int) - 1
    pairs, count = np.unique(np.stack([at, bucket], 1), axis=0, return_counts=True)
    return Entries(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), count.astype(float))


def play(
    detector: Detector, minutes: range, seed: int, shares: list[float], slower: float = 1.0
) -> list[tuple[int, Verdict, int]]:
    """CALLS calls each tenth minute of as many series as there are shares; what was said of the newcomer, and when."""
    rng, said, size = np.random.default_rng(seed), [], len(shares)
    rows = np.flatnonzero(np.isfinite(shares))
    for minute in minutes[::10]:
        failed = rng.binomial(CALLS, np.array(shares)[rows])
        one = tick(MIDNIGHT + minute, rows, np.full(len(rows), CALLS), failed, durations(rng, rows, slower))
        said += [(row, word.verdict, minute) for row, word in detector.tick(one, np.zeros(size + 1, np.int8)).items()]
    return [each for each in said if each[0] == NEW]


@cache
def _settled(name: str, kin: int, apart: float) -> Detector:
    detector = build(name, Terms(1.0, 1.5, 0.005 if name == "errors" else None))
    levels = (0.02 * np.exp(apart * np.linspace(-1, 1, kin))).tolist()
    play(detector, range(DAYS * DAY), 1, levels + [math.nan] * (NEW + 1 - kin))
    return detector


def settled(name: str = "errors", kin: int = KIN, apart: float = 0.5) -> Detector:
    """A detector that knows so many kin, whose shares lie up to e^apart from 2%; a copy, as ticks change it."""
    return copy.deepcopy(_settled(name, kin, apart))


def day(detector: Detector, share: float, begin: int = 0, end: int = DAY, seed: int = 2, slower: float = 1.0):  # type: ignore[no-untyped-def]
    """Play minutes of the fourth day, kin at 2%, the newcomer at this share."""
    return play(detector, range(DAYS * DAY + begin, DAYS * DAY + end), seed, [0.02] * KIN + [share], slower)


@pytest.mark.parametrize("name", ["errors", "latency"])
def test_a_newcomer_is_judged_from_its_fiftieth_call_on(name: str) -> None:
    """As the hour closes in which it came: with evidence, a threshold, and how many kin lent it."""
    detector = settled(name)
    day(detector, 0.02, 0, 10)
    assert CALLS < BORROWS_AT
    day(detector, 0.02, 60, 70)
    assert not engine(detector).life.warm[NEW]
    day(detector, 0.02, 70, 130)
    gauges = detector.gauges()
    assert gauges["warm"][NEW] == 1 and gauges["kin"][NEW] == KIN
    assert np.isfinite(gauges["evidence"][NEW]) and np.isfinite(gauges["learning_until"][NEW])
    assert np.isnan(gauges["kin"][0])


def test_few_kin_lend_nothing() -> None:
    """And so a fleet that begins is judged from its third day on, as before."""
    detector = settled(kin=KIN_LEAST - 1)
    play(detector, range(DAYS * DAY, DAYS * DAY + 300), 2, [0.02] * (KIN_LEAST - 1) + [0.02] * (NEW + 2 - KIN_LEAST))
    assert not engine(detector).life.warm[NEW]


def test_the_null_is_as_wide_as_kin_lie_apart_and_narrows_with_calls() -> None:
    """Kin far apart tell little of a newcomer; a day of its own calls tells more."""

    def upper(apart: float, minutes: int) -> float:
        detector = settled(apart=apart)
        day(detector, 0.02, 0, minutes)
        signal = engine(detector).signal
        return float(signal.parts["baseline"].upper[NEW].max())

    assert 0.025 < upper(0.3, 120) < upper(1.5, 120)
    assert upper(1.5, DAY) < upper(1.5, 120)


def test_one_like_the_worst_kin_is_no_page_and_an_outage_is() -> None:
    """A newcomer at 5%, where kin are from 1% to 5%, is of their kind; half of all calls failing is not."""
    detector = settled(apart=1.0)
    assert day(detector, 0.05, 0, DAY) == []
    detector = settled(apart=1.0)
    assert day(detector, 0.02, 0, 300) == []
    said = day(detector, 0.5, 300, 420)
    assert said and said[0][1] is Verdict.ANOMALOUS and said[0][2] - DAYS * DAY <= 350


def test_latencies_three_times_as_long_are_found_on_the_first_day() -> None:
    """The newcomer's own level is what they are held against."""
    detector = settled("latency")
    assert day(detector, 0.02, 0, 600) == []
    said = day(detector, 0.02, 600, 900, slower=3.0)
    assert said and said[0][1] is Verdict.ANOMALOUS


@pytest.mark.parametrize("name", ["errors", "latency"])
def test_restored_it_is_lent_the_same(name: str) -> None:
    """State of before there were kin is read, too: then nobody has been lent anything yet."""
    detector = settled(name)
    day(detector, 0.02, 0, 200)
    saved = detector.snapshot()
    again = build(name, Terms(1.0, 1.5, 0.005 if name == "errors" else None))
    again.restore(saved)
    assert day(again, 0.05, 200, DAY + 300, seed=3) == day(detector, 0.05, 200, DAY + 300, seed=3)
    for key, array in detector.snapshot().items():
        np.testing.assert_array_equal(array, again.snapshot()[key])
    older = {key: array for key, array in saved.items() if key != "life.kin"}
    again.restore(older)
    assert again.gauges()["warm"][NEW] == 1


def test_on_its_third_day_it_is_judged_by_its_own_baseline() -> None:
    """Two midnights and two hundred calls, as every series."""
    detector = settled()
    day(detector, 0.02, 300, 2 * DAY + 120)
    gauges = detector.gauges()
    assert gauges["warm"][NEW] == 1 and np.isnan(gauges["kin"][NEW]) and np.isnan(gauges["learning_until"][NEW])
