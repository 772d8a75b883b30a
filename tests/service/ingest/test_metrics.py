"""Metrics and evaluations: what each point adds whatever its temporality, what it counts as, what rules see of it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from alertrules.lifecycle import AlertState
from alertrules.parse import combine, parse_rules
from detectors.core.columns import OUTCOMES, SECOND_NS
from service.batch import Batch, Dropped, Record, Signal
from service.ingest.limits import IngestLimits
from service.ingest.metrics.histograms import less
from service.ingest.metrics.meters import Meters
from service.ingest.otlp.points import Histogram
from service.ingest.stage import Ingest
from service.pipeline.pipeline import Pipeline
from service.replay.inspect import inspect_points
from tests.service.ingest.wire import FIXTURES, Stream, agent, at_ns, body, chat

DELTA, CUMULATIVE = 1, 2


def points(*metrics: Mapping[str, Any], resource: Mapping[str, str] | None = None) -> bytes:
    """A body of metrics: each with a name, a kind, its data points, and fields of the data besides."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    for key, text in (resource or {"service.name": "shop"}).items():
        group.resource.attributes.add(key=key).value.string_value = text
    scope = group.scope_metrics.add()
    for each in metrics:
        metric = scope.metrics.add(name=each["name"], unit=each.get("unit", "s" if "histogram" in each["kind"] else ""))
        data = getattr(metric, each["kind"])
        for name, value in each.get("data", {}).items():
            setattr(data, name, value)
        for fields in each["points"]:
            _fill(data.data_points.add(), fields)
    return request.SerializeToString()


def _fill(point: Any, fields: Mapping[str, Any]) -> None:
    labels, positive = fields.get("labels", {}), fields.get("positive")
    for key, text in labels.items():
        point.attributes.add(key=key).value.string_value = text
    point.time_unix_nano = at_ns(fields["at"])
    point.start_time_unix_nano = at_ns(fields["start"]) if "start" in fields else 0
    for name, value in fields.items():
        if name in ("as_double", "count", "sum", "scale", "zero_count", "flags"):
            setattr(point, name, value)
        elif name in ("bucket_counts", "explicit_bounds"):
            getattr(point, name).extend(value)
    if positive:
        point.positive.offset, counts = positive
        point.positive.bucket_counts.extend(counts)


def counter(name: str, total: float, at: float, start: float = 0, temporality: int = CUMULATIVE, **labels: str) -> Any:
    data = {"aggregation_temporality": temporality, "is_monotonic": True}
    point = {"at": at, "start": start, "as_double": total, "labels": labels}
    return {"name": name, "kind": "sum", "data": data, "points": [point]}


def durations(counts: Sequence[int], at: float, start: float = 0, temporality: int = CUMULATIVE, **more: Any) -> Any:
    """gen_ai.client.operation.duration with bounds at 1, 2 and 4 seconds."""
    labels = {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "helper"} | more.pop("labels", {})
    point = {
        "at": at, "start": start, "labels": labels, "count": sum(counts), "sum": 1.0, "bucket_counts": counts,
        "explicit_bounds": [1.0, 2.0, 4.0], **more,
    }  # fmt: skip
    data = {"aggregation_temporality": temporality}
    return {"name": "gen_ai.client.operation.duration", "kind": "histogram", "data": data, "points": [point]}


def metered(names: bool = True) -> Stream:
    """A stream whose rules name every metric (or none), listening from before anything began."""
    stream = Stream()
    stream.ingest = Ingest(stream.limits, meters=Meters(lambda metric: names, since_ns=0))
    return stream


def amounts(stream: Stream, metric: str = "queue.served") -> list[float]:
    """What the slots say of a metric, in time order."""
    stream.flush()
    said = []
    for slot in stream.slots:
        for i, cell in enumerate(slot.cell.tolist()):
            if stream.ingest.cells.values(cell)[-1] == metric:
                said.append(float(slot.amount[i]))
    return said


def sent(stream: Stream, *bodies: Any) -> Stream:
    """Bodies of one metric each, a second apart from their times."""
    for each in bodies:
        at = each["points"][0]["at"]
        stream.send_bytes(points(each), at + 1, "m/0", Signal.METRICS)
    return stream


