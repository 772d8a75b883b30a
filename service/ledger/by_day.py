"""What came of sessions, by the day on which they ended: of how many it is known, and how many of these ended badly.

A series of late outcomes counts each when it comes, among all that came then. Here it is of its session's own day,
whose numbers grow until no more is told of it: nothing that a series counted is counted anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from service.ingest.prices import DAY_NS
from service.ledger.histories import Histories
from service.ledger.rates import Interval, share

SETTLED = 0.9
"""Of the known share of the days before, what a day must have for its outcomes to have come."""


@dataclass(frozen=True)
class Day:
    """Sessions that ended on one day, UTC.

    known    of how many it is known how they ended, and `bad` of these
    settled  whether about as large a share is known as of the days before; the first of all days has none before it
    """

    day_ns: int
    sessions: int
    known: int
    bad: int
    settled: bool

    @property
    def bad_share(self) -> Interval:
        """Of those that are known, with its 95% interval."""
        return share(self.bad, self.known)


@dataclass(frozen=True)
class Cohort:
    """Days of the sessions of one version of an agent, the first one first; those without a session are left out."""

    agent: str
    version: str
    days: tuple[Day, ...]

    @property
    def sessions(self) -> int:
        return sum(day.sessions for day in self.days)


def by_day(found: Histories) -> list[Cohort]:
    """By agent and version, the one with most sessions first."""
    names = [(who.agent, who.version) for who in found.who]
    each = sorted(set(names))
    place = {name: i for i, name in enumerate(each)}
    of = np.array([place[name] for name in names], np.int64)
    day = found.until_ns // DAY_NS
    cohorts = [
        Cohort(*name, tuple(_days(day[of == i], found.bad[of == i]))) for i, name in enumerate(each)
    ]  # fmt: skip
    return sorted(cohorts, key=lambda one: (-one.sessions, one.agent, one.version))


def _days(
    day: np.ndarray[tuple[int], np.dtype[np.int64]], bad: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Iterator[Day]:
    sessions_before = known_before = 0
    for number in np.unique(day).tolist():
        mine = bad[day == number]
        sessions, known = len(mine), int((~np.isnan(mine)).sum())
        # known / sessions of the day against that of those before, without a division by none.
        settled = known * sessions_before >= SETTLED * known_before * sessions
        yield Day(number * DAY_NS, sessions, known, int(np.nansum(mine)), settled)
        sessions_before, known_before = sessions_before + sessions, known_before + known
