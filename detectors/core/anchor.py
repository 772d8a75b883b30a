"""Slow ramps: each week's failures against the baseline of four weeks ago. Worth a ticket, never a page.

A baseline that follows its series would follow a ramp too. What has grown by less than half in four weeks is
absorbed on purpose.
"""

from collections.abc import Mapping

import numpy as np

from detectors.core.columns import Bools, Floats
from detectors.core.rows import column, dataclass, resize

WEEKS = 4
RATIO, POINTS, SIGMAS, COUNT_MIN = 1.5, 0.005, 4.5, 200.0
SLACK = 1.1
"""The share of four weeks ago may have been this much higher than estimated, besides the estimate's own error."""


@dataclass(eq=False)
class Anchor:
    """Counts of the week so far, and the baseline's masses at the ends of the last weeks, oldest at the end.

    days    (S,)            days of the week so far; a week begins when the series does
    """

    days: Floats = column()
    count: Floats = column()
    failed: Floats = column()
    past_count: Floats = column(WEEKS)
    past_failed: Floats = column(WEEKS)

    def __post_init__(self) -> None:
        resize(self, 0)

    def add(self, count: Floats, failed: Floats) -> None:
        """Midnight: what each series (S,) counted today."""
        self.count += count
        self.failed += failed
        self.days += (self.days > 0) | (count > 0)

    def crept(self, mass: Floats, mass_failed: Floats, clumping: Floats) -> Mapping[int, tuple[float, float, float]]:
        """End the weeks that are over: (share four weeks ago, share this week, calls) of the series that crept up.

        mass, mass_failed (S,) the baseline's sums as they are now · clumping (S,) variance of a day's failures over
        what independence would give, >= 1
        """
        over = np.flatnonzero(self.days >= 7)
        n, k = self.past_count[over, -1], self.past_failed[over, -1]
        count, failed = self.count[over], self.failed[over]
        pool = (mass_failed.sum() + 1) / (mass.sum() + 100)
        share = (k + 1) / (n + 1 / pool)
        upper = share * (SLACK + 1 / np.sqrt(k + 1))
        excess = failed - count * upper
        found: Bools = (n >= COUNT_MIN) & (failed >= RATIO * count * share) & (failed - count * share >= POINTS * count)
        found &= excess >= SIGMAS * np.sqrt(clumping[over] * count * upper)
        self.past_count[over] = np.concatenate([mass[over, None], self.past_count[over, :-1]], 1)
        self.past_failed[over] = np.concatenate([mass_failed[over, None], self.past_failed[over, :-1]], 1)
        for week in (self.days, self.count, self.failed):
            week[over] = 0
        return {
            int(over[i]): (float(share[i]), float(failed[i] / count[i]), float(count[i])) for i in np.flatnonzero(found)
        }
