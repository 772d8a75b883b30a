"""Bodies built by hand, and a stream to feed them to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from detectors.core.columns import SECOND_NS, Slot
from service.batch import Answer, Dropped, Record, Signal, Tally
from service.ingest.limits import IngestLimits
from service.ingest.stage import Ingest

EPOCH_S = 1_790_000_000
"""A multiple of ten seconds, so that second 0 of a test begins a slot."""


Value = str | int | float | bool


@dataclass(frozen=True)
class Sent:
    """A span as a sender sees it; times in seconds after EPOCH_S."""

    trace: int
    span: int
    start_s: float
    end_s: float
    parent: int = 0
    name: str = ""
    failed: bool = False
    state: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)


def at_ns(seconds: float) -> int:
    """Unix nanoseconds of a second of the test."""
    return EPOCH_S * SECOND_NS + round(seconds * SECOND_NS)


def chat(trace: int, span: int, start_s: float, end_s: float, parent: int = 0, **more: Value) -> Sent:
    """A model call of 100 tokens in and 10 out, priced unless `more` says otherwise."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
    }
    attributes |= {key.replace("__", "."): value for key, value in more.items()}
    return Sent(trace, span, start_s, end_s, parent, "chat gpt-4o-mini", attributes=attributes)


def agent(trace: int, span: int, start_s: float, end_s: float, name: str = "helper", **more: str) -> Sent:
    """The root of an agent's run."""
    attributes: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
    attributes |= {key.replace("__", "."): value for key, value in more.items()}
    return Sent(trace, span, start_s, end_s, 0, f"invoke_agent {name}", attributes=attributes)


def body(*spans: Sent, resource: Mapping[str, str] | None = None, policy: str = "") -> bytes:
    """An ExportTraceServiceRequest in protobuf; `policy` is what the Collector's tail sampling wrote into the scope."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, text in (resource or {"service.name": "shop"}).items():
        group.resource.attributes.add(key=key).value.string_value = text
    scope = group.scope_spans.add()
    if policy:
        scope.scope.attributes.add(key="tailsampling.policy").value.string_value = policy
    for sent in spans:
        span = scope.spans.add(
            trace_id=sent.trace.to_bytes(16, "big"),
            span_id=sent.span.to_bytes(8, "big"),
            parent_span_id=sent.parent.to_bytes(8, "big") if sent.parent else b"",
            name=sent.name,
            trace_state=sent.state,
            start_time_unix_nano=at_ns(sent.start_s),
            end_time_unix_nano=at_ns(sent.end_s),
        )
        if sent.failed:
            span.status.code = Status.STATUS_CODE_ERROR
        for key, value in sent.attributes.items():
            target = span.attributes.add(key=key).value
            if isinstance(value, bool):
                target.bool_value = value
            elif isinstance(value, int):
                target.int_value = value
            elif isinstance(value, float):
                target.double_value = value
            else:
                target.string_value = value
    return request.SerializeToString()


def json_body(*spans: Sent, resource: Mapping[str, str] | None = None, policy: str = "") -> bytes:
    """The same in OTLP/JSON."""

    def pair(key: str, value: Value) -> dict[str, object]:
        kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
        return {"key": key, "value": {kinds[type(value)]: value}}

    sent_spans = [
        {
            "traceId": f"{sent.trace:032x}",
            "spanId": f"{sent.span:016x}",
            "parentSpanId": f"{sent.parent:016x}" if sent.parent else "",
            "name": sent.name,
            "traceState": sent.state,
            "startTimeUnixNano": str(at_ns(sent.start_s)),
            "endTimeUnixNano": at_ns(sent.end_s),
            "status": {"code": 2} if sent.failed else {},
            "attributes": [pair(key, value) for key, value in sent.attributes.items()],
        }
        for sent in spans
    ]
    attributes = [pair(key, value) for key, value in (resource or {"service.name": "shop"}).items()]
    scope = {"attributes": [pair("tailsampling.policy", policy)]} if policy else {}
    scope_spans = {"scope": scope, "spans": sent_spans, "unknown": [1]}
    group = {"resource": {"attributes": attributes}, "scopeSpans": [scope_spans]}
    return json.dumps({"resourceSpans": [group]}).encode()


class Stream:
    """An Ingest being fed, its clock one second ahead of the data unless told otherwise."""

    def __init__(self, **limits: int) -> None:
        self.limits = IngestLimits(**limits)
        self.ingest = Ingest(self.limits)
        self.tally = Tally()
        self.slots: list[Slot] = []

    def send(self, *spans: Sent, now_s: float | None = None, partition: str = "p/0") -> Answer:
        """Read one body of these spans, and take the slots it closed."""
        if now_s is None:
            now_s = max(span.end_s for span in spans) + 1
        return self.send_bytes(body(*spans), now_s, partition)

    def send_bytes(self, raw: bytes, now_s: float, partition: str = "p/0", signal: Signal = Signal.TRACES) -> Answer:
        """Read one body."""
        answer = self.ingest.read(Record(signal, raw, partition), at_ns(now_s), self.tally)
        self.idle(now_s)
        return answer

    def idle(self, now_s: float) -> None:
        """Take the slots that are closed by `now_s`."""
        self.slots += self.ingest.closed_slots(at_ns(now_s), self.tally)

    def flush(self) -> "Stream":
        """End the stream."""
        self.slots += self.ingest.flush(self.tally)
        return self

    @property
    def watermark_s(self) -> float | None:
        """The watermark in seconds of the test."""
        watermark_ns = self.ingest.watermark_ns
        return None if watermark_ns is None else (watermark_ns - at_ns(0)) / SECOND_NS

    def dropped(self, reason: Dropped) -> int:
        """How many were dropped for a reason."""
        return self.tally.dropped[reason]

    def rows(self) -> list[dict[str, object]]:
        """Every row of every slot with its labels, its times in seconds."""
        return [
            {
                "start_s": (slot.start_ns - at_ns(0)) // SECOND_NS,
                "labels": self.ingest.cells.values(int(cell)),
                **{
                    name: float(getattr(slot, name)[i])
                    for name in ("count", "failed", "input_tokens", "output_tokens", "cost_usd", "unpriced", "free")
                },
                **{
                    name: [
                        (int(bucket), float(count))
                        for owner, bucket, count in zip(entries.cell, entries.bucket, entries.count, strict=True)
                        if owner == cell
                    ]
                    for name, entries in (("duration", slot.duration), ("cost", slot.cost), ("outcome", slot.outcome))
                },
            }
            for slot in self.slots
            for i, cell in enumerate(slot.cell)
        ]

    def of(self, operation: str) -> list[dict[str, object]]:
        """The rows of one operation."""
        return [row for row in self.rows() if _operation(row) == operation]


def _operation(row: Mapping[str, object]) -> str:
    labels = row["labels"]
    assert isinstance(labels, tuple)
    return str(labels[2])


def same_slots(left: Sequence[Slot], right: Sequence[Slot]) -> bool:
    """Whether two runs gave the same slots, to the last bit."""
    return [_frozen(slot) for slot in left] == [_frozen(slot) for slot in right]


def _frozen(value: object) -> object:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.tolist())
    if hasattr(value, "__dataclass_fields__"):
        return {name: _frozen(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


FIXTURES = next(parent / "fixtures" for parent in Path(__file__).parents if (parent / "fixtures").is_dir())
"""The captured bodies."""
