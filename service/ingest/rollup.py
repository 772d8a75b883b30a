"""Calls and closed sessions of one slot, added up into the columns that detectors read."""

import numpy as np

from detectors.core.columns import (
    DEAREST,
    HISTOGRAM_SCALE,
    NOTHING,
    SLOWEST,
    Bools,
    Entries,
    Examples,
    Floats,
    Ids,
    Places,
    Slot,
)
from service.ingest.kernel.constants import (
    UNIT_CACHE_READ,
    UNIT_CACHE_WRITE,
    UNIT_DOLLARS,
    UNIT_EACH,
    UNIT_ENDING,
    UNIT_FAILED,
    UNIT_FIRST,
    UNIT_INPUT,
    UNIT_OUTCOME,
    UNIT_SCORE,
    UNIT_SECONDS,
    UNIT_TRACE_HIGH,
    UNIT_TRACE_LOW,
    UNIT_UNPRICED,
    UNIT_WEIGHT,
)
from service.ingest.kernel.totals import by_bucket, by_cell

BUCKET_MIN, BUCKET_MAX = -240, 200
"""A nanosecond and 32 million: what lies outside is counted at the edge."""


def roll_up(start_ns: int, units: Floats, cells: Ids, calls: int, error_ids: Ids) -> Slot:
    """The slot that begins at `start_ns`, of units (see `kernel/units.pxd`) and their cells; the first are calls.

    `error_ids` are the numbers of the units' types of error, -1 where they have none.

    Units are added in the order given, so equal ones give equal sums. A unit of weight w counts w times in everything:
    tokens and dollars too. A call that only hands in what a wrapper knew of its tokens has weight 0 in the count.
    """
    found, sums, stands = by_cell(units, cells, calls)
    weight, seconds, dollars, outcome = (
        units[row] for row in (UNIT_WEIGHT, UNIT_SECONDS, UNIT_DOLLARS, UNIT_OUTCOME)
    )  # fmt: skip
    is_session = np.arange(len(cells)) >= calls
    timed = ~np.isnan(seconds)
    priced = is_session & (dollars > 0) & (units[UNIT_UNPRICED] == 0)
    ending, ended, began = units[UNIT_ENDING], units[UNIT_ENDING] >= 0, units[UNIT_FIRST] > 0
    scored = units[UNIT_SCORE] > 0
    told = (error_ids >= 0) & (weight > 0)
    labelled = is_session & (outcome >= 0)
    fails = (units[UNIT_FAILED] > 0) & (weight > 0)
    count, squares, failed, input_tokens, output_tokens, cost_usd, unpriced, free = sums
    return Slot(
        start_ns=start_ns,
        cell=found,
        count=count,
        squares=squares,
        failed=failed,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd,
        unpriced=unpriced,
        free=free,
        amount=np.zeros(len(found)),
        duration=_histogram(timed, cells, seconds, weight),
        cost=_histogram(priced, cells, dollars, weight),
        outcome=_mix(labelled, cells, outcome, weight),
        ending=_mix(ended, cells, ending, weight),
        first_token=_histogram(began, cells, units[UNIT_FIRST], weight),
        prompt=_prompt(units, cells),
        score=_histogram(scored, cells, units[UNIT_SCORE], weight),
        error=_mix(told, cells, error_ids, weight),
        failed_squares=_mix(fails, cells, np.zeros(len(cells)), weight**2),
        examples=_examples(units, found, stands),
    )


def _examples(units: Floats, cells: Ids, stands: Places) -> Examples:
    """The units that stand for their cells, without those whose trace nobody knows."""
    high, low = (np.ascontiguousarray(units[row]).view(np.uint64) for row in (UNIT_TRACE_HIGH, UNIT_TRACE_LOW))
    kind, at = np.nonzero((stands >= 0) & ((high | low)[stands] != 0))
    unit = stands[kind, at]
    value = np.select([kind == SLOWEST, kind == DEAREST], [units[UNIT_SECONDS][unit], units[UNIT_DOLLARS][unit]], 1.0)
    return Examples(cells[at], kind.astype(np.int8), value, np.stack([high[unit], low[unit]], 1))


def _prompt(units: Floats, cells: Ids) -> Entries:
    """Input tokens of what tells them, by whether a cache knew them."""
    weight, whole = units[UNIT_EACH], units[UNIT_INPUT]
    read, written = units[UNIT_CACHE_READ] * weight, units[UNIT_CACHE_WRITE] * weight
    kinds = (np.maximum(whole - read - written, 0.0), read, written)
    told = [kind > 0 for kind in kinds]
    if not any(each.any() for each in told):
        return NOTHING
    place = np.repeat(np.arange(3, dtype=np.int32), [int(each.sum()) for each in told])
    joined = [np.concatenate([column[each] for column, each in zip(columns, told, strict=True)])
              for columns in ((cells,) * 3, kinds)]  # fmt: skip
    return _entries(joined[0], place, joined[1])


def buckets(values: Floats) -> Ids:
    """Bucket index of each value at HISTOGRAM_SCALE: bucket i is (2**(i/8), 2**((i+1)/8)].

    >>> buckets(np.array([0.0, 0.5, 1.0, 1.01, 2.0]))
    array([-240,   -9,   -1,    0,    7], dtype=int32)
    """
    with np.errstate(divide="ignore"):
        index: Floats = np.ceil(np.log2(values) * 2**HISTOGRAM_SCALE) - 1
    clipped: Ids = np.clip(index, BUCKET_MIN, BUCKET_MAX).astype(np.int32)
    return clipped


def _histogram(told: Bools, cells: Ids, values: Floats, weight: Floats) -> Entries:
    """The units that tell a value, by its bucket. Most slots of a small fleet tell few kinds, and nothing of others."""
    return _entries(cells[told], buckets(values[told]), weight[told]) if told.any() else NOTHING


def _mix(told: Bools, cells: Ids, classes: Floats | Ids, weight: Floats) -> Entries:
    """The units that tell a class, by it."""
    return _entries(cells[told], classes[told].astype(np.int32), weight[told]) if told.any() else NOTHING


def _entries(cell: Ids, bucket: Ids, weight: Floats) -> Entries:
    """Sum of weights by (cell, bucket)."""
    return Entries(*by_bucket(cell, bucket, weight, BUCKET_MIN, BUCKET_MAX))
