"""What the attributes of a metric's points say: whose they are, of which call, and of what kind."""

from dataclasses import dataclass

from service.ingest.dialects import RESOURCE_FIELDS, SPAN_NAMES, WANTED
from service.ingest.otlp.points import Labels
from service.ingest.read import read_resource, read_span
from service.ingest.vocabulary import (
    AGENT,
    AGENT_VERSION,
    MODEL_OPERATIONS,
    OTHER,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    TENANT,
    TOOL,
    TOOL_NAME,
    Reading,
    Scalar,
)

PLAIN = {
    "agent": "gen_ai.agent.name", "tenant": "tenant.id", "model": "gen_ai.request.model", "tool": "gen_ai.tool.name",
    "tool.name": "gen_ai.tool.name", "agent.name": "gen_ai.agent.name", "provider": "gen_ai.provider.name",
}  # fmt: skip
"""Plain names that metrics made by hand carry, and the attributes that they mean."""
_FAILED = frozenset(("error", "errored", "failed", "failure", "fail", "exception", "timeout"))
_TOKEN = ("gen_ai.token.type", "token.type", "token_type", "direction", "type")
_MODALITY, _TEXT = ("gen_ai.token.modality", "modality"), ("", "text", "unknown")
_TIER = (
    "openai.response.service_tier", "gen_ai.openai.response.service_tier", "gen_ai.response.service_tier",
    "openai.request.service_tier", "gen_ai.openai.request.service_tier", "gen_ai.request.service_tier", "service_tier",
)  # fmt: skip
_STANDARD = ("", "default", "standard", "standard_only", "auto", "on_demand")
_CURRENCY = ("gen_ai.usage.cost.currency", "gen_ai.cost.currency", "cost.currency", "currency")
_OUTCOME = ("outcome", "session.outcome", "agent.session.outcome")
Cell = tuple[str, ...]
"""Values of CELL_LABELS."""


@dataclass(frozen=True)
class Meaning:
    """What the attributes of one stream say, its words as they were.

    models    the one that answered, and the one asked for
    token     the kind of tokens, and `cache` which part of the input, in lower case
    currency  of what was paid, empty where no attribute says
    special   these tokens may have a price of their own: they are audio or images, or of a tier or batch
    service   who sent it
    """

    labels: Cell
    provider: str
    models: tuple[str, str]
    failed: bool
    token: str
    cache: str
    currency: str
    special: bool
    outcome: str
    service: str


def meaning(operation: str, attributes: Labels, resource: Labels, metric: str = "") -> Meaning:
    """The labels of a stream's cell, by the tables of the dialects, and the few plain names besides."""
    known: dict[str, Scalar] = {PLAIN.get(name, name): value for name, value in attributes}
    process = read_resource([(name, value) for name, value in resource if name in _RESOURCE])
    reading = Reading(is_root=True)
    read_span(reading, lambda: "", [(WANTED[name], value) for name, value in known.items() if name in WANTED])
    said = str(known.get("operation", "")).lower()
    if said and f"agent.{said}" in SPAN_NAMES:
        operation = SPAN_NAMES[f"agent.{said}"][0]
    elif reading.operation != OTHER and "gen_ai.operation.name" in known:
        operation = reading.operation
    own, is_model = reading.own, operation in MODEL_OPERATIONS
    provider, models = str(own.get(PROVIDER, "")), (str(own.get(RESPONSE_MODEL, "")), str(own.get(REQUEST_MODEL, "")))
    labels = (
        str(own.get(TENANT) or process.tenant),
        str(own.get(AGENT) or process.agent),
        operation,
        provider if is_model else "",
        (models[1] or models[0]) if is_model else "",
        str(own.get(TOOL_NAME, "")) if operation == TOOL else "",
        str(own.get(AGENT_VERSION) or process.version),
        "",
        "",
        metric,
    )
    failed = reading.failed or str(known.get("status", "")).lower() in _FAILED

    def said_of(*names: str) -> str:
        return next((str(known[name]).strip() for name in names if str(known.get(name, "")).strip()), "")

    special = _word(said_of(*_MODALITY)) not in _TEXT or _word(said_of(*_TIER)) not in _STANDARD
    return Meaning(
        labels, provider, models, failed, _word(said_of(*_TOKEN)), _word(said_of("gen_ai.token.cache")),
        said_of(*_CURRENCY), special, said_of(*_OUTCOME), process.agent,
    )  # fmt: skip


def _word(text: str) -> str:
    return text.lower().replace("-", "_").replace(".", "_").replace(" ", "_")


_RESOURCE = frozenset(name for names in RESOURCE_FIELDS.values() for name in names)
