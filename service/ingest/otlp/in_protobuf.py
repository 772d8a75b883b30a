"""OTLP in protobuf, read with the protobuf library: metrics and logs, and traces as the scanner is checked against.

Its messages are OTLP's own, but for one thing: text is bytes. Protobuf refuses a whole body for one letter that is not
UTF-8, and senders do write such; Go's do not even look.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from service.batch import Signal
from service.ingest.kernel.columns import Columns
from service.ingest.otlp.elements import MESSAGES_MAX, crowded, fields_of
from service.ingest.otlp.wanted import (
    EVENT_KEYS,
    FINISH_REASONS,
    LOOKED_FOR,
    PARENT_IS_REMOTE,
    REMOTE_KINDS,
    RESOURCE_KEYS,
    SCOPE_KEYS,
    Gatherer,
    Value,
)
from service.ingest.vocabulary import label


class UnreadableError(Exception):
    """A body that is not OTLP; the message says why."""


class CrowdedError(UnreadableError):
    """A body that holds too much to be read at once."""


def _messages() -> dict[Signal, type[Message]]:
    """The message that each signal is sent as, with bytes for text."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: Any) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for needed in file.dependencies:
            add(needed)
        copy = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copy)
        for message in copy.message_type:
            _text_as_bytes(message)
        pool.Add(copy)

    requests: dict[Signal, type[Message]] = {
        Signal.TRACES: trace_service_pb2.ExportTraceServiceRequest,
        Signal.METRICS: metrics_service_pb2.ExportMetricsServiceRequest,
        Signal.LOGS: logs_service_pb2.ExportLogsServiceRequest,
    }
    found: dict[Signal, type[Message]] = {}
    for signal, request in requests.items():
        add(request.DESCRIPTOR.file)
        found[signal] = message_factory.GetMessageClass(pool.FindMessageTypeByName(request.DESCRIPTOR.full_name))
    return found


def _text_as_bytes(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.type == field.TYPE_STRING:
            field.type = field.TYPE_BYTES
    for inner in message.nested_type:
        _text_as_bytes(inner)


_MESSAGES = _messages()
_WITHIN = {signal: fields_of(message.DESCRIPTOR) for signal, message in _MESSAGES.items()}


def parse(signal: Signal, body: bytes) -> Any:
    """A body's message. Raises UnreadableError; CrowdedError where it would be too many objects."""
    if crowded(body, _WITHIN[signal]):
        raise CrowdedError(
            f"a body of {len(body)} bytes with over {MESSAGES_MAX} points, records, attributes and the like; "
            "send smaller batches"
        )
    try:
        return _MESSAGES[signal].FromString(body)
    except DecodeError as error:
        raise UnreadableError(f"not an OTLP {signal} body in protobuf: {label(str(error))}") from None


class ProtobufDecoder:
    """The other decoder of traces: the same columns by way of protobuf's messages, some objects a span."""

    name = "protobuf"

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        """The spans of some bodies."""
        gathered = Gatherer()
        for body in bodies:
            try:
                message = parse(Signal.TRACES, body)
            except UnreadableError:
                gathered.end_record(is_bad=True)
                continue
            _gather(message, gathered)
            gathered.end_record(is_bad=False)
        return gathered.columns()


def _gather(message: Any, gathered: Gatherer) -> None:
    for resource_spans in message.resource_spans:
        gathered.begin_resource(_pairs(resource_spans.resource.attributes, _RESOURCE_KEYS))
        for scope_spans in resource_spans.scope_spans:
            gathered.begin_scope(scope_spans.scope.name, _pairs(scope_spans.scope.attributes, _SCOPE_KEYS))
            for span in scope_spans.spans:
                gathered.add(
                    (span.trace_id, span.span_id, span.parent_span_id),
                    (span.start_time_unix_nano, span.end_time_unix_nano),
                    (span.status.code, span.status.message),
                    span.kind in REMOTE_KINDS or span.flags & PARENT_IS_REMOTE == PARENT_IS_REMOTE,
                    span.name,
                    span.trace_state,
                    _pairs(span.attributes, _SPAN_KEYS),
                    (said for event in span.events for said in _pairs(event.attributes, _EVENT_KEYS)),
                    (event.name for event in span.events),
                )
            gathered.end_scope()
        gathered.end_resource()


def _pairs(attributes: Iterable[Any], wanted: Mapping[bytes, int]) -> Iterator[tuple[int, Value]]:
    """The wanted attributes whose value is a scalar."""
    for pair in attributes:
        key = wanted.get(pair.key)
        if key is not None:
            value = pair.value
            kind = value.WhichOneof("value")
            if kind in _SCALARS:
                yield key, getattr(value, kind)
            elif kind == "array_value" and key == _LIST:
                for first in value.array_value.values[:1]:
                    if first.WhichOneof("value") == "string_value":
                        yield key, first.string_value


_SPAN_KEYS = {name.encode(): key for name, key in LOOKED_FOR.items()}
_EVENT_KEYS = {name.encode(): key for name, key in EVENT_KEYS.items()}
_RESOURCE_KEYS = {name.encode(): key for name, key in RESOURCE_KEYS.items()}
_SCOPE_KEYS = {name.encode(): key for name, key in SCOPE_KEYS.items()}
_LIST = LOOKED_FOR[FINISH_REASONS]
_SCALARS = frozenset(("string_value", "bool_value", "int_value", "double_value"))
