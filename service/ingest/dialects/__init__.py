"""Every dialect's tables in one, so that a span is read by field and not by who is thought to have sent it.

A dialect is a module of this package with a `DIALECT`; it is found by being here.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from service.ingest.vocabulary import (
    AGENT,
    AGENT_VERSION,
    ARGUMENTS,
    EXCEPTION_TYPE,
    NUMBERS,
    OPERATION,
    SESSION,
    STATUS_WORD,
    TENANT,
    Dialect,
    Reader,
)

RANKS_PER_DIALECT = 1000
LABEL, NUMBER, OPERATIONS, IMPLIED, FAILURES, LOGS, DOCUMENT, NAMED_ONLY, EXCUSES, TYPES, TOOL_FAILURES = range(11)
COUNTED = 11
"""What is to be done with a value: the first two are simply fields."""

Table = Mapping[str, str] | frozenset[str] | Reader | str | int
Entry = tuple[str, int, int, Table]
"""What an attribute means: canonical field, rank (smaller is better), one of the above, and the table it needs."""


def _found() -> tuple[Dialect, ...]:
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    dialects: list[Dialect] = [module.DIALECT for module in modules]
    return tuple(sorted(dialects, key=lambda dialect: (dialect.precedence, dialect.name)))


DIALECTS = _found()
"""All dialects, the one believed first at the head."""
NO_RANK = len(DIALECTS) * RANKS_PER_DIALECT


def _operations() -> dict[str, dict[str, str]]:
    """Canonical operation by value, for each attribute that tells one: dialects may share an attribute."""
    tables: dict[str, dict[str, str]] = {}
    for dialect in DIALECTS:
        for name in dialect.fields.get(OPERATION, ()):
            tables[name] = {**dialect.operations, **tables.get(name, {})}
    return tables


def _entries() -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    operations = _operations()
    named_only = [dialect for dialect in DIALECTS if dialect.only_named]
    for number, dialect in enumerate(DIALECTS):
        named = [(name, field) for field, names in dialect.fields.items() for name in names]
        first = number * RANKS_PER_DIALECT
        for rank, (name, field) in enumerate(named, first):
            if field == OPERATION:
                entry: Entry = (field, rank, OPERATIONS, operations[name])
            elif dialect.only_named:
                sharers = frozenset(each.name for each in named_only if name in each.fields.get(field, ()))
                entry = (field, rank, NAMED_ONLY, sharers)
            else:
                entry = (field, rank, NUMBER if field in NUMBERS else LABEL, "")
            entries.setdefault(name, entry)
        rank = first + len(named)
        for name, operation in dialect.implies.items():
            entries.setdefault(name, (OPERATION, rank, IMPLIED, operation))
        for name, values in dialect.failures.items():
            entries.setdefault(name, ("", rank, FAILURES, values))
        for name, values in dialect.tool_failures.items():
            entries.setdefault(name, ("", rank, TOOL_FAILURES, values))
        for name, values in dialect.excuses.items():
            entries.setdefault(name, ("", rank, EXCUSES, values))
        for name, values in dialect.logs.items():
            entries.setdefault(name, ("", rank, LOGS, values))
        for name, place in dialect.listed.items():
            entries.setdefault(name, ("", rank, COUNTED, place))
        for name, reader in dialect.documents.items():
            entries.setdefault(name, ("", rank, DOCUMENT, reader))
    for name, field in ((EXCEPTION, EXCEPTION_TYPE), (STATUS, STATUS_WORD)):
        entries[name] = (field, 0, TYPES, "")
    return entries


EXCEPTION = "exception.type"
"""Read of events, too."""
STATUS = "status.message"
"""No attribute of its own: what decoders keep of a failed span's status, see `kernel/attributes.pxd`."""


WANTED = _entries()
"""The attributes of spans that are read, and what they mean. All others, prompts among them, are passed over unseen."""
RESOURCE_FIELDS = {
    field: [name for dialect in DIALECTS for name in dialect.resource.get(field, ())]
    for field in (TENANT, AGENT, AGENT_VERSION, SESSION)
}
RESOURCE_WANTED = frozenset(name for names in RESOURCE_FIELDS.values() for name in names)
PLACEHOLDERS = frozenset(name for dialect in DIALECTS for name in dialect.placeholders)
GATHERS = frozenset(name for dialect in DIALECTS for name in dialect.gathers)
SPAN_NAMES = {name: (op, dialect) for dialect in DIALECTS for name, op in dialect.span_names.items()}
MODEL_NAMES = {word: (op, dialect) for dialect in DIALECTS for word, op in dialect.model_names.items()}
HASHED = frozenset(
    name
    for name, (field, _, kind, _) in WANTED.items()
    if field == ARGUMENTS or (kind == COUNTED and any(name in dialect.content for dialect in DIALECTS))
)
"""Attributes of which decoders keep a number that stands for the text, and nothing else."""
CONTENT = tuple(
    sorted({name for dialect in DIALECTS for name in dialect.content} - (WANTED.keys() - HASHED) - RESOURCE_WANTED)
)
"""Attributes that hold what people and models said: counted by name, never kept."""
ALIKE = frozenset(name for dialect in DIALECTS for name in dialect.alike)
NATIVE_SCOPES = tuple(scope for dialect in DIALECTS for scope in dialect.scopes)
"""Instrumentation scopes that begin like this are an SDK's own."""
APART_SCOPES = tuple(scope for dialect in DIALECTS for scope in dialect.apart_scopes)
"""Input tokens on spans of scopes that begin like this leave out the cache."""
