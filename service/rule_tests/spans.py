"""Spans as an SDK of OpenTelemetry writes them, many at a time: those of one kind are rows of equally many bytes.

Protobuf's own classes would take most of a test's time. Field numbers are those of `opentelemetry/proto/trace/v1`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Floats, Places

Octets = NDArray[np.uint8]
FAILED = b"\x7a\x02\x18\x02"
"""Field 15, a status whose code is 2."""
_TRACE, _OWN, _PARENT, _START, _END = b"\x0a\x10", b"\x12\x08", b"\x22\x08", b"\x39", b"\x41"
_INTEGER_BYTES = 5
"""A whole number is as long as this whatever it is: protobuf reads leading zeros in base 128."""
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def varint(number: int) -> bytes:
    """Write a number in protobuf's base 128.

    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """Write a field that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def pair(key: str, value: bytes) -> bytes:
    """Write a key and its AnyValue."""
    return field(1, key.encode()) + field(2, value)


def text(key: str, value: str) -> bytes:
    """Write an attribute of a span that is text."""
    return field(9, pair(key, field(1, value.encode())))


def resource(attributes: Mapping[str, str]) -> bytes:
    """Write a resource, as a field of its spans."""
    return field(1, b"".join(field(1, pair(key, field(1, value.encode()))) for key, value in attributes.items()))


def body(of: bytes, spans: bytes) -> bytes:
    """Write one resource with all of its spans, as a field of an ExportTraceServiceRequest."""
    return field(1, of + field(2, b"\x0a\x04\x0a\x02ai" + spans))


@dataclass(frozen=True, eq=False)
class Ids:
    """Who the spans are: (n, 16) trace, (n, 8) own, (n, 8) parent; None for roots."""

    trace: Octets
    own: Octets
    parent: Octets | None

    def chosen(self, which: NDArray[np.bool_]) -> "Ids":
        """The same of some of them."""
        parent = None if self.parent is None else self.parent[which]
        return Ids(self.trace[which], self.own[which], parent)


def hexadecimal(ids: Octets) -> Octets:
    """(n, 2 k) characters of (n, k) bytes.

    >>> hexadecimal(np.array([[0, 171]], np.uint8)).tobytes()
    b'00ab'
    """
    return np.stack([_HEX[ids >> 4], _HEX[ids & 15]], axis=-1).reshape(len(ids), -1)


def rows(
    ids: Ids, start_ns: Places, end_ns: Places, shared: bytes, texts: Sequence[tuple[str, Octets]] = (),
    integers: Sequence[tuple[str, Floats]] = (), numbers: Sequence[tuple[str, Floats]] = (),
) -> Octets:  # fmt: skip
    """(n, width) spans, each a field of its scope.

    shared    what all of them say: name, kind, attributes, status
    texts     attributes by key that each says of its own, (n, length) characters
    integers  attributes that are whole numbers, (n,) of 0 to 2**34
    numbers   attributes that are floating point
    """
    n = len(start_ns)
    parts: list[bytes | Octets] = [_TRACE, ids.trace, _OWN, ids.own]
    parts += [] if ids.parent is None else [_PARENT, ids.parent]
    parts += [shared, _START, _little(start_ns), _END, _little(end_ns)]
    for key, characters in texts:
        parts += _attribute(key, 0x0A, characters)
    for key, values in integers:
        parts += _attribute(key, 0x18, _padded(values))
    for key, values in numbers:
        parts += _attribute(key, 0x21, _little(values.astype("<f8")))
    width = sum(len(part) if isinstance(part, bytes) else part.shape[1] for part in parts)
    parts = [b"\x12" + varint(width), *parts]
    columns = [np.tile(np.frombuffer(part, np.uint8), (n, 1)) if isinstance(part, bytes) else part for part in parts]
    return np.concatenate(columns, axis=1)


def _attribute(key: str, tag: int, content: Octets) -> list[bytes | Octets]:
    """The parts of an attribute whose value is as long in every row."""
    length = varint(content.shape[1]) if tag & 7 == 2 else b""
    value = bytes([tag]) + length
    inner = field(1, key.encode()) + b"\x12" + varint(len(value) + content.shape[1]) + value
    return [b"\x4a" + varint(len(inner) + content.shape[1]) + inner, content]


def _little(values: NDArray[np.int64] | Floats) -> Octets:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def _padded(values: Floats) -> Octets:
    """(n, 5) whole numbers in base 128, all as long."""
    whole = values.astype(np.int64)
    groups = np.stack([(whole >> 7 * place) & 127 for place in range(_INTEGER_BYTES)], axis=1)
    groups[:, :-1] |= 128
    return groups.astype(np.uint8)
