"""How far event time has come: the least of the partitions that still speak."""

from collections.abc import Iterable, Mapping

from detectors.core.columns import SECOND_NS

SILENCE_NS = 60 * SECOND_NS
"""A partition not heard for this long of wall time holds nobody up."""
LIVE_NS = 600 * SECOND_NS
"""A stream further behind the wall clock than this is a replay, and moves by its data alone."""
NEVER_NS = 2**63 - 1


class Watermark:
    """Event time that will not be gone behind; `ns` is None before the first span.

    Time in which nobody listened is not silence: `resume` must be told when a stopped process goes on, or a
    backlog would be found late before it was read.
    """

    def __init__(self, lateness_ns: int) -> None:
        self.lateness_ns = lateness_ns
        self.ns: int | None = None
        self._ends: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self._expected: dict[str, int] = {}  # Never heard: when each was assigned.
        self._now_ns = 0
        self._resumed = False

    def expect(self, partitions: Iterable[str], now_ns: int) -> None:
        """Wait for partitions just assigned, each until it is heard or was silent for SILENCE_NS from now on.

        Of one that was heard before it is known how far it has come; for one that was not, nothing moves.
        """
        self._catch_up(now_ns)
        for partition in partitions:
            if partition in self._ends:
                self._heard[partition] = max(now_ns, self._heard[partition])
            else:
                self._expected[partition] = now_ns

    def hear(self, partition: str, end_ns: int, now_ns: int) -> None:
        """Note the latest end in what a partition just brought.

        Nothing has ended after now: one host whose clock runs ahead would make everybody else late.
        """
        self._catch_up(now_ns)
        end_ns = min(end_ns, now_ns)
        self._ends[partition] = max(end_ns, self._ends.get(partition, end_ns))
        self._heard[partition] = now_ns
        self._expected.pop(partition, None)

    def is_silent(self, besides: str, now_ns: int) -> bool:
        """Whether no other partition is heard any more, or expected."""
        heard = (since for partition, since in self._heard.items() if partition != besides)
        return not self._expected and all(now_ns - since >= SILENCE_NS for since in heard)

    def passing_ns(self, partition: str, ns: int, now_ns: int) -> int:
        """The end by which a partition would bring the watermark to `ns`; NEVER_NS while others hold it back."""
        self._catch_up(now_ns)
        end_ns = ns + self.lateness_ns
        heard = [
            self._ends[other]
            for other, since in self._heard.items()
            if other != partition and now_ns - since < SILENCE_NS
        ]
        expected = any(other != partition and now_ns - since < SILENCE_NS for other, since in self._expected.items())
        if expected or min(heard, default=end_ns) < end_ns:
            return NEVER_NS
        return end_ns if self._ends.get(partition, 0) < end_ns else 0

    def force(self, ns: int) -> None:
        """Give up waiting for whatever could still come before `ns`."""
        self.ns = ns if self.ns is None else max(self.ns, ns)

    def advance(self, now_ns: int) -> int | None:
        """Move as far as the partitions and the clock allow, and say where that is."""
        self._catch_up(now_ns)
        if self._expected:
            self._expected = {partition: self._expected[partition] for partition in _waited(self._expected, now_ns)}
        if self._expected or not self._ends:
            return self.ns
        active = [self._ends[partition] for partition in _waited(self._heard, now_ns)]
        if active:
            reached = min(active) - self.lateness_ns
        else:
            reached = max(self._ends.values()) - self.lateness_ns
            latest = reached if self.ns is None else max(self.ns, reached)
            if now_ns - (latest + self.lateness_ns) <= LIVE_NS:
                reached = now_ns - self.lateness_ns
        self.ns = reached if self.ns is None else max(self.ns, reached)
        return self.ns

    def _catch_up(self, now_ns: int) -> None:
        if self._resumed:
            self._resumed = False
            stopped_ns = now_ns - self._now_ns
            if stopped_ns > SILENCE_NS:
                self._heard = {partition: heard + stopped_ns for partition, heard in self._heard.items()}
                self._expected = {partition: since + stopped_ns for partition, since in self._expected.items()}
        self._now_ns = max(self._now_ns, now_ns)

    def state(self) -> dict[str, object]:
        """What `resume` takes, fit for JSON."""
        return {
            "ns": self.ns,
            "ends": self._ends,
            "heard": self._heard,
            "expected": self._expected,
            "now_ns": self._now_ns,
        }

    @classmethod
    def resume(cls, state: Mapping[str, object], lateness_ns: int) -> "Watermark":
        """The watermark that `state` was taken of, its process stopped in between."""
        watermark = cls(lateness_ns)
        ns, ends, heard, expected, now_ns = (state[key] for key in ("ns", "ends", "heard", "expected", "now_ns"))
        assert (ns is None or isinstance(ns, int)) and isinstance(now_ns, int)
        assert isinstance(ends, dict) and isinstance(heard, dict) and isinstance(expected, dict)
        watermark.ns, watermark._now_ns = ns, now_ns
        watermark._ends, watermark._heard, watermark._expected = dict(ends), dict(heard), dict(expected)
        watermark._resumed = True
        return watermark


def _waited(since_ns: Mapping[str, int], now_ns: int) -> list[str]:
    """The partitions that have not been silent for too long."""
    return [partition for partition, since in since_ns.items() if now_ns - since < SILENCE_NS]
