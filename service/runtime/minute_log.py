"""What is counted by the record and said by the minute: a log line is for a person, not for each record."""

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from service.batch import Dropped, Tally
from service.ingest.otlp.foreign import ADVICE, Foreign

log = logging.getLogger("tocsin")

EVERY_S = 60.0
SAID = {
    Dropped.LATE: "spans came too late: they joined their traces and count in no rule; see TOCSIN_LATENESS",
    Dropped.FUTURE: "spans or points end after what this clock allows and were dropped: compare the clocks of this "
    "machine and of the senders; see TOCSIN_FUTURE_MAX",
    Dropped.TRACES_FULL: "traces were given up before they were over; raise TOCSIN_LIMITS__TRACES_MAX or __SPANS_MAX",
    Dropped.TRACE_FULL: "spans had no room in their traces: they count, and lend nothing to those below",
    Dropped.SPANS_FULL: "spans were counted before their slot was over; raise TOCSIN_LIMITS__PENDING_MAX",
    Dropped.UNKNOWN_UNIT: "points of metrics have a unit that is not known, and count nowhere; see the tickets",
    Dropped.UNKNOWN_TOKEN: "points of metrics tell a type of tokens that is not known, and count nowhere",
    Dropped.UNKNOWN_KIND: "points of metrics are gauges or have no temporality: what they add is not known",
    Dropped.UNKNOWN_START: "points of cumulative metrics are only a beginning: when they began to count is not known, "
    "or it was before this daemon did, or others that cannot be told apart count, too",
    Dropped.SERIES_FULL: "calls count under _other; raise TOCSIN_LIMITS__CELLS_MAX, or see who sends so many names",
}
"""What of the drops is worth a line, and what to do about it; the others are somebody's broken telemetry."""
SAID_MAX = 10
"""Lines a minute of one kind; the metrics have the rest."""


@dataclass
class MinuteLog:
    """What the steps of the minute so far have dropped, that somebody should look into.

    unreadable  the topics and doors of whose bodies nothing could be read in the last whole minute, in words
    clock       that everything came from the future, in words
    waiting     the partitions that event time has waited for, for the whole of it, in words
    """

    dropped: Counter[Dropped] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    foreign: Counter[tuple[str, str]] = field(default_factory=Counter)
    snake_case: Counter[str] = field(default_factory=Counter)
    taken: int = 0
    unreadable: str = ""
    clock: str = ""
    waiting: str = ""
    _waited: set[str] | None = None
    _since_s: float | None = None  # When this minute began; None before the first step.

    def add(self, tally: Tally, waits_for: Collection[str], why: str, now_s: float) -> None:
        """Take in a step; says what the minute brought, once it is over. `why` says what of those waited for."""
        self.dropped.update(tally.dropped)
        self.read.update(tally.read)
        self.foreign.update(tally.foreign)
        self.snake_case.update(tally.snake_case)
        self.taken += tally.spans + tally.points + tally.logs
        if not waits_for:
            self.waiting = ""
        self._waited = set(waits_for) if self._waited is None else self._waited & set(waits_for)
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s >= EVERY_S:
            self._say_dropped()
            self._say_foreign()
            self._say_waiting(self._waited, why)
            self.taken = 0
            self.dropped.clear()
            self.read.clear()
            self.foreign.clear()
            self.snake_case.clear()
            self._waited, self._since_s = None, now_s

    def _say_dropped(self) -> None:
        for reason, what in SAID.items():
            if count := self.dropped[reason]:
                log.warning("%d %s", count, what)
        ahead = self.dropped[Dropped.FUTURE]
        self.clock = "all telemetry of the last minute is from the future: this clock or theirs is wrong"
        if not ahead or self.taken:
            self.clock = ""

    def _say_foreign(self) -> None:
        for (source, kind), count in self.foreign.most_common(SAID_MAX):
            log.warning("%s: %d of %d bodies hold no OTLP: %s", source, count, self.read[source], ADVICE[Foreign(kind)])
        for source, count in self.snake_case.items():
            log.warning("%s: %d bodies in JSON were read, but: %s", source, count, ADVICE[Foreign.SNAKE_CASE])
        by_source: Counter[str] = Counter()
        for (source, _), count in self.foreign.items():
            by_source[source] += count
        nothing = sorted(source for source, count in by_source.items() if count == self.read[source])
        self.unreadable = f"nothing that comes from {', '.join(nothing)} is OTLP" if nothing else ""

    def _say_waiting(self, waited: Collection[str], why: str) -> None:
        before = self.waiting
        self.waiting = f"event time waits for {', '.join(sorted(waited)[:SAID_MAX])}, {why}" if waited else ""
        if self.waiting and self.waiting != before:
            log.error("%s; nobody is paged of what is newer", self.waiting)
