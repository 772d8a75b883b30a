"""Open sessions: those far beyond how sessions of their agent go page, once each; others do not."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.core.columns import Entries, Mode, Tick, Verdict
from detectors.core.contract import Terms
from detectors.core.farthest import reached
from detectors.core.runs import FIRST_BUCKET, MEASURES, PLACES, Running, trace_id
from detectors.runaway import CALLS, DOLLARS, TIMES, WARM, Runaway
from tests.detectors.ticks import MIDNIGHT, tick

AGENT, OTHER, SESSION = 1, 2, 3
LIMITS = Terms(1.0, None, None, repeats=15.0, dollars=4.0)
USUAL = np.array([2.0, 10.0, 5_000.0, 0.05, 60.0])


def ended(index: int, rows: dict[int, int], values: np.ndarray = USUAL, seed: int = 0) -> Tick:
    """So many sessions of each series ended, each measure about half as much again or less."""
    rng, cell, code = np.random.default_rng(seed), [], []
    for row, many in rows.items():
        spread = values * np.exp(rng.normal(0, 0.4, (many, len(MEASURES))))
        spread[:, TIMES] = rng.geometric(0.8, many)
        place = np.arange(len(MEASURES)) * PLACES + np.ceil(np.log2(spread) * 8).astype(int) - 1 - FIRST_BUCKET
        cell += [row] * place.size
        code += place.ravel().tolist()
    pairs, counts = np.unique(np.stack([cell, code], 1), axis=0, return_counts=True)
    lengths = Entries(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), counts.astype(float))
    return replace(tick(MIDNIGHT + index, np.array(list(rows)), np.zeros(len(rows))), lengths=lengths)


def running(index: int, row: int, session: int, **values: float) -> Tick:
    """A slot with one open session, usual but for some measures."""
    told = np.array([[values.get(name, usual) for name, usual in zip(MEASURES, USUAL.tolist(), strict=True)]])
    halves = np.array([[session, session]], np.uint64)
    one = Running(np.array([row], np.int32), halves, halves, told, ("look_up",))
    return replace(tick(MIDNIGHT + index, np.array([row]), np.zeros(1)), running=one)


def modes(session: Mode = Mode.WATCHED) -> np.ndarray:
    return np.array([0, 0, 0, session], np.int8)


def known(minutes: int = 360, every: int = 10) -> Runaway:
    """A detector that knows the sessions of six hours, or so many minutes, of one agent."""
    detector = Runaway(LIMITS)
    for minute in range(0, minutes + 1, every):
        detector.tick(ended(minute, {AGENT: 200}, seed=minute), modes())
    return detector


def test_a_session_far_beyond_its_agents_own_pages_once() -> None:
    """It is judged when it goes beyond the bar, has a series of its own, and is over when it goes on no more."""
    detector = known()
    bar = float(detector.gauges()["bar_times"][AGENT])
    assert 4 < bar < 20
    assert detector.beyond(running(370, AGENT, 7, times=bar - 1)) == ()
    slot = running(370, AGENT, 7, times=bar + 1)
    ((series, trace),) = detector.beyond(slot)
    assert series == AGENT and trace == trace_id(slot.running.trace[0])
    detector.begin(SESSION, AGENT, slot, trace)
    assert detector.beyond(slot) == ()
    judged = detector.slot(slot, modes())[SESSION]
    assert judged.verdict is Verdict.ANOMALOUS and judged.finding is not None
    assert judged.finding.unit == "times" and "look_up was called" in judged.finding.detail
    assert detector.slot(slot, modes(Mode.PAGING)) == {}
    assert detector.tick(ended(375, {AGENT: 200}), modes(Mode.PAGING)) == {}
    over = detector.tick(ended(385, {AGENT: 200}), modes(Mode.PAGING))
    assert over[SESSION].verdict is Verdict.RECOVERED
    assert (
        detector.slot(running(386, AGENT, 7, times=bar + 9), modes(Mode.RECOVERING))[SESSION].verdict
        is Verdict.RELAPSED
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_can_page(measure: str) -> None:
    """A thousand times what is usual, by one of them alone."""
    slot = running(370, AGENT, 7, **{measure: 1000 * float(USUAL[MEASURES.index(measure)])})
    assert len(known().beyond(slot)) == 1


def test_of_what_is_not_known_only_the_rules_limits_page_and_each_page_asks_for_more() -> None:
    detector = listening(LIMITS)
    assert detector.beyond(running(61, AGENT, 1, times=15.0, dollars=4.0, calls=60_000.0)) == ()
    slot = running(61, AGENT, 1, times=16.0)
    ((_, trace),) = detector.beyond(slot)
    detector.begin(SESSION, AGENT, slot, trace)
    for row in (AGENT, OTHER):
        assert detector.beyond(running(61, row, 2, times=17.0, dollars=5.0)) == ()
        assert len(detector.beyond(running(61, row, 2, times=61.0))) == 1
    assert listening(Terms(1.0, None, None)).beyond(running(61, AGENT, 1, times=1e6, dollars=1e6)) == ()


def listening(terms: Terms) -> Runaway:
    """A detector that has listened for an hour, in which few sessions ended."""
    detector = Runaway(terms)
    for minute in (0, 60):
        detector.tick(ended(minute, {AGENT: 20}), modes())
    return detector


def test_in_its_first_hour_nothing_pages() -> None:
    """Nothing is known of anybody then, and each of a large fleet's longest sessions would be news."""
    detector = Runaway(LIMITS)
    detector.tick(ended(0, {AGENT: 20}), modes())
    assert detector.beyond(running(59, AGENT, 1, times=1e6, dollars=1e6)) == ()


