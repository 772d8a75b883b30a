"""What a body is that holds nothing of OTLP: people point topics and exporters of other formats at us.

A guess from the first bytes, for a person who looks for the mistake. Nothing is read by it.
"""

import json
import re
from enum import StrEnum

from service.batch import Signal
from service.ingest.otlp.in_json import is_json
from service.ingest.otlp.in_protobuf import UnreadableError, parse

TRIED_BYTES_MAX = 4 << 20
"""A larger body is not read as each of the other signals, only to say so."""
HEAD_BYTES = 4096
_RIGHT_NAMES = {"traces": "resourceSpans", "metrics": "resourceMetrics", "logs": "resourceLogs"}
_SNAKE_NAMES = {"traces": "resource_spans", "metrics": "resource_metrics", "logs": "resource_logs"}


class Foreign(StrEnum):
    """What a body looks like. Closed: every kind is exported and documented."""

    OTHER_SIGNAL = "other_signal"  # OTLP, but of another signal than the topic's name or the path says.
    SNAKE_CASE = "snake_case"  # OTLP/JSON with the names of protobuf.
    ZIPKIN_JSON = "zipkin_json"
    JAEGER = "jaeger"
    TEMPO = "tempo"  # A trace as Tempo's API gives it.
    DATADOG = "datadog"
    GZIP = "gzip"  # Packed by the sender, without a word to Kafka or HTTP.
    REGISTRY = "registry"  # Avro or protobuf with the prefix of a schema registry.
    JSON = "json"  # Any other JSON.
    TEXT = "text"
    BINARY = "binary"


ADVICE = {
    Foreign.OTHER_SIGNAL: "it is OTLP of another signal; the word spans, metrics or logs in a topic's name says which",
    Foreign.SNAKE_CASE: "OTLP/JSON writes resourceSpans, not resource_spans",
    Foreign.ZIPKIN_JSON: "it looks like Zipkin; set encoding: otlp_proto in the Collector's Kafka exporter",
    Foreign.JAEGER: "it looks like Jaeger; set encoding: otlp_proto in the Collector's Kafka exporter",
    Foreign.TEMPO: "it looks like a trace from Tempo's API; OTLP/JSON has resourceSpans and ids in hex",
    Foreign.DATADOG: "it looks like Datadog's traces; send OTLP",
    Foreign.GZIP: "it is gzip inside the record; let the producer compress instead",
    Foreign.REGISTRY: "it begins as messages of a schema registry do; send plain OTLP",
    Foreign.JSON: "it is JSON, but not OTLP; an export has resourceSpans, resourceMetrics or resourceLogs",
    Foreign.TEXT: "it is text; send OTLP in protobuf or JSON",
    Foreign.BINARY: "it is no OTLP in protobuf; send ExportTraceServiceRequest",
}


def looks_like(signal: Signal, body: bytes) -> Foreign:
    """A guess at what a body is that is not OTLP of this signal.

    >>> looks_like(Signal.TRACES, b'[{"traceId": "a", "localEndpoint": {}}]').value
    'zipkin_json'
    >>> looks_like(Signal.TRACES, b'{"resource_spans": []}').value, looks_like(Signal.TRACES, b"hello").value
    ('snake_case', 'text')
    """
    head = body[:HEAD_BYTES]
    if head[:2] == b"\x1f\x8b":
        return Foreign.GZIP
    if head[:1] == b"\x00":
        return Foreign.REGISTRY
    if head.lstrip()[:1] in (b"{", b"["):
        return _of_json(signal, head.decode("utf-8", "replace"))
    if head and not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head):
        return Foreign.TEXT
    if _is_other_signal(signal, body):
        return Foreign.OTHER_SIGNAL
    # Jaeger's span: its trace id of 16 bytes comes first, then a span id of 8.
    return Foreign.JAEGER if head[:2] == b"\x0a\x10" and head[18:20] == b"\x12\x08" else Foreign.BINARY


def is_empty(signal: Signal, body: bytes) -> bool:
    """Whether a body that could be read has none of its signal's parts, though it has bytes: it is something else.

    >>> is_empty(Signal.TRACES, b'{"spans": []}'), is_empty(Signal.TRACES, b'{"resourceSpans": []}')
    (True, False)
    >>> is_empty(Signal.TRACES, b"")
    False
    """
    if not body:
        return False
    try:
        if not is_json(body):
            return not parse(signal, body).ListFields()
        document = json.loads(body)
    except (UnreadableError, ValueError, RecursionError):
        return False
    return bool(document) and not any(names[signal] in document for names in (_RIGHT_NAMES, _SNAKE_NAMES))


def _of_json(signal: Signal, text: str) -> Foreign:
    def has(*names: str) -> bool:
        return any(f'"{name}"' in text for name in names)

    if has(*(names[other] for names in (_RIGHT_NAMES, _SNAKE_NAMES) for other in names if other != signal)):
        return Foreign.OTHER_SIGNAL
    if has(_SNAKE_NAMES[signal]):
        return Foreign.SNAKE_CASE
    if has("batches", "instrumentationLibrarySpans"):
        return Foreign.TEMPO
    if has("localEndpoint", "remoteEndpoint", "binaryAnnotations") or (text.lstrip()[:1] == "[" and has("traceId")):
        return Foreign.ZIPKIN_JSON
    if has("traceID", "operationName", "processID"):
        return Foreign.JAEGER
    return Foreign.DATADOG if has("trace_id") and has("span_id", "parent_id") and has("service") else Foreign.JSON


def _is_other_signal(signal: Signal, body: bytes) -> bool:
    for other in Signal:
        if other is not signal and len(body) <= TRIED_BYTES_MAX:
            try:
                if _holds_records(parse(other, body)):
                    return True
            except UnreadableError:
                continue
    return False


def _holds_records(message: object) -> bool:
    """Whether a message has named metrics, or spans or log records with times, and not just bytes that could be."""
    for group in next(iter(message.ListFields()), (None, ()))[1]:  # type: ignore[attr-defined]
        for scope in [part for field, parts in group.ListFields() if field.number == 2 for part in parts]:
            for field, records in scope.ListFields():
                if field.number == 2 and any(getattr(one, "name", b"") or one.ByteSize() > 8 for one in records):
                    return True
    return False
