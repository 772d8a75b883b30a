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


def worst(running: Running) -> Running:
    """The longest few of each cell by each measure.

    >>> cell, halves = np.zeros(20, np.int32), np.arange(40, dtype=np.uint64).reshape(20, 2)
    >>> values = np.repeat(np.arange(20.0)[:, None], 5, 1)
    >>> worst(Running(cell, halves, halves, values, ("",) * 20)).values[:, 0].tolist()
    [12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0]
    """
    if len(running.cell) <= WORST:
        return running.at(np.lexsort((running.first[:, 1], running.first[:, 0], running.cell)))
    kept = np.zeros(len(running.cell), np.bool_)
    for measure in range(len(MEASURES)):
        order = np.lexsort((running.first[:, 1], running.first[:, 0], running.values[:, measure], running.cell))
        cell = running.cell[order]
        left = np.searchsorted(cell, cell, "right") - np.arange(len(cell))  # In its cell, from here on.
        kept[order[left <= WORST]] = True
    rows = np.flatnonzero(kept)
    return running.at(rows[np.lexsort((running.first[rows, 1], running.first[rows, 0], running.cell[rows]))])


def trace_id(halves: NDArray[np.uint64]) -> str:
    """A trace's id as people write it: 32 hexadecimal digits.

    >>> trace_id(np.array([1, 2], np.uint64))
    '01000000000000000200000000000000'
    """
    return halves.astype("<u8").tobytes().hex()