def test_a_cumulative_counter_adds_its_increase() -> None:
    """From its own beginning if that was heard, once each, and again after a restart of its process or a drop."""
    bodies = [(5.0, 60, 0), (8.0, 120, 0), (8.0, 120, 0), (9.0, 180, 0), (2.0, 240, 190), (1.0, 300, 190)]
    stream = sent(metered(), *(counter("queue.served", total, at, start) for total, at, start in bodies))
    assert amounts(stream) == [5.0, 3.0, 1.0, 2.0, 1.0]
    assert stream.dropped(Dropped.DUPLICATE) == 1


def test_an_old_counter_is_only_a_beginning() -> None:
    """What it counted before anybody listened is not counted at once; nor is a reset of unknown beginning."""
    stream = Stream()
    stream.ingest = Ingest(stream.limits, meters=Meters(lambda metric: True))
    sent(stream, counter("queue.served", 1e6, 60, start=-9000), counter("queue.served", 1e6 + 3, 120, start=-9000))
    sent(stream, counter("queue.served", 7, 180, start=180), counter("queue.served", 9, 240, start=180))
    assert amounts(stream) == [3.0, 2.0]


def test_a_delta_counter_adds_what_it_says() -> None:
    """Gaps are allowed, and the same point twice is one."""
    bodies = [(5.0, 60, 0), (8.0, 300, 240), (8.0, 300, 240)]
    stream = sent(metered(), *(counter("queue.served", total, at, start, DELTA) for total, at, start in bodies))
    assert amounts(stream) == [5.0, 8.0]


def test_a_stale_stream_goes_on() -> None:
    """No recorded value adds nothing, and what was counted before it is not counted again after it."""
    stale = counter("queue.served", 0.0, 120)
    stale["points"][0]["flags"] = 1
    stream = sent(metered(), counter("queue.served", 5.0, 60), stale, counter("queue.served", 6.0, 180))
    assert amounts(stream) == [5.0, 1.0]


def test_a_gauge_is_its_value_and_an_up_and_down_counter_is_one() -> None:
    gauge = {"name": "queue.depth", "kind": "gauge", "points": [{"at": 60, "as_double": -3.5}]}
    assert amounts(sent(metered(), gauge), "queue.depth") == [-3.5]
    down = [counter("queue.depth", value, at) for value, at in ((9.0, 60), (4.0, 120))]
    for each in down:
        each["data"]["is_monotonic"] = False
    assert amounts(sent(metered(), *down), "queue.depth") == [9.0, 4.0]


def test_durations_are_calls() -> None:
    """Counts, failures by their error type, and buckets spread over ours; what lies over the last bound is told."""
    stream = metered(names=False)
    failed = durations([0, 2, 0, 0], 60, labels={"error.type": "timeout"})
    sent(stream, durations([0, 0, 8, 2], 60), failed, durations([0, 0, 9, 2], 120)).flush()
    first, second = stream.of("llm")
    assert first["labels"] == ("", "helper", "llm", "", "", "", "", "", "", "")
    assert (first["count"], first["failed"], second["count"]) == (12.0, 2.0, 1.0)
    spread = dict(first["duration"])  # type: ignore[call-overload]
    assert {bucket: count for bucket, count in spread.items() if bucket < 8} == dict.fromkeys(range(8), 0.25)
    assert {bucket for bucket in spread if bucket >= 8} == set(range(8, 17)) and spread[16] == 2
    assert stream.tally.saturated == {"gen_ai.client.operation.duration": 2}


def test_other_boundaries_are_another_stream() -> None:
    """Nothing can be taken from the difference of two."""
    other = durations([5, 5, 5, 5], 120)
    other["points"][0]["explicit_bounds"] = [1.0, 2.0, 8.0]
    stream = sent(metered(names=False), durations([1, 1, 1, 1], 60), other).flush()
    assert [row["count"] for row in stream.of("llm")] == [4.0]


@pytest.mark.parametrize("scale", [0, 3, 5])
def test_exponential_histograms_go_into_our_buckets(scale: int) -> None:
    """Finer and equal scales exactly, coarser ones spread; a value of 1.5 s is where ours would have put it."""
    index = math.ceil(math.log2(1.5) * 2**scale) - 1
    exponential = {
        "name": "gen_ai.client.operation.duration", "kind": "exponential_histogram",
        "data": {"aggregation_temporality": DELTA},
        "points": [{"at": 60, "count": 9, "scale": scale, "zero_count": 1, "positive": (index, [8])}],
    }  # fmt: skip
    (row,) = sent(metered(names=False), exponential).flush().of("llm")
    found = dict(row["duration"])  # type: ignore[call-overload]
    assert found.pop(-240) == 1.0 and sum(found.values()) == pytest.approx(8)
    assert 4 in found and (scale == 0 or set(found) == {4})


