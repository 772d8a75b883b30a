"""Pydantic AI and Logfire: the conventions, older span names, and logs that are written as spans.

A stream is told twice by Logfire: a span without usage, and a log of no length that has it.

Its own integrations of providers name a span by its template, placeholders and all.

Source: pydantic-ai-slim 2.68.0 and logfire 5.2.0, sources and captures; logfire's tests of its OpenAI and Anthropic
integrations.
"""

from service.ingest.vocabulary import AGENT, AGENT_RUN, EMBEDDING, LLM, REQUEST_MODEL, TOOL, Dialect

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
    logs={"logfire.span_type": frozenset(("log", "pending_span"))},
    content=(
        "pydantic_ai.all_messages",
        "all_messages_events",
        "final_result",
        "tool_arguments",
        "tool_response",
        "request_data",
        "response_data",
    ),
)
