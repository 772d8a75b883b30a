"""Any bytes get an answer, never an exception."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batch import Answer, Dropped, Signal
from service.ingest.vocabulary import LABEL_CHARACTERS_MAX
from tests.service.ingest.wire import FIXTURES, Sent, Stream, Value, agent, body, chat, json_body

BODIES = sorted([*FIXTURES.glob("*/*.binpb"), *FIXTURES.glob("*/*.otlp.json")])
SIGNALS = {"traces": Signal.TRACES, "metrics": Signal.METRICS, "logs": Signal.LOGS}
FAR_S = 10_000_000


def answer_to(stream: Stream, raw: bytes, signal: Signal) -> Answer:
    """The answer to a body; the slots that it leads to must be possible to make, too."""
    answer = stream.send_bytes(raw, FAR_S, signal=signal)
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize("path", BODIES[::3], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_cut_or_changed_body_is_answered(path: Path) -> None:
    """Every capture cut at many places, or with bytes changed, is read or called unreadable."""
    raw = path.read_bytes()
    signal = SIGNALS[path.name.split("-")[0]]
    chance = random.Random(len(raw))
    stream = Stream()
    for end in range(0, len(raw), max(1, len(raw) // 40)):
        answer_to(stream, raw[:end], signal)
    for _ in range(40):
        changed = bytearray(raw)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(raw))] = chance.randrange(256)
        answer_to(stream, bytes(changed), signal)
    stream.flush()


@given(st.binary(max_size=400), st.sampled_from(list(Signal)))
@settings(max_examples=300, deadline=None)
def test_noise_is_answered(raw: bytes, signal: Signal) -> None:
    """Random bytes are read or called unreadable, as protobuf and as JSON."""
    stream = Stream()
    answer_to(stream, raw, signal)
    answer_to(stream, b"{" + raw, signal)
    stream.flush()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "attributes",
                    "key",
                    "value",
                    "resource",
                    "status",
                    "code",
                    "traceId",
                    "startTimeUnixNano",
                    "intValue",
                    "resourceMetrics",
                    "scopeMetrics",
                    "metrics",
                    "gauge",
                    "dataPoints",
                    "resourceLogs",
                    "scopeLogs",
                    "logRecords",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(list(Signal)))
@settings(max_examples=300, deadline=None)
def test_json_of_any_shape_is_answered(document: object, signal: Signal) -> None:
    """A JSON body whose parts have the wrong types is read or called unreadable."""
    answer_to(Stream(), json.dumps(document).encode(), signal)
    answer_to(Stream(), json.dumps({"resourceSpans": document, "resourceMetrics": document}).encode(), signal)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0a" * 7 + b"\xff",
        b"{",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans": [[]]}',
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"resourceSpans": ' + b"9" * 5000 + b"}",
        b'{"a": "\xff"}',
    ],
    ids=["junk", "open", "number", "lists", "deep", "long-number", "not-utf8"],
)
def test_an_unreadable_body_says_so(raw: bytes) -> None:
    """A body that is no OTLP is refused as a whole and counted as malformed."""
    stream = Stream()
    assert answer_to(stream, raw, Signal.TRACES).error
    assert stream.dropped(Dropped.MALFORMED) == 1


def test_deeply_nested_protobuf_is_refused() -> None:
    """An attribute nested a thousand lists deep is malformed, not a stack overflow."""
    value = b"\x0a\x01x"
    for _ in range(1000):
        value = b"\x2a" + varint(len(value) + 1 + len(varint(len(value)))) + b"\x0a" + varint(len(value)) + value
    pair = b"\x0a\x01k\x12" + varint(len(value)) + value
    span = b"\x4a" + varint(len(pair)) + pair
    scope = b"\x12" + varint(len(span)) + span
    group = b"\x12" + varint(len(scope)) + scope
    assert answer_to(Stream(), b"\x0a" + varint(len(group)) + group, Signal.TRACES).error


def varint(number: int) -> bytes:
    """A protobuf varint."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_a_body_over_the_limit_is_not_read() -> None:
    """A body of more bytes than allowed is refused unread."""
    stream = Stream(body_bytes_max=10)
    assert answer_to(stream, b"x" * 11, Signal.TRACES).error
    assert stream.dropped(Dropped.TOO_LARGE) == 1


