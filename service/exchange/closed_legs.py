"""Legs of sessions that closed where they were counted, as columns of a part: those that nothing names, of one trace.

Where producers key records by session, all others, too. Ids and times are most of their bytes.
"""

from collections.abc import Callable

import numpy as np

from detectors.core.columns import SLOT_NS, Floats, Ids
from service.exchange.crossing import SUM_MAX, WENT_MAX, CrossingError
from service.exchange.packing import packed, stacked, unstacked
from service.ingest.legs import NO_LEGS, WENT, Legs, Texts

LEGS_MAX = 4_096
"""Of one part, as many as there may be cells."""
NAMED, FAILED, UNPRICED = 1, 2, 4
TRACES_MAX = 2**31 - 1
SUMS = ("input tokens", "output tokens", "dollars", "weight", "lowest score")
LEG_COLUMNS = len(Texts._fields) + 2 + len(WENT) + len(SUMS)
"""How many columns there are beside ids and times."""


def columns(legs: Legs, place_of: Callable[[str], int]) -> list[tuple[str, bytes]]:
    """The columns but for ids and times; `place_of` gives the place of a text among those of the part."""
    texts = np.array([[place_of(text) for text in each] for each in legs.texts], np.int64).reshape(-1, 5)
    is_unpriced = np.isnan(legs.dollars)
    flags = legs.named * NAMED + legs.failed * FAILED + is_unpriced * UNPRICED
    whole = [*texts.T, flags.astype(np.int64), legs.traces, *legs.went.T]
    sums = (*legs.tokens.T, np.where(is_unpriced, 0.0, legs.dollars), legs.weight, np.nan_to_num(legs.lowest))
    return [packed(column) for column in whole] + [packed(column) for column in sums]


def ids_and_times(legs: Legs, start_ns: int) -> bytes:
    """The rest: from the start of the slot back to the end, from there to the begin, traces, and half of what stands
    for a name: of ten million sessions no two share that by chance.
    """
    names = _halves(legs)[legs.named]
    times = (start_ns - legs.last_ns, legs.last_ns - legs.first_ns)
    return b"".join((*map(stacked, times), legs.trace.tobytes(), names.tobytes()))


def _halves(legs: Legs) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.frombuffer(legs.key.tobytes(), "<u8").reshape(-1, 2)[:, 0]


def read(
    n: int, whole: Callable[[int, int], Ids], floats: Callable[[int], Floats], rest: Callable[[int], bytes],
    start_ns: int, texts: tuple[str, ...],
) -> Legs:  # fmt: skip
    """The legs of a part, from what gives its next columns, as `crossing.read` has it. Raises CrossingError."""
    words = np.stack([whole(n, len(texts) - 1) for _ in Texts._fields], 1)
    flags, traces = whole(n, NAMED | FAILED | UNPRICED), whole(n, TRACES_MAX)
    went = np.stack([whole(n, WENT_MAX) for _ in WENT], 1).astype(np.int64)
    sums = [floats(n) for _ in SUMS]
    for name, values in zip(SUMS, sums, strict=True):
        if n and not 0 <= values.min() <= values.max() <= SUM_MAX:
            raise CrossingError(f"the {name} of a leg is none")
    tokens_in, tokens_out, dollars, weight, lowest = sums
    back, lasted = unstacked(rest(8 * n)), unstacked(rest(8 * n))
    trace = np.frombuffer(rest(16 * n), "V16")
    named = flags & NAMED > 0
    key = np.zeros((n, 2), "<u8")
    key[~named] = np.frombuffer(trace.tobytes(), "<u8").reshape(-1, 2)[~named]
    key[named, 0] = np.frombuffer(rest(8 * int(named.sum())), "<u8")
    if not n:
        return NO_LEGS
    if not (-SLOT_NS < back.min() <= back.max() < start_ns and lasted.min() >= 0):
        raise CrossingError("a leg ends after its slot, or before it begins")
    if (first_ns := start_ns - back - lasted).min() < 0:
        raise CrossingError("a leg begins before all time")
    return Legs(
        key.view("V16")[:, 0], trace, named, first_ns, start_ns - back, traces.astype(np.int64), went,
        np.where(lowest > 0, lowest, np.nan), np.stack([tokens_in, tokens_out], 1),
        np.where(flags & UNPRICED > 0, np.nan, dollars), flags & FAILED > 0, weight,
        [Texts(*(texts[word] for word in row)) for row in words.tolist()],
    )  # fmt: skip
