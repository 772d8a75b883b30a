"""Spans and traces as plain objects, read by the tables of the dialects alone: what kernels are held to."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.core.columns import SLOT_NS
from service.batch import Dropped
from service.ingest.dialects import APART_SCOPES, NATIVE_SCOPES, WANTED
from service.ingest.join.lexicon import NUMBERS_OF_SPANS
from service.ingest.kernel.columns import Columns
from service.ingest.kernel.constants import TEXT_KIND
from service.ingest.otlp.wanted import KEYS
from service.ingest.read import read_resource, read_span, session_of
from service.ingest.reader import Decoded
from service.ingest.vocabulary import (
    AGENT_BY_NAME,
    AGENT_RUN,
    ARGUMENTS,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    EMBEDDING,
    FIRST_TOKEN,
    FIRST_TOKEN_MS,
    HITS,
    INPUT,
    INPUT_COST,
    LLM,
    OTHER,
    OUTPUT,
    OUTPUT_COST,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_ID,
    RETRIEVAL,
    SCORE,
    SESSION,
    TENANT,
    TOOL,
    TOOL_INPUT,
    TOOL_NAME,
    TOP_K,
    TOTAL,
    WORKFLOW,
    Reading,
    Resource,
)
from service.ingest.vocabulary import PARTS as VALUED

KEPT = (
    INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, REASONING, COST, *VALUED, FIRST_TOKEN, ARGUMENTS, HITS, TOP_K, SCORE
)  # fmt: skip
ANCESTORS_MAX = 64
STATUS_OK, STATUS_ERROR = 1, 2


@dataclass(eq=False)
class Span:
    """What a span says, and what the join finds out about it; `own` is what the dialects made of it."""

    trace: "Trace"
    id: int
    parent_id: int
    start: int
    end: int
    reading: Reading
    numbers: dict[str, float]
    spent: bool
    is_native: bool
    weight: float
    is_weighed: bool
    resource: Resource
    failed: bool
    is_remote: bool = False
    resource_session: str = ""
    told_empty: bool = False
    is_loose: bool = False
    slot_ns: int = 0
    waits: bool = True
    duplicate: "Span | None" = None
    covered: bool = False
    usage_below: bool = False
    usage_counted: bool = False
    is_counted: bool = False
    may_be_duplicate: bool = False
    called: Any = None

    @property
    def placed(self) -> int:
        """Its end, but within the slot in which it was put: see `tell_again`."""
        slot_ns = self.slot_ns or self.end - self.end % SLOT_NS
        return min(self.end, slot_ns + SLOT_NS - 1)

    def __post_init__(self) -> None:
        if self.operation == TOOL and ARGUMENTS in self.numbers:
            self.called = (self.says(TOOL_NAME), self.numbers[ARGUMENTS])

    @property
    def response(self) -> Any:
        """What is the same for accounts of one response, and for calls of a tool with equal arguments; or nothing."""
        return self.called or self.says(RESPONSE_ID)

    def tell_again(self, later: "Span") -> None:
        """Take a later account of this span: the one that ends later, or tells more of what was used."""
        used = later.number(INPUT) + later.number(OUTPUT) if later.spent else -1.0
        if later.end < self.end or (later.end == self.end and used <= self.number(INPUT) + self.number(OUTPUT)):
            return
        self.slot_ns = self.slot_ns or self.end - self.end % SLOT_NS
        self.end, self.failed = later.end, later.failed
        retrieves = (self.operation == RETRIEVAL, later.operation == RETRIEVAL)
        if len({*retrieves}) > 1 and (later.operation != OTHER or self.operation == OTHER):
            parts = (*VALUED, FIRST_TOKEN, HITS, TOP_K, SCORE)
            self.numbers = {name: number for name, number in self.numbers.items() if name not in parts}
        if later.called or later.says(RESPONSE_ID):
            self.called = later.called
        if later.spent:
            self.spent, self.numbers, self.told_empty = True, later.numbers, later.told_empty
        first, second = self.reading, later.reading
        kept = {
            name: own[name] for name in (TENANT, RESPONSE_ID, SESSION) for own in (first.own, second.own) if name in own
        }
        rank = second.session_rank
        if SESSION in first.own and (SESSION not in second.own or second.session_rank >= first.session_rank):
            kept[SESSION], rank = first.own[SESSION], first.session_rank
        self.reading = second if second.operation != OTHER or first.operation == OTHER else first
        self.reading.own, self.reading.session_rank = self.reading.own | kept, rank

    def says(self, name: str) -> str:
        """A text that it says itself, empty if it does not."""
        return str(self.reading.own.get(name, ""))

    def number(self, name: str) -> float:
        """A number that it says, 0.0 if it does not."""
        return self.numbers.get(name, 0.0)

    @property
    def operation(self) -> str:
        """What it does."""
        return self.reading.operation

    @property
    def is_model(self) -> bool:
        """Whether its tokens cost money."""
        return self.operation in (LLM, EMBEDDING)

    @property
    def place(self) -> tuple[bool, int, int]:
        """Its place among the spans of its trace: roots are first, then who began first, then ids."""
        return self.parent_id != 0, self.start, self.id

    @property
    def parent(self) -> "Span | None":
        """The one that it lies in, if it came."""
        return self.trace.spans.get(self.parent_id) if self.parent_id else None

    @property
    def is_run(self) -> bool:
        """Whether it may be the top of a trace without a root."""
        return self.is_remote or self.operation in (AGENT_RUN, WORKFLOW)

    def ancestors(self) -> Iterator["Span"]:
        """Those above it that came, the nearest first."""
        row, steps = self.trace.spans.get(self.parent_id) if self.parent_id else None, 0
        while row is not None and steps < ANCESTORS_MAX:
            yield row
            row, steps = row.trace.spans.get(row.parent_id) if row.parent_id else None, steps + 1


@dataclass(eq=False)
class Trace:
    """A trace; what is counted of it, and its times, are those of the session's present segment."""

    id: tuple[int, int]
    spans: dict[int, Span] = field(default_factory=dict)
    is_live: bool = True
    root_ended: bool = False
    has_top: bool = False
    session: Any = None
    waits: int = 0
    tokens: float = 0.0
    answers: dict[Any, bool] = field(default_factory=dict)
    """Response ids that were counted, and whether their tokens were."""
    first: float = math.inf
    last: int = 0
    outcome: tuple[int, int, int] = (0, 0, -1)
    dollars: float = 0.0
    unpriced: int = 0
    free: int = 0

    def begin_segment(self) -> None:
        """Leave the session."""
        self.session, self.first, self.last, self.outcome = None, math.inf, 0, (0, 0, -1)
        self.dollars, self.unpriced, self.free = 0.0, 0, 0

    @property
    def is_over(self) -> bool:
        """Whether it has its root, or what was counted of it is all below tops."""
        counted = [span for span in self.spans.values() if not span.waits]
        orphans = [span for span in counted if span.parent is None]
        if self.root_ended:
            return True
        is_open = any(span.parent is not None and span.parent.waits for span in counted)
        workflows = [span for span in orphans if not span.is_remote and span.operation == WORKFLOW]
        if not self.has_top or is_open or not orphans or not all(span.is_run for span in orphans):
            return False
        return not workflows or len(orphans) == 1

    @property
    def first_span(self) -> Span:
        """Its root, else the first of those without a parent, else the first of all."""
        orphans = [span for span in self.spans.values() if span.parent is None]
        return self.root or min(orphans or self.spans.values(), key=lambda span: span.place)

    @property
    def failed(self) -> bool:
        """Whether its root failed, or what stands for it."""
        top = self.first_span
        orphans = [span for span in self.spans.values() if span.parent is None]
        tells = not top.parent_id or top.is_run or orphans == [top] or not orphans
        return tells and top.failed and not top.waits

    @property
    def root(self) -> Span | None:
        """The root that sorts first, None if none came."""
        return min((span for span in self.spans.values() if not span.parent_id), key=lambda s: s.place, default=None)

    def default(self, name: str) -> str:
        """What the first of its spans that says a field says; the model of an embedding is nobody else's."""
        saying = [span for span in self.spans.values() if span.says(name)]
        if name == AGENT_BY_NAME:
            saying = [span for span in saying if not span.reading.names_top or not span.parent_id]
        if name in (PROVIDER, REQUEST_MODEL):
            saying = [span for span in saying if span.operation != EMBEDDING]
        return min(saying, key=lambda span: span.place).says(name) if saying else ""

    @property
    def name(self) -> str:
        """The session that its spans name: the best of the names, then the first span that says it."""
        named = [span for span in self.spans.values() if span.says(SESSION)]
        if named:
            return min(named, key=lambda s: (s.reading.session_rank, s.place)).says(SESSION)
        by_resource = [span for span in self.spans.values() if span.resource_session]
        return min(by_resource, key=lambda s: s.place).resource_session if by_resource else ""


