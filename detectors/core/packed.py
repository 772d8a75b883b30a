"""Histograms of many series at one or two bytes a bucket: whole numbers of a unit that each row has of its own.

A row decays by its unit, which rounds nothing. What is added is rounded to the unit; where a bucket would overflow,
the row's unit doubles. So each bucket is good to a part in 30,000 (or 120) of the row's largest, whatever has come and
gone, and what is rounded away once cannot stay for ever.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Floats, Ids, Places, Singles
from detectors.core.compiled import compiled

Packed = NDArray[np.unsignedinteger[Any]]
FINEST = 1 / 64
"""Unit of a row that begins, in sessions: they may be weighted, hence fractions."""
LEAST = 1e-9
"""Unit at which a row that nothing is added to decays no further."""


def unpacked(counts: Packed, unit: Singles) -> Floats:
    """Counts (..., W) of rows whose units are (...)."""
    told: Floats = counts * unit.astype(np.float64)[..., None]
    return told


def add(counts: Packed, unit: Singles, at: Ids | Places, values: Floats) -> None:
    """Add `values` (r, W) to the rows `at` (r,), each at most once, of counts (S, W) and their units (S,).

    >>> counts, unit = np.zeros((1, 2), np.uint8), np.ones(1, np.float32)
    >>> for _ in range(2):
    ...     add(counts, unit, np.array([0]), np.array([[200.0, 3.0]]))
    >>> counts.tolist(), unit.tolist()
    ([[200, 3]], [2.0])
    """
    _add(counts, unit, at.astype(np.int64), values, float(np.iinfo(counts.dtype).max))


def put(counts: Packed, unit: Singles, at: Ids | Places, values: Floats) -> None:
    """Put `values` in place of what these rows hold."""
    counts[at], unit[at] = 0, FINEST
    add(counts, unit, at, values)


def decay(unit: Singles, keep: float) -> None:
    """Leave so much of all rows."""
    unit *= keep
    np.maximum(unit, LEAST, out=unit)


def add_plainly(counts: Packed, unit: Singles, at: Places, values: Floats, most: float) -> None:
    """`add` in numpy."""
    grown = counts[at] + values / unit[at].astype(np.float64)[:, None]
    factor = np.exp2(np.ceil(np.log2(np.maximum(grown.max(1) / most, 1))))
    counts[at] = np.rint(grown / factor[:, None])
    unit[at] *= factor


_TAKES = "void({0}[:,::1], f4[::1], i8[::1], f8[:,::1], f8)"


@compiled([_TAKES.format(kind) for kind in ("u1", "u2")], add_plainly)
def _add(counts: Packed, unit: Singles, at: Places, values: Floats, most: float) -> None:
    width = counts.shape[1]
    for i in range(len(at)):
        row = at[i]
        finer, top, low, high = 1 / unit[row], 0.0, 0, width
        while low < width and values[i, low] <= 0:
            low += 1
        while high > low and values[i, high - 1] <= 0:
            high -= 1
        for b in range(low, high):
            top = max(top, counts[row, b] + values[i, b] * finer)
        if top > most:
            factor = np.exp2(np.ceil(np.log2(top / most)))
            finer /= factor
            unit[row] *= factor
            for b in range(width):
                counts[row, b] = np.rint(counts[row, b] / factor + values[i, b] * finer)
        else:
            for b in range(low, high):
                counts[row, b] = np.rint(counts[row, b] + values[i, b] * finer)
