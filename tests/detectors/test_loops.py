"""Compiled loops against numpy's form of the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detectors.core import dispersion, evidence, loops, packed, shape
from detectors.core.columns import Arrays, Floats, Precision
from detectors.core.dispersion import BLOCK_TICKS, Dispersion
from detectors.core.evidence import Evidence
from detectors.core.histogram import BELOW, SCALE_SHIFT, STEP, WIDTH
from detectors.core.rows import resize, snapshot
from detectors.outcomes import DROPS, TERMS_MAX
from tests.detectors import plainly

ROWS = 300


def test_outcome_ratios_need_no_gamma_function() -> None:
    """Products and gamma functions agree for few sessions and many, whole and weighted."""
    rng = np.random.default_rng(1)
    null = rng.dirichlet([40, 5, 4, 3, 1], ROWS)
    x = rng.poisson(rng.choice([1, 8, 60], (ROWS, 1)) * null).astype(float)
    x[::7] *= 1.3
    concentration = 10 ** rng.uniform(0, 5, ROWS) - 0.9
    ours, plain = (one.outcome_ratios(null, x, concentration, DROPS, TERMS_MAX) for one in (loops, plainly))
    np.testing.assert_allclose(ours, plain, rtol=1e-8, atol=1e-8)


def test_histogram_ratios_agree() -> None:
    """Also of a series without counts, and of shifts out of the window."""
    rng = np.random.default_rng(2)
    bells = np.exp(-0.5 * ((np.arange(WIDTH) - BELOW) * STEP / rng.uniform(0.3, 1.5, (ROWS, 1))) ** 2)
    tables, _ = shape.table(bells / bells.sum(1, keepdims=True), np.full(ROWS, 1e4), np.full(ROWS, 0.1))
    counts = rng.poisson(0.5, (ROWS, WIDTH)).astype(np.float64) * 1.5
    counts[5] = 0
    rows, shift = rng.permutation(ROWS), rng.uniform(-50, 50, ROWS)
    ours, plain = (one.histogram_ratios(counts, rows, shift, tables, shape.UNITS) for one in (loops, plainly))
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-9)


def test_histograms_are_laid_out_alike() -> None:
    """Entries of many series in their windows, far beyond their ends too."""
    rng, many = np.random.default_rng(5), 5000
    at = np.sort(rng.integers(0, ROWS, many))
    bucket, offset = rng.integers(-200, 200, many).astype(np.int32), rng.integers(-30, 30, ROWS).astype(np.int32)
    count, weight = rng.poisson(2.0, many).astype(float), rng.uniform(0.1, 1, ROWS)
    given = bucket, count, at, offset, weight, WIDTH, SCALE_SHIFT
    ours, plain = (one.window_counts(*given) for one in (loops, plainly))
    np.testing.assert_allclose(ours, plain, rtol=1e-12)


def test_what_lies_above_is_counted_alike() -> None:
    """Above any position, below, in and beyond the window; above none nothing is known."""
    rng = np.random.default_rng(6)
    counts, position = rng.poisson(1.0, (ROWS, WIDTH)).astype(float), rng.uniform(-5, WIDTH + 5, ROWS)
    position[7] = np.nan
    ours, plain = (one.count_above(counts, position) for one in (loops, plainly))
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_packed_histograms_are_added_to_alike(kind: type[np.unsignedinteger[Any]]) -> None:
    """Units and buckets, through many a doubling; and both stay as close to the truth as they say."""
    rng, most = np.random.default_rng(7), float(np.iinfo(kind).max)
    true, ours, plain = np.zeros((ROWS, WIDTH)), *(
        (np.zeros((ROWS, WIDTH), kind), np.full(ROWS, packed.FINEST, np.float32)) for _ in range(2)
    )  # fmt: skip
    for _ in range(40):
        rows = np.flatnonzero(rng.random(ROWS) < 0.7)
        values = rng.poisson(rng.choice([0.1, 30.0], (len(rows), WIDTH))) * rng.choice([1.0, 0.3], (len(rows), 1))
        true[rows] += values
        for one, (counts, unit) in ((loops, ours), (plainly, plain)):
            one.add_packed(counts, unit, rows, values, most)
        for mine in (true, ours[1], plain[1]):
            mine *= 0.75
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-6)
    np.testing.assert_allclose(ours[0], plain[0], atol=1)
    told = packed.unpacked(*ours)
    assert (np.abs(told - true) <= 4 * ours[1][:, None]).all() and (ours[1] <= 4 * true.max(1) / most + 1e-3).all()


def gathered(precision: Precision, add: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Evidence after some ticks of drifting series."""
    monkeypatch.setattr(evidence, "add_evidence", add)
    rng, part = np.random.default_rng(3), Evidence(6, 3, precision)
    resize(part, ROWS)
    for t in range(50):
        rows = np.flatnonzero(rng.random(ROWS) < 0.6).astype(np.int32)
        part.begin(rows)
        part.add(rows, rng.normal(0, 1, (len(rows), 6)), rng.poisson(9.0, (len(rows), 3)).astype(float), 29_000_000 + t)
    return snapshot(part, "")


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_evidence_is_the_same_to_the_bit(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding needs no rounding that numpy does otherwise."""
    ours = gathered(precision, loops.add_evidence, monkeypatch)
    for name, plain in gathered(precision, plainly.add_evidence, monkeypatch).items():
        np.testing.assert_array_equal(np.asarray(ours[name]), np.asarray(plain))


def closed(precision: Precision, one: Any, monkeypatch: pytest.MonkeyPatch) -> Dispersion:
    """Dispersion after a day by one's loops, some series silent for hours."""
    for name in ("close_blocks", "learn_tick"):
        monkeypatch.setattr(dispersion, name, getattr(one, name))
    rng, part, last = np.random.default_rng(4), Dispersion(2, 3, precision), 0
    resize(part, ROWS)
    for t in range(1, 1440, 3):
        part.close_blocks(last, t)
        last = t
        rows = np.flatnonzero(rng.random(ROWS) < np.linspace(0, 1, ROWS)).astype(np.int32)
        variance = rng.uniform(1, 2, (len(rows), 2))
        n = rng.poisson(5.0, len(rows)).astype(np.float64) + 1
        part.learn(rows, n, rng.normal(0, 3, (len(rows), 2)), variance)
    part.close_blocks(last, 1440)
    part.refit(np.ones(ROWS, np.bool_))
    return part


@pytest.mark.parametrize(("precision", "close_to"), [(np.float32, 1e-4), (np.float64, 1e-9)])
def test_blocks_are_learnt_and_close_alike(
    precision: Precision, close_to: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Squares, variances and numbers of blocks of every width; each series has a day's worth of minutes at most."""
    ours, plain = (closed(precision, one, monkeypatch) for one in (loops, plainly))
    for name, sums in snapshot(plain, "").items():
        np.testing.assert_allclose(snapshot(ours, "")[name], sums, rtol=close_to, atol=close_to)
    assert (plain.block_count <= 1440 / BLOCK_TICKS + 1e-3).all()
    busy: Floats = plain.block_count[-1]
    np.testing.assert_allclose(busy, np.minimum(480, 1440 / BLOCK_TICKS), rtol=1e-3)