def test_a_change_of_scale_is_no_reset() -> None:
    """The finer one is merged, exactly, before the difference is taken."""
    before = Histogram(4, 8.0, (1.0, 1.0, 1.0, 1.0), (), 4, 8)
    after = Histogram(7, 20.0, (2.0, 5.0), (), 3, 4)
    more = less(after, before)
    assert more is not None and (more.n, more.counts, more.first) == (3, (0.0, 3.0), 4)
    assert less(before, after) is None


def test_the_hand_written_agents_five_metrics() -> None:
    """They say what the agent's spans say, and what only they know: tools, outcomes, dollars. Both temporalities."""
    for directory in ("handwritten-crm-agent-otel-sdk-1.45.2", "handwritten-crm-agent-otel-sdk-1.45.2+delta"):
        found = inspect_points(sorted((FIXTURES / directory).glob("metrics-*.binpb")), Signal.METRICS)
        groups = found["groups"]
        assert isinstance(groups, list)
        by_tenant = {group["tenant"]: group for group in groups}
        mine = by_tenant[""]
        assert mine["calls"] == {"llm": 3, "tool": 3} and mine["failed"] == {"llm": 0, "tool": 1}
        assert (mine["input_tokens"], mine["output_tokens"]) == (37350, 936)
        assert mine["outcomes"] == {"abandoned": 1, "escalated": 1, "resolved": 1}
        assert by_tenant["acme"]["cost_usd"] == 0.097
        assert mine["cost_usd"] == 0 and not found["priced_tokens"]


def test_one_source_a_signal() -> None:
    """A service whose spans tell of its calls counts none of them twice; what they do not tell its metrics do."""
    stream = metered(names=False)
    spans = body(agent(1, 1, 0, 9), chat(1, 2, 1, 3, 1))
    stream.send_bytes(spans, 10)
    usage = counter("gen_ai.client.token.usage", 110, 60, temporality=DELTA, direction="input")
    tools = counter("agent.tool.call.count", 3, 60, temporality=DELTA, tool="look_up", status="error")
    for each in (durations([1, 0, 0, 0], 60), usage, tools):
        sent(stream, each)
    stream.flush()
    assert [row["count"] for row in stream.of("llm")] == [1.0]
    assert sum(float(str(row["input_tokens"])) for row in stream.rows()) == 100
    (tool,) = stream.of("tool")
    assert (tool["count"], tool["failed"]) == (3.0, 3.0)
    assert tool["labels"] == ("", "shop", "tool", "", "", "look_up", "", "", "", "")


