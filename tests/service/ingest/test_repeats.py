"""Tools that are called again with the same arguments, and what retrievals find: numbers, and never the text."""

import json
from typing import Any

import pytest

from detectors.core.signals import SIGNALS, Quantile
from service.ingest.dialects import CONTENT, HASHED
from service.ingest.kernel.columns import text_number
from tests.service.ingest.test_cases import protobuf
from tests.service.ingest.test_neighbours import TOOL, body, span
from tests.service.ingest.test_reasons import share, tick_of
from tests.service.ingest.wire import Stream

SECRET = '{"order": "4711-secret"}'
RETRIEVAL = {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "docs"}


def called(number: int, arguments: str, key: str = "gen_ai.tool.call.arguments", **more: Any) -> dict[str, Any]:
    return span(number, TOOL | {key: arguments} | more)


@pytest.mark.parametrize(
    "key", ["gen_ai.tool.call.arguments", "input.value", "traceloop.entity.input", "ai.toolCall.args", "tool.input"]
)
def test_a_repeat_is_the_same_tool_with_the_same_arguments(key: str) -> None:
    """Within a trace: of four calls of one tool, two say what one before them said."""
    same = [called(number, SECRET, key) for number in (1, 2, 3)]
    assert share(body(*same, called(4, '{"order": "5"}', key)), "repeat_share") == 0.5


def test_another_tool_is_another_call() -> None:
    """With the same arguments; and so is what tells no arguments."""
    other = called(2, SECRET, **{"gen_ai.tool.name": "another"})
    assert share(body(called(1, SECRET), other, span(3, TOOL)), "repeat_share") == 0
    assert share(body(called(1, "a"), called(2, "b")), "repeat_share") == 0


def test_another_trace_is_another_story() -> None:
    """Each trace of an agent may ask the same once."""
    stream = Stream()
    for trace in ("a", "b"):
        raw = json.loads(body(called(1, SECRET)))
        for each in raw["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            each["traceId"] = trace * 32
        stream.send_bytes(protobuf(json.dumps(raw).encode()), 2)
    endings = [int(bucket) for slot in stream.flush().slots for bucket in slot.ending.bucket]
    assert len(set(endings)) == 1


def test_nothing_of_the_text_is_kept() -> None:
    """Neither in what is saved nor among the words; only that there was such an attribute is counted."""
    stream = Stream()
    stream.send_bytes(protobuf(body(called(1, SECRET), called(2, SECRET, "input.value"))), 2)
    saved = b"".join(array.tobytes() for array in stream.ingest.snapshot().values())
    assert b"secret" not in saved and b"4711" not in saved
    assert "gen_ai.tool.call.arguments" in CONTENT and "gen_ai.tool.call.arguments" in HASHED


def test_long_arguments_differ_by_their_ends_and_size() -> None:
    """No more than a KiB is looked at, whatever a sender writes."""
    long = "x" * 100_000
    numbers = [text_number(text.encode()) for text in (long, long + "x", "y" + long[1:], long[:-1] + "y", long)]
    assert len(set(numbers)) == 4 and numbers[0] == numbers[4]
    assert all(0 <= number < 2**52 and number == int(number) for number in numbers)


def listed(documents: int) -> dict[str, Any]:
    """So many documents as OpenInference writes them."""
    return {f"retrieval.documents.{place}.document.content": SECRET for place in range(documents)}


@pytest.mark.parametrize(
    ("said", "empty", "short"),
    [
        ({"gen_ai.retrieval.hits": 0}, 1, 1),
        ({"db.response.returned_rows": 2, "gen_ai.retrieval.top_k": 5}, 0, 1),
        ({"retrieval.num_results": "5", "top_k": 5}, 0, 0),
        ({"retrieval.documents.0.document.score": 0.8}, 0, 0),
        ({"gen_ai.retrieval.documents": "[]"}, 1, 1),
        ({"gen_ai.retrieval.documents": '[{"id": "a", "score": 0.5}]', "gen_ai.retrieval.top_k": 3}, 0, 1),
        ({**listed(3), "top_k": 5}, 0, 1),
        ({**listed(5), "top_k": 5}, 0, 0),
        ({**listed(2), "retrieval.documents.3.document.score": 0.1, "top_k": 4}, 0, 0),
        ({**listed(2), "retrieval.hits": 5, "top_k": 5}, 0, 0),
        # Only so many are told apart: what lists all of those may have found what it asked for.
        ({**listed(90), "top_k": 90}, 0, 0),
        ({**listed(63), "top_k": 90}, 0, 1),
    ],
)  # fmt: skip
def test_what_a_retrieval_found(said: dict[str, Any], empty: float, short: float) -> None:
    """Nothing, less than it asked for, or all, however it is told."""
    raw = body(span(1, RETRIEVAL | said), span(2, RETRIEVAL))
    assert (share(raw, "empty_retrieval_share"), share(raw, "short_retrieval_share")) == (empty, short)


def test_the_best_score() -> None:
    """Of the retrievals that tell one, by name or among their documents."""
    documents = {"gen_ai.retrieval.documents": '[{"id": "a", "score": 0.25}, {"id": "b", "score": 0.5}]'}
    for raw in (body(span(1, RETRIEVAL | documents)), body(span(1, RETRIEVAL | {"retrieval.top_score": 0.5}))):
        made = SIGNALS["retrieval_score_p50"].of
        assert isinstance(made, Quantile)
        scores = made.histogram(tick_of(protobuf(raw)))
        assert (scores.bucket.tolist(), scores.count.tolist()) == ([-9], [1.0])


@pytest.mark.parametrize("said", ["[", "[1, 2", '[{"score": "high"}, 3]', '{"score": 1}', "[" * 1000])
def test_documents_that_are_none(said: str) -> None:
    """They are passed over; what is a list of something still has a length."""
    tick = tick_of(protobuf(body(span(1, RETRIEVAL | {"gen_ai.retrieval.documents": said}))))
    assert tick.count.sum() == 2 and len(tick.score.cell) == 0  # The call, and its session.


def test_a_tool_that_tells_its_models_response_id_is_no_answer_of_it() -> None:
    """Some SDKs write the id of the response that asked for a tool on its span: the model's still counts."""
    answered = {"gen_ai.response.id": "r-1"}
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"} | answered
    tick = tick_of(protobuf(body(span(1, TOOL | answered), span(2, chat))))
    assert tick.count.sum() == 3  # The tool's call, the model's, and their session.
