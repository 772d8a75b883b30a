"""The join as its rules would be told, in plain objects: slow, and nothing is kept that can be worked out.

It takes the place of the join in an `Ingest`, as `reference_closing.py` does of its closing, to hold the kernels to.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from detectors.core.columns import SLOT_NS
from service.batch import Dropped, Tally
from service.ingest.kernel.constants import SPANS_OF_TRACE_MAX
from service.ingest.limits import IngestLimits
from service.ingest.reader import Decoded
from service.ingest.vocabulary import OUTCOME, outcome_class
from tests.service.ingest.reference_labels import labels
from tests.service.ingest.reference_spans import Reader, Span, Trace


@dataclass(eq=False)
class Session:
    """A segment of a session that is open. Its key is its name, or the id of the trace that it began with."""

    key: object
    traces: list[Trace] = field(default_factory=list)

    def due(self, limits: IngestLimits) -> int:
        """When it closes if nothing more comes; never before its last span."""
        first, last = min(trace.first for trace in self.traces), max(trace.last for trace in self.traces)
        rootless = any(not trace.is_over for trace in self.traces)
        silence = limits.rootless_idle_ns if rootless else limits.session_idle_ns
        return int(min(last + silence, max(first + limits.session_max_ns, last)))


@dataclass(eq=False)
class Ended:
    """A session that ended."""

    labels: tuple[str, str, str]  # Tenant, agent and version.
    weight: float
    seconds: float
    failed: bool
    outcome: int
    dollars: float
    unpriced: bool
    free: bool
    is_named: bool
    trace: tuple[int, int]


@dataclass(eq=False)
class Slot:
    """An open slot."""

    waiting: list[Span] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)


class Join:
    """What `stage.py` asks of a join."""

    def __init__(self, limits: IngestLimits) -> None:
        self.limits, self.reader = limits, Reader()
        self.live: dict[tuple[int, int], Trace] = {}
        self.sessions: dict[object, Session] = {}
        self.slots: dict[int, Slot] = {}
        self.floor_ns = self.pending = 0
        self.lexicon = self

    def told(self) -> Iterator[tuple[str, str, int]]:
        """Nothing: no metrics are told what spans told."""
        return iter(())

    def labels_of(self, trace_id: bytes, span_id: bytes) -> tuple[str, str]:
        """Of no trace: no evaluation asks."""
        return "", ""

    def is_short_of_names(self) -> bool:
        """It never is."""
        return False

    def forget_labels(self) -> None:
        """There are none to forget."""

    def rise(self, floor_ns: int) -> None:
        """Slots before are closed."""
        self.floor_ns = max(self.floor_ns, floor_ns)

    def open(self, start_ns: int) -> Slot:
        """The slot that begins then."""
        return self.slots.setdefault(start_ns, Slot())

    @property
    def first_start_ns(self) -> int | None:
        """The start of the slot that closes next."""
        return min(self.slots, default=None)

    def waiting(self, start_ns: int) -> int:
        """How many spans wait for a slot."""
        return len(self.slots[start_ns].waiting) if start_ns in self.slots else 0

    def next_start_ns(self) -> int | None:
        """The start of the slot that is to close next, one in which a session is due among them."""
        if self.sessions:
            due_ns = min(session.due(self.limits) for session in self.sessions.values())
            self.open(max(due_ns - due_ns % SLOT_NS, self.floor_ns))
        return self.first_start_ns

    def admit(self, bodies: Sequence[Decoded], future_ns: int, tally: Tally) -> int:
        """Put the spans of some bodies into their traces and slots; the latest end among them."""
        latest, dropped = 0, Counter[Dropped]()
        for span, end in self.reader.spans[bodies[0].first : bodies[-1].stop]:
            if end > future_ns:
                dropped[Dropped.FUTURE] += 1
                continue
            tally.spans += 1
            latest = max(latest, end)
            self._admit(span, dropped, tally)
        for reason, n in dropped.items():
            bodies[0].drop(reason, n)
        return latest

    def _admit(self, span: Span, dropped: Counter[Dropped], tally: Tally) -> None:
        if sum(len(trace.spans) for trace in self.live.values()) >= self.limits.spans_max:
            self._evict_oldest(tally)
        trace, is_late = self.live.get(span.trace.id), span.end < self.floor_ns
        if trace is not None and span.id in trace.spans:
            dropped[Dropped.DUPLICATE] += 1
            if trace.spans[span.id].waits:
                trace.spans[span.id].tell_again(span)
            return
        dropped[Dropped.NEGATIVE_DURATION] += span.end < span.start
        dropped[Dropped.LATE] += is_late
        if trace is None:
            if is_late:
                return
            if len(self.live) >= self.limits.traces_max:
                self._evict_oldest(tally)
            trace = self.live[span.trace.id] = span.trace
        span.trace = trace
        if (span.parent_id or trace.root) and len(trace.spans) >= SPANS_OF_TRACE_MAX:
            span.is_loose = True
            dropped[Dropped.TRACE_FULL] += 1
        else:
            trace.spans[span.id] = span
        if is_late:
            span.waits = False
            self.learn(span)
            return
        self.open(span.end - span.end % SLOT_NS).waiting.append(span)
        trace.waits += 1
        self.pending += 1

    def _evict_oldest(self, tally: Tally) -> None:
        """Give up the trace that began to live first."""
        tally.dropped[Dropped.TRACES_FULL] += 1
        oldest = next(iter(self.live.values()))
        if oldest.session is not None:
            self.close(oldest.session, max(trace.last for trace in oldest.session.traces))
        if oldest.is_live:
            self.detach(oldest)

    def detach(self, trace: Trace) -> None:
        """Have a later span of this trace begin a new one."""
        trace.is_live = False
        del self.live[trace.id]

    @staticmethod
    def learn(span: Span) -> None:
        """Take from a span what it says of the session as a whole."""
        outcome = outcome_class(span.says(OUTCOME)) if span.says(OUTCOME) else -1
        if outcome >= 0:
            span.trace.outcome = max(span.trace.outcome, (span.placed, span.id, outcome), key=lambda said: said[:2])
        span.trace.root_ended |= not span.parent_id
        span.trace.has_top |= bool(span.parent_id) and span.is_run and span.parent is None

    def attach(self, span: Span) -> None:
        """Advance event time to the span's end, and attach its trace to its session."""
        trace = span.trace
        key: object = trace.name or trace.id
        session = self.sessions.get(key)
        if session is not None and (due_ns := session.due(self.limits)) <= span.placed:
            self.close(session, due_ns)
            session = None
        if trace.session is not None and trace.session is not session:
            trace.session.traces.remove(trace)
            if not trace.session.traces:
                del self.sessions[trace.session.key]
        self.learn(span)
        trace.first, trace.last = min(trace.first, span.start, span.placed), max(trace.last, span.placed)
        if trace.session is not session or session is None:
            session = self.sessions.setdefault(key, Session(key))
            session.traces.append(trace)
            trace.session = session

    def close(self, session: Session, close_ns: int) -> None:
        """End a segment. It counts in the slot of that time, or the first open one."""
        del self.sessions[session.key]
        self.open(max(close_ns - close_ns % SLOT_NS, self.floor_ns)).ended.append(ended(session))
        for trace in session.traces:
            trace.begin_segment()
            if not trace.waits and trace.is_live:
                self.detach(trace)

    def close_due(self, end_ns: int) -> None:
        """Close the sessions that are due before a time, the one due first before the others."""
        while self.sessions:
            session = min(self.sessions.values(), key=lambda each: each.due(self.limits))
            if (due_ns := session.due(self.limits)) >= end_ns:
                return
            self.close(session, due_ns)


def ended(session: Session) -> Ended:
    """What a session came to: its labels are those of its first trace's root, its cost the sum of its calls'."""
    traces = session.traces[::-1]  # Where two tie in all else, the one that joined the session last is the one.
    main = min(traces, key=lambda trace: (trace.first, trace.id))
    root = main.first_span
    words = labels(root)
    outcome = max(traces, key=lambda trace: trace.outcome[:2]).outcome[2]
    unpriced, free = sum(trace.unpriced for trace in traces), sum(trace.free for trace in traces)
    dollars = sum(trace.dollars for trace in traces)
    first, last = min(trace.first for trace in traces), max(trace.last for trace in traces)
    return Ended(
        (words[0], words[1], words[6]), root.weight, (last - first) / 1e9, any(trace.failed for trace in traces),
        outcome, dollars, unpriced > 0, not unpriced and dollars == 0 and free > 0, any(trace.name for trace in traces),
        main.id,
    )  # fmt: skip
