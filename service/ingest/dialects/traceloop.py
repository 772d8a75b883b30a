"""OpenLLMetry (Traceloop): the conventions, its own `traceloop.*` beside them, and the `llm.*` names of before.

The look-ups of its vector stores are told by their names alone.

Source: traceloop/openllmetry wheels 0.40-0.62.4 and their captures; its instrumentation packages' sources.
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    EMBEDDING,
    ENTITY,
    GUARDRAIL,
    INPUT,
    LLM,
    OPERATION,
    OTHER,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    TOTAL,
    WORKFLOW,
    Dialect,
    paths,
)

_PROPERTIES = "traceloop.association.properties."

DIALECT = Dialect(
    name="traceloop",
    precedence=60,
    fields={
        OPERATION: ("gen_ai.operation.name", "llm.request.type", "gen_ai.request.type", "traceloop.span.kind"),
        ENTITY: ("traceloop.entity.name",),
        AGENT: (_PROPERTIES + "lc_agent_name",),
        AGENT_BY_NAME: ("traceloop.workflow.name",),
        SESSION: tuple(_PROPERTIES + key for key in ("session_id", "thread_id", "conversation_id", "chat_id")),
        PROVIDER: ("llm.vendor", _PROPERTIES + "ls_provider"),
        REQUEST_MODEL: ("llm.request.model", _PROPERTIES + "ls_model_name"),
        RESPONSE_MODEL: ("llm.response.model",),
        INPUT: ("llm.usage.prompt_tokens",),
        OUTPUT: ("llm.usage.completion_tokens",),
        TOTAL: ("llm.usage.total_tokens",),
        REASONING: ("llm.usage.reasoning_tokens",),
    },
    operations={
        "completion": LLM,
        "chat": LLM,
        "embedding": EMBEDDING,
        "rerank": RETRIEVAL,
        "vector_db_retrieve": RETRIEVAL,
        "execute_task": WORKFLOW,
        "workflow": WORKFLOW,
        "task": WORKFLOW,
        "agent": AGENT_RUN,
        "tool": TOOL,
    },
    span_names={
        "vector_db_retrieve": RETRIEVAL,
        **dict.fromkeys(("chroma.query", "pinecone.query", "lancedb.search", "marqo.search"), RETRIEVAL),
        **dict.fromkeys(("milvus.search", "milvus.hybrid_search", "milvus.query"), RETRIEVAL),
        **dict.fromkeys(("qdrant.search", "qdrant.search_batch", "qdrant.query_points"), RETRIEVAL),
        "chroma.query.segment": OTHER,
    },
    means={INPUT: LLM, OUTPUT: LLM, RESPONSE_MODEL: LLM},
    implies={"gen_ai.guardrail.name": GUARDRAIL},
    entity={TOOL: TOOL_NAME, RETRIEVAL: TOOL_NAME, AGENT_RUN: AGENT_BY_NAME},
    # What Anthropic said, just as it is; the one for Python adds the cache to it, under the same names.
    # And so says Bedrock of a conversation: the one for it hands that on, and adds up a total of what it has.
    apart_scopes=("@traceloop/instrumentation-anthropic", "opentelemetry.instrumentation.bedrock"),
    failures={"gen_ai.task.status": frozenset(("failure",))},
    # What a crew used, of models that may have no spans.
    documents={
        "crewai.crew.usage_metrics": paths(
            {
                "prompt_tokens": INPUT,
                "completion_tokens": OUTPUT,
                "total_tokens": TOTAL,
                "cached_prompt_tokens": CACHE_READ,
                "cache_creation_tokens": CACHE_WRITE,
                "reasoning_tokens": REASONING,
            }
        )
    },
    content=(
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.content",
        "gen_ai.completion.0.tool_calls.0.arguments",
        "traceloop.entity.input",
        "traceloop.entity.output",
    ),
)
