"""Plans: what the dialects say of spans of one shape, worked out once.

A plan is made by reading a span whose numbers and free texts are marks, and looking where the marks went. So the tables
of the dialects are all there is to say what anything means, and a span read by plan is what it would be read alone.
"""

from collections.abc import Callable, Sequence

import numpy as np

from service.ingest.dialects import ALIKE, DIALECTS, DOCUMENT, LABEL, NAMED_ONLY, WANTED
from service.ingest.dialects import NUMBER as NUMBER_ENTRY
from service.ingest.join.lexicon import Lexicon
from service.ingest.join.said import NUMBERS as NUMBERS_SAID
from service.ingest.join.said import PLAN_CELLS
from service.ingest.join.tables import FAILED
from service.ingest.machine import address, text_hash
from service.ingest.otlp.columns import FIRST, KEYS, PARENT, STOP, Columns
from service.ingest.otlp.shapes import (
    AHEAD,
    AHEAD_CELLS,
    ASK_NAME,
    ENTRY_CELLS,
    FREE_TEXT,
    NEVER,
    NO_PLAN,
    NOT_OF_SPANS,
    NUMBER,
    SAID,
    SCRATCH_BYTES,
    SHAPE_BYTES_MAX,
    Shapes,
    recognise,
    shape_of,
)
from service.ingest.read import Found, read_span, sane_number
from service.ingest.vocabulary import NUMBERS, RESPONSE_ID, SESSION, TENANT, Reading, Scalar

SHAPES = (text_hash, recognise, shape_of)
"""What is called of the shapes."""
PLANS_MAX = 20_000
_KNOWN_BYTES = 16 << 20
_SLOTS = 1 << 16
SPANS_BETWEEN = 1_000_000
"""Spans before plans may be forgotten to make room for new ones: making them is dear, and must not become the rule."""
_FREE_TEXTS = (TENANT, SESSION, RESPONSE_ID)
_FREE = frozenset(_FREE_TEXTS)


class Plans:
    """The plans of the shapes seen so far, bounded; spans of others are read one by one.

    rows  (plans, PLAN_CELLS); see `join/said.py`
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self.rows = np.zeros((PLANS_MAX, PLAN_CELLS), np.int64)
        self._classes = np.array([_class_of(key) for key in KEYS], np.int64)
        self._table = np.zeros((_SLOTS, ENTRY_CELLS), np.int64)
        self._known = np.zeros(_KNOWN_BYTES, np.uint8)
        self._scratch, self._ahead = np.zeros(SCRATCH_BYTES, np.uint8), np.zeros(AHEAD * AHEAD_CELLS, np.int64)
        arrays = (self._classes, self._table, self._known, self._scratch, self._ahead)
        classes, table, known, scratch, ahead = map(address, arrays)
        self._kept = Shapes(0, 0, 0, classes, table, _SLOTS - 1, 0, known, scratch, ahead)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._table[:, 2] = -1
        self._known_bytes = self._entries = self._seen = self.count = 0

    def recognise(self, columns: Columns) -> None:
        """Write the plan of each span into its row, NO_PLAN where it has none."""
        total, at = len(columns.spans), 0
        self._seen += total
        if self._is_full() and self._seen > SPANS_BETWEEN:
            self.forget()
        while (at := int(recognise(self._shapes(columns), at, total))) < total:
            self._learn(columns, at)

    def _is_full(self) -> bool:
        return self._entries >= PLANS_MAX or self._known_bytes + 2 * SHAPE_BYTES_MAX > _KNOWN_BYTES

    def _shapes(self, columns: Columns) -> Shapes:
        text, spans, attributes = map(
            address, (np.frombuffer(columns.text, np.uint8), columns.spans, columns.attributes)
        )
        return self._kept._replace(text=text, spans=spans, attributes=attributes, learns=int(not self._is_full()))

    def _learn(self, columns: Columns, row: int) -> None:
        span = columns.spans[row].tolist()
        name, values = columns.said(span, columns.attributes[span[FIRST] : span[STOP]].tolist())
        asked = _Asked(name)
        plan = self._planned(asked, values, not columns.spans[row, PARENT])
        number = NO_PLAN if plan is None else self.count
        self._enter(columns, row, False, ASK_NAME if asked.times else number)
        if asked.times:
            self._enter(columns, row, True, number)
        if plan is not None:
            self.rows[number] = plan
            self.count += 1

    def _planned(
        self, name: Callable[[], str], values: Sequence[tuple[int, Scalar]], is_root: bool
    ) -> list[int] | None:
        """The plan of spans like this one; None where a free text does not stay as it is."""
        found: Found = []
        for place, (key, value) in enumerate(values):
            entry = WANTED.get(KEYS[key])
            if entry is not None:
                is_number = _CLASSES[key] == NUMBER and sane_number(value) >= 0
                mark = _number_mark(place) if is_number else _text_mark(place) if _CLASSES[key] == FREE_TEXT else value
                found.append((entry, mark))
        reading = Reading(is_root)
        bad, apart = read_span(reading, name, found)
        own = reading.own
        places: dict[Scalar, int] = {}
        for place in range(len(values)):
            places[_number_mark(place)] = places[_text_mark(place)] = place
        if reading.dialect in _ESCAPED and not _FREE.isdisjoint(own):
            return None
        where = [places.get(own[field], NO_PLAN) if field in own else -1 for field in (*_FREE_TEXTS, *NUMBERS_SAID)]
        if NO_PLAN in where:
            return None
        return [self._lexicon.reading(reading, apart), FAILED if reading.failed else 0, bad, *where]

    def _enter(self, columns: Columns, row: int, with_name: bool, plan: int) -> None:
        """Put a row's shape into the table, unless it is there."""
        size = int(shape_of(self._shapes(columns), 0, row, with_name))
        if size < 0:
            return
        shape = self._scratch[:size].tobytes()
        hashed = int(text_hash(address(self._scratch), 0, size))
        slot = hashed & (_SLOTS - 1)
        while self._table[slot, 2] >= 0:
            known_hash, begin, known_bytes, _ = self._table[slot].tolist()
            if known_hash == hashed and self._known[begin : begin + known_bytes].tobytes() == shape:
                return
            slot = (slot + 1) & (_SLOTS - 1)
        self._table[slot] = hashed, self._known_bytes, size, plan
        self._known[self._known_bytes : self._known_bytes + size] = self._scratch[:size]
        self._known_bytes += size
        self._entries += 1


def _class_of(key: str) -> int:
    entry = WANTED.get(key)
    if entry is None:
        return NOT_OF_SPANS
    field, _, kind, _ = entry
    if kind == DOCUMENT:
        return SAID if key in ALIKE else NEVER
    if kind == NUMBER_ENTRY or (kind == NAMED_ONLY and field in NUMBERS):
        return NUMBER
    return FREE_TEXT if kind == LABEL and field in _FREE else SAID


class _Asked:
    """A name that knows whether anybody wanted to know it."""

    def __init__(self, name: Callable[[], str]) -> None:
        self._name, self.times = name, 0

    def __call__(self) -> str:
        self.times += 1
        return self._name()


def _number_mark(place: int) -> float:
    return place + 1.0


def _text_mark(place: int) -> str:
    return f"mark {place}"


_CLASSES = tuple(_class_of(key) for key in KEYS)
_ESCAPED = frozenset(dialect.name for dialect in DIALECTS if dialect.html)
