"""Whether a rule's evidence behaves as its promise says: the tail of the daily maxima.

While nothing changes, the chance that a series' evidence reaches x within a day falls at least as fast as exp(-x): the
mean excess of the daily maxima over any level is then at most about one nat. A fatter tail means that the null is
wrong on these data, and that the budget will not be kept; it shows long before enough false pages have come.
"""

import math

import numpy as np

from detectors.core.columns import Floats, Ids, Singles
from detectors.core.rows import column, dataclass, resize

DAYS = 28
LEAST_NATS, MOST_NATS, WIDTH_NATS = 2.0, 42.0, 0.25
"""Maxima below two nats say nothing of the tail; beyond the last bin everything is one."""
BINS = round((MOST_NATS - LEAST_NATS) / WIDTH_NATS)
EXCESSES_MIN = 20
"""Maxima over the level without which nothing is said."""
SHARE = 0.95
HOLDS_NATS, BROKEN_NATS = 1.0, 1.5
"""Up to the first the promise holds on these data; over the second it does not."""


@dataclass(eq=False)
class Highest:
    """The day so far: the largest evidence with an effect that each series had while it was watched."""

    nats: Singles = column(fill=-np.inf, dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)


class Tail:
    """Daily maxima of all series of a rule over the last DAYS days, as counts; memory does not grow.

    days  (DAYS, 1 + BINS)  series-days below LEAST_NATS, then by bin; the day that ended last is at index 0
    """

    def __init__(self) -> None:
        self.highest = Highest()
        self.days = np.zeros((DAYS, 1 + BINS), np.float32)

    def saw(self, rows: Ids, nats: Floats) -> None:
        """Evidence (r,) of series that show an effect now."""
        self.highest.nats[rows] = np.maximum(self.highest.nats[rows], nats)

    def end_day(self, judged: Ids) -> None:
        """Midnight: count the maxima of the series that were judged today, and begin anew."""
        nats = self.highest.nats[judged]
        place = np.zeros(len(nats), np.int64)
        seen = nats >= LEAST_NATS
        place[seen] = 1 + np.minimum((nats[seen] - LEAST_NATS) / WIDTH_NATS, BINS - 1).astype(np.int64)
        self.days = np.roll(self.days, 1, axis=0)
        self.days[0] = np.bincount(place, minlength=1 + BINS)
        self.highest.nats[:] = -np.inf

    def excess(self) -> float:
        """Mean excess of the maxima over their 95% quantile (at least LEAST_NATS), nats; NaN while too few are known.

        >>> tail = Tail()
        >>> tail.highest.nats = LEAST_NATS + np.random.default_rng(1).exponential(1.0, 20_000)
        >>> tail.end_day(np.arange(20_000))
        >>> round(tail.excess(), 1)
        1.0
        """
        counts = self.days.sum(0)
        total = counts.sum()
        edge = 1 + int(np.searchsorted(np.cumsum(counts[1:]) + counts[0], SHARE * total))
        over = counts[edge + 1 :]
        if over.sum() < EXCESSES_MIN:
            return math.nan
        return float((over @ (np.arange(len(over)) + 0.5)) / over.sum() * WIDTH_NATS)
