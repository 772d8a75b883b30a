"""Plans: what the dialects say of spans of one shape, worked out once.

A plan is made by reading a span whose numbers and free texts are marks, and looking where the marks went. So the tables
of the dialects are all there is to say what anything means, and a span read by plan is what it would be read alone.
"""

from collections.abc import Callable, Sequence

from service.ingest.dialects import ALIKE, COUNTED, DIALECTS, DOCUMENT, LABEL, NAMED_ONLY, WANTED
from service.ingest.dialects import NUMBER as NUMBER_ENTRY
from service.ingest.join.lexicon import NUMBERS_OF_SPANS, Lexicon
from service.ingest.kernel.columns import Columns
from service.ingest.kernel.constants import (
    ASK_NAME,
    FAILED,
    FREE_TEXT,
    HAS_RAISED,
    IS_EXCUSED,
    NEVER,
    NO_PLAN,
    NOT_OF_SPANS,
    NUMBER,
    TELLS_MORE,
    WHOLE,
)
from service.ingest.kernel.shapes import ShapeTable
from service.ingest.local import NOTHING_LOCAL, Local
from service.ingest.otlp.wanted import KEYS
from service.ingest.read import Found, read_span
from service.ingest.values import sane_number
from service.ingest.vocabulary import NUMBERS, RESPONSE_ID, SESSION, TENANT, Reading, Scalar

SPANS_BETWEEN = 1_000_000
"""Spans before plans may be forgotten to make room for new ones: making them is dear, and must not become the rule."""
_FREE_TEXTS = (TENANT, SESSION, RESPONSE_ID)
_FREE = frozenset(_FREE_TEXTS)


class Plans:
    """The plans of the shapes seen so far, bounded; spans of other shapes are read one by one.

    learns  whether a new shape gets a plan while there is room
    """

    def __init__(self, lexicon: Lexicon, learns: bool = True, local: Local = NOTHING_LOCAL) -> None:
        self._lexicon, self._learns, self._local = lexicon, learns, local
        self.shapes = ShapeTable(list(_CLASSES))
        self._seen = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.shapes.count

    def forget(self) -> None:
        """Begin anew."""
        self.shapes.clear()
        self._seen = 0

    def recognise(self, columns: Columns) -> None:
        """Write the plan of each span into its row, NO_PLAN where it has none."""
        total, at = columns.n_spans, 0
        self._seen += total
        if self.shapes.is_full and self._seen > SPANS_BETWEEN:
            self.forget()
        while (at := self.shapes.recognise(columns, at, self._learns and not self.shapes.is_full)) < total:
            self._learn(columns, at)

    def _learn(self, columns: Columns, row: int) -> None:
        text, is_root, values = columns.span(row)
        name = _Asked(text)
        plan = self._planned(name, values, is_root)
        number = NO_PLAN if plan is None else self.shapes.count
        self.shapes.enter(columns, row, False, ASK_NAME if name.times else number)
        if name.times:
            self.shapes.enter(columns, row, True, number)
        if plan is not None:
            self.shapes.add(*plan)

    def _planned(
        self, name: Callable[[], str], values: Sequence[tuple[int, Scalar]], is_root: bool
    ) -> tuple[int, int, int, list[int]] | None:
        """The plan of spans like this one; None where a free text does not stay as it is."""
        found: Found = []
        for place, (key, value) in enumerate(values):
            entry = WANTED.get(KEYS[key])
            if entry is not None:
                is_number = _CLASSES[key] == NUMBER and sane_number(value) >= 0
                mark = _number_mark(place) if is_number else _text_mark(place) if _CLASSES[key] == FREE_TEXT else value
                found.append((entry, mark))
        reading = Reading(is_root)
        bad, apart = read_span(reading, name, found, self._local)
        own = reading.own
        places: dict[Scalar, int] = {}
        for place in range(len(values)):
            places[_number_mark(place)] = places[_text_mark(place)] = place
        if reading.dialect in _ESCAPED and not _FREE.isdisjoint(own):
            return None
        fields = (*_FREE_TEXTS, *NUMBERS_OF_SPANS)
        where = [places.get(own[field], NO_PLAN) if field in own else -1 for field in fields]
        if NO_PLAN in where:
            return None
        return self._lexicon.reading(reading, apart), flags_of(reading), bad, where


def flags_of(reading: Reading) -> int:
    """What a reading says of errors, and whether it lists documents, as flags of a decoded span."""
    ends = FAILED * reading.failed | IS_EXCUSED * reading.is_excused | HAS_RAISED * reading.has_raised
    return ends | TELLS_MORE * (reading.listed > 0)


def _class_of(key: str) -> int:
    entry = WANTED.get(key)
    if entry is None:
        return NOT_OF_SPANS
    field, _, kind, _ = entry
    if kind == DOCUMENT:
        return WHOLE if key in ALIKE else NEVER
    if kind in (NUMBER_ENTRY, COUNTED) or (kind == NAMED_ONLY and field in NUMBERS):
        return NUMBER
    return FREE_TEXT if kind == LABEL and field in _FREE else WHOLE


class _Asked:
    """A name that knows whether anybody wanted to know it."""

    def __init__(self, name: str) -> None:
        self._name, self.times = name, 0

    def __call__(self) -> str:
        self.times += 1
        return self._name


def _number_mark(place: int) -> float:
    return place + 1.0


def _text_mark(place: int) -> str:
    return f"mark {place}"


_CLASSES = tuple(_class_of(key) for key in KEYS)
_ESCAPED = frozenset(dialect.name for dialect in DIALECTS if dialect.html)
