"""Ingest: records in, closed slots out. Decodes, joins, prices and adds up, each in its own file."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from detectors.core.columns import CELL_LABELS, SECOND_NS, SLOT_NS, Arrays, Slot
from detectors.core.series import OVERFLOW, SeriesTable
from service.batch import Answer, Dropped, Record, Signal, Tally
from service.ingest import snapshot
from service.ingest.decode import Decoder, decode
from service.ingest.local import Local
from service.ingest.metrics.measures import Cell, added
from service.ingest.metrics.meters import Meters
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.policies import Policies
from service.ingest.prices import DAY_NS, Prices
from service.ingest.resolve import Pending, Review, resolve
from service.ingest.rollup import Unit, roll_up
from service.ingest.sessions import Session, Sessions, session_unit
from service.ingest.spans import Decoded
from service.ingest.traces import Labels, Trace, TraceTable, labels_of
from service.ingest.twins import Twins
from service.ingest.vocabulary import Span
from service.ingest.watermark import Watermark

IN_PROTOBUF = ProtobufDecoder()
NOTHING_LOCAL = Local()
METERS = "/metrics"
"""The watermark's name for all metrics together, which move it where no spans come."""
AGENT_PLACE, NO_METRIC = CELL_LABELS.index("agent"), ""
CELL_LIFE_NS = 8 * DAY_NS
"""Event time after which a cell that counted nothing gives its place up: a weekly job keeps its own."""


@dataclass(frozen=True)
class IngestLimits:
    """How long ingest waits, and how much it holds.

    lateness_ns       how far the watermark stays behind the latest end
    future_max_ns     a span that ends later than this after the clock is rejected
    session_idle_ns   quiet after which a session whose roots have ended closes
    rootless_idle_ns  quiet after which a session without a root closes
    session_max_ns    age at which a session closes whatever comes
    traces_max        live traces; a new one then evicts the oldest, whose session closes
    spans_max         spans in live traces, counted ones too; a further one evicts the oldest trace
    pending_max       spans waiting for their slot to close; with more the oldest slot closes before its time
    cells_max         label sets counted apart; later ones share one
    body_bytes_max    a larger body is not read
    """

    lateness_ns: int = 60 * SECOND_NS
    future_max_ns: int = 300 * SECOND_NS
    session_idle_ns: int = 30 * SECOND_NS
    rootless_idle_ns: int = 900 * SECOND_NS
    session_max_ns: int = 86_400 * SECOND_NS
    traces_max: int = 200_000
    spans_max: int = 2_000_000
    pending_max: int = 1_000_000
    cells_max: int = 50_000
    body_bytes_max: int = 64 * 2**20


