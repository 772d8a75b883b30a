"""Calls and closed sessions of one slot, added up into the columns that detectors read."""

import numpy as np

from detectors.core.columns import HISTOGRAM_SCALE, Entries, Floats, Ids, Slot
from service.ingest.kernel.constants import (
    UNIT_DOLLARS,
    UNIT_FAILED,
    UNIT_FREE,
    UNIT_INPUT,
    UNIT_OUTCOME,
    UNIT_OUTPUT,
    UNIT_SECONDS,
    UNIT_UNPRICED,
    UNIT_WEIGHT,
)

BUCKET_MIN, BUCKET_MAX = -240, 200
"""A nanosecond and 32 million: what lies outside is counted at the edge."""


def roll_up(start_ns: int, units: Floats, cells: Ids, calls: int) -> Slot:
    """The slot that begins at `start_ns`, of units (see `kernel/units.pxd`) and their cells; the first are calls.

    Units are added in the order given, so equal ones give equal sums. A unit of weight w counts w times in everything:
    tokens and dollars too. A call that only hands in what a wrapper knew of its tokens has weight 0 in the count.
    """
    present = np.zeros(int(cells.max(initial=-1)) + 1, np.bool_)
    present[cells] = True
    found = np.flatnonzero(present).astype(np.int32)
    place = (np.cumsum(present) - 1)[cells]
    weight = units[UNIT_WEIGHT]
    is_session = np.arange(len(cells)) >= calls

    def summed(values: Floats) -> Floats:
        return np.bincount(place, values, len(found)).astype(np.float64)

    seconds, dollars, outcome = units[UNIT_SECONDS], units[UNIT_DOLLARS], units[UNIT_OUTCOME]
    timed = ~np.isnan(seconds)
    priced = is_session & (dollars > 0) & (units[UNIT_UNPRICED] == 0)
    labelled = is_session & (outcome >= 0)
    return Slot(
        start_ns=start_ns,
        cell=found,
        count=summed(weight),
        squares=summed(weight * weight),
        failed=summed(weight * units[UNIT_FAILED]),
        input_tokens=summed(units[UNIT_INPUT]),
        output_tokens=summed(units[UNIT_OUTPUT]),
        cost_usd=summed(np.where(is_session, 0.0, dollars)),
        unpriced=summed(weight * units[UNIT_UNPRICED]),
        free=summed(weight * units[UNIT_FREE]),
        amount=np.zeros(len(found)),
        duration=_entries(cells[timed], buckets(seconds[timed]), weight[timed]),
        cost=_entries(cells[priced], buckets(dollars[priced]), weight[priced]),
        outcome=_entries(cells[labelled], outcome[labelled].astype(np.int32), weight[labelled]),
    )


def buckets(values: Floats) -> Ids:
    """Bucket index of each value at HISTOGRAM_SCALE: bucket i is (2**(i/8), 2**((i+1)/8)].

    >>> buckets(np.array([0.0, 0.5, 1.0, 1.01, 2.0]))
    array([-240,   -9,   -1,    0,    7], dtype=int32)
    """
    with np.errstate(divide="ignore"):
        index: Floats = np.ceil(np.log2(values) * 2**HISTOGRAM_SCALE) - 1
    clipped: Ids = np.clip(index, BUCKET_MIN, BUCKET_MAX).astype(np.int32)
    return clipped


def _entries(cell: Ids, bucket: Ids, weight: Floats) -> Entries:
    """Sum of weights by (cell, bucket)."""
    span = BUCKET_MAX - BUCKET_MIN + 1
    kept = weight > 0
    key = cell[kept].astype(np.int64) * span + (bucket[kept].astype(np.int64) - BUCKET_MIN)
    order = np.argsort(key)
    key, weight = key[order], weight[kept][order]
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))[: len(key)]
    pairs, count = key[first], np.add.reduceat(weight, first) if len(first) else np.zeros(0)
    return Entries((pairs // span).astype(np.int32), (pairs % span + BUCKET_MIN).astype(np.int32), count)
