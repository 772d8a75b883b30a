"""How many objects a body would become, counted on its bytes before any is made.

A message of protobuf takes two bytes, and over a hundred once it is an object; a value of JSON likewise. So bodies are
bounded by what is in them as well as by their length. In protobuf the messages and other repeated entries count, and
all fields so that the count itself has an end; in JSON the signs that stand before a value.
"""

from typing import Any

import numpy as np

MESSAGES_MAX = 300_000
FIELDS_MAX = 2_000_000
SIGNS_MAX = 800_000
"""An attribute is two messages with two fields more, and seven signs of JSON."""
PACKED = 16
"""So many numbers of a packed list are as large as one message."""
_PIECE_BYTES = 1 << 20
_VARINT, _BYTES = 0, 2
_PLAIN = {1: 8, 5: 4, 3: 0, 4: 0}
"""How long the other types of field are; a group is looked at as if it were part of what it stands in."""

Within = dict[int, Any]
"""Of one kind of message: by tag, as it is written, of each field that takes room, what it holds."""


def crowded(body: bytes, within: Within) -> bool:
    """Whether a body in protobuf holds more than is read. What is not protobuf is counted as far as it seems so."""
    if len(body) <= _BYTES * MESSAGES_MAX:
        return False
    try:
        return _counts_over(body, within)
    except IndexError:  # It ends within a field.
        return False


def _counts_over(body: bytes, within: Within) -> bool:
    at, end, fields, messages = 0, len(body), 0, 0
    enclosing: list[tuple[int, Within]] = []
    while True:
        while at >= end:
            if not enclosing or at > end:
                return False
            end, within = enclosing.pop()
        fields += 1
        if fields > FIELDS_MAX:
            return True
        tag = body[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(body, at - 1)
        kind = tag & 7
        if kind == _BYTES:
            size = body[at]
            at += 1
            if size >= 0x80:
                size, at = _varint(body, at - 1)
            inner = within.get(tag)
            if inner is None:
                at += size
                continue
            messages += 1 + (0 if inner else size // PACKED)
            if messages > MESSAGES_MAX:
                return True
            if inner:
                enclosing.append((end, within))
                end, within = at + size, inner
            else:
                at += size
        elif kind == _VARINT:
            at = _varint(body, at)[1]
        elif kind in _PLAIN:
            at += _PLAIN[kind]
        else:
            return False


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, and where it ends."""
    number = shift = 0
    while body[at] >= 0x80 and shift < 63:
        number |= (body[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return number | (body[at] & 0x7F) << shift, at + 1


def fields_of(descriptor: Any) -> Within:
    """What takes room in a message of protobuf, from its descriptor; a kind of message is looked at once."""
    seen: dict[str, Within] = {}

    def look(message: Any) -> Within:
        if message.full_name not in seen:
            found = seen[message.full_name] = {0: None}  # No field has that tag; so that no message is empty.
            for field in message.fields:
                tag = field.number << 3 | _BYTES
                if field.message_type:
                    found[tag] = look(field.message_type)
                elif field.is_repeated:
                    found[tag] = {}
        return seen[message.full_name]

    return look(descriptor)


def crowded_json(body: bytes) -> bool:
    """Whether a body in JSON holds more values than are read.

    >>> crowded_json(b'{"resourceSpans": [' + b"{}," * SIGNS_MAX + b"{}]}")
    True
    >>> crowded_json(b'{"text": "' + b"{}," * SIGNS_MAX + b'"}')
    False
    """
    if len(body) <= SIGNS_MAX or sum(map(body.count, (b"{", b"[", b",", b":"))) <= SIGNS_MAX:
        return False
    plain = np.frombuffer(body.replace(b"\\\\", b"..").replace(b'\\"', b".."), np.uint8)
    signs, in_text = 0, np.uint8(0)
    for begin in range(0, len(plain), _PIECE_BYTES):
        piece = plain[begin : begin + _PIECE_BYTES]
        quotes = (piece == ord('"')).astype(np.uint8)
        quotes[0] ^= in_text
        texts = np.bitwise_xor.accumulate(quotes)
        in_text = texts[-1]
        outside = np.bincount(piece[texts == 0], minlength=256)
        signs += int(outside[[ord(sign) for sign in "{[,:"]].sum())
        if signs > SIGNS_MAX:
            return True
    return False
