"""Plans: what the dialects say of spans of one shape, worked out once.

A plan is made by reading a span whose numbers and free texts are marks, and looking where the marks went. So the tables
of the dialects are all there is to say what anything means, and a span read by plan is what it would be read alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from service.ingest.dialects import DIALECTS, DOCUMENT, LABEL, NAMED_ONLY, WANTED
from service.ingest.dialects import NUMBER as NUMBER_ENTRY
from service.ingest.otlp.columns import FIRST, KEYS, PARENT, STOP, Columns
from service.ingest.otlp.memory import address, text_hash
from service.ingest.otlp.scan import scan
from service.ingest.otlp.scanner import Scanner
from service.ingest.otlp.shapes import (
    ASK_NAME,
    ENTRY_CELLS,
    FREE_TEXT,
    NEVER,
    NO_PLAN,
    NOT_OF_SPANS,
    NUMBER,
    SAID,
    SHAPE_BYTES_MAX,
    Shapes,
    recognise,
    shape_of,
)
from service.ingest.read import Found, read_fields, sane_number
from service.ingest.vocabulary import (
    NUMBERS,
    RESPONSE_ID,
    SESSION,
    TENANT,
    Plan,
    Resource,
    Scalar,
    Span,
    lends,
)

KERNELS = (text_hash, scan, recognise, shape_of)
"""What Python calls, and so what is worth keeping compiled."""
PLANS_MAX = 20_000
_KNOWN_BYTES = 16 << 20
_SLOTS = 1 << 16
SPANS_BETWEEN = 1_000_000
"""Spans before plans may be forgotten to make room for new ones: making them is dear, and must not become the rule."""
_FREE = frozenset((TENANT, SESSION, RESPONSE_ID))
_NO_RESOURCE = Resource()
_NUMBERS = count()


class Plans:
    """The plans of the shapes seen so far, bounded; spans of others are read one by one."""

    def __init__(self) -> None:
        self._classes = np.array([_class_of(key) for key in KEYS], np.int64)
        self._table = np.zeros((_SLOTS, ENTRY_CELLS), np.int64)
        self._known = np.zeros(_KNOWN_BYTES, np.uint8)
        self._scratch = np.zeros(2 * SHAPE_BYTES_MAX, np.uint8)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._table[:, 2] = -1
        self._known_bytes = self._entries = self._seen = 0
        self.plans: list[Plan] = []

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
        return Shapes(
            address(np.frombuffer(columns.text, np.uint8)), address(columns.spans), address(columns.attributes),
            address(self._classes), address(self._table), _SLOTS - 1, int(not self._is_full()), address(self._known),
            address(self._scratch),
        )  # fmt: skip

    def _learn(self, columns: Columns, row: int) -> None:
        span = columns.spans[row].tolist()
        name, values = columns.said(span, columns.attributes[span[FIRST] : span[STOP]].tolist())
        asked = _Asked(name)
        plan = _planned(asked, values, bool(columns.spans[row, PARENT]))
        number = NO_PLAN if plan is None else len(self.plans)
        self._enter(columns, row, False, ASK_NAME if asked.times else number)
        if asked.times:
            self._enter(columns, row, True, number)
        if plan is not None:
            self.plans.append(plan)

    def _enter(self, columns: Columns, row: int, with_name: bool, plan: int) -> None:
        """Put a row's shape into the table, unless it is there."""
        size = int(shape_of(self._shapes(columns), row, with_name))
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
        return NEVER
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


def _planned(name: Callable[[], str], values: Sequence[tuple[int, Scalar]], is_child: bool) -> Plan | None:
    """The plan of spans like this one; None where a free text does not stay as it is."""
    found: Found = []
    for place, (key, value) in enumerate(values):
        entry = WANTED.get(KEYS[key])
        if entry is not None:
            is_number = _CLASSES[key] == NUMBER and sane_number(value) >= 0
            mark = _number_mark(place) if is_number else _text_mark(place) if _CLASSES[key] == FREE_TEXT else value
            found.append((entry, mark))
    span = Span(bytes(16), bytes(8), bytes(8) if is_child else b"", 1, 1, 1.0, _NO_RESOURCE)
    bad, apart = read_fields(span, name, found)
    places: dict[Scalar, int] = {}
    for place in range(len(values)):
        places[_number_mark(place)] = places[_text_mark(place)] = place
    numbers = tuple((places[value], field) for field, value in span.own.items() if field in NUMBERS)
    texts = tuple((places[value], field) for field, value in span.own.items() if field in _FREE)
    if texts and span.dialect in _ESCAPED:
        return None
    placed = {field for _, field in (*numbers, *texts)}
    return Plan(
        next(_NUMBERS), span.operation, span.dialect, span.session_rank, span.failed, span.is_log,
        {field: value for field, value in span.own.items() if field not in placed}, numbers, texts,
        lends(span.own, span.operation), apart, bad,
    )  # fmt: skip


def _number_mark(place: int) -> float:
    return place + 1.0


def _text_mark(place: int) -> str:
    return f"mark {place}"


_CLASSES = tuple(_class_of(key) for key in KEYS)
_ESCAPED = frozenset(dialect.name for dialect in DIALECTS if dialect.html)


class CompiledDecoder:
    """The scanner, and plans for what it finds. One owner at a time."""

    name = "compiled"

    def __init__(self) -> None:
        self._scanner, self._plans = Scanner(), Plans()

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        """The spans of some bodies, each with its plan; good until the next call."""
        columns = self._scanner.scan(bodies)
        self._plans.recognise(columns)
        return replace(columns, plans=self._plans.plans)
