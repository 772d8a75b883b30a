"""What Tocsin itself wrote back is never read as traffic: by each decoder, of each signal, beside what is."""

from collections.abc import Callable

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.batch import Dropped, Record, Signal, Tally
from service.ingest.kernel.columns import Columns
from service.ingest.limits import IngestLimits
from service.ingest.otlp import in_json
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.otlp.wanted import EVALUATION_EVENT, OWN_MARK
from service.ingest.stage import Ingest
from tests.service.ingest.wire import at_ns, body, chat, json_body

OWN = {"service.name": "tocsin", OWN_MARK: "true"}
MINE, THEIRS = (chat(9, 1, 500, 501), chat(9, 2, 500, 501)), chat(1, 1, 1, 2)


def turned(raw: bytes) -> bytes:
    """A body whose resource follows its spans, as protobuf may have it."""
    group = ExportTraceServiceRequest.FromString(raw).resource_spans[0]
    resource = group.resource.SerializeToString()
    group.ClearField("resource")
    whole = group.SerializeToString() + b"\x0a" + bytes([len(resource)]) + resource
    return b"\x0a" + _size(len(whole)) + whole


def _size(n: int) -> bytes:
    return bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])


@pytest.mark.parametrize(
    "scan",
    [
        lambda: Scanner().scan([body(*MINE, resource=OWN) + body(THEIRS)]),
        lambda: Scanner().scan([body(THEIRS) + turned(body(*MINE, resource=OWN))]),
        lambda: ProtobufDecoder().scan([body(*MINE, resource=OWN) + body(THEIRS)]),
        lambda: in_json.traces(json_body(*MINE, resource=OWN)[:-2] + b"," + json_body(THEIRS)[19:]),
    ],
    ids=["scanned", "resource last", "by protobuf", "in JSON"],
)
def test_the_spans_of_others_are_read(scan: Callable[[], Columns]) -> None:
    """They alone; and event time is theirs."""
    columns = scan()
    assert columns.n_spans == 1 and columns.span(0)[0] == "chat gpt-4o-mini"
    assert columns.records() == [(0, 1, at_ns(2), 0, 0, 0, 2)]


def test_a_value_of_any_kind_marks() -> None:
    """A pipeline on the way may have made a text of it."""
    request = ExportTraceServiceRequest.FromString(body(*MINE))
    request.resource_spans[0].resource.attributes.add(key=OWN_MARK).value.bool_value = True
    for decoder in (Scanner(), ProtobufDecoder()):
        assert decoder.scan([request.SerializeToString()]).records() == [(0, 0, 0, 0, 0, 0, 2)]


def read(signal: Signal, raw: bytes) -> Tally:
    """What an ingest counts of a body, which it takes without a word."""
    tally = Tally()
    answer = Ingest(IngestLimits()).read(Record(signal, raw, "otlp"), at_ns(600), tally)
    assert (answer.rejected, answer.message, answer.error) == (0, "", None)
    return tally


def test_they_are_counted() -> None:
    """A span and a log record each; nothing else is."""
    tally = read(Signal.TRACES, body(*MINE, resource=OWN))
    assert tally.spans == 0 and tally.dropped == {Dropped.OWN: 2}
    assert not tally.foreign
    request = ExportLogsServiceRequest()
    for mark in (OWN_MARK, "service.name"):
        group = request.resource_logs.add()
        group.resource.attributes.add(key=mark).value.bool_value = True
        log = group.scope_logs.add().log_records.add(time_unix_nano=at_ns(500), event_name=EVALUATION_EVENT)
        log.attributes.add(key="gen_ai.evaluation.name").value.string_value = "csat"
        log.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = mark
    for raw in (request.SerializeToString(), json_format.MessageToJson(request).encode()):
        tally = read(Signal.LOGS, raw)
        assert +tally.dropped == {Dropped.OWN: 1} and [one.said for one in tally.evaluations] == ["service.name"]
