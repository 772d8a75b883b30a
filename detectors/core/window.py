"""One number a series over the last minutes, or weeks: what a limit, or a detector of plain numbers, looks at.

A window has at most PLACES places. One of an hour or less has a place a minute. A longer one has places of many minutes
each, so that it takes no more memory, and what it looks at is between 59 and 60 of its places.
"""

import numpy as np

from detectors.core.columns import OUTCOMES, TICK_NS, Arrays, Entries, Floats, Ids, Tick
from detectors.core.histogram import WIDTH, quantile_position
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot
from detectors.core.signals import SIGNALS, Mean, Quantile, Rate

PLACES = 60
LOWEST = -40
"""OTLP scale-2 index of the histograms' first bucket: about a millisecond, or a thousandth of a dollar."""
BUCKETS = 2 * WIDTH


@dataclass(eq=False)
class Ring:
    """The places of the window of every series: units counted, the part that matters, and a histogram.

    at (S, T) number of the place when it was last written in; those that are too old do not count
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
    width            ticks of one place
    """

    def __init__(self, signal: str, ticks: int, goods: int = 1, unmapped: int = len(OUTCOMES) - 1) -> None:
        self.signal, self.ticks = SIGNALS[signal].of_classes(goods, unmapped), ticks
        self.width = -(-ticks // PLACES)
        self.places = -(-ticks // self.width)
        self.ring = Ring(self.places, BUCKETS if isinstance(self.signal.of, Quantile) else 0)
        self.now = -1

    def add(self, tick: Tick, size: int) -> Ids:
        """Take in a tick of series below `size`; returns those that it says anything of."""
        resize(self.ring, size)
        self.now = tick.start_ns // TICK_NS
        rows, ring, number = tick.series, self.ring, self.now // self.width
        place = number % self.places
        begins = rows[ring.at[rows, place] != number]
        for column_of in (ring.count, ring.part, ring.histogram):
            column_of[begins, place] = 0
        ring.at[rows, place] = number
        match self.signal.of:
            case Mean(part, units) | Rate(part, _, units):
                ring.count[rows, place] += units(tick)
                ring.part[rows, place] += part(tick)
            case Quantile(_, histogram):
                counts = _dense(histogram(tick), rows)
                ring.count[rows, place] += counts.sum(1)
                ring.histogram[rows, place] += counts
        return rows

    def levels(self, rows: Ids, places: int = PLACES) -> tuple[Floats, Floats]:
        """(level, units) of each series over the window, or over its last places; NaN where that holds nothing."""
        ring, number, places = self.ring, self.now // self.width, min(places, self.places)
        inside = (ring.at[rows] > number - places) & (ring.at[rows] >= 0)
        count, part = (ring.count[rows] * inside).sum(1), (ring.part[rows] * inside).sum(1)
        match self.signal.of:
            case Quantile(share, _):
                position = quantile_position((ring.histogram[rows] * inside[:, :, None]).sum(1), share)
                return np.exp2((position + LOWEST) / 4), count
            case Rate(_, minutes, _):
                # The place of now may have begun just now.
                return part * minutes / ((places - 1) * self.width + self.now % self.width + 1), count
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
