"""Records to spans: columns from whichever decoder reads them, then each span by the tables of the dialects.

Any bytes are either read or answered with what is wrong with them; a bad span is left out alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from service.batch import Dropped, Record, Signal
from service.ingest.kernel.columns import Columns
from service.ingest.otlp import in_json, points, span_events
from service.ingest.otlp.elements import SIGNS_MAX, crowded_json
from service.ingest.otlp.in_protobuf import CrowdedError, UnreadableError
from service.ingest.reader import Decoded, Reader

JOINED_BYTES_MAX = 1 << 20
"""Small records are decoded together until they are so large: a call of the scanner costs what 20 spans do."""


class Decoder(Protocol):
    """What reads traces in protobuf. All give the same columns, and refuse the same bodies."""

    name: str

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        """The spans of some bodies; good until the next call."""


def decode(records: Sequence[Record], body_bytes_max: int, decoder: Decoder, reader: Reader) -> Iterator[list[Decoded]]:
    """What each record holds, in order. Traces in protobuf that follow one another are decoded, and given, together."""
    waiting: list[bytes] = []
    size = 0
    for record in records:
        signal, body, _ = record
        if signal is Signal.TRACES and (its_size := len(body)) <= body_bytes_max and not in_json.is_json(body):
            size += its_size
            if size > JOINED_BYTES_MAX and waiting:
                yield from _decode_together(waiting, decoder, reader)
                waiting, size = [], its_size
            waiting.append(body)
            continue
        yield from _decode_together(waiting, decoder, reader)
        waiting, size = [], 0
        yield [_decode_alone(record, body_bytes_max, reader)]
    yield from _decode_together(waiting, decoder, reader)


def _decode_together(bodies: list[bytes], decoder: Decoder, reader: Reader) -> Iterator[list[Decoded]]:
    if bodies:
        columns = decoder.scan(bodies)
        found, judged = reader.read(columns), columns.judged()
        for place in judged:
            found[place].read = span_events.read(bodies[place])
        yield found


def decode_told(record: Record, body_bytes_max: int) -> Decoded:
    """What a record of metrics or logs holds."""

    def read(decoded: Decoded) -> Decoded:
        decoded.read = points.read(record.signal, record.body)
        return decoded

    return _checked(record, body_bytes_max, read)


def _decode_alone(record: Record, body_bytes_max: int, reader: Reader) -> Decoded:
    """A record in JSON, or of another signal, or too large."""
    if record.signal is not Signal.TRACES:
        return decode_told(record, body_bytes_max)

    def read(_: Decoded) -> Decoded:
        columns = in_json.traces(record.body)
        decoded = reader.read(columns)[0]
        decoded.read = span_events.read(record.body) if columns.judged() else None
        return decoded

    return _checked(record, body_bytes_max, read)


def _checked(record: Record, body_bytes_max: int, read: Callable[[Decoded], Decoded]) -> Decoded:
    """What `read` makes of a body alone, if its size and form allow to read it."""
    body, decoded = record.body, Decoded()
    if len(body) > body_bytes_max:
        decoded.drop(Dropped.TOO_LARGE)
        decoded.error = f"body of {len(body)} bytes; at most {body_bytes_max} are read"
        return decoded
    try:
        if in_json.is_json(body) and crowded_json(body):
            raise CrowdedError(f"a body of {len(body)} bytes with over {SIGNS_MAX} values; send smaller batches")
        is_snake_case = in_json.is_json(body) and in_json.is_snake_case(body)
        decoded = read(decoded)
        decoded.is_snake_case = is_snake_case
    except RecursionError:
        decoded.drop(Dropped.MALFORMED)
        decoded.error = "not OTLP/JSON: nested too deeply"
    except UnreadableError as error:
        decoded.drop(Dropped.TOO_LARGE if isinstance(error, CrowdedError) else Dropped.MALFORMED)
        decoded.error = str(error)
    return decoded
