"""OTLP bodies to spans: protobuf or JSON, told by the first byte that is not white space.

Any bytes are either read or answered with `UnreadableError`; a bad span is left out alone.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from service.batch import Dropped, Signal
from service.ingest.dialects import NATIVE_SCOPES, RESOURCE_WANTED, WANTED
from service.ingest.mend import with_readable_text
from service.ingest.read import Found, read_resource, read_span
from service.ingest.vocabulary import Resource, Scalar, Span, label

TIME_MAX_NS = 2**63 - 1
WEIGHT_MAX = 1e6
"""A claimed sampling rate below one in a million is not believed: one span would outweigh a fleet."""
_ERROR = 2
_NO_ID = (b"", bytes(8), bytes(16))
_JSON_SPACE = b" \t\r\n"
Request = TypeVar("Request", bound=Message)


class UnreadableError(Exception):
    """A body that is not OTLP; the message says why."""


@dataclass
class Decoded:
    """The spans of one body, what was left out of it by reason, and an example of each reason."""

    spans: list[Span] = field(default_factory=list)
    dropped: Counter[Dropped] = field(default_factory=Counter)
    examples: dict[Dropped, str] = field(default_factory=dict)

    def reject(self, reason: Dropped, example: str) -> None:
        """Leave one span out."""
        self.dropped[reason] += 1
        self.examples.setdefault(reason, example)


def is_json(body: bytes) -> bool:
    """Whether a body is JSON: protobuf begins with 0x0a, which alone is a newline, so white space is skipped."""
    if body.lstrip(_JSON_SPACE)[:1] != b"{":
        return False
    if not body.startswith(b"\n{"):
        return True
    try:  # In protobuf that is a message of 123 bytes.
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def decode_traces(body: bytes) -> Decoded:
    """The spans of an ExportTraceServiceRequest. Raises UnreadableError."""
    decoded = Decoded()
    if is_json(body):
        _walk_json(parse_json(body), decoded)
        return decoded
    message = _parse(ExportTraceServiceRequest, body, Signal.TRACES)
    for resource_spans in message.resource_spans:
        resource = _resource(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            is_native = scope_spans.scope.name.startswith(NATIVE_SCOPES)
            for span in scope_spans.spans:
                _read_message(span, resource, is_native, decoded)
    return decoded


def count_points(signal: Signal, body: bytes) -> int:
    """How many metric points or log records a body holds. Raises UnreadableError."""
    if is_json(body):
        return _count_json(signal, parse_json(body))
    if signal is Signal.LOGS:
        logs = _parse(ExportLogsServiceRequest, body, signal)
        return sum(len(scope.log_records) for each in logs.resource_logs for scope in each.scope_logs)
    metrics = _parse(ExportMetricsServiceRequest, body, signal)
    count = 0
    for each in metrics.resource_metrics:
        for scope in each.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                count += len(getattr(metric, kind).data_points) if kind else 0
    return count


def _parse(kind: type[Request], body: bytes, signal: Signal) -> Request:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        if "UTF-8" in str(error):  # One bad letter in one attribute: mended, no span is lost.
            with suppress(ValueError, DecodeError):
                return kind.FromString(with_readable_text(body, cast(Descriptor, kind.DESCRIPTOR)))
        raise UnreadableError(f"not an OTLP {signal} body in protobuf: {label(str(error))}") from None


def _resource(message: ResourceMessage) -> Resource:
    wanted = [pair for pair in message.attributes if pair.key in RESOURCE_WANTED]
    scalars = [(pair.key, pair.value.string_value or _unless_text(pair.value)) for pair in wanted]
    return read_resource((key, value) for key, value in scalars if value is not None)


def _unless_text(value: AnyValue) -> Scalar | None:
    """A value that is no text; empty text is as good as none."""
    kind = value.WhichOneof("value")
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return value.double_value
    return value.bool_value if kind == "bool_value" else None


def _read_message(message: SpanMessage, resource: Resource, is_native: bool, decoded: Decoded) -> None:
    found: Found = []
    wanted = WANTED.get
    for pair in message.attributes:
        entry = wanted(pair.key)
        if entry is not None:
            value = pair.value
            scalar = value.string_value or _unless_text(value)
            if scalar is not None:
                found.append((entry, scalar))
    _accept(
        (message.trace_id, message.span_id, message.parent_span_id),
        (message.start_time_unix_nano, message.end_time_unix_nano),
        message.trace_state,
        message.status.code == _ERROR,
        message.name,
        found,
        resource,
        is_native,
        decoded,
    )


def _accept(
    ids: tuple[bytes, bytes, bytes],
    times: tuple[int, int],
    trace_state: str,
    failed: bool,
    name: str,
    found: Found,
    resource: Resource,
    is_native: bool,
    decoded: Decoded,
) -> None:
    """Make a span of what either encoding read, or reject it."""
    trace_id, span_id, parent_id = ids
    start_ns, end_ns = times
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id in _NO_ID or span_id in _NO_ID:
        decoded.reject(
            Dropped.BAD_ID, "a trace id is 16 bytes and a span id 8, not all zero (in JSON 32 and 16 hex digits)"
        )
        return
    if not (0 < start_ns <= TIME_MAX_NS and 0 < end_ns <= TIME_MAX_NS):
        decoded.reject(Dropped.BAD_TIME, "a time is nanoseconds since 1970, above zero and before the year 2262")
        return
    if len(parent_id) != 8 or parent_id in _NO_ID:
        parent_id = b""
    weight = sampling_weight(trace_state) if trace_state else 1.0
    span = Span(trace_id, span_id, parent_id, start_ns, end_ns, weight, resource)
    span.failed, span.is_native = failed, is_native
    if bad := read_span(span, name, found):
        decoded.dropped[Dropped.BAD_NUMBER] += bad
    decoded.spans.append(span)


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


def parse_json(body: bytes) -> dict[str, object]:
    """The object a JSON body is. Raises UnreadableError."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise UnreadableError("not OTLP/JSON: nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(f"not OTLP/JSON: {label(str(error))}") from None
    if not isinstance(document, dict):
        raise UnreadableError("not OTLP/JSON: expected an object")
    return document


