"""Bodies that hold no OTLP are told from empty ones, and said to be what they look like."""

import gzip
import json
import re

import pytest

from service.batch import Dropped, Record, Signal, Tally
from service.ingest.otlp.foreign import Foreign, is_empty, looks_like
from service.ingest.stage import Ingest
from service.sources.senders import SENDERS_MAX, Senders, service_of
from tests.service.ingest.test_metrics import counter, points
from tests.service.ingest.wire import Stream, at_ns, body, chat, json_body

ZIPKIN = json.dumps([{"traceId": "5982fe77008310cc", "id": "bd7a977555f6b982", "localEndpoint": {"serviceName": "a"}}])
JAEGER_JSON = json.dumps({"traceID": "a", "operationName": "b", "process": {}})
JAEGER = b"\x0a\x10" + bytes(range(16)) + b"\x12\x08" + bytes(range(8)) + b"\x1a\x02op"
TEMPO = json.dumps({"batches": [{"resource": {}, "scopeSpans": []}]})
REGISTRY = b"\x00\x00\x00\x00\x07" + body(chat(1, 1, 1, 2))


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (ZIPKIN.encode(), Foreign.ZIPKIN_JSON),
        (JAEGER_JSON.encode(), Foreign.JAEGER),
        (JAEGER, Foreign.JAEGER),
        (TEMPO.encode(), Foreign.TEMPO),
        (REGISTRY, Foreign.REGISTRY),
        (gzip.compress(body(chat(1, 1, 1, 2))), Foreign.GZIP),
        (b'{"level": "info", "msg": "hello"}', Foreign.JSON),
        (b"2026-01-01 hello\n", Foreign.TEXT),
        (b"\xff\xfe\xfd\x01\x02", Foreign.BINARY),
        (points(counter("queue.served", 5, at=10)), Foreign.OTHER_SIGNAL),
        (b'{"resourceMetrics": []}', Foreign.OTHER_SIGNAL),
    ],
)
def test_a_foreign_body_is_told_and_counted(raw: bytes, kind: Foreign) -> None:
    """Its sender hears what it looks like, or that it is broken; nobody takes it for an empty one."""
    tally = Tally()
    answer = Ingest(Stream().limits).read(Record(Signal.TRACES, raw, "otlp_spans/3"), at_ns(10), tally)
    assert looks_like(Signal.TRACES, raw) is kind
    assert answer.error or answer.message
    assert tally.foreign == {("otlp_spans", kind): 1} and tally.read == {"otlp_spans": 1}
    assert tally.dropped[Dropped.FOREIGN] + tally.dropped[Dropped.MALFORMED] == 1


METRICS = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "agent.cost.usd", "sum": {
    "aggregationTemporality": 1, "dataPoints": [{"timeUnixNano": str(at_ns(9)), "asDouble": 1.5}]}}]}]}]})  # fmt: skip
LOGS = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{
    "eventName": "gen_ai.evaluation.result", "timeUnixNano": str(at_ns(9)),
    "attributes": [{"key": "gen_ai.evaluation.score.label", "value": {"stringValue": "pass"}}]}]}]}]})  # fmt: skip


def snake(text: str, only: str = "[A-Za-z]+") -> bytes:
    """JSON with those of its names written as protobuf writes them."""
    return re.sub(
        f'"({only})":', lambda found: re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", f'"{found[1]}":'), text
    ).encode()


@pytest.mark.parametrize(
    "only", ["[A-Za-z]+", "resource[A-Z][a-z]+", "scope[A-Z][a-z]+", "[a-z]+TimeUnixNano|timeUnixNano"]
)
@pytest.mark.parametrize(
    ("signal", "text"),
    [(Signal.TRACES, json_body(chat(1, 1, 1, 2)).decode()), (Signal.METRICS, METRICS), (Signal.LOGS, LOGS)],
)
def test_names_with_underscores_are_read_and_told(signal: Signal, text: str, only: str) -> None:
    """By every signal alike, at whatever depth they stand: the sender hears how they are written."""
    found = []
    for raw in (text.encode(), snake(text, only)):
        tally, ingest = Tally(), Ingest(Stream().limits)
        answer = ingest.read(Record(signal, raw, "otlp"), at_ns(10), tally)
        slots = [slot.count.tolist() for slot in ingest.flush(tally)]
        found.append((slots, tally.spans, tally.points, tally.logs))
        assert answer.error is None and not tally.foreign
        assert (answer.message != "", tally.snake_case.total()) == ((False, 0) if raw == text.encode() else (True, 1))
    assert found[0] == found[1] and sum(found[0][1:]) == 1


def test_text_that_holds_json_is_no_spelling() -> None:
    """A value may quote anything."""
    raw = json_body(chat(1, 1, 1, 2, note='{"trace_id": 1, "resource_spans": []}'))
    tally = Tally()
    assert Ingest(Stream().limits).read(Record(Signal.TRACES, raw, "otlp"), at_ns(10), tally).message == ""
    assert not tally.snake_case


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"resourceSpans": []}', b"\x0a\x00", body()])
def test_an_empty_body_is_welcome(raw: bytes) -> None:
    """Exporters send such to see whether somebody answers."""
    tally = Tally()
    answer = Ingest(Stream().limits).read(Record(Signal.TRACES, raw, "otlp"), at_ns(10), tally)
    assert (answer.error, answer.message, answer.rejected) == (None, "", 0) and not tally.foreign
    assert not is_empty(Signal.TRACES, raw)


def test_time_goes_on_while_bodies_are_empty() -> None:
    """An exporter that has nothing to say for minutes holds event time no more than one that says nothing."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100), now_s=100)
    stream.ingest.read(Record(Signal.TRACES, b"", "p/0"), at_ns(400), stream.tally)
    assert stream.watermark_s == 340


def test_a_late_span_is_told_to_its_sender() -> None:
    """It was taken into its trace, but counts in no rule: that is a partial success, and no full one."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 500))
    answer = stream.send(chat(2, 2, 0, 5), chat(3, 3, 0, 500), now_s=501)
    assert answer.rejected == 1 and "counted already" in answer.message


def test_each_service_is_a_partition_of_the_door() -> None:
    """One that is cut off for minutes is not passed by others; a Collector's bodies of many services are one stream."""
    senders = Senders("otlp")
    shop, bank = (body(chat(1, 1, 1, 2), resource={"service.name": name}) for name in ("shop", "bank"))
    assert [senders.partition(raw) for raw in (shop, bank, shop + bank, b"", b"\x0a")] == [
        "otlp/shop", "otlp/bank", "otlp", "otlp", "otlp"
    ]  # fmt: skip
    assert service_of(json_body(chat(1, 1, 1, 2))) == "shop"
    assert service_of(b'{"resourceSpans": []}') == ""
    for number in range(2 * SENDERS_MAX):
        senders.partition(body(chat(1, 1, 1, 2), resource={"service.name": f"s{number}"}))
    assert senders.partition(body(chat(1, 1, 1, 2), resource={"service.name": "one more"})) == "otlp"
    assert senders.partition(shop) == "otlp/shop"