def include_parts(reading: Reading, numbers: dict[str, float], apart: bool | None, scope_is_apart: bool) -> bool:
    """Make input include the cache and output include the reasoning; whether the span spent. See `usage.pxd`."""
    if FIRST_TOKEN not in numbers and numbers.get(FIRST_TOKEN_MS, 0.0) > 0:
        numbers[FIRST_TOKEN] = numbers[FIRST_TOKEN_MS] / 1e3
    if apart is None:
        return False
    _include_cost(reading, numbers)
    total, is_google = numbers.get(TOTAL, 0.0), str(reading.own.get(PROVIDER, "")).startswith("gcp.")
    if INPUT not in numbers and total > 0 and reading.operation == EMBEDDING:
        numbers[INPUT] = total
    has_input, has_output, parts = INPUT in numbers, OUTPUT in numbers, {p: numbers.get(p, 0.0) for p in VALUED}
    if not has_input and not has_output and CACHE_READ not in numbers and not any(n > 0 for n in parts.values()):
        if numbers.get(COST) == -1:
            numbers[INPUT] = numbers[OUTPUT] = 0.0
        return COST in numbers
    told = whole, output = numbers.get(INPUT, 0.0), numbers.get(OUTPUT, 0.0)
    reasoning, tools = numbers.get(REASONING, 0.0), numbers.get(TOOL_INPUT, 0.0)
    cached, is_apart = numbers.get(CACHE_READ, 0.0) + numbers.get(CACHE_WRITE, 0.0), apart or scope_is_apart
    if has_output and not has_input and total > output:
        whole, is_apart = total - output, False
    elif has_input and not has_output and total > whole:
        output = total - whole - (cached if is_apart and total >= whole + cached else 0.0)
    rest = total - whole - output
    sums = (cached, cached + reasoning, cached + tools, cached + reasoning + tools)
    is_sum = cached > 0 and not is_google and rest != reasoning and rest in sums
    if is_apart or cached > whole or is_sum:
        whole += cached
    rest = total - whole - output
    if reasoning > 0 and (reasoning > output or rest == reasoning or (tools > 0 and rest == reasoning + tools)):
        output += reasoning
        rest -= reasoning
    if tools > 0 and (total == 0 or rest >= tools):
        whole += tools
        rest -= tools
    if total and rest > 0 and is_google and whole + output > 0:
        if reasoning == 0:
            numbers[REASONING] = rest
            output += rest
        else:
            whole += rest
    elif total and rest and total != sum(told):
        numbers["unexplained"] = abs(rest)
    numbers[INPUT], numbers[OUTPUT] = whole, output
    return True


