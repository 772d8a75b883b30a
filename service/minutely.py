"""What is counted by the record and said by the minute: a log line is for a person, not for each record."""

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from service.batch import Dropped, Tally
from service.ingest.otlp.foreign import ADVICE, Foreign

log = logging.getLogger("tocsin")

EVERY_S = 60.0
SAID_MAX = 10
"""Lines a minute of one kind; the metrics have the rest."""


@dataclass
class Minutely:
    """What the steps of the minute so far have dropped, that somebody should look into.

    unreadable  the topics and doors of whose bodies nothing could be read in the last whole minute, in words
    waiting     the partitions that event time has waited for, for the whole of it, in words
    """

    dropped: Counter[Dropped] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    foreign: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: str = ""
    waiting: str = ""
    _waited: set[str] | None = None
    _since_s: float = 0.0

    def add(self, tally: Tally, waits_for: Collection[str], now_s: float) -> None:
        """Take in a step; says what the minute brought, once it is over."""
        self.dropped.update(tally.dropped)
        self.read.update(tally.read)
        self.foreign.update(tally.foreign)
        self._waited = set(waits_for) if self._waited is None else self._waited & set(waits_for)
        if now_s - self._since_s >= EVERY_S:
            self._say_dropped()
            self._say_foreign()
            self._say_waiting(self._waited)
            self.dropped.clear()
            self.read.clear()
            self.foreign.clear()
            self._waited, self._since_s = None, now_s

    def _say_dropped(self) -> None:
        if late := self.dropped[Dropped.LATE]:
            log.warning(
                "%d spans came too late: they joined their traces and count in no rule; see TOCSIN_LATENESS", late
            )
        if future := self.dropped[Dropped.FUTURE]:
            log.warning(
                "%d spans or points end after what this clock allows and were dropped: compare the clocks of this "
                "machine and of the senders; see TOCSIN_FUTURE_MAX", future
            )  # fmt: skip

    def _say_foreign(self) -> None:
        for (source, kind), count in self.foreign.most_common(SAID_MAX):
            log.warning("%s: %d of %d bodies hold no OTLP: %s", source, count, self.read[source], ADVICE[Foreign(kind)])
        by_source: Counter[str] = Counter()
        for (source, _), count in self.foreign.items():
            by_source[source] += count
        nothing = sorted(source for source, count in by_source.items() if count == self.read[source])
        self.unreadable = f"nothing that comes from {', '.join(nothing)} is OTLP" if nothing else ""

    def _say_waiting(self, waited: Collection[str]) -> None:
        before = self.waiting
        self.waiting = (
            f"event time waits for {', '.join(sorted(waited)[:SAID_MAX])}, which cannot be read" if waited else ""
        )
        if self.waiting and self.waiting != before:
            log.error("%s to the end; nobody is paged of what is newer", self.waiting)
