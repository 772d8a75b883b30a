"""A rule's view of the cells: what it selects, grouped by its labels into series, and added up over a tick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertrules.select import Matcher
from detectors.core.columns import NOTHING, Arrays, Entries, Floats, Ids, Slot, Tick, added_up, summed
from detectors.core.rows import under
from detectors.core.runs import NONE_RUNS, Running
from detectors.core.series import SeriesTable

SUMS = ("count", "squares", "failed", "cost_usd", "unpriced", "free", "amount")
HISTOGRAMS = ("duration", "cost", "outcome", "ending", "first_token", "prompt", "score", "failed_squares", "lengths")
COUNTED = HISTOGRAMS[: HISTOGRAMS.index("lengths")]
UNKNOWN, NOT_SELECTED = -2, -1
VALUES_MAX = 10_000
"""Values of one label whose answer is remembered; with more of them all are asked for again."""


@dataclass(frozen=True, eq=False)
class Part:
    """What a rule sees of one slot, or of several that were added up.

    series      (n,) int32
    sums        (len(SUMS), n) float64
    histograms  by their names in HISTOGRAMS, those that hold anything
    running     open sessions, by series
    """

    series: Ids
    sums: Floats
    histograms: Mapping[str, Entries]
    running: Running = NONE_RUNS


class View:
    """The open tick of one rule, and the series it has met.

    A cell's series is looked up once and remembered by the cell's id and birth, as ids are used again.

    of_running  whether it is about open sessions, and how long others were; it counts nothing then
    """

    def __init__(self, select: Sequence[Matcher], by: Sequence[str], series_max: int, of_running: bool = False) -> None:
        self.select, self.by, self.of_running = tuple(select), tuple(by), of_running
        self.series = SeriesTable(by, series_max + 1)
        self._row_of = np.empty(0, np.int32)
        self._born_of = np.empty(0, np.int64)
        self._parts: list[Part] = []
        self._accepted: tuple[dict[str, bool], ...] = tuple({} for _ in self.select)  # By value, for each matcher.

    def add(self, slot: Slot, cells: SeriesTable) -> bool:
        """Add a closed slot of the open tick, and say whether it held anything that the rule looks at."""
        if self.of_running:
            return self._follow(slot, cells)
        row_of = self._rows(slot.cell, slot.start_ns, cells)
        rows = row_of[slot.cell]
        mine = rows >= 0
        if not mine.any():
            return False
        self.series.touch(rows[mine], slot.start_ns)
        histograms = {}
        for name in COUNTED:
            entries: Entries = getattr(slot, name)
            at = row_of[entries.cell]
            kept = at >= 0
            if kept.any():
                histograms[name] = Entries(at[kept], entries.bucket[kept], entries.count[kept])
        sums = np.stack([getattr(slot, name) for name in SUMS])[:, mine]
        self._parts.append(Part(rows[mine], sums, histograms))
        return True

    def _follow(self, slot: Slot, cells: SeriesTable) -> bool:
        """Add what a slot tells of open sessions, and of how long others were."""
        lengths, running = slot.lengths, slot.running
        told = slot.session_cells()
        row_of = self._rows(told, slot.start_ns, cells)
        rows = np.unique(row_of[told][row_of[told] >= 0]).astype(np.int32)
        if not len(rows):
            return False
        self.series.touch(rows, slot.start_ns)
        kept = row_of[lengths.cell] >= 0
        mine = Entries(row_of[lengths.cell[kept]], lengths.bucket[kept], lengths.count[kept])
        open_ones = running.at(np.flatnonzero(row_of[running.cell] >= 0))
        open_ones = replace(open_ones, cell=row_of[open_ones.cell])
        sums = np.zeros((len(SUMS), len(rows)))
        self._parts.append(Part(rows, sums, {"lengths": mine} if kept.any() else {}, open_ones))
        return True

    def _rows(self, told: Ids, start_ns: int, cells: SeriesTable) -> Ids:
        """Series id by cell id; NOT_SELECTED where the rule does not look at the cell."""
        self._make_room(cells)
        born = cells.born(told)
        are_new = (self._row_of[told] == UNKNOWN) | (self._born_of[told] != born)
        if are_new.any():
            new = told[are_new]
            mine, series = self._selected(new, cells)
            self._row_of[new] = NOT_SELECTED
            self._row_of[new[mine]] = [self.series.id_of(one, start_ns) for one in series]
            self._born_of[new] = born[are_new]
        return self._row_of

    def _make_room(self, cells: SeriesTable) -> None:
        if len(self._row_of) < cells.size:
            more = cells.size - len(self._row_of)
            self._row_of = np.concatenate([self._row_of, np.full(more, UNKNOWN, np.int32)])
            self._born_of = np.concatenate([self._born_of, np.full(more, -1, np.int64)])

    def _selected(self, new: Ids, cells: SeriesTable) -> tuple[list[int], list[tuple[str, ...]]]:
        """Places of the cells that the rule looks at, and the values of the series that each of them is of.

        A fleet has many cells and few values, so a value is held against a matcher once.
        """
        told = [(*cells.values(cell), "") for cell in new.tolist()]  # The last one is of labels that no cell has.
        places = {name: at for at, name in enumerate(cells.labels)}
        mine = list(range(len(told)))
        for matcher, accepted in zip(self.select, self._accepted, strict=True):
            at = places.get(matcher.label, len(places))
            values = {told[place][at] for place in mine}
            if len(accepted.keys() | values) > VALUES_MAX:
                accepted.clear()
            for value in values - accepted.keys():
                accepted[value] = matcher.accepts(value)
            mine = [place for place in mine if accepted[told[place][at]]]
        by = [places.get(name, len(places)) for name in self.by]
        return mine, [tuple(map(told[place].__getitem__, by)) for place in mine]

    def close(self, start_ns: int) -> Tick | None:
        """The open tick added up by series, None if it counted nothing; the next one is open then."""
        if not self._parts:
            return None
        parts, self._parts = self._parts, []
        return _tick(start_ns, parts, HISTOGRAMS)

    def latest(self, start_ns: int) -> Tick:
        """The slot that was added last, alone and without histograms; it stays part of the open tick."""
        latest = self._parts[-1:]
        return replace(_tick(start_ns, latest, ("failed_squares",)), running=latest[0].running)

    def labels(self, row: int) -> tuple[tuple[str, str], ...]:
        """The series' labels, sorted by name, without the empty ones."""
        return tuple(sorted((n, v) for n, v in zip(self.by, self.series.values(row), strict=True) if v))

    def cells_of(self, row: int, cells: SeriesTable) -> Ids:
        """The cells that a series is made of, as far as they are in use, in order."""
        self._meet(cells)
        mine: Ids = np.flatnonzero(self._row_of == row).astype(np.int32)
        kept: Ids = mine[(self._born_of[mine] == cells.born(mine)) & cells.are_used(mine)]
        return kept

    def _meet(self, cells: SeriesTable) -> None:
        """Look up the cells that have not counted since a restart, once. None of them makes a new series."""
        self._make_room(cells)
        unknown = np.flatnonzero(self._row_of == UNKNOWN).astype(np.int32)
        unknown = unknown[cells.are_used(unknown)]
        mine, series = self._selected(unknown, cells)
        found = np.full(len(unknown), NOT_SELECTED, np.int32)
        found[mine] = [UNKNOWN if row is None else row for row in map(self.series.find, series)]
        self._row_of[unknown] = found
        self._born_of[unknown] = np.where(found == UNKNOWN, self._born_of[unknown], cells.born(unknown))

    def expire(self, before_ns: int, keep: Ids) -> Ids:
        """Forget the series that were last seen before then, but for those in `keep`; says which."""
        self.series.touch(keep, before_ns)
        gone = self.series.expire(before_ns)
        self._row_of[np.isin(self._row_of, gone)] = UNKNOWN
        return gone

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The series and the open tick."""
        state = {f"series.{name}": array for name, array in self.series.snapshot().items()}
        tick = self.close(0)
        if tick is not None:
            sums, histograms = {name: getattr(tick, name) for name in SUMS}, {n: getattr(tick, n) for n in HISTOGRAMS}
            self._parts = [Part(tick.series, np.stack(list(sums.values())), histograms)]
            state |= {"open.series": tick.series} | {f"open.{name}": array for name, array in sums.items()}
            for name, entries in histograms.items():
                state |= {f"open.{name}.{field}": array for field, array in vars(entries).items()}
        return state

    def restore(self, arrays: Arrays) -> None:
        """Go on from a snapshot of a view with the same `by`."""
        self.series = SeriesTable.restore(under(arrays, "series."), self.series.capacity)
        kept = under(arrays, "open.")
        if not kept:
            self._parts = []
            return
        known = [name for name in HISTOGRAMS if f"{name}.cell" in kept]  # A version before did not know all of them.
        histograms = {name: Entries(*(kept[f"{name}.{field}"] for field in vars(NOTHING))) for name in known}
        self._parts = [Part(kept["series"], np.stack([kept[name] for name in SUMS]), histograms)]


def _tick(start_ns: int, parts: Sequence[Part], histograms: Sequence[str]) -> Tick:
    """Slots' columns added up by series; the histograms that are not asked for stay empty."""
    keys = np.concatenate([part.series for part in parts], dtype=np.int64)
    series, sums = summed(keys, np.concatenate([part.sums for part in parts], axis=1))
    columns: dict[str, Any] = dict(zip(SUMS, sums, strict=True)) | dict.fromkeys(HISTOGRAMS, NOTHING)
    for name in histograms:
        told = [part.histograms[name] for part in parts if name in part.histograms]
        if told:
            columns[name] = added_up(
                *(np.concatenate([getattr(entries, field) for entries in told]) for field in vars(NOTHING))
            )
    return Tick(start_ns=start_ns, series=series.astype(np.int32), **columns)
