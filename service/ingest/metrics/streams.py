"""Metric streams: what each point adds to what was known, whatever its temporality.

What a cumulative point counts is the lifetime of its writer, and a lifetime counts once. A writer is told by its start
time; one that began after Tocsin listened is known whole, and of any other the first point is only a beginning. The
resource of a writer may gain, lose or change attributes on the way here, so it tells writers apart only by those
attributes that say which process it is.

Source: the OpenTelemetry metrics data model (streams, temporality, resets and gaps, single writer, staleness).
"""

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from detectors.core.columns import SECOND_NS
from service.batch import Dropped
from service.ingest.dialects import RESOURCE_FIELDS
from service.ingest.metrics.histograms import Increase, increase, less
from service.ingest.metrics.units import scale_of
from service.ingest.otlp.points import NUMBER_MAX, Histogram, Kind, Labels, Point

SILENT_NS = 24 * 3600 * SECOND_NS
"""A stream that has said nothing for so long of event time is forgotten: a laptop sleeps over night."""
MAY_GO_NS = 3600 * SECOND_NS
"""One that has said nothing for so long is forgotten where the table is full."""
LOOKED_NS = 900 * SECOND_NS
"""How often it is looked for those."""
BRIEF_NS = 600 * SECOND_NS
"""Of writers that cannot be told apart those that spoke within so long come first."""
STREAMS_MAX = 20_000
FORGOTTEN_MAX = 20_000
TOLD_MAX = 32
"""Points of a delta stream that are remembered, to know one that comes twice."""
IDENTITY = frozenset(
    (
        "service.name", "service.namespace", "service.instance.id", "host.name", "host.id", "container.id",
        "k8s.pod.name", "k8s.pod.uid", "process.pid", "faas.instance",
        *(name for names in RESOURCE_FIELDS.values() for name in names),
    )
)  # fmt: skip
"""Attributes of a resource that say which process it is, or whose: where two differ in one, they are two writers."""
Key = tuple[Any, ...]
Delta = tuple[int, int, float, float]
"""Start, time, value and count of a point."""


@dataclass
class Stream:
    """One writer's last point; of a delta stream its last points in `told`."""

    resource: Labels
    start_ns: int
    time_ns: int
    value: float
    histogram: Histogram | None
    told: deque[Delta] = field(default_factory=lambda: deque(maxlen=TOLD_MAX))


