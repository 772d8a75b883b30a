"""The error detector against the same engine written one number at a time."""

import numpy as np
import pytest

from detectors import errors
from detectors.core.columns import Mode
from detectors.core.contract import Terms
from tests.detectors import scalar
from tests.detectors.ticks import MIDNIGHT, Watching, tick

TERMS = Terms(budget_per_week=1.0, ratio=1.5, points=0.005)


def clumped(rng: np.random.Generator, n: np.ndarray, p: np.ndarray, icc: float = 0.004) -> np.ndarray:
    """Failures whose chance moves from minute to minute."""
    m = 1 / icc - 1
    return rng.binomial(n, rng.beta(p * m, (1 - p) * m))


def test_the_evidence_is_the_definition_s() -> None:
    """Over six days of four series with two incidents: same pages, same closes, same evidence at every tick."""
    rng = np.random.default_rng(7)
    minutes = 6 * 1440
    rate = np.array([0.3, 6.0, 30.0, 60.0])[:, None]
    n = rng.poisson(rate * (1 + 0.5 * np.sin(np.arange(minutes) / 1440 * 2 * np.pi)))
    p = np.full(n.shape, 0.01) * np.array([1.0, 2.0, 1.0, 0.6])[:, None]
    p[2, 3 * 1440 + 600 : 3 * 1440 + 900] = 0.06
    p[1, 4 * 1440 + 100 :] = 0.15
    k = clumped(rng, n, p)
    expected, detector, watching = scalar.Rule(4), errors.build(TERMS), Watching(5)
    compared = 0
    for t in range(minutes):
        expected.step(list(zip(n[:, t].tolist(), k[:, t].tolist(), strict=True)))
        rows = np.flatnonzero(n[:, t])
        ticked = tick(MIDNIGHT + t, rows + 1, n[rows, t], k[rows, t]) if len(rows) else None
        watching.judge(detector, ticked, MIDNIGHT + t)
        for row in rows.tolist():
            one = expected.series[row]
            if one.state in (scalar.WATCHED, scalar.RECOVERING) and watching.modes[row + 1] != Mode.PAGING:
                both = np.isfinite(one.log_r) & np.isfinite(detector.engine.evidence.log_r[row + 1])
                ours, theirs = detector.engine.evidence.log_r[row + 1][both], np.array(one.log_r)[both]
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
                compared += int(both.sum())
    assert compared > 50_000
    assert watching.pages == [(row + 1, MIDNIGHT + t) for row, t in expected.pages]
    assert watching.closed == [(row + 1, MIDNIGHT + t) for row, t in expected.closed]
    assert {row for row, _ in expected.pages} == {1, 2, 3}


def test_the_worked_example() -> None:
    """Six ticks whose evidence was worked out by hand from the formulas."""
    detector = errors.build(TERMS)
    modes = np.zeros(2, np.int8)
    detector.tick(tick(MIDNIGHT, np.array([1]), np.array([1.0])), modes)
    detector.engine.life.warm[1] = True
    detector.engine.threshold = 16.14978
    detector.signal.baseline.share[1] = 0.01  # type: ignore[attr-defined]
    detector.signal.baseline.upper[1] = 0.012  # type: ignore[attr-defined]
    detector.engine.dispersion.rho[1] = 0.004
    detector.engine.dispersion.eta[1] = [0.3, 0.3, 0.5, 0.7, 0.9, 1.0]
    told, seen = [], {}
    for i, (n, k) in enumerate([(60, 1), (0, 0), (55, 6), (62, 9), (58, 7), (61, 8)]):
        if n:
            ticked = tick(MIDNIGHT + 1 + i, np.array([1]), np.array([float(n)]), np.array([float(k)]))
            seen = dict(detector.tick(ticked, modes))
        told.append(round(float(detector.engine.evidence.total(np.array([1], np.int32))[0]), 5))
        assert bool(seen) == (i == 5)
    assert told == [-0.54924, -0.54924, 3.28004, 7.67256, 12.00665, 16.49097]
    finding = seen[1].finding
    assert finding is not None
    assert (round(finding.now * finding.count), finding.count) == (30, 236)
    assert finding.before == pytest.approx(0.01, rel=1e-6)  # Runs are kept to seven digits.
