"""Versions side by side: what is worse on the same minutes is found, and nothing else."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.core.beside import NULL_RATIO, RATIOS, ratios, temper, times
from detectors.core.columns import ENDINGS, Entries, Mode, Tick, Verdict
from detectors.core.contract import Asked, Judgement, Terms
from detectors.versions import ALPHA_MAX, HOUR, Versions
from tests.detectors.ticks import MIDNIGHT, entries, tick

TERMS = Terms(1.0, None, None)
OLD, NEW, OTHER = 1, 2, 3
SECOND_BUCKET = 20


def met(detector: Versions) -> Versions:
    """Two versions of one agent, and one of another."""
    for row, of, name in ((OLD, "support", "v2.3"), (NEW, "support", "v2.4"), (OTHER, "coder", "v1")):
        detector.meet(row, (of,), name)
    return detector


def minutes(seed: int, hours: float, new: float, failed: tuple[float, float] = (0.02, 0.02), slower: int = 0,
            provider: tuple[int, int] = (0, 0), calls: float = 30.0, begins: int = 90) -> Iterator[Tick]:  # fmt: skip
    """Ticks of OLD and OTHER, and of NEW from minute `begins` on with the share `new` of the calls.

    All fail more within `provider`. Durations of NEW lie `slower` buckets higher.
    """
    rng = np.random.default_rng(seed)
    for minute in range(int(60 * hours)):
        share = new if minute >= begins else 0.0
        count = rng.poisson(np.array([calls * (1 - share), calls * share, calls]))
        p = np.array([*failed, failed[0]]) if not provider[0] <= minute < provider[1] else np.full(3, 0.5)
        rows = np.array([OLD, NEW, OTHER])
        durations = np.zeros((3, 60))
        for place in range(3):
            spread = np.clip(rng.normal(SECOND_BUCKET + slower * (place == 1), 4, count[place]), 0, 59).astype(int)
            durations[place] = np.bincount(spread, minlength=60)
        there = count > 0
        found = tick(MIDNIGHT + minute, rows[there], count[there], rng.binomial(count, p)[there],
                     entries(rows[there], durations[there], -30))  # fmt: skip
        yield found


def judged(detector: Versions, ticks: Iterator[Tick], mode: Mode = Mode.WATCHED) -> list[tuple[int, int, Judgement]]:
    """Minute, series and judgement of all that was said."""
    modes = np.full(4, mode, np.int8)
    return [
        (number, row, word)
        for number, each in enumerate(ticks)
        for row, word in detector.tick(each, modes).items()
        if word.verdict is not Verdict.QUIET
    ]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.99), st.integers(1, 30), st.floats(0.2, NULL_RATIO))
def test_it_is_an_e_value(share: float, bad: int, truth: float) -> None:
    """Its mean is at most one while the new rate is at most NULL_RATIO times the old one's, exactly."""
    k = np.arange(bad + 1.0)
    p = truth * share / (1 - share + truth * share)
    chance = np.array([math.comb(bad, int(i)) for i in k]) * p**k * (1 - p) ** (bad - k)
    e = np.exp(ratios(k, np.full(len(k), float(bad)), np.full(len(k), share)))
    assert (chance @ e <= 1 + 1e-9).all()


def test_clumps_are_paid_for() -> None:
    """By the differences of neighbouring blocks: a lasting difference costs nothing."""
    rng = np.random.default_rng(1)
    plain = rng.poisson(10.0, 4001).astype(float)
    for values, least, most in ((plain, 0.6, 1.0), (plain + 50, 0.6, 1.0), (3 * plain, 0.08, 0.13)):
        squares = np.diff(values) ** 2
        power = temper(squares.sum(keepdims=True), np.array([2 * 10.0 * 4000]), np.array([4000.0]))
        assert least <= power[0] <= most


def test_a_version_that_fails_more_is_told() -> None:
    """With what it stands beside, since when, and that the other one is as it was."""
    detector = met(Versions(TERMS))
    (at, row, first), *_ = judged(detector, minutes(1, 4, 0.2, (0.02, 0.2)))
    assert row == NEW and 94 <= at < 130 and first.verdict is Verdict.ANOMALOUS
    found = first.finding
    assert found is not None and found.unit == "ratio" and found.before < 0.04 and 0.1 < found.now < 0.35
    assert found.since_ns >= (MIDNIGHT + 90) * 60 * 10**9
    assert found.detail.startswith("failures, began ") and found.detail.endswith(" v2.4; v2.3 beside it is unchanged")
    assert detector.beside() == {NEW: OLD}


def test_a_slower_version_is_told() -> None:
    """Four buckets of an eighth of an octave: 1.41 times as long; by its p75 or p95."""
    (at, row, first), *_ = judged(met(Versions(TERMS)), minutes(2, 6, 0.2, slower=5))
    found = first.finding
    assert row == NEW and at < 200 and found is not None and found.unit == "s"
    assert 1.3 < found.now / found.before < 1.8 and found.detail[:3] in ("p75", "p95")


