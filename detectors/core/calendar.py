"""The hours of a place: people keep office hours by its clocks, which are put forward and back."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Calendar:
    """How far the clocks of a place are ahead of UTC, in whole hours.

    changes  (hour since 1970 in UTC, hours ahead of UTC from then on), in order; none for UTC itself

    >>> berlin = Calendar(((0, 1), (492_985, 2), (498_025, 1)))  # Summer time of 2026.
    >>> [berlin.hour(at) for at in (492_984, 492_985, 498_024, 498_025)]  # 2 o'clock is left out, and comes twice.
    [1, 3, 2, 2]
    """

    changes: tuple[tuple[int, int], ...] = ()

    def ahead(self, hour: int) -> int:
        """Hours that its clocks are ahead in an hour since 1970."""
        place = bisect_right(self.changes, (hour, 24))
        return self.changes[place - 1][1] if place else 0

    def local(self, hour: int) -> int:
        """The hour since 1970 that its clocks show in this one of UTC: some are left out, some come twice."""
        return hour + self.ahead(hour)

    def hour(self, hour: int) -> int:
        """The hour of its day."""
        return self.local(hour) % 24


UTC = Calendar()
