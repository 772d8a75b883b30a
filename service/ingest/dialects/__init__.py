"""Every dialect's tables in one, so that a span is read by field and not by who is thought to have sent it.

A dialect is a module of this package with a `DIALECT`; it is found by being here.
"""

import json
import math
import pkgutil
from collections.abc import Mapping
from importlib import import_module

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    AGENT_VERSION,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    ERROR_TYPE,
    INPUT,
    LABEL_CHARACTERS_MAX,
    NUMBERS,
    OPERATION,
    OTHER,
    OUTCOME,
    OUTPUT,
    PROVIDER,
    REASONING,
    RESPONSE_MODEL,
    SESSION,
    TENANT,
    TOOL,
    TOOL_NAME,
    Dialect,
    Own,
    Resource,
    Scalar,
    Span,
    label,
    provider_name,
)

DOCUMENT_CHARACTERS_MAX = 65_536
"""A longer JSON attribute is not read: metadata is short, prompts are not our business."""
NUMBER_MAX = float(2**53)
_RANKS_PER_DIALECT = 1000


def _found() -> tuple[Dialect, ...]:
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    dialects: list[Dialect] = [module.DIALECT for module in modules]
    return tuple(sorted(dialects, key=lambda dialect: (dialect.precedence, dialect.name)))


DIALECTS = _found()
"""All dialects, the one believed first at the head."""


def _ranked() -> dict[str, tuple[str, int]]:
    ranked: dict[str, tuple[str, int]] = {}
    for number, dialect in enumerate(DIALECTS):
        names = [(name, field) for field, names in dialect.fields.items() for name in names]
        for place, (name, field) in enumerate(names):
            ranked.setdefault(name, (field, number * _RANKS_PER_DIALECT + place))
    return ranked


ATTRIBUTES = _ranked()
"""Canonical field and rank (smaller is better) by attribute name."""
DOCUMENTS = {name: keys for dialect in DIALECTS for name, keys in dialect.documents.items()}
WANTED = frozenset(ATTRIBUTES) | frozenset(DOCUMENTS)
"""The attributes of spans that are read. All others, prompts among them, are passed over unseen."""
RESOURCE_FIELDS = {
    field: [name for dialect in DIALECTS for name in dialect.resource.get(field, ())]
    for field in (TENANT, AGENT, AGENT_VERSION)
}
RESOURCE_WANTED = frozenset(name for names in RESOURCE_FIELDS.values() for name in names)
_PLACEHOLDERS = frozenset(name for dialect in DIALECTS for name in dialect.placeholders)
_SPAN_NAMES = {name: (op, dialect) for dialect in DIALECTS for name, op in dialect.span_names.items()}
_FIRST_WORDS = frozenset(name.partition(".")[0] for name in _SPAN_NAMES)
_NO_RANK = len(DIALECTS) * _RANKS_PER_DIALECT


def read_span(span: Span, name: str, found: Mapping[str, Scalar]) -> int:
    """Fill `span` with what its name and its wanted attributes mean; how many numbers were no sane numbers."""
    own = span.own
    ranks: dict[str, int] = {}
    bad = 0
    for key, value in found.items():
        ranked = ATTRIBUTES.get(key)
        if ranked is None:
            continue
        field, rank = ranked
        if rank >= ranks.get(field, _NO_RANK):
            continue
        if field in NUMBERS:
            number = sane_number(value)
            if number < 0:
                bad += 1
                continue
            own[field] = number
        else:
            text = value if type(value) is str else _worded(value)
            if not text:
                continue
            own[field] = text if len(text) <= LABEL_CHARACTERS_MAX and text.isprintable() else label(text)
        ranks[field] = rank
    for key in DOCUMENTS:
        if key in found:
            _read_document(own, DOCUMENTS[key], found[key])
    _settle(span, name, ranks)
    return bad


