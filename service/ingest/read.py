"""A span's wanted attributes and its name to canonical fields, by the tables of all dialects."""

import html
import re
from collections.abc import Callable, Iterable, Mapping

from service.ingest.dialects import (
    COUNTED,
    DIALECTS,
    DOCUMENT,
    EXCUSES,
    FAILURES,
    GATHERS,
    IMPLIED,
    LABEL,
    LOGS,
    MODEL_NAMES,
    NAMED_ONLY,
    NO_RANK,
    NUMBER,
    OPERATIONS,
    PLACEHOLDERS,
    RANKS_PER_DIALECT,
    RESOURCE_FIELDS,
    SPAN_NAMES,
    TOOL_FAILURES,
    TYPES,
    Entry,
    Table,
)
from service.ingest.local import NOTHING_LOCAL, Local
from service.ingest.settled import settle_cost, settle_end
from service.ingest.values import parse_document, sane_number, text_of
from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_RUN,
    AGENT_VERSION,
    CACHE_APART,
    CACHE_READ,
    CACHE_WRITE,
    CALLED,
    COST,
    EMBEDDING,
    ENTITY,
    FRAMEWORKS,
    INPUT,
    INPUT_COST,
    LABEL_CHARACTERS_MAX,
    LLM,
    METHODS,
    NUMBERS,
    OPERATION,
    OTHER,
    OUTPUT,
    OUTPUT_COST,
    PARTS,
    PROMPT_NAME,
    PROMPT_USED,
    PROMPT_VERSION,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SESSION,
    TENANT,
    TOOL,
    TOOL_NAME,
    TOTAL,
    WORKFLOW,
    Dialect,
    Own,
    Reading,
    Resource,
    Scalar,
    label,
    provider_name,
)

Found = list[tuple[Entry, Scalar]]
"""The wanted attributes of a span."""
_FIRST_WORD = re.compile("[^ .:/]*")
_FIRST_WORDS = frozenset(_FIRST_WORD.match(name)[0] for name in SPAN_NAMES)  # type: ignore[index]
_SCRUBBED = "[Scrubbed due to "
"""Stands in place of a value that Logfire took out: no value, or all sessions of a service would be one."""
_MADE_UP = "unknown_service"
"""How a service is called by an SDK that was not told its name."""
_EMBEDS = "embed"
"""In a model's name it says that the model embeds; SDKs that know one kind of model call write those as it, too."""
_TELLING = (INPUT, OUTPUT, RESPONSE_MODEL, TOOL_NAME)
"""Fields that may tell what a span is for want of a better sign, the most telling first."""
_ENDS = frozenset((FAILURES, TOOL_FAILURES, EXCUSES))
_STEPPED = frozenset((LLM, EMBEDDING, TOOL))
_NUMBERED = re.compile(r"[ _-]\d+\Z")
"""At the end of a name it says that the span is one of several: a step, and no agent."""
_COMPANY = re.compile(
    r"(?:(?:\A|[ _-])(?:workflow|crew)|(?:\A|[ _-]|(?<=[a-z]))(?:Workflow|Crew))(?:_[0-9a-f-]+)?(?:\.\w+)?\Z"
)
"""What is called a crew or a workflow has agents in it, and may have a new number each time. It is not an agent."""
_KICKED_OFF = re.compile(r"\.kickoff(?:_async)?\Z")
"""So are crews and flows of CrewAI started, whatever their names are."""
_MODEL = re.compile(r"(?=\S*\d)(?=\S*[-.:/])[A-Za-z]\S*")
"""What looks like a model's name: a word with a digit and a joint, and no number of anything."""
_SPEND = frozenset((INPUT, OUTPUT, CACHE_READ, COST, INPUT_COST, OUTPUT_COST, TOTAL, *PARTS))


