"""Open sessions, and how long those that ended were, as a piece of a part: their cells are none of its others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from detectors.core.columns import NOTHING, Entries, Ids, Slot, added_up
from detectors.core.runs import NONE_RUNS, Running, together, worst
from detectors.core.series import OVERFLOW, SeriesTable

Named = tuple[tuple[str, str], ...]


class Followed(NamedTuple):
    """What one part tells of sessions; cells are places in `named`, tenants and agents."""

    named: Named = ()
    lengths: Entries = NOTHING
    running: Running = NONE_RUNS


def followed(slot: Slot, some: Ids, cells: SeriesTable) -> Followed:
    """What a slot tells of some of these cells, given in order."""
    if not len(some):
        return Followed()
    values = [cells.values(cell) for cell in some.tolist()]
    lengths, running = slot.lengths, slot.running
    mine = np.isin(lengths.cell, some)
    placed = Entries(
        np.searchsorted(some, lengths.cell[mine]).astype(np.int32), lengths.bucket[mine], lengths.count[mine]
    )
    theirs = running.at(np.flatnonzero(np.isin(running.cell, some)))
    named = tuple((tenant, agent) for tenant, agent, *_ in values)
    theirs = replace(theirs, cell=np.searchsorted(some, theirs.cell).astype(np.int32))
    return Followed(named, placed if mine.any() else NOTHING, theirs)


def all_of(parts: Sequence[Followed], id_of: Callable[[tuple[str, str]], int]) -> tuple[Entries, Running]:
    """What all parts tell, by the reader's cells; what finds no room there is left out."""
    lengths, running = list[Entries](), list[Running]()
    for part in parts:
        ids = np.array([id_of(names) for names in part.named], np.int32)
        if not len(ids):
            continue
        kept = ids[part.lengths.cell] != OVERFLOW
        lengths.append(Entries(ids[part.lengths.cell[kept]], part.lengths.bucket[kept], part.lengths.count[kept]))
        one = part.running.at(np.flatnonzero(ids[part.running.cell] != OVERFLOW))
        running.append(replace(one, cell=ids[one.cell]))
    if not lengths:
        return NOTHING, NONE_RUNS
    cell, bucket = (np.concatenate([getattr(each, name) for each in lengths]) for name in ("cell", "bucket"))
    return added_up(cell, bucket, np.concatenate([each.count for each in lengths])), worst(together(running))
