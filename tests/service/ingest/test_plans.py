"""A span read by plan is what it would be read alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from service.ingest.decode import Decoder
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.plans import CompiledDecoder, Plans
from service.ingest.spans import Decoded, Spans
from service.ingest.vocabulary import Span
from tests.service.ingest.decoders import compiled
from tests.service.ingest.noise import FIXTURES, Noise
from tests.service.ingest.wire import Stream, Value, agent, body, chat, same_slots


def read(decoder: Decoder, bodies: Sequence[bytes]) -> list[Decoded]:
    """What a decoder reads of each body."""
    spans = Spans(decoder.scan(bodies))
    return [spans.of_record(row) for row in range(len(bodies))]


def facts(decoded: Decoded) -> object:
    """All that was read, comparable. A dict's order says nothing, so only the letters of its text are compared."""
    spans = [[sorted(str(getattr(span, name))) for name in _SAID] for span in decoded.spans]
    return spans, decoded.dropped, decoded.error


_SAID = [name for name in Span.__slots__ if name != "plan"]


def check(bodies: Sequence[bytes], decoder: Decoder) -> None:
    """Both decoders read the same, whether the shapes are new or known."""
    wanted = [facts(decoded) for decoded in read(ProtobufDecoder(), bodies)]
    for _ in range(2):
        for found, want, raw in zip(map(facts, read(decoder, bodies)), wanted, bodies, strict=True):
            assert found == want, raw.hex()


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/traces*.binpb")), ids=lambda path: path.parent.name)
def test_captures_mean_the_same(path: Path) -> None:
    """What real SDKs sent."""
    check([path.read_bytes()], compiled())


def test_any_spans_mean_the_same() -> None:
    """Odd and damaged bodies, whose spans have every attribute there is, of every kind."""
    noise, decoder = Noise(7), compiled()
    for _ in range(20):
        check([noise.body() for _ in range(100)], decoder)


@pytest.mark.parametrize("key", ["tenant.id", "session.id", "gen_ai.response.id", "gen_ai.usage.input_tokens",
                                 "gen_ai.agent.name", "gen_ai.provider.name", "traceloop.entity.name"])  # fmt: skip
def test_values_of_one_shape_are_each_their_own(key: str) -> None:
    """One value teaches the plan, the next follow it: fit and unfit texts, sane and insane numbers, all kinds."""
    values: list[Value] = [
        "a", "b", "é", '"q"', '""', "x\x1b", "x" * 200, "x" * 201, "12", 7, 8, 0, -3, 2**53, 2**53 + 2, 2**63 - 1,
        1.5, -1.5, float("nan"), float("inf"), True, False, "langchain", "OpenAI", "Xai",
    ]  # fmt: skip
    decoder = compiled()
    for value in values:
        check([body(chat(1, 2, 0, 1, **{key: value}), agent(1, 1, 0, 2, **{key: value}))], decoder)  # type: ignore[arg-type]


def test_names_are_part_of_a_shape_where_they_mean_something() -> None:
    """Spans that only their names tell, after others like them."""
    decoder = compiled()
    for name in ("agent.generate", "agent.tool search", "running tool: x", "elsewhere", "agent.generate", ""):
        sent = chat(1, 2, 0, 1)
        check([body(type(sent)(1, 2, 0.0, 1.0, 0, name, attributes={"agent.name": "a"}))], decoder)


def test_a_million_tenants_take_no_room() -> None:
    """Tenants and sessions are in no shape; agents are, and past the bound they are read one by one."""
    decoder = compiled()
    assert isinstance(decoder, CompiledDecoder)
    decoder.scan([body(*(chat(i, 1, 0, 1, tenant__id=f"t{i}") for i in range(1, 2_000)))])
    assert len(decoder._plans.plans) == 2  # And that of the span it was warmed up with.
    plans = Plans()
    plans._entries = 10**9
    columns = ProtobufDecoder().scan([body(chat(1, 2, 0, 1))])
    plans.recognise(columns)
    assert not plans.plans and np.all(columns.spans[:, -1] < 0)
    plans._seen = 10**9
    plans.recognise(columns)
    assert len(plans.plans) == 1


def test_both_decoders_close_the_same_slots() -> None:
    """All captures, one after the other, through the whole of ingest."""
    streams = [Stream(lateness_ns=2**60), Stream(lateness_ns=2**60)]
    streams[1].ingest._decoder = compiled()
    for path in sorted(FIXTURES.glob("*/traces*.binpb")):
        for stream in streams:
            stream.send_bytes(path.read_bytes(), 10_000_000)
    one, other = (stream.flush() for stream in streams)
    assert same_slots(one.slots, other.slots) and one.tally == other.tally and len(one.slots) > 10
