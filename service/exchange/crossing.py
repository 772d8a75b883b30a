"""Stretches of traces as columns of a part.

Most of their fields are small whole numbers. Ids, times and dollars are not, and are most of the bytes. Whose the first
call of a session was is told where that is another one than whose the session is.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import SLOT_NS, Floats, Ids
from service.exchange.packing import packed, stacked, unstacked
from service.ingest.kernel.constants import S_FLAGS
from service.ingest.kernel.joining import STRETCH
from service.ingest.kernel.results import Structs
from service.ingest.stretches import WORDS, Stretches

STRETCHES_MAX = 4_096
"""Of one part, as many as there may be cells."""
COUNTS = {"flags": S_FLAGS, "unpriced": 2**31 - 1, "free": 2**31 - 1, "calls": 2**31 - 1, "repeats": 65_535}
"""Fields that count something, and the most that each may be."""
SUMS = ("tokens", "dollars", "weight")
SUM_MAX = 1e30
STRETCH_COLUMNS = len(WORDS) + len(COUNTS) + 1 + len(SUMS)
"""How many columns there are beside ids and times."""
TIMES = 4
"""Columns of times: the last end, from the start of the slot; from there back to the first end, from there back to the
first begin; and from the last end back to when an outcome was stated."""


class CrossingError(ValueError):
    """Columns that are no stretches; the text says why."""


def places(told: Stretches, traces: NDArray[np.uint64]) -> Ids:
    """Where in some stretches the traces of these ids, by halves, are; -1 for those that are not there."""
    if not len(told):
        return np.full(len(traces), -1, np.int32)
    order = np.argsort(told.rows["trace_high"], kind="stable")
    at = order[np.minimum(np.searchsorted(told.rows["trace_high"][order], traces[:, 0]), len(order) - 1)]
    same = (told.rows["trace_high"][at] == traces[:, 0]) & (told.rows["trace_low"][at] == traces[:, 1])
    found: Ids = np.where(same, at, -1).astype(np.int32)
    return found


def columns(told: Stretches, place_of: Callable[[str], int]) -> list[tuple[str, bytes]]:
    """The columns but for ids and times; `place_of` gives the place of a text among those of the part."""
    rows, places = told.rows, np.array([place_of(text) for text in told.texts] or [0], np.int64)
    found = [places[rows[name]] for name in WORDS]
    found[2:4] = [np.where(first == own, 0, first + 1) for first, own in zip(found[2:4], found[:2], strict=True)]
    found += [rows[name].astype(np.int64) for name in COUNTS]
    found.append(rows["outcome"].astype(np.int64) + 1)
    return [packed(column) for column in found] + [packed(rows[name].astype(np.float64)) for name in SUMS]


def ids_and_times(told: Stretches, start_ns: int) -> bytes:
    """The rest, after the columns."""
    rows = told.rows
    stated = np.where(rows["outcome"] >= 0, rows["last"] - rows["outcome_ns"], 0)
    times = (rows["last"] - start_ns, rows["last"] - rows["ended"], rows["ended"] - rows["first"], stated)
    ids = np.stack([rows["trace_high"], rows["trace_low"]], 1), rows["session"]
    return b"".join((*map(stacked, times), *(each.astype("<u8").tobytes() for each in ids)))


def read(
    n: int, whole: Callable[[int, int], Ids], floats: Callable[[int], Floats], rest: Callable[[int], bytes],
    start_ns: int, texts: tuple[str, ...], outcomes: int,
) -> Stretches:  # fmt: skip
    """The stretches of a part, from what gives its next columns. Raises CrossingError, or what these do.

    whole   a column of so many whole numbers, none larger than
    floats  a column of so many numbers
    rest    so many bytes after the columns
    """
    rows = np.zeros(n, STRETCH)
    for name in WORDS:
        rows[name] = whole(n, len(texts))
    for name, own in (("open_tenant", "tenant"), ("open_agent", "agent")):
        rows[name] = np.where(rows[name] == 0, rows[own], rows[name] - 1)
    if n and max(rows[name].max() for name in WORDS) >= len(texts):
        raise CrossingError("a trace names a text that is not there")
    for name, most in COUNTS.items():
        rows[name] = whole(n, most)
    rows["outcome"] = whole(n, outcomes) - 1
    for name in SUMS:
        values = floats(n)
        if n and not 0 <= values.min() <= values.max() <= SUM_MAX:
            raise CrossingError(f"what traces add to {name} is none")
        rows[name] = values
    _times(rows, rest, start_ns)
    return Stretches(rows, texts)


def _times(rows: Structs, rest: Callable[[int], bytes], start_ns: int) -> None:
    n = len(rows)
    since, back, lasted, stated = (unstacked(rest(8 * n)) for _ in range(TIMES))
    halves = np.frombuffer(rest(16 * n), "<u8").reshape(-1, 2)
    rows["trace_high"], rows["trace_low"] = halves[:, 0], halves[:, 1]
    rows["session"] = np.frombuffer(rest(8 * n), "<u8")
    for column in (back, lasted, stated, -since):
        if n and not -SLOT_NS < column.min() <= column.max() <= start_ns + SLOT_NS:
            raise CrossingError("a time of a trace lies outside of what can be")
    rows["last"] = start_ns + since
    rows["ended"] = rows["last"] - back
    rows["first"] = rows["ended"] - lasted
    rows["outcome_ns"] = np.where(rows["outcome"] >= 0, rows["last"] - stated, 0)
    if n and (rows["first"].min() < 0 or back.min() < 0 or lasted.min() < 0):
        raise CrossingError("a trace begins after its end, or before all time")
