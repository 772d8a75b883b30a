"""The trace join: what a span does not say itself, its ancestors or its trace may know."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_VERSION,
    EMBEDDING,
    KEPT,
    LENT,
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
    Own,
    Span,
    outcome_class,
)

ANCESTORS_MAX = 64
"""How far up a value is looked for; parents may also point in a circle."""
SPANS_MAX = 10_000
"""Spans kept of one trace."""
_KINDS_MAX = 100_000
_MODEL_FIELDS = frozenset((PROVIDER, REQUEST_MODEL))
NO_OUTCOME = (0, b"", -1)

Labels = tuple[str, str, str, str, str, str, str]
"""Values of CELL_LABELS, in that order."""


class Trace:
    """The spans of one trace so far, and what its calls came to.

    spans        by span id, as they arrived
    lent         by field, (order, value) of the span that lends it to the whole trace: the root, else the earliest
    session      (rank, order, id) of the best session id in the trace, or None
    waiting      how many of its spans are in slots not closed yet
    claimed      the aggregate of one of its spans was counted for want of leaves that say
    answered     response ids of its counted model calls, and whether tokens were counted for them

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
        "lent",
        "outcome",
        "root",
        "root_ended",
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
        self.spans: dict[bytes, Span] = {}
        self.root: Span | None = None
        self.lent: dict[str, tuple[tuple[bool, int, bytes], str]] = {}
        self.session: tuple[int, tuple[bool, int, bytes], str] | None = None
        self.waiting = 0
        self.tokens = 0.0
        self.claimed = False
        self.answered: dict[str, bool] = {}
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
        lent = self.lent
        for field in span.plan.lends if span.plan is not None else own.keys() & LENT:
            held = lent.get(field)
            if (held is None or order < held[0]) and not (span.operation == EMBEDDING and field in _MODEL_FIELDS):
                lent[field] = (order, str(own[field]))
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

    def lends(self, field: str) -> str:
        """What the trace as a whole says of a field, or the empty string."""
        held = self.lent.get(field)
        return held[1] if held else ""

    def ancestors(self, span: Span) -> Iterator[Span]:
        """The known ancestors of a span, nearest first."""
        for _ in range(ANCESTORS_MAX):
            above = self.spans.get(span.parent_id)
            if above is None:
                return
            yield above
            span = above


def _order(span: Span) -> tuple[bool, int, bytes]:
    return (bool(span.parent_id), span.start_ns, span.span_id)


def labels_of(trace: Trace, span: Span) -> Labels:
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
    lent = trace.lent
    asks = not tenant or provider is None or model is None or (not agent and AGENT in lent)
    above = trace.spans.get(span.parent_id) if asks or (not version and AGENT_VERSION in lent) else None
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


def _agent_by_name(trace: Trace, span: Span) -> str:
    """The agent that a span's name, or that of an ancestor or another of the trace, tells."""
    if AGENT_BY_NAME not in trace.lent:
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
        self.live: OrderedDict[bytes, Trace] = OrderedDict()
        self._kept: dict[tuple[object, ...], Own] = {}

    def oldest(self) -> Trace:
        """The trace to evict."""
        return next(iter(self.live.values()))

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

    def strip(self, spans: Iterable[Span]) -> None:
        """Leave of spans that were counted what those below them may still inherit; equal remains are one object."""
        known = self._kept
        for span in spans:
            own = span.own
            plan = span.plan
            kind: tuple[object, ...]
            if plan is not None:
                kind = (plan.number, own.get(TENANT))
            else:
                kind = tuple([pair for pair in own.items() if pair[0] in KEPT])
            remains = known.get(kind)
            if remains is None:
                if len(known) >= _KINDS_MAX:
                    known.clear()
                remains = known[kind] = {field: own[field] for field in own if field in KEPT}
            span.own = remains

    def forget(self, trace: Trace) -> None:
        """Drop a trace; a later span of it begins a new one."""
        if self.live.get(trace.trace_id) is trace:
            del self.live[trace.trace_id]
            self.spans -= len(trace.spans)
