"""Money: a page when the month, at the pace of both the last day and the last hour, will cost more than its limit.

A plain limit, no budget: the slow pace keeps a burst from paging, the fast one closes the alert once it is over. What
was spent is the cost of priced calls; calls of unknown price are missing from it (`tocsin_session_unpriced_ratio`).
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from detectors.core.columns import SECOND_NS, TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Mode, Tick
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.descriptor import Descriptor, Gauge, Limit
from detectors.core.limit import Limits, compared
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot
from detectors.core.signals import SPENDING

HOUR_MINUTES, DAY_MINUTES = 60, 1440


@dataclass(eq=False)
class Spent:
    """Dollars by series: this calendar month's (UTC), and moving averages a minute over an hour and a day.

    at  (S,) tick index of the series' last tick, -1 before it
    """

    month: Floats = column()
    hour: Floats = column()
    day: Floats = column()
    at: Ids = column(fill=-1, dtype=np.int64)
    first: Ids = column(fill=-1, dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)


class Burn:
    """A month's limit in dollars for every series of a rule."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.spent = Spent()
        self.limits = Limits(terms.above)
        self.now = -1
        self.month = (0, 0)  # First tick index of this month and of the next.

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Add what was spent, and look at the series that are over the limit or were."""
        resize(self.spent, len(modes))
        self.now = tick.start_ns // TICK_NS
        if self.now >= self.month[1]:
            self.month = month_of(tick.start_ns)
            self.spent.month[:] = 0
        self._add(tick.series, tick.cost_usd)
        rows = np.flatnonzero(self.spent.at >= 0).astype(np.int32)
        slow, fast = self._projected(rows)
        resize(self.limits, len(self.spent.at))
        limit = self.limits.of(rows)
        over = (slow > limit) & (fast > limit)
        mode = np.zeros(len(self.spent.at), np.int8)
        mode[: len(modes)] = modes
        told = rows[over | (mode[rows] != Mode.WATCHED)]
        beyond = zip(rows[over].tolist(), slow[over].tolist(), limit[over].tolist(), strict=True)
        found = {row: self._finding(row, usd, most) for row, usd, most in beyond}
        return {row: compared(found.get(row), mode[row]) for row in told.tolist()}

    def _add(self, rows: Ids, usd: Floats) -> None:
        spent = self.spent
        new = rows[spent.at[rows] < 0]
        spent.first[new] = self.now
        self._fade(rows)
        spent.month[rows] += usd
        spent.hour[rows] += usd / HOUR_MINUTES
        spent.day[rows] += usd / DAY_MINUTES

    def _fade(self, rows: Ids) -> None:
        spent = self.spent
        passed = np.where(spent.at[rows] >= 0, self.now - spent.at[rows], 0)
        spent.hour[rows] *= np.exp(-passed / HOUR_MINUTES)
        spent.day[rows] *= np.exp(-passed / DAY_MINUTES)
        spent.at[rows] = self.now

    def _projected(self, rows: Ids) -> tuple[Floats, Floats]:
        """(r,) what the month will cost at the pace of the last day, and at that of the last hour.

        A series younger than the average's memory has spent all it knows of in its own time.
        """
        self._fade(rows)
        spent, left = self.spent, self.month[1] - self.now
        age = (self.now - spent.first[rows] + 1).astype(float)
        by_day = spent.day[rows] / -np.expm1(-np.maximum(age, HOUR_MINUTES) / DAY_MINUTES)
        by_hour = spent.hour[rows] / -np.expm1(-np.maximum(age, HOUR_MINUTES / 4) / HOUR_MINUTES)
        month = spent.month[rows]
        return month + by_day * left, month + by_hour * left

    def _finding(self, row: int, projected: float, limit: float) -> Finding:
        said = f"${self.spent.month[row]:,.2f} spent so far this month"
        since_ns = max(self.now - HOUR_MINUTES, 0) * TICK_NS
        return Finding("usd", limit, projected, since_ns, math.nan, math.nan, math.nan, said)

    def ask(self, row: int, asked: Asked) -> None:
        """Hold one series to a limit of its own."""
        resize(self.limits, row + 1)
        self.limits.own[row] = asked.above

    def forget(self, rows: Ids) -> None:
        clear(self.spent, rows)
        clear(self.limits, rows)

    def doubt(self, row: int) -> None:
        """Nothing: a limit that pages too often is too low."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """What the month will cost, and its limit; NaN for a series that has spent nothing yet."""
        rows = np.arange(len(self.spent.at), dtype=np.int32)
        resize(self.limits, len(rows))
        known = self.spent.at >= 0
        left = self.month[1] - self.now
        age = (self.now - self.spent.first + 1).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            pace = self.spent.day * np.exp(-(self.now - self.spent.at) / DAY_MINUTES)
            projected = self.spent.month + pace / -np.expm1(-np.maximum(age, HOUR_MINUTES) / DAY_MINUTES) * left
        return {
            "burn_projected": np.where(known, projected, np.nan),
            "burn_limit": self.limits.of(rows),
        }

    def snapshot(self) -> Arrays:
        return {"burn": np.array([self.now, *self.month]), **snapshot(self.spent, "spent")}

    def restore(self, arrays: Arrays) -> None:
        self.now, first, last = (int(number) for number in arrays["burn"])
        self.month = (first, last)
        restore(self.spent, arrays, "spent")


def month_of(time_ns: int) -> tuple[int, int]:
    """Tick indices of the beginning of the calendar month (UTC) and of the next.

    >>> [index * 60 for index in month_of(1_800_000_000 * 10**9)]
    [1798761600, 1801440000]
    """
    moment = datetime.fromtimestamp(time_ns // SECOND_NS, UTC).replace(day=1, hour=0, minute=0, second=0)
    after = moment.replace(year=moment.year + moment.month // 12, month=moment.month % 12 + 1)
    return int(moment.timestamp()) * SECOND_NS // TICK_NS, int(after.timestamp()) * SECOND_NS // TICK_NS


DETECTOR = Descriptor(
    Burn,
    {
        "burn_projected": Gauge(
            "tocsin_burn_projected_usd", "What the month will cost at the last day's pace.", shows="usd"
        ),
        "burn_limit": Gauge("tocsin_burn_limit_usd", "What the month may cost."),
    },
    subject="cost of the month at this pace",
    signal="spend_per_hour",
    arrow="limit",
    limit=Limit("usd", "$5000"),
    operations=SPENDING,
)
