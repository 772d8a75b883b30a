"""Cost per session: what a closed session cost in all, as a distribution, against the hour's.

Only sessions whose every call has a price enter, in the slot in which they close; free ones say nothing about price
and are left out. Where more than a tenth of the sessions of the last hour have a call without a price, the rest is a
biased sample, most of all when a new model appears: the series is then neither judged nor learnt.
"""

from collections.abc import Mapping

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Bytes, Entries, Floats, Ids, Tick
from detectors.core.contract import Judgement, Terms
from detectors.core.distribution import Distribution
from detectors.core.engine import Engine
from detectors.core.rows import clear, resize, restore, snapshot
from detectors.core.traffic import Traffic

LEAST_RATIO = 1.5
UNPRICED_MAX = 0.10


def build(terms: Terms) -> "Cost":
    """The detector of a rule with `detector: cost`."""
    return Cost(terms)


class Cost:
    """The engine over session costs, fed only with the series whose prices are known."""

    def __init__(self, terms: Terms) -> None:
        self.engine = Engine(
            Distribution(lambda tick: tick.cost, "usd", "session_cost", terms.ratio or LEAST_RATIO), terms
        )
        self.unpriced = Traffic()
        self.sessions = Traffic()

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        for part in (self.unpriced, self.sessions):
            resize(part, len(modes))
        index = tick.start_ns // TICK_NS
        self.unpriced.add(tick.series, tick.unpriced, index)
        self.sessions.add(tick.series, tick.count, index)
        blind = tick.series[self._share(tick.series) > UNPRICED_MAX]
        return self.engine.tick(_without(tick, blind), modes)

    def _share(self, rows: Ids) -> Floats:
        """Unpriced share of the sessions of about the last hour."""
        all_ = self.sessions.now[rows]
        share: Floats = self.unpriced.now[rows] / np.where(all_ > 0, all_, 1)
        return share

    def ask(self, row: int, ratio: float | None, points: float | None) -> None:
        self.engine.ask(row, ratio, points)

    def forget(self, rows: Ids) -> None:
        self.engine.forget(rows)
        clear(self.unpriced, rows)
        clear(self.sessions, rows)

    def doubt(self, row: int) -> None:
        self.engine.doubt(row)

    def excess(self) -> float:
        return self.engine.excess()

    def gauges(self) -> Mapping[str, Floats]:
        levels = self.engine.gauges()
        if levels:
            levels["session_unpriced_ratio"] = self._share(np.arange(self.engine.size, dtype=np.int32))
        return levels

    def snapshot(self) -> Arrays:
        return {
            **self.engine.snapshot(),
            **snapshot(self.unpriced, "unpriced"),
            **snapshot(self.sessions, "sessions"),
        }

    def restore(self, arrays: Arrays) -> None:
        self.engine.restore(arrays)
        restore(self.unpriced, arrays, "unpriced")
        restore(self.sessions, arrays, "sessions")


def _without(tick: Tick, rows: Ids) -> Tick:
    """The tick without the costs of these series."""
    if not len(rows):
        return tick
    keep = ~np.isin(tick.cost.cell, rows)
    cost = Entries(tick.cost.cell[keep], tick.cost.bucket[keep], tick.cost.count[keep])
    return Tick(**{**vars(tick), "cost": cost})
