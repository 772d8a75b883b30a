"""Situations of public bug reports, each with its right reading: `tests/fixtures/cases` has what was sent.

Every body is read as JSON, and as the protobuf that says the same, by both decoders.
"""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.batch import Record, Signal, Tally
from service.ingest.decode import Decoder
from service.ingest.limits import IngestLimits
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.stage import Ingest
from service.replay.inspect import Inspection
from tests.service.ingest.wire import FIXTURES

CASES = FIXTURES / "cases"
FOREVER_NS = 2**62
USAGE = ("input_tokens", "output_tokens", "cache_read", "cache_write", "reasoning")


def protobuf(raw: bytes) -> bytes:
    """The body that says in protobuf what one in JSON says."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(each) for each in value]
        if not isinstance(value, dict):
            return value
        ids = {"traceId", "spanId", "parentSpanId"}
        return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in ids else walk(v) for k, v in value.items()}

    return json_format.ParseDict(walk(json.loads(raw)), ExportTraceServiceRequest()).SerializeToString()


def read(bodies: list[bytes], decoder: Decoder | None = None) -> dict[str, Any]:
    """What is counted of some bodies: calls and failures by operation, sessions, agents, usage, dollars."""
    inspection, tally = Inspection(), Tally()
    limits = IngestLimits(lateness_ns=FOREVER_NS, pending_max=FOREVER_NS)
    ingest = Ingest(limits, inspection, decoder)
    for raw in bodies:
        ingest.read(Record(Signal.TRACES, raw, "files"), FOREVER_NS, tally)
    failed_sessions = 0
    for slot in ingest.flush(tally):
        for cell, failed in zip(slot.cell.tolist(), slot.failed.tolist(), strict=True):
            failed_sessions += round(failed) if ingest.cells.values(cell)[2] == "session" else 0
    groups = inspection.groups.values()
    usage = [sum(group.tokens[i] for group in groups) for i in range(len(USAGE))]
    return {
        "calls": dict(sum((group.calls for group in groups), Counter())),
        "failed": dict(sum((group.failed for group in groups), Counter())),
        "sessions": len(inspection.sessions), "failed_sessions": failed_sessions,
        "agents": {agent for _, agent in inspection.groups},
        **dict(zip(USAGE, usage, strict=True)),
        "dollars": round(sum(sum(group.dollars.values()) for group in groups), 9),
        "unpriced": sum(sum(group.unpriced.values()) for group in groups),
    }  # fmt: skip


UNPRICED = {"dollars": 0, "unpriced": 1}
RIGHT: dict[str, dict[str, Any]] = {
    "01-graph-interrupt/traces.json": {
        "calls": {"llm": 1, "tool": 1, "workflow": 2}, "failed": {}, "failed_sessions": 0,
    },
    "01-graph-interrupt/control-real-error.json": {"failed": {"tool": 1}},
    "05-cache-write-1h/traces.json": {"dollars": 2.03, "cache_write": 200_000, "input_tokens": 201_000},
    "05-cache-write-1h/langfuse-langchain.json": {"dollars": 2.03, "cache_write": 200_000, "input_tokens": 201_000},
    "06-service-tier/default.json": {"dollars": 0.45},
    "06-service-tier/asked-flex-got-default.json": {"dollars": 0.45},
    "06-service-tier/flex.json": {"dollars": 0.225},
    "06-service-tier/priority.json": {"dollars": 0.81},
    "07-audio-tokens/realtime.json": {"dollars": 34.64},
    "07-audio-tokens/traces.json": UNPRICED,
    "08-gemini-tool-use/adk.json": {
        "input_tokens": 18_480, "output_tokens": 2_209, "reasoning": 1_120, "dollars": 0.015867,
    },
    "08-gemini-tool-use/total-only.json": {"input_tokens": 18_480, "output_tokens": 2_209, "dollars": 0.015867},
    "09-bedrock-converse-cache/traces.json": {"input_tokens": 20_000, "cache_read": 8_000, "dollars": 0.0459},
    **{f"10-local-model/{path.name}": UNPRICED for path in (CASES / "10-local-model").iterdir()},
    "12-root-with-foreign-parent/foreign.json": {"sessions": 10, "failed_sessions": 10, "agents": {"foreign-bot"}},
    "12-root-with-foreign-parent/rooted.json": {"sessions": 10, "failed_sessions": 10, "agents": {"rooted-bot"}},
    "13-cost-currency/jpy.json": {"dollars": 0.0035},
    "13-cost-currency/usd.json": {"dollars": 0.0035},
    "14-session-on-resource/traces.json": {"sessions": 1, "calls": {"llm": 2, "other": 2}},
    "15-span-snapshots/one-body.json": {
        "calls": {"llm": 1, "agent": 1}, "input_tokens": 200, "output_tokens": 45, "cache_read": 40,
    },
    "16-embed-many/traces.json": {"calls": {"embedding": 2}, "input_tokens": 280},
    "17-pydantic-details/traces.json": {"input_tokens": 620, "output_tokens": 240, "reasoning": 180},
    "19-bedrock-arn/0.json": {"dollars": 4.5}, "19-bedrock-arn/1.json": {"dollars": 4.5},
    "19-bedrock-arn/2.json": {"dollars": 0.375}, "19-bedrock-arn/3.json": UNPRICED,
    "24-cancelled-with-status/type-and-status.json": {"failed": {}, "calls": {"llm": 1}},
    "24-cancelled-with-status/type-alone.json": {"failed": {}},
    "24-cancelled-with-status/event-and-status.json": {"failed": {}},
    "24-cancelled-with-status/dotnet.json": {"failed": {}},
    "24-cancelled-with-status/timeout-control.json": {"failed": {"llm": 1}},
    "29-langfuse-inclusive-buckets/traces.json": {"input_tokens": 17_903, "output_tokens": 100, "cache_read": 17_817},
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_a_case_is_read_right(case: str) -> None:
    """In JSON, and in protobuf by either decoder."""
    raw = (CASES / case).read_bytes()
    found = read([raw])
    assert {name: found[name] for name in RIGHT[case]} == RIGHT[case]
    for decoder in (Scanner(), ProtobufDecoder()):
        assert read([protobuf(raw)], decoder) == found


def test_a_later_account_is_taken_whichever_body_it_comes_in() -> None:
    """Two bodies, in either order: the one that tells more counts, once."""
    first, second = ((CASES / "15-span-snapshots" / name).read_bytes() for name in ("a-first.json", "b-second.json"))
    for bodies in ([first, second], [second, first], [first, first, second, second]):
        found = read(bodies)
        assert (found["calls"], found["input_tokens"], found["cache_read"]) == ({"llm": 1, "agent": 1}, 200, 40)


def test_every_case_is_here() -> None:
    """What lies in the fixtures is read by a test."""
    mine = {name.split("/")[0] for name in RIGHT}
    files = {f"{path.parent.name}/{path.name}" for name in mine for path in Path(CASES / name).iterdir()}
    assert files - RIGHT.keys() == {"15-span-snapshots/a-first.json", "15-span-snapshots/b-second.json"}
