"""Near misses: what a series' evidence does short of a page tells whether its threshold keeps the budget.

Under the model, evidence over h/2 is rare, and its excess falls off by a factor of e a nat. Failures that come in
bursts, or levels that wobble more than eta knows, give more of it, with a longer tail. Evidence with an effect that
passed h/2 and fell under it again without a page is a near miss, at most one a day and series. From how often a series
has them, and how far they go in the rule as a whole, follows the evidence that would keep the budget were they the
start of an exponential tail:

    h_s  =  max(h, h/2 + b log(7 S' r_s / B))        r_s near misses a day, b their mean excess in nats

A threshold is only ever raised, and at most doubled, so the theorem's bound stays. Days of pages tell nothing here.
"""

from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Bools, Floats, Ids, Singles
from detectors.core.rows import column, resize

POOL_MISSES = 1.0
"""Near misses of its own with which a series' rate weighs as much as the rule's."""
SURE_MISSES = 10.0
"""Near misses of the rule with which their mean excess weighs as much as the model's, which is one nat."""
MOST = 2.0
"""Times the theorem's threshold that a series may be asked for: a wild one is judged late, but judged."""


@dataclass(eq=False)
class Misses:
    """Near misses by series, decayed over past days.

    top     (S,)  highest evidence with an effect while watched, of what passed h/2 and is not counted yet; infinite
                  once it paged
    days    (S,)  days judged
    count   (S,)  of these, days with a near miss
    excess  (S,)  sum of the near misses' evidence over h/2
    asked   (S,)  evidence asked of the series beyond the rule's threshold, as a factor >= 1
    """

    top: Singles = column(dtype=np.float32)
    days: Singles = column(dtype=np.float32)
    count: Singles = column(dtype=np.float32)
    excess: Singles = column(dtype=np.float32)
    asked: Singles = column(fill=1.0, dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)

    def note(self, rows: Ids, total: Floats) -> None:
        """Evidence over h/2, with an effect, of watched series; infinite where they page."""
        self.top[rows] = np.maximum(self.top[rows], total)

    def refit(self, keep: float, judged: Bools, standing: Bools, threshold: Floats) -> None:
        """Midnight: take today in, and set what is asked; `threshold`, (S,) or (1,), is the h that held today.

        Where the evidence still stands over h/2 it is no miss yet: it may be a change on its way to a page.
        """
        missed = np.isfinite(self.top) & (self.top > 0) & ~standing
        self.days[:] = keep * self.days + judged
        self.count[:] = keep * self.count + missed
        self.excess[:] = keep * self.excess + np.where(missed, np.maximum(self.top - threshold / 2, 0), 0)
        self.top[~standing] = 0
        all_count, all_days = self.count.sum(), self.days.sum()
        if not all_count:
            self.asked[:] = 1
            return
        further = (self.excess.sum() + SURE_MISSES) / (all_count + SURE_MISSES)
        rate = (self.count + POOL_MISSES) / (self.days + POOL_MISSES * all_days / all_count)
        # 7 S' / B is exp(h) a tick, and a day has 1440 of them.
        needed = threshold / 2 + further * (threshold - np.log(1440) + np.log(rate))
        self.asked[:] = np.clip(needed / threshold, 1, MOST)
