"""What a point adds, in buckets of ours: the difference of two histograms, and the values of one spread over ours.

Source: the OpenTelemetry metrics data model (explicit and exponential histograms, downscaling).
"""

import math
from typing import NamedTuple

from detectors.core.columns import HISTOGRAM_SCALE
from service.ingest.otlp.points import BUCKETS_MAX, Histogram
from service.ingest.rollup import BUCKET_MAX, BUCKET_MIN

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


def scaled(histogram: Histogram, factor: float) -> Histogram:
    """A histogram of values in another unit, `factor` of it to one: exact but for exponential buckets, which move by
    whole ones.

    >>> scaled(Histogram(3, 5000.0, (1, 2), (1000.0,)), 0.001)
    Histogram(n=3, total=5.0, counts=(1, 2), bounds=(1.0,), scale=None, first=0, zero=0.0)
    """
    total = histogram.total * factor
    if histogram.scale is None:
        return histogram._replace(total=total, bounds=tuple(bound * factor for bound in histogram.bounds))
    moved = round(math.log2(factor) * 2.0**histogram.scale)
    return histogram._replace(total=total, first=histogram.first + moved)


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


def increase(value: float, histogram: Histogram | None) -> Increase | None:
    """What a counter adds that went up by so much; None where that is nothing."""
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
