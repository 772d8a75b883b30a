"""Any numbers on the wire, through all of it: step, ticks, save, restore and /metrics never fail on a value."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from alertrules.parse import load
from service.batch import Batch, Dropped, Record, Signal
from service.ingest.limits import IngestLimits
from service.ingest.stage import Ingest
from service.own_metrics.exposition import level_text
from service.pipeline.pipeline import Pipeline, State
from tests.service.ingest.wire import agent, at_ns, body, chat

RULES = """
groups:
  - name: all
    rules:
      - {alert: Errors, detector: errors, by: [tenant, agent], budget: 1/week}
      - {alert: Latency, detector: latency, by: [tenant, agent], budget: 1/week}
      - {alert: Cost, detector: cost, select: {operation: session}, by: [tenant, agent], budget: 1/week}
      - {alert: Outcomes, detector: outcomes, select: {operation: session}, by: [agent], budget: 1/week, effect: 10pp}
      - {alert: Static, detector: static, signal: latency_p95, above: 5s, window: 2m, by: [agent]}
      - {alert: Named, detector: static, signal: value, select: {metric: queue.depth}, above: 3, by: [agent]}
      - {alert: Level, detector: level, signal: value, select: {metric: queue.depth}, by: [agent], budget: 1/week}
      - {alert: Rate, detector: level, signal: per_minute, select: {metric: queue.served}, by: [agent], budget: 1/week}
      - {alert: Drift, detector: river.ADWIN, signal: value, select: {metric: queue.depth}, by: [agent], budget: 1/week}
      - {alert: Burn, detector: burn, by: [tenant], above: $10000}
      - {alert: Absence, detector: absence, by: [agent], budget: 1/week}
