"""The fast lane: outages within a minute, and nothing else."""

from functools import cache

import numpy as np
import pytest

from detectors import errors
from detectors.core.columns import SLOT_NS, TICK_NS, Arrays, Mode
from detectors.core.contract import Terms
from detectors.core.fast import FastEngine
from tests.bench.nulls import slots
from tests.detectors.ticks import MIDNIGHT, Watching, tick

TERMS = Terms(budget_per_week=1.0, ratio=1.5, points=0.005)
CHANGE = MIDNIGHT + 3 * 1440 + 600


def run(detector: FastEngine, watching: Watching, rng: np.random.Generator, begin: int, end: int, share: float) -> None:
    """Minutes of two series of one call a second; from CHANGE on the first fails at that share."""
    for index in range(begin, end):
        n = rng.poisson(60, 2) + 1
        whole = tick(index, np.array([1, 2]), n, rng.binomial(n, [share if index >= CHANGE else 0.01, 0.01]))
        for slot in slots(rng, whole):
            watching.judge_slot(detector, slot)
        watching.judge(detector, whole, index)


@cache
def learnt() -> Arrays:
    """What a detector has saved after three days of it."""
    detector, watching = errors.build(TERMS), Watching(3)
    run(detector, watching, np.random.default_rng(1), MIDNIGHT, CHANGE, 0.01)
    assert not watching.pages
    return detector.snapshot()


def warm() -> FastEngine:
    """A detector that has learnt them."""
    detector = errors.build(TERMS)
    detector.restore(learnt())
    return detector


@pytest.mark.parametrize(("share", "within_slots"), [(0.5, 6), (1.0, 4)])
def test_an_outage_pages_within_a_minute(share: float, within_slots: int) -> None:
    """Half of all calls failing, or all: one page in so many slots, closed by the engine once it is over."""
    detector, watching, rng = warm(), Watching(3), np.random.default_rng(1)
    run(detector, watching, rng, CHANGE, CHANGE + 5, share)
    assert [row for row, _ in watching.pages] == [1]
    assert watching.paged_ns[0] <= CHANGE * TICK_NS + within_slots * SLOT_NS
    assert watching.modes[1] == Mode.PAGING
    run(detector, watching, rng, CHANGE + 5, CHANGE + 90, 0.01)
    assert [row for row, _ in watching.closed] == [1]
    assert len(watching.pages) == 1


def test_a_smaller_change_is_the_engine_s() -> None:
    """One call in seven failing is no outage: the lane is silent, and the engine pages after whole minutes."""
    detector, watching, rng = warm(), Watching(3), np.random.default_rng(2)
    run(detector, watching, rng, CHANGE, CHANGE + 30, 0.15)
    assert [row for row, _ in watching.pages] == [1] and watching.fast == []
    assert watching.paged_ns[0] % TICK_NS == 0


def test_slots_change_nothing_of_the_engine() -> None:
    """While no outage pages, an engine that sees the slots too gathers the evidence of one that does not."""
    with_slots, without = errors.build(TERMS), errors.build(TERMS)
    modes, rng = np.zeros(3, np.int8), np.random.default_rng(3)
    for index in range(MIDNIGHT, MIDNIGHT + 4 * 1440, 2):
        n = rng.poisson(30, 2)
        whole = tick(index, np.array([1, 2]), np.maximum(n, 1), rng.binomial(n, 0.02))
        for slot in slots(rng, whole):
            with_slots.slot(slot, modes)
        with_slots.tick(whole, modes)
        without.tick(whole, modes)
    for name, array in without.snapshot().items():
        if not name.startswith(("outages", "open", "unproven", "debt")):
            np.testing.assert_array_equal(np.asarray(array), np.asarray(with_slots.snapshot()[name]))


def test_blips_cost_no_more_than_the_budget() -> None:
    """A minute or two in which half of all calls fail, three times a day: one page, and the next a week later."""
    detector, watching, rng = warm(), Watching(3), np.random.default_rng(5)
    for blip in range(CHANGE, CHANGE + 9 * 1440, 480):
        for index in range(blip, blip + 120):
            n = rng.poisson(60, 2) + 1
            whole = tick(index, np.array([1, 2]), n, rng.binomial(n, 0.5 if index < blip + 2 else 0.01))
            for slot in slots(rng, whole):
                watching.judge_slot(detector, slot)
            watching.judge(detector, whole, index)
    days = [(index - CHANGE) / 1440 for _, index in watching.fast]
    assert len(days) == 2 and days[0] < 0.01 and 7 <= days[1] < 7.5


def test_an_outage_that_lasts_is_no_debt() -> None:
    """Until an outage was four minutes old before a minute no other is told; then the next is told within a minute."""
    detector, watching, rng = warm(), Watching(3), np.random.default_rng(6)
    for index in range(CHANGE, CHANGE + 30):
        n = rng.poisson(60, 2) + 1
        whole = tick(index, np.array([1, 2]), n, rng.binomial(n, [0.9, 0.9 if index >= CHANGE + 20 else 0.01]))
        for slot in slots(rng, whole):
            watching.judge_slot(detector, slot)
        watching.judge(detector, whole, index)
        assert (detector.debt > 0) == (index - CHANGE in (0, 1, 2, 3, 20, 21, 22, 23))
    assert [row for row, _ in watching.pages] == [1, 2]
    assert watching.paged_ns[1] < (CHANGE + 21) * TICK_NS


def test_the_end_of_an_outage_shows_in_few_calls() -> None:
    """A series of a call in five minutes that fails altogether is told at its sixth at the latest; ten good ones end
    it, where a level of twice the usual would take hundreds to be told from it."""
    detector, watching, rng = errors.build(TERMS), Watching(3), np.random.default_rng(7)
    ended = CHANGE + 60
    for index in range(MIDNIGHT, ended + 50):
        n = np.array([index % 5 == 0, 1])
        failed = [n[0] if CHANGE <= index < ended else n[0] * rng.binomial(1, 0.002), 0]
        watching.judge(detector, tick(index, np.array([1, 2])[n > 0], n[n > 0], np.array(failed)[n > 0]), index)
    assert [row for row, _ in watching.pages] == [1]
    assert watching.paged_ns[0] <= (CHANGE + 31) * TICK_NS
    assert watching.modes[1] == Mode.RECOVERING


def test_saved_in_an_outage_it_goes_on() -> None:
    """Restored between two slots of an outage, the lane pages at the slot in which it would have."""
    pages = []
    for cut in (False, True):
        detector, watching, rng = warm(), Watching(3), np.random.default_rng(4)
        n = np.array([60, 60])
        for place, slot in enumerate(slots(rng, tick(CHANGE, np.array([1, 2]), n, np.array([30, 0])))):
            if cut and place == 2:
                saved = detector.snapshot()
                detector = errors.build(TERMS)
                detector.restore(saved)
            watching.judge_slot(detector, slot)
        pages.append((watching.pages, watching.paged_ns))
    assert pages[0] == pages[1]
    assert len(pages[0][0]) == 1
