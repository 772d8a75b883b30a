"""The trace join: what a span does not say itself, its ancestors or its trace may know."""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

from service.ingest.remains import Kept, Remains
from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_VERSION,
    EMBEDDING,
    MODEL_FIELDS,
    MODEL_OPERATIONS,
    OUTCOME,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    SESSION,
    STORE,
    TENANT,
    TOOL,
    TOOL_NAME,
    Span,
    outcome_class,
)

ANCESTORS_MAX = 64
"""How far up a value is looked for; parents may also point in a circle."""
SPANS_MAX = 10_000
"""Spans kept of one trace."""
_LOOKED_AHEAD = 256
_NOTHING: frozenset[str] = frozenset()
_together = lru_cache(1_024)(frozenset[str].union)
NO_OUTCOME = (0, b"", -1)

Labels = tuple[str, str, str, str, str, str, str]
"""Values of CELL_LABELS, in that order."""


class Trace:
    """The spans of one trace so far, and what its calls came to.

    spans        by span id, as they arrived
    lenders      the few spans that lend to the whole trace: roots first, then the earliest, and none that says only
                 what one before it says
    said         the fields that they lend
    session      (rank, order, id) of the best session id in the trace, or None
    waiting      how many of its spans are in slots not closed yet
    claimed      the aggregate of one of its spans was counted for want of leaves that say
    answered     response ids of its counted model calls, and whether tokens were counted for them; None for none

    Of the session's present leg, and only from spans whose slot has closed:

    session_key  the session it is in; empty before the first such span
    first_ns, last_ns         earliest start, latest end
    root_ended   a root is among them, or among those of an earlier leg
    outcome      (end_ns, span id, class) of the latest outcome label
    dollars, unpriced, free   of its resolved calls, unweighted
    """

    __slots__ = (
        "answered",
        "claimed",
        "dollars",
        "first_ns",
        "free",
        "last_ns",
        "lenders",
        "outcome",
        "root",
        "root_ended",
        "said",
        "session",
        "session_key",
        "spans",
        "tokens",
        "trace_id",
        "unpriced",
        "waiting",
    )

    def __init__(self, trace_id: bytes) -> None:
        self.trace_id = trace_id
        self.spans: dict[bytes, Kept] = {}
        self.root: Kept | None = None
        self.lenders: tuple[Kept, ...] = ()
        self.said = _NOTHING
        self.session: tuple[int, tuple[bool, int, bytes], str] | None = None
        self.waiting = 0
        self.tokens = 0.0
        self.claimed = False
        self.answered: dict[str, bool] | None = None
        self.root_ended = False
        self.leave_session()

    def leave_session(self) -> None:
        """Begin a new leg: what was counted of this one is told."""
        self.session_key = ""
        self.first_ns = 2**63 - 1
        self.last_ns = 0
        self.outcome = NO_OUTCOME
        self.dollars = 0.0
        self.unpriced = self.free = 0

    def add(self, span: Span) -> None:
        """Take in a span that arrived; the order of arrival makes no difference to what the trace then knows."""
        self.spans[span.span_id] = span
        span.trace_id = self.trace_id  # One object for all of them.
        own = span.own
        order = (bool(span.parent_id), span.start_ns, span.span_id)
        if not span.parent_id and (self.root is None or order < _order(self.root)):
            self.root = span
        plan = span.plan
        fields = plan.lends if plan is not None else span.lends
        if fields and not (fields <= self.said and self.lenders and _order(self.lenders[-1]) < order):
            self._borrow(span)
        if SESSION in own:
            named = (span.session_rank, order, str(own[SESSION]))
            if self.session is None or named < self.session:
                self.session = named

    def reach(self, span: Span) -> None:
        """Take in that event time has come to the end of a span."""
        start_ns, end_ns = span.start_ns, span.end_ns
        if end_ns > self.last_ns:
            self.last_ns = end_ns
        if start_ns < self.first_ns or end_ns < self.first_ns:
            self.first_ns = min(start_ns, end_ns)
        self.learn(span)

    def learn(self, span: Span) -> None:
        """Take from a span what it says of the session as a whole, whenever it came."""
        if not span.parent_id:
            self.root_ended = True
        if OUTCOME in span.own:
            said = outcome_class(str(span.own[OUTCOME]))
            self.outcome = max(self.outcome, (span.end_ns, span.span_id, said))

    def _borrow(self, span: Kept) -> None:
        """Take a lender in, and leave out those that then lend nothing."""
        said, lenders = _NOTHING, []
        for each in sorted((*self.lenders, span), key=_order) if self.lenders else (span,):
            fields = each.lends
            if not fields <= said:
                lenders.append(each)
                said = _together(said, fields) if said else fields
        self.lenders, self.said = tuple(lenders), said

    def lends(self, field: str) -> str:
        """What the trace as a whole says of a field, or the empty string."""
        if field in self.said:
            for each in self.lenders:
                value = each.own.get(field)
                if value is not None and not (field in MODEL_FIELDS and each.operation == EMBEDDING):
                    return str(value)
        return ""

    def ancestors(self, span: Kept) -> Iterator[Kept]:
        """The known ancestors of a span, nearest first."""
        for _ in range(ANCESTORS_MAX):
            above = self.spans.get(span.parent_id)
            if above is None:
                return
            yield above
            span = above


