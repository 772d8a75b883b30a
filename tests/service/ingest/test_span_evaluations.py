"""Evaluations that events of spans tell: of which session each is, by every decoder, and what any bytes do to it."""

import base64
import json
import random
from collections.abc import Iterator

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from alertrules.outcome_classes import SHIPPED
from service.batch import Answer, Dropped, Record, Signal, Tally
from service.ingest.decode import Decoder
from service.ingest.limits import IngestLimits
from service.ingest.otlp.elements import MESSAGES_MAX
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.otlp.wanted import EVALUATION_EVENT, OWN_MARK
from service.ingest.stage import Ingest
from service.ledger.late import evaluated
from tests.service.exchange.dialogues import TOPIC
from tests.service.exchange.test_conversations import Detect, owners_of
from tests.service.ingest.decoders import GuardedScanner, compare
from tests.service.ingest.wire import Sent, Stream, agent, at_ns, body, same_slots

LINK, SESSION = (7).to_bytes(16, "big"), "gen_ai.conversation.id"
EVALUATOR = Sent(2, 1, 6, 7, name="judge")


def judged(
    label: str = "fail", links: tuple[bytes, ...] = (), on_span: str = "", on_event: str = "", own: bool = False,
    span: Sent = EVALUATOR, event: str = EVALUATION_EVENT,
) -> ExportTraceServiceRequest:  # fmt: skip
    """A body with a span that tells of one evaluation; the session may be named on either."""
    request = ExportTraceServiceRequest.FromString(body(span, resource={OWN_MARK if own else "service.name": "judge"}))
    (written,) = request.resource_spans[0].scope_spans[0].spans
    for trace_id in links:
        written.links.add(trace_id=trace_id, span_id=(1).to_bytes(8, "big"))
    told = written.events.add(name=event, time_unix_nano=at_ns(6.5))
    told.attributes.add(key="gen_ai.evaluation.name").value.string_value = "relevance"
    told.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = label
    told.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = 0.2
    for attributes, session in ((written.attributes, on_span), (told.attributes, on_event)):
        if session:
            attributes.add(key=SESSION).value.string_value = session
    return request


