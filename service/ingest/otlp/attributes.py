"""Attributes of OTLP traces, compiled: those that are wanted where they stand, as rows. See `scan.py`."""

from numba import int64, njit

from service.ingest.machine import COMPILED, INLINED, text_hash
from service.ingest.memory import cell, put, same_text, word
from service.ingest.otlp.columns import (
    ATTRIBUTE_CELLS,
    BOOL_KIND,
    DOUBLE_KIND,
    INT_KIND,
    IS_CONTENT,
    KEY,
    KIND,
    TEXT,
    TEXT_KIND,
    VALUE,
)
from service.ingest.otlp.room import ATTRIBUTES, KEY_BYTES_MAX, KEY_CELLS
from service.ingest.otlp.wire import ARRAY, MALFORMED, PAIRS, held, past, past_message, read_tag, varint

FULL = -2
"""In place of where reading stands: there are more rows than room for them."""


@njit(**INLINED)
def _key_id(room, at, size, role):
    """The id of an attribute's name, or -1 if it is not wanted here."""
    if size > KEY_BYTES_MAX or cell(room.key_lengths, size) == 0:
        return int64(-1)
    hashed = text_hash(room.text, at, size)
    slot = hashed & room.key_mask
    while True:
        key = cell(room.keys, KEY_CELLS * slot + 1)
        if key < 0:
            return key
        if (
            cell(room.keys, KEY_CELLS * slot) == hashed
            and cell(room.keys, KEY_CELLS * slot + 3) == size
            and same_text(room.text, at, room.key_text, cell(room.keys, KEY_CELLS * slot + 2), size)
        ):
            return key if cell(room.key_roles, key) & role else int64(-1)
        slot = (slot + 1) & room.key_mask


@njit(**INLINED)
def _value(room, at, end, kind, value, text_at, depth):
    """An AnyValue read into what an earlier one of the same attribute left: where it ends, kind, value and text."""
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            break
        if tag == 0x0A:
            text_at, stop = held(room.text, at, end)
            kind, value, at = int64(TEXT_KIND), stop - text_at, stop
        elif tag == 0x18:
            value, at = varint(room.text, at, end, 10)
            kind = int64(INT_KIND)
        elif tag == 0x10:
            value, at = varint(room.text, at, end, 10)
            kind, value = int64(BOOL_KIND), int64(value != 0)
        elif tag == 0x21:
            at += 8
            if at > end:
                return int64(MALFORMED), kind, value, text_at
            kind, value = int64(DOUBLE_KIND), word(room.text, at - 8)
        elif tag == 0x2A or tag == 0x32:
            at = past_message(room.text, room.stack, at, end, ARRAY if tag == 0x2A else PAIRS, depth + 1)
            kind = tag >> 3
        else:
            at = past(room.text, room.stack, at, end, tag, depth)
            if tag == 0x3A or tag == 0x40:  # Bytes, and a reference that only profiles have.
                kind = tag >> 3
        if at < 0:
            break
    return at, kind, value, text_at


@njit(**COMPILED)
def attribute(room, at, end, role, depth):
    """A field that holds a KeyValue, `depth` deep; a row is written if it is wanted and says something."""
    at, end = held(room.text, at, end)
    if at < 0:
        return at
    key, kind, value, text_at = int64(-1), int64(0), int64(0), int64(0)
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            return at
        if tag == 0x0A:
            begin, at = held(room.text, at, end)
            if at < 0:
                return at
            key = _key_id(room, begin, at - begin, role)
        elif tag == 0x12:
            begin, stop = held(room.text, at, end)
            if stop < 0:
                return stop
            at, kind, value, text_at = _value(room, begin, stop, kind, value, text_at, depth + 1)
        else:
            at = past(room.text, room.stack, at, end, tag, depth)
        if at < 0:
            return at
    if key >= 0 and cell(room.key_roles, key) & IS_CONTENT:
        if kind == TEXT_KIND and value > 0:
            put(room.content, key, cell(room.content, key) + 1)
        return at
    if key < 0 or not TEXT_KIND <= kind <= DOUBLE_KIND or (kind == TEXT_KIND and value == 0):
        return at
    row = cell(room.used, ATTRIBUTES)
    if row >= cell(room.limits, ATTRIBUTES):
        return int64(FULL)
    put(room.attributes, row * ATTRIBUTE_CELLS + KEY, key)
    put(room.attributes, row * ATTRIBUTE_CELLS + KIND, kind)
    put(room.attributes, row * ATTRIBUTE_CELLS + VALUE, value)
    put(room.attributes, row * ATTRIBUTE_CELLS + TEXT, text_at if kind == TEXT_KIND else int64(0))
    put(room.used, ATTRIBUTES, row + 1)
    return at
