"""Spans of one shape told to be so, compiled: what the dialects would say of them is the same.

A span's shape is whether it has a parent, and its wanted attributes in order: of numbers whether they are sane, of
tenants, session and response ids whether they may stand as they are, of everything else the value. Where the dialects
would look at the span's name, that is in the shape too.
"""

from typing import NamedTuple

from numba import float64, int64, njit, uint64

from service.ingest.machine import COMPILED, INLINED, last_word, text_hash
from service.ingest.memory import Memory, as_bits, as_float, byte, cell, put, put_word, same_text, soon, word
from service.ingest.otlp.columns import (
    ATTRIBUTE_CELLS,
    DOUBLE_KIND,
    FIRST,
    INT_KIND,
    KEY,
    KIND,
    NAME,
    NAME_BYTES,
    PARENT,
    PLAN,
    SPAN_CELLS,
    STOP,
    TEXT,
    TEXT_KIND,
    VALUE,
)

SAID, FREE_TEXT, NUMBER, NEVER, NOT_OF_SPANS = 0, 1, 2, 3, 4
"""What of an attribute belongs to the shape: its value; that it is fit; that it is sane; such spans have no shape."""
UNKNOWN, NO_PLAN, ASK_NAME = -1, -2, -3
"""In place of a plan: the shape is new; the span is to be read alone; it depends on the name."""
SHAPE_BYTES_MAX = 2_048
FREE_TEXT_BYTES_MAX = 200
"""As long as a label may be."""
NUMBER_MAX = 2.0**53
ENTRY_CELLS = 4
AHEAD = 8
"""Shapes that are looked up together, so that what they are compared with is near once it is needed."""
SCRATCH_BYTES = 2 * (AHEAD + 1) * SHAPE_BYTES_MAX
AHEAD_BEGIN, AHEAD_SIZE, AHEAD_HASH, AHEAD_CELLS = 0, 1, 2, 3
_EACH, _HIGHEST = uint64(0x0101010101010101), uint64(0x8080808080808080)


class Shapes(NamedTuple):
    """The shapes that are known.

    classes  by key, one of the above
    table    (slots, 4): hash, offset and size in `known`, plan or ASK_NAME; size -1 where the slot is free
    known    the shapes' bytes
    learns   whether there is room for more of them
    scratch  (SCRATCH_BYTES,) bytes, for shapes that stand one after the other
    ahead    (AHEAD, AHEAD_CELLS): where in the scratch each begins, its size, -1 for none, and its hash
    """

    text: Memory
    spans: Memory
    attributes: Memory
    classes: Memory
    table: Memory
    mask: Memory
    learns: Memory
    known: Memory
    scratch: Memory
    ahead: Memory


@njit(**INLINED)
def _append_number(shapes, at, number):
    """Write an int64 to the scratch: where that ends."""
    put_word(shapes.scratch, at, number)
    return at + 8


@njit(**INLINED)
def _append_text(shapes, at, limit, text_at, size):
    """Write a text and its size to the scratch, in whole words: where that ends, or -1 if it is too much."""
    if at + size > limit:
        return int64(-1)
    at, end = _append_number(shapes, at, size), text_at + size
    while text_at + 8 <= end:
        at = _append_number(shapes, at, word(shapes.text, text_at))
        text_at += 8
    if text_at < end:
        at = _append_number(shapes, at, last_word(shapes.text, end, size))
    return at


@njit(**INLINED)
def _is_fit(shapes, at, size):
    """Whether a text may stand as a label just as it is, without another look."""
    if size > FREE_TEXT_BYTES_MAX:
        return False
    end = at + size
    while at + 8 <= end:
        if not _are_fit(uint64(word(shapes.text, at))):
            return False
        at += 8
    while at < end:
        letter = byte(shapes.text, at)
        if letter < 0x20 or letter > 0x7E or letter == 0x22:
            return False
        at += 1
    return True


@njit(**INLINED)
def _are_fit(letters):
    """The same of eight letters at once: in each byte of a sum its highest bit says that the letter is not fit.

    A carry comes only from a letter that is not fit either (Warren, Hacker's Delight, chapter 6).
    """
    quotes = letters ^ (_EACH * uint64(0x22))
    below = (letters - _EACH * uint64(0x20)) & ~letters
    above = (letters + _EACH) | letters
    return (below | above | ((quotes - _EACH) & ~quotes)) & _HIGHEST == 0


@njit(**INLINED)
def _makes_fit(shapes, row):
    """Whether an attribute's text may stand as a label, without the quotes that Langfuse puts round it."""
    begin, size = cell(shapes.attributes, row + TEXT), cell(shapes.attributes, row + VALUE)
    end = begin + size
    is_quoted = (
        2 < size <= FREE_TEXT_BYTES_MAX and byte(shapes.text, begin) == 0x22 and byte(shapes.text, end - 1) == 0x22
    )
    if not is_quoted:
        return _is_fit(shapes, begin, size)
    if not _is_fit(shapes, begin + 1, size - 2):
        return False
    put(shapes.attributes, row + TEXT, begin + 1)
    put(shapes.attributes, row + VALUE, size - 2)
    return True


