"""Histograms of many series at one or two bytes a bucket: whole numbers of a unit that each row has of its own.

A row decays by its unit, which rounds nothing. What is added is rounded to the unit; where a bucket would overflow,
the row's unit doubles. So each bucket is good to a part in 30,000 (or 120) of the row's largest, whatever has come and
gone, and what is rounded away once cannot stay for ever.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Floats, Ids, Places, Singles
from detectors.core.loops import add_packed

Packed = NDArray[np.unsignedinteger[Any]]
FINEST = 1 / 64
"""Unit of a row that begins, in sessions: they may be weighted, hence fractions."""
LEAST_UNIT = 1e-9
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
    add_packed(counts, unit, at.astype(np.int64), values, float(np.iinfo(counts.dtype).max))


def put(counts: Packed, unit: Singles, at: Ids | Places, values: Floats) -> None:
    """Put `values` in place of what these rows hold."""
    counts[at], unit[at] = 0, FINEST
    add(counts, unit, at, values)


def decay(unit: Singles, keep: float) -> None:
    """Leave so much of all rows."""
    unit *= keep
    np.maximum(unit, LEAST_UNIT, out=unit)
