"""Base-2 exponential buckets (OTLP scale 2) in a window of 40 that each series places on its own median.

A bucket number is a position in the window; bucket b of a series with offset o is OTLP index b + o, and covers
(2**((b+o)/4), 2**((b+o+1)/4)] seconds or dollars. The end buckets are open. Positions are bucket numbers with a
fraction, linear in the logarithm of the value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core import loops
from detectors.core.columns import Entries, Floats, Ids, Places, Singles

WIDTH = 40
BELOW = 16
"""Buckets of the window below the one that holds the median."""
STEP = np.log(2) / 4
SCALE_SHIFT = 1
"""Slots count at OTLP scale 3, one finer than here; an index halves into its coarser bucket exactly."""


def windowed(entries: Entries, at: Places, offset: Ids, weight: Floats) -> Floats:
    """Dense (r, WIDTH) counts of r series, each in its own window.

    at (m,) which of the series each entry counts for · offset (r,) first bucket of a window · weight (r,) what an
    entry's count is multiplied with
    """
    return loops.window_counts(entries.bucket, entries.count, at, offset, weight, WIDTH, SCALE_SHIFT)


def medians(entries: Entries) -> Places:
    """Median bucket at this file's scale of each cell that has entries, in the order of the cells.

    >>> cell, bucket = np.array([[3, 3, 7], [9, 4, 6]], np.int32)
    >>> medians(Entries(cell, bucket, np.array([2.0, 1.0, 1.0]))).tolist()
    [4, 3]
    """
    order = np.lexsort((entries.bucket, entries.cell))
    bucket, count = entries.bucket[order] >> SCALE_SHIFT, np.maximum(entries.count[order], 1).astype(np.int64)
    _, at = entries.cells()
    size = np.bincount(at, count).astype(np.int64)
    first, upto = np.cumsum(size) - size, np.cumsum(count)
    low, high = (bucket[np.searchsorted(upto, first + middle, "right")] for middle in ((size - 1) // 2, size // 2))
    return np.trunc((low + high) / 2).astype(np.int64)


def quantile_position(counts: NDArray[Any], q: float) -> Floats:
    """Position of the q-quantile of each histogram (r, WIDTH), linear within its bucket; NaN where it is empty.

    >>> quantile_position(np.array([[0, 2.0, 2.0] + [0.0] * 37]), 0.75).tolist()
    [2.5]
    """
    above: Floats = np.cumsum(counts, 1, dtype=np.float64)
    target = q * above[:, -1]
    bucket = np.minimum((above < target[:, None]).sum(1), counts.shape[1] - 1)
    rows = np.arange(len(counts))
    inside = counts[rows, bucket]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(inside > 0, (target - (above[rows, bucket] - inside)) / inside, 0.0)
    return np.where(above[:, -1] > 0, bucket + part, np.nan)


def value_at(position: Floats, offset: Ids) -> Floats:
    """Seconds or dollars at a position: `2 ** ((position + offset) / 4)`."""
    value: Floats = np.exp2((position + offset) / 4)
    return value


def count_above(counts: Floats, position: Floats) -> Floats:
    """(r,) how many of each histogram lie above a position (r,), linear inside the bucket that holds it.

    >>> count_above(np.array([[4.0, 4.0]]), np.array([0.75])).tolist()
    [5.0]
    """
    return loops.count_above(counts, position)


def shifted(p: Floats, by: Floats) -> Floats:
    """Histograms of the same data times e**by: (r, W) shares that sum to 1, by (r,) in natural log.

    Linear CDF inside buckets; left of the first edge the CDF falls as e^(2x); the top bucket is open.

    >>> shifted(np.array([[0.5, 0.5, 0.0]]), np.array([STEP])).round(3).tolist()
    [[0.354, 0.146, 0.5]]
    """
    width = p.shape[1]
    last = width - 1
    cdf = np.cumsum(p, 1)
    whole = np.floor(by / STEP).astype(np.int64)
    part = (by / STEP - whole)[:, None]
    at = np.arange(last) - whole[:, None]
    high, low = np.minimum(at, last - 1), np.minimum(at - 1, last - 1)
    c_high = np.take_along_axis(cdf, np.maximum(high, 0), 1) * np.exp(2 * STEP * np.minimum(high, 0))
    c_low = np.take_along_axis(cdf, np.maximum(low, 0), 1) * np.exp(2 * STEP * np.minimum(low, 0))
    c = np.maximum.accumulate((1 - part) * c_high + part * c_low, 1)
    return np.concatenate([np.diff(c, axis=1, prepend=0.0), 1 - c[:, -1:]], 1)


def slid(counts: Floats | Singles, by: Ids) -> Floats:
    """Counts (r, W) whose window moves up by whole buckets (r,): what leaves it piles up in its end buckets.

    >>> slid(np.array([[1.0, 2.0, 4.0]]), np.array([1])).tolist()
    [[3.0, 4.0, 0.0]]
    """
    width = counts.shape[1]
    bucket = np.clip(np.arange(width) - by[:, None], 0, width - 1)
    flat = np.arange(len(by))[:, None] * width + bucket
    out: Floats = np.bincount(flat.ravel(), counts.ravel(), counts.size).astype(float)
    return out.reshape(counts.shape)
