"""What a span is counted by, as the rules would be told: see `reference.py`."""

from collections.abc import Callable

from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_VERSION,
    LLM,
    PROMPT_USED,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    STORE,
    TENANT,
    TOOL,
    TOOL_NAME,
)
from tests.service.ingest.reference_spans import Span

Labels = tuple[str, str, str, str, str, str, str, str, str]


def labels(span: Span) -> Labels:
    """Tenant, agent, operation, provider, model, tool and version: its own word, else its nearest ancestor's, else its
    trace's, else its resource's. Its own prompt; and the model that answered, if it is not the one above.
    """

    def nearest(said: Callable[[Span], str]) -> str:
        return said(span) or next((word for row in span.ancestors() if (word := said(row))), "")

    trace, provider, model = span.trace, "", ""
    if span.is_model:
        provider, model = nearest(lambda row: row.says(PROVIDER)), span.says(REQUEST_MODEL) or span.says(RESPONSE_MODEL)
        model = model or nearest(lambda row: row.says(REQUEST_MODEL))
    if span.operation == LLM:
        provider, model = provider or trace.default(PROVIDER), model or trace.default(REQUEST_MODEL)
    agent = nearest(lambda row: row.says(AGENT)) or trace.default(AGENT) or _agent_by_name(span)
    spelled = (each for each in (trace.default(AGENT), trace.default(AGENT_BY_NAME)) if _folded(each) == _folded(agent))
    agent = (next(spelled, agent) if agent else "") or span.resource.agent
    version = nearest(lambda row: row.says(AGENT_VERSION)) or trace.default(AGENT_VERSION) or span.resource.version
    tenant = nearest(lambda row: row.says(TENANT) or row.resource.tenant) or trace.default(TENANT)
    answered = span.says(RESPONSE_MODEL) if span.is_model else ""
    prompt = span.says(PROMPT_USED) if span.is_model else ""
    answered = "" if answered == model else answered
    return tenant, agent, span.operation, provider, model, _tool(span), version, prompt, answered


def _folded(name: str) -> bytes:
    """What two spellings of one name have in common."""
    return name.encode(errors="replace").lower().translate(None, b" -_")


def _tool(span: Span) -> str:
    """The tool's or the store's name; one that names none is part of the one that it lies in."""
    if span.operation not in (TOOL, RETRIEVAL):
        return ""
    own = (span.operation == RETRIEVAL and span.says(STORE)) or span.says(TOOL_NAME)
    outer = next(span.ancestors(), None)
    if not own and outer is not None and outer.operation == span.operation:
        return outer.says(TOOL_NAME)
    return own


def _agent_by_name(span: Span) -> str:
    """The agent that the name of a span tells, or that of an ancestor, or of another span of the trace."""
    trace, by_name = span.trace, span.trace.default(AGENT_BY_NAME)
    if not by_name and trace.root:
        return ""
    orphans = [each for each in trace.spans.values() if each.parent is None]
    for row in (span, *span.ancestors()):
        is_alone = not trace.root and len(trace.spans) <= 64 and orphans in ([row], [])
        is_top = row.parent is None and (not row.parent_id or row.is_remote or is_alone)
        if row.says(AGENT_BY_NAME) and (is_top or not row.reading.names_top):
            return row.says(AGENT_BY_NAME)
    return by_name