def test_calls_that_end_badly_are_told() -> None:
    """They fail nothing: their answers are cut off."""
    rng, detector, cut = np.random.default_rng(3), met(Versions(TERMS)), ENDINGS.index("length")
    said = []
    for number, each in enumerate(minutes(3, 4, 0.2)):
        share = np.where(each.series == NEW, 0.3, 0.02)
        short = rng.binomial(each.count.astype(int), share).astype(float)
        cell, bucket = np.repeat(each.series, 2), np.tile(np.array([0, cut], np.int32), len(each.series))
        ending = Entries(cell, bucket, np.stack([each.count - short, short], 1).ravel())
        word = detector.tick(Tick(**{**vars(each), "ending": ending}), np.zeros(4, np.int8)).get(NEW)
        said += [(number, word.finding)] if word and word.finding else []
    assert said and said[0][0] < 140 and said[0][1].detail.startswith("calls that ended badly, began ")


def sessions(seed: int, hours: float, bad: float, dearer: int, told: bool = True) -> Iterator[Tick]:
    """Ticks of sessions of OLD, and of NEW from minute 90 on, whose outcomes and costs are other ones."""
    rng = np.random.default_rng(seed)
    for minute in range(int(60 * hours)):
        rows = np.array([OLD, NEW] if minute >= 90 else [OLD])
        count = rng.poisson(10.0, len(rows)) + 1
        worse = rng.binomial(count, np.array([0.1, bad])[: len(rows)])
        costs, lasted = np.zeros((len(rows), 60)), np.zeros((len(rows), 80))
        for place, many in enumerate(count):
            spread = np.clip(rng.normal(20 + dearer * place, 4, many), 0, 59).astype(int)
            costs[place] = np.bincount(spread, minlength=60)
        lasted[:, 64] = count  # A little over five minutes, as wide as buckets are.
        outcomes = np.stack([count - worse, worse], 1) if told or minute >= 90 else np.zeros((len(rows), 2))
        durations, dollars = entries(rows, lasted), entries(rows, costs, -60)
        yield tick(MIDNIGHT + minute, rows, count, None, durations, dollars, entries(rows, outcomes))


@pytest.mark.parametrize(
    ("bad", "dearer", "unit", "said"),
    [
        (0.4, 0, "ratio", "sessions that did not end well, began "),
        (0.1, 6, "usd", " of sessions' costs, began "),
    ],
)
def test_outcomes_and_costs_of_sessions_are_told(bad: float, dearer: int, unit: str, said: str) -> None:
    """By classes that are not good; and by dollars as durations are told by seconds."""
    (_, row, first), *_ = judged(met(Versions(TERMS)), sessions(14, 5, bad, dearer))
    found = first.finding
    assert row == NEW and found is not None and found.unit == unit and said in found.detail
    assert 1.3 < found.now / found.before < 6
    assert judged(met(Versions(TERMS)), sessions(15, 5, 0.1, 0)) == []


def test_what_the_old_version_never_told_is_not_judged() -> None:
    """Its outcomes begin with the comparison: they are shown, and stake nothing."""
    detector = met(Versions(TERMS))
    assert judged(detector, sessions(16, 5, 0.5, 0, told=False)) == []
    levels = detector.gauges()
    assert levels["new_outcome"][NEW] > 4 * levels["old_outcome"][NEW] and levels["matters_outcome"][NEW] == 0


def test_nothing_counts_while_short_units_alone_have_ended() -> None:
    """The new version's first sessions are beside those of any length: five whole minutes pass first."""
    detector, modes = met(Versions(TERMS)), np.zeros(4, np.int8)
    counted = list[float]()
    for each in list(sessions(17, 2, 0.5, 0))[:96]:
        detector.tick(each, modes)
        counted.append(float(detector.gauges()["calls_new"][NEW]))
    assert counted[90:95] == [0] * 5 and counted[95] == each.count[1]


@pytest.mark.parametrize("canary", [0.05, 0.5])
def test_what_both_go_through_is_nobodys_regression(canary: float) -> None:
    """Half of all calls fail for an hour, of both: nothing is said of either."""
    assert judged(met(Versions(TERMS)), minutes(4, 8, canary, provider=(150, 210))) == []


def test_a_small_difference_is_none() -> None:
    """A quarter more failures, told from chance or not, is not the rule's effect."""
    assert judged(met(Versions(TERMS)), minutes(5, 12, 0.5, (0.2, 0.25), calls=200)) == []


def test_what_was_there_at_first_is_not_new() -> None:
    """Both came with the first minute: neither is compared. And one alone has nothing beside it."""
    detector = met(Versions(TERMS))
    assert judged(detector, minutes(6, 3, 0.5, (0.02, 0.5), begins=0)) == []
    assert detector.beside() == {}


