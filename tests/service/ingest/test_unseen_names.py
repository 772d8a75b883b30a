"""Spans of which little but the name tells what they are, and what their names must not be taken for."""

import json
from pathlib import Path

import pytest

from tests.service.ingest.cases import Case, chat, found_in, kind, usage

OI_CHAT = kind("LLM", llm__model_name="gpt-4o", llm__token_count__prompt=9, llm__token_count__completion=1)

CASES = {
    # openlit 1.40 writes attributes once there is an answer.
    "a call that failed has its name alone": Case(
        (
            (1, 0, "chat gpt-4o-mini", {}),
            (2, 0, "embeddings text-embedding-3-small", {}),
            (3, 0, "chat", {}),
            (4, 0, "chat with alice", {}),
            (5, 0, "chat 4711", {}),
            (6, 0, "chat gpt-4o-mini", {"gen_ai.operation.name": "something_else"}),
        ),
        "llm 1/1, embedding 1", models=("gpt-4o-mini", "text-embedding-3-small"), failed=(1,),
    ),
    # openinference-instrumentation-beeai 0.1: events are spans of the kind of what they lie in.
    "an event is no call": Case(
        (
            (1, 0, "OpenAIChatModel", OI_CHAT),
            (2, 1, "new_token", kind("LLM")),
            (3, 1, "new_token", kind("LLM")),
            (4, 0, "error", kind("TOOL", tool__name="error")),
            (5, 0, "error", OI_CHAT),
        ),
        "llm 2/1, tool 1", (18, 2, 0, 0, 0), models=("gpt-4o",), failed=(1,),
    ),
    # opentelemetry-instrumentation-botocore: InvokeModel of whatever there is.
    "a model of embeddings embeds": Case(
        (
            (1, 0, "text_completion", chat("amazon.titan-embed-text-v2:0", "text_completion") | usage(9, 0)),
            (2, 0, "text_completion", chat("amazon.titan-text-lite-v1", "text_completion") | usage(8, 1)),
        ),
        "llm 1, embedding 1", (17, 1, 0, 0, 0), models=("amazon.titan-embed-text-v2:0", "amazon.titan-text-lite-v1"),
    ),
    # google-adk 1.39: the outer span alone knows of thoughts, as a total tells.
    "thoughts that only the outer span knows of": Case(
        (
            (1, 0, "call_llm", {"gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.5-flash",
                                "gcp.vertex.agent.llm_response": json.dumps({"usage_metadata": {
                                    "thoughts_token_count": 8, "total_token_count": 97}}), **usage(70, 19)}),
            (2, 1, "generate_content", chat("gemini-2.5-flash", "generate_content") | usage(70, 19)),
        ),
        "llm 1", (70, 27, 0, 0, 8), models=("gemini-2.5-flash",),
    ),
    # litellm 1.106: str() of a dictionary; what breaks its quotes is no document, and no error.
    "what Python prints": Case(
        (
            (1, 0, "litellm_request", chat("gpt-4o", metadata__usage_object="{'prompt_tokens_details': "
                                           "{'cached_tokens': 64, 'audio_tokens': None}}") | usage(122, 24)),
            (2, 0, "litellm_request", chat("gpt-4o", metadata__usage_object="{'it''s': 'cached_tokens'")
             | usage(8, 1)),
        ),
        "llm 2", (130, 25, 64, 0, 0), models=("gpt-4o",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_name_is_taken_for_what_it_is(name: str, tmp_path: Path) -> None:
    """Calls, failures, tokens and models of spans that are told by a name, and of those that only look so."""
    case = CASES[name]
    found = found_in(case, tmp_path / "traces.binpb")
    assert (found["calls"], found["tokens"], found["models"]) == (case.calls, case.tokens, case.models)