class Streams:
    """All streams. `since_ns` is the event time from which on it was listened: what began later is known whole.

    The key of a cumulative stream ends with its start: writers that are alike but for their resources share it. That of
    any other ends with its resource.
    """

    def __init__(self, since_ns: int | None = None) -> None:
        self.since_ns = since_ns
        self._has_begun = since_ns is not None  # Whether any point came.
        self.streams: dict[Key, list[Stream]] = {}
        self.forgotten: dict[str, int] = {}  # Of keys without their start, the latest start that was forgotten.
        self.forgotten_ns = 0  # The latest start among those that are not even in there any more.
        self._size = 0
        self._swept_ns = self._cleared_ns = 0

    def listen(self, now_ns: int) -> None:
        """Somebody listens, from then on at the latest: in a replay from the first point on."""
        self.since_ns = now_ns if self.since_ns is None else self.since_ns

    def increase(self, point: Point) -> Increase | Dropped | None:
        """What a point adds; None if nothing, or why it was dropped."""
        if not self._has_begun:
            self.since_ns = min(point.time_ns, self.since_ns or point.time_ns)
            self._has_begun = True
        if point.time_ns - self._swept_ns > LOOKED_NS:
            self._swept_ns = point.time_ns
            self._let_go(point.time_ns - SILENT_NS)
        lives = point.kind is not Kind.GAUGE and point.cumulative and point.monotonic
        key = (*_key(point), point.start_ns if lives else point.resource)
        alike = self.streams.get(key, [])
        if lives:
            return None if point.is_stale else self._cumulative(key, alike, point)
        known = alike[0] if alike else None
        if point.is_stale:
            if known is not None:
                self._drop(key, known)
            return None
        is_delta = point.kind is not Kind.GAUGE and point.monotonic
        return self._delta(key, known, point) if is_delta else self._gauge(key, known, point)

    def _gauge(self, key: Key, known: Stream | None, point: Point) -> Increase | Dropped:
        """A gauge is its value; an up-and-down counter is a gauge that is told in steps."""
        if known is not None and point.time_ns <= known.time_ns:
            return Dropped.DUPLICATE
        value = point.value
        if point.kind is not Kind.GAUGE and not point.cumulative:
            value += known.value if known else 0.0
        if abs(value) > NUMBER_MAX:
            if known is not None:
                self._drop(key, known)
            return Dropped.BAD_NUMBER
        if known is None and self._is_full(point):
            return Dropped.SERIES_FULL
        known = known or self._add(key, _stream(point))
        known.time_ns, known.value = point.time_ns, value
        return Increase(1.0, value)

    def _delta(self, key: Key, known: Stream | None, point: Point) -> Increase | Dropped | None:
        """A point of an interval adds what it says, once; several writers may speak in any order."""
        if known is None:
            if self._is_full(point):
                return Dropped.SERIES_FULL
            known = self._add(key, _stream(point))
        told = (point.start_ns, point.time_ns, point.value, point.histogram.n if point.histogram else 0.0)
        # Older than all that is remembered: it may have come before.
        older = len(known.told) == TOLD_MAX and point.time_ns <= min(time_ns for _, time_ns, _, _ in known.told)
        if told in known.told or older:
            return Dropped.DUPLICATE
        known.told.append(told)
        known.time_ns = max(known.time_ns, point.time_ns)
        return increase(point.value, point.histogram)

    def _cumulative(self, key: Key, alike: list[Stream], point: Point) -> Increase | Dropped | None:
        """A cumulative point less the last one of its writer, or its whole lifetime if all of that was heard."""
        mine = [one for one in alike if not _apart(one.resource, point.resource)]
        if any(_comes_again(one, point) for one in mine):
            return Dropped.DUPLICATE
        known, more = self._before(mine, point)
        if known is not None:
            known.resource, known.time_ns = point.resource, point.time_ns
            known.value, known.histogram = point.value, point.histogram
            return more
        if any(_is_late(one, point) for one in mine):
            return Dropped.DUPLICATE
        if self._is_full(point):
            self._remember(key, point.start_ns)
            return Dropped.SERIES_FULL
        self._add(key, _stream(point))
        # Other boundaries than before: part of it is counted already.
        is_other = any(not _comparable(one.histogram, point.histogram) for one in mine)
        if is_other or not self._is_whole(key, point):
            return Dropped.UNKNOWN_START
        return increase(point.value, point.histogram)

    def _before(self, mine: list[Stream], point: Point) -> tuple[Stream | None, Increase | None]:
        """The stream that a point goes on, and what it adds.

        Where several writers cannot be told apart, it is the one with the largest value of those that it could go on:
        what is added then is the least that can be true.
        """
        found: tuple[tuple[bool, bool, float], Stream, Increase | None] | None = None
        for one in mine:
            if point.time_ns <= one.time_ns or (one.histogram is None) != (point.histogram is None):
                continue  # Two points at once are of two writers.
            if point.histogram is not None and one.histogram is not None:
                rest = less(point.histogram, one.histogram)
                if rest is None or not _comparable(one.histogram, point.histogram):
                    continue
                more, size = increase(0.0, rest), one.histogram.n
            else:
                if point.value < one.value:
                    continue
                more, size = increase(point.value - one.value, None), one.value
            rank = (point.time_ns - one.time_ns <= BRIEF_NS, one.resource == point.resource, size)
            if found is None or rank > found[0]:
                found = rank, one, more
        return (None, None) if found is None else found[1:]

    def _is_whole(self, key: Key, point: Point) -> bool:
        """Whether all that a point counts came after it was first listened, and none of it is counted."""
        assert self.since_ns is not None
        counted_ns = max(self.forgotten_ns, self.forgotten.get(_digest(key), 0))
        return self.since_ns <= point.start_ns < point.time_ns and point.start_ns > counted_ns

    def _add(self, key: Key, stream: Stream) -> Stream:
        self.streams.setdefault(key, []).append(stream)
        self._size += 1
        return stream

    def _drop(self, key: Key, stream: Stream) -> None:
        alike = self.streams[key]
        alike[:] = [one for one in alike if one is not stream]
        self._size -= 1
        if not alike:
            del self.streams[key]

    def _forget(self, key: Key, stream: Stream) -> None:
        self._drop(key, stream)
        if stream.start_ns and isinstance(key[-1], int):
            self._remember(key, stream.start_ns)

    def _remember(self, key: Key, start_ns: int) -> None:
        """What began until then may be counted already."""
        digest = _digest(key)
        self.forgotten[digest] = max(start_ns, self.forgotten.pop(digest, 0))
        while len(self.forgotten) > FORGOTTEN_MAX:
            self.forgotten_ns = max(self.forgotten_ns, self.forgotten.pop(next(iter(self.forgotten))))

    def _is_full(self, point: Point) -> bool:
        if self._size >= STREAMS_MAX and point.time_ns - self._cleared_ns > LOOKED_NS:
            self._cleared_ns = point.time_ns
            self._let_go(point.time_ns - MAY_GO_NS)
        return self._size >= STREAMS_MAX

    def _let_go(self, before_ns: int) -> None:
        """Forget the streams that have said nothing since then."""
        gone = [(key, one) for key, alike in self.streams.items() for one in alike if one.time_ns < before_ns]
        for key, one in gone:
            self._forget(key, one)

    def state(self) -> dict[str, Any]:
        """What `resume` takes, fit for JSON."""
        streams = [
            [key, one.resource, one.start_ns, one.time_ns, one.value,
             None if one.histogram is None else _listed(one.histogram), list(one.told)]
            for key, alike in self.streams.items() for one in alike
        ]  # fmt: skip
        return {
            "since_ns": self.since_ns, "has_begun": self._has_begun, "streams": streams, "forgotten": self.forgotten,
            "forgotten_ns": self.forgotten_ns, "looked_ns": [self._swept_ns, self._cleared_ns],
        }  # fmt: skip

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> "Streams":
        """The streams that `state` was taken of, or those of format 9."""
        streams = cls(state["since_ns"])
        streams._has_begun = state.get("has_begun", state["since_ns"] is not None)
        streams.forgotten = dict(state.get("forgotten", {}))
        streams.forgotten_ns = state.get("forgotten_ns", 0)
        streams._swept_ns, streams._cleared_ns = state.get("looked_ns", (0, 0))
        for key, stream in _read(state["streams"]):
            streams._add(key, stream)
        return streams


