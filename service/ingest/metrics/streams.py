"""Metric streams: what each point adds to what was known, whatever its temporality.

Source: the OpenTelemetry metrics data model (streams, temporality, resets and gaps, staleness).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from detectors.core.columns import HISTOGRAM_SCALE, SECOND_NS
from service.batch import Dropped
from service.ingest.otlp.points import BUCKETS_MAX, NUMBER_MAX, Histogram, Kind, Point
from service.ingest.rollup import BUCKET_MAX, BUCKET_MIN

SILENT_NS = 3600 * SECOND_NS
"""A stream that has said nothing for so long of event time is forgotten."""
STREAMS_MAX = 20_000
Buckets = tuple[tuple[int, float], ...]
"""Counts by bucket at HISTOGRAM_SCALE."""


class Increase(NamedTuple):
    """What a point adds. A gauge's is its value itself, once; a sum's its increase; a histogram's the new values.

    n          points of a gauge, the values of a histogram, 0 for a sum
    amount     the gauge's value, the sum's increase, the sum of the histogram's values (NaN where it is not known)
    buckets    the histogram's values; those over its last bound are in the bucket just above, and in `saturated`
    """

    n: float
    amount: float
    buckets: Buckets = ()
    saturated: float = 0.0


@dataclass
class Stream:
    """The last point of a stream."""

    start_ns: int
    time_ns: int
    value: float
    histogram: Histogram | None


class Streams:
    """All streams. `since_ns` is the event time from which on it was listened: what began later is known whole."""

    def __init__(self, since_ns: int | None = None) -> None:
        self.since_ns = since_ns
        self.streams: dict[tuple[Any, ...], Stream] = {}
        self._swept_ns = 0

    def increase(self, point: Point) -> Increase | Dropped | None:
        """What a point adds; None if nothing, or why it was dropped."""
        self.since_ns = point.time_ns if self.since_ns is None else self.since_ns
        self._sweep(point.time_ns)
        key = _key(point)
        known = self.streams.get(key)
        if point.is_stale:
            self.streams.pop(key, None)
            return None
        if known is not None and point.time_ns <= known.time_ns:
            return Dropped.DUPLICATE
        if known is None and len(self.streams) >= STREAMS_MAX:
            return Dropped.SERIES_FULL
        now = Stream(point.start_ns, point.time_ns, point.value, point.histogram)
        self.streams[key] = now
        if point.kind is Kind.GAUGE:
            return Increase(1.0, point.value)
        if not point.monotonic:  # An up-and-down counter is a gauge that is told in steps.
            if not point.cumulative:
                now.value += known.value if known else 0.0
            if abs(now.value) > NUMBER_MAX:
                del self.streams[key]
                return Dropped.BAD_NUMBER
            return Increase(1.0, now.value)
        if not point.cumulative:
            return _increase(point.value, point.histogram)
        return self._since(known, now)

    def _since(self, known: Stream | None, now: Stream) -> Increase | None:
        """A cumulative point less the one before it."""
        assert self.since_ns is not None
        if known is None or known.start_ns != now.start_ns:
            whole = now.start_ns < now.time_ns and (known is not None or now.start_ns >= self.since_ns)
            return _increase(now.value, now.histogram) if whole and now.start_ns else None
        if now.histogram is None:
            reset = now.value < known.value
            return _increase(now.value if reset else now.value - known.value, None)
        if known.histogram is None or now.histogram.bounds != known.histogram.bounds:
            return None  # Other boundaries: another stream, whose beginning is not known.
        more = less(now.histogram, known.histogram)
        return _increase(0.0, now.histogram if more is None else more)

    def _sweep(self, time_ns: int) -> None:
        if time_ns - self._swept_ns > SILENT_NS / 4:
            self._swept_ns = time_ns
            self.streams = {key: one for key, one in self.streams.items() if time_ns - one.time_ns <= SILENT_NS}

    def state(self) -> dict[str, Any]:
        """What `resume` takes, fit for JSON."""
        streams = [
            [key, one.start_ns, one.time_ns, one.value, None if one.histogram is None else _listed(one.histogram)]
            for key, one in self.streams.items()
        ]
        return {"since_ns": self.since_ns, "streams": streams}

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> "Streams":
        """The streams that `state` was taken of."""
        streams = cls(state["since_ns"])
        for key, start_ns, time_ns, value, histogram in state["streams"]:
            held = None
            if histogram is not None:
                count, total, counts, bounds, *rest = histogram
                held = Histogram(count, math.nan if total is None else total, tuple(counts), tuple(bounds), *rest)
            streams.streams[_tuples(key)] = Stream(start_ns, time_ns, value, held)
        return streams


def _key(point: Point) -> tuple[Any, ...]:
    """What makes a stream one stream."""
    return (point.resource, point.scope, point.metric, point.unit, int(point.kind), point.cumulative,
            point.monotonic, point.labels)  # fmt: skip


def _listed(histogram: Histogram) -> list[Any]:
    """A histogram as JSON knows it: what is no number is null."""
    return [None if isinstance(part, float) and math.isnan(part) else part for part in histogram]


def _tuples(read: Any) -> Any:
    return tuple(map(_tuples, read)) if isinstance(read, list) else read


def less(now: Histogram, before: Histogram) -> Histogram | None:
    """What was added between two points of one stream; None if the later one began anew.

    >>> less(Histogram(3, 6.0, (1, 2), (1.0,)), Histogram(1, 1.0, (1, 0), (1.0,)))
    Histogram(n=2, total=5.0, counts=(0, 2), bounds=(1.0,), scale=None, first=0, zero=0.0)
    """
    if (now.scale is None) != (before.scale is None):
        return None
    if now.scale is not None and before.scale is not None:
        scale = min(now.scale, before.scale)
        now, before = downscaled(now, scale), downscaled(before, scale)
        first = min(now.first, before.first)
        if max(now.first, before.first) - first > BUCKETS_MAX:
            return None
        now, before = _from(now, first), _from(before, first)
    if len(before.counts) > len(now.counts):
        return None
    earlier = before.counts + (0.0,) * (len(now.counts) - len(before.counts))
    counts = tuple(a - b for a, b in zip(now.counts, earlier, strict=True))
    if min(counts, default=0) < 0 or now.n < before.n or now.zero < before.zero:
        return None
    return now._replace(n=now.n - before.n, total=now.total - before.total, counts=counts, zero=now.zero - before.zero)


def downscaled(histogram: Histogram, scale: int) -> Histogram:
    """An exponential histogram at a coarser scale, exactly.

    >>> downscaled(Histogram(3, 0.0, (1.0, 1.0, 1.0), (), 4, 3), 3)
    Histogram(n=3, total=0.0, counts=(1.0, 2.0), bounds=(), scale=3, first=1, zero=0.0)
    """
    assert histogram.scale is not None
    by = histogram.scale - scale
    if by <= 0 or not histogram.counts:
        return histogram._replace(scale=min(scale, histogram.scale))
    first = histogram.first >> by
    counts = [0.0] * (((histogram.first + len(histogram.counts) - 1) >> by) - first + 1)
    for i, count in enumerate(histogram.counts):
        counts[((histogram.first + i) >> by) - first] += count
    return histogram._replace(scale=scale, first=first, counts=tuple(counts))


def _from(histogram: Histogram, first: int) -> Histogram:
    return histogram._replace(first=first, counts=(0.0,) * (histogram.first - first) + histogram.counts)


def _increase(value: float, histogram: Histogram | None) -> Increase | None:
    if histogram is None:
        return Increase(0.0, value) if value else None
    if not histogram.n:
        return None
    spread: dict[int, float] = {}
    saturated = 0.0
    if histogram.scale is None:
        saturated = _spread_explicit(histogram, spread)
    else:
        _spread_exponential(histogram, spread)
    return Increase(histogram.n, histogram.total, tuple(sorted(spread.items())), saturated)


def _spread_exponential(histogram: Histogram, spread: dict[int, float]) -> None:
    """Finer buckets go into ours exactly; coarser ones are spread over those that they cover, evenly in the log."""
    assert histogram.scale is not None
    if histogram.zero:
        _put(spread, BUCKET_MIN, histogram.zero)
    fine = downscaled(histogram, min(histogram.scale, HISTOGRAM_SCALE))
    assert fine.scale is not None
    width = 1 << (HISTOGRAM_SCALE - fine.scale)
    for i, count in enumerate(fine.counts):
        first = (fine.first + i) * width
        low, high = max(first, BUCKET_MIN), min(first + width, BUCKET_MAX + 1)
        if count and low < high:
            for bucket in range(low, high):
                _put(spread, bucket, count / (high - low))
        elif count:
            _put(spread, first, count)


def _spread_explicit(histogram: Histogram, spread: dict[int, float]) -> float:
    """Each bucket's values evenly in the log between its bounds; how many lie over the last one.

    Where one bucket holds all, their mean says more than its bounds.
    """
    bounds, counts = histogram.bounds, histogram.counts
    mean = histogram.total / histogram.n
    for i, count in enumerate(counts[: len(bounds)]):
        high = bounds[i]
        if not count:
            continue
        if high <= 0:
            _put(spread, BUCKET_MIN, count)
            continue
        before = max(bounds[i - 1], 0.0) if i else 0.0
        low = before or high / 2
        if count == histogram.n and before < mean <= high:
            low = high = mean
        last = max(_bucket(high), BUCKET_MIN)
        first = min(max(_bucket_above(low), BUCKET_MIN), last)
        for bucket in range(first, last + 1):
            _put(spread, bucket, count / (last - first + 1))
    over = counts[len(bounds)]
    if over and not bounds:  # No buckets at all: the mean is all there is.
        _put(spread, _bucket(mean), over)
        return 0.0
    if over:
        _put(spread, _bucket(bounds[-1]) + 1, over)
    return over


def _bucket_above(value: float) -> int:
    """The bucket that begins at a value; the lowest where half of the smallest number there is has become nothing."""
    return math.floor(math.log2(value) * 2**HISTOGRAM_SCALE + 1e-9) if value > 0 else BUCKET_MIN


def _bucket(value: float) -> int:
    if not value > 0:  # NaN too.
        return BUCKET_MIN
    index: int = math.ceil(math.log2(value) * 2**HISTOGRAM_SCALE - 1e-9) - 1
    return index


def _put(spread: dict[int, float], bucket: int, count: float) -> None:
    bucket = min(max(bucket, BUCKET_MIN), BUCKET_MAX)
    spread[bucket] = spread.get(bucket, 0.0) + count
