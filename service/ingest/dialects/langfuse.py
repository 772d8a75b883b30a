"""Langfuse's SDKs: user-chosen span names, and everything else in `langfuse.*`, much of it JSON in text.

Usage comes in two shapes: Langfuse's own buckets, which exclude each other and are added up, and the provider's own
object, whose totals include their parts. Version 5 writes metadata as JSON text, so a string is in quotes.

Source: langfuse attributes.ts and OtelIngestionProcessor.ts; captures of 3.15.0 and 5.0.4.
"""

from collections.abc import Iterator, Mapping

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
    LLM,
    OPERATION,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
)

_INCLUSIVE = ("prompt_tokens", "prompt_tokens_details", "input_tokens_details")
"""Keys of a provider's own usage object."""


def usage(details: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Tokens of `usage_details`.

    >>> dict(usage({"input": 95, "output": 23, "cache_read_input_tokens": 50}))
    {'input_tokens': 145, 'output_tokens': 23, 'cache_read': 50}
    """
    if any(key in details for key in _INCLUSIVE):
        for side, whole, parts in (
            (INPUT, "prompt_tokens", {"cached_tokens": CACHE_READ}),
            (INPUT, "input_tokens", {"cached_tokens": CACHE_READ}),
            (OUTPUT, "completion_tokens", {"reasoning_tokens": REASONING}),
            (OUTPUT, "output_tokens", {"reasoning_tokens": REASONING}),
        ):
            yield side, details.get(whole)
            held = details.get(f"{whole}_details")
            for key, field in parts.items():
                yield field, held.get(key) if isinstance(held, dict) else None
        return
    counts = {key.lower(): count for key, count in details.items() if isinstance(count, int | float)}
    sides: dict[str, list[float]] = {}
    for key, count in counts.items():
        side = INPUT if "input" in key or "prompt" in key else OUTPUT if "output" in key or "completion" in key else ""
        if not side:
            continue
        sides.setdefault(side, []).append(count)
        part = _part(key)
        if part:
            sides.setdefault(part, []).append(count)
    yield from ((field, sum(held)) for field, held in sides.items())


def _part(key: str) -> str:
    if "cache" in key:
        return CACHE_WRITE if "creation" in key or "write" in key else CACHE_READ
    return REASONING if "reasoning" in key else ""


def cost(details: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Dollars of `cost_details`: the total, else the sum of the parts."""
    amounts = [amount for amount in details.values() if isinstance(amount, int | float)]
    yield COST, details["total"] if "total" in details else sum(amounts) if amounts else None


_METADATA = ("langfuse.observation.metadata.", "langfuse.trace.metadata.")

DIALECT = Dialect(
    name="langfuse",
    precedence=10,
    fields={
        OPERATION: ("langfuse.observation.type",),
        AGENT: tuple(prefix + "lc_agent_name" for prefix in _METADATA),
        AGENT_BY_NAME: ("langfuse.trace.name",),
        SESSION: ("langfuse.session.id",),
        PROVIDER: ("langfuse.observation.metadata.ls_provider",),
        REQUEST_MODEL: ("langfuse.observation.metadata.ls_model_name",),
        RESPONSE_MODEL: ("langfuse.observation.model.name", "langfuse.observation.model"),
    },
    operations={
        "generation": LLM,
        "embedding": EMBEDDING,
        "retriever": RETRIEVAL,
        "tool": TOOL,
        "agent": AGENT_RUN,
        "chain": WORKFLOW,
        "guardrail": GUARDRAIL,
        "evaluator": EVALUATION,
    },
    entity={TOOL: TOOL_NAME, RETRIEVAL: TOOL_NAME, AGENT_RUN: AGENT_BY_NAME},
    documents={"langfuse.observation.usage_details": usage, "langfuse.observation.cost_details": cost},
    failures={"langfuse.observation.level": frozenset(("error",))},
    content=(
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.trace.input",
        "langfuse.trace.output",
    ),
)
