"""How far event time has come: the least that any partition still allows.

Silence proves nothing. A partition of Kafka is passed only on evidence: its broker answered, and all of it was read.
A door that is pushed to, such as OTLP/HTTP, has no log to ask. There, silence counts while somebody listened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from detectors.core.columns import SECOND_NS

SILENCE_NS = 60 * SECOND_NS
"""A partition that speaks seldom holds event time for this long after its last record."""
EVIDENCE_NS = 10 * SECOND_NS
"""Answers of a broker that are further apart do not prove that nothing came between them."""
LIVE_NS = 600 * SECOND_NS
"""A stream further behind the wall clock than this is a replay, and moves by its data alone."""
STEADY_PACE_NS = 6 * SECOND_NS
"""A partition with a smaller usual gap speaks steadily: if it falls silent, it was more likely cut off than idle."""
_PACE_WEIGHT = 0.1
NEVER_NS = 2**63 - 1


@dataclass
class Partition:
    """One ordered stream of spans.

    end_ns      latest end of its spans; 0 before the first
    heard_ns    wall time of its last record; 0 before the first
    silent_ns   wall time since when nobody who listened heard it
    pace_ns     usual gap in event time between two of its records, smoothed
    checked_ns  of a log alone: wall time by which all of it was read; 0 while that is not known, None for a push door
    """

    end_ns: int = 0
    heard_ns: int = 0
    silent_ns: int = 0
    pace_ns: float = float(SILENCE_NS)
    checked_ns: int | None = None

    def hear(self, end_ns: int, now_ns: int) -> None:
        """A record came, whose latest span ended then."""
        if self.end_ns:
            gap_ns = min(max(end_ns - self.end_ns, 0), SILENCE_NS)
            self.pace_ns += _PACE_WEIGHT * (gap_ns - self.pace_ns)
        self.end_ns = max(self.end_ns, end_ns)
        self.heard_ns = self.silent_ns = now_ns

    def check(self, at_ns: int) -> None:
        """Its broker answered: all that was in the log by then is read."""
        assert self.checked_ns is not None
        if at_ns - self.checked_ns > EVIDENCE_NS:
            self.silent_ns = at_ns  # Nobody could read, or write, since the last answer: that was no silence.
        self.checked_ns = max(self.checked_ns, at_ns)

    def is_idle(self, now_ns: int, hold_ns: int) -> bool:
        """Whether it was silent for so long that event time need not wait for its next record."""
        steady = self.pace_ns <= STEADY_PACE_NS
        patience_ns = hold_ns if steady else min(hold_ns, SILENCE_NS)
        if self.checked_ns is None:
            return now_ns - self.silent_ns >= patience_ns
        return self.checked_ns > 0 and (not self.end_ns or self.checked_ns - self.silent_ns >= patience_ns)

    def allows_ns(self, now_ns: int, hold_ns: int) -> int:
        """The latest end that event time may count on; NEVER_NS where this partition does not limit it."""
        if not self.is_idle(now_ns, hold_ns):
            return self.end_ns
        return NEVER_NS if self.checked_ns is None else max(self.end_ns, self.checked_ns)

    def followed_ns(self, now_ns: int) -> int:
        """Its latest end, moved on by the time that has passed since it was heard; as of now, in a stream that is live.

        Relative to what was heard, so that a clock which is wrong by minutes moves event time no further.
        """
        if self.heard_ns - self.end_ns > LIVE_NS:
            return self.end_ns
        return self.end_ns + max(0, (now_ns if self.checked_ns is None else self.checked_ns) - self.heard_ns)


class Watermark:
    """Event time that will not be gone behind; `ns` is None before the first span.

    hold_ns  how long a reachable partition that spoke steadily may hold event time after its last record
    """

    def __init__(self, lateness_ns: int, hold_ns: int) -> None:
        self.lateness_ns, self.hold_ns = lateness_ns, hold_ns
        self.ns: int | None = None
        self._partitions: dict[str, Partition] = {}
        self._now_ns = 0
        self._resumed = False

    def expect(self, logs: Iterable[str]) -> None:
        """From here on these logs are read, and no others. Event time waits for each until it is heard or checked.

        One that was taken from us may come back: another member that joins and leaves gives it back unread. So its
        silence counts from here on as that of a push door does.
        """
        wanted = set(logs)
        for name in wanted:
            partition = self._partitions.setdefault(name, Partition())
            partition.checked_ns = partition.checked_ns or 0
        for name, partition in self._partitions.items():
            if partition.checked_ns is not None and name not in wanted:
                partition.checked_ns, partition.silent_ns = None, self._now_ns

    def hear(self, name: str, end_ns: int, now_ns: int) -> None:
        """Note the latest end in a record of a partition.

        Nothing has ended after now: one host whose clock runs ahead would make everybody else late.
        """
        self._catch_up(now_ns)
        self._partitions.setdefault(name, Partition()).hear(min(end_ns, now_ns), now_ns)

    def check(self, name: str, at_ns: int, now_ns: int) -> None:
        """All of a log that was there by a wall time is read. Of a log that is not expected this is no news.

        No broker has answered after now: an answer that says so is of before the clock was put back.
        """
        partition = self._partitions.get(name)
        if partition is not None and partition.checked_ns is not None:
            partition.check(min(at_ns, now_ns))

    def adjust(self, unheard_ns: int, stepped_ns: int) -> None:
        """Take in that nobody listened for some time, and that the wall clock was put forward or back (negative).

        What is measured by the wall clock moves with it, so that neither looks like silence.
        """
        for partition in self._partitions.values():
            moved_ns = stepped_ns + (unheard_ns if partition.checked_ns is None else 0)
            partition.heard_ns += moved_ns if partition.heard_ns else 0
            partition.silent_ns += moved_ns if partition.silent_ns else 0
            partition.checked_ns = partition.checked_ns and max(1, partition.checked_ns + stepped_ns)

    def is_silent(self, besides: str, now_ns: int) -> bool:
        """Whether no other partition holds event time any more."""
        others = (partition for name, partition in self._partitions.items() if name != besides)
        return all(partition.is_idle(now_ns, self.hold_ns) for partition in others)

    def passing_ns(self, name: str, ns: int, now_ns: int) -> int:
        """The end by which a partition would bring the watermark to `ns`; NEVER_NS while others hold it back."""
        self._catch_up(now_ns)
        end_ns = ns + self.lateness_ns
        if any(
            partition.allows_ns(now_ns, self.hold_ns) < end_ns
            for other, partition in self._partitions.items()
            if other != name
        ):
            return NEVER_NS
        own = self._partitions.get(name)
        return 0 if own is not None and own.end_ns >= end_ns else end_ns

    def passed_ns(self, name: str) -> int | None:
        """Event time that a log has passed by its silence alone; None while that proves nothing.

        Of a log that never brought a span: as far as it was read. Of one whose last spans were old: once nothing came
        for as long as makes a stream a replay, it is not one.
        """
        partition = self._partitions.get(name)
        if partition is None or not partition.checked_ns:
            return None
        is_old = partition.heard_ns - partition.end_ns > LIVE_NS
        if partition.end_ns and not (is_old and partition.checked_ns - partition.silent_ns >= LIVE_NS):
            return None
        return max(partition.end_ns, partition.checked_ns) - self.lateness_ns

    def force(self, ns: int) -> None:
        """Give up waiting for whatever could still come before `ns`."""
        self.ns = ns if self.ns is None else max(self.ns, ns)

    def advance(self, now_ns: int) -> int | None:
        """Move as far as the partitions and the clock allow, and say where that is."""
        self._catch_up(now_ns)
        heard = [partition for partition in self._partitions.values() if partition.end_ns]
        if not heard:
            return self.ns
        allowed_ns = min(partition.allows_ns(now_ns, self.hold_ns) for partition in self._partitions.values())
        if self.is_silent("", now_ns):
            latest = max(heard, key=lambda partition: partition.end_ns)
            allowed_ns = min(allowed_ns, max(latest.end_ns, latest.followed_ns(now_ns)))
        if not allowed_ns:
            return self.ns  # A log of which nothing is known yet.
        reached_ns = allowed_ns - self.lateness_ns
        self.ns = reached_ns if self.ns is None else max(self.ns, reached_ns)
        return self.ns

    def waits_for(self, now_ns: int) -> tuple[str, ...]:
        """The logs that nobody could read to their end of late: event time stands still until somebody can."""
        return tuple(
            name
            for name, partition in list(self._partitions.items())  # A scrape asks between the moves of a step.
            if partition.checked_ns is not None and now_ns - max(partition.checked_ns, partition.heard_ns) > EVIDENCE_NS
        )

    def _catch_up(self, now_ns: int) -> None:
        if self._resumed:
            self._resumed = False
            stopped_ns = now_ns - self._now_ns
            if stopped_ns > SILENCE_NS:
                self.adjust(unheard_ns=stopped_ns, stepped_ns=0)
            elif stopped_ns < 0:  # The clock was put back while nobody looked.
                self.adjust(unheard_ns=0, stepped_ns=stopped_ns)
        self._now_ns = now_ns

    def state(self) -> dict[str, Any]:
        """What `resume` takes, fit for JSON."""
        return {
            "ns": self.ns,
            "now_ns": self._now_ns,
            "partitions": {name: vars(partition) for name, partition in self._partitions.items()},
        }

    @classmethod
    def resume(cls, state: Mapping[str, Any], lateness_ns: int, hold_ns: int) -> "Watermark":
        """The watermark that `state` was taken of, its process stopped in between."""
        watermark = cls(lateness_ns, hold_ns)
        watermark.ns, watermark._now_ns = state["ns"], state["now_ns"]
        if "partitions" in state:
            watermark._partitions = {name: Partition(**fields) for name, fields in state["partitions"].items()}
        else:  # Written before logs were checked.
            watermark._partitions = {
                name: Partition(end_ns, state["heard"][name], state["heard"][name])
                for name, end_ns in state["ends"].items()
            }
        watermark._resumed = True
        return watermark
