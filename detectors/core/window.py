"""One number a series over the last minutes: the level that a limit, or a detector of plain numbers, looks at."""

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Entries, Floats, Ids, Tick
from detectors.core.histogram import WIDTH, quantile_position
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot
from detectors.core.signals import SIGNALS, Mean, Quantile, Rate

LOWEST = -40
"""OTLP scale-2 index of the histograms' first bucket: about a millisecond, or a thousandth of a dollar."""
BUCKETS = 2 * WIDTH


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
    """The last `ticks` minutes of every series. Ticks come in time order."""

    def __init__(self, signal: str, ticks: int) -> None:
        self.signal, self.ticks = SIGNALS[signal], ticks
        self.ring = Ring(ticks, BUCKETS if isinstance(self.signal.of, Quantile) else 0)
        self.now = -1

    def add(self, tick: Tick, size: int) -> Ids:
        """Take in a tick of series below `size`; returns those that it says anything of."""
        resize(self.ring, size)
        self.now = tick.start_ns // TICK_NS
        rows, ring, place = tick.series, self.ring, self.now % self.ticks
        ring.at[rows, place], ring.count[rows, place] = self.now, tick.count
        match self.signal.of:
            case Mean(part, units):
                ring.count[rows, place], ring.part[rows, place] = units(tick), part(tick)
            case Rate(amount):
                ring.part[rows, place] = amount(tick)
            case Quantile(_, histogram):
                counts = _dense(histogram(tick), rows)
                ring.part[rows, place], ring.count[rows, place] = 0, counts.sum(1)
                ring.histogram[rows, place] = counts
        return rows

    def levels(self, rows: Ids) -> tuple[Floats, Floats]:
        """(level, units) of each series over the window; NaN where it holds nothing."""
        ring = self.ring
        inside = (ring.at[rows] > self.now - self.ticks) & (ring.at[rows] >= 0)
        count, part = (ring.count[rows] * inside).sum(1), (ring.part[rows] * inside).sum(1)
        match self.signal.of:
            case Quantile(share, _):
                position = quantile_position((ring.histogram[rows] * inside[:, :, None]).sum(1), share)
                return np.exp2((position + LOWEST) / 4), count
            case Rate(_, minutes):
                return part * minutes / self.ticks, count
            case Mean():
                with np.errstate(invalid="ignore", divide="ignore"):
                    return part / count, count

    def forget(self, rows: Ids) -> None:
        clear(self.ring, rows)

    def snapshot(self) -> Arrays:
        return {"now": np.array([self.now])} | snapshot(self.ring, "window")

    def restore(self, arrays: Arrays) -> None:
        self.now = int(arrays["now"][0])
        restore(self.ring, arrays, "window")


def _dense(entries: Entries, rows: Ids) -> Floats:
    """(series, BUCKETS) the entries' counts in buckets half as fine; what lies outside is in the first or last."""
    bucket = np.clip((entries.bucket >> 1) - LOWEST, 0, BUCKETS - 1)
    at = np.searchsorted(rows, entries.cell) * BUCKETS + bucket
    return np.bincount(at, entries.count, len(rows) * BUCKETS).astype(float).reshape(len(rows), BUCKETS)
