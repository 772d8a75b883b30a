"""OpenInference (Phoenix, Arize): `openinference.span.kind`, `llm.*`, and metadata as JSON in text.

`llm.model_name` is the model that answered once there is an answer; the one asked for is in the invocation
parameters. A handoff is a span of kind TOOL without a tool's name.

Source: openinference spec/semantic_conventions.md and wheels 0.1.42; captures of its instrumentations.
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    EMBEDDING,
    EVALUATION,
    GUARDRAIL,
    INPUT,
    INPUT_COST,
    LLM,
    OPERATION,
    OTHER,
    OUTPUT,
    OUTPUT_COST,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    TOOL,
    TOOL_NAME,
    TOTAL,
    WORKFLOW,
    Dialect,
    paths,
)

_REQUEST = paths({"model": REQUEST_MODEL, "model_name": REQUEST_MODEL, "model_id": REQUEST_MODEL})
_PARAMETERS = ("llm.invocation_parameters", "embedding.invocation_parameters")

DIALECT = Dialect(
    name="openinference",
    precedence=30,
    fields={
        OPERATION: ("openinference.span.kind",),
        AGENT: ("agent.name",),
        PROVIDER: ("llm.provider", "llm.system"),
        REQUEST_MODEL: ("llm.request.model_name",),
        RESPONSE_MODEL: (
            "llm.response.model_name",
            "llm.model_name",
            "embedding.model_name",
            "reranker.model_name",
        ),
        TOOL_NAME: ("tool.name",),
        INPUT: ("llm.token_count.prompt",),
        OUTPUT: ("llm.token_count.completion",),
        TOTAL: ("llm.token_count.total",),
        CACHE_READ: ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
        CACHE_WRITE: ("llm.token_count.prompt_details.cache_write",),
        REASONING: ("llm.token_count.completion_details.reasoning",),
        COST: ("llm.cost.total",),
        INPUT_COST: ("llm.cost.prompt",),
        OUTPUT_COST: ("llm.cost.completion",),
    },
    operations={
        "llm": LLM,
        "embedding": EMBEDDING,
        "retriever": RETRIEVAL,
        "reranker": RETRIEVAL,
        "tool": TOOL,
        "agent": AGENT_RUN,
        "chain": WORKFLOW,
        "decision": WORKFLOW,
        "guardrail": GUARDRAIL,
        "evaluator": EVALUATION,
        "prompt": OTHER,
    },
    entity={TOOL: TOOL_NAME, RETRIEVAL: TOOL_NAME, AGENT_RUN: AGENT_BY_NAME},
    roots=frozenset((WORKFLOW,)),
    # A method of LlamaIndex that asks nobody; BeeAI's events, which are of the kind of the span they lie in.
    steps=frozenset(("_prepare_chat_with_tools", "new_token", "partial_update", "update", "retry", "error")),
    means={INPUT: LLM, OUTPUT: LLM},
    documents=dict.fromkeys(_PARAMETERS, _REQUEST),
    alike=frozenset(_PARAMETERS),
    content=(
        "input.value",
        "output.value",
        "llm.input_messages.0.message.content",
        "llm.output_messages.0.message.content",
        "llm.input_messages.0.message.contents.0.message_content.text",
        "llm.output_messages.0.message.contents.0.message_content.text",
        "retrieval.documents.0.document.content",
    ),
)
