"""Notices partitions whose reading stands still although their log goes on: a consumer that is stuck looks healthy.

It sends heartbeats, and its brokers answer for the other partitions. So positions are compared with the ends of the
logs, of which the brokers are asked apart from what is fetched.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.errors import KafkaError

log = logging.getLogger("tocsin.kafka")


class StuckError(KafkaError):  # type: ignore[misc]
    """A consumer has to be replaced, as a partition of it does not move; that was said already."""


@dataclass
class Standing:
    """A partition that has more to read: where it stands, since when, and whether that was said."""

    position: int
    since_s: float
    is_told: bool = False


class Progress:
    """Of the partitions that are ours. Seconds are monotonic.

    stuck_after_s  for how long a partition may stand that has more to read
    made_anew      by topic, how often a consumer had to be replaced for one of its partitions
    """

    def __init__(self, stuck_after_s: float) -> None:
        self.made_anew: Counter[str] = Counter()
        self._stuck_after_s = stuck_after_s
        self._standing: dict[str, Standing] = {}
        self._ends: Mapping[str, int] = {}

    def look(self, positions: Mapping[str, int], ends: Mapping[str, int], now_s: float) -> None:
        """Compare with the last look. Raises StuckError where a partition stands for too long; once each time so long.

        positions, ends  the next offsets of what is read and of the log, by partition; of those that are ours alone
        """
        if not positions:
            return  # A consumer that was just made has none yet: that tells nothing of those that stood.
        self._ends = ends
        before, self._standing = self._standing, {}
        for name, position in positions.items():
            stood = before.get(name)
            if stood is not None and stood.is_told and position > stood.position:
                log.info("%s is read again, from offset %d", name, stood.position)
            if position < ends.get(name, 0):
                is_same = stood is not None and stood.position == position
                self._standing[name] = stood if stood is not None and is_same else Standing(position, now_s)
        late = {name: one for name, one in self._standing.items() if now_s - one.since_s > self._stuck_after_s}
        for name, one in late.items():
            if not one.is_told:
                log.error("Kafka: %s; the consumer is made anew, and goes on from there", self._said(name, one))
            one.since_s, one.is_told = now_s, True
            self.made_anew[name.rpartition("/")[0]] += 1
        if late:
            raise StuckError(", ".join(late))

    def excuse(self, seconds: float) -> None:
        """For so long nobody asked for more, as what was fetched waited to be read."""
        for one in self._standing.values():
            one.since_s += seconds

    def stuck(self) -> list[str]:
        """Those that have stood for too long, and have not moved since, in words."""
        return [self._said(name, one) for name, one in sorted(self._standing.items()) if one.is_told]

    def _said(self, name: str, one: Standing) -> str:
        end = self._ends.get(name, 0)
        return f"{name} stands at offset {one.position} for more than {self._stuck_after_s:g} s, and ends at {end}"
