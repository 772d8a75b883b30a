"""A slot cut into parts, and parts of many partitions added up into one slot."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from detectors.core.columns import (
    NO_FIRSTS,
    NOTHING,
    Entries,
    Examples,
    Firsts,
    Floats,
    Ids,
    Places,
    Slot,
    added_up,
    best_of,
)
from detectors.core.series import OVERFLOW, SeriesTable
from service.exchange.closed_legs import LEGS_MAX
from service.exchange.crossing import STRETCHES_MAX, places
from service.exchange.following import Followed, all_of, followed
from service.exchange.part import CELLS_MAX, COLUMNS, MIXES, SESSIONS_OF_MAX, Part
from service.ingest.cardinality import Cardinality
from service.ingest.join.closing import NO_MORE
from service.ingest.legs import NO_LEGS, Legs
from service.ingest.stretches import Stretches


def cut(
    slot: Slot, stretches: Stretches, legs: Legs | None, cells: SeriesTable, errors: SeriesTable,
    outcomes: tuple[str, ...],
) -> Iterator[Part]:  # fmt: skip
    """The parts of a slot, whose cells and types of error are those of these tables, and of what traces went through.

    Examples of traces that are told anyway have no ids of their own. With `legs` of None the record is left out.
    """
    assert CELLS_MAX == STRETCHES_MAX == LEGS_MAX, "a piece has the same rows of all"
    gone = NO_LEGS if legs is None else legs
    # A share without a cell may have what the slot has for the first time.
    starts = range(0, max(len(slot.cell), len(stretches), len(gone), any(slot.firsts)), CELLS_MAX)
    of_sessions = slot.session_cells()
    for piece, first in enumerate(starts):
        rows = slice(first, first + CELLS_MAX)
        known = slot.cell[rows]
        mixes = {name: _of(getattr(slot, name), known) for name in MIXES}
        named, mixes["error"] = _numbered(mixes["error"])
        columns = {name: getattr(slot, name)[rows] for name in COLUMNS}
        some = of_sessions[first : first + CELLS_MAX if piece + 1 < len(starts) else first + SESSIONS_OF_MAX]
        told = followed(slot, some, cells)
        seen = _examples_of(slot.examples, known)
        part = Slot(
            start_ns=slot.start_ns, cell=np.arange(len(known), dtype=np.int32), **columns, **mixes,  # type: ignore[arg-type]
            examples=seen, firsts=NO_FIRSTS if piece else slot.firsts,
            lengths=told.lengths, running=told.running,
        )  # fmt: skip
        yield Part(
            piece, tuple(cells.values(cell) for cell in known.tolist()), part, outcomes,
            tuple(errors.values(error)[0] for error in named.tolist()), told.named, stretches.at(rows),
            places(stretches, seen.trace), gone.at(rows), legs is not None,
        )  # fmt: skip


def _of(entries: Entries, known: Ids) -> Entries:
    """The entries of some cells, by their places."""
    if not len(known):
        return NOTHING
    begin, end = np.searchsorted(entries.cell, [known[0], known[-1] + 1])
    some = entries.at(slice(int(begin), int(end)))
    return Entries(np.searchsorted(known, some.cell).astype(np.int32), some.bucket, some.count)


def _numbered(entries: Entries) -> tuple[Ids, Entries]:
    """The buckets that are there, and the entries with the places of their buckets among these."""
    named, places = np.unique(entries.bucket, return_inverse=True)
    return named.astype(np.int32), Entries(entries.cell, places.astype(np.int32), entries.count)


def _examples_of(seen: Examples, known: Ids) -> Examples:
    mine = np.isin(seen.cell, known) & np.isfinite(seen.value)
    order = np.lexsort((seen.kind[mine], seen.cell[mine]))
    cell = np.searchsorted(known, seen.cell[mine]).astype(np.int32)
    return Examples(cell[order], seen.kind[mine][order], seen.value[mine][order], seen.trace[mine][order])


def with_traces(pieces: Sequence[Part]) -> list[Part]:
    """The pieces that one source has of a slot, each with the ids of its examples' traces.

    Where a report is missing a trace may not be known: such an example is left out.
    """
    rows = np.concatenate([piece.stretches.rows for piece in pieces])
    traces = np.stack([rows["trace_high"], rows["trace_low"]], 1)
    found = []
    for piece in pieces:
        seen, is_there = piece.slot.examples, piece.known < len(traces)
        known = np.flatnonzero(is_there & (piece.known >= 0))
        seen.trace[known] = traces[piece.known[known]]
        examples = Examples(seen.cell[is_there], seen.kind[is_there], seen.value[is_there], seen.trace[is_there])
        found.append(replace(piece, slot=replace(piece.slot, examples=examples)))
    return found


class Together:
    """Adds parts of one slot up. Cells, types of error and classes of outcomes get the numbers of the reader.

    cells, errors  where they have their numbers, cells by what `cardinality` leaves of their labels
    outcome_of     the number of a class of outcomes by its name
    """

    def __init__(
        self, cells: SeriesTable, cardinality: Cardinality, errors: SeriesTable, outcome_of: Callable[[str], int]
    ) -> None:  # fmt: skip
        self._cells, self._cardinality = cells, cardinality
        self._errors, self._outcome_of = errors, outcome_of

    def slot(self, parts: Sequence[Part]) -> tuple[Slot, float]:
        """The slot of parts that begin alike, and what of it counts under `_other` for want of room."""
        start_ns = parts[0].slot.start_ns
        errors = {text: 0 for part in parts for text in part.errors}
        for text in sorted(errors):  # In this order, so that numbers do not depend on whose part came first.
            errors[text] = self._errors.id_of((text,), start_ns)
        other = self._cells.values(OVERFLOW)
        ids, refused = list[Ids](), 0.0
        for part in parts:
            mine = [OVERFLOW if row == other else self._cardinality.id_of(row, start_ns) for row in part.labels]
            full = [i for i, row in enumerate(part.labels) if mine[i] == OVERFLOW and row != other]
            refused += float(part.slot.count[full].sum())
            ids.append(np.array(mine, np.int32))
        cells, places = np.unique(np.concatenate(ids), return_inverse=True)
        columns = {name: _summed([getattr(part.slot, name) for part in parts], places, len(cells)) for name in COLUMNS}
        named = {
            "outcome": [np.array([*map(self._outcome_of, part.outcomes)], np.int32) for part in parts],
            "error": [np.array([errors[text] for text in part.errors], np.int32) for part in parts],
        }
        mixes = {name: _mix([getattr(part.slot, name) for part in parts], ids, named.get(name)) for name in MIXES}
        each = zip(*(part.slot.firsts for part in parts), strict=True)
        firsts = Firsts(*(tuple(sorted({pair for pairs in kind for pair in pairs})) for kind in each))
        told = [Followed(part.named, part.slot.lengths, part.slot.running) for part in parts]
        lengths, running = all_of(told, lambda of: self._cells.id_of((*of, "session", *NO_MORE, ""), start_ns))
        slot = Slot(
            start_ns=start_ns, cell=cells.astype(np.int32), **columns, **mixes,  # type: ignore[arg-type]
            examples=_best([part.slot.examples for part in parts], ids), firsts=firsts,
            lengths=lengths, running=running,
        )  # fmt: skip
        return slot, refused


def _summed(columns: list[Floats], places: Places, cells: int) -> Floats:
    summed: Floats = np.bincount(places, np.concatenate(columns), cells).astype(np.float64)
    return summed


def _mix(parts: list[Entries], ids: list[Ids], named: list[Ids] | None) -> Entries:
    """The entries of all parts as one, by the reader's numbers."""
    rows = [i for i, part in enumerate(parts) if len(part.cell)]
    if not rows:
        return NOTHING
    cell = np.concatenate([ids[i][parts[i].cell] for i in rows])
    bucket = np.concatenate([named[i][parts[i].bucket] if named else parts[i].bucket for i in rows])
    return added_up(cell, bucket, np.concatenate([parts[i].count for i in rows]))


def _best(parts: list[Examples], ids: list[Ids]) -> Examples:
    """The best example of each cell and kind, by the reader's numbers; of equal ones that of the largest trace."""
    cell = np.concatenate([mine[part.cell] for part, mine in zip(parts, ids, strict=True)])
    kind, value, trace = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("kind", "value", "trace")
    )
    order = np.lexsort((trace[:, 1], trace[:, 0]))
    return best_of([Examples(cell[order], kind[order], value[order], trace[order])])
