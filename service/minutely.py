"""What is counted by the record and said by the minute: a log line is for a person, not for each record."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.batch import Dropped, Tally
from service.ingest.otlp.foreign import ADVICE, Foreign

log = logging.getLogger("tocsin")

EVERY_S = 60.0
SAID_MAX = 10
"""Lines a minute of one kind; the metrics have the rest."""


@dataclass
class Minutely:
    """What the steps of the minute so far have dropped that somebody should look into."""

    late: int = 0
    future: int = 0
    read: Counter[str] = field(default_factory=Counter)
    foreign: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: str = ""  # What was said of topics of which nothing at all could be read in the last minute.
    _since_s: float = 0.0

    def add(self, tally: Tally, rejected: Mapping[Dropped, int], now_s: float) -> None:
        """Take in a step; says what the minute brought, once it is over."""
        self.late += rejected.get(Dropped.LATE, 0)
        self.future += rejected.get(Dropped.FUTURE, 0)
        self.read.update(tally.read)
        self.foreign.update(tally.foreign)
        if now_s - self._since_s >= EVERY_S:
            self._say()
            self.late = self.future = 0
            self.read.clear()
            self.foreign.clear()
            self._since_s = now_s

    def _say(self) -> None:
        if self.late:
            log.warning(
                "%d spans came later than TOCSIN_LATENESS allows: they joined their traces and count in no rule",
                self.late,
            )
        if self.future:
            log.warning("%d spans end more than TOCSIN_FUTURE_MAX after this clock, and were dropped", self.future)
        for (source, kind), count in self.foreign.most_common(SAID_MAX):
            log.warning("%s: %d of %d bodies hold no OTLP: %s", source, count, self.read[source], ADVICE[Foreign(kind)])
        nothing = [
            source
            for source, count in self.read.items()
            if count == sum(n for (s, _), n in self.foreign.items() if s == source)
        ]
        self.unreadable = f"nothing that comes from {', '.join(sorted(nothing))} is OTLP" if nothing else ""
