"""Braintrust's OpenTelemetry SDKs: what a span is, its model and its usage are JSON objects in text.

Source: braintrustdata's Java, Go and Ruby SDKs, sources and tests; its attributes for spans of others.
"""

from service.ingest.dialects.metadata import METADATA
from service.ingest.vocabulary import (
    CACHE_READ,
    CACHE_WRITE,
    COST,
    EVALUATION,
    INPUT,
    LLM,
    OPERATION,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    TOOL,
    TOOL_NAME,
    TOTAL,
    WORKFLOW,
    Dialect,
    paths,
)

_USAGE = {
    "prompt_tokens": INPUT,
    "completion_tokens": OUTPUT,
    "tokens": TOTAL,
    "prompt_cached_tokens": CACHE_READ,
    "prompt_cache_creation_tokens": CACHE_WRITE,
    "completion_reasoning_tokens": REASONING,
    "estimated_cost": COST,
}

DIALECT = Dialect(
    name="braintrust",
    precedence=64,
    fields={
        OPERATION: ("braintrust.span_attributes.type",),
        PROVIDER: ("braintrust.metadata.provider",),
        REQUEST_MODEL: ("braintrust.metadata.model",),
        **{field: ("braintrust.metrics." + key,) for key, field in _USAGE.items()},
    },
    operations={
        "llm": LLM,
        "tool": TOOL,
        "task": WORKFLOW,
        "function": WORKFLOW,
        "eval": WORKFLOW,
        "score": EVALUATION,
    },
    entity={TOOL: TOOL_NAME},
    documents={
        "braintrust.span_attributes": paths({"type": OPERATION}),
        "braintrust.metadata": paths({"model": REQUEST_MODEL, "provider": PROVIDER, **METADATA}),
        "braintrust.metrics": paths(_USAGE),
    },
    alike=frozenset(("braintrust.span_attributes",)),
    content=("braintrust.input_json", "braintrust.output_json", "braintrust.input", "braintrust.output"),
)