def in_json(request: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON, which has ids in hex."""

    def hexed(node: object) -> object:
        if isinstance(node, dict):
            ids = ("traceId", "spanId")
            return {key: base64.b64decode(each).hex() if key in ids else hexed(each) for key, each in node.items()}
        return [hexed(each) for each in node] if isinstance(node, list) else node

    return json.dumps(hexed(json_format.MessageToDict(request))).encode()


def said(tally: Tally) -> list[tuple[str, str, float]]:
    """What goes to the record of sessions: the session or trace, the value, and when it was said."""
    return [
        (one.session or one.trace.lstrip("0"), one.value, (one.at_ns - at_ns(0)) / 1e9)
        for one in evaluated(tally.evaluations, at_ns(100), SHIPPED)
    ]


@pytest.mark.parametrize("decoder", [Scanner(), ProtobufDecoder(), None], ids=["scanned", "by protobuf", "in JSON"])
def test_of_which_session_it_is(decoder: Decoder | None) -> None:
    """The event's, its span's, the first link's, or its own trace's; in the series of the agent that it judges."""
    for request, whose in (
        (judged(), "2"),
        (judged(links=(LINK, b"x" * 16)), "7"),
        (judged(links=(LINK,), on_span="c1"), "c1"),
        (judged(links=(LINK,), on_span="c1", on_event="c2"), "c2"),
    ):
        stream = Stream()
        stream.ingest = Ingest(stream.limits, decoder=decoder)
        stream.send(agent(7, 1, 0, 5, tenant__id="acme"))
        answer = stream.send_bytes(request.SerializeToString() if decoder else in_json(request), 8)
        assert answer == Answer() and said(stream.tally) == [(whose, "fail", 6.5)]
        (row,) = stream.flush().of("evaluation")
        where = ("acme", "helper") if len(request.resource_spans[0].scope_spans[0].spans[0].links) else ("", "judge")
        assert row["labels"] == (*where, "evaluation", "", "", "relevance", "", "", "", "") and row["failed"] == 1.0
        assert stream.tally.spans == 2 and +stream.tally.dropped == {}


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_no_evaluation_of_others(as_json: bool) -> None:
    """What Tocsin wrote back, an event of another name, and one of a span that has no good id of a trace."""
    for request in (
        judged(own=True),
        judged(event=EVALUATION_EVENT + "s"),
        judged(event="gen_ai.evaluation.results"[:-2]),
    ):
        stream = Stream()
        assert not stream.send_bytes(in_json(request) if as_json else request.SerializeToString(), 8).error
        assert stream.tally.evaluations == [] and said(stream.tally) == []


def test_decoders_see_the_same() -> None:
    """Also of an event that has several names on the wire, the last of which holds; read to the end of its memory."""
    raw = judged().SerializeToString()
    name = b"\x12\x18" + EVALUATION_EVENT.encode()
    twice = name.replace(b"result", b"resulx")
    for other in (raw, raw.replace(name, twice), judged(event="").SerializeToString(), in_json(judged())):
        compare([other], [Scanner(), GuardedScanner(1)])
    assert Scanner().scan([raw, body(EVALUATOR), raw]).judged() == [0, 2]
    assert Scanner().scan([raw.replace(name, twice)]).judged() == []
    event = judged().resource_spans[0].scope_spans[0].spans[0].events[0].SerializeToString()
    for names, is_one in ((twice + event, True), (event + twice, False)):
        (span,) = ExportTraceServiceRequest.FromString(body(EVALUATOR)).resource_spans[0].scope_spans[0].spans
        whole = _held(0x12, span.SerializeToString() + _held(0x5A, names))
        raw = _held(0x0A, _held(0x12, whole))
        compare([raw], [Scanner(), GuardedScanner(1)])
        assert Scanner().scan([raw]).judged() == [0] * is_one


def _held(tag: int, within: bytes) -> bytes:
    return bytes([tag, len(within) & 127 | 128, len(within) >> 7]) + within


def test_how_bodies_are_batched_changes_nothing() -> None:
    """Whose an evaluation is, is said by what was read until then."""
    bodies = [
        judged(links=(LINK,)).SerializeToString(),
        body(agent(7, 1, 0, 5, tenant__id="acme")),
        judged("pass", links=(LINK,), span=Sent(3, 1, 6, 8, name="judge")).SerializeToString(),
        body(agent(8, 1, 0, 9)),
    ]
    records = [Record(Signal.TRACES, raw, "p/0") for raw in bodies]
    slots = []
    for batches in ([records], [[record] for record in records], [records[:1], records[1:]]):
        ingest, tally = Ingest(IngestLimits()), Tally()
        for batch in batches:
            assert [*ingest.read_all(batch, at_ns(10), tally)]
        assert [one.said for one in tally.evaluations] == ["fail", "pass"]
        slots.append([*ingest.flush(tally)])
    assert same_slots(slots[0], slots[1]) and same_slots(slots[0], slots[2])


def changed(raw: bytes, chance: random.Random) -> Iterator[bytes]:
    """The body cut at many places, and with bytes changed."""
    for end in range(0, len(raw), 3):
        yield raw[:end]
    for _ in range(300):
        other = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            other[chance.randrange(len(raw))] = chance.randrange(256)
        yield bytes(other)


@pytest.mark.parametrize("as_json", [False, True])
def test_any_bytes_are_answered(as_json: bool) -> None:
    """A cut or changed body is read or called unreadable; decoders agree on whether it has an evaluation."""
    request = judged(links=(LINK,), on_span="c1")
    raw, stream, told = in_json(request) if as_json else request.SerializeToString(), Stream(), 0
    for other in changed(raw, random.Random(5)):
        assert isinstance(stream.send_bytes(other, 8), Answer)
        if not as_json:
            compare([other], [Scanner()])
            told += bool(Scanner().scan([other]).judged())
    stream.flush()
    assert stream.tally.evaluations and (as_json or told > 100)


def test_a_body_that_is_too_much_for_protobuf_keeps_its_spans() -> None:
    """Its evaluations are one drop. So are those of JSON that protobuf refuses."""
    request = judged()
    (span,) = request.resource_spans[0].scope_spans[0].spans
    for _ in range(MESSAGES_MAX):
        span.events.add()
    loose = in_json(judged()).replace(b'"name": "judge"', b'"name": 5')
    for raw, why in ((request.SerializeToString(), Dropped.TOO_LARGE), (loose, Dropped.MALFORMED)):
        stream = Stream()
        assert stream.send_bytes(raw, 8).error is None
        assert stream.tally.spans == 1 and stream.tally.evaluations == [] and +stream.tally.dropped == {why: 1}


def test_role_ingest_tells_their_series() -> None:
    """Role detect has the evaluation in the series of the agent that it judges."""
    raws = (body(agent(7, 1, 0, 5, tenant__id="acme")), judged(links=(LINK,)).SerializeToString())
    log = [Record(Signal.TRACES, raw, f"{TOPIC}/0") for raw in (*raws, body(agent(8, 1, 500, 900)))]
    detect, (owner,) = Detect(IngestLimits()), owners_of([log], IngestLimits())
    for _ in log:
        detect.read(owner.read(1, at_ns(1_000)), at_ns(1_000))
    cells = [detect.merge.cells.values(cell) for slot in detect.slots for cell in slot.cell.tolist()]
    assert [cell for cell in cells if cell[2] == "evaluation"] == [
        ("acme", "helper", "evaluation", "", "", "relevance", "", "", "", "")
    ]
