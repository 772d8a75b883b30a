"""One number a series over the last minutes: the level that a limit, or a detector of plain numbers, looks at."""

import numpy as np

from detectors.core.columns import OUTCOMES, TICK_NS, Arrays, Floats, Ids, Tick
from detectors.core.histogram import WIDTH, quantile_position
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot

LOWEST = -40
"""OTLP scale-2 index of the histograms' first bucket: about a millisecond, or a thousandth of a dollar."""
BUCKETS = 2 * WIDTH
QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "cost_per_session_p95": 0.95, "p50": 0.5, "p95": 0.95}
RATES = {"spend_per_hour": 60, "calls_per_minute": 1, "per_minute": 1}
"""What is told over time, and over how many minutes."""
SIGNALS = {
    "error_ratio": "ratio",
    "latency_p50": "s",
    "latency_p95": "s",
    "cost_per_session_p95": "usd",
    "spend_per_hour": "usd",
    "bad_outcome_share": "ratio",
    "unpriced_share": "ratio",
    "calls_per_minute": "per minute",
    "value": "",
    "per_minute": "per minute",
    "p50": "",
    "p95": "",
}
"""What can be looked at, and the unit it is told in."""


@dataclass(eq=False)
class Ring:
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


class Window:
    """The last `ticks` minutes of every series. Ticks come in time order.

    goods, unmapped  classes of outcomes below are good; this one is of no class
    """

    def __init__(self, signal: str, ticks: int, goods: int = 1, unmapped: int = len(OUTCOMES) - 1) -> None:
        self.signal, self.ticks = signal, ticks
        self.goods, self.unmapped = goods, unmapped
        self.ring = Ring(ticks, BUCKETS if signal in QUANTILES else 0)
        self.now = -1

    @property
    def unit(self) -> str:
        return SIGNALS[self.signal]

    def add(self, tick: Tick, size: int) -> Ids:
        """Take in a tick of series below `size`; returns those that it says anything of."""
        resize(self.ring, size)
        self.now = tick.start_ns // TICK_NS
        rows, ring, place = tick.series, self.ring, self.now % self.ticks
        count, part = self._counted(tick)
        ring.at[rows, place], ring.count[rows, place], ring.part[rows, place] = self.now, count, part
        if ring.buckets:
            entries = tick.cost if self.signal == "cost_per_session_p95" else tick.duration
            bucket = np.clip((entries.bucket >> 1) - LOWEST, 0, BUCKETS - 1)
            at = np.searchsorted(rows, entries.cell) * BUCKETS + bucket
            dense = np.bincount(at, entries.count, len(rows) * BUCKETS).reshape(len(rows), BUCKETS)
            ring.histogram[rows, place] = dense
            ring.count[rows, place] = dense.sum(1)
        return rows

    def _counted(self, tick: Tick) -> tuple[Floats, Floats]:
        """(units, the part of them that matters) of each series of the tick."""
        part: Floats = np.zeros(len(tick.series))
        match self.signal:
            case "error_ratio":
                part = tick.failed
            case "spend_per_hour":
                # Metrics may state cost of no call: a minute of it is one thing that was counted.
                return np.where(tick.count > 0, tick.count, tick.cost_usd > 0).astype(float), tick.cost_usd
            case "unpriced_share":
                part = tick.unpriced
            case "calls_per_minute":
                part = tick.count
            case "value" | "per_minute":
                part = tick.amount
            case "bad_outcome_share":
                at = np.searchsorted(tick.series, tick.outcome.cell)
                # Those of no class are among all, and not among the bad: nobody knows what they are.
                bad = (tick.outcome.bucket >= self.goods) & (tick.outcome.bucket < self.unmapped)
                part = np.bincount(at[bad], tick.outcome.count[bad], len(part)).astype(float)
                return np.bincount(at, tick.outcome.count, len(part)).astype(float), part
        return tick.count, part

    def levels(self, rows: Ids) -> tuple[Floats, Floats]:
        """(level, units) of each series over the window; NaN where it holds nothing."""
        ring = self.ring
        inside = (ring.at[rows] > self.now - self.ticks) & (ring.at[rows] >= 0)
        count = (ring.count[rows] * inside).sum(1)
        if ring.buckets:
            counts = (ring.histogram[rows] * inside[:, :, None]).sum(1)
            position = quantile_position(counts, QUANTILES[self.signal])
            return np.exp2((position + LOWEST) / 4), count
        part = (ring.part[rows] * inside).sum(1)
        if self.signal in RATES:
            return part * RATES[self.signal] / self.ticks, count
        with np.errstate(invalid="ignore", divide="ignore"):
            return part / count, count

    def forget(self, rows: Ids) -> None:
        clear(self.ring, rows)

    def snapshot(self) -> Arrays:
        return {"now": np.array([self.now])} | snapshot(self.ring, "window")

    def restore(self, arrays: Arrays) -> None:
        self.now = int(arrays["now"][0])
        restore(self.ring, arrays, "window")
