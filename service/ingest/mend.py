"""Protobuf whose text is not UTF-8, made readable: the parser would refuse a whole body for one bad letter.

Walked by the message's own descriptor, so only what is text by its schema changes. Far slower than the parser: for
bodies that it refused.
"""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

DEPTH_MAX = 100
"""The parser's own limit."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def with_readable_text(body: bytes, message: Descriptor, depth: int = 0) -> bytes:
    r"""`body`, an encoded `message`, with U+FFFD for what is no UTF-8 in its text.

    Raises ValueError if it is not that message.

    >>> from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    >>> with_readable_text(b"\x0a\x03a\xffb", KeyValue.DESCRIPTOR)
    b'\n\x05a\xef\xbf\xbdb'
    """
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        tag, after = _varint(body, at)
        kind = tag & 7
        if kind != _BYTES:
            end = _past(body, after, kind)
            parts.append(body[at:end])
            at = end
            continue
        length, start = _varint(body, after)
        end = start + length
        if end > len(body):
            raise ValueError("cut short")
        held = body[start:end]
        field = message.fields_by_number.get(tag >> 3)
        if field is not None and field.type == FieldDescriptor.TYPE_STRING:
            held = held.decode(errors="replace").encode()
        elif field is not None and field.message_type is not None:
            held = with_readable_text(held, field.message_type, depth + 1)
        parts += (body[at:after], _as_varint(len(held)), held)
        at = end
    return b"".join(parts)


def _past(body: bytes, at: int, kind: int) -> int:
    """Where a value that is not length-delimited ends."""
    if kind == _VARINT:
        return _varint(body, at)[1]
    end = at + {_FIXED64: 8, _FIXED32: 4}.get(kind, len(body) + 1)  # Groups are in no message of OTLP.
    if end > len(body):
        raise ValueError("cut short")
    return end


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends."""
    value = 0
    for place in range(min(10, len(body) - at)):
        byte = body[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("cut short")


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
