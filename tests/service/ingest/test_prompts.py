"""Prompts and their versions: told once for each agent, never their text, and bounded."""

from typing import Any

import pytest

from detectors.core.columns import Pairs
from service.ingest.join.lexicon import PROMPTS_MAX
from tests.service.ingest.test_cases import protobuf
from tests.service.ingest.test_neighbours import body, span
from tests.service.ingest.wire import Stream

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}


def first(*said: dict[str, Any]) -> Pairs:
    """What is told of the prompts of some calls."""
    stream = Stream()
    stream.send_bytes(protobuf(body(*(span(number, CHAT | each) for number, each in enumerate(said, 1)))), 2)
    return tuple(pair for slot in stream.flush().slots for pair in slot.firsts.prompts)


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ({"langfuse.observation.prompt.name": "triage", "langfuse.observation.prompt.version": 12}, "triage 12"),
        ({"llm.prompt_template.version": "v1.0"}, "v1.0"),
        ({"traceloop.prompt.key": "joke", "traceloop.prompt.version": 1}, "joke 1"),
        ({"prompt_id": "prompt1234", "prompt_version": "1"}, "prompt1234 1"),
    ],
)
def test_which_prompt_it_was(said: dict[str, Any], prompt: str) -> None:
    """A name and a version, or a version alone; told twice it is one."""
    ((_, told),) = first(said, said)
    assert told == prompt


def test_a_name_alone_is_no_version() -> None:
    """Nothing can be new of it; and what is empty is none."""
    assert first({"langfuse.observation.prompt.name": "triage"}, {"llm.prompt_template.version": ""}) == ()


def test_the_text_of_a_prompt_is_never_read() -> None:
    said = {"llm.prompt_template.template": "SECRET {x}", "llm.prompt_template.version": "2"}
    ((_, told),) = first(said)
    assert told == "2"


def test_a_version_for_each_call_takes_no_room_of_others() -> None:
    """So many are told apart; the calls of the others count as ever."""
    stream, made = Stream(), PROMPTS_MAX + 50
    for at in range(0, made, 500):
        spans = [span(n, CHAT | {"prompt_version": f"p{n}"}) for n in range(at + 1, min(at + 501, made + 1))]
        stream.send_bytes(protobuf(body(*spans)), 2)
    slots = stream.flush().slots
    assert sum(len(slot.firsts.prompts) for slot in slots) == PROMPTS_MAX - 1
    assert {stream.ingest.cells.values(cell)[4] for slot in slots for cell in slot.cell} == {"gpt-4o", ""}