def test_nothing_is_a_good_body() -> None:
    """An empty request is a success in both encodings."""
    assert answer_to(Stream(), b"", Signal.TRACES) == Answer()
    assert answer_to(Stream(), b" \n{}", Signal.TRACES) == Answer()


def test_json_and_protobuf_say_the_same() -> None:
    """The same spans in either encoding give the same rows."""
    spans = (agent(1, 1, 0, 9, tenant="acme"), chat(1, 2, 1, 5, parent=1), chat(2, 3, 2, 4, error__type="timeout"))
    protobuf, json_text = Stream(), Stream()
    protobuf.send_bytes(body(*spans), 10)
    json_text.send_bytes(json_body(*spans), 10)
    assert protobuf.flush().rows() == json_text.flush().rows() != []


def test_json_ids_in_base64_are_rejected_with_that_reason() -> None:
    """protobuf's own JSON has base64 ids; OTLP/JSON has hex, and the answer says so."""
    raw = json_body(chat(1, 2, 0, 1)).replace(b"0" * 31 + b"1", b"AAAAAAAAAAAAAAAAAAAAAQ==")
    answer = answer_to(Stream(), raw, Signal.TRACES)
    assert (answer.error, answer.rejected) == (None, 1)
    assert "hex" in answer.message


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (chat(0, 1, 1, 2), Dropped.BAD_ID),
        (chat(1, 0, 1, 2), Dropped.BAD_ID),
        (chat(1, 1, -1_790_000_000, 2), Dropped.BAD_TIME),
        (chat(1, 1, 0, FAR_S + 301), Dropped.FUTURE),
        (chat(1, 1, 0, 10 * 365 * 86_400), Dropped.FUTURE),
    ],
    ids=["no-trace-id", "no-span-id", "no-start", "five-minutes-ahead", "ten-years-ahead"],
)
def test_a_bad_span_is_left_out_alone(sent: Sent, reason: Dropped) -> None:
    """One bad span is rejected with its reason; the good one beside it is kept."""
    stream = Stream()
    answer = answer_to(stream, body(sent, chat(7, 7, 3, 4)), Signal.TRACES)
    assert (answer.rejected, stream.dropped(reason), stream.tally.spans) == (1, 1, 1)
    assert str(reason) in answer.message
    assert [row["count"] for row in stream.flush().of("llm")] == [1.0]


@pytest.mark.parametrize("value", [-5, float("nan"), float("inf"), -0.5, 2.0**60, "many", "-3", "1e400"])
def test_an_insane_number_is_counted_and_unread(value: Value) -> None:
    """Tokens that are negative, NaN, infinite or absurd are left out; the call still counts."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 1, gen_ai__usage__input_tokens=value), now_s=2)
    (row,) = stream.flush().of("llm")
    assert (row["count"], row["input_tokens"], row["output_tokens"]) == (1.0, 0.0, 10.0)
    assert stream.dropped(Dropped.BAD_NUMBER) == 1


def test_numbers_may_be_text() -> None:
    """Some senders write tokens as strings or doubles."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 1, gen_ai__usage__input_tokens="120", gen_ai__usage__output_tokens=7.0), now_s=2)
    (row,) = stream.flush().of("llm")
    assert (row["input_tokens"], row["output_tokens"]) == (120.0, 7.0)


def test_labels_are_fit_to_print() -> None:
    """Control and bidi characters and lone surrogates never reach a label, and none is longer than allowed."""
    name = "a\x1b[31m\u202eb\ud800\x85" + "x" * 500
    stream = Stream()
    stream.send_bytes(json_body(agent(1, 1, 0, 1, name=name)), 2)
    (row,) = stream.flush().of("agent")
    labels = row["labels"]
    assert isinstance(labels, tuple)
    assert labels[1].startswith("a\ufffd[31m\ufffdb\ufffd\ufffdxxx")
    assert len(labels[1]) == LABEL_CHARACTERS_MAX
    assert labels[1].encode()


@pytest.mark.parametrize("length", range(90, 160))
def test_protobuf_of_any_length_is_protobuf(length: int) -> None:
    """A length may look like an opening brace after a newline; that does not make a body JSON."""
    name = "x" * (length - 86)
    raw = body(Sent(1, 1, 0, 1, 0, name))
    stream = Stream()
    assert stream.send_bytes(raw, 2).error is None
    assert stream.send_bytes(b"\n" + json_body(Sent(2, 1, 0, 1, 0, name)), 2).error is None
    assert stream.tally.spans == 2