def test_its_first_week_spends_less() -> None:
    """Half of the budget: the bars are higher than with the same sessions a week later."""
    young, old = known(), known()
    old.weeks = 0.7
    for one in (young, old):
        one.tick(ended(420, {AGENT: 200}), modes())
    assert (young.gauges()["bar_dollars"][AGENT] > 1.02 * old.gauges()["bar_dollars"][AGENT]).all()


def test_an_agent_is_held_against_its_own() -> None:
    """What is much for one is usual for another."""
    detector = Runaway(LIMITS)
    for minute in range(0, 361, 10):
        both = ended(minute, {AGENT: 200}, seed=minute), ended(minute, {OTHER: 200}, 30 * USUAL, seed=minute)
        joined = (np.concatenate([getattr(one.lengths, name) for one in both]) for name in ("cell", "bucket", "count"))
        detector.tick(replace(both[0], series=np.array([1, 2], np.int32), lengths=Entries(*joined)), modes())
    gauges = detector.gauges()
    for name in ("calls", "dollars"):
        assert gauges[f"bar_{name}"][OTHER] > 20 * gauges[f"bar_{name}"][AGENT]


def test_noise_asks_for_more_of_the_agent() -> None:
    detector = known()
    before = float(detector.gauges()["bar_times"][AGENT])
    slot = running(370, AGENT, 7, times=before + 1)
    ((_, trace),) = detector.beyond(slot)
    detector.begin(SESSION, AGENT, slot, trace)
    detector.doubt(SESSION)
    assert detector.gauges()["bar_times"][AGENT] == pytest.approx(1.5 * before)


def test_sessions_beyond_the_bar_do_not_move_it() -> None:
    """An hour of runaways among others: the bar rises little, as they count for no more than those at the bar."""
    week = 7 * 1440
    plain, mixed = known(week, 60), known(week, 60)
    for minute in range(week + 10, week + 61, 10):
        plain.tick(ended(minute, {AGENT: 200}, seed=minute), modes())
        mixed.tick(ended(minute, {AGENT: 200}, seed=minute), modes())
        mixed.tick(ended(minute, {AGENT: 1}, 10_000 * USUAL, seed=minute), modes())
    bars = [one.gauges()["bar_dollars"][AGENT] for one in (plain, mixed)]
    assert bars[0] <= bars[1] < 2.5 * bars[0]


def test_it_goes_on_from_what_was_saved() -> None:
    detector, slot = known(), running(370, AGENT, 7, times=300.0)
    ((_, trace),) = detector.beyond(slot)
    detector.begin(SESSION, AGENT, slot, trace)
    again = Runaway(LIMITS)
    again.restore(detector.snapshot())
    for minute in (371, 431):
        assert again.beyond(running(minute, AGENT, 7, times=300.0)) == ()
        for one in (detector, again):
            one.tick(ended(minute, {AGENT: 200}), modes(Mode.PAGING))
        assert all(np.array_equal(detector.gauges()[name], a, equal_nan=True) for name, a in again.gauges().items())


def test_the_budget_is_kept_by_the_law() -> None:
    """Of geometric repeats and power-law lengths: by the law at most twice the share asked goes beyond the bar."""
    ends, rng = np.arange(128) / 8, np.random.default_rng(5)
    n, share = 4e7, 1e-9
    whole = np.floor(3 * np.exp2(ends) + 1e-9)
    for name, beyond, step in (
        ("geometric", 0.2**whole, 1 / 3),
        ("power 2.5", 0.01 * np.exp2(-2.5 * ends), 0.0),
        ("power 4", 0.01 * np.exp2(-4 * ends), 0.0),
    ):
        counts = rng.poisson(-n * np.diff(beyond, prepend=1.0)).astype(float)
        _, worst = reached(counts, n, share, step)
        at = np.interp(np.log2(worst), ends, np.log(np.maximum(beyond, 1e-300)))
        assert np.exp(at) < 2 * share, name


def test_warm_is_what_the_descriptor_says() -> None:
    detector = known()
    assert detector.gauges()["warm"][AGENT] == 1 and np.isnan(detector.gauges()["learning_known"][AGENT])
    detector.tick(ended(400, {OTHER: 20}), modes())
    assert detector.gauges()["learning_known"][OTHER] == 20 < WARM
    assert np.isinf(detector.gauges()["bar_calls"][OTHER]) and detector.gauges()["bar_dollars"][OTHER] == 4.0
    assert (CALLS, DOLLARS) == (1, 3)
