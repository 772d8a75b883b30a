"""Captured bodies of real SDKs against what really happened in them."""

import json
from pathlib import Path

import pytest

from service.batch import Record, Signal, Tally
from service.ingest.limits import IngestLimits
from service.ingest.stage import Ingest
from service.replay.inspect import bodies_in, inspect_bodies
from tests.service.ingest.wire import FIXTURES

TRUTH = json.loads((FIXTURES / "truth.json").read_text()) | {
    path.parent.name: json.loads(path.read_text()) for path in FIXTURES.glob("*/truth.json")
}
LEAVES = ("llm", "embedding", "tool", "retrieval")
TOKENS = ("input_tokens", "output_tokens", "cache_read", "cache_write", "reasoning")

HOLD_OTHERWISE = (
    "opentelemetry-instrumentation-google-generativeai-0.62.4",
    "opentelemetry-instrumentation-langchain-0.62.4",
)
"""Directories that are read in a defensible other way, which truth.json lists under `also`."""
HOLD = sorted(TRUTH.keys() - set(HOLD_OTHERWISE))


def summary(directory: str) -> dict[str, object]:
    """What is read of a directory, in truth.json's terms."""
    found = json.loads(json.dumps(inspect_bodies(bodies_in([str(FIXTURES / directory)], Signal.TRACES))))
    groups = found["groups"]
    called = [group for group in groups if any(group["calls"].get(op) for op in LEAVES)]
    stated = sum(group["cost_source"].get("span", 0.0) for group in groups)
    return {
        "spans": found["spans"],
        "sessions": found["sessions"],
        "models": found["models"],
        **{
            f"{op}.{what}": sum(group[what].get(op, 0) for group in groups)
            for op in LEAVES
            for what in ("calls", "failed")
        },
        **{name: sum(group[name] for group in groups) for name in TOKENS},
        "agents": sorted({group["agent"] for group in called}),
        "tenants": sorted({group["tenant"] for group in called}),
        "cost_on_span_usd": pytest.approx(stated) if stated else None,
    }


def expected(directory: str) -> dict[str, object]:
    """What truth.json says of a directory, flat."""
    truth = TRUTH[directory]
    flat = {f"{op}.{what}": truth[op][what] for op in LEAVES for what in ("calls", "failed")}
    names = ("spans", "sessions", "models", *TOKENS, "agents", "tenants", "cost_on_span_usd")
    return flat | {name: truth[name] for name in names}


@pytest.mark.parametrize("directory", HOLD)
def test_a_capture_is_read_as_what_happened(directory: str) -> None:
    """Spans, calls, failures, tokens, sessions, agents, tenants, models and stated cost equal the truth."""
    assert summary(directory) == expected(directory)


@pytest.mark.parametrize("directory", HOLD_OTHERWISE)
def test_a_capture_is_read_in_a_defensible_way(directory: str) -> None:
    """Every number equals the truth or one of the other readings it lists."""
    truth = expected(directory)
    others = TRUTH[directory]["also"]
    for name, value in summary(directory).items():
        assert value == truth[name] or value in others.get(name, []), name


@pytest.mark.parametrize("directory", sorted(TRUTH))
def test_every_span_of_every_capture_is_read(directory: str) -> None:
    """Whatever the dialect, no span of a real SDK is rejected and nothing is counted twice as a span."""
    found = inspect_bodies(bodies_in([str(FIXTURES / directory)], Signal.TRACES))
    assert found["spans"] == TRUTH[directory]["spans"]
    assert found["rejected"] == {"malformed": 0}


POINTS = sorted([*FIXTURES.glob("*/metrics-*.binpb"), *FIXTURES.glob("*/logs-*.binpb")])


@pytest.mark.parametrize("path", POINTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_metric_and_log_bodies_are_counted_as_unread(path: Path) -> None:
    """A metric or log body is read for validity, and what it holds is counted under a reason."""
    signal = Signal.LOGS if path.name.startswith("logs") else Signal.METRICS
    tally = Tally()
    answer = Ingest(IngestLimits()).read(Record(signal, path.read_bytes(), "p"), 0, tally)
    assert answer.error is None
    held = tally.logs if signal is Signal.LOGS else tally.points
    assert held == sum(tally.dropped.values()) > 0