def _include_cost(reading: Reading, numbers: dict[str, float]) -> None:
    """Have the cost be in dollars, -1.0 where it is not known what it is in."""
    if COST not in numbers and (INPUT_COST in numbers or OUTPUT_COST in numbers):
        numbers[COST] = numbers.get(INPUT_COST, 0.0) + numbers.get(OUTPUT_COST, 0.0)
    if COST in numbers and reading.rate != 1:
        numbers[COST] = numbers[COST] * float(np.float32(reading.rate)) if reading.rate > 0 else -1.0


def has_failed(reading: Reading, status: int) -> bool:
    """Whether a span with this status failed."""
    if reading.is_excused:
        return reading.failed
    return reading.failed or status == STATUS_ERROR or (reading.has_raised and status != STATUS_OK)


def sampling_weight(state: bytes) -> float:
    """1 / probability by the first good `ot=th:` of a trace state; 0.0 for none."""
    for member in state.split(b","):
        member = member.strip(bytes(range(0x21)))
        if member.startswith(b"ot=") and len(member) > 3:
            for value in member[3:].split(b";"):
                digits = value[3:]
                if value.startswith(b"th:") and 0 < len(digits) <= 14 and not digits.strip(b"0123456789abcdef"):
                    weight = 2.0**56 / (2.0**56 - int(digits.ljust(14, b"0"), 16))
                    if weight <= 1e6:
                        return weight
                    break
    return 0.0


