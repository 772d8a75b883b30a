"""Calls and closed sessions of one slot, added up into the columns that detectors read."""

from itertools import chain

import numpy as np

from detectors.core.columns import HISTOGRAM_SCALE, Entries, Floats, Ids, Slot
from service.ingest.prices import CostSource

BUCKET_MIN, BUCKET_MAX = -240, 200
"""A nanosecond and 32 million: what lies outside is counted at the edge."""
Unit = tuple[int, float, float, float, float, float, float, float, float, int]
"""cell, weight, failed, input tokens, output tokens, dollars, unpriced, free, seconds or NaN, outcome or -1."""


def call_unit(
    cell: int, weight: float, failed: bool, tokens: tuple[float, float], cost: tuple[float, CostSource], seconds: float
) -> Unit:
    """One call: its tokens and dollars count in its cell."""
    dollars, source = cost
    unpriced, free = float(source is CostSource.UNPRICED), float(source is CostSource.FREE)
    return (cell, weight, float(failed), *tokens, dollars, unpriced, free, seconds, -1)


def roll_up(start_ns: int, calls: list[Unit], sessions: list[Unit]) -> Slot:
    """The slot that begins at `start_ns`. Units are added in the order given, so equal lists give equal sums.

    A unit of weight w counts w times in everything: tokens and dollars too. A call that only hands in what a wrapper
    knew of its tokens has weight 0 in the count; see `resolve`.
    """
    units = chain.from_iterable(chain(calls, sessions))
    rows = np.fromiter(units, np.float64, 10 * (len(calls) + len(sessions))).reshape(-1, 10)
    cells, place = np.unique(rows[:, 0].astype(np.int32), return_inverse=True)
    weight = rows[:, 1]
    is_session = np.arange(len(rows)) >= len(calls)

    def summed(values: Floats) -> Floats:
        return np.bincount(place, values, len(cells)).astype(np.float64)

    seconds, dollars, outcome = rows[:, 8], rows[:, 5], rows[:, 9]
    timed = ~np.isnan(seconds)
    priced = is_session & (dollars > 0) & (rows[:, 6] == 0)
    labelled = is_session & (outcome >= 0)
    return Slot(
        start_ns=start_ns,
        cell=cells,
        count=summed(weight),
        squares=summed(weight * weight),
        failed=summed(weight * rows[:, 2]),
        input_tokens=summed(rows[:, 3]),
        output_tokens=summed(rows[:, 4]),
        cost_usd=summed(np.where(is_session, 0.0, dollars)),
        unpriced=summed(weight * rows[:, 6]),
        free=summed(weight * rows[:, 7]),
        amount=np.zeros(len(cells)),
        duration=_entries(cells[place[timed]], buckets(seconds[timed]), weight[timed]),
        cost=_entries(cells[place[priced]], buckets(dollars[priced]), weight[priced]),
        outcome=_entries(cells[place[labelled]], outcome[labelled].astype(np.int32), weight[labelled]),
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
    pairs, place = np.unique(key, return_inverse=True)
    count = np.bincount(place, weight[kept], len(pairs)).astype(np.float64)
    return Entries((pairs // span).astype(np.int32), (pairs % span + BUCKET_MIN).astype(np.int32), count)