"""
ODD = [
    0.0, -0.0, 5e-324, 2.3e-308, 1e-300, 1e-9, 1.0, 1e6, 1e15, 2.0**53, 2.0**53 + 2, 1e40, 1e200, 1e300, 1.7e308,
    1.7976931348623157e308, math.inf, -math.inf, math.nan, -1.0, -1e308,
]  # fmt: skip
WHOLE = [0, 1, 2, 1000, 2**31, 2**53, 2**53 + 1, 2**62, 2**63, 2**64 - 1]
NAMES = [
    "gen_ai.client.operation.duration", "gen_ai.client.token.usage", "agent.cost.usd", "agent.session.outcome",
    "agent.tool.call.count", "queue.depth", "queue.served", "gen_ai.evaluation.score",
]  # fmt: skip
numbers = st.sampled_from(ODD) | st.floats()
wholes = st.sampled_from(WHOLE) | st.integers(0, 2**64 - 1)
MINUTES = 6


@st.composite
def points(draw: st.DrawFn) -> ExportMetricsServiceRequest:
    """A body of metrics of all kinds, with numbers as odd as can be, that repeats under the same names and labels."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_metrics.add()
    for _ in range(draw(st.integers(1, 4))):
        metric = scope.metrics.add(name=draw(st.sampled_from(NAMES)), unit=draw(st.sampled_from(["s", "ms", "", "1"])))
        kind = draw(st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary"]))
        data = getattr(metric, kind)
        if kind not in ("gauge", "summary"):
            data.aggregation_temporality = draw(st.sampled_from([1, 2]))
        if kind == "sum":
            data.is_monotonic = draw(st.booleans())
        for _ in range(draw(st.integers(1, 2))):
            _fill(draw, data.data_points.add(), kind)
    return request


def _fill(draw: st.DrawFn, point: Any, kind: str) -> None:
    point.attributes.add(key="gen_ai.agent.name").value.string_value = draw(st.sampled_from(["a", "b"]))
    if draw(st.integers(0, 3)) == 0:
        point.attributes.add(key="odd").value.double_value = draw(numbers)
    if draw(st.booleans()):
        point.attributes.add(key="gen_ai.conversation.id").value.string_value = draw(st.sampled_from(["", "c"]))
        point.attributes.add(key="gen_ai.evaluation.name").value.string_value = "relevance"
    if kind in ("gauge", "sum"):
        point.as_double = draw(numbers)
        point.exemplars.add(as_double=draw(numbers) if draw(st.booleans()) else point.as_double, trace_id=b"t" * 16)
    elif kind == "summary":
        point.count, point.sum = draw(wholes), draw(numbers)
    elif kind == "histogram":
        bounds = sorted(set(draw(st.lists(numbers.filter(math.isfinite), max_size=4))))
        counts = [draw(wholes) for _ in range(len(bounds) + 1)]
        point.explicit_bounds.extend(bounds)
        point.bucket_counts.extend(counts)
        point.count = sum(counts) % 2**64
        point.sum = draw(numbers)
    else:
        point.scale = draw(st.sampled_from([-11, -10, 0, 3, 20, 21, 2**31 - 1]))
        point.positive.offset = draw(st.sampled_from([-(2**31), -5000, 0, 5000, 2**31 - 1]))
        point.positive.bucket_counts.extend(draw(st.lists(wholes, max_size=4)))
        point.zero_count = draw(wholes)
        point.count = (sum(point.positive.bucket_counts) + point.zero_count) % 2**64
        point.sum = draw(numbers)


@st.composite
def evaluations(draw: st.DrawFn) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.event_name = "gen_ai.evaluation.result"
    record.attributes.add(key="gen_ai.evaluation.name").value.string_value = "relevance"
    record.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = draw(numbers)
    record.attributes.add(key="gen_ai.agent.name").value.double_value = draw(numbers)
    return request


@st.composite
def spans(draw: st.DrawFn, minute: int) -> bytes:
    """A session with a call, with odd numbers wherever a span has one."""
    odd = draw(numbers)
    call = chat(minute + 1, 2, 60 * minute, 60 * minute + 30, parent=1, gen_ai__usage__cost=odd)
    more = {
        "gen_ai.usage.input_tokens": draw(numbers),
        "gen_ai.usage.output_tokens": draw(st.integers(-(2**63), 2**63 - 1)),
    }
    state = draw(st.sampled_from(["", "ot=th:ffffffffffffff", "ot=th:0", "ot=th:fffffffffffffffff", "ot=th:8"]))
    call = type(call)(**{**vars(call), "attributes": {**call.attributes, **more}, "state": state})
    return body(call, agent(minute + 1, 1, 60 * minute, 60 * minute + 31, name="a"))


def set_times(request: Any, seconds: float) -> bytes:
    """The body, its points and records now."""
    for metrics in getattr(request, "resource_metrics", ()):
        for metric in metrics.scope_metrics[0].metrics:
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                point.time_unix_nano, point.start_time_unix_nano = at_ns(seconds), at_ns(1)
    for logs in getattr(request, "resource_logs", ()):
        logs.scope_logs[0].log_records[0].time_unix_nano = at_ns(seconds)
    return bytes(request.SerializeToString())


def check(pipeline: Pipeline, state: State) -> None:
    """What is saved is finite, or unknown (NaN); what is shown can be shown; no rule had to begin anew."""
    json.dumps(dict(state.alerts), allow_nan=False)
    for name, array in state.arrays.items():
        if array.dtype.kind == "f":
            assert not np.isinf(array).any() or name.startswith(MAY_BE_INFINITE), name
    list(text_string_to_metric_families(level_text(pipeline.levels())))
    assert not pipeline.detect.failed


MAY_BE_INFINITE = ("detect/",)
"""Evidence begins at -inf, the logarithm of nothing."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(RULES)
    return path


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_numbers_go_through_all_of_it(path: Path, data: st.DataObject) -> None:
    """From bytes to what is saved, told and shown, with a restart on the way, minute by minute and a day later."""
    pipeline = Pipeline(IngestLimits(), load([path]), 0)
    for minute in range(MINUTES):
        records = [Record(Signal.TRACES, data.draw(spans(minute)), "otlp")]
        for strategy, signal in ((points(), Signal.METRICS), (evaluations(), Signal.LOGS)):
            request = data.draw(strategy)
            records += [Record(signal, set_times(request, 60 * minute + second), "otlp") for second in range(1, 41, 13)]
        pipeline.step(Batch(tuple(records), {}), at_ns(60 * minute + 40))
        state = pipeline.snapshot()
        check(pipeline, state)
        if minute == MINUTES // 2:
            pipeline = Pipeline(IngestLimits(), load([path]), 0)
            pipeline.restore(state)
    for hours in (1, 2, 12, 36):
        pipeline.step(Batch((), {}), at_ns(hours * 3600))
    pipeline.step(Batch((Record(Signal.TRACES, body(chat(99, 9, 2e5, 2e5)), "otlp"),), {}), at_ns(2e5))
    check(pipeline, pipeline.snapshot())


def one_point(metric: str, value: float, kind: str = "sum", temporality: int = 1, label: float | None = None) -> Any:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    found = group.scope_metrics.add().metrics.add(name=metric)
    data = getattr(found, kind)
    if kind == "sum":
        data.is_monotonic, data.aggregation_temporality = True, temporality
    point = data.data_points.add(as_double=value)
    if label is not None:
        point.attributes.add(key="odd").value.double_value = label
    return request


@pytest.mark.parametrize("value", [1.8e308 / 1.001, 1e40, 1e307, 2.0**53 + 2, -1e40])
@pytest.mark.parametrize("metric", ["agent.cost.usd", "gen_ai.client.token.usage", "queue.served"])
def test_a_number_that_is_none_is_dropped_at_the_door(path: Path, metric: str, value: float) -> None:
    """Two of them on one sum would be infinite; each is counted as a bad number, and what is good beside it counts."""
    pipeline = Pipeline(IngestLimits(), load([path]), 0)
    records = [
        Record(Signal.METRICS, set_times(one_point(metric, each), at), "otlp")
        for at, each in ((1, value), (2, value), (3, 5.0))
    ]
    outcome = pipeline.step(Batch(tuple(records), {}), at_ns(5))
    assert outcome.tally.dropped[Dropped.BAD_NUMBER] == 2 and outcome.tally.points == 3
    check(pipeline, pipeline.snapshot())


@pytest.mark.parametrize("label", [math.inf, -math.inf, math.nan])
def test_a_label_may_be_any_number(path: Path, label: float) -> None:
    """It tells streams apart, and is saved as text."""
    pipeline = Pipeline(IngestLimits(), load([path]), 0)
    for at in (1, 2):
        raw = set_times(one_point("queue.depth", float(at), "gauge", label=label), at)
        pipeline.step(Batch((Record(Signal.METRICS, raw, "otlp"),), {}), at_ns(at))
    state = pipeline.snapshot()
    pipeline.restore(state)
    check(pipeline, pipeline.snapshot())
    assert isinstance(pipeline.ingest, Ingest)
    assert len(pipeline.ingest.meters.streams.streams) == 1


def test_one_absurd_point_does_not_blind_a_rule(path: Path) -> None:
    """A point of a billion billion calls is dropped, and the errors of all others are judged as before."""
    chance = random.Random(1)
    pipelines = [Pipeline(IngestLimits(), load([path]), 0) for _ in range(2)]
    for minute in range(30):
        calls = [chat(minute * 50 + n, n + 1, 60 * minute, 60 * minute + n) for n in range(chance.randint(20, 40))]
        for number, pipeline in enumerate(pipelines):
            records = [Record(Signal.TRACES, body(*calls), "otlp")]
            if number and minute == 3:
                absurd = set_times(one_point("agent.tool.call.count", 1e18), 60 * minute + 1)
                records.append(Record(Signal.METRICS, absurd, "otlp"))
            pipeline.step(Batch(tuple(records), {}), at_ns(60 * minute + 50))
    plain, absurd_too = (
        {
            level.rule.name: {name: values[:1].tolist() for name, values in level.gauges.items()}
            for level in one.levels()
        }
        for one in pipelines
    )
    assert str(plain) == str(absurd_too)
