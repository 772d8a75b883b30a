"""The compiled scanner as the rest of ingest sees it: bodies in, columns out."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from service.ingest.machine import address, text_hash
from service.ingest.memory import Memory
from service.ingest.otlp.columns import (
    ATTRIBUTE_CELLS,
    KEYS,
    RECORD_CELLS,
    RECORD_END,
    RESOURCE_CELLS,
    ROLES,
    SCOPE_CELLS,
    SPAN_CELLS,
    Cells,
    Columns,
)
from service.ingest.otlp.room import ATTRIBUTES, KEY_BYTES_MAX, KEY_CELLS, Room
from service.ingest.otlp.scan import scan
from service.ingest.otlp.wire import STACK_CELLS

_KEY_SLOTS = 2048
"""A power of two, and several times the keys."""
_FIRST_LIMITS = (8_192, 2_048, 2_048, 65_536)
"""Rows that there is room for at first: of spans, resources, scopes and attributes."""
_KEPT_ATTRIBUTES = 1 << 20
"""Room for more than so many rows is given back after the body that needed it."""
_WIDTHS = (SPAN_CELLS, RESOURCE_CELLS, SCOPE_CELLS, ATTRIBUTE_CELLS)

Array = np.ndarray[Any, Any]


class Scanner:
    """Scans bodies into columns, which are good until the next scan. One owner at a time."""

    name = "compiled"

    def __init__(self) -> None:
        self._key_text = np.frombuffer("".join(KEYS).encode(), np.uint8).copy()
        self._keys, self._key_lengths = _key_table(self._key_text)
        self._key_roles = np.array(ROLES, np.int64)
        self._used = np.zeros(len(_WIDTHS), np.int64)
        self._content = np.zeros(len(KEYS), np.int64)
        self._stack = np.zeros(STACK_CELLS, np.int64)
        self._make_room(_FIRST_LIMITS)

    def _make_room(self, limits: Sequence[int]) -> None:
        self._limits = np.array(limits, np.int64)
        # Filled, as memory that was never written is mapped page by page in the first messages.
        self._rows = [np.full((count, width), 0, np.int64) for count, width in zip(limits, _WIDTHS, strict=True)]
        arrays: tuple[Array, ...] = (
            self._key_text, self._key_roles, self._key_lengths, *self._rows, self._used, self._limits,
            self._content, self._stack,
        )  # fmt: skip
        text, roles, lengths, *rest = map(self.memory, arrays)
        self._kept = Room(None, self.memory(self._keys), _KEY_SLOTS - 1, text, roles, lengths, None, *rest)

    @staticmethod
    def memory(array: Array) -> Memory:
        """An array as the scanner takes it."""
        return address(array)

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        """The spans of some bodies, together: the work of a call is that of a hundred spans."""
        text = b"".join(bodies)
        records = np.zeros((len(bodies), RECORD_CELLS), np.int64)
        records[:, RECORD_END] = list(accumulate(map(len, bodies)))
        if len(self._rows[ATTRIBUTES]) > _KEPT_ATTRIBUTES:
            self._make_room(_FIRST_LIMITS)
        self._content[:] = 0
        while not scan(self._room(np.frombuffer(text, np.uint8), records), len(bodies)):
            self._make_room([2 * int(limit) for limit in self._limits])
            self._content[:] = 0
        spans, resources, scopes, attributes = (
            rows[:used] for rows, used in zip(self._rows, self._used.tolist(), strict=True)
        )
        return Columns(text, records, spans, resources, scopes, attributes, self._content.copy())

    def _room(self, text: Array, records: Cells) -> Room:
        """Where these records are read from and written to."""
        return self._kept._replace(text=self.memory(text), records=self.memory(records))


class CheckedScanner(Scanner):
    """The same over arrays, every access checked against their bounds: many times slower, for tests."""

    @staticmethod
    def memory(array: Array) -> Memory:
        """The array itself."""
        return array.reshape(-1)


def _key_table(text: Array) -> tuple[Cells, Cells]:
    """The hash table of keys, and which lengths they have; see Room."""
    table, lengths = np.full((_KEY_SLOTS, KEY_CELLS), -1, np.int64), np.zeros(KEY_BYTES_MAX + 1, np.int64)
    at = 0
    for key, name in enumerate(KEYS):
        size = len(name)
        hashed = int(text_hash(address(text), at, size))
        slot = hashed & (_KEY_SLOTS - 1)
        while table[slot, 1] >= 0:
            slot = (slot + 1) & (_KEY_SLOTS - 1)
        table[slot] = hashed, key, at, size
        lengths[size] = 1
        at += size
    return table, lengths
