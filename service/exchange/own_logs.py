"""The logs of metrics and evaluations that detect reads of itself: how far event time may go for them.

A point counts in the slot of its time, if that is open. So while such a log is read up after a stop, event time waits
for it. That it is read to its end is told by the answer of its broker. A log of which nothing is heard for a while is
not waited for: metrics hold no page up for long.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detectors.core.columns import SECOND_NS
from service.batch import Gap
from service.ingest.watermark import NEVER_NS

PATIENCE_NS = 30 * SECOND_NS
"""How long event time waits for a log of which nothing is heard, neither a record nor an answer of its broker."""


@dataclass
class OwnLog:
    """One partition of a topic that detect reads of itself.

    end_ns      latest time of what was read of it; 0 before the first
    checked_ns  wall time by which all of it was read; 0 while that is not known
    heard_ns    wall time of its last record or check; 0 where it is waited for from the next look on
    """

    end_ns: int = 0
    checked_ns: int = 0
    heard_ns: int = 0


class OwnLogs:
    """All of them. One owner: the merge."""

    def __init__(self, lateness_ns: int) -> None:
        self._lateness_ns = lateness_ns
        self._logs: dict[str, OwnLog] = {}

    def expect(self, partitions: Iterable[str]) -> None:
        """From here on these are read, and no others."""
        self._logs = {name: self._logs.get(name, OwnLog()) for name in partitions}
        for log in self._logs.values():
            log.heard_ns = 0

    def hear(self, partition: str, latest_ns: int, now_ns: int) -> None:
        """A record of this latest time was read; nothing is of after now."""
        if log := self._logs.get(partition):
            log.end_ns, log.heard_ns = max(log.end_ns, min(latest_ns, now_ns)), now_ns

    def check(self, checked: Mapping[str, int], now_ns: int) -> None:
        """By these wall times the logs are read to their ends."""
        for name, at_ns in checked.items():
            if log := self._logs.get(name):
                log.checked_ns, log.heard_ns = max(log.checked_ns, min(at_ns, now_ns)), now_ns

    def adjust(self, gap: Gap) -> None:
        """Nobody listened for a while, or the clock was put elsewhere: that was no silence of theirs."""
        for log in self._logs.values():
            log.heard_ns += (gap.stood_ns + gap.stepped_ns) * (log.heard_ns > 0)
            log.checked_ns = log.checked_ns and max(1, log.checked_ns + gap.stepped_ns)

    @property
    def are_heard(self) -> bool:
        """Whether any of them ever brought anything."""
        return any(log.end_ns for log in self._logs.values())

    def allows_ns(self, now_ns: int) -> int:
        """Event time that none of them brings anything before; NEVER_NS where there is none to wait for."""
        allowed = []
        for log in self._logs.values():
            log.heard_ns = log.heard_ns or now_ns
            if now_ns - log.heard_ns <= PATIENCE_NS:
                allowed.append(max(log.end_ns, log.checked_ns) - self._lateness_ns)
        return min(allowed, default=NEVER_NS)

    def state(self) -> dict[str, Any]:
        """What `restore` takes, fit for JSON."""
        return {name: asdict(log) for name, log in self._logs.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the place of what `state` was taken of."""
        self._logs = {name: OwnLog(**fields) for name, fields in state.items()}