class Ingest:
    """All that is known of spans not yet in a closed slot, and the sessions still open.

    Whether a span is late is decided against the watermark as it stood before its record, and slots and sessions
    close as records are read, so how records are batched changes nothing.
    """

    def __init__(
        self, limits: IngestLimits, review: Review | None = None, decoder: Decoder = IN_PROTOBUF,
        meters: Meters | None = None, local: Local = NOTHING_LOCAL,
    ) -> None:  # fmt: skip
        self.limits, self.local = limits, local
        self.meters = meters or Meters()
        self._decoder = decoder
        self.cells = SeriesTable(CELL_LABELS, limits.cells_max)
        self._review = review
        self._watermark = Watermark(limits.lateness_ns)
        self._traces = TraceTable(limits.traces_max, limits.spans_max)
        self._sessions = Sessions(limits.session_idle_ns, limits.rootless_idle_ns, limits.session_max_ns)
        self._prices = Prices(local.prices)
        self._twins = Twins()
        self._policies = Policies()
        self._open: dict[int, list[Pending]] = {}
        self._pending = 0  # Spans in `_open`.
        self._starts: list[int] = []  # The keys of `_open`, as a heap.
        self._closed_sessions: dict[int, list[Unit]] = {}
        self._floor_ns = 0
        self._ready: list[Slot] = []
        self._expired_day = 0

    @property
    def watermark_ns(self) -> int | None:
        """Event time that no slot will be added to before; None before the first span."""
        return self._watermark.ns

    def expect(self, partitions: Iterable[str], now_ns: int) -> None:
        """Wait for partitions just assigned: no slot closes that they could still bring spans of.

        One that stays silent for a minute, or was taken away again, holds nobody up any longer.
        """
        self._watermark.expect(partitions, now_ns)

    def read(self, record: Record, now_ns: int, tally: Tally) -> Answer:
        """Take in one body. Any bytes get an answer."""
        return next(self.read_all((record,), now_ns, tally))

    def read_all(self, records: Sequence[Record], now_ns: int, tally: Tally) -> Iterator[Answer]:
        """Take in bodies one by one, and give the answer to each before the next one moves anything.

        Small ones are decoded together, which changes nothing but the time it takes.
        """
        for record, decoded in zip(records, decode(records, self.limits.body_bytes_max, self._decoder), strict=True):
            self._expire_cells()
            yield self._take(record, decoded, now_ns, tally)

    def _take(self, record: Record, decoded: Decoded, now_ns: int, tally: Tally) -> Answer:
        latest_ns = self._join(decoded, now_ns, tally)
        tally.dropped.update(decoded.dropped)
        tally.content.update(decoded.content)
        if decoded.error is not None:
            return Answer(error=decoded.error)
        if record.signal is not Signal.TRACES:
            latest_ns = self._take_read(record, decoded, now_ns, tally)
            if latest_ns and self._watermark.is_silent(METERS, now_ns):
                self._watermark.hear(METERS, latest_ns, now_ns)
        elif latest_ns:
            self._watermark.hear(record.partition, latest_ns, now_ns)
        self._move(now_ns, tally)
        return Answer(*decoded.rejected())

    def _take_read(self, record: Record, decoded: Decoded, now_ns: int, tally: Tally) -> int:
        """Take in metric points and evaluations; the latest time among them, 0 if there is none."""
        read = decoded.read
        if read is None:
            return 0
        if record.signal is Signal.LOGS:
            tally.logs += read.records
        else:
            tally.points += read.records

        def cell_of(labels: Cell, seen_ns: int) -> int:
            return self._cell(labels, seen_ns, tally)

        future_ns = now_ns + self.limits.future_max_ns
        for start_ns in self.meters.take(read, self._floor_ns, future_ns, cell_of, self._joined):
            self._slot(start_ns)
        tally.dropped.update(read.dropped)
        decoded.dropped.update(read.dropped)
        tally.saturated.update(read.saturated)
        times = [point.time_ns for point in read.points] + [each.time_ns for each in read.evaluations]
        return max((time_ns for time_ns in times if time_ns <= future_ns), default=0)

    def _joined(self, trace_id: bytes, span_id: bytes) -> tuple[str, str]:
        """Tenant and agent of a span of a live trace."""
        trace = self._traces.live.get(trace_id)
        span = (trace.spans.get(span_id) or trace.root) if trace else None
        return labels_of(trace, span)[:2] if trace and span else ("", "")

    def _join(self, decoded: Decoded, now_ns: int, tally: Tally) -> int:
        """Put a body's spans into their traces and slots; the latest end among them, 0 if there is none."""
        latest_ns = 0
        future_ns = now_ns + self.limits.future_max_ns
        traces, review, floor_ns, spans_max = self._traces, self._review, self._floor_ns, self.limits.spans_max
        told = self.meters.told.span
        for span in decoded.spans:
            end_ns = span.end_ns
            if end_ns > future_ns:
                decoded.dropped[Dropped.FUTURE] += 1
                continue
            tally.spans += 1
            if end_ns > latest_ns:
                latest_ns = end_ns
            told(span.resource, span.operation, span.spent, end_ns)
            if review is not None:
                review.span(span)
            is_late = end_ns < floor_ns
            if traces.spans >= spans_max:
                self._evict_oldest(tally)
            trace = traces.live.get(span.trace_id)
            if trace is not None and span.span_id in trace.spans:
                decoded.dropped[Dropped.DUPLICATE] += 1
                continue
            if end_ns < span.start_ns:
                decoded.dropped[Dropped.NEGATIVE_DURATION] += 1
            if is_late:
                decoded.dropped[Dropped.LATE] += 1
                if trace is None:  # Nothing left to join: its session, if it had one, is closed and counted.
                    continue
            if trace is None:
                trace = self._new_trace(span, tally)
            if not traces.add(trace, span):
                decoded.dropped[Dropped.TRACE_FULL] += 1
            if is_late:
                self._sessions.learn(trace, span)
                traces.strip(((trace, span),))
            else:
                trace.waiting += 1
                self._pending += 1
                self._slot(end_ns - end_ns % SLOT_NS).append((trace, span))
        return latest_ns

    def _slot(self, start_ns: int) -> list[Pending]:
        """The calls waiting for a slot to close, the slot opened if it is not."""
        calls = self._open.get(start_ns)
        if calls is None:
            calls = self._open[start_ns] = []
            heappush(self._starts, start_ns)
        return calls

    def _new_trace(self, span: Span, tally: Tally) -> Trace:
        if len(self._traces.live) >= self.limits.traces_max:
            self._evict_oldest(tally)
        return self._traces.open(span.trace_id)

    def _evict_oldest(self, tally: Tally) -> None:
        oldest = self._traces.oldest()
        tally.dropped[Dropped.TRACES_FULL] += 1
        session = self._sessions.open.get(oldest.session_key)
        if session is not None:
            self._close_session(session, session.last_ns, tally)
        self._traces.forget(oldest)

    def closed_slots(self, now_ns: int, tally: Tally) -> Iterator[Slot]:
        """The slots that the watermark has passed and that were not given before, oldest first."""
        self._move(now_ns, tally)
        return self._take_ready()

    def flush(self, tally: Tally) -> Iterator[Slot]:
        """Close whatever is open, sessions too: the end of a finite replay. What still comes is late."""
        self._settle(None, tally)
        return self._take_ready()

    def _take_ready(self) -> Iterator[Slot]:
        ready, self._ready = self._ready, []
        return iter(ready)

    def _move(self, now_ns: int, tally: Tally) -> None:
        before_ns = self._watermark.ns
        watermark_ns = self._watermark.advance(now_ns)
        if watermark_ns is not None and watermark_ns != before_ns:
            self._settle(watermark_ns, tally)
            self._floor_ns = max(self._floor_ns, watermark_ns - watermark_ns % SLOT_NS)
        while self._pending > self.limits.pending_max:
            start_ns = self._starts[0]
            tally.dropped[Dropped.SPANS_FULL] += len(self._open[start_ns])
            self._settle(start_ns + SLOT_NS, tally)
            self._watermark.force(start_ns + SLOT_NS)

    def _settle(self, until_ns: int | None, tally: Tally) -> None:
        """Close, in the order of event time, the slots that `until_ns` has passed (everything, if None)."""
        while True:
            due = self._sessions.next_due()
            if due is not None:
                self._slot(max(due[0] - due[0] % SLOT_NS, self._floor_ns))
            if not self._starts or (until_ns is not None and self._starts[0] + SLOT_NS > until_ns):
                return
            start_ns = self._starts[0]
            self._close_slot(start_ns, tally)
            del self._open[heappop(self._starts)]
            self._floor_ns = max(self._floor_ns, start_ns + SLOT_NS)

    def _close_slot(self, start_ns: int, tally: Tally) -> None:
        cells: dict[Labels, int] = {}

        def cell_of(labels: Labels) -> int:
            cell = cells.get(labels, OVERFLOW)
            if cell == OVERFLOW:
                cell = cells[labels] = self._cell((*labels, NO_METRIC), start_ns, tally)
            return cell

        def close(session: Session, due_ns: int) -> None:
            self._close_session(session, due_ns, tally)

        def reach(trace: Trace, span: Span) -> None:
            self._sessions.reach(trace, span, close)
            trace.waiting -= 1

        pending = self._open[start_ns]
        calls = resolve(start_ns, pending, self._prices, self.local, self._twins, reach, cell_of, self._review, tally)
        tally.tickets += self._policies.slot(start_ns, (span for _, span in pending))
        self._pending -= len(pending)
        self._traces.strip(pending)
        while (due := self._sessions.next_due()) is not None and due[0] < start_ns + SLOT_NS:
            self._close_session(due[1], due[0], tally)
        slot = roll_up(start_ns, calls, self._closed_sessions.pop(start_ns, []))
        self.meters.told.slot(slot, lambda cell: self.cells.values(cell)[AGENT_PLACE])
        metered = self.meters.slot(start_ns)
        slot = slot if metered is None else added(slot, metered)
        if len(slot.cell):
            tally.slots += 1
            self._ready.append(slot)

    def _expire_cells(self) -> None:
        """Once a day of event time, free the cells long unseen.

        Before a body closes slots, and never while slots wait to be taken: an id that a slot holds keeps its meaning.
        """
        day = self._floor_ns // DAY_NS
        if day > self._expired_day and not self._ready:
            self._expired_day = day  # Not saved: doing it again frees nothing more.
            self.cells.expire(day * DAY_NS - CELL_LIFE_NS)

    def _cell(self, labels: Cell, seen_ns: int, tally: Tally) -> int:
        cell = self.cells.id_of(labels, seen_ns)
        if cell == OVERFLOW:
            tally.dropped[Dropped.SERIES_FULL] += 1
            tally.refused[labels[AGENT_PLACE]] += 1
        return cell

    def _close_session(self, session: Session, close_ns: int, tally: Tally) -> None:
        labels, unit, outcome = session_unit(session)
        # A root that came late can make a session due in a closed slot: it counts in the first open one.
        start_ns = max(close_ns - close_ns % SLOT_NS, self._floor_ns)
        cell = self._cell((*labels, NO_METRIC), start_ns, tally)
        self._slot(start_ns)
        self._closed_sessions.setdefault(start_ns, []).append((cell, *unit[1:]))
        tally.sessions += 1
        if session.is_trace:
            tally.sessionless[labels[AGENT_PLACE]] += 1
        if self._review is not None:
            self._review.session(labels, session.key, outcome)
        for trace in self._sessions.close(session):
            self._traces.forget(trace)

    def snapshot(self) -> Arrays:
        """All state as named arrays. The slots that closed must have been taken."""
        assert not self._ready, "take the closed slots before saving: they are in no snapshot"
        state = snapshot.take(
            self.cells, self._watermark, self._traces, self._sessions, self._open, self._closed_sessions,
            self._floor_ns, self._twins,
        )  # fmt: skip
        policies = np.frombuffer(json.dumps(self._policies.state()).encode(), np.uint8)
        return {**state, "meters": self.meters.snapshot(), "policies": policies}

    @classmethod
    def restore(
        cls, arrays: Arrays, limits: IngestLimits, decoder: Decoder = IN_PROTOBUF, meters: Meters | None = None,
        local: Local = NOTHING_LOCAL,
    ) -> "Ingest":  # fmt: skip
        """What `snapshot` was taken of: reading on from it gives what never having stopped would have."""
        ingest = cls(limits, decoder=decoder, meters=meters, local=local)
        ingest.meters.restore(arrays)
        ingest._policies = Policies.resume(json.loads(arrays["policies"].tobytes()))
        ingest.cells = SeriesTable.restore(snapshot.cells_of(arrays), limits.cells_max)
        state = snapshot.State(arrays)
        ingest._watermark = Watermark.resume(state.watermark, limits.lateness_ns)
        state.fill(ingest._traces, ingest._sessions, ingest._open, ingest._closed_sessions)
        ingest._starts = sorted(ingest._open)
        ingest._floor_ns = state.floor_ns
        ingest._twins = Twins.resume(state.twins)
        ingest._pending = sum(len(pending) for pending in ingest._open.values())
        return ingest
