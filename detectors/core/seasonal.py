"""What a series should be at this step, and how far it usually strays: medians over the hour and over past days.

All windows look back only, and every row is computed from its own window alone, so that how a stream is cut into
blocks changes no bit of any answer.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detectors.core.columns import Floats

SEASON_DAYS, SEASON_WEEKS = 7, 4
"""Days, or weeks, that a season is the median of."""
SPREAD_DAYS = 4


def medians(rows: Floats, least: int) -> Floats:
    """Median along the last axis without NaN; NaN where fewer than `least` numbers are left.

    >>> medians(np.array([[1.0, 9.0, 2.0], [np.nan, np.nan, 5.0]]), 2)
    array([ 2., nan])
    """
    ordered = np.sort(rows, axis=-1)  # NaN last
    n = np.count_nonzero(np.isfinite(rows), axis=-1)
    low, high = np.maximum((n - 1) // 2, 0), np.minimum(n // 2, rows.shape[-1] - 1)
    first = np.take_along_axis(ordered, low[..., None], -1)[..., 0]
    second = np.take_along_axis(ordered, high[..., None], -1)[..., 0]
    middle: Floats = np.where(n >= least, first + (second - first) / 2, np.nan)
    return middle


def median(values: Floats) -> float:
    """Median without NaN; NaN of nothing."""
    return float(medians(values[None], 1)[0]) if len(values) else float("nan")


def trailing(history: Floats, block: int, window: int, least: int) -> Floats:
    """Medians of the `window` steps before each of the last `block` steps of `history`, the step itself left out.

    >>> trailing(np.array([1.0, 2.0, 9.0, 4.0]), 2, 2, 1)
    array([1.5, 5.5])
    """
    before = history[max(0, len(history) - block - window) : len(history) - 1]
    padded = np.concatenate([np.full(block + window - 1 - len(before), np.nan), before])
    return medians(sliding_window_view(padded, window), least)


def by_slot(history: Floats, end: int, day: int, days: int) -> Floats:
    """Median over the last `days` of each slot of the day (or of a longer season); (day,), NaN where none has the slot.

    history  steps up to, not with, grid step `end`; slot of step i is i % day
    """
    whole = history[-days * day :]
    padded = np.concatenate([np.full(days * day - len(whole), np.nan), whole])
    slots = medians(padded.reshape(days, day).T, 1)
    return np.roll(slots, end % day)


def smoothed(values: Floats, window: int) -> Floats:
    """Median of each step and its neighbours, `window` steps in all; NaN steps are filled from them."""
    half = window // 2
    padded = np.concatenate([np.full(half, np.nan), values, np.full(window - 1 - half, np.nan)])
    return medians(sliding_window_view(padded, window), 1)


def season(history: Floats, end: int, slots: int, seasons: int) -> Floats:
    """The usual level of each slot of a season, over so many of them; (slots,), NaN while none has the slot."""
    return by_slot(smoothed(history[-seasons * slots :], 3), end, slots, seasons)


def usual_spread(sizes: Floats, end: int, day: int, half_hour: int) -> Floats:
    """The usual size of a residual in each slot of the day, over four days; (day,), NaN while unknown."""
    return by_slot(smoothed(sizes[-SPREAD_DAYS * day :], half_hour | 1), end, day, SPREAD_DAYS)


def mean(history: Floats, block: int, window: int) -> Floats:
    """Means of the last `block` steps, each with the `window - 1` before it; NaN steps are left out, all NaN is NaN.

    >>> mean(np.array([1.0, np.nan, 3.0, 5.0]), 2, 3)
    array([2., 4.])
    """
    own = history[max(0, len(history) - block - window + 1) :]
    padded = np.concatenate([np.full(block + window - 1 - len(own), np.nan), own])
    shifted = [padded[back : back + block] for back in range(window)]
    total, n = np.zeros(block), np.zeros(block)
    for column in shifted:
        total += np.where(np.isfinite(column), column, 0.0)
        n += np.isfinite(column)
    means: Floats = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return means
