"""The memory of the join: its tables, which grow, and are saved and read back row by row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Arrays
from service.ingest.join.kernels import Kernels
from service.ingest.join.labels import SCRATCH_CELLS
from service.ingest.join.rows import COUNT, FREE, HEAD_CELLS, HIGH, MASK, NEAR, USED
from service.ingest.join.tables import (
    COUNT_CELLS,
    FORGOTTEN,
    INDEXED,
    LABELS,
    LIMIT_CELLS,
    NEWEST,
    OLDEST,
    OPENED,
    ORIGINS,
    PRICES,
    QUEUED,
    READING_CELLS,
    RESOURCE_CELLS,
    SPANS,
    STATE_CELLS,
    TABLES,
    TOLD_CELLS,
    UNIT_CELLS,
    UNITS_ROOM,
    WIDTHS,
    WORD_BYTES,
    Tables,
)
from service.ingest.join.words import TEXT_BYTES

Cells = NDArray[np.int64]
Seed = tuple[int, int]
"""Two int64 that hashes begin with; what is counted does not depend on them."""
UNSEEDED: Seed = (0, 0)
READINGS_MAX, RESOURCES_MAX, WORDS_MAX = 1 << 16, 1 << 16, 1 << 18
"""Readings, resources and words that are told apart at a time."""
_FIRST_ROWS = 64
_NAMES = ("spans", "waits", "traces", "sessions", "ended", "slots", "pages", "labels", "prices", "origins", "words")
_PASSING = (LABELS, PRICES, ORIGINS)
"""What is worked out again after a restart."""


class Store:
    """Arrays of all tables, and the `tables` that kernels are given of them."""

    def __init__(self, kernels: Kernels, seed: Seed) -> None:
        self.kernels, self.seed = kernels, np.array(seed, np.int64)
        self.heads, self.state = np.zeros(TABLES * HEAD_CELLS, np.int64), np.zeros(STATE_CELLS, np.int64)
        self.limits, self.counts = np.zeros(LIMIT_CELLS, np.int64), np.zeros(COUNT_CELLS, np.int64)
        self.state[[OLDEST, NEWEST, FORGOTTEN]] = -1
        self.rows = {table: np.zeros((_FIRST_ROWS, width), np.int64) for table, width in WIDTHS.items()}
        self._index = {table: np.zeros(2 * _FIRST_ROWS, np.int64) for table in INDEXED}
        for table in WIDTHS:
            self.clear(table)
        self._queue, self._opened = np.zeros((_FIRST_ROWS, 2), np.int64), np.zeros((_FIRST_ROWS, 2), np.int64)
        self.text = np.zeros(TEXT_BYTES, np.uint8)
        self.readings = np.zeros((READINGS_MAX, READING_CELLS), np.int64)
        self.resources = np.zeros((RESOURCES_MAX, RESOURCE_CELLS), np.int64)
        self.told = np.zeros((RESOURCES_MAX, TOLD_CELLS), np.int64)
        self.sampled = np.zeros((RESOURCES_MAX, 2), np.int64)
        self.order, self.ends, self.asking = (np.zeros(_FIRST_ROWS, np.int64) for _ in range(3))
        self.scratch, self.units = np.zeros(SCRATCH_CELLS, np.int64), np.zeros((UNIT_CELLS, _FIRST_ROWS))
        self.limits[UNITS_ROOM] = _FIRST_ROWS
        self._tables: Tables | None = None

    @property
    def tables(self) -> Tables:
        """Where everything is now."""
        if self._tables is None:
            arrays: tuple[NDArray[Any], ...] = (
                *self.rows.values(), *self._index.values(), self.heads, self.seed, self.state, self.limits,
                self._queue, self._opened, self.readings, self.resources, self.text, self.order, self.ends, self.asking,
                self.told,
                self.sampled, self.scratch, self.units.view(np.int64), self.counts,
            )  # fmt: skip
            self._tables = Tables(*(self.kernels.memory(array) for array in arrays))
        return self._tables

    def count(self, table: int) -> int:
        """Rows in use."""
        return int(self.heads[table + COUNT])

    def clear(self, table: int) -> None:
        """Empty a table."""
        self.heads[table + FREE : table + FREE + NEAR] = -1
        self.heads[table + HIGH], self.heads[table + COUNT] = 0, 0
        if table in self._index:
            self._index[table][:] = 0
            self.heads[table + MASK] = len(self._index[table]) - 1

    def room(self, table: int, rows: int) -> None:
        """Make room for so many more rows."""
        needed = int(self.heads[table + HIGH]) + rows
        if needed > len(self.rows[table]):
            self.rows[table] = _larger(self.rows[table], needed)
            self._tables = None
        entries = 2 if table == SPANS else 1  # A span may be found by its response id, too.
        if table in self._index and 2 * entries * (self.count(table) + rows) > len(self._index[table]):
            self._reindex(table, entries * (self.count(table) + rows))

    def _reindex(self, table: int, entries: int) -> None:
        old, places = self._index[table], len(self._index[table])
        while 2 * entries > places:
            places *= 2
        index = np.zeros(places, np.int64)
        memory = self.kernels.memory
        self.kernels.enter_all(memory(old), len(old), memory(index), places - 1)
        self._index[table], self.heads[table + MASK], self._tables = index, places - 1, None

    def room_in_queues(self, entries: int) -> None:
        """Make room for so many more entries in the queue of sessions and in that of slots."""
        if int(self.state[QUEUED]) + entries > len(self._queue):
            self._queue, self._tables = _larger(self._queue, int(self.state[QUEUED]) + entries), None
        if int(self.state[OPENED]) + entries > len(self._opened):
            self._opened, self._tables = _larger(self._opened, int(self.state[OPENED]) + entries), None

    def room_for_units(self, units: int) -> None:
        """Make room for the list, the units and the labels of a slot of so many calls and sessions."""
        if units > len(self.order):
            self.order, self.ends, self.asking = (
                _larger(array, 2 * units) for array in (self.order, self.ends, self.asking)
            )
            before, self.units = self.units, np.zeros((UNIT_CELLS, len(self.order)))
            self.units[:, : before.shape[1]] = before
            self.limits[UNITS_ROOM], self._tables = len(self.order), None

    @property
    def first_start_ns(self) -> int | None:
        """The start of the slot that closes next."""
        return int(self._opened[0, 0]) if self.state[OPENED] else None

    def snapshot(self) -> Arrays:
        """Rows in use with their numbers, the queues and single cells."""
        saved: dict[str, Any] = {"seed": self.seed.copy(), "state": self.state.copy()}
        saved["queue"] = self._queue[: self.state[QUEUED]].copy()
        saved["opened"] = self._opened[: self.state[OPENED]].copy()
        for table, name in zip(WIDTHS, _NAMES, strict=True):
            if table not in _PASSING:
                rows = self.rows[table][: self.heads[table + HIGH]]
                at = np.flatnonzero(rows[:, 0] == USED)
                saved[f"{name}_at"], saved[name] = at, rows[at]
        saved["text"] = self.text[: self.state[WORD_BYTES]].copy()
        return saved

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take the place of what `snapshot` was taken of."""
        for table, name in zip(WIDTHS, _NAMES, strict=True):
            self.clear(table)
            if table in _PASSING:
                continue
            at = saved[f"{name}_at"]
            high = int(at[-1]) + 1 if len(at) else 0
            self.room(table, high)
            self.heads[table + HIGH], self.heads[table + COUNT] = high, len(at)
            rows = self.rows[table]
            gaps = np.setdiff1d(np.arange(high), at)
            free = np.append(gaps, np.full(NEAR, -1))
            rows[at], rows[gaps, 0] = saved[name], free[NEAR:]
            self.heads[table + FREE : table + FREE + NEAR] = free[:NEAR]
        self.seed[:], self.state[:] = saved["seed"], saved["state"]
        self.room_in_queues(0)
        self._queue[: len(saved["queue"])], self._opened[: len(saved["opened"])] = saved["queue"], saved["opened"]
        self.text[: len(saved["text"])] = saved["text"]
        self._tables = None
        self.kernels.index_all(self.tables)


def _larger(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """A copy with room for so many rows, and half as many more as before."""
    larger = np.zeros((max(rows, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
