"""Scores of sessions as metrics: an evaluation each, once for each value, and any other point a metric as before."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from alertrules.outcome_classes import SHIPPED
from detectors.core.columns import OUTCOMES
from service.batch import Dropped, Signal
from service.ingest.metrics import scores
from service.ingest.metrics.meters import Meters
from service.ingest.metrics.scores import Scores
from service.ingest.otlp.points import EXEMPLARS_MAX, SCORE_METRIC, Evaluation
from service.ingest.otlp.wanted import OWN_MARK
from service.ingest.stage import Ingest
from service.ledger.late import evaluated
from tests.service.ingest.wire import Stream, agent, at_ns

MINE = {"gen_ai.conversation.id": "c1", "gen_ai.evaluation.name": "relevance", "gen_ai.agent.name": "helper"}
SAID, LABEL = {"gen_ai.evaluation.name": "relevance"}, "gen_ai.evaluation.score.label"


def scored(
    value: float, at: float, labels: Mapping[str, str] = MINE, kind: str = "gauge",
    exemplar: tuple[float, int] | None = None, resource: str = "service.name",
) -> ExportMetricsServiceRequest:  # fmt: skip
    """A body with one point; an exemplar is a value and a trace."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.add(key=resource).value.string_value = "judge"
    data: Any = getattr(group.scope_metrics.add().metrics.add(name=SCORE_METRIC), kind)
    if kind != "gauge":
        data.aggregation_temporality = 2
    point = data.data_points.add(time_unix_nano=at_ns(at))
    if kind == "histogram":
        point.count, point.sum, point.start_time_unix_nano = 1, value, at_ns(1)
        point.bucket_counts.append(1)
    else:
        point.as_double = value
    for key, text in labels.items():
        point.attributes.add(key=key).value.string_value = text
    if exemplar is not None:
        of, trace = exemplar
        point.exemplars.add(as_double=of, trace_id=trace.to_bytes(16, "big"), span_id=(1).to_bytes(8, "big"))
    return request


def metered() -> Stream:
    """A stream whose rules name every metric."""
    stream = Stream()
    stream.ingest = Ingest(stream.limits, meters=Meters(lambda metric: True, since_ns=0))
    return stream


def send(stream: Stream, at: float, *requests: ExportMetricsServiceRequest, as_json: bool = False) -> None:
    """Send bodies at that time."""
    for request in requests:
        raw = _json(request) if as_json else request.SerializeToString()
        assert not stream.send_bytes(raw, at, "m/0", Signal.METRICS).error


def _json(request: ExportMetricsServiceRequest) -> bytes:
    """OTLP/JSON, which has ids in hex."""
    document = json_format.MessageToDict(request)
    (metric,) = document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    for exemplar in metric["gauge"]["dataPoints"][0].get("exemplars", ()):
        for name in ("traceId", "spanId"):
            exemplar[name] = base64.b64decode(exemplar[name]).hex()
    return json.dumps(document).encode()


