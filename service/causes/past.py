"""What every cell counted of late: by the minute, by ten minutes, and before that as sums that decay.

A page looks here once, when it is written. Nothing is kept a span: a piece has one number for each cell and each thing
that the cell counted, and a thing that it did not count takes no room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import (
    NOTHING,
    SECOND_NS,
    TICK_NS,
    Arrays,
    Bools,
    Entries,
    Floats,
    Ids,
    Singles,
    Slot,
    Tick,
    summed,
)
from detectors.core.series import SeriesTable

MINUTES = 20
"""Pieces of a minute that are kept before the oldest ten of them become one."""
TEN_NS = 10 * TICK_NS
RECENT_NS = 120 * TICK_NS
"""How far back pieces go; what is older decays."""
HALF_LIFE_NS = 12 * 3600 * SECOND_NS
LEAST, LARGEST = 1e-3, 1e30
"""A decayed number below the one is forgotten; none is above the other, which a float32 can hold."""
NUMBERS_MAX = 4_000_000
"""Numbers in all pieces together, 12 bytes each; with more of them the oldest pieces decay sooner."""
ALWAYS_NS = 2**63 - 1
COARSER = 1
"""Buckets of durations and costs are kept at OTLP scale 2: four an octave."""

_KEY_BITS = 11
_PARTS = (1 << _KEY_BITS) - 1
_SUMS = ("count", "squares", "failed", "cost_usd", "unpriced", "free", "amount", "input_tokens", "output_tokens")
_MIXES = {"ending": (16, 24), "prompt": (40, 8), "outcome": (48, 64), "error": (1024, 512)}
_HISTOGRAMS = {"duration": 256, "first_token": 512, "cost": 768, "score": 1536}
_LOWEST, _BUCKETS = -128, 256
"""Keys of a cell's numbers: places of _SUMS, then classes, then buckets from the lowest one on."""

Keys = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Piece:
    """What cells counted between two times.

    keys    (m,) int64    cell * 2048 + what was counted, ascending, unique
    values  (m,) float32  sums of weights
    """

    begin_ns: int
    end_ns: int
    keys: Keys
    values: Singles

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / SECOND_NS


@dataclass(frozen=True, eq=False)
class Counted:
    """What groups of cells counted over a time.

    tick     one series for each group; buckets of its histograms are at OTLP scale 2
    seconds  of event time; of what decays the seconds decay alike
    input_tokens, output_tokens  (groups,)
    error    failed calls by the number of their type of error
    """

    tick: Tick
    seconds: float
    input_tokens: Floats
    output_tokens: Floats
    error: Entries = NOTHING