def _key(point: Point) -> Key:
    """What makes a stream one stream, but for its resource and its start."""
    return (point.scope, point.metric, scale_of(point.unit), int(point.kind), point.cumulative, point.monotonic,
            point.labels)  # fmt: skip


def _stream(point: Point) -> Stream:
    return Stream(point.resource, point.start_ns, point.time_ns, point.value, point.histogram)


def _apart(one: Labels, other: Labels) -> bool:
    """Whether two resources are of two processes: they differ in what says which one it is.

    >>> _apart((("host.name", "a"),), (("host.name", "b"),)), _apart((("host.name", "a"),), (("k8s.node", "n"),))
    (True, False)
    """
    if one == other:
        return False
    known = dict(one)
    return any(name in IDENTITY and known.get(name, value) != value for name, value in other)


def _comes_again(one: Stream, point: Point) -> bool:
    """Whether a point is the last one of a writer once more."""
    is_same = one.value == point.value and one.histogram == point.histogram
    return is_same and one.time_ns == point.time_ns and one.resource == point.resource


def _is_late(one: Stream, point: Point) -> bool:
    """Whether a point may be an earlier one of a writer that has counted on since."""
    if one.resource != point.resource or point.time_ns >= one.time_ns:
        return False
    if one.histogram is not None and point.histogram is not None:
        return point.histogram.n <= one.histogram.n
    return point.value <= one.value


def _comparable(one: Histogram | None, other: Histogram | None) -> bool:
    return one is None or other is None or one.bounds == other.bounds


def _digest(key: Key) -> str:
    return hashlib.blake2b(repr(key[:-1]).encode(errors="replace"), digest_size=8).hexdigest()


def _read(saved: list[Any]) -> Iterator[tuple[Key, Stream]]:
    """Streams of this format, and of the one before, whose keys began with the resource and had the unit as it was."""
    for entry in saved:
        if len(entry) == 5:
            (resource, scope, metric, unit, kind, *rest), start_ns, time_ns, value, histogram = entry
            is_cumulative = rest[0] and rest[1] and kind != Kind.GAUGE
            key = [scope, metric, scale_of(unit), kind, *rest, start_ns if is_cumulative else resource]
            told: list[Any] = []
        else:
            key, resource, start_ns, time_ns, value, histogram, told = entry
        held = None
        if histogram is not None:
            count, total, counts, bounds, *more = histogram
            held = Histogram(count, math.nan if total is None else total, tuple(counts), tuple(bounds), *more)
        stream = Stream(_tuples(resource), start_ns, time_ns, value, held)
        stream.told.extend(map(tuple, told))
        yield _tuples(key), stream


def _listed(histogram: Histogram) -> list[Any]:
    """A histogram as JSON knows it: what is no number is null."""
    return [None if isinstance(part, float) and math.isnan(part) else part for part in histogram]


def _tuples(read: Any) -> Any:
    return tuple(map(_tuples, read)) if isinstance(read, list) else read