def said(stream: Stream) -> list[tuple[str, str, float]]:
    """What went to the record of sessions: the session or trace, the name, and when it was said."""
    return [
        (one.session or one.trace.lstrip("0"), one.value, (one.at_ns - at_ns(0)) / 1e9)
        for one in evaluated(stream.tally.evaluations, at_ns(10_000), SHIPPED)
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_score_of_a_session_is_an_evaluation(as_json: bool) -> None:
    """By an attribute of the point, or by an exemplar of its value: in its series as one, for the record, no metric."""
    stream = metered()
    stream.send(agent(7, 1, 0, 5, tenant__id="acme"))
    mine = scored(0.9, 6, {**MINE, "tenant.id": "acme"})
    traced = scored(0.2, 6, {**SAID, LABEL: "fail"}, exemplar=(0.2, 7))
    send(stream, 7, mine, traced, as_json=as_json)
    assert said(stream) == [("c1", "0.9", 6.0), ("7", "fail", 6.0)]
    stream.flush()
    rows = {row["labels"][-1]: row for row in stream.of("evaluation")}  # type: ignore[index]
    where = ("acme", "helper", "evaluation", "", "", "relevance", "", "", "")
    assert rows[""]["labels"] == (*where, "") and rows[""]["failed"] == 1.0
    assert rows[""]["outcome"] == [(OUTCOMES.index("failed"), 1.0)]
    assert rows[SCORE_METRIC]["labels"] == (*where, SCORE_METRIC) and rows[SCORE_METRIC]["count"] == 2.0
    assert len(stream.of("")) == 0


@pytest.mark.parametrize(
    "request_",
    [
        scored(0.9, 6, {**SAID, "gen_ai.agent.name": "helper"}),
        scored(0.9, 6, {"gen_ai.conversation.id": "c1"}),
        scored(0.9, 6, SAID, exemplar=(0.8, 7)),
        scored(0.9, 6, SAID, exemplar=(0.9, 0)),
        scored(0.9, 6, kind="histogram"),
    ],
    ids=["no session", "no name", "an exemplar of another value", "no trace", "a histogram"],
)
def test_any_other_point_is_a_metric(request_: ExportMetricsServiceRequest) -> None:
    """As it was before: a cell of its own, and nothing for the record."""
    stream = metered()
    send(stream, 7, request_)
    stream.flush()
    assert said(stream) == [] and stream.of("evaluation") == []
    (row,) = stream.rows()
    assert row["labels"][-1] == SCORE_METRIC  # type: ignore[index]


def test_a_value_counts_when_it_is_first_said() -> None:
    """However often it is exported, across a restart, too; another value counts, and one that comes back does not."""
    stream = metered()
    for at, value in ((60, 0.9), (120, 0.9), (180, 0.5), (240, 0.9)):
        send(stream, at + 1, scored(value, at, kind="sum"), scored(value, at))
        state = stream.ingest.snapshot()
        stream.ingest = Ingest.restore(state, stream.limits, meters=Meters(lambda metric: True))
    send(stream, 241, scored(0.9, 239))  # Of another writer, and older.
    assert said(stream) == [("c1", "0.9", 60.0), ("c1", "0.5", 180.0)]
    stream.flush()
    assert [row["count"] for row in stream.of("evaluation")] == [1.0, 1.0]
    assert +stream.tally.dropped == {}


def test_what_is_wrong_with_a_score() -> None:
    """A number that is none leaves its word. What is of the future, or Tocsin's own, is dropped."""
    stream = metered()
    send(stream, 7, scored(math.nan, 6, {**MINE, LABEL: "pass"}), scored(math.inf, 6))
    assert said(stream) == [("c1", "pass", 6.0)] and stream.dropped(Dropped.BAD_NUMBER) == 2
    send(stream, 7, scored(0.3, 9_000), scored(0.4, 6, resource=OWN_MARK))
    assert len(said(stream)) == 1
    assert (stream.dropped(Dropped.FUTURE), stream.dropped(Dropped.OWN)) == (1, 1)
    send(stream, 9_001, scored(0.3, 9_000))  # Its time has come: what was refused is not remembered.
    assert [value for _, value, _ in said(stream)] == ["pass", "0.3"]


def test_many_exemplars_are_looked_at_up_to_a_bound() -> None:
    """The first one with a trace is taken; past the bound none is looked for."""
    for skipped, found in ((EXEMPLARS_MAX - 1, [("7", "0.9", 6.0)]), (EXEMPLARS_MAX, [])):
        request = scored(0.9, 6, SAID)
        (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
        (point,) = metric.gauge.data_points
        for trace in (*[0] * skipped, 7):
            point.exemplars.add(as_double=0.9, trace_id=trace.to_bytes(16, "big"))
        stream = metered()
        send(stream, 7, request)
        assert said(stream) == found


def test_values_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still said keeps its place; a new one is dropped and counted, until another one is silent for long."""
    monkeypatch.setattr(scores, "HEARD_MAX", 2)
    stream = metered()
    for at, value in ((60, 0.1), (120, 0.2), (180, 0.1), (180, 0.3)):
        send(stream, at + 1, scored(value, at))
    assert [value for _, value, _ in said(stream)] == ["0.1", "0.2"] and stream.dropped(Dropped.SERIES_FULL) == 1
    send(stream, 722, scored(0.1, 721), scored(0.3, 721), scored(0.1, 722))
    assert [value for _, value, _ in said(stream)] == ["0.1", "0.2", "0.3"]


def test_a_value_is_forgotten_after_a_silent_day() -> None:
    """Then it is said anew."""
    one = Evaluation("csat", 1.0, "", at_ns(0), b"", b"", (("session.id", "c1"),), ())
    heard, dropped, future_ns = Scores(), Stream().tally.dropped, at_ns(10**6)
    at_s = (0, 86_000, 172_000, 258_401)
    taken = [[*heard.fresh([one._replace(time_ns=at_ns(at))], future_ns, dropped)] for at in at_s]
    assert [len(each) for each in taken] == [1, 0, 0, 1]
    assert Scores.resume(heard.state()).state() == heard.state() and len(heard.state()) == 1