class Past:
    """The pieces, oldest first, and the decayed sums before them. One owner; slots come in time order."""

    def __init__(self) -> None:
        self._older = Piece(0, 0, np.empty(0, np.int64), np.empty(0, np.float32))
        self._older_s = 0.0
        self._pieces: list[Piece] = []
        self._open: list[tuple[Keys, Floats]] = []
        self._open_ns = 0
        self._added_up: list[Piece] = []  # The open minute, once somebody asked.
        self._born = np.zeros(0, np.int64)

    def add(self, slot: Slot, cells: SeriesTable) -> Ids:
        """Take in a slot that closed. Returns the cells whose ids were others' before: those are forgotten."""
        minute_ns = slot.start_ns - slot.start_ns % TICK_NS
        if minute_ns != self._open_ns:
            self._close_minute()
            self._open_ns = minute_ns
        reused = self._forget_reused(slot.cell, cells)
        self._open.append(_numbers(slot))
        self._added_up = []
        return reused

    @property
    def _every(self) -> list[Piece]:
        """The pieces, and the open minute. Many alerts of one moment ask for it."""
        if self._open and not self._added_up:
            self._added_up = [_minute(self._open_ns, self._open)]
        return [*self._pieces, *self._added_up]

    def _forget_reused(self, rows: Ids, cells: SeriesTable) -> Ids:
        """Drop what former users of these cells' ids counted."""
        if len(self._born) < cells.size:
            self._born = np.append(self._born, np.zeros(cells.size - len(self._born), np.int64))
        born = cells.born(rows)
        reused: Ids = rows[(self._born[rows] != born) & (self._born[rows] != 0)]
        self._born[rows] = born
        if len(reused):
            self._open = [_left(keys, values, reused) for keys, values in self._open]
            self._pieces = [_without(piece, reused) for piece in self._pieces]
            self._older = _without(self._older, reused)
        return reused

    def _close_minute(self) -> None:
        if not self._open:
            return
        parts, self._open, self._added_up = self._open, [], []
        self._pieces.append(_minute(self._open_ns, parts))
        self._tidy()

    def _tidy(self) -> None:
        """Make ten minutes of the oldest minutes where there are many, and let decay what is old or too much."""
        end_ns = self._pieces[-1].end_ns
        minutes = [piece for piece in self._pieces if piece.begin_ns // TEN_NS == (piece.end_ns - 1) // TEN_NS]
        minutes = [piece for piece in minutes if piece.end_ns - piece.begin_ns < TEN_NS]
        if len(minutes) > MINUTES or (minutes and end_ns - minutes[0].begin_ns > 2 * MINUTES * TICK_NS):
            ten = minutes[0].begin_ns // TEN_NS
            first = [piece for piece in minutes if piece.begin_ns // TEN_NS == ten]
            at = self._pieces.index(first[0])
            keys, values = _added([piece.keys for piece in first], [piece.values for piece in first])
            self._pieces[at : at + len(first)] = [Piece(ten * TEN_NS, (ten + 1) * TEN_NS, keys, values)]
        while len(self._pieces) > 1 and (
            self._pieces[0].end_ns <= end_ns - RECENT_NS or sum(len(one.keys) for one in self._pieces) > NUMBERS_MAX
        ):
            self._decay(self._pieces.pop(0))

    def _decay(self, piece: Piece) -> None:
        """Add a piece to the decayed sums."""
        older = self._older
        factor = 0.5 ** ((piece.end_ns - older.end_ns) / HALF_LIFE_NS) if older.end_ns else 0.0
        keys, values = _added([older.keys, piece.keys], [older.values * np.float32(factor), piece.values])
        kept = np.abs(values) >= LEAST
        self._older = Piece(older.begin_ns or piece.begin_ns, piece.end_ns, keys[kept], values[kept])
        self._older_s = self._older_s * factor + piece.seconds

    @property
    def end_ns(self) -> int:
        """The end of the latest minute that anything was counted in."""
        ends = [piece.end_ns for piece in self._pieces[-1:]] + [self._open_ns + TICK_NS] * bool(self._open)
        return max(ends, default=self._older.end_ns)

    def between(self, cells: Ids, group: Ids, since_ns: int, until_ns: int = ALWAYS_NS) -> tuple[Counted, Counted]:
        """What these cells counted (before `since_ns`, from then on and in minutes over by `until_ns`), by group.

        cells  ascending, unique · group  the group of each, 0 to groups - 1

        A piece that `since_ns` lies in the middle of is in neither: nobody knows which part of it is which.
        """
        groups = int(group.max(initial=-1)) + 1
        earlier = [self._older, *(piece for piece in self._pieces if piece.end_ns <= since_ns)]
        later = [piece for piece in self._every if piece.begin_ns >= since_ns and piece.end_ns <= until_ns]
        before_s = self._older_s + sum(piece.seconds for piece in earlier[1:])
        before = _gathered(earlier, cells, group, groups, before_s)
        return before, _gathered(later, cells, group, groups, sum(piece.seconds for piece in later))

    def tens(self, cells: Ids) -> list[tuple[int, Counted]]:
        """What these cells counted together in each ten minutes of the last two hours: when they begin, and what."""
        found = []
        pieces = self._every
        for ten in sorted({piece.begin_ns // TEN_NS for piece in pieces}):
            mine = [piece for piece in pieces if piece.begin_ns // TEN_NS == ten]
            seconds = sum(piece.seconds for piece in mine)
            found.append((ten * TEN_NS, _gathered(mine, cells, np.zeros(len(cells), np.int32), 1, seconds)))
        return found

    def snapshot(self) -> Arrays:
        """All state, as arrays."""
        pieces = [self._older, *self._pieces]
        return {
            "times": np.array([(one.begin_ns, one.end_ns, len(one.keys)) for one in pieces], np.int64),
            "keys": np.concatenate([one.keys for one in pieces]),
            "values": np.concatenate([one.values for one in pieces]),
            "open_sizes": np.array([len(keys) for keys, _ in self._open], np.int64),
            "open_keys": np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in self._open)]),
            "open_values": np.concatenate([np.empty(0), *(values for _, values in self._open)]),
            "open_ns": np.array([self._open_ns]),
            "older_s": np.array([self._older_s]),
            "born": self._born.copy(),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> "Past":
        """What `snapshot` was taken of; of a state that has none, a past without anything in it."""
        past = cls()
        if "times" not in arrays:
            return past
        times: NDArray[np.int64] = arrays["times"].astype(np.int64)
        keys = _cut(arrays["keys"].astype(np.int64), times[:, 2])
        values = _cut(arrays["values"].astype(np.float32), times[:, 2])
        past._older, *past._pieces = (
            Piece(begin_ns, end_ns, *numbers)
            for (begin_ns, end_ns, _), *numbers in zip(times.tolist(), keys, values, strict=True)
        )
        sizes = arrays["open_sizes"].astype(np.int64)
        opened = _cut(arrays["open_keys"].astype(np.int64), sizes), _cut(arrays["open_values"].astype(float), sizes)
        past._open = list(zip(*opened, strict=True))
        past._open_ns = int(arrays["open_ns"][0])
        past._older_s = float(arrays["older_s"][0])
        past._born = arrays["born"].astype(np.int64)
        return past


def only(counted: Counted, which: Bools) -> Counted:
    """What some of the groups counted; they keep their numbers."""
    columns = {name: column * which for name, column in vars(counted.tick).items() if name in _SUMS}
    histograms = {
        name: column.at(which[column.cell])
        for name, column in vars(counted.tick).items()
        if isinstance(column, Entries)
    }
    tick = replace(counted.tick, **columns, **histograms)  # type: ignore[arg-type]
    return Counted(
        tick, counted.seconds, counted.input_tokens * which, counted.output_tokens * which,
        counted.error.at(which[counted.error.cell]),
    )  # fmt: skip


def _cut(array: NDArray[Any], sizes: NDArray[np.int64]) -> list[NDArray[Any]]:
    """The parts of an array that have these sizes, one after another."""
    return np.split(array, np.cumsum(sizes)[:-1]) if len(sizes) else []


def _minute(begin_ns: int, parts: Sequence[tuple[Keys, Floats]]) -> Piece:
    """What the slots of a minute counted."""
    keys, values = _added([keys for keys, _ in parts], [values for _, values in parts])
    return Piece(begin_ns, begin_ns + TICK_NS, keys, values)


def _numbers(slot: Slot) -> tuple[Keys, Floats]:
    """What a slot counted as keys and values, not in order yet."""
    keys: list[Keys] = []
    values: list[Floats] = []
    for place, name in enumerate(_SUMS):
        column: Floats = getattr(slot, name)
        there = np.flatnonzero(column)
        keys.append((slot.cell[there].astype(np.int64) << _KEY_BITS) + place)
        values.append(column[there])
    for name, (first, _) in _MIXES.items():
        _put(getattr(slot, name), first, 0, keys, values)
    for name, first in _HISTOGRAMS.items():
        _put(getattr(slot, name), first - _LOWEST, COARSER, keys, values)
    return np.concatenate(keys), np.concatenate(values)


def _put(entries: Entries, first: int, shift: int, keys: list[Keys], values: list[Floats]) -> None:
    if len(entries.cell):
        keys.append((entries.cell.astype(np.int64) << _KEY_BITS) + first + (entries.bucket >> shift))
        values.append(entries.count)


def _added(keys: Sequence[Keys], values: Sequence[NDArray[Any]]) -> tuple[Keys, Singles]:
    """The numbers of several pieces, each key once and in order."""
    found, sums = summed(np.concatenate(keys), np.concatenate(values, dtype=np.float64))
    return found, np.clip(sums, -LARGEST, LARGEST).astype(np.float32)


def _left(keys: Keys, values: NDArray[Any], cells: Ids) -> tuple[Keys, NDArray[Any]]:
    """The numbers of all other cells than these."""
    kept = ~np.isin(keys >> _KEY_BITS, cells)
    return keys[kept], values[kept]


def _without(piece: Piece, cells: Ids) -> Piece:
    return Piece(piece.begin_ns, piece.end_ns, *_left(piece.keys, piece.values, cells))


def _gathered(pieces: Sequence[Piece], cells: Ids, group: Ids, groups: int, seconds: float) -> Counted:
    """What some cells counted in these pieces, by group."""
    firsts = cells.astype(np.int64) << _KEY_BITS
    keys, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for piece in pieces:
        begin, end = np.searchsorted(piece.keys, firsts), np.searchsorted(piece.keys, firsts + (1 << _KEY_BITS))
        length = end - begin
        at = np.repeat(begin - np.cumsum(length) + length, length) + np.arange(length.sum())
        keys.append((np.repeat(group.astype(np.int64), length) << _KEY_BITS) + (piece.keys[at] & _PARTS))
        values.append(piece.values[at])
    return _counted(*_added(keys, values), groups, seconds)


def _counted(keys: Keys, values: Singles, groups: int, seconds: float) -> Counted:
    group, part = (keys >> _KEY_BITS).astype(np.int32), (keys & _PARTS).astype(np.int32)
    sums: Mapping[str, Floats] = {
        name: np.bincount(group[part == place], values[part == place], groups).astype(float)
        for place, name in enumerate(_SUMS)
    }

    def entries(first: int, size: int, lowest: int) -> Entries:
        mine = (part >= first) & (part < first + size)
        return Entries(group[mine], part[mine] - first + lowest, values[mine].astype(float))

    columns: dict[str, Any] = {name: sums[name] for name in _SUMS[:7]}
    columns |= {name: entries(first, size, 0) for name, (first, size) in _MIXES.items()}
    error = columns.pop("error")
    columns |= {name: entries(first, _BUCKETS, _LOWEST) for name, first in _HISTOGRAMS.items()}
    tick = Tick(start_ns=0, series=np.arange(groups, dtype=np.int32), **columns)
    return Counted(tick, seconds, sums["input_tokens"], sums["output_tokens"], error)