def _objects(holder: dict[str, object], key: str) -> list[dict[str, object]]:
    """The list of objects under a key, empty if absent or null."""
    entries = holder.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableError(f"not OTLP/JSON: {key} must be a list of objects")
    return entries


def _object(holder: dict[str, object], key: str) -> dict[str, object]:
    entry = holder.get(key)
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise UnreadableError(f"not OTLP/JSON: {key} must be an object")
    return entry


def _walk_json(document: dict[str, object], decoded: Decoded) -> None:
    for resource_spans in _objects(document, "resourceSpans"):
        pairs = _json_pairs(_object(resource_spans, "resource"))
        resource = read_resource((key, value) for key, value in pairs if key in RESOURCE_WANTED)
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            is_native = _text(_object(scope_spans, "scope").get("name")).startswith(NATIVE_SCOPES)
            for span in _objects(scope_spans, "spans"):
                _read_json(span, resource, is_native, decoded)


def _read_json(span: dict[str, object], resource: Resource, is_native: bool, decoded: Decoded) -> None:
    code = _object(span, "status").get("code")
    _accept(
        (_hex(span.get("traceId")), _hex(span.get("spanId")), _hex(span.get("parentSpanId"))),
        (_integer(span.get("startTimeUnixNano")), _integer(span.get("endTimeUnixNano"))),
        _text(span.get("traceState")),
        code in (_ERROR, "STATUS_CODE_ERROR"),
        _text(span.get("name")),
        [(WANTED[key], value) for key, value in _json_pairs(span) if key in WANTED],
        resource,
        is_native,
        decoded,
    )


def _json_pairs(holder: dict[str, object]) -> Iterator[tuple[str, Scalar]]:
    for pair in _objects(holder, "attributes"):
        key = pair.get("key")
        if isinstance(key, str) and (scalar := _json_scalar(_object(pair, "value"))) is not None:
            yield key, scalar


_JSON_KINDS: dict[str, Callable[[object], Scalar | None]] = {
    "stringValue": lambda value: value if isinstance(value, str) else None,
    "intValue": lambda value: value if isinstance(value, (int, str)) else None,
    "doubleValue": lambda value: value if isinstance(value, (int, float, str)) else None,
    "boolValue": lambda value: value if isinstance(value, bool) else None,
}


def _json_scalar(value: dict[str, object]) -> Scalar | None:
    for kind, read in _JSON_KINDS.items():
        if kind in value:
            scalar = read(value[kind])
            # An integer of thousands of digits cannot even be printed, so it must not become a label.
            return None if type(scalar) is int and abs(scalar) > TIME_MAX_NS else scalar
    return None


def _hex(value: object) -> bytes:
    if not isinstance(value, str) or len(value) not in (16, 32):
        return b""
    try:
        decoded = bytes.fromhex(value)
    except ValueError:
        return b""
    return decoded if len(decoded) * 2 == len(value) else b""


def _integer(value: object) -> int:
    """A 64-bit integer given as a number or as text; 0, which no time may be, for anything else."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, float) and value == value and abs(value) <= TIME_MAX_NS else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count_json(signal: Signal, document: dict[str, object]) -> int:
    if signal is Signal.LOGS:
        return sum(
            len(_objects(scope, "logRecords"))
            for each in _objects(document, "resourceLogs")
            for scope in _objects(each, "scopeLogs")
        )
    return sum(
        len(_objects(_object(metric, kind), "dataPoints"))
        for each in _objects(document, "resourceMetrics")
        for scope in _objects(each, "scopeMetrics")
        for metric in _objects(scope, "metrics")
        for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
    )
