"""Sessions: which traces are one conversation, and when it is over.

A session is due when every trace of it has its root and nothing more ended for `session_idle_ns`; after
`rootless_idle_ns` of silence where a root is missing; and `session_max_ns` after it began at the latest.
Spans are placed in the order in which they ended, once their slot closes: the order of arrival changes nothing.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from service.ingest.prices import CostSource
from service.ingest.rollup import Unit
from service.ingest.traces import Labels, Trace, labels_of
from service.ingest.vocabulary import OUTCOME, SESSION_UNIT, Span

_NEVER = 2**63 - 1


class Session:
    """One leg of a conversation: what its traces have in common.

    traces     in the order in which they joined
    rootless   how many of its traces have no root yet
    queued_ns  the time under which it waits in the queue, at or before the time it is due
    """

    __slots__ = ("first_ns", "key", "last_ns", "queued_ns", "rootless", "traces")

    def __init__(self, key: str, traces: list[Trace]) -> None:
        self.key = key
        self.traces = traces
        self.queued_ns = self.first_ns = _NEVER
        self.last_ns = self.rootless = 0

    @property
    def is_trace(self) -> bool:
        """Whether no span named it, and it is a trace of its own."""
        return all(trace.session is None for trace in self.traces)

    def recount(self) -> None:
        """Make the times and the count of missing roots agree with the traces."""
        self.first_ns = min(trace.first_ns for trace in self.traces)
        self.last_ns = max(trace.last_ns for trace in self.traces)
        self.rootless = sum(not trace.root_ended for trace in self.traces)


class Sessions:
    """Open sessions by id, and the order in which they come due. As many as there are traces at most."""

    def __init__(self, idle_ns: int, rootless_idle_ns: int, max_ns: int) -> None:
        self._idle_ns, self._rootless_idle_ns, self._max_ns = idle_ns, rootless_idle_ns, max_ns
        self.open: dict[str, Session] = {}
        self._queue: list[tuple[int, str]] = []

    def reach(self, trace: Trace, span: Span, close: Callable[[Session, int], None]) -> None:
        """Take in that event time has come to the end of a span: its trace is in its session then.

        `close` is asked to end the session first where it was due before that.
        """
        key, end_ns = _key(trace), span.end_ns
        session = self.open.get(key)
        # It is due no sooner than it is queued for, so most need no closer look.
        if session is not None and session.queued_ns <= end_ns:
            due_ns = self.due_ns(session)
            if due_ns <= end_ns:
                close(session, due_ns)
                session = None
        if session is None or trace.session_key != key:
            self._place(trace, span)
            return
        sooner = False
        if not span.parent_id or OUTCOME in span.own:
            had_root = trace.root_ended
            trace.learn(span)
            if trace.root_ended and not had_root:
                session.rootless -= 1
                sooner = True
        if end_ns > trace.last_ns:
            trace.last_ns = end_ns
            if end_ns > session.last_ns:
                session.last_ns = end_ns
        first_ns = min(span.start_ns, end_ns)
        if first_ns < trace.first_ns:
            trace.first_ns = first_ns
            if first_ns < session.first_ns:
                session.first_ns = first_ns
                sooner = True
        if sooner:  # A later end only puts off the time it is due, and that is found out in its turn.
            self._requeue(session)

    def _place(self, trace: Trace, span: Span) -> None:
        """Put a trace into the session that it belongs to now, which may have to be opened."""
        key = _key(trace)
        before = self.open.get(trace.session_key) if trace.session_key else None
        trace.reach(span)
        if before is not None:
            self._part(before, trace)
        session = self.open.get(key)
        if session is None:
            session = self.open[key] = Session(key, [trace])
        else:
            session.traces.append(trace)
        trace.session_key = key
        session.rootless += not trace.root_ended
        session.first_ns = min(session.first_ns, trace.first_ns)
        session.last_ns = max(session.last_ns, trace.last_ns)
        self._requeue(session)

    def learn(self, trace: Trace, span: Span) -> None:
        """Take in a late span: it moves no time, but may be the root that was waited for."""
        had_root = trace.root_ended
        trace.learn(span)
        session = self.open.get(trace.session_key) if trace.session_key else None
        if session is not None and trace.root_ended and not had_root:
            session.rootless -= 1
            self._requeue(session)

    def _part(self, session: Session, trace: Trace) -> None:
        session.traces.remove(trace)
        if session.traces:
            session.recount()
            self._requeue(session)
        else:
            del self.open[session.key]

    def _requeue(self, session: Session) -> None:
        due_ns = self.due_ns(session)
        if due_ns < session.queued_ns:
            self.queue(session, due_ns)

    def queue(self, session: Session, due_ns: int) -> None:
        """Have a session looked at when event time reaches `due_ns`."""
        session.queued_ns = due_ns
        heappush(self._queue, (due_ns, session.key))

    def due_ns(self, session: Session) -> int:
        """When a session closes if nothing more comes; never before its last span."""
        silence_ns = self._rootless_idle_ns if session.rootless > 0 else self._idle_ns
        last_ns = session.last_ns
        return min(last_ns + silence_ns, max(session.first_ns + self._max_ns, last_ns))

    def next_due(self) -> tuple[int, Session] | None:
        """The session that is due first, and when."""
        while self._queue:
            queued_ns, key = self._queue[0]
            session = self.open.get(key)
            if session is None or session.queued_ns != queued_ns:
                heappop(self._queue)
                continue
            due_ns = self.due_ns(session)
            if due_ns <= queued_ns:
                return queued_ns, session
            heappop(self._queue)
            self.queue(session, due_ns)
        return None

    def close(self, session: Session) -> list[Trace]:
        """End a leg; the traces that are now done with. Those with spans still to come to begin the next leg."""
        del self.open[session.key]
        done = [trace for trace in session.traces if not trace.waiting]
        for trace in session.traces:
            trace.leave_session()
        return done


def _key(trace: Trace) -> str:
    return trace.session[2] if trace.session else trace.session_key or trace.trace_id.hex()


def session_unit(session: Session) -> tuple[Labels, Unit, int]:
    """Labels of a closing session, its unit with cell 0 still to be filled in, and its outcome class or -1.

    It is told by its first trace's root. Its cost is the sum of its calls' if all of them have one.
    """
    traces = session.traces
    main = min(traces, key=lambda trace: (trace.first_ns, trace.trace_id))
    root = main.root or min(main.spans.values(), key=lambda span: (span.start_ns, span.span_id))
    tenant, agent = labels_of(main, root)[:2]
    outcome = max(trace.outcome for trace in traces)[2]
    roots = [trace.root for trace in traces if trace.root is not None and trace.root_ended]
    failed = any(each.failed for each in roots)  # An outcome of `failed` is counted as that, once.
    dollars = sum(trace.dollars for trace in traces)
    unpriced = any(trace.unpriced for trace in traces)
    free = not unpriced and dollars == 0 and any(trace.free for trace in traces)
    seconds = (session.last_ns - session.first_ns) / 1e9
    labels = (tenant, agent, SESSION_UNIT, "", "", "", "")
    unit = (0, root.weight, float(failed), 0.0, 0.0, dollars, float(unpriced), float(free), seconds, outcome)
    return labels, unit, outcome


def add_cost(trace: Trace, dollars: float, source: CostSource) -> None:
    """Add one resolved call to what its session will have cost."""
    trace.dollars += dollars
    trace.unpriced += source is CostSource.UNPRICED
    trace.free += source is CostSource.FREE