@njit(**INLINED)
def _append_attribute(shapes, at, limit, row):
    """Write what of an attribute belongs to the shape: where that ends, or -1 if the span has none."""
    key, kind = cell(shapes.attributes, row + KEY), cell(shapes.attributes, row + KIND)
    value = cell(shapes.attributes, row + VALUE)
    told = cell(shapes.classes, key)
    head = key << 8 | kind << 4 | told
    if told == NOT_OF_SPANS:
        return at
    if told == NEVER or at > limit:
        return int64(-1)
    if told == NUMBER:
        if kind == INT_KIND:
            value = as_bits(float64(value))
            put(shapes.attributes, row + KIND, int64(DOUBLE_KIND))
            put(shapes.attributes, row + VALUE, value)
        elif kind != DOUBLE_KIND:
            return int64(-1)
        sane = 0.0 <= as_float(value) <= NUMBER_MAX
        return _append_number(shapes, at, (key << 8 | told) if sane else (key << 8 | told | 8))
    if told == FREE_TEXT:
        return _append_number(shapes, at, head) if kind == TEXT_KIND and _makes_fit(shapes, row) else int64(-1)
    at = _append_number(shapes, at, head)
    if kind == TEXT_KIND:
        return _append_text(shapes, at, limit, cell(shapes.attributes, row + TEXT), value)
    return _append_number(shapes, at, value)


@njit(**INLINED)
def _look_up(shapes, begin, size, hashed):
    """The plan of a shape in the scratch."""
    slot = hashed & shapes.mask
    while True:
        entry = slot * ENTRY_CELLS
        known_bytes = cell(shapes.table, entry + 2)
        if known_bytes < 0:
            return int64(UNKNOWN)
        if (
            cell(shapes.table, entry) == hashed
            and known_bytes == size
            and same_text(shapes.scratch, begin, shapes.known, cell(shapes.table, entry + 1), size)
        ):
            return cell(shapes.table, entry + 3)
        slot = (slot + 1) & shapes.mask


@njit(**COMPILED)
def shape_of(shapes, begin, number, with_name):
    """Write a span's shape to the scratch, where it is to begin: its size, or -1 if it has none."""
    row, limit = number * SPAN_CELLS, begin + SHAPE_BYTES_MAX
    has_parent = int64(cell(shapes.spans, row + PARENT) != 0)
    at = _append_number(shapes, begin, has_parent << 1 | int64(with_name))
    for i in range(cell(shapes.spans, row + FIRST), cell(shapes.spans, row + STOP)):
        at = _append_attribute(shapes, at, limit, i * ATTRIBUTE_CELLS)
        if at < 0:
            return at
    if with_name:
        at = _append_text(shapes, at, limit, cell(shapes.spans, row + NAME), cell(shapes.spans, row + NAME_BYTES))
        if at < 0:
            return at
    return at - begin


@njit(**INLINED)
def _look_ahead(shapes, first, stop):
    """Write the shapes of some spans to the scratch, and wish for what is known of them; where the last one ends."""
    begin = int64(0)
    for number in range(first, stop):
        at = (number - first) * AHEAD_CELLS
        size = shape_of(shapes, begin, number, False)
        put(shapes.ahead, at + AHEAD_BEGIN, begin)
        put(shapes.ahead, at + AHEAD_SIZE, size)
        if size >= 0:
            hashed = text_hash(shapes.scratch, begin, size)
            put(shapes.ahead, at + AHEAD_HASH, hashed)
            soon(shapes.table, (hashed & shapes.mask) * ENTRY_CELLS)
            begin += size
    for at in range(0, (stop - first) * AHEAD_CELLS, AHEAD_CELLS):
        size = cell(shapes.ahead, at + AHEAD_SIZE)
        if size >= 0:
            entry = (cell(shapes.ahead, at + AHEAD_HASH) & shapes.mask) * ENTRY_CELLS
            known = cell(shapes.table, entry + 1) >> 3
            for line in range(0, (size >> 3) + 8, 8):
                soon(shapes.known, known + line)
    return begin


@njit(**COMPILED)
def recognise(shapes, first, stop):
    """Write the plan of each span into its row, up to the first whose shape is new: the row of that, or `stop`."""
    end = int64(0)
    for number in range(first, stop):
        if (number - first) % AHEAD == 0:
            end = _look_ahead(shapes, number, min(number + AHEAD, stop))
        at = (number - first) % AHEAD * AHEAD_CELLS
        plan, size = int64(NO_PLAN), cell(shapes.ahead, at + AHEAD_SIZE)
        if size >= 0:
            plan = _look_up(shapes, cell(shapes.ahead, at + AHEAD_BEGIN), size, cell(shapes.ahead, at + AHEAD_HASH))
            if plan == ASK_NAME:
                size = shape_of(shapes, end, number, True)
                plan = int64(NO_PLAN)
                if size >= 0:
                    plan = _look_up(shapes, end, size, text_hash(shapes.scratch, end, size))
        if plan == UNKNOWN:
            if shapes.learns:
                return number
            plan = int64(NO_PLAN)
        put(shapes.spans, number * SPAN_CELLS + PLAN, plan)
    return stop
