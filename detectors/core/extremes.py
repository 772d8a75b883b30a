"""The score that a series' own noise passes as often as a budget allows: peaks over a threshold, and their tail.

A generalised Pareto law is fitted by probability-weighted moments (Hosking & Wallis 1987) to the peaks of episodes,
which are closer to independent than steps are. It fails where the weeks to come are wilder than the weeks seen.
"""

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Floats

Steps = NDArray[np.intp]

CALM = 0.985
"""Share of scores below the level above which episodes are counted."""
PEAKS_MIN = 5
"""With fewer peaks the tail is taken as exponential, and the threshold as WIDE at least."""
SHAPE_GUESS, GUESS_PEAKS = 0.2, 50
"""The shape before any peak is seen, and how many peaks that is worth: alone, dozens underrate a heavy tail."""
SHAPES = (-0.2, 0.6)
LEAST_SHAPE = 4.0
"""No page below four robust standard deviations, whatever the budget."""
WIDE = 8.0


def episodes(above: Steps, quiet: int) -> tuple[Steps, Steps]:
    """First and last step of each episode: rising steps no more than `quiet` steps apart are one.

    >>> episodes(np.array([3, 4, 9, 30]), 5)
    (array([ 3, 30]), array([ 9, 30]))
    """
    cuts = np.flatnonzero(np.diff(above) > quiet)
    return above[np.concatenate([[0], cuts + 1])], above[np.concatenate([cuts, [len(above) - 1]])]


def peaks(scores: Floats, level: float, quiet: int) -> Floats:
    """The highest score of each episode above `level`; empty where there is none. NaN scores are no episode."""
    above = np.flatnonzero(scores > level)
    if not len(above):
        return np.empty(0)
    first, _ = episodes(above, quiet)
    highest: Floats = np.maximum.reduceat(np.nan_to_num(scores, nan=-np.inf), first)
    return highest


def tail(excess: Floats) -> tuple[float, float]:
    """Scale and shape of the generalised Pareto law of what peaks exceed their level by; shape is kept in SHAPES.

    >>> scale, shape = tail(-np.log(1 - (np.arange(1000) + 0.5) / 1000))
    >>> round(scale, 1), round(abs(shape), 1)
    (1.0, 0.0)
    """
    m, mean = len(excess), float(excess.mean())
    if m < PEAKS_MIN:
        return mean, 0.0
    weighted = float((np.sort(excess) * (m - 1 - np.arange(m))).sum() / (m - 1) / m)
    apart = mean - 2 * weighted
    own = float(np.clip(2 - mean / apart, *SHAPES)) if apart > 0 else SHAPES[1]
    shape = (m * own + GUESS_PEAKS * SHAPE_GUESS) / (m + GUESS_PEAKS)
    return mean * (1 - shape), shape


def threshold(scores: Floats, weeks: float, budget_per_week: float, quiet: int) -> float:
    """The score, in standard deviations, that one episode in `1 / budget_per_week` weeks should pass, by own peaks.

    scores  (n,) >= 0, NaN where there was no value
    weeks   that the scores which are numbers make up
    """
    level = calm(scores)
    found = peaks(scores, level, quiet)
    least = LEAST_SHAPE if len(found) >= PEAKS_MIN else max(WIDE, 2 * level)
    return max(least, reached(found, level, weeks, budget_per_week)) if len(found) > 1 else least


def calm(scores: Floats) -> float:
    """The level below which nothing is a peak."""
    return float(np.quantile(scores[np.isfinite(scores)], CALM))


def reached(found: Floats, level: float, weeks: float, budget_per_week: float) -> float:
    """The height that `budget_per_week` of the peaks a week should pass; two peaks above `level` at least."""
    share = budget_per_week * weeks / len(found)
    if share >= 1:
        return level
    scale, shape = tail(found - level)
    reach = -np.log(share) if abs(shape) < 1e-3 else (share**-shape - 1) / shape
    return level + scale * float(reach)
