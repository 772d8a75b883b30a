"""A plain limit on a level over a window: for those who want one, and while the other rules are warming up.

It knows no baseline and keeps no budget. Above the limit is anomalous, below is recovered; a window that holds too
little says nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.core.columns import OUTCOMES, TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Judgement, Terms
from detectors.core.histogram import WIDTH, quantile_position
from detectors.core.rows import clear, column, resize, restore, snapshot

WINDOW_MAX = 60
"""Ticks that a window may hold: an hour."""
LOWEST = -40
"""OTLP scale-2 index of the histograms' first bucket: about a millisecond, or a thousandth of a dollar."""
BUCKETS = 2 * WIDTH
SIGNALS = {
    "error_ratio": "ratio",
    "latency_p50": "s",
    "latency_p95": "s",
    "cost_per_session_p95": "usd",
    "spend_per_hour": "usd",
    "bad_outcome_share": "ratio",
}
"""What can be compared, and the unit it is told in."""


def build(terms: Terms) -> "Static":
    """The detector of a rule with `detector: static`."""
    return Static(terms)


@dataclass(eq=False)
class Window:
    """The ticks of the window of every series: units counted, the part that matters, and a histogram.

    at (S, T) tick index a place was last written in; places that are too old do not count
    """

    ticks: int
    buckets: int
    at: Ids = column("ticks", fill=-1, dtype=np.int64)
    count: Floats = column("ticks")
    part: Floats = column("ticks")
    histogram: Floats = column("ticks", "buckets")

    def __post_init__(self) -> None:
        resize(self, 0)


class Static:
    """A rule's limit, over all its series."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.ticks = max(1, min(WINDOW_MAX, terms.window_ns // TICK_NS))
        by_histogram = terms.signal in ("latency_p50", "latency_p95", "cost_per_session_p95")
        self.window = Window(self.ticks, BUCKETS if by_histogram else 0)
        self.now = -1

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Compare every series that counted something in this tick."""
        resize(self.window, len(modes))
        self.now = tick.start_ns // TICK_NS
        rows = self._write(tick)
        level, count = self._levels(rows)
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
        since = (self.now - self.ticks + 1) * TICK_NS
        # The one `math.nan`, as equal findings must be equal values.
        finding = Finding(SIGNALS[self.terms.signal], self.terms.above, now, since, count, math.nan, math.nan, "")
        return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, finding)

    def _write(self, tick: Tick) -> Ids:
        """Put the tick into its place of the ring; returns the series that it says anything of."""
        rows = tick.series
        count: Floats = tick.count
        part: Floats = np.zeros(len(rows))
        signal, w = self.terms.signal, self.window
        if signal == "error_ratio":
            part = tick.failed
        elif signal == "spend_per_hour":
            part = tick.cost_usd
        elif signal == "bad_outcome_share":
            at = np.searchsorted(rows, tick.outcome.cell)
            count = np.bincount(at, tick.outcome.count, len(rows)).astype(float)
            bad = tick.outcome.bucket != OUTCOMES.index("resolved")
            part = np.bincount(at[bad], tick.outcome.count[bad], len(rows)).astype(float)
        place = self.now % self.ticks
        w.at[rows, place], w.count[rows, place], w.part[rows, place] = self.now, count, part
        if w.buckets:
            entries = tick.cost if signal == "cost_per_session_p95" else tick.duration
            bucket = np.clip((entries.bucket >> 1) - LOWEST, 0, BUCKETS - 1)
            at = np.searchsorted(rows, entries.cell) * BUCKETS + bucket
            w.histogram[rows, place] = np.bincount(at, entries.count, len(rows) * BUCKETS).reshape(len(rows), BUCKETS)
            w.count[rows, place] = w.histogram[rows, place].sum(1)
        return rows

    def _levels(self, rows: Ids) -> tuple[Floats, Floats]:
        """(level, units) of each series over the window; NaN where it holds nothing."""
        w = self.window
        inside = (w.at[rows] > self.now - self.ticks) & (w.at[rows] >= 0)
        count = (w.count[rows] * inside).sum(1)
        if w.buckets:
            q = 0.5 if self.terms.signal == "latency_p50" else 0.95
            counts = (w.histogram[rows] * inside[:, :, None]).sum(1)
            return np.exp2((quantile_position(counts, q) + LOWEST) / 4), count
        part = (w.part[rows] * inside).sum(1)
        if self.terms.signal == "spend_per_hour":
            return part * 60 / self.ticks, count
        with np.errstate(invalid="ignore", divide="ignore"):
            return part / count, count

    def ask(self, row: int, ratio: float | None, points: float | None) -> None:
        """Nothing: a static rule has a limit, not an effect."""

    def forget(self, rows: Ids) -> None:
        clear(self.window, rows)

    def doubt(self, row: int) -> None:
        """Nothing: a limit that pages too often is too low."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """The level that is compared, and the limit."""
        rows = np.arange(len(self.window.at), dtype=np.int32)
        level, _ = self._levels(rows)
        return {"static_level": level, "static_limit": np.full(len(rows), self.terms.above)}

    def snapshot(self) -> Arrays:
        return {"now": np.array([self.now])} | snapshot(self.window, "window")

    def restore(self, arrays: Arrays) -> None:
        self.now = int(arrays["now"][0])
        restore(self.window, arrays, "window")
