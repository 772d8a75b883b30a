"""The join: what spans say goes in, units of closed slots come out. The owner of all tables; kernels do the work."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from detectors.core.columns import SLOT_NS, Arrays
from service.batch import Dropped, Tally
from service.ingest.join.kernels import Kernels
from service.ingest.join.labels import L_AGENT, L_TENANT
from service.ingest.join.lexicon import Lexicon
from service.ingest.join.said import SAID_END, SAID_READING
from service.ingest.join.store import Seed, Store
from service.ingest.join.tables import (
    DUE,
    DUPLICATES,
    ENDED,
    FAILED_WEIGHT,
    FLOOR,
    FUTURE_SPANS,
    IDLE,
    IS_SAMPLED,
    LABELS,
    LATE_SPANS,
    LATEST,
    LIVE_SPANS,
    LIVE_TRACES,
    LONGEST,
    NEGATIVES,
    ORIGINS,
    PAGES,
    PENDING,
    PRICES,
    READ,
    REST_WEIGHT,
    ROOTLESS_IDLE,
    SLOT_WAITING,
    SLOTS,
    SPANS,
    SPANS_MAX,
    TRACE_FULL,
    TRACE_ROOT,
    TRACES,
    TRACES_FULL,
    TRACES_MAX,
    WAITS,
)
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.memory import as_bits
from service.ingest.reader import Decoded, Reader

SPANS_BETWEEN = 1_000_000
"""Spans before what is not needed may be forgotten again to make room: going through everything takes a while."""
_ROOM_AT_ONCE = 1 << 12
_DROPPED = {
    FUTURE_SPANS: Dropped.FUTURE, LATE_SPANS: Dropped.LATE, DUPLICATES: Dropped.DUPLICATE,
    NEGATIVES: Dropped.NEGATIVE_DURATION, TRACE_FULL: Dropped.TRACE_FULL, TRACES_FULL: Dropped.TRACES_FULL,
}  # fmt: skip


class Join:
    """Live traces and open sessions, and the slots in which their spans wait."""

    def __init__(self, limits: IngestLimits, kernels: Kernels, local: Local, seed: Seed) -> None:
        self.kernels, self.store = kernels, Store(kernels, seed)
        self.lexicon = Lexicon(self.store)
        self.reader = Reader(self.store, self.lexicon, local.policies)
        self._seen = self._room = 0  # Spans since names were forgotten; spans for which there is room.
        given = self.store.limits
        given[IDLE], given[ROOTLESS_IDLE], given[LONGEST] = (
            limits.session_idle_ns, limits.rootless_idle_ns, limits.session_max_ns,
        )  # fmt: skip
        given[TRACES_MAX], given[SPANS_MAX] = limits.traces_max, limits.spans_max
        if local.sampling is not None:
            given[IS_SAMPLED] = 1
            given[FAILED_WEIGHT] = as_bits(local.sampling.weight(failed=True))
            given[REST_WEIGHT] = as_bits(local.sampling.weight(failed=False))

    @property
    def floor_ns(self) -> int:
        """What ends before is late: its slot is closed."""
        return int(self.store.state[FLOOR])

    def rise(self, floor_ns: int) -> None:
        """Slots before are closed."""
        self.store.state[FLOOR] = max(self.floor_ns, floor_ns)

    @property
    def pending(self) -> int:
        """Spans that wait for their slot to close."""
        return int(self.store.state[PENDING])

    @property
    def traces(self) -> int:
        """Live traces."""
        return int(self.store.state[LIVE_TRACES])

    @property
    def spans(self) -> int:
        """Spans of live traces."""
        return int(self.store.state[LIVE_SPANS])

    def admit(self, bodies: Sequence[Decoded], future_ns: int, tally: Tally) -> int:
        """Put the spans of bodies that were decoded together into their traces and slots.

        Returns the latest end among them, 0 if there is none. What is dropped is counted in the first of the bodies.
        """
        first, stop = bodies[0].first, bodies[-1].stop
        store, spans, said = self.store, stop - first, bodies[0].said
        if not spans:
            return 0
        if spans > self._room:
            self._make_room(max(spans, _ROOM_AT_ONCE))
        self._room -= spans
        store.counts[:] = 0
        assert said is not None
        self.kernels.admit(store.tables, self.kernels.memory(said), first, stop, future_ns)
        counts = store.counts.tolist()
        tally.spans += counts[READ]
        self._seen += spans
        for counted, reason in _DROPPED.items():
            if counts[counted] and reason is Dropped.TRACES_FULL:
                tally.dropped[reason] += counts[counted]
            elif counts[counted]:
                bodies[0].drop(reason, counts[counted])
        return int(counts[LATEST])

    def _make_room(self, spans: int) -> None:
        for table in (SPANS, WAITS, TRACES, ENDED, PAGES):
            self.store.room(table, spans)
        self.store.room(SLOTS, 2 * spans)  # Each opens one, and so may the session that ends to make room for it.
        self.store.room_in_queues(2 * spans)
        self._room = spans

    def spend_room(self) -> None:
        """Have room made anew for the next spans: something else took of it."""
        self._room = 0

    def is_short_of_names(self) -> bool:
        """Whether it is time to forget the names that nobody needs."""
        return self._seen >= SPANS_BETWEEN and self.lexicon.is_full()

    def forget_names(self) -> None:
        """Forget them. What was decoded must have been admitted, and what spans told must have been asked for."""
        self._seen = 0
        self.lexicon.forget_unused()
        self.forget_labels()
        self.store.clear(PRICES)
        self.store.clear(ORIGINS)
        self.reader.forget()

    def forget_labels(self) -> None:
        """Ask for the cells of all labels again: some were freed."""
        self.store.clear(LABELS)

    def open(self, start_ns: int) -> None:
        """Open a slot, if it is not."""
        self.spend_room()
        self.store.room(SLOTS, 1)
        self.store.room_in_queues(1)
        self.kernels.slot_of(self.store.tables, start_ns)

    def next_start_ns(self) -> int | None:
        """The start of the slot that is to close next, one in which a session is due among them."""
        if self.kernels.next_due(self.store.tables) >= 0:
            due_ns = int(self.store.state[DUE])
            self.open(max(due_ns - due_ns % SLOT_NS, self.floor_ns))
        return self.store.first_start_ns

    def waiting(self, start_ns: int) -> int:
        """How many spans wait for a slot."""
        slot = self.kernels.find_slot(self.store.tables, start_ns)
        return int(self.store.rows[SLOTS][slot, SLOT_WAITING]) if slot >= 0 else 0

    def labels_of(self, trace_id: bytes, span_id: bytes) -> tuple[str, str]:
        """Tenant and agent of a span of a live trace, or of its root; empty where it is not known."""
        high, low, own = (int.from_bytes(part, "little", signed=True) for part in (trace_id[:8], trace_id[8:], span_id))
        tables = self.store.tables
        trace = self.kernels.find_trace(tables, high, low)
        if trace < 0:
            return "", ""
        span = self.kernels.find_span(tables, trace, own)
        span = int(self.store.rows[TRACES][trace, TRACE_ROOT]) if span < 0 else span
        if span < 0:
            return "", ""
        self.kernels.label(tables, span, 0)
        return self.lexicon.text(int(self.store.scratch[L_TENANT])), self.lexicon.text(int(self.store.scratch[L_AGENT]))

    def dialects(self, decoded: Decoded, future_ns: int) -> Counter[str]:
        """The spans of a body by their dialect, but those of the future."""
        if decoded.said is None:
            return Counter()
        said = decoded.said[decoded.first : decoded.stop]
        readings = np.unique(said[said[:, SAID_END] <= future_ns, SAID_READING], return_counts=True)
        found: Counter[str] = Counter()
        for reading, spans in zip(*(each.tolist() for each in readings), strict=True):
            found[self.lexicon.told_by[reading]] += spans
        return found

    def snapshot(self) -> Arrays:
        """All state, as named arrays."""
        lexicon = np.frombuffer(self.lexicon.snapshot().encode(), np.uint8)
        return {**{f"join.{name}": array for name, array in self.store.snapshot().items()}, "lexicon": lexicon}

    def restore(self, saved: Arrays) -> None:
        """Take the place of what `snapshot` was taken of."""
        self.spend_room()
        self.store.restore({name.removeprefix("join."): saved[name] for name in saved if name.startswith("join.")})
        self.lexicon.restore(saved["lexicon"].tobytes().decode())