def read_span(
    reading: Reading, name: Callable[[], str], found: Found, local: Local = NOTHING_LOCAL
) -> tuple[int, bool | None]:
    """Fill `reading` with what a span's name and its wanted attributes mean.

    `name` is asked for what the span is called, and only if that means anything beside the attributes. `local` is what
    only the operator knows. Returns how many numbers were no sane ones, and whether the parts of its usage are told
    apart; None where it told no usage.
    """
    ranks: dict[str, int] = {}
    types: dict[str, str] = {}
    special: Found = []
    bad = 0
    told = best = NO_RANK  # Of any operation, and of one that its dialect knows.
    operation = ""
    own = reading.own
    for entry, value in found:
        field, rank, kind, table = entry
        if kind == LABEL:
            if rank >= ranks.get(field, NO_RANK):
                continue
            # The usual label, without a call.
            fit = type(value) is str and len(value) <= LABEL_CHARACTERS_MAX and value.isprintable() and '"' not in value
            text = str(value) if fit else text_of(value)
            if not text or text.startswith(_SCRUBBED):
                continue
            reading.is_cut = reading.is_cut or (not fit and len(str(value)) > LABEL_CHARACTERS_MAX)
            own[field] = text
            ranks[field] = rank
        elif kind == NUMBER:
            if rank >= ranks.get(field, NO_RANK):
                continue
            number = sane_number(value)
            if number < 0:
                bad += 1
                continue
            own[field] = number
            ranks[field] = rank
        elif kind == TYPES:
            types[field] = str(value)
        elif kind == OPERATIONS:
            told = min(told, rank)
            # MLflow writes all its values as JSON, so a kind is in quotes.
            known = table.get(str(value).strip('"').lower()) if rank < best else None  # type: ignore[union-attr]
            if known is not None:
                best, operation = rank, known
        else:
            special.append((entry, value))
    dialect = _tell(reading, name, operation, (best, told), ranks)
    if special:
        dialect = _read_special(reading, special, ranks, dialect)
    reading.dialect = dialect.name if dialect else ""
    _settle(reading, name, ranks, dialect)
    settle_end(reading, types, local.no_failures)
    settle_cost(reading, local)
    apart = own.pop(CACHE_APART, None) is not None or (dialect is not None and dialect.cache_apart)
    return bad, None if _SPEND.isdisjoint(own) else apart


