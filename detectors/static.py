"""A plain limit on a level over a window: for those who want one, and while the other rules are warming up.

It knows no baseline and keeps no budget. Above the limit is anomalous, below is recovered; a window that holds too
little says nothing.
"""

import math
from collections.abc import Mapping

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Judgement, Terms
from detectors.core.descriptor import Descriptor, Gauge, Limit
from detectors.core.window import Window

WINDOW_MAX = 60
"""Ticks that a window may hold: an hour."""


class Static:
    """A rule's limit, over all its series."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.window = Window(terms.signal, max(1, min(WINDOW_MAX, terms.window_ns // TICK_NS)))

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Compare every series that counted something in this tick."""
        rows = self.window.add(tick, len(modes))
        level, count = self.window.levels(rows)
        judged = {}
        for row, now, n in zip(rows.tolist(), level.tolist(), count.tolist(), strict=True):
            if n >= self.terms.at_least and np.isfinite(now):
                judged[row] = self._judge(now, n, Mode(int(modes[row])))
        return judged

    def _judge(self, now: float, count: float, mode: Mode) -> Judgement:
        if now <= self.terms.above:
            return Judgement(Verdict.RECOVERED if mode in (Mode.PAGING, Mode.MUTED) else Verdict.QUIET)
        if mode in (Mode.PAGING, Mode.MUTED):
            return Judgement(Verdict.QUIET)
        since = (self.window.now - self.window.ticks + 1) * TICK_NS
        # The one `math.nan`, as equal findings must be equal values.
        finding = Finding(self.window.signal.unit, self.terms.above, now, since, count, math.nan, math.nan, "")
        return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, finding)

    def ask(self, row: int, ratio: float | None, points: float | None) -> None:
        """Nothing: a static rule has a limit, not an effect."""

    def forget(self, rows: Ids) -> None:
        self.window.forget(rows)

    def doubt(self, row: int) -> None:
        """Nothing: a limit that pages too often is too low."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """The level that is compared, and the limit."""
        rows = np.arange(len(self.window.ring.at), dtype=np.int32)
        level, _ = self.window.levels(rows)
        return {"static_level": level, "static_limit": np.full(len(rows), self.terms.above)}

    def snapshot(self) -> Arrays:
        return self.window.snapshot()

    def restore(self, arrays: Arrays) -> None:
        self.window.restore(arrays)


DETECTOR = Descriptor(
    Static,
    {
        "static_level": Gauge("tocsin_static_level", "What a static rule compares, in its signal's unit.", shows=""),
        "static_limit": Gauge("tocsin_static_limit", "The static rule's limit."),
    },
    arrow="limit",
    limit=Limit(None, "5%"),
    takes_signal=True,
    takes_window=True,
)