def signed(number: int) -> int:
    """An id as the int64 that ids are compared as."""
    return number - 2**64 if number >= 2**63 else number


class Reader:
    """Spans of columns, each read alone by the tables of the dialects."""

    def __init__(self) -> None:
        self.spans: list[tuple[Span, int]] = []
        self.unexplained: Counter[str] = Counter()

    def read(self, columns: Columns) -> list[Decoded]:
        """What each record holds."""
        both, *spans = columns.meaning()
        self.spans, bad = [], 0
        for row, said in enumerate(spans):
            span, its_bad = self._span(columns, row, said)
            self.spans.append((span, span.end))
            bad += its_bad
        found = []
        for first, stop, last_ns, is_bad, bad_ids, bad_times, own in both[0]:  # type: ignore[index]
            decoded = Decoded(first, stop, last_ns)
            if is_bad:
                decoded.drop(Dropped.MALFORMED)
                decoded.error = "bad"
            for reason, n in ((Dropped.BAD_ID, bad_ids), (Dropped.BAD_TIME, bad_times), (Dropped.OWN, own)):
                if n:
                    decoded.drop(reason, n)
            found.append(decoded)
        if bad and found:
            found[0].drop(Dropped.BAD_NUMBER, bad)
        return found

    @staticmethod
    def _span(columns: Columns, row: int, said: Any) -> tuple[Span, int]:
        (start, end, status, high, low, own_id, parent_id, is_remote), _, state, resource, scope, _, _ = said
        name, is_root, values = columns.span(row)
        reading = Reading(is_root)
        found = [(entry, value) for key, value in values if (entry := WANTED.get(KEYS[key])) is not None]
        bad, apart = read_span(reading, lambda: name, found)
        numbers = {name: float(reading.own[name]) for name in NUMBERS_OF_SPANS if name in reading.own}
        spent = include_parts(reading, numbers, apart, scope.startswith(tuple(s.encode() for s in APART_SCOPES)))
        is_empty = spent and reading.own.get(OUTPUT) is not None and numbers.get(OUTPUT) == 0
        weight = sampling_weight(state)
        of = [
            (KEYS[key], value.decode(errors="replace") if kind == TEXT_KIND else bool(value))
            for key, kind, value in resource
        ]
        span = Span(
            Trace((signed(high), signed(low))), signed(own_id), signed(parent_id), start, end, reading,
            {name: numbers[name] for name in KEPT if name in numbers}, spent,
            scope.startswith(tuple(s.encode() for s in NATIVE_SCOPES)), float(np.float32(weight or 1.0)), weight > 0,
            read_resource(of), has_failed(reading, status), is_remote > 0, session_of(of), is_empty,
        )  # fmt: skip
        return span, bad
