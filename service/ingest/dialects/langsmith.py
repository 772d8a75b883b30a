"""LangSmith's OpenTelemetry exporter: the run's type tells what it is, never `gen_ai.operation.name`.

That one says `embeddings` of a retriever and `chat` of a prompt. `langsmith.trace.session_id` is the project.

Source: langsmith 0.15.0, _otel_exporter.py, and its capture.
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    EMBEDDING,
    INPUT,
    LLM,
    OPERATION,
    OTHER,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
    paths,
)

_USAGE = paths(
    {
        "input_tokens": INPUT,
        "output_tokens": OUTPUT,
        "input_token_details.cache_read": CACHE_READ,
        "input_token_details.cache_creation": CACHE_WRITE,
        "output_token_details.reasoning": REASONING,
        "total_cost": COST,
    }
)

DIALECT = Dialect(
    name="langsmith",
    precedence=20,
    fields={
        OPERATION: ("langsmith.span.kind",),
        AGENT: ("langsmith.metadata.lc_agent_name",),
        SESSION: (
            "langsmith.metadata.thread_id",
            "langsmith.metadata.session_id",
            "langsmith.metadata.conversation_id",
        ),
        PROVIDER: ("langsmith.metadata.ls_provider",),
        REQUEST_MODEL: ("langsmith.metadata.ls_model_name",),
    },
    operations={
        "llm": LLM,
        "embedding": EMBEDDING,
        "retriever": RETRIEVAL,
        "tool": TOOL,
        "agent": AGENT_RUN,
        "chain": WORKFLOW,
        "prompt": OTHER,
        "parser": OTHER,
    },
    entity={TOOL: TOOL_NAME, RETRIEVAL: TOOL_NAME},
    roots=frozenset((WORKFLOW, AGENT_RUN)),
    documents={"langsmith.metadata.usage_metadata": _USAGE, "langsmith.usage_metadata": _USAGE},
)
