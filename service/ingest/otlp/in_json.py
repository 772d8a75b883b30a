"""OTLP in JSON: ids are hex, 64-bit integers are text, enums are numbers. Read with the interpreter's own parser.

Names are those of protobuf in camel case. Some senders write them as protobuf does, with underscores: they are read, as
the Collector reads them, and told.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.ingest.kernel.columns import Columns
from service.ingest.otlp.elements import crowded_json
from service.ingest.otlp.in_protobuf import UnreadableError
from service.ingest.otlp.wanted import (
    EVENT_KEYS,
    FINISH_REASONS,
    LOOKED_FOR,
    PARENT_IS_REMOTE,
    REMOTE_KINDS,
    RESOURCE_KEYS,
    SCOPE_KEYS,
    TIME_MAX_NS,
    Gatherer,
    Value,
)
from service.ingest.vocabulary import label

_STATUS = {1: 1, 2: 2, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_KIND = {"SPAN_KIND_SERVER": 2, "SPAN_KIND_CONSUMER": 5}
_SPACE = b" \t\r\n"
_LONE = re.compile("[\ud800-\udfff]")
_SNAKE = re.compile(
    rb'"(?:(?:resource|scope)_(?:spans|metrics|logs)|log_records|data_points|trace_id|span_id|parent_span_id|trace_state|'
    rb'(?:start_|end_|observed_)?time_unix_nano|(?:string|int|double|bool)_value|as_(?:int|double)|event_name)"\s*:'
)
_AFTER = re.compile("_([a-z])")


def is_json(body: bytes) -> bool:
    """Whether a body is JSON: protobuf begins with 0x0a, which alone is a newline, so white space is skipped."""
    if body[:1] == b"\n" and body[1:2] > b"\x7f":  # Most bodies: one of 128 bytes or more.
        return False
    head = body[:64].lstrip(_SPACE) or body.lstrip(_SPACE)
    if head[:1] != b"{":
        return False
    if not body.startswith(b"\n{"):
        return True
    if crowded_json(body):
        return False
    try:  # In protobuf that is a message of 123 bytes.
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def is_snake_case(body: bytes) -> bool:
    """Whether a body in JSON has names with underscores. Text within values is no name: its quotes are escaped.

    >>> is_snake_case(b'{"resource_spans": []}'), is_snake_case(b'{"resourceSpans": [{"x": "\\\\"trace_id\\\\": 1"}]}')
    (True, False)
    """
    return _SNAKE.search(body) is not None


def traces(body: bytes) -> Columns:
    """The spans of a body. Raises UnreadableError."""
    gathered, document = Gatherer(), _parse(body)
    if is_snake_case(body):
        document = _camel_case(document)
    for resource_spans in _objects(document, "resourceSpans"):
        gathered.begin_resource(_pairs(_object(resource_spans, "resource"), RESOURCE_KEYS))
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            scope = _object(scope_spans, "scope")
            gathered.begin_scope(_text(scope.get("name")), _pairs(scope, SCOPE_KEYS))
            for span in _objects(scope_spans, "spans"):
                _gather(span, gathered)
            gathered.end_scope()
        gathered.end_resource()
    gathered.end_record(is_bad=False)
    return gathered.columns()


def _camel_case(node: Any) -> Any:
    """The same with names as they should be. No deeper than the parser has gone."""
    if isinstance(node, dict):
        return {_AFTER.sub(lambda found: found[1].upper(), name): _camel_case(each) for name, each in node.items()}
    return [_camel_case(each) for each in node] if isinstance(node, list) else node


def _parse(body: bytes) -> dict[str, object]:
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


def _gather(span: dict[str, object], gathered: Gatherer) -> None:
    status, flags, kind = _object(span, "status"), _integer(span.get("flags")), span.get("kind")
    events = _objects(span, "events")
    gathered.add(
        (_hex(span.get("traceId")), _hex(span.get("spanId")), _hex(span.get("parentSpanId"))),
        (_integer(span.get("startTimeUnixNano")), _integer(span.get("endTimeUnixNano"))),
        (_STATUS.get(status.get("code"), 0), _text(status.get("message"))),
        (_KIND.get(kind, kind) if isinstance(kind, str) else kind) in REMOTE_KINDS
        or flags & PARENT_IS_REMOTE == PARENT_IS_REMOTE,
        _text(span.get("name")),
        _text(span.get("traceState")),
        list(_pairs(span, LOOKED_FOR)),
        [said for event in events for said in _pairs(event, EVENT_KEYS)],
        [_text(event.get("name")) for event in events],
    )


def _pairs(holder: dict[str, object], wanted: Mapping[str, int]) -> Iterator[tuple[int, Value]]:
    for pair in _objects(holder, "attributes"):
        key = pair.get("key")
        value = _object(pair, "value")
        if key == FINISH_REASONS and isinstance(value.get("arrayValue"), dict):
            value = next(iter(_objects(_object(value, "arrayValue"), "values")), {})
            value = {kind: each for kind, each in value.items() if kind == "stringValue"}
        scalar = _scalar(value)
        if isinstance(key, str) and key in wanted and scalar is not None:
            yield wanted[key], scalar


_KINDS: dict[str, Callable[[object], str | int | float | None]] = {
    "stringValue": lambda value: value if isinstance(value, str) else None,
    "intValue": lambda value: value if isinstance(value, (int, str)) else None,
    "doubleValue": lambda value: value if isinstance(value, (int, float, str)) else None,
    "boolValue": lambda value: value if isinstance(value, bool) else None,
}


def _scalar(value: dict[str, object]) -> Value | None:
    for kind, read in _KINDS.items():
        if kind in value:
            scalar = read(value[kind])
            if isinstance(scalar, str):
                return _text(scalar)
            # An integer of more than 64 bits is none that a sender could have meant.
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


def _text(value: object) -> bytes:
    """A text as UTF-8, which has no lone surrogates, as JSON has."""
    return _LONE.sub("\ufffd", value).encode() if isinstance(value, str) else b""
