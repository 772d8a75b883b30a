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
    AUDIO_IN,
    AUDIO_OUT,
    AUDIO_READ,
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_LONG,
    COST,
    EMBEDDING,
    EVALUATION,
    GUARDRAIL,
    IMAGE_IN,
    IMAGE_OUT,
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
    VIDEO_IN,
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
            (INPUT, "prompt_tokens", {"cached_tokens": CACHE_READ, "audio_tokens": AUDIO_IN}),
            (INPUT, "input_tokens", {"cached_tokens": CACHE_READ, "audio_tokens": AUDIO_IN}),
            (OUTPUT, "completion_tokens", {"reasoning_tokens": REASONING, "audio_tokens": AUDIO_OUT}),
            (OUTPUT, "output_tokens", {"reasoning_tokens": REASONING, "audio_tokens": AUDIO_OUT}),
        ):
            yield side, details.get(whole)
            held = details.get(f"{whole}_details")
            for key, field in parts.items():
                yield field, held.get(key) if isinstance(held, dict) else None
        return
    counts = {key.lower(): count for key, count in details.items() if isinstance(count, int | float)}
    sides: dict[str, list[float]] = {}
    for key, count in _without_sums(counts).items():
        side = INPUT if "input" in key or "prompt" in key else OUTPUT if "output" in key or "completion" in key else ""
        if not side:
            continue
        sides.setdefault(side, []).append(count)
        for part in _parts(key, side):
            sides.setdefault(part, []).append(count)
    if _are_inside(counts):
        sides[INPUT], sides[OUTPUT] = [counts["input"]], [counts["output"]]
    yield from ((field, sum(held)) for field, held in sides.items())


def _without_sums(counts: Mapping[str, float]) -> Mapping[str, float]:
    """The buckets without one that is the sum of two others: cache writes for an hour and for less."""
    short, long = (sum(n for key, n in counts.items() if f"ephemeral_{life}" in key) for life in ("5m", "1h"))
    if not short + long:
        return counts
    return {key: n for key, n in counts.items() if "creation" not in key or "ephemeral" in key or n != short + long}


def _are_inside(counts: Mapping[str, float]) -> bool:
    """Whether the total says that the other buckets are parts of input and output, as versions before 4.4.9 have it.

    Source: @langfuse/openai 4.4.2 and 4.4.9.
    """
    whole = counts.get("input", -1.0) + counts.get("output", -1.0)
    rest = sum(n for key, n in counts.items() if key not in ("input", "output", "total"))
    return "input" in counts and "output" in counts and rest > 0 and counts.get("total") == whole


def _parts(key: str, side: str) -> Iterator[str]:
    """The parts that a bucket is of."""
    if "cache" in key or "ephemeral" in key:
        is_write = "creation" in key or "write" in key or "ephemeral" in key
        yield CACHE_WRITE if is_write else CACHE_READ
        if "1h" in key:
            yield CACHE_WRITE_LONG
        if "audio" in key and not is_write:
            yield AUDIO_READ
    if "reasoning" in key:
        yield REASONING
    for kind, field in (("audio", AUDIO_IN), ("image", IMAGE_IN), ("video", VIDEO_IN)):
        if kind in key and side == INPUT:
            yield field
        elif kind in key and field in _COMES_OUT:
            yield _COMES_OUT[field]


_COMES_OUT = {AUDIO_IN: AUDIO_OUT, IMAGE_IN: IMAGE_OUT}


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
