"""The join: what spans say goes in, units of closed slots come out. The tables are its state; kernels do the work."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import SLOT_NS, Arrays, Ids
from service.batch import Dropped, Tally
from service.ingest.join import format9, format10, saved
from service.ingest.join.lexicon import Lexicon
from service.ingest.kernel import intake, joining
from service.ingest.kernel.constants import WAS_DUPLICATE, WAS_FUTURE, WAS_LATE, WAS_NEGATIVE, WAS_TRACE_FULL
from service.ingest.kernel.tables import WORDS_MAX, Tables
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.plans import Plans
from service.ingest.reader import Decoded, Reader
from service.ingest.stretches import WORDS, Stretches
from service.ingest.vocabulary import AGENT, AGENT_VERSION, REQUEST_MODEL, TOOL_NAME, Reading, Resource

Seed = tuple[int, int]
"""Two int64 that hashes begin with; what is counted does not depend on them."""
UNSEEDED: Seed = (0, 0)
SPANS_BETWEEN = 1_000_000
"""Spans before what is not needed may be forgotten again to make room: going through everything takes a while."""
_DROPPED = {
    WAS_FUTURE: Dropped.FUTURE, WAS_LATE: Dropped.LATE, WAS_DUPLICATE: Dropped.DUPLICATE,
    WAS_NEGATIVE: Dropped.NEGATIVE_DURATION, WAS_TRACE_FULL: Dropped.TRACE_FULL,
}  # fmt: skip


class Join:
    """Live traces and open sessions, and the slots in which their spans wait.

    What stands for the name of a session depends on `names` alone, if that is given, else on the seed. With `tells`,
    sessions that have a name are joined elsewhere: it tells stretches of their traces, and does not count them.
    """

    def __init__(
        self, limits: IngestLimits, local: Local, seed: Seed, learns: bool = True, names: Seed | None = None,
        tells: bool = False,
    ) -> None:  # fmt: skip
        weights = None
        if local.sampling is not None:
            weights = local.sampling.weight(failed=True), local.sampling.weight(failed=False)
        self.tables = Tables(
            seed, limits.session_idle_ns, limits.rootless_idle_ns, limits.session_max_ns, limits.traces_max,
            limits.spans_max, weights, names, tells,
        )  # fmt: skip
        self.lexicon = Lexicon(self.tables, local.outcomes)
        self.reader = Reader(self.tables, self.lexicon, local, Plans(self.lexicon, learns, local))
        self._seen = 0  # Spans since names were forgotten.

    @property
    def floor_ns(self) -> int:
        """What ends before is late: its slot is closed."""
        return self.tables.floor

    def rise(self, floor_ns: int) -> None:
        """Slots before are closed."""
        self.tables.floor = max(self.floor_ns, floor_ns)

    @property
    def first_start_ns(self) -> int | None:
        """The start of the slot that closes next."""
        return self.tables.first_start

    @property
    def pending(self) -> int:
        """Spans that wait for their slot to close."""
        return self.tables.pending

    @property
    def traces(self) -> int:
        """Live traces."""
        return self.tables.live_traces

    @property
    def spans(self) -> int:
        """Spans of live traces."""
        return self.tables.live_spans

    def admit(self, bodies: Sequence[Decoded], future_ns: int, tally: Tally) -> int:
        """Put the spans of bodies that were decoded together into their traces and slots.

        Returns the latest end among them, 0 if there is none. What is dropped is noted in the body that it is of.
        """
        first, stop = bodies[0].first, bodies[-1].stop
        if first == stop:
            return 0
        counts = intake.admit(self.tables, first, stop, future_ns)
        tally.spans += counts["read"]
        self._seen += stop - first
        if counts["traces_full"]:
            tally.dropped[Dropped.TRACES_FULL] += counts["traces_full"]
        if counts["future"] or counts["late"] or counts["duplicates"] or counts["negatives"] or counts["trace_full"]:
            self._note_dropped(bodies)
        return counts["latest"]

    def bear(self, stretches: Stretches, until_ns: int) -> None:
        """Put stretches into their sessions, in the order given, and close the sessions that are due before then."""
        rows = stretches.rows.copy()
        words = np.array([self.lexicon.word(text) for text in stretches.texts] or [0], np.uint32)
        for name in WORDS:
            rows[name] = words[rows[name]]
        roots = self._readings((AGENT, AGENT_VERSION, REQUEST_MODEL), (rows["agent"], rows["version"], rows["model"]))
        tools = self._readings((TOOL_NAME,), (rows["tool"],))
        self._seen += len(rows)
        joining.join_in(self.tables, rows, roots, tools, self.lexicon.resource(Resource()), until_ns)

    def _readings(self, fields: Sequence[str], words: Sequence[NDArray[np.uint32]]) -> Ids:
        """What the dialects would say of spans of which no more is known than these words of these fields."""
        together = np.zeros(len(words[0]), np.int64)
        for column in words:
            together = together * WORDS_MAX + column
        _, first, places = np.unique(together, return_index=True, return_inverse=True)
        found = np.empty(len(first), np.int32)
        for i, row in enumerate(first.tolist()):
            reading = Reading(is_root=False)
            reading.own = {field: self.lexicon.text(int(each[row])) for field, each in zip(fields, words, strict=True)}
            found[i] = self.lexicon.reading(reading, None)
        numbers: Ids = found[places]
        return numbers

    def _note_dropped(self, bodies: Sequence[Decoded]) -> None:
        flags = self.tables.decoded()["flags"]
        for body in bodies:
            found = flags[body.first : body.stop]
            for flag, reason in _DROPPED.items():
                if n := int(np.count_nonzero(found & flag)):
                    body.drop(reason, n)

    def is_short_of_names(self) -> bool:
        """Whether it is time to forget the names that nobody needs."""
        return self._seen >= SPANS_BETWEEN and self.lexicon.is_full()

    def forget_names(self) -> None:
        """Forget them. What was decoded must have been admitted, and what spans told must have been asked for."""
        self._seen = 0
        self.lexicon.forget_unused()
        for name in ("labels", "prices", "origins"):
            self.tables.clear(name)
        self.reader.forget()

    def forget_labels(self) -> None:
        """Ask for the cells of all labels again: some were freed."""
        self.tables.clear("labels")

    def open(self, start_ns: int) -> None:
        """Open a slot, if it is not."""
        intake.open_slot(self.tables, start_ns)

    def next_start_ns(self) -> int | None:
        """The start of the slot that is to close next, one in which a session is due among them."""
        due_ns = intake.first_due(self.tables)
        if due_ns is not None:
            self.open(max(due_ns - due_ns % SLOT_NS, self.floor_ns))
        return self.first_start_ns

    def waiting(self, start_ns: int) -> int:
        """How many spans wait for a slot."""
        return intake.waiting(self.tables, start_ns)

    def labels_of(self, trace_id: bytes, span_id: bytes) -> tuple[str, str]:
        """Tenant and agent of a span of a live trace, or of its root; empty where it is not known."""
        high, low, own = (int.from_bytes(part, "little") for part in (trace_id[:8], trace_id[8:16], span_id[:8]))
        tenant, agent = intake.labels_of(self.tables, high, low, own)
        return self.lexicon.text(tenant), self.lexicon.text(agent)

    def dialects(self, decoded: Decoded, future_ns: int) -> Counter[str]:
        """The spans of a body by their dialect, but those of the future."""
        spans = self.tables.decoded()[decoded.first : decoded.stop]
        readings = np.unique(spans["reading"][spans["end"] <= future_ns], return_counts=True)
        found: Counter[str] = Counter()
        for reading, times in zip(*(each.tolist() for each in readings), strict=True):
            found[self.lexicon.told_by[reading]] += times
        return found

    def snapshot(self) -> Arrays:
        """All state, as named arrays."""
        lexicon = np.frombuffer(self.lexicon.snapshot().encode(), np.uint8)
        return {**{f"join.{name}": array for name, array in saved.snapshot(self.tables).items()}, "lexicon": lexicon}

    def restore(self, arrays: Arrays) -> None:
        """Take the place of what `snapshot` was taken of. Raises DamagedError."""
        tables = {name.removeprefix("join."): array for name, array in arrays.items() if name.startswith("join.")}
        saved.restore(self.tables, tables)
        self.lexicon.restore(format10.lexicon(format9.lexicon(arrays["lexicon"].tobytes().decode())))
        spans = self.tables.rows("spans")[self.tables.live("spans")]
        known = len(self.lexicon.told_by), len(self.lexicon.resources)
        if spans["reading"].max(initial=0) >= known[0] or spans["resource"].max(initial=0) >= known[1]:
            raise saved.DamagedError("a span names a reading or a resource that is not there")