def _tell(
    reading: Reading, name: Callable[[], str], operation: str, told: tuple[int, int], ranks: Mapping[str, int]
) -> Dialect | None:
    """The operation of a span and its dialect, by an attribute whose value is known, else by all else that tells."""
    if operation and operation != WORKFLOW:
        reading.operation = operation
        return DIALECTS[told[0] // RANKS_PER_DIALECT]
    return _tell_by_name(reading, name, operation, min(told), ranks)


def _is_in(value: Scalar, table: Table) -> bool:
    return isinstance(table, frozenset) and str(value).lower() in table


def _tell_by_name(
    reading: Reading, name: Callable[[], str], operation: str, rank: int, ranks: Mapping[str, int]
) -> Dialect | None:
    """The dialect of a span whose attributes do not say what it is, or only that it is a step of something."""
    match = _named(reading, name())
    if match is None and rank == NO_RANK:
        match = _named_after_model(reading, name())
    if match is not None:
        reading.operation, dialect = match
        return dialect
    if operation:
        reading.operation = operation
    if rank < NO_RANK:
        return DIALECTS[rank // RANKS_PER_DIALECT]
    if not ranks:
        return None
    for field in _TELLING:
        if field in ranks and reading.operation == OTHER:
            reading.operation = DIALECTS[ranks[field] // RANKS_PER_DIALECT].means.get(field, OTHER)
    return DIALECTS[min(ranks.values()) // RANKS_PER_DIALECT]


def _named_after_model(reading: Reading, name: str) -> tuple[str, Dialect] | None:
    """The operation of a span that is called by the conventions, and its model."""
    word, _, model = name.partition(" ")
    match = MODEL_NAMES.get(word)
    if match is not None and _MODEL.fullmatch(model):
        reading.own.setdefault(REQUEST_MODEL, label(model))
        return match
    return None


def _named(reading: Reading, name: str) -> tuple[str, Dialect] | None:
    """The operation that a span's name tells; what follows the name of a call is the tool's or agent's."""
    match = SPAN_NAMES.get(name)
    if match is not None or _FIRST_WORD.match(name)[0] not in _FIRST_WORDS:  # type: ignore[index]
        return match
    for at in range(min(len(name), LABEL_CHARACTERS_MAX) - 1, 0, -1):
        if name[at] in " .:/" and name[:at] in SPAN_NAMES:
            match = SPAN_NAMES[name[:at]]
            rest = name[at + 1 :].strip()
            if match[0] == TOOL and rest:
                reading.own.setdefault(TOOL_NAME, label(rest))
            elif match[0] == AGENT_RUN and rest:
                reading.own.setdefault(AGENT_BY_NAME, label(rest.strip("[]")))
            return match
    return None


def _read_special(reading: Reading, special: Found, ranks: dict[str, int], dialect: Dialect | None) -> Dialect | None:
    """What waits until it is known what a span is. Attributes of their own said the same better than documents."""
    for (field, rank, kind, table), value in sorted(special, key=lambda each: (each[0][2] != IMPLIED, each[0][1])):
        owner = DIALECTS[rank // RANKS_PER_DIALECT]
        if kind in _ENDS:
            _read_end(reading, kind, _is_in(value, table) and (dialect is owner or not owner.only_named))
        elif kind == COUNTED and isinstance(table, int):
            reading.listed = max(reading.listed, table)
        elif kind == LOGS:
            reading.is_log = reading.is_log or not table or _is_in(value, table)
        elif kind == NAMED_ONLY:
            if dialect is not None and _believes(dialect, table):
                _take(reading.own, field, value, rank, ranks)
        elif kind == IMPLIED:
            if dialect is None and isinstance(table, str) and _has_company(owner, special):
                reading.operation, dialect = table, owner
        elif kind == DOCUMENT and callable(table):
            for said, entry in table(parse_document(value)):
                if said == OPERATION and reading.operation == OTHER and str(entry).lower() in owner.operations:
                    reading.operation, dialect = owner.operations[str(entry).lower()], owner
                elif said == CACHE_APART and rank not in (ranks.get(CACHE_READ), ranks.get(CACHE_WRITE)):
                    continue  # Attributes told of the cache, and they count their own way.
                elif said != OPERATION and isinstance(entry, str | int | float):
                    _take(reading.own, said, entry, rank, ranks)
            dialect = dialect or owner
    return dialect


def _read_end(reading: Reading, kind: int, says_so: bool) -> None:
    """Take what an attribute says of how a span ended: that it failed, or was called off."""
    if kind == EXCUSES:
        reading.is_excused = reading.is_excused or says_so
    elif kind == FAILURES or reading.operation == TOOL:
        reading.failed = reading.failed or says_so


def _has_company(owner: Dialect, special: Found) -> bool:
    """Whether a dialect may be told by one attribute: where its names are plain, a tool has to be named, too."""
    if not owner.only_named:
        return True
    return any(
        kind == NAMED_ONLY and field == TOOL_NAME and _believes(owner, table) for (field, _, kind, table), _ in special
    )


def _believes(dialect: Dialect, table: Table) -> bool:
    return isinstance(table, frozenset) and dialect.name in table


def _take(own: Own, field: str, value: Scalar, rank: int, ranks: dict[str, int]) -> None:
    if field in own:
        return
    taken: str | float = max(sane_number(value), -1.0) if field in NUMBERS else text_of(value)
    if taken != "" and taken != -1.0:
        own[field] = taken
        ranks[field] = rank


def _settle(reading: Reading, name: Callable[[], str], ranks: Mapping[str, int], dialect: Dialect | None) -> None:
    """What can be said once all fields are known."""
    own = reading.own
    if reading.operation == LLM and _EMBEDS in str(own.get(REQUEST_MODEL) or own.get(RESPONSE_MODEL, "")).lower():
        reading.operation = EMBEDDING
    if SESSION in own:
        reading.session_rank = ranks[SESSION]
    if PROMPT_VERSION in own:
        own[PROMPT_USED] = label(f"{own.get(PROMPT_NAME, '')} {own[PROMPT_VERSION]}".strip())
    if PROVIDER in own:
        own[PROVIDER] = provider_name(str(own[PROVIDER]))
        if own[PROVIDER] in FRAMEWORKS:
            del own[PROVIDER]
    if AGENT in own and own[AGENT] in PLACEHOLDERS and reading.operation != AGENT_RUN:
        del own[AGENT]
    if reading.operation == TOOL and own.get(TOOL_NAME) in GATHERS:
        reading.is_log = True
    if dialect is not None and dialect.steps and _is_step(reading, name, dialect):
        reading.operation = OTHER
    if reading.operation == TOOL and TOOL_NAME not in own and ENTITY not in own:
        _named(reading, name())
    if dialect is not None and (dialect.entity or dialect.roots or dialect.html or ENTITY in own):
        _name_entity(reading, name, DIALECTS[ranks[ENTITY] // RANKS_PER_DIALECT] if ENTITY in own else dialect)


def _is_step(reading: Reading, name: Callable[[], str], dialect: Dialect) -> bool:
    """Whether a span is no call, though it is said to be of a model or a tool."""
    if reading.operation not in _STEPPED or TOOL_NAME in reading.own or not _SPEND.isdisjoint(reading.own):
        return False
    return name().rpartition(".")[2] in dialect.steps


def _name_entity(reading: Reading, name: Callable[[], str], dialect: Dialect) -> None:
    """What a span is called is the name of its tool, or of its agent, where its dialect has it so."""
    own = reading.own
    entity = str(own.pop(ENTITY, ""))
    field = dialect.entity.get(reading.operation)
    if field is None and reading.operation in dialect.roots and _may_be_agent(name(), reading.is_root):
        field, reading.names_top = AGENT_BY_NAME, True
    if field is not None and field not in own and (entity := entity or label(name())):
        entity = entity.removesuffix(CALLED)
        if field == AGENT_BY_NAME and _COMPANY.search(entity):
            reading.names_top = False
        else:
            own[field] = _without_method(entity) if field == AGENT_BY_NAME else entity
    if dialect.html:
        for field in own.keys() & {AGENT, AGENT_BY_NAME, TOOL_NAME, TENANT}:
            own[field] = label(html.unescape(str(own[field])))


def _may_be_agent(name: str, is_root: bool) -> bool:
    """Whether a span that may be at the top can be called after an agent."""
    return not _KICKED_OFF.search(name) and (is_root or not _NUMBERED.search(name))


def _without_method(name: str) -> str:
    """The agent that a span is called after.

    >>> _without_method("Researcher._execute_core"), _without_method("v2.support")
    ('Researcher', 'v2.support')
    """
    agent, _, method = name.rpartition(".")
    return agent if agent and method in METHODS else name


def read_resource(found: Iterable[tuple[str, Scalar]]) -> Resource:
    """What a resource's wanted attributes mean."""
    known = dict(found)
    return Resource(_said(known, TENANT), _said(known, AGENT), _said(known, AGENT_VERSION))


def session_of(found: Iterable[tuple[str, Scalar]]) -> str:
    """The session that a resource names, empty for none: a CLI is a process for each."""
    return _said(dict(found), SESSION)


def _said(known: Mapping[str, Scalar], field: str) -> str:
    """What the first of the attributes says that hold a field."""
    for name in RESOURCE_FIELDS[field]:
        text = text_of(known.get(name, ""))
        if text and not text.startswith(_SCRUBBED) and not (name == "service.name" and text.startswith(_MADE_UP)):
            return label(html.unescape(text)) if "&" in text else text
    return ""
