"""What every detector owes: learnt from nothing but its ticks, saved and restored whole, blind to its neighbours."""

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from detectors.core.columns import ENDINGS, Entries, Mode, Tick, Verdict
from detectors.core.contract import Detector, Terms
from detectors.core.descriptor import build, modules
from tests.detectors.ticks import MIDNIGHT, tick

TERMS = {
    "errors": Terms(1.0, 1.5, 0.005),
    "latency": Terms(1.0, 1.5, None),
    "cost": Terms(1.0, 1.5, None),
    "outcomes": Terms(1.0, None, 0.10),
    "endings": Terms(1.0, None, 0.10),
    "static": Terms(math.nan, None, None, "error_ratio", "", 0.2, 5 * 60 * 10**9, 1),
    "level": Terms(1.0, None, None, "error_ratio", "", math.nan, 5 * 60 * 10**9, 1),
    "river": Terms(1.0, None, None, "latency_p95", "", math.nan, 10 * 60 * 10**9, 1),
    "absence": Terms(1.0, None, None, "", "", math.nan, 5 * 60 * 10**9, 1),
    "burn": Terms(math.nan, None, None, "", "", 30_000.0),
    "slo": Terms(math.nan, None, None, "error_ratio", objective=0.99, spans=(60, 360)),
    "telemetry": Terms(1.0, None, None, window_ns=5 * 60 * 10**9),
    "versions": Terms(1.0, None, None),
    "runaway": Terms(1.0, None, None, repeats=15.0, dollars=4.0),
}
BUILT_AS = {"river": "river.GaussianScorer"}
WITH_EVIDENCE = ["cost", "endings", "errors", "latency", "outcomes"]
DAYS = {"absence": 11.0}
"""How long a stream must be for a page; five days are enough for the others."""
SERIES = 5
TOLD_TICKS = sorted(set(TERMS) - {"telemetry", "versions", "runaway"})
"""Those that judge series alone: one looks at the clock (test_telemetry.py), one at pairs (test_versions.py), one at
open sessions (test_runaway.py)."""


def built(name: str) -> Detector:
    return build(BUILT_AS.get(name, name), TERMS[name])


@cache
def stream(seed: int, days: float) -> list[Tick]:
    """Ticks of four series in which everything moves now and then. Made once for all detectors, as it takes seconds."""
    rng, ticks = np.random.default_rng(seed), []
    for t in range(int(days * 1440)):
        rows = np.flatnonzero(rng.random(SERIES) < 0.7)
        rows = rows[(rows > 0) & ((rows != 2) | (t < 9 * 1440) | (t % 1440 < 700))]
        draws = {row: (rng.poisson(20) + 1, rng.normal(0, 1, 60), rng.random(60)) for row in range(1, SERIES)}
        wrong = t % 1440 > 1240 and t > 3 * 1440
        if len(rows):
            ticks.append(_tick(MIDNIGHT + t, rows, draws, wrong))
    return ticks


def _tick(index: int, rows, draws, wrong: bool) -> Tick:  # type: ignore[no-untyped-def]
    n = np.array([draws[r][0] for r in rows])
    failed = np.array([(draws[r][2][: draws[r][0]] < (0.4 if wrong else 0.02)).sum() for r in rows])
    value = {r: np.exp(0.5 * draws[r][1][: draws[r][0]] + (1.1 if wrong else 0)) for r in rows}
    histogram = _entries(rows, {r: np.ceil(np.log2(value[r]) * 8).astype(int) - 1 for r in rows})
    usd = n * (0.5 if wrong else 0.001)
    classes = {r: (draws[r][2][: draws[r][0]] > (0.4 if wrong else 0.8)).astype(int) for r in rows}
    outcomes = _entries(rows, classes)
    cut_off = replace(outcomes, bucket=outcomes.bucket * ENDINGS.index("length"))
    return replace(tick(index, rows, n, failed, histogram, histogram, outcomes, usd=usd), ending=cut_off)


def _entries(rows, buckets) -> Entries:  # type: ignore[no-untyped-def]
    cell = np.concatenate([np.full(len(buckets[r]), r) for r in rows])
    pairs, count = np.unique(
        np.stack([cell, np.concatenate([buckets[r] for r in rows])], 1), axis=0, return_counts=True
    )
    return Entries(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), count.astype(float))


