"""Traffic is what was written, as the stream's own reader counts it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.batch import Signal
from service.replay.inspect import inspect_bodies
from service.rule_tests.stream import Stream
from service.rule_tests.written import RuleTest

CALLS = [
    {"operation": "llm", "provider": "openai", "model": "gpt-4o-mini", "errors": "2%", "latency": "2s",
     "spread": "3x", "input_tokens": 1000, "output_tokens": 100, "cost": "$0.02"},
    {"operation": "tool", "tool": "search", "each": 1.5, "errors": "10%", "error_type": "timeout"},
    *({"operation": name} for name in ("retrieval", "embedding", "guardrail", "classification", "workflow")),
]  # fmt: skip


def described(**fields: object) -> RuleTest:
    """A test of one agent, without expectations."""
    agent = {
        "tenant": "acme", "agent": "support", "sessions": "5/s", "calls": CALLS,
        "outcomes": {"resolved": "70%", "escalated": "20%"},
    }  # fmt: skip
    return RuleTest.model_validate({"name": "t", "for": "20m", "agents": [agent | fields], "pages": []})


def bodies(test: RuleTest) -> list[bytes]:
    return [record.body for _, records in Stream(test).records() for record in records]


def test_counts_shares_and_outcomes(tmp_path: Path) -> None:
    """`tocsin inspect` counts the calls, failures, tokens, dollars and outcomes that the law says, within chance."""
    path = tmp_path / "traces.binpb"
    path.write_bytes(b"".join(bodies(described())))
    found = inspect_bodies([path])
    groups: Any = found["groups"]
    (group,) = groups
    n = group["sessions"]
    assert (group["tenant"], group["agent"]) == ("acme", "support")
    assert n == pytest.approx(6000, rel=0.05)
    assert set(group["calls"]) >= {"agent", "llm", "tool", "retrieval", "embedding", "guardrail", "classification"}
    assert group["calls"]["tool"] == pytest.approx(1.5 * n, rel=0.03)
    assert group["failed"]["tool"] == pytest.approx(0.15 * n, rel=0.1)
    assert group["failed"]["llm"] == pytest.approx(0.02 * n, rel=0.3)
    assert group["outcomes"]["resolved"] == pytest.approx(0.7 * n, rel=0.05)
    assert group["outcomes"]["escalated"] == pytest.approx(0.2 * n, rel=0.1)
    mean = np.exp((np.log(3) / 1.6449) ** 2 / 2)  # Of a log-normal law whose median is one.
    assert group["input_tokens"] == pytest.approx(0.98 * n * 1000 * mean, rel=0.05)
    assert group["cost_usd"] == pytest.approx(0.98 * n * 0.02 * mean, rel=0.05)
    assert found["rejected"] == {"malformed": 0}


def test_latencies_have_their_median_and_spread() -> None:
    """Half of the calls take longer than `latency`, one in twenty longer than `spread` times that."""
    request = ExportTraceServiceRequest.FromString(b"".join(bodies(described())))
    spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
    took = [(s.end_time_unix_nano - s.start_time_unix_nano) / 1e9 for s in spans if s.name.startswith("chat")]
    assert np.quantile(took, [0.5, 0.95]) == pytest.approx([2.0, 6.0], rel=0.08)


def test_spans_come_when_they_end_and_once() -> None:
    """No span is sent before its end, none later than the slot after it, and no id is sent twice."""
    seen: set[bytes] = set()
    test = described(sessions="1/s")
    for now_ns, records in Stream(test).records():
        for record in records:
            request = ExportTraceServiceRequest.FromString(record.body)
            for span in (s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans):
                assert now_ns - 10 * 10**9 <= span.end_time_unix_nano < now_ns
                assert span.span_id not in seen
                seen.add(span.span_id)
    assert len(seen) > 1000


def test_a_change_holds_from_when_until_when() -> None:
    """Sessions that begin in it follow the changed law, to the second; what it does not name stays."""
    calls = [{"operation": "tool", "tool": "t", "latency": "1s", "spread": "1x",
              "changes": [{"at": "5m30s", "until": "10m", "latency": "3s"}]}]  # fmt: skip
    test = described(calls=calls, changes=[{"at": "15m", "sessions": "0/s"}])
    request = ExportTraceServiceRequest.FromString(b"".join(bodies(test)))
    spans = [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans if "tool" in s.name]
    zero_ns = test.start
    for span in spans:
        began_s = (span.start_time_unix_nano - zero_ns) / 1e9 - 0.01
        took_s = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        assert took_s == pytest.approx(3.0 if 330 <= began_s < 600 else 1.0)
        assert began_s < 900


def test_a_metric_is_told_every_minute() -> None:
    """A gauge's value, and a counter's increase, of the minute before."""
    metrics = [{"metric": "queue.depth", "value": 10, "agent": "a"},
               {"metric": "agent.cost.usd", "kind": "sum", "unit": "USD", "value": 0.5, "noise": "10%",
                "changes": [{"at": "10m", "value": 2}]}]  # fmt: skip
    test = RuleTest.model_validate({"name": "t", "for": "20m", "metrics": metrics, "pages": []})
    sent = [records for _, records in Stream(test).records() if records]
    assert len(sent) == 20
    assert {record.signal for records in sent for record in records} == {Signal.METRICS}


def test_one_seed_is_one_stream() -> None:
    """The same bytes again; other ones of another seed."""
    test = described(sessions="1/s")
    assert bodies(test) == bodies(test)
    assert bodies(test) != bodies(test.model_copy(update={"seed": 2}))
