"""Stretches of traces as columns of a part.

Most of their fields are small whole numbers. Ids, times and dollars are not, and are most of the bytes. Whose the first
call of a session was is told where that is another one than whose the session is. What the record of sessions alone
needs stands in columns of its own, which a part may lack.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import SLOT_NS, Floats, Ids
from service.exchange.packing import packed, stacked, unstacked
from service.ingest.kernel.constants import S_FLAGS, S_PART
from service.ingest.kernel.joining import STRETCH
from service.ingest.kernel.results import Structs
from service.ingest.legs import WENT
from service.ingest.running import CALLS
from service.ingest.stretches import WORDS, Stretches

STRETCHES_MAX = 4_096
"""Of one part, as many as there may be cells."""
WENT_MAX = 65_535
COUNTS = {"flags": S_FLAGS, "unpriced": 2**31 - 1, "free": 2**31 - 1, "calls": 2**31 - 1, "repeats": WENT_MAX}
"""What counts something, and the most that each may be; `calls` are of models, of tools, and retrievals."""
SUMS = ("tokens", "dollars", "weight")
SUM_MAX = 1e30
BASIC_WORDS = WORDS[:5]
STRETCH_COLUMNS = len(BASIC_WORDS) + len(COUNTS) + 1 + len(SUMS)
"""How many columns there are beside ids and times."""
LABEL_WORDS = ("version",)
"""What is a label of a session's cell and stands among the columns of the record: told by itself without those."""
RECORD_WORDS = WORDS[5:]
RECORD_SUMS = ("tokens_out", "lowest")
RECORD_COLUMNS = len(RECORD_WORDS) + len(WENT) - 1 + len(RECORD_SUMS)
"""How many the record of sessions needs besides: all of `went` but the first, which is what `calls` leave over."""
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
    rows, found = told.rows, _placed(told, BASIC_WORDS, place_of)
    found[2:4] = [np.where(first == own, 0, first + 1) for first, own in zip(found[2:4], found[:2], strict=True)]
    counts = {name: rows[name].astype(np.int64) for name in COUNTS if name != "calls"}
    counts["calls"] = rows["went"][:, CALLS].sum(1, dtype=np.int64)
    found += [counts[name] for name in COUNTS]
    found.append(rows["outcome"].astype(np.int64) + 1)
    sums = {name: rows[name].astype(np.float64) for name in SUMS if name != "tokens"}
    sums["tokens"] = rows["tokens_in"].astype(np.float64) + rows["tokens_out"]
    return [packed(column) for column in found] + [packed(sums[name]) for name in SUMS]


def label_columns(told: Stretches, place_of: Callable[[str], int]) -> list[tuple[str, bytes]]:
    """The columns that a part without those of the record has in their place."""
    return [packed(column) for column in _placed(told, LABEL_WORDS, place_of)]


def record_columns(told: Stretches, place_of: Callable[[str], int]) -> list[tuple[str, bytes]]:
    """The columns that the record of sessions needs besides."""
    found = [*_placed(told, RECORD_WORDS, place_of), *told.rows["went"][:, 1:].T.astype(np.int64)]
    sums = [told.rows[name].astype(np.float64) for name in RECORD_SUMS]
    return [packed(column) for column in found] + [packed(column) for column in sums]


def _placed(told: Stretches, fields: Sequence[str], place_of: Callable[[str], int]) -> list[NDArray[np.int64]]:
    """Words as places among the texts of the part, which has no text that nobody says."""
    words = np.stack([told.rows[name] for name in fields])
    places = np.zeros(len(told.texts) or 1, np.int64)
    for word in np.unique(words).tolist():
        places[word] = place_of(told.texts[word])
    return [*places[words]]


def ids_and_times(told: Stretches, start_ns: int) -> bytes:
    """The rest, after the columns."""
    rows = told.rows
    stated = np.where(rows["outcome"] >= 0, rows["last"] - rows["outcome_ns"], 0)
    times = (rows["last"] - start_ns, rows["last"] - rows["ended"], rows["ended"] - rows["first"], stated)
    ids = np.stack([rows["trace_high"], rows["trace_low"]], 1), rows["session"]
    return b"".join((*map(stacked, times), *(each.astype("<u8").tobytes() for each in ids)))


def read(
    n: int, whole: Callable[[int, int], Ids], floats: Callable[[int], Floats], rest: Callable[[int], bytes],
    start_ns: int, texts: tuple[str, ...], outcomes: int, has_record: bool, has_labels: bool,
) -> Stretches:  # fmt: skip
    """The stretches of a part, from what gives its next columns. Raises CrossingError, or what these do.

    whole       a column of so many whole numbers, none larger than
    floats      a column of so many numbers
    rest        so many bytes after the columns
    has_record  whether it has the columns that the record of sessions needs
    has_labels  whether it has those that stand in their place; a version before told none
    """
    rows = np.zeros(n, STRETCH)
    for name in BASIC_WORDS:
        rows[name] = whole(n, len(texts))
    for name, own in (("open_tenant", "tenant"), ("open_agent", "agent")):
        rows[name] = np.where(rows[name] == 0, rows[own], rows[name] - 1)
    counts = {name: whole(n, most) for name, most in COUNTS.items()}
    for name in counts.keys() - {"calls"}:
        rows[name] = counts[name]
    rows["outcome"] = whole(n, outcomes) - 1
    sums = {name: _sums(floats(n), name) for name in SUMS}
    for name in sums.keys() - {"tokens"}:
        rows[name] = sums[name]
    if has_record:
        _read_record(rows, whole, floats, len(texts), counts["calls"], sums["tokens"])
    else:  # All calls are calls of models then, and all tokens go in: sums are what length is counted by.
        rows["went"][:, 0], rows["tokens_in"] = np.minimum(counts["calls"], WENT_MAX), sums["tokens"]
        rows["flags"] |= S_PART
    for name in LABEL_WORDS if has_labels else ():
        rows[name] = whole(n, len(texts))
    if n and max(rows[name].max() for name in WORDS) >= len(texts):
        raise CrossingError("a trace names a text that is not there")
    _times(rows, rest, start_ns)
    return Stretches(rows, texts)


def _read_record(
    rows: Structs, whole: Callable[[int, int], Ids], floats: Callable[[int], Floats], texts: int, calls: Ids,
    tokens: Floats,
) -> None:  # fmt: skip
    n = len(rows)
    for name in RECORD_WORDS:
        rows[name] = whole(n, texts)
    for place in range(1, len(WENT)):
        rows["went"][:, place] = whole(n, WENT_MAX)
    of_models = calls - rows["went"][:, CALLS].sum(1, dtype=np.int64)
    tokens_out, rows["lowest"] = (_sums(floats(n), name) for name in RECORD_SUMS)
    if n and not (0 <= of_models.min() <= of_models.max() <= WENT_MAX and (tokens_out <= tokens).all()):
        raise CrossingError("the calls or tokens of a trace are fewer than some of them")
    rows["went"][:, 0], rows["tokens_in"], rows["tokens_out"] = of_models, tokens - tokens_out, tokens_out


def _sums(values: Floats, name: str) -> Floats:
    if len(values) and not 0 <= values.min() <= values.max() <= SUM_MAX:
        raise CrossingError(f"what traces add to {name} is none")
    return values


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
