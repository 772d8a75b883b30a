"""Sessions: which traces are one conversation, and when it is over.

A session is due when every trace of it has its root and nothing more came for `session_idle_ns`; after
`rootless_idle_ns` of silence where a root is missing; and `session_max_ns` after it began at the latest.
"""

from heapq import heappop, heappush

from detectors.core.columns import OUTCOMES, SLOT_NS
from service.ingest.prices import CostSource
from service.ingest.rollup import Unit
from service.ingest.traces import NO_OUTCOME, Labels, Trace, labels_of
from service.ingest.vocabulary import SESSION_UNIT

FAILED = OUTCOMES.index("failed")
_NEVER = 2**63 - 1


class Session:
    """One leg of a conversation: what its live traces have in common.

    rootless   how many of its traces have no root yet
    queued_ns  the time under which it waits in the queue, at or before the time it is due
    """

    __slots__ = ("first_ns", "key", "last_ns", "queued_ns", "rootless", "traces")

    def __init__(self, key: str) -> None:
        self.key = key
        self.traces: dict[bytes, Trace] = {}
        self.queued_ns = self.first_ns = _NEVER
        self.last_ns = self.rootless = 0

    def recount(self) -> None:
        """Make the times and the count of missing roots agree with the traces."""
        traces = self.traces.values()
        self.first_ns = min(trace.first_ns for trace in traces)
        self.last_ns = max(trace.last_ns for trace in traces)
        self.rootless = sum(trace.root is None for trace in traces)


class Sessions:
    """Open sessions by id, and the order in which they come due. As many as there are traces at most."""

    def __init__(self, idle_ns: int, rootless_idle_ns: int, max_ns: int) -> None:
        self._idle_ns, self._rootless_idle_ns, self._max_ns = idle_ns, rootless_idle_ns, max_ns
        self.open: dict[str, Session] = {}
        self._queue: list[tuple[int, str]] = []

    def place(self, trace: Trace, had_root: bool) -> None:
        """Put a trace that just grew where it belongs; its session id may have become known, or another."""
        key = trace.session[2] if trace.session else trace.session_key or trace.trace_id.hex()
        session = self.open.get(trace.session_key)
        sooner = True  # Only these changes can bring the time it is due forward: a later end puts it off.
        if session is None or key != trace.session_key:
            if session is not None:
                self._part(session, trace)
            session = self.open.get(key)
            if session is None:
                session = self.open[key] = Session(key)
            trace.session_key = key
            session.traces[trace.trace_id] = trace
            session.rootless += trace.root is None
        elif trace.root is not None and not had_root:
            session.rootless -= 1
        else:
            sooner = trace.first_ns < session.first_ns
        if trace.first_ns < session.first_ns:
            session.first_ns = trace.first_ns
        if trace.last_ns > session.last_ns:
            session.last_ns = trace.last_ns
        if sooner and (due_ns := self._due(session)) < session.queued_ns:
            self.queue(session, due_ns)

    def _part(self, session: Session, trace: Trace) -> None:
        del session.traces[trace.trace_id]
        if session.traces:
            session.recount()
        else:
            del self.open[session.key]

    def queue(self, session: Session, due_ns: int) -> None:
        """Have a session looked at when event time reaches `due_ns`."""
        session.queued_ns = due_ns
        heappush(self._queue, (due_ns, session.key))

    def _due(self, session: Session) -> int:
        silence_ns = self._rootless_idle_ns if session.rootless else self._idle_ns
        # Not before the slots of its calls are closed: only then are they resolved and their cost known.
        quiet_ns = max(session.last_ns + silence_ns, _next_slot(session.last_ns))
        return min(quiet_ns, _next_slot(session.first_ns + self._max_ns))

    def next_due(self) -> tuple[int, Session] | None:
        """The session that is due first, and when."""
        while self._queue:
            queued_ns, key = self._queue[0]
            session = self.open.get(key)
            if session is None or session.queued_ns != queued_ns:
                heappop(self._queue)
                continue
            due_ns = self._due(session)
            if due_ns <= queued_ns:
                return queued_ns, session
            heappop(self._queue)
            self.queue(session, due_ns)
        return None

    def close(self, session: Session, close_ns: int) -> list[Trace]:
        """End a leg; the traces that are now done with. Those with spans from `close_ns` on begin the next leg."""
        del self.open[session.key]
        done = [trace for trace in session.traces.values() if trace.last_ns < close_ns]
        carried = {key: trace for key, trace in session.traces.items() if trace.last_ns >= close_ns}
        if carried:
            for trace in carried.values():
                trace.first_ns, trace.outcome = close_ns, NO_OUTCOME
                trace.dollars, trace.unpriced, trace.free = 0.0, 0, 0
            following = self.open[session.key] = Session(session.key)
            following.traces = carried
            following.recount()
            self.queue(following, self._due(following))
        return done


def session_unit(session: Session) -> tuple[Labels, Unit, int]:
    """Labels of a closing session, its unit with cell 0 still to be filled in, and its outcome class or -1.

    It is told by its first trace's root. Its cost is the sum of its calls' if all of them have one.
    """
    traces = session.traces.values()
    main = min(traces, key=lambda trace: (trace.first_ns, trace.trace_id))
    root = main.root or min(main.spans.values(), key=lambda span: (span.start_ns, span.span_id))
    tenant, agent = labels_of(main, root)[:2]
    outcome = max(trace.outcome for trace in traces)[2]
    failed = outcome == FAILED or any(trace.root is not None and trace.root.failed for trace in traces)
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


def _next_slot(time_ns: int) -> int:
    return (time_ns // SLOT_NS + 1) * SLOT_NS
