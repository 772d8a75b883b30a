"""Pydantic AI and Logfire: the conventions, older span names, and logs that are written as spans.

Logfire scrubs attributes whose name has a word such as session in it, and says so in their place.

A stream is told twice by Logfire: a span without usage, and a log of no length that has it.

Its own integrations of providers name a span by its template, placeholders and all. What a provider said of its usage
stood in a document with the answer: numbers are taken out of it, and nothing else.

Source: pydantic-ai-slim 2.68.0, logfire 4.30.0, 4.31.0 and 5.2.0, sources and captures; logfire's tests of its OpenAI
and Anthropic integrations.
"""

from collections.abc import Iterable, Mapping

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    AUDIO_IN,
    AUDIO_OUT,
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_LONG,
    EMBEDDING,
    LLM,
    REASONING,
    REQUEST_MODEL,
    TIER,
    TOOL,
    TOTAL,
    WEB_SEARCHES,
    Dialect,
    paths,
)

_PARTS = paths(
    {
        "prompt_tokens_details.cached_tokens": CACHE_READ,
        "input_tokens_details.cached_tokens": CACHE_READ,
        "cache_read_input_tokens": CACHE_READ,
        "cache_creation_input_tokens": CACHE_WRITE,
        "completion_tokens_details.reasoning_tokens": REASONING,
        "output_tokens_details.reasoning_tokens": REASONING,
        "prompt_tokens_details.audio_tokens": AUDIO_IN,
        "completion_tokens_details.audio_tokens": AUDIO_OUT,
        "cache_creation.ephemeral_1h_input_tokens": CACHE_WRITE_LONG,
        "server_tool_use.web_search_requests": WEB_SEARCHES,
        "service_tier": TIER,
    }
)
"""What the provider said of the parts of its usage; the wholes are attributes, and have the cache in them."""

_ANTHROPICS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def _response(document: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    """The parts of usage that stand in the response alone, and what Anthropic's add up to.

    Before logfire 4.31.0 the span's input tokens were Anthropic's, which leave out the cache. The sum tells.
    """
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return
    yield from _PARTS(usage)
    counts = [usage.get(name) or 0 for name in _ANTHROPICS]
    if "cache_read_input_tokens" in usage and all(isinstance(count, int) for count in counts):
        yield TOTAL, sum(counts)


DIALECT = Dialect(
    name="logfire",
    precedence=70,
    fields={AGENT: ("agent_name",), REQUEST_MODEL: ("model_name",)},
    span_names={
        "agent run": AGENT_RUN,
        "running tool": TOOL,
        "Chat Completion with": LLM,
        "Chat completion with": LLM,
        "Completion with": LLM,
        "Message with": LLM,
        "Responses API with": LLM,
        "Embedding Creation with": EMBEDDING,
    },
    # A span with a value that was scrubbed is read with care, for that value is a text like any other.
    documents={"gen_ai.usage.raw": _PARTS, "usage": _PARTS, "logfire.scrubbed": paths({}), "response_data": _response},
    logs={"logfire.span_type": frozenset(("log", "pending_span"))},
    content=(
        "pydantic_ai.all_messages",
        "all_messages_events",
        "final_result",
        "tool_arguments",
        "tool_response",
        "request_data",
    ),
)
