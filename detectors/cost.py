"""Cost per session: what a closed session cost in all, as a distribution, against the hour's.

Only sessions whose every call has a price enter, in the slot in which they close; free ones say nothing about price
and are left out. Where more than a tenth of the sessions of the last hour have a call without a price, the rest is a
biased sample, most of all when a new model appears: the series is then neither judged nor learnt.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Bytes, Entries, Floats, Ids, Singles, Tick
from detectors.core.contract import Judgement, Terms
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.distribution import Distribution
from detectors.core.engine import GAUGES, Engine
from detectors.core.rows import clear, column, resize, restore, snapshot
from detectors.core.traffic import HOUR_DECAY

LEAST_RATIO = 1.5
UNPRICED_MAX = 0.10


@dataclass(eq=False)
class Priced:
    """Sessions of about the last hour, and those of them that have a call without a price; decayed, as of tick `at`."""

    at: Ids = column(dtype=np.int32)
    sessions: Singles = column(dtype=np.float32)
    unpriced: Singles = column(dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)

    def add(self, tick: Tick) -> None:
        rows, index = tick.series, tick.start_ns // TICK_NS
        left = HOUR_DECAY ** np.maximum(index - self.at[rows], 1)
        self.sessions[rows] = self.sessions[rows] * left + tick.count
        self.unpriced[rows] = self.unpriced[rows] * left + tick.unpriced
        self.at[rows] = index

    def unpriced_share(self, rows: Ids) -> Floats:
        sessions = self.sessions[rows]
        share: Floats = self.unpriced[rows] / np.where(sessions > 0, sessions, 1)
        return share


class Cost:
    """The engine over session costs, fed only with the series whose prices are known."""

    def __init__(self, terms: Terms) -> None:
        self.engine = Engine(
            Distribution(lambda tick: tick.cost, "usd", "session_cost", terms.ratio or LEAST_RATIO), terms
        )
        self.priced = Priced()

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        resize(self.priced, len(modes))
        self.priced.add(tick)
        blind = tick.series[self.priced.unpriced_share(tick.series) > UNPRICED_MAX]
        return self.engine.tick(_without(tick, blind), modes)

    def ask(self, row: int, ratio: float | None, points: float | None) -> None:
        self.engine.ask(row, ratio, points)

    def forget(self, rows: Ids) -> None:
        self.engine.forget(rows)
        clear(self.priced, rows)

    def doubt(self, row: int) -> None:
        self.engine.doubt(row)

    def excess(self) -> float:
        return self.engine.excess()

    def gauges(self) -> Mapping[str, Floats]:
        levels = self.engine.gauges()
        if levels:
            levels["session_unpriced_ratio"] = self.priced.unpriced_share(np.arange(self.engine.size, dtype=np.int32))
        return levels

    def snapshot(self) -> Arrays:
        return {**self.engine.snapshot(), **snapshot(self.priced, "priced")}

    def restore(self, arrays: Arrays) -> None:
        self.engine.restore(arrays)
        restore(self.priced, arrays, "priced")


def _without(tick: Tick, rows: Ids) -> Tick:
    """The tick without the costs of these series."""
    if not len(rows):
        return tick
    keep = ~np.isin(tick.cost.cell, rows)
    cost = Entries(tick.cost.cell[keep], tick.cost.bucket[keep], tick.cost.count[keep])
    return Tick(**{**vars(tick), "cost": cost})


def build(terms: Terms) -> Cost:
    """Make the detector of a rule with `detector: cost`."""
    return Cost(terms)


DETECTOR = Descriptor(
    build,
    {
        **{
            f"session_cost_p{q}": Gauge(
                "tocsin_session_cost_usd", "Cost of closed sessions of late.", ("quantile", f"0.{q}"), *shown
            )
            for q, *shown in ((50,), (95, "usd", "session_cost_baseline"), (99,))
        },
        "session_cost_baseline": Gauge(
            "tocsin_session_cost_baseline_usd", "p95 cost of a session that the baseline expects."
        ),
        "session_cost_effect": Gauge(
            "tocsin_session_cost_threshold_usd", "p95 cost that is the rule's smallest effect."
        ),
        "session_unpriced_ratio": Gauge(
            "tocsin_session_unpriced_ratio", "Share of sessions with a call of unknown price."
        ),
        **GAUGES,
    },
    subject="p95 of a session's cost",
    effects=Effects(LEAST_RATIO, None, "1.5x"),
    of_sessions=True,
)