def _order(span: Kept) -> tuple[bool, int, bytes]:
    return (bool(span.parent_id), span.start_ns, span.span_id)


def labels_of(trace: Trace, span: Kept) -> Labels:
    """What a span is counted by, with what is known now: its own word, the nearest ancestor's, the trace's, its
    resource's. The resource speaks for the tenant before ancestors do; model and provider are model calls' alone.
    """
    own = span.own
    operation = span.operation
    agent = own.get(AGENT)
    tenant = own.get(TENANT) or span.resource.tenant
    version = own.get(AGENT_VERSION)
    provider: str | float | None = ""
    model: str | float | None = ""
    tool: str | float = ""
    if operation in MODEL_OPERATIONS:
        provider, model = own.get(PROVIDER), own.get(REQUEST_MODEL) or own.get(RESPONSE_MODEL)
    elif operation == TOOL:
        tool = own.get(TOOL_NAME, "")
    elif operation == RETRIEVAL:
        tool = own.get(STORE) or own.get(TOOL_NAME, "")
    # Nobody need be asked for what is known, or for what no span of the trace ever said.
    said = trace.said
    asks = not tenant or provider is None or model is None or (not agent and AGENT in said)
    above = trace.spans.get(span.parent_id) if asks or (not version and AGENT_VERSION in said) else None
    steps = 0
    while above is not None and steps < ANCESTORS_MAX:
        theirs = above.own
        agent = agent or theirs.get(AGENT)
        tenant = tenant or theirs.get(TENANT) or above.resource.tenant
        version = version or theirs.get(AGENT_VERSION)
        if provider is None:
            provider = theirs.get(PROVIDER)
        if model is None:
            model = theirs.get(REQUEST_MODEL)
        above = trace.spans.get(above.parent_id)
        steps += 1
    lends = trace.lends
    if operation != EMBEDDING:
        provider = lends(PROVIDER) if provider is None else provider
        model = lends(REQUEST_MODEL) if model is None else model
    return (
        str(tenant or lends(TENANT)),
        str(agent or lends(AGENT) or _agent_by_name(trace, span) or span.resource.agent),
        operation,
        str(provider or ""),
        str(model or ""),
        str(tool),
        str(version or lends(AGENT_VERSION) or span.resource.version),
    )


def _agent_by_name(trace: Trace, span: Kept) -> str:
    """The agent that a span's name, or that of an ancestor or another of the trace, tells."""
    if AGENT_BY_NAME not in trace.said:
        return ""
    for each in (span, *trace.ancestors(span)):
        if AGENT_BY_NAME in each.own:
            return str(each.own[AGENT_BY_NAME])
    return trace.lends(AGENT_BY_NAME)


class TraceTable:
    """Live traces, oldest first, and how many spans they hold. The caller evicts: a trace's session ends with it."""

    def __init__(self, traces_max: int, spans_max: int) -> None:
        self.traces_max, self.spans_max = traces_max, spans_max
        self.spans = 0
        self.live: dict[bytes, Trace] = {}
        self._oldest: deque[Trace] = deque()
        self._remains = Remains()

    def oldest(self) -> Trace:
        """The trace to evict."""
        oldest = self._oldest
        while oldest and self.live.get(oldest[0].trace_id) is not oldest[0]:
            oldest.popleft()
        if not oldest:  # Looked for by the hundred: a dict passes over all that it once held at its beginning.
            oldest.extend(islice(self.live.values(), _LOOKED_AHEAD))
        return oldest[0]

    def open(self, trace_id: bytes) -> Trace:
        """A new trace."""
        trace = self.live[trace_id] = Trace(trace_id)
        return trace

    def add(self, trace: Trace, span: Span) -> bool:
        """Put a span into a live trace; False if that is full. A root, which ends last, always finds room."""
        if len(trace.spans) >= SPANS_MAX and (span.parent_id or trace.root is not None):
            return False
        trace.add(span)
        self.spans += 1
        return True

    def strip(self, calls: Iterable[tuple[Trace, Span]]) -> None:
        """Leave of spans that were counted what those below them may still inherit."""
        left_of = self._remains.of
        for trace, span in calls:
            spans, span_id, parent_id = trace.spans, span.span_id, span.parent_id
            if spans.get(span_id) is not span:  # Its trace had no room for it.
                continue
            above = spans.get(parent_id) if parent_id else None  # One object for both ids, as they are many.
            counted = left_of(span, parent_id if above is None else above.span_id)
            spans[span_id] = counted
            if trace.root is span:
                trace.root = counted
            if span in trace.lenders:
                trace.lenders = tuple([counted if each is span else each for each in trace.lenders])

    def forget(self, trace: Trace) -> None:
        """Drop a trace; a later span of it begins a new one."""
        if self.live.get(trace.trace_id) is trace:
            del self.live[trace.trace_id]
            self.spans -= len(trace.spans)
