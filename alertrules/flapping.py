"""Alerts that come and go: how often each has fired of late, by rule and series.

An alert that fires for the fourth time within hours is flapping. Its page says so, and stays open until it has not
fired for an hour: what it does meanwhile is counted and not told.
"""

from collections.abc import Iterable
from typing import Any

from alertrules.lifecycle import Labels, labels_from
from detectors.core.columns import SECOND_NS

WITHIN_NS = 6 * 3600 * SECOND_NS
CALM_NS = 3600 * SECOND_NS
"""For how long a flapping alert must not fire until it is told as ended."""
FLAPPING = 4
"""So often fired within hours is flapping."""
FLAPS_MAX = 10_000
TIMES_MAX = 100


class Flaps:
    """When alerts have fired within the last hours. Times are event time."""

    def __init__(self) -> None:
        self._fired: dict[tuple[str, Labels], list[int]] = {}

    def fired(self, rule: str, labels: Labels, at_ns: int) -> tuple[int, int]:
        """An alert fires: how often it has, this time among them, and within what time."""
        key = rule, labels
        times = [one for one in self._fired.pop(key, []) if at_ns - one < WITHIN_NS]
        self._fired[key] = [*times, at_ns][-TIMES_MAX:]
        while len(self._fired) > FLAPS_MAX or at_ns - next(iter(self._fired.values()))[-1] >= WITHIN_NS:
            del self._fired[next(iter(self._fired))]
        return len(self._fired[key]), at_ns - self._fired[key][0]

    def snapshot(self) -> list[Any]:
        """What `restore` takes, fit for JSON."""
        return [[rule, labels, times] for (rule, labels), times in self._fired.items()]

    @classmethod
    def restore(cls, saved: Iterable[Any]) -> "Flaps":
        """The counts of which that was taken."""
        flaps = cls()
        flaps._fired = {(rule, labels_from(labels)): list(times) for rule, labels, times in saved}
        return flaps
