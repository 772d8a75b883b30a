"""Label sets and their dense ids: bounded, with overflow and expiry counted."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Arrays, Bools, Ids

OVERFLOW = 0
"""The row that stands for every label set that came after the table was full."""
OVERFLOW_VALUE = "_other"


class SeriesTable:
    """Rows of label values, each with an id that arrays are indexed by.

    A full table answers OVERFLOW for what is new and counts it in `refused`. Ids of expired rows are used again;
    `born` tells two users of one id apart.

    >>> table = SeriesTable(("agent",), capacity=3)
    >>> [table.id_of((name,), 0) for name in ("a", "b", "a", "c")]
    [1, 2, 1, 0]
    >>> table.values(0), table.refused
    (('_other',), 1)
    """

    def __init__(self, labels: Sequence[str], capacity: int) -> None:
        assert capacity >= 2
        self.labels = tuple(labels)
        self.capacity = capacity
        self.refused = 0
        self.expired = 0
        # No metric is among the others: what they count are calls and sessions, whosever.
        other = tuple("" if label == "metric" else OVERFLOW_VALUE for label in self.labels)
        self._rows: list[tuple[str, ...] | None] = [other]
        self._ids: dict[tuple[str, ...], int] = {}
        self._seen_ns = np.zeros(16, np.int64)
        self._free: list[int] = []
        self._births = 0
        self._born = np.zeros(16, np.int64)

    def __len__(self) -> int:
        """Rows in use, the overflow row not among them."""
        return len(self._ids)

    @property
    def size(self) -> int:
        """One more than the largest id ever given: the length that arrays by id must have."""
        return len(self._rows)

    def id_of(self, values: tuple[str, ...], seen_ns: int) -> int:
        """The id of a label set, a new one while there is room, else OVERFLOW. `seen_ns` keeps the row alive."""
        row = self._ids.get(values)
        if row is None:
            if not self._free and len(self._rows) >= self.capacity:
                self.refused += 1
                return OVERFLOW
            row = self._new_row(values)
        if seen_ns > self._seen_ns[row]:
            self._seen_ns[row] = seen_ns
        return row

    def find(self, values: tuple[str, ...]) -> int | None:
        """The id of a label set that is in use; None where it is not."""
        return self._ids.get(values)

    def touch(self, rows: Ids, seen_ns: int) -> None:
        """Keep these rows alive."""
        self._seen_ns[rows] = np.maximum(self._seen_ns[rows], seen_ns)

    def _new_row(self, values: tuple[str, ...]) -> int:
        assert len(values) == len(self.labels)
        self._births += 1
        if self._free:
            row = self._free.pop()
            self._rows[row], self._seen_ns[row], self._born[row] = values, 0, self._births
        else:
            row = len(self._rows)
            self._rows.append(values)
            if row == len(self._born):
                self._seen_ns, self._born = (np.concatenate([a, np.zeros_like(a)]) for a in (self._seen_ns, self._born))
            self._born[row] = self._births
        self._ids[values] = row
        return row

    def values(self, row: int) -> tuple[str, ...]:
        """The label values of a row in use (or of OVERFLOW)."""
        values = self._rows[row]
        assert values is not None, row
        return values

    def born(self, rows: Ids) -> NDArray[np.int64]:
        """For each row a number that no earlier or later user of its id has."""
        return self._born[rows]

    def are_used(self, rows: Ids) -> Bools:
        """Whether each of these ids is in use; OVERFLOW is."""
        return np.array([self._rows[row] is not None for row in rows.tolist()], np.bool_)

    def rows(self) -> Ids:
        """The ids in use, OVERFLOW not among them."""
        return np.fromiter(self._ids.values(), np.int32, len(self._ids))

    def expire(self, before_ns: int) -> Ids:
        """Free the rows last seen before `before_ns`, and say which."""
        gone = [row for row in self._ids.values() if self._seen_ns[row] < before_ns]
        for row in gone:
            values = self._rows[row]
            assert values is not None
            del self._ids[values]
            self._rows[row] = None
            self._free.append(row)
        self.expired += len(gone)
        return np.array(gone, np.int32)

    def widened(self, labels: Sequence[str]) -> "SeriesTable":
        """The same rows under more labels, which are empty in all of them."""
        wide = SeriesTable(labels, self.capacity)
        places = {name: self.labels.index(name) for name in wide.labels if name in self.labels}
        for row in self._rows[OVERFLOW + 1 :]:
            values = None if row is None else tuple(row[places[n]] if n in places else "" for n in wide.labels)
            wide._rows.append(values)
        wide._ids = {row: i for i, row in enumerate(wide._rows) if row is not None and i != OVERFLOW}
        wide._free, wide._births, wide.refused, wide.expired = self._free, self._births, self.refused, self.expired
        wide._seen_ns, wide._born = self._seen_ns, self._born
        return wide

    def snapshot(self) -> Arrays:
        """The table as arrays, its rows as JSON text."""
        state = [self.labels, self._rows, self._free, self._births, self.refused, self.expired]
        return {
            "rows": np.frombuffer(json.dumps(state).encode(), np.uint8),
            "seen_ns": self._seen_ns.copy(),
            "born": self._born.copy(),
        }

    @classmethod
    def restore(cls, arrays: Arrays, capacity: int) -> "SeriesTable":
        """The table that `snapshot` was taken of; a smaller `capacity` than it holds only stops it from growing."""
        labels, rows, free, births, refused, expired = json.loads(arrays["rows"].tobytes())
        table = cls(labels, capacity)
        table._rows = [None if row is None else tuple(row) for row in rows]
        table._ids = {row: i for i, row in enumerate(table._rows) if row is not None and i != OVERFLOW}
        table._free, table._births, table.refused, table.expired = free, births, refused, expired
        table._seen_ns = arrays["seen_ns"].astype(np.int64)
        table._born = arrays["born"].astype(np.int64)
        return table