def verdicts(detector, ticks, modes=None) -> list[tuple[int, int, Verdict]]:  # type: ignore[no-untyped-def]
    """All that a detector says of a stream, modes (changed in place) following its verdicts at once."""
    modes, said = np.zeros(SERIES, np.int8) if modes is None else modes, []
    turns = {
        Verdict.ANOMALOUS: Mode.PAGING,
        Verdict.RELAPSED: Mode.PAGING,
        Verdict.RECOVERED: Mode.WATCHED,
    }
    for one in ticks:
        for row, judgement in detector.tick(one, modes.copy()).items():
            said.append((one.start_ns, row, judgement.verdict))
            modes[row] = turns.get(judgement.verdict, modes[row])
    return said


def test_all_are_found() -> None:
    """A detector is a module with a `DETECTOR`; these tests know terms for each."""
    assert sorted(modules()) == sorted(TERMS)


@pytest.mark.parametrize("name", TOLD_TICKS)
def test_it_pages_in_this_stream(name: str) -> None:
    """The stream below moves enough to page every detector, so that the other tests compare something."""
    said = verdicts(built(name), stream(1, DAYS.get(name, 5)))
    assert any(verdict is Verdict.ANOMALOUS for *_, verdict in said)
    assert any(verdict is Verdict.RECOVERED for *_, verdict in said)


@pytest.mark.parametrize("name", sorted(TERMS))
def test_saved_and_restored_it_goes_on(name: str) -> None:
    """Restored into a new detector at any moment, it says what it would have said."""
    ticks, whole, modes = stream(2, 4.5), built(name), np.zeros(SERIES, np.int8)
    for begin, end in pairwise((0, 100, 2600, 5600, len(ticks))):
        second, same = built(name), modes.copy()
        second.restore(whole.snapshot())
        assert verdicts(second, ticks[begin:end], same) == verdicts(whole, ticks[begin:end], modes)
        saved, kept = second.snapshot(), whole.snapshot()
        assert saved.keys() == kept.keys()
        for key in saved:
            np.testing.assert_array_equal(np.asarray(saved[key]), np.asarray(kept[key]))


@pytest.mark.parametrize("name", sorted(set(TERMS) - {"level", "river"}))
def test_memory_is_constant(name: str) -> None:
    """A series costs the same after four days as after one. (`level` and `river` fill four weeks first.)"""
    detector = built(name)
    ticks = stream(3, 3)
    verdicts(detector, ticks[:1000])
    before = {key: np.asarray(a).shape for key, a in detector.snapshot().items()}
    verdicts(detector, ticks[1000:])
    assert {key: np.asarray(a).shape for key, a in detector.snapshot().items()} == before


@pytest.mark.parametrize("name", WITH_EVIDENCE)
def test_a_new_series_is_not_judged(name: str) -> None:
    """Warming up is a state: until two refits and 200 sessions nothing is said, however wild the stream."""
    detector = built(name)
    assert verdicts(detector, stream(4, 1.9)) == []
    assert np.isnan(detector.gauges()["evidence"]).all()


@pytest.mark.parametrize("name", sorted(TERMS))
def test_its_gauges_are_described(name: str) -> None:
    """Each level that it tells has a metric, and each metric that it describes is told."""
    detector = built(name)
    verdicts(detector, stream(6, 1))
    told, described = detector.gauges().keys(), modules()[name].gauges
    # A window that the rule does not ask for has no burn rate, and what is learnt has no schedule.
    assert {one for one in described if not one.startswith(("slo_burn_", "silent"))} <= told <= set(described)


@pytest.mark.parametrize("name", TOLD_TICKS)
def test_a_forgotten_series_is_new(name: str) -> None:
    """An id that is used again starts from nothing: no baseline, no evidence, no level of the last one."""
    detector = built(name)
    verdicts(detector, stream(5, 3))
    detector.forget(np.arange(SERIES, dtype=np.int32))
    for gauge, values in detector.gauges().items():
        if gauge not in ("static_limit", "burn_limit", "slo_allowed", "warm", "session_unpriced_ratio"):
            assert np.isnan(values).all(), gauge
    if "warm" in detector.gauges():
        assert detector.gauges()["warm"].max() == 0
