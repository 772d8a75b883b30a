"""Cost per session: what a closed session cost in all, as a distribution, against the hour's.

Only sessions whose every call has a price enter, in the slot in which they close; free ones say nothing about price
and are left out. Where more than a tenth of the sessions of the last hour have a call without a price, the rest is a
biased sample, most of all when a new model appears: the series is then neither judged nor learnt.

Where metrics tell how many sessions closed and what was paid, but not what each of them cost, the dollars of a minute
go to the sessions that closed in it (those of a minute without any, to the next that did), and their mean is one value.
Only a rule that counts nothing but sessions can know this.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.core.columns import (
    HISTOGRAM_SCALE,
    TICK_NS,
    Arrays,
    Bytes,
    Entries,
    Floats,
    Ids,
    Singles,
    Tick,
    added_up,
)
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.distribution import Distribution, quantile_gauges
from detectors.core.engine import GAUGES, LEARNS, Engine
from detectors.core.rows import clear, column, resize, restore, snapshot
from detectors.core.traffic import HOUR_DECAY

LEAST_RATIO = 1.5
UNPRICED_MAX = 0.10
BY_SESSION_TICKS = 1440
"""Ticks since a session told its own cost for which means say nothing new."""
EMPTY = Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
MEANS = "means of a minute's sessions, of the cost that metrics state"


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


@dataclass(eq=False)
class Stated:
    """Dollars that metrics state and no session has taken yet.

    own_at   (S,) last tick in which a session told its own cost
    mean_at  (S,) last tick of which a mean was taken
    """

    usd: Floats = column()
    own_at: Ids = column(fill=-BY_SESSION_TICKS, dtype=np.int64)
    mean_at: Ids = column(fill=-1, dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)

    def means(self, tick: Tick) -> Entries:
        """One value for each series whose sessions closed: what they cost, on the mean."""
        rows, index = tick.series, tick.start_ns // TICK_NS
        self.own_at[tick.cost.cell] = index
        self.usd[rows] += tick.cost_usd
        told = (index - self.own_at[rows] >= BY_SESSION_TICKS) & (tick.count > 0) & (self.usd[rows] > 0)
        mine = rows[told]
        with np.errstate(under="ignore"):
            mean = self.usd[mine] / tick.count[told]
        self.usd[rows[tick.count > 0]] = 0
        self.mean_at[mine] = index
        index_of = np.ceil(np.log2(mean) * 2**HISTOGRAM_SCALE) - 1
        return Entries(mine, index_of.astype(np.int32), np.ones(len(mine)))


class Cost:
    """The engine over session costs, fed only with the series whose prices are known."""

    def __init__(self, terms: Terms) -> None:
        self.engine = Engine(
            Distribution(lambda tick: tick.cost, "usd", "session_cost", terms.ratio or LEAST_RATIO), terms
        )
        self.priced = Priced()
        self.stated, self.of_sessions = Stated(), terms.of_sessions

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        resize(self.priced, len(modes))
        resize(self.stated, len(modes))
        self.priced.add(tick)
        means = self.stated.means(tick) if self.of_sessions else EMPTY
        blind = tick.series[self.priced.unpriced_share(tick.series) > UNPRICED_MAX]
        judged = self.engine.tick(_with(_without(tick, blind), means), modes)
        return {row: self._said(row, one) for row, one in judged.items()}

    def _said(self, row: int, one: Judgement) -> Judgement:
        """A finding that says what is not known: means have a count of minutes; and some calls have no price."""
        if one.finding is None:
            return one
        details, found = [], one.finding
        if self.stated.own_at[row] <= self.stated.mean_at[row] - BY_SESSION_TICKS:
            found = replace(found, count=math.nan)
            details.append(MEANS)
        if (share := self.priced.unpriced_share(np.array([row], np.int32))[0]) > 0:
            details.append(f"unpriced: {100 * share:.2g}% of sessions have a call without a known price")
        return replace(one, finding=replace(found, detail="; ".join(details))) if details else one

    def ask(self, row: int, asked: Asked) -> None:
        self.engine.ask(row, asked)

    def forget(self, rows: Ids) -> None:
        self.engine.forget(rows)
        clear(self.priced, rows)
        clear(self.stated, rows)

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
        return {**self.engine.snapshot(), **snapshot(self.priced, "priced"), **snapshot(self.stated, "stated")}

    def restore(self, arrays: Arrays) -> None:
        self.engine.restore(arrays)
        restore(self.priced, arrays, "priced")
        if any(name.startswith("stated.") for name in arrays):  # Format 9 had none.
            restore(self.stated, arrays, "stated")
        else:
            resize(self.stated, len(self.priced.at))


def _without(tick: Tick, rows: Ids) -> Tick:
    """The tick without the costs of these series."""
    if not len(rows):
        return tick
    keep = ~np.isin(tick.cost.cell, rows)
    cost = tick.cost.at(keep)
    return Tick(**{**vars(tick), "cost": cost})


def _with(tick: Tick, more: Entries) -> Tick:
    """The tick with these costs besides."""
    if not len(more.cell):
        return tick
    cost = added_up(*(np.concatenate([getattr(tick.cost, part), getattr(more, part)]) for part in vars(more)))
    return Tick(**{**vars(tick), "cost": cost})


def build(terms: Terms) -> Cost:
    """Make the detector of a rule with `detector: cost`."""
    return Cost(terms)


DETECTOR = Descriptor(
    build,
    {
        **quantile_gauges("session_cost", "tocsin_session_cost_usd", "Cost of closed sessions of late.", "usd"),
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
    signal="cost_per_session_p95",
    effects=Effects(LEAST_RATIO, None, "1.5x"),
    learns=LEARNS,
    of_sessions=True,
    operations=("session",),
)
