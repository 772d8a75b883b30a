"""Outcome ratios against the Dirichlet-multinomial itself."""

import numpy as np
from scipy.stats import dirichlet_multinomial

from detectors import outcomes
from detectors.core.columns import OUTCOMES
from detectors.core.contract import Terms
from detectors.core.count_signal import Counted
from detectors.core.rows import resize
from tests.detectors.ticks import MIDNIGHT, Watching, entries, tick

K = len(OUTCOMES)


def test_ratios_are_dirichlet_multinomial() -> None:
    """Every drop and target: log-likelihood of the moved mix less that of the null."""
    rng = np.random.default_rng(5)
    signal = outcomes.Outcomes(0.10)
    resize(signal.baseline, 1)
    null = np.array([0.78, 0.11, 0.06, 0.04, 0.01])
    signal.baseline.null[0] = null
    rho = 0.01
    x = rng.multinomial(60, null).astype(float)
    ratios = signal.ratios(
        Counted(0, np.zeros(1, np.int32), np.array([60.0]), x[None], np.empty((1, 0))), 3, np.array([[rho]])
    )[0]

    def log_likelihood(mix: np.ndarray) -> float:
        return float(dirichlet_multinomial.logpmf(x.astype(int), mix * (1 / rho - 1), np.array(60)))

    for d, drop in enumerate(outcomes.DROPS):
        lost = min(drop, 0.9 * null[0])
        for g in range(K):
            mix = null.copy()
            mix[0] -= lost
            if g:
                mix[g] += lost
            else:
                mix[1:] *= 1 + lost / (1 - null[0])
            np.testing.assert_allclose(ratios[d * K + g], log_likelihood(mix) - log_likelihood(null), atol=1e-8)


def test_a_drift_of_the_good_share_pages_and_recovers() -> None:
    """80% to 60% at one session a second pages within half an hour, once, and closes after it is over."""
    rng = np.random.default_rng(11)
    detector, watching = outcomes.build(Terms(1.0, None, 0.10)), Watching(4)
    good, bad = [0.80, 0.10, 0.06, 0.03, 0.01], [0.60, 0.20, 0.12, 0.07, 0.01]
    begin, end = 4 * 1440 + 600, 4 * 1440 + 720
    rows = np.arange(1, 4)
    for t in range(5 * 1440):
        mixes = [good, bad if begin <= t < end else good, good]
        x = np.stack([rng.multinomial(rng.poisson(60), mix) for mix in mixes])
        n = x.sum(1)
        watching.judge(detector, tick(MIDNIGHT + t, rows, n, outcome=entries(rows, x)), MIDNIGHT + t)
    assert [row for row, _ in watching.pages] == [2]
    (_, paged), (_, closed) = watching.pages[0], watching.closed[0]
    assert begin < paged - MIDNIGHT < begin + 30
    assert end < closed - MIDNIGHT < end + 120