def _settle(span: Span, name: str, ranks: dict[str, int]) -> None:
    own = span.own
    _tell_operation(span, name, ranks)
    if own.pop(ERROR_TYPE, None) is not None:
        span.failed = True
    if SESSION in own:
        span.session_rank = ranks[SESSION]
    if PROVIDER in own:
        own[PROVIDER] = provider_name(str(own[PROVIDER]))
    if AGENT in own and own[AGENT] in _PLACEHOLDERS and span.operation != AGENT_RUN:
        del own[AGENT]
    for field in (TENANT, OUTCOME):  # Langfuse 5 writes metadata as JSON text, so a string is in quotes.
        if field in own:
            own[field] = str(own[field]).strip('"')
    if INPUT in own or OUTPUT in own or CACHE_READ in own:
        _include_parts(own)


def _tell_operation(span: Span, name: str, ranks: dict[str, int]) -> None:
    raw = span.own.pop(OPERATION, None)
    if raw is not None:
        dialect = DIALECTS[ranks[OPERATION] // _RANKS_PER_DIALECT]
        span.operation = dialect.operations.get(str(raw).lower(), OTHER)
        span.dialect = dialect.name
        return
    match = _SPAN_NAMES.get(name)
    if match is None and name.partition(".")[0] in _FIRST_WORDS:
        match, rest = _longer_name(name)
        if match is not None and match[0] == TOOL and rest:
            span.own.setdefault(TOOL_NAME, label(rest))
    if match is not None:
        span.operation, dialect = match
        span.dialect = dialect.name
    elif ranks:
        dialect = DIALECTS[min(ranks.values()) // _RANKS_PER_DIALECT]
        span.dialect = dialect.name
        if dialect.usage_means and any(field in ranks for field in (INPUT, OUTPUT, RESPONSE_MODEL)):
            span.operation = dialect.usage_means


def _longer_name(name: str) -> tuple[tuple[str, Dialect] | None, str]:
    """The span name that `name` begins with, and what follows it."""
    for at in range(len(name) - 1, 0, -1):
        if name[at] in " .:/" and name[:at] in _SPAN_NAMES:
            return _SPAN_NAMES[name[:at]], name[at + 1 :]
    return None, ""


def _read_document(own: Own, keys: Mapping[str, str], value: Scalar) -> None:
    """Fill in from an attribute that is a JSON object in text. Attributes said the same better."""
    if type(value) is not str or len(value) > DOCUMENT_CHARACTERS_MAX or not value.startswith("{"):
        return
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):  # Text of any kind may stand there; it is not an error of the span.
        return
    for key, field in keys.items():
        entry = document.get(key)
        if field not in own and isinstance(entry, (str, int)) and entry != "":
            own[field] = label(_worded(entry))


def _include_parts(own: Own) -> None:
    """Make input include the cache and output include the reasoning, as the conventions have it.

    A sender whose parts exceed the whole reported them apart.
    """
    cached = float(own.get(CACHE_READ, 0.0)) + float(own.get(CACHE_WRITE, 0.0))
    total = float(own.get(INPUT, 0.0))
    own[INPUT] = total if cached <= total else total + cached
    reasoning, output = float(own.get(REASONING, 0.0)), float(own.get(OUTPUT, 0.0))
    own[OUTPUT] = output if reasoning <= output else output + reasoning


def sane_number(value: Scalar) -> float:
    """A count or an amount, or -1.0 for what is none: negative, NaN, infinite, past 2**53 or not a number.

    >>> sane_number("12"), sane_number(float("nan")), sane_number(-5), sane_number("many")
    (12.0, -1.0, -1.0, -1.0)
    """
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return -1.0
    return number if 0.0 <= number <= NUMBER_MAX and math.isfinite(number) else -1.0


def _worded(value: Scalar) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    return str(value)


def read_resource(found: Mapping[str, Scalar]) -> Resource:
    """What a resource's wanted attributes mean."""

    def first(field: str) -> str:
        for name in RESOURCE_FIELDS[field]:
            text = label(_worded(found.get(name, "")))
            if text and not (name == "service.name" and text.startswith("unknown_service")):
                return text
        return ""

    return Resource(first(TENANT), first(AGENT), first(AGENT_VERSION))


def has_usage(own: Own) -> bool:
    """Whether a span says what it spent, in tokens or in dollars."""
    return INPUT in own or OUTPUT in own or COST in own
