"""A plain limit on a level over a window: for those who want one, and while the other rules are warming up.

It knows no baseline and keeps no budget. Beyond the limit is anomalous, on its other side is recovered; a window that
holds too little says nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Mode, Tick
from detectors.core.contract import Asked, Detector, Judgement, Terms
from detectors.core.descriptor import Descriptor, Gauge, Limit
from detectors.core.limit import Limits, compared
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot
from detectors.core.signals import SIGNALS, Rate
from detectors.core.window import Window


class Static:
    """A rule's limit, over all its series."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.is_floor = math.isnan(terms.above)
        self.limits = Limits(terms.below if self.is_floor else terms.above)
        self.window = Window(terms.signal, max(1, terms.window_ns // TICK_NS), terms.goods, len(terms.outcomes) - 1)

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Compare every series that counted something in this tick."""
        resize(self.limits, len(modes))
        return self.judged(self.window.add(tick, len(modes)), modes, self.terms.at_least)

    def judged(self, rows: Ids, modes: Bytes, at_least: float) -> dict[int, Judgement]:
        """Compare these series, if their windows hold so many units."""
        level, count = self.window.levels(rows)
        limit = self.limits.of(rows)
        beyond = level < limit if self.is_floor else level > limit
        told = np.flatnonzero((count >= at_least) & np.isfinite(level))
        found = zip(rows[told], limit[told], level[told], count[told], beyond[told], strict=True)
        return {
            int(row): compared(self._finding(float(most), float(now), float(n)) if is_beyond else None, modes[row])
            for row, most, now, n, is_beyond in found
        }

    def _finding(self, limit: float, now: float, count: float) -> Finding:
        since = (self.window.now - self.window.ticks + 1) * TICK_NS
        # The one `math.nan`, as equal findings must be equal values.
        return Finding(self.window.signal.unit, limit, now, since, count, math.nan, math.nan, "")

    def ask(self, row: int, asked: Asked) -> None:
        """Compare one series with a limit of its own."""
        resize(self.limits, row + 1)
        self.limits.own[row] = asked.below if self.is_floor else asked.above

    def forget(self, rows: Ids) -> None:
        self.window.forget(rows)
        clear(self.limits, rows)

    def doubt(self, row: int) -> None:
        """Nothing: a limit that pages too often is in the wrong place."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """The level that is compared, and the limit."""
        rows = np.arange(len(self.window.ring.at), dtype=np.int32)
        level, _ = self.window.levels(rows)
        resize(self.limits, len(rows))
        return {"static_level": level, "static_limit": self.limits.of(rows)}

    def snapshot(self) -> Arrays:
        return self.window.snapshot()

    def restore(self, arrays: Arrays) -> None:
        self.window.restore(arrays)


@dataclass(eq=False)
class Watched:
    """(S,) the first tick of those in which something was heard from which a series' silence counts; -1 before it."""

    since: Ids = column(fill=-1, dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)


class Trickle:
    """A limit that a rate must not fall below. Silence is a rate of nothing, so every tick comes in which anything was
    heard at all: time is counted in those, as a silent pipeline is nobody's rate.

    A series is judged once it has been known for a whole window.
    """

    def __init__(self, terms: Terms) -> None:
        self.static, self.watched, self.heard = Static(terms), Watched(), 0

    def excuse(self, rows: Ids) -> None:
        """Of what these series do not send in the next tick nothing is said: their windows begin after it."""
        known = rows[rows < len(self.watched.since)]
        known = known[self.watched.since[known] >= 0]
        self.watched.since[known] = self.heard + 1

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Compare every series that is known, if it counted something or not."""
        resize(self.watched, len(modes))
        resize(self.static.limits, len(modes))
        self.static.window.add(replace(tick, start_ns=self.heard * TICK_NS), len(modes))
        new = tick.series[self.watched.since[tick.series] < 0]
        self.watched.since[new] = self.heard
        self.heard += 1
        ready = (self.watched.since >= 0) & (self.heard - self.watched.since >= self.static.window.ticks)
        judged = self.static.judged(np.flatnonzero(ready).astype(np.int32), modes, 0.0)
        at_ns = tick.start_ns - (self.static.window.ticks - 1) * TICK_NS
        return {row: _since(one, at_ns) for row, one in judged.items() if one.finding or modes[row] != Mode.WATCHED}

    def ask(self, row: int, asked: Asked) -> None:
        """Compare one series with a limit of its own."""
        self.static.ask(row, asked)

    def forget(self, rows: Ids) -> None:
        self.static.forget(rows)
        clear(self.watched, rows)

    def doubt(self, row: int) -> None:
        """Nothing: a limit that pages too often is in the wrong place."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """The level that is compared, and the limit."""
        return self.static.gauges()

    def snapshot(self) -> Arrays:
        return {**self.static.snapshot(), **snapshot(self.watched, "watched"), "heard": np.array([self.heard])}

    def restore(self, arrays: Arrays) -> None:
        self.static.restore(arrays)
        restore(self.watched, arrays, "watched")
        self.heard = int(arrays["heard"][0])


def _since(judgement: Judgement, since_ns: int) -> Judgement:
    found = judgement.finding
    return judgement if found is None else replace(judgement, finding=replace(found, since_ns=since_ns))


def build(terms: Terms) -> Detector:
    """Silence matters where a rate must not fall."""
    is_rate = isinstance(SIGNALS[terms.signal].of, Rate)
    return Trickle(terms) if is_rate and not math.isnan(terms.below) else Static(terms)


DETECTOR = Descriptor(
    build,
    {
        "static_level": Gauge("tocsin_static_level", "What a static rule compares, in its signal's unit.", shows=""),
        "static_limit": Gauge("tocsin_static_limit", "The static rule's limit."),
    },
    arrow="limit",
    limit=Limit(None, "5%", below=True),
    takes_signal=True,
    takes_window=True,
    window_ticks_max=30 * 1440,
)
