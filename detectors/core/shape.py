"""Likelihood ratios of histograms: has the whole distribution shifted, or its tail grown?

Alternatives 0-3 say that every session takes 1.3 to 3 times as long (costs as much), 4 and 5 that a tenth or a quarter
of them take four times as long. The null already lies 5% above the baseline, plus the baseline's own error and a
little slow tail that was never seen, so that its expected ratio stays at most 1.
"""

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Floats, Ids, Singles
from detectors.core.histogram import BELOW, STEP, WIDTH, shifted
from detectors.core.loops import histogram_ratios

SHIFTS = np.log(np.array([1.3, 1.5, 2.0, 3.0]))
TAILS = np.array([0.10, 0.25])
ALTERNATIVES = len(SHIFTS) + len(TAILS)
WEAKER = np.array([0, 0, 1, 2, 4, 4], np.int32)
"""For each alternative the next weaker one of its kind."""
NULL_DRIFT = np.log(1.05)
SWAYS = 1.5
"""Standard deviations of its own wobble by which the null of the tail alternatives lies higher.

A level that drifts by three of them looks like a grown tail, and eta, learnt from the bulk of the residuals, does not
know it. Against shifts eta does: their null stays where it is.
"""
MIXED_IN = 0.02
"""Share of the null in every alternative: one odd session cannot undo an hour's evidence (ratio >= -3.9)."""
UNITS = 2048
"""Tables are int16 in 1/2048 nat, rounded down: rounding can only slow."""
POOL = np.exp(-0.5 * ((np.arange(WIDTH) - BELOW) * STEP / 0.68) ** 2)
POOL = POOL / POOL.sum()
"""Shape of a series of which nothing is known: lognormal about its median."""


def table(p: Floats, sessions: Floats, sway: Floats, off: Floats | float = 0.0) -> tuple[NDArray[np.int16], Floats]:
    """Log ratios of one session, and what one is worth under each alternative.

    p         (r, W)     expected shares, each row sums to 1
    sessions  (r,)       how many stand behind the baseline
    sway      (r,)       how far the level wobbles on an ordinary day, natural log (standard deviation)
    off       (r,)       how far the level may lie off, natural log, where that is more than the sessions' own error
    returns   (r, W, J) int16 in 1/UNITS nat · (r, J) mean ratio under alternative j, nats
    """
    n = np.maximum(sessions, 1.0)
    x = np.arange(WIDTH) * STEP
    mean = p @ x
    spread = np.sqrt(np.maximum(p @ (x * x) - mean * mean, 0))
    error = np.maximum(1.5 * spread / np.sqrt(n), off)
    unseen = np.minimum(0.25, 0.003 + 10 / n)[:, None]
    slow = unseen * shifted(p, np.full(len(p), np.log(3.0))) + 1e-6
    steady = (1 - unseen) * shifted(p, NULL_DRIFT + error) + slow
    swayed = (1 - unseen) * shifted(p, NULL_DRIFT + error + SWAYS * sway) + slow
    null = np.stack([steady] * len(SHIFTS) + [swayed] * len(TAILS), 2)
    null /= null.sum(1, keepdims=True)
    far = shifted(p, np.full(len(p), np.log(4.0)))
    changed = [shifted(p, by + error) for by in SHIFTS] + [(1 - t) * p + t * far for t in TAILS]
    alternative = np.stack(changed, 2)
    ratio = np.log(((1 - MIXED_IN) * alternative + MIXED_IN * null) / null)
    rounded = np.floor(UNITS * ratio).astype(np.int16)
    worth = (alternative * rounded).sum(1) / UNITS
    return rounded, worth


def ratios(counts: Floats, rows: Ids, shift: Floats | Singles, tables: NDArray[np.int16]) -> Floats:
    """(r, J) log ratios of `counts` (r, W), the tables of their `rows` slid by the hour's `shift` (r,) buckets."""
    return histogram_ratios(counts, rows.astype(np.int64), shift.astype(np.float64), tables, UNITS)