def test_it_recovers_and_ends() -> None:
    """Once it fails no more than the other; and a comparison ends when the old version is gone for a day."""
    detector = met(Versions(TERMS))
    assert judged(detector, minutes(7, 4, 0.3, (0.02, 0.3)))
    for shift, mode in ((4, Mode.PAGING),):
        good = (each for each in minutes(8, 4, 0.3, begins=0))
        later = (Tick(**{**vars(each), "start_ns": each.start_ns + shift * HOUR * 60 * 10**9}) for each in good)
        words = judged(detector, later, mode)
    assert words[0][1] == NEW and words[0][2].verdict is Verdict.RECOVERED
    gone = tick(MIDNIGHT + 3 * 1440, np.array([NEW]), np.array([5]))
    assert detector.tick(gone, np.full(4, Mode.PAGING, np.int8))[NEW].verdict is Verdict.RECOVERED
    assert detector.beside() == {}


def test_saved_and_restored_it_goes_on() -> None:
    """Cut in the middle, with equal answers; who is kin to whom is told again."""
    ticks = list(minutes(9, 4, 0.2, (0.02, 0.2)))
    whole = judged(met(Versions(TERMS)), iter(ticks))
    first, second = met(Versions(TERMS)), Versions(TERMS)
    head = judged(first, iter(ticks[:97]))
    second.restore(first.snapshot())
    tail = judged(met(second), iter(ticks[97:]))
    assert [(at, row, word.verdict) for at, row, word in whole] == [
        *((at, row, word.verdict) for at, row, word in head), *((at + 97, row, word.verdict) for at, row, word in tail)
    ]  # fmt: skip


def test_a_forgotten_series_is_in_no_comparison() -> None:
    detector = met(Versions(TERMS))
    judged(detector, minutes(10, 2, 0.2))
    assert detector.beside() == {NEW: OLD}
    detector.forget(np.array([OLD], np.int32))
    assert detector.beside() == {} and np.isnan(detector.gauges()["new_failed"]).all()


def test_the_budget_is_shared_by_the_releases_of_a_week() -> None:
    """One in twenty at most; by so many as began; as the override says; and more after a page that was noise."""
    detector = met(Versions(Terms(0.04, None, None)))
    judged(detector, minutes(11, 2, 0.2))
    needed = detector.gauges()["compared_threshold"][NEW]
    assert needed == pytest.approx(-math.log(0.04))
    detector.ask(NEW, Asked(1.5, None, math.nan, math.nan, 1.0))
    assert detector.gauges()["compared_threshold"][NEW] == pytest.approx(-math.log(ALPHA_MAX))
    detector.doubt(NEW)
    assert detector.gauges()["compared_threshold"][NEW] == pytest.approx(-1.5 * math.log(ALPHA_MAX))


def test_the_comparisons_of_one_release_share_the_twentieth() -> None:
    """A version that two agents begin at once is one release, however large the budget is."""
    detector = met(Versions(Terms(100.0, None, None)))
    detector.meet(4, ("coder",), "v2.4")
    for number, each in enumerate(minutes(18, 2, 0.2)):
        of_coder = tick(MIDNIGHT + number, np.array([4]), np.array([9])) if number >= 90 else None
        for one in (each, of_coder):
            if one is not None:
                detector.tick(one, np.zeros(5, np.int8))
    assert detector.beside() == {NEW: OLD, 4: OTHER}
    assert detector.gauges()["compared_threshold"][[NEW, 4]] == pytest.approx(-math.log(ALPHA_MAX / 2))


def test_state_of_a_version_before_is_gone_on_from() -> None:
    """It knew four measures and the durations alone: a comparison that was under way goes on by these."""
    ticks = list(minutes(9, 4, 0.2, (0.02, 0.2)))
    whole = judged(met(Versions(TERMS)), iter(ticks))
    first, second = met(Versions(TERMS)), Versions(TERMS)
    judged(first, iter(ticks[:97]))
    saved = dict(first.snapshot())
    for name in ("open", "sums", "logs", "run", "from_", "past", "spread"):
        saved[f"pairs.{name}"] = saved[f"pairs.{name}"][:, :4]
    saved["pairs.cuts"], saved["pairs.shape"] = saved["pairs.cuts"][:, :2], saved["pairs.shape"][:, :2]
    for name in ("known.told", "known.lasts", "pairs.told", "pairs.spent"):
        del saved[name]
    second.restore(saved)
    assert not np.isnan(second.gauges()["compared_evidence"][NEW])
    tail = judged(met(second), iter(ticks[97:]))
    (at, row, _), *_ = tail
    assert row == NEW and whole[0][0] <= at + 97 < whole[0][0] + 10  # Calls that ended badly have their stake yet.


def test_intervals_hold_the_truth_at_any_time() -> None:
    """Of 200 streams looked at after every block, few intervals ever leave out the ratio."""
    rng, truth, missed = np.random.default_rng(12), 2.0, 0
    for _ in range(200):
        n1, n2 = np.full(200, 20.0), np.full(200, 80.0)
        k1, k2 = rng.binomial(20, 0.06, 200).astype(float), rng.binomial(80, 0.03, 200).astype(float)
        parts = np.stack([k1, n1, k2, n2, k1 * n2 / 100, k2 * n1 / 100, n1 * n2 / 100], 1).cumsum(0)
        _, low, high = times(parts[10:], np.ones(190))
        missed += bool(((low > truth) | (high < truth)).any())
    assert missed <= 20
    assert len(RATIOS) == 5
