"""A slot cut for several readers, each of which adds up its share of the cells and of the sessions.

A cell and a session have their share by a hash of what names them, the same on every instance. So all that is told of a
session meets in one place, and a cell of calls is added up in one place alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import NO_FIRSTS, Entries, Examples, Ids, Slot
from detectors.core.series import SeriesTable
from service.exchange.part import COLUMNS, MIXES
from service.ingest.legs import Legs
from service.ingest.stretches import Stretches

Rows = NDArray[np.int64]


class Share(NamedTuple):
    """What of a slot one reader adds up: cells, what traces of named sessions went through, sessions that closed."""

    slot: Slot
    stretches: Stretches
    legs: Legs


class Shares:
    """Which of so many shares each cell of an ingest instance is of. One owner, whose cells they are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._of = np.zeros(0, np.int64)
        self._born = np.zeros(0, np.int64)  # As the cells had it: a number may be another cell's later.

    def cut(self, whole: Share, cells: SeriesTable) -> Iterator[Share]:
        """The shares of a slot, in their order; `cells` has the labels of its cells."""
        if self.count == 1:
            yield whole
            return
        slot, stretches, legs = whole
        self._meet(np.union1d(slot.cell, slot.session_cells()).astype(np.int32), cells)
        slots = self._slots(slot)
        halves = np.frombuffer(legs.key.tobytes(), "<u8").reshape(-1, 2)[:, 0]
        of_stretches, of_legs = self._split(stretches.rows["session"]), self._split(halves)
        for mine, stretched, gone in zip(slots, of_stretches, of_legs, strict=True):
            yield Share(mine, stretches.at(stretched), legs.at(gone))

    def _meet(self, known: Ids, cells: SeriesTable) -> None:
        """Know the share of these cells: most of them were met before."""
        if len(self._of) < cells.size:
            more = np.zeros(cells.size - len(self._of), np.int64)
            self._of, self._born = np.append(self._of, more), np.append(self._born, more)
        born = cells.born(known)
        new = known[self._born[known] != born]
        self._of[new] = [share_of(cells.values(cell), self.count) for cell in new.tolist()]
        self._born[known] = born

    def _split(self, numbers: NDArray[np.uint64] | Rows) -> list[Rows]:
        """The rows of each share, in order, by numbers that decide about it."""
        of = (numbers % np.asarray(self.count, numbers.dtype)).astype(np.int64)
        order = np.argsort(of, kind="stable")
        ends = np.searchsorted(of[order], np.arange(self.count + 1))
        return [order[begin:end] for begin, end in pairwise(ends)]

    def _slots(self, slot: Slot) -> Iterator[Slot]:
        """What a slot counted in the cells of each share; what was seen for the first time goes with the first one."""
        rows = self._split(self._of[slot.cell])
        mixed = {name: self._entries(getattr(slot, name)) for name in (*MIXES, "lengths")}
        seen, running = self._split(self._of[slot.examples.cell]), self._split(self._of[slot.running.cell])
        for share, mine in enumerate(rows):
            columns = {name: getattr(slot, name)[mine] for name in COLUMNS}
            mixes = {name: entries[share] for name, entries in mixed.items()}
            examples = Examples(*(column[seen[share]] for column in vars(slot.examples).values()))
            yield replace(
                slot, cell=slot.cell[mine], **columns, **mixes,  # type: ignore[arg-type]
                examples=examples, firsts=NO_FIRSTS if share else slot.firsts, running=slot.running.at(running[share]),
            )  # fmt: skip

    def _entries(self, entries: Entries) -> list[Entries]:
        return [entries.at(rows) for rows in self._split(self._of[entries.cell])]


def share_of(labels: tuple[str, ...], shares: int) -> int:
    """Which of so many readers adds up the cell of these labels.

    >>> share_of(("acme", "support", "chat"), 8)
    6
    """
    return crc32("\x1f".join(labels).encode("utf-8", "surrogatepass")) % shares
