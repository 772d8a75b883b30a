"""A slot cut for several readers, each of which adds up its share of the cells and of the sessions.

A cell and a session have their share by a hash of what names them, the same on every instance. So all that is told of a
session meets in one place, and a cell of calls is added up in one place alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple
from zlib import crc32

import numpy as np

from detectors.core.columns import NO_FIRSTS, Entries, Examples, Ids, Slot
from detectors.core.series import SeriesTable
from service.exchange.part import COLUMNS, MIXES
from service.ingest.legs import Legs
from service.ingest.stretches import Stretches


class Share(NamedTuple):
    """What of a slot one reader adds up: cells, what traces of named sessions went through, sessions that closed."""

    slot: Slot
    stretches: Stretches
    legs: Legs


def shared(whole: Share, cells: SeriesTable, shares: int) -> Iterator[Share]:
    """The share of each of so many readers, in their order; `cells` has the labels of the slot's cells."""
    if shares == 1:
        yield whole
        return
    slot, stretches, legs = whole
    known = np.union1d(slot.cell, slot.session_cells()).astype(np.int32)
    of_cells = np.array([share_of(cells.values(cell), shares) for cell in known.tolist()], np.int64)
    of_stretches = stretches.rows["session"] % np.uint64(shares)
    of_legs = np.frombuffer(legs.key.tobytes(), "<u8").reshape(-1, 2)[:, 0] % np.uint64(shares)
    for share in range(shares):
        yield Share(
            _slot_of(slot, known[of_cells == share], first=share == 0),
            stretches.at(np.flatnonzero(of_stretches == share)),
            legs.at(np.flatnonzero(of_legs == share)),
        )


def share_of(labels: tuple[str, ...], shares: int) -> int:
    """Which of so many readers adds up the cell of these labels.

    >>> share_of(("acme", "support", "chat"), 8)
    7
    """
    return crc32("\x1f".join(labels).encode("utf-8", "surrogatepass")) % shares


def _slot_of(slot: Slot, mine: Ids, first: bool) -> Slot:
    """What a slot counted in some of its cells; what was seen for the first time goes with the `first` share."""
    rows = np.isin(slot.cell, mine)
    mixes = {name: _entries_of(getattr(slot, name), mine) for name in (*MIXES, "lengths")}
    columns = {name: getattr(slot, name)[rows] for name in COLUMNS}
    seen, kept = slot.examples, np.isin(slot.examples.cell, mine)
    return replace(
        slot, cell=slot.cell[rows], **columns, **mixes,  # type: ignore[arg-type]
        examples=Examples(seen.cell[kept], seen.kind[kept], seen.value[kept], seen.trace[kept]),
        firsts=slot.firsts if first else NO_FIRSTS,
        running=slot.running.at(np.flatnonzero(np.isin(slot.running.cell, mine))),
    )  # fmt: skip


def _entries_of(entries: Entries, mine: Ids) -> Entries:
    kept = np.isin(entries.cell, mine)
    return Entries(entries.cell[kept], entries.bucket[kept], entries.count[kept])
