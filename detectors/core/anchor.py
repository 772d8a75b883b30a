"""Slow ramps: each week against the baseline of four weeks ago. Worth a ticket, never a page.

A baseline that follows its series would follow a ramp too. What has grown by less than half in four weeks is
absorbed on purpose.
"""

from collections.abc import Mapping

import numpy as np

from detectors.core.columns import Bools, Bytes, Floats, Singles
from detectors.core.rows import column, dataclass, resize

WEEKS = 4
RATIO, POINTS, SIGMAS, COUNT_MIN = 1.5, 0.005, 4.5, 200.0
DRIFT_SLACK = 1.1
LEVEL_SLACK = 1.05
"""What was four weeks ago may have been this much higher than estimated, besides the estimate's own error."""


@dataclass(eq=False)
class Anchor:
    """Of shares: counts of the week so far, and the baseline's masses at the ends of the last weeks, oldest at the end.

    days    (S,)  days of the week so far; a week begins when the series does
    failed  (S,)  of `count`, those whose share must not rise: failed calls, sessions that ended badly
    """

    days: Bytes = column(dtype=np.int8)
    count: Singles = column(dtype=np.float32)
    failed: Singles = column(dtype=np.float32)
    past_count: Singles = column(WEEKS, dtype=np.float32)
    past_failed: Singles = column(WEEKS, dtype=np.float32)

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
        n, k = self.past_count[over, -1].astype(np.float64), self.past_failed[over, -1].astype(np.float64)
        count, failed = self.count[over].astype(np.float64), self.failed[over].astype(np.float64)
        pool = (mass_failed.sum() + 1) / (mass.sum() + 100)
        share = (k + 1) / (n + 1 / pool)
        upper = share * (DRIFT_SLACK + 1 / np.sqrt(k + 1))
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


@dataclass(eq=False)
class LevelAnchor:
    """Of levels: the baseline's at the ends of the last weeks, natural log, oldest at the end, NaN where unknown.

    It is held against the baseline of now, which four weeks lie between as well, and so needs no sums of its own.
    """

    past: Singles = column(WEEKS, fill=np.nan, dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)

    def crept(self, level: Floats, error: Floats) -> Mapping[int, float]:
        """End a week: by how much, natural log, the levels (S,) rose in four weeks that have crept up.

        level (S,) NaN where the baseline is too young · error (S,) standard deviation of a week's level
        """
        rise = level - self.past[:, -1]
        found = (rise >= np.log(RATIO)) & (rise - np.log(LEVEL_SLACK) >= SIGMAS * error)
        self.past[:] = np.concatenate([level[:, None], self.past[:, :-1]], 1)
        return {int(row): float(rise[row]) for row in np.flatnonzero(found)}
