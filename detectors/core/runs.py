"""Sessions by how long they are: those that run, one by one, and those that ended, as histograms.

A session is looked at by five measures. Its series is that of its first call: the root, which may name another agent,
comes last, and a session must be judged under the name under which others were learnt.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEASURES = ("times", "calls", "tokens", "dollars", "seconds")
"""How often one tool was called with the same arguments; calls of models, tools and retrievals; tokens; dollars as far
as prices are known; and seconds from the first beginning to the last end."""
PLACES, FIRST_BUCKET = 512, -240
"""Of one measure, and the bucket that is at the first of them. Place p of measure m is number `m * PLACES + p`."""
WORST = 8
"""Sessions of a series that one slot tells by one measure: the longest."""


@dataclass(frozen=True, eq=False)
class Running:
    """Open sessions that went on in a slot and are long.

    cell    (m,) int32       ascending; of a tick, the series
    first   (m, 2) uint64    its first trace, which stands for the session: two halves of the id, little-endian
    trace   (m, 2) uint64    its trace that went on last
    values  (m, 5) float64   see MEASURES
    tool    m texts          the tool that was called most often with the same arguments; empty: none was called again
    """

    cell: NDArray[np.int32]
    first: NDArray[np.uint64]
    trace: NDArray[np.uint64]
    values: NDArray[np.float64]
    tool: tuple[str, ...]

    def at(self, rows: NDArray[np.int64]) -> "Running":
        """Some of them."""
        tool = tuple(self.tool[row] for row in rows.tolist())
        return Running(self.cell[rows], self.first[rows], self.trace[rows], self.values[rows], tool)


NONE_RUNS = Running(
    np.empty(0, np.int32), np.empty((0, 2), np.uint64), np.empty((0, 2), np.uint64), np.empty((0, len(MEASURES))), ()
)


def together(parts: list[Running]) -> Running:
    """The sessions of several tables, by cell."""
    if not parts:
        return NONE_RUNS
    cell, first, trace, values = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("cell", "first", "trace", "values")
    )
    all_of = Running(cell, first, trace, values, tuple(tool for part in parts for tool in part.tool))
    return all_of.at(np.argsort(all_of.cell, kind="stable"))


def longest(cell: NDArray[np.int32], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the longest few of each cell by each measure, in order; lengths are held against each other in singles.

    >>> longest(np.zeros(20, np.int32), np.repeat(np.arange(20.0)[:, None], 5, 1)).tolist()
    [12, 13, 14, 15, 16, 17, 18, 19]
    """
    kept = np.zeros(len(cell), np.bool_)
    grouped = np.sort(cell)
    is_last_few = np.searchsorted(grouped, grouped, "right") - np.arange(len(cell)) <= WORST
    for measure in range(len(MEASURES)):
        # The bits of numbers that are not negative are in the order of the numbers.
        bits = values[:, measure].astype(np.float32).view(np.uint32)
        order = np.argsort(cell.astype(np.int64) << 32 | bits, kind="stable")
        kept[order[is_last_few]] = True
    return np.flatnonzero(kept)


def worst(running: Running) -> Running:
    """The longest few of each cell by each measure, by cell and first trace."""
    rows = longest(running.cell, running.values)
    return running.at(rows[np.lexsort((running.first[rows, 1], running.first[rows, 0], running.cell[rows]))])


def trace_id(halves: NDArray[np.uint64]) -> str:
    """A trace's id as people write it: 32 hexadecimal digits.

    >>> trace_id(np.array([1, 2], np.uint64))
    '01000000000000000200000000000000'
    """
    return halves.astype("<u8").tobytes().hex()
