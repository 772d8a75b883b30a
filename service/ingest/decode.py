"""Records to spans: columns from whichever decoder reads them, then each span by the tables of the dialects.

Any bytes are either read or answered with what is wrong with them; a bad span is left out alone.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.batch import Dropped, Record, Signal
from service.ingest import otlp_json, protobuf
from service.ingest.columns import (
    BOOL_KIND,
    DOUBLE_KIND,
    KEYS,
    RECORD_BAD_IDS,
    RECORD_BAD_TIMES,
    RECORD_FIRST,
    RECORD_IS_BAD,
    RECORD_STOP,
    TEXT_KIND,
    Columns,
)
from service.ingest.dialects import NATIVE_SCOPES, WANTED
from service.ingest.protobuf import UnreadableError
from service.ingest.read import Found, read_resource, read_span
from service.ingest.vocabulary import Resource, Scalar, Span

WEIGHT_MAX = 1e6
"""A claimed sampling rate below one in a million is not believed: one span would outweigh a fleet."""
JOINED_BYTES_MAX = 1 << 20
"""Small records are decoded together until they are so large: a call of the scanner costs what 20 spans do."""
_ERROR = 2
_BITS, _DOUBLE = struct.Struct("<q"), struct.Struct("<d")
_ENTRIES = tuple(WANTED.get(key) for key in KEYS)
_NATIVE = tuple(scope.encode() for scope in NATIVE_SCOPES)
_EXAMPLES = {
    Dropped.BAD_ID: "a trace id is 16 bytes and a span id 8, not all zero (in JSON 32 and 16 hex digits)",
    Dropped.BAD_TIME: "a time is nanoseconds since 1970, above zero and before the year 2262",
    Dropped.FUTURE: "a span ends after the clock of the receiver",
}


class Decoder(Protocol):
    """What reads traces in protobuf. All give the same columns, and refuse the same bodies."""

    name: str

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        """The spans of some bodies; good until the next call."""


@dataclass
class Decoded:
    """The spans of one record, and what was left out of it by reason; or the error, if it could not be read."""

    spans: list[Span] = field(default_factory=list)
    dropped: Counter[Dropped] = field(default_factory=Counter)
    points: int = 0
    error: str | None = None

    def rejected(self) -> tuple[int, str]:
        """How many spans were rejected, and why, for the sender to read."""
        found = {reason: self.dropped[reason] for reason in _EXAMPLES if self.dropped[reason]}
        return sum(found.values()), "; ".join(f"{n} {reason}: {_EXAMPLES[reason]}" for reason, n in found.items())


def decode(records: Sequence[Record], body_bytes_max: int, decoder: Decoder) -> Iterator[Decoded]:
    """What each record holds, in order. Traces in protobuf that follow one another are decoded together."""
    waiting: list[bytes] = []
    size = 0
    for record in records:
        if record.signal is Signal.TRACES and len(record.body) <= body_bytes_max and not otlp_json.is_json(record.body):
            if waiting and size + len(record.body) > JOINED_BYTES_MAX:
                yield from _decode_together(waiting, decoder)
                waiting, size = [], 0
            waiting.append(record.body)
            size += len(record.body)
            continue
        yield from _decode_together(waiting, decoder)
        waiting, size = [], 0
        yield _decode_alone(record, body_bytes_max)
    yield from _decode_together(waiting, decoder)


def _decode_together(bodies: list[bytes], decoder: Decoder) -> Iterator[Decoded]:
    if bodies:
        columns = decoder.scan(bodies)
        for row in range(len(bodies)):
            yield read_record(columns, row)


def _decode_alone(record: Record, body_bytes_max: int) -> Decoded:
    """A record in JSON, or of another signal, or too large."""
    body, signal = record.body, record.signal
    decoded = Decoded()
    if len(body) > body_bytes_max:
        decoded.dropped[Dropped.TOO_LARGE] += 1
        decoded.error = f"body of {len(body)} bytes; at most {body_bytes_max} are read"
        return decoded
    try:
        if signal is Signal.TRACES:
            return read_record(otlp_json.traces(body), 0)
        read = otlp_json if otlp_json.is_json(body) else protobuf
        decoded.points = read.count_points(signal, body)
    except UnreadableError as error:
        decoded.dropped[Dropped.MALFORMED] += 1
        decoded.error = str(error)
    return decoded


def read_record(columns: Columns, row: int) -> Decoded:
    """What one of the records that were decoded together holds."""
    record = columns.records[row].tolist()
    decoded = Decoded()
    if record[RECORD_IS_BAD]:
        decoded.dropped[Dropped.MALFORMED] += 1
        decoded.error = "not an OTLP traces body in protobuf"
        return decoded
    for reason, at in ((Dropped.BAD_ID, RECORD_BAD_IDS), (Dropped.BAD_TIME, RECORD_BAD_TIMES)):
        if record[at]:
            decoded.dropped[reason] += record[at]
    bad_numbers = 0
    resources: dict[int, Resource] = {}
    for cells in columns.spans[record[RECORD_FIRST] : record[RECORD_STOP]].tolist():
        (start_ns, end_ns, status, trace_low, trace_high, span_id, parent_id, name_at, name_bytes, state_at,
         state_bytes, resource_row, scope_row, first, stop, _) = cells  # fmt: skip
        resource = resources.get(resource_row)
        if resource is None:
            resource = resources[resource_row] = _resource(columns, resource_row)
        state = columns.text[state_at : state_at + state_bytes].decode(errors="replace")
        span = Span(
            _BITS.pack(trace_low) + _BITS.pack(trace_high),
            _BITS.pack(span_id),
            _BITS.pack(parent_id) if parent_id else b"",
            start_ns,
            end_ns,
            sampling_weight(state) if state else 1.0,
            resource,
        )
        span.failed = status == _ERROR
        scope_at, scope_bytes = columns.scopes[scope_row].tolist()
        span.is_native = columns.text[scope_at : scope_at + scope_bytes].startswith(_NATIVE)
        found: Found = []
        for key, value in _values(columns, first, stop):
            entry = _ENTRIES[key]
            if entry is not None:
                found.append((entry, value))
        name = columns.text[name_at : name_at + name_bytes].decode(errors="replace")
        bad_numbers += read_span(span, name, found)
        decoded.spans.append(span)
    if bad_numbers:
        decoded.dropped[Dropped.BAD_NUMBER] += bad_numbers
    return decoded


def _resource(columns: Columns, row: int) -> Resource:
    return read_resource((KEYS[key], value) for key, value in _values(columns, *columns.resources[row].tolist()))


def _values(columns: Columns, first: int, stop: int) -> Iterator[tuple[int, Scalar]]:
    """Keys and values of some rows of attributes."""
    for key, kind, value, at in columns.attributes[first:stop].tolist():
        if kind == TEXT_KIND:
            yield key, columns.text[at : at + value].decode(errors="replace")
        elif kind == DOUBLE_KIND:
            yield key, _DOUBLE.unpack(_BITS.pack(value))[0]
        else:
            yield key, bool(value) if kind == BOOL_KIND else value


def sampling_weight(trace_state: str) -> float:
    """1 / sampling probability from the threshold in `ot=th:`; 1.0 where there is none, or an absurd one.

    Source: W3C trace state, OpenTelemetry's probability sampling: T is right-padded to 14 hex digits.

    >>> sampling_weight("x=1,ot=rv:0123456789abcd;th:c"), sampling_weight("ot=th:zz")
    (4.0, 1.0)
    """
    for member in trace_state.split(","):
        vendor, _, value = member.strip().partition("=")
        if vendor != "ot":
            continue
        for part in value.split(";"):
            digits = part[3:] if part.startswith("th:") else ""
            if 1 <= len(digits) <= 14 and all(digit in "0123456789abcdef" for digit in digits):
                weight = 2.0**56 / (2**56 - int(digits.ljust(14, "0"), 16))
                return weight if weight <= WEIGHT_MAX else 1.0
    return 1.0