def evaluation(label: str, score: float | None, at: float, trace: int = 0) -> bytes:
    """A log record as the conventions have it."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "judge"
    record = group.scope_logs.add().log_records.add(event_name="gen_ai.evaluation.result", time_unix_nano=at_ns(at))
    if trace:
        record.trace_id, record.span_id = trace.to_bytes(16, "big"), (1).to_bytes(8, "big")
    record.attributes.add(key="gen_ai.evaluation.name").value.string_value = "relevance"
    if label:
        record.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = label
    if score is not None:
        record.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = score
    record.body.string_value = "the prompt itself"
    return request.SerializeToString()


@pytest.mark.parametrize("as_json", [False, True])
def test_evaluations_are_outcomes_and_scores(as_json: bool) -> None:
    """Of the agent whose span they judge, if its trace is live; else of who sent them."""
    stream = metered()
    stream.send(agent(7, 1, 0, 5, tenant__id="acme"))
    for said, score, trace in (("pass", 0.9, 7), ("fail", 0.2, 7), ("", 0.5, 0)):
        raw = evaluation(said, score, 6, trace)
        if as_json:
            raw = _json(raw)
        assert not stream.send_bytes(raw, 8, "l/0", Signal.LOGS).error
    stream.flush()
    rows = stream.of("evaluation")
    judged = [
        row for row in rows if row["labels"] == ("acme", "helper", "evaluation", "", "", "relevance", "", "", "", "")
    ]
    assert [(row["count"], row["failed"]) for row in judged] == [(2.0, 1.0)]
    assert judged[0]["outcome"] == [(0, 1.0), (OUTCOMES.index("failed"), 1.0)]
    assert amounts(stream, "gen_ai.evaluation.score") == pytest.approx([0.9 + 0.2, 0.5])


def _json(raw: bytes) -> bytes:
    request = ExportLogsServiceRequest.FromString(raw)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    attributes = [
        {"key": pair.key, "value": {"stringValue": pair.value.string_value} if pair.value.string_value
         else {"doubleValue": pair.value.double_value}}
        for pair in record.attributes
    ]  # fmt: skip
    log = {
        "eventName": record.event_name, "timeUnixNano": str(record.time_unix_nano), "attributes": attributes,
        "traceId": record.trace_id.hex(), "spanId": record.span_id.hex(), "body": {"stringValue": "x"},
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "judge"}}]}
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [log]}]}]}).encode()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bucket_counts": [1, 2]}, Dropped.BAD_NUMBER),
        ({"explicit_bounds": [4.0, 2.0, 1.0]}, Dropped.BAD_NUMBER),
        ({"explicit_bounds": [1.0, float("nan"), 2.0]}, Dropped.BAD_NUMBER),
        ({"count": 2**63}, Dropped.BAD_NUMBER),
        ({"at": 9e9}, Dropped.BAD_TIME),
        ({"at": 500}, Dropped.FUTURE),
    ],
)
def test_bad_points_are_left_out_alone(fields: dict[str, Any], reason: Dropped) -> None:
    """Each for its reason; the good one beside it counts."""
    stream = metered(names=False)
    bad = durations([1, 1, 1, 1], 60, labels={"gen_ai.request.model": "bad"})
    bad["points"][0] |= fields
    good = durations([1, 1, 1, 1], 60)
    stream.send_bytes(points(bad, good), 61, "m/0", Signal.METRICS)
    assert [row["count"] for row in stream.flush().of("llm")] == [4.0]
    assert stream.dropped(reason) == 1


RULES = """
groups:
  - name: metrics
    rules:
      - {alert: Deep, detector: static, select: {metric: queue.depth}, signal: value, above: 99, window: 1m}
      - {alert: Calls, detector: static, by: [agent, operation], signal: calls_per_minute, above: 0.5, window: 1m}
"""


def test_a_rule_can_name_any_metric() -> None:
    """And one that names none looks at calls and sessions alone; saved and restored in between it says the same."""
    stream = []
    for minute in range(12):
        depth = {"at": 60 * minute + 30, "as_double": 250.0 if minute > 5 else 20.0, "labels": {"agent": "helper"}}
        gauge = {"name": "queue.depth", "kind": "gauge", "points": [depth]}
        stream.append(Record(Signal.METRICS, points(gauge), "m/0"))
    rules = combine([parse_rules(RULES, "test.yaml")])

    def told(restored: bool) -> list[tuple[str, str, int]]:
        one, found = Pipeline(IngestLimits(), rules, 0), []
        for minute, record in enumerate(stream):
            outcome = one.step(Batch((record,), {}), at_ns(60 * minute + 31))
            found += [(each.rule, each.after.value, each.at_ns) for each in outcome.transitions]
            if restored:
                state, one = one.snapshot(), Pipeline(IngestLimits(), rules, 0)
                one.restore(state)
        return found + [(each.rule, each.after.value, each.at_ns) for each in one.flush(at_ns(800)).transitions]

    (first, *rest) = told(restored=False)
    assert first[:2] == ("Deep", AlertState.FIRING.value) and not [each for each in rest if each[0] != "Deep"]
    assert 360 < (first[2] - at_ns(0)) // SECOND_NS <= 450
    assert told(restored=True) == [first, *rest]


def test_many_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric with a label that never repeats fills its table, is counted, and takes nothing from the others."""
    monkeypatch.setattr("service.ingest.metrics.streams.STREAMS_MAX", 10)
    stream = sent(metered(names=False), durations([1, 0, 0, 0], 60))
    for i in range(30):
        sent(stream, durations([1, 0, 0, 0], 61, labels={"request.id": str(i)}))
    sent(stream, durations([2, 0, 0, 0], 120))
    assert stream.dropped(Dropped.SERIES_FULL) == 21
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == 1 + 9 + 1
