"""Protobuf's wire format, compiled: what a field is and where it ends, checked as protobuf checks it.

`at` is where reading stands; MALFORMED in its place means that it cannot go on.
"""

from numba import int64, njit

from service.ingest.machine import COMPILED, INLINED
from service.ingest.memory import byte, cell, put

MALFORMED = -1
"""In place of where a field ends: this is no protobuf."""
DEPTH_MAX = 100
"""How deep messages and groups may lie in each other, the outermost not counted: protobuf's limit."""
STACK_CELLS = 2 * (DEPTH_MAX + 1)
NOT_READ, KEY_VALUE, ANY, ARRAY, PAIRS, EVENT, LINK, PLAIN, CLOSED = 0, 1, 2, 3, 4, 5, 6, 7, 8
"""Kinds of messages that lie within spans and are only checked; and what is no message."""
VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = 0, 1, 2, 3, 4, 5


@njit(**COMPILED)
def varint(text, at, end, bytes_max):
    """A varint and where it ends."""
    value, shift = int64(0), int64(0)
    for _ in range(bytes_max):
        if at >= end:
            break
        part = byte(text, at)
        at += 1
        value |= (part & 0x7F) << shift
        if part < 0x80:
            return value, at  # Bits past the 64th are dropped, as protobuf drops them.
        shift += 7
    return int64(0), int64(MALFORMED)


@njit(**INLINED)
def read_tag(text, at, end):
    """Field number and wire type, as they stand together; there is a byte to read."""
    first = byte(text, at)
    if first < 0x80:
        return first, (at + 1 if first >= 8 else int64(MALFORMED))
    tag, at = varint(text, at, end, 5)
    if at < 0 or tag > 0xFFFFFFFF or tag < 8:
        return int64(0), int64(MALFORMED)
    return tag, at


@njit(**INLINED)
def held(text, at, end):
    """Where what is held by a length-delimited field begins and ends."""
    if at < end:
        size = byte(text, at)
        at += 1
        if size >= 0x80:
            size, at = varint(text, at - 1, end, 5)
        if at >= 0 and size <= end - at:
            return at, at + size
    return int64(MALFORMED), int64(MALFORMED)


@njit(**INLINED)
def _within(message, number):
    """The kind of message that a field of a message holds."""
    if message == KEY_VALUE:
        return ANY if number == 2 else NOT_READ
    if message == ANY:
        return ARRAY if number == 5 else PAIRS if number == 6 else NOT_READ
    if message == ARRAY:
        return ANY if number == 1 else NOT_READ
    if message == PAIRS:
        return KEY_VALUE if number == 1 else NOT_READ
    if message == EVENT:
        return KEY_VALUE if number == 3 else NOT_READ
    if message == LINK:
        return KEY_VALUE if number == 4 else NOT_READ
    return NOT_READ


@njit(**COMPILED)
def _past_plain(text, at, end, kind):
    """Where a field ends that is neither length-delimited nor a group."""
    if kind == VARINT:
        return varint(text, at, end, 10)[1]
    if kind == FIXED64 and end - at >= 8:
        return at + 8
    if kind == FIXED32 and end - at >= 4:
        return at + 4
    return int64(MALFORMED)


@njit(**INLINED)
def _entered(text, at, end, opened):
    """One field within what was opened as `opened`: where reading goes on, up to where, and in what.

    In NOT_READ the field is behind; in CLOSED a group came to its end.
    """
    if opened < 0:  # Protobuf does not mind a field of number 0 in a group.
        tag, at = varint(text, at, end, 5)
        if tag > 0xFFFFFFFF:
            at = int64(MALFORMED)
    else:
        tag, at = read_tag(text, at, end)
    number, kind = tag >> 3, tag & 7
    if at < 0:
        return at, end, int64(NOT_READ)
    if kind == GROUP_END:
        return (at if opened == -number - 1 else int64(MALFORMED)), end, int64(CLOSED)
    if kind == GROUP:
        return at, end, -number - 1
    if kind == BYTES:
        at, stop = held(text, at, end)
        inner = int64(_within(opened, number))
        return (stop if inner == NOT_READ else at), stop, inner
    return _past_plain(text, at, end, kind), end, int64(NOT_READ)


@njit(**COMPILED)
def _checked(text, stack, at, end, opened, depth):
    """The end of a message, or of a group, that is only checked.

    opened  the kind of the message; of a group, less than zero, from the number that closes it

    The stack holds what encloses the place of reading: two cells a level, its end and what it was opened as.
    """
    level = int64(0)
    while True:
        if at < end:
            at, stop, inner = _entered(text, at, end, opened)
            if at < 0:
                return at
        elif opened < 0:
            return int64(MALFORMED)
        else:
            stop, inner = end, int64(CLOSED)
        if inner == CLOSED:
            if level == 0:
                return at
            level -= 1
            end, opened = cell(stack, 2 * level), cell(stack, 2 * level + 1)
        elif inner != NOT_READ:
            if depth + level >= DEPTH_MAX:
                return int64(MALFORMED)
            put(stack, 2 * level, end)
            put(stack, 2 * level + 1, opened)
            level += 1
            end, opened = stop, inner


@njit(**COMPILED)
def past(text, stack, at, end, tag, depth):
    """Where a field ends that is passed over, the message that it stands in being `depth` deep."""
    kind = tag & 7
    if kind == BYTES:
        return held(text, at, end)[1]
    if kind == GROUP:
        if depth >= DEPTH_MAX:
            return int64(MALFORMED)
        return _checked(text, stack, at, end, -(tag >> 3) - 1, depth + 1)
    return _past_plain(text, at, end, kind)


@njit(**COMPILED)
def past_message(text, stack, at, end, message, depth):
    """Where a length-delimited message ends that is only checked, itself `depth` deep."""
    at, stop = held(text, at, end)
    return at if at < 0 else _checked(text, stack, at, stop, int64(message), depth)
