"""Compiled loops against numpy's form of the same, which stands in for them where nothing can be compiled."""

import numpy as np
import pytest

from detectors import outcomes
from detectors.core import compiled, dispersion, evidence, shape
from detectors.core.columns import Arrays, Floats, Precision
from detectors.core.compiled import Compiled
from detectors.core.dispersion import BLOCK_TICKS, Dispersion
from detectors.core.evidence import Evidence
from detectors.core.histogram import BELOW, STEP, WIDTH
from detectors.core.rows import resize, snapshot

LOOPS = [outcomes._ratios, shape._ratios, evidence._add, dispersion._close, dispersion._learn]
ROWS = 300


@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_compiles(loop: Compiled) -> None:
    """The compiler takes each of them, for each of its types."""
    assert loop._made() is not loop.plain


def test_what_cannot_be_compiled_is_numpy_s() -> None:
    """A loop that the compiler refuses is answered by its plain form."""
    refused = Compiled(["f8(f8)"], lambda x: x.no_such_thing, lambda x: x + 1)
    compiled._COMPILED.remove(refused)
    assert refused(1.0) == 2.0


def test_outcome_ratios_need_no_gamma_function() -> None:
    """Products and gamma functions agree for few sessions and many, whole and weighted."""
    rng = np.random.default_rng(1)
    null = rng.dirichlet([40, 5, 4, 3, 1], ROWS)
    x = rng.poisson(rng.choice([1, 8, 60], (ROWS, 1)) * null).astype(float)
    x[::7] *= 1.3
    concentration = 10 ** rng.uniform(0, 5, ROWS) - 0.9
    ours, plain = outcomes._ratios(null, x, concentration), outcomes.ratios_plainly(null, x, concentration)
    np.testing.assert_allclose(ours, plain, rtol=1e-8, atol=1e-8)


def test_histogram_ratios_agree() -> None:
    """Also of a series without counts, and of shifts out of the window."""
    rng = np.random.default_rng(2)
    bells = np.exp(-0.5 * ((np.arange(WIDTH) - BELOW) * STEP / rng.uniform(0.3, 1.5, (ROWS, 1))) ** 2)
    tables, _ = shape.table(bells / bells.sum(1, keepdims=True), np.full(ROWS, 1e4), np.full(ROWS, 0.1))
    counts = rng.poisson(0.5, (ROWS, WIDTH)).astype(np.float64) * 1.5
    counts[5] = 0
    rows, shift = rng.permutation(ROWS), rng.uniform(-50, 50, ROWS)
    ours, plain = (ratios(counts, rows, shift, tables) for ratios in (shape._ratios, shape.ratios_plainly))
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-9)


def gathered(precision: Precision, add: object, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Evidence after some ticks of drifting series."""
    monkeypatch.setattr(evidence, "_add", add)
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
    ours = gathered(precision, evidence._add, monkeypatch)
    for name, plain in gathered(precision, evidence._add_plainly, monkeypatch).items():
        np.testing.assert_array_equal(np.asarray(ours[name]), np.asarray(plain))


def closed(precision: Precision, loops: tuple[object, object], monkeypatch: pytest.MonkeyPatch) -> Dispersion:
    """Dispersion after a day, some series silent for hours."""
    for name, loop in zip(("_close", "_learn"), loops, strict=True):
        monkeypatch.setattr(dispersion, name, loop)
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
    loops, numpys = (dispersion._close, dispersion._learn), (dispersion._close_plainly, dispersion._learn_plainly)
    ours, plain = (closed(precision, two, monkeypatch) for two in (loops, numpys))
    for name, sums in snapshot(plain, "").items():
        np.testing.assert_allclose(snapshot(ours, "")[name], sums, rtol=close_to, atol=close_to)
    assert (plain.block_count <= 1440 / BLOCK_TICKS + 1e-3).all()
    busy: Floats = plain.block_count[-1]
    np.testing.assert_allclose(busy, np.minimum(480, 1440 / BLOCK_TICKS), rtol=1e-3)
