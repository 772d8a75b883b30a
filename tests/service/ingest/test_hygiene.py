"""At the door: what people said is seen, counted by attribute and kept nowhere; what has no session or room is told."""

import json
from typing import Any

import pytest

from service.ingest.dialects import CONTENT
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.stage import Ingest
from tests.service.ingest.wire import FIXTURES, Stream, agent, body, chat, json_body

SECRET = "Please transfer my pension to Elbonia"
SAID = {
    "gen_ai.input.messages": SECRET, "gen_ai.tool.call.arguments": SECRET, "input.value": SECRET,
    "llm.input_messages.0.message.content": SECRET, "gen_ai.output.messages": "",
}  # fmt: skip
COUNTED = {name: 1 for name, text in SAID.items() if text}


@pytest.mark.parametrize("encoding", ["compiled", "json", "protobuf"])
def test_what_was_said_is_counted_and_not_kept(encoding: str) -> None:
    """By every decoder alike; nothing of it stands in the state that is saved."""
    stream = Stream()
    if encoding == "protobuf":
        stream.ingest = Ingest(stream.limits, decoder=ProtobufDecoder())
    call = chat(1, 2, 1, 3, 1, **{name.replace(".", "__"): text for name, text in SAID.items()})
    spans = (agent(1, 1, 0, 5), call)
    stream.send_bytes(json_body(*spans) if encoding == "json" else body(*spans), 6)
    assert stream.tally.content == COUNTED
    saved = b"".join(array.tobytes() for array in stream.ingest.snapshot().values())
    assert b"Elbonia" not in saved and b"Elbonia" not in json.dumps(stream.flush().rows()).encode()


def test_captures_are_counted_alike() -> None:
    """Compiled and not, on what real SDKs sent; and some of it is there to be counted."""
    seen = set[int]()
    for path in sorted(FIXTURES.glob("*/traces*.binpb")):
        raw = path.read_bytes()
        compiled, plain = Scanner().scan([raw]).content(), ProtobufDecoder().scan([raw]).content()
        assert compiled == plain, path
        seen |= plain.keys()
    assert len(seen) > len(CONTENT) // 3


def test_sessions_that_nothing_named_are_told_by_agent() -> None:
    """A fleet that forgot its session ids is seen for what it is."""
    stream = Stream()
    stream.send(
        agent(1, 1, 0, 5, "one"), agent(2, 1, 0, 5, "two", gen_ai__conversation__id="c"), agent(3, 1, 0, 5, "one")
    )
    stream.flush()
    assert stream.tally.sessionless == {"one": 2}


@pytest.mark.parametrize("decoder", ["compiled", "protobuf"])
def test_values_that_are_too_long_are_told_by_agent(decoder: str) -> None:
    """Tenants and models, met once or again; a value as long as may be is not among them."""
    stream = Stream()
    if decoder == "protobuf":
        stream.ingest = Ingest(stream.limits, decoder=ProtobufDecoder())
    for n in range(1, 4):
        wordy: dict[str, Any] = {"tenant__id": "t" * 201, "gen_ai__request__model": f"m-{n}"}
        stream.send(
            chat(n, 1, 0, 5, gen_ai__agent__name="wordy", **wordy),
            chat(n, 2, 0, 5, gen_ai__agent__name="neat", tenant__id="t" * 200),
        )
        stream.send(chat(n, 3, 0, 5, gen_ai__agent__name="odd", gen_ai__request__model="m" * 300))
    assert stream.flush().tally.cut == {"wordy": 3, "odd": 3}


def test_labels_that_explode_are_told_by_agent() -> None:
    """Who fills the table is named."""
    stream = Stream(cells_max=20)
    stream.send(*(chat(i, 1, 0, 5, gen_ai__agent__name="wild", gen_ai__request__model=f"m-{i}") for i in range(1, 60)))
    assert stream.flush().tally.refused["wild"] > 30
