"""TrueFoundry's gateway: a request, and in it a span for each model that was tried.

What was asked for tells a model's span better than its type, which is `Model` for embeddings too.

Source: truefoundry.com/docs/ai-gateway/fetch-request-logs-span-attributes.
"""

from service.ingest.vocabulary import (
    CACHE_READ,
    CACHE_WRITE,
    COST,
    EMBEDDING,
    GUARDRAIL,
    INPUT,
    LLM,
    OPERATION,
    OUTPUT,
    REQUEST_MODEL,
    RETRIEVAL,
    TOOL,
    TOOL_NAME,
    Dialect,
)

_METRIC = "tfy.model.metric."

DIALECT = Dialect(
    name="truefoundry",
    precedence=61,
    fields={
        OPERATION: ("tfy.model.request_type", "tfy.span_type"),
        REQUEST_MODEL: ("tfy.model.name", "tfy.request.model_name"),
        TOOL_NAME: ("tfy.mcp.tool.name", "tfy.mcp_tool.name"),
        INPUT: (_METRIC + "input_tokens",),
        OUTPUT: (_METRIC + "output_tokens",),
        CACHE_READ: (_METRIC + "cache_read_input_tokens",),
        CACHE_WRITE: (_METRIC + "cache_creation_input_tokens",),
        COST: (_METRIC + "cost_in_usd",),
    },
    operations={
        **dict.fromkeys(("chatcompletion", "completion", "createmodelresponse", "model"), LLM),
        "embedding": EMBEDDING,
        "rerank": RETRIEVAL,
        "mcp": TOOL,
        "guardrail": GUARDRAIL,
    },
    content=("tfy.input", "tfy.output", "tfy.input_short_hand"),
)
