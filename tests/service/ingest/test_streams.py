"""A lifetime counts once, whatever becomes of start times, resources, writers, silences and restarts on the way."""

import json
from itertools import count
from typing import Any

import pytest

from detectors.core.columns import SECOND_NS
from service.batch import Dropped
from service.ingest.metrics.histograms import Increase
from service.ingest.metrics.streams import Streams
from service.ingest.otlp.points import Histogram, Kind, Labels, Point

SINCE = 1_000
"""The second from which on it was listened."""
HOME = (("service.name", "shop"),)


def point(value: float, at: int, start: int = 2_000, resource: Labels = HOME, **more: Any) -> Point:
    """A point of a counter of tokens; times in seconds."""
    fields: dict[str, Any] = {
        "metric": "tokens", "unit": "", "scope": "m", "kind": Kind.SUM, "cumulative": True, "monotonic": True,
        "labels": (), "value": value, "histogram": None, "is_stale": False,
    } | more  # fmt: skip
    return Point(start_ns=start * SECOND_NS, time_ns=at * SECOND_NS, resource=resource, **fields)


def histogram(*counts: float, scale: int | None = None) -> Histogram:
    """Values of ten each."""
    n = sum(counts)
    return Histogram(n, 10 * n, counts, tuple(range(1, len(counts))) if scale is None else (), scale)


def added(*points: Point, streams: Streams | None = None, restored: bool = False) -> list[float | Dropped]:
    """What each point adds: an amount (of histograms their values), 0 for nothing, or why it does not."""
    one, found = streams or Streams(SINCE * SECOND_NS), list[float | Dropped]()
    for each in points:
        more = one.increase(each)
        found.append((more.n or more.amount) if isinstance(more, Increase) else more or 0.0)
        if restored:
            one = Streams.resume(json.loads(json.dumps(one.state(), allow_nan=False)))
    return found


def total(found: list[float | Dropped]) -> float:
    return sum(each for each in found if not isinstance(each, Dropped))


def with_(**attributes: str) -> Labels:
    return tuple(sorted([*HOME, *((name.replace("__", "."), text) for name, text in attributes.items())]))


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    ("points", "truth"),
    [
        # Each start time is a writer of its own, however they take turns, and whichever began first.
        ([(100, 2100, 2000), (10, 2110, 2050), (150, 2160, 2000), (20, 2170, 2050)], 170),
        ([(10, 2110, 2050), (100, 2120, 2000), (20, 2170, 2050), (150, 2180, 2000)], 170),
        # Three of them, one of which goes and comes again.
        ([(5, 2010, 2000), (6, 2011, 2001), (7, 2012, 2002), (8, 2072, 2002), (9, 2130, 2000)], 9 + 6 + 8),
        # A writer that began before it was listened is only a beginning, however often it is seen.
        ([(9e6, 2100, 500), (5, 2101, 2000), (9e6 + 3, 2160, 500), (6, 2161, 2000), (9e6 + 4, 2220, 500)], 4 + 6),
        # A restart, and a restart of which the start time tells nothing.
        ([(100, 2100, 2000), (7, 2200, 2150), (9, 2260, 2150)], 109),
        ([(100, 2100, 2000), (7, 2200, 2000), (9, 2260, 2000)], 109),
        # Two writers with one start time: what is lower is another's.
        ([(100, 2100, 2000), (10, 2101, 2000), (110, 2160, 2000), (20, 2161, 2000)], 130),
        # No start time at all: what began when is not known, so no lifetime counts, and no increase is made up.
        ([(100, 2100, 0), (10, 2101, 0), (110, 2160, 0), (20, 2161, 0), (120, 2220, 0)], 30),
        # The same points again, and late ones.
        ([(100, 2100, 2000), (100, 2100, 2000), (150, 2160, 2000), (100, 2100, 2000), (160, 2220, 2000)], 160),
    ],
    ids=["turns", "turns-back", "three", "older", "restart", "reset", "one-start", "no-start", "again"],
)
def test_each_writer_counts_its_lifetime_once(
    points: list[tuple[float, int, int]], truth: float, restored: bool
) -> None:
    """By sums, and by histograms of either kind; Tocsin restarted after each point or not."""
    assert total(added(*(point(*each) for each in points), restored=restored)) == truth
    if max(value for value, *_ in points) < 1e6:
        for scale in (None, 3):
            of = [
                point(0, at, start, kind=Kind.HISTOGRAM, histogram=histogram(value, 0, scale=scale))
                for value, at, start in points
            ]
            assert total(added(*of, restored=restored)) == truth


@pytest.mark.parametrize(
    "resources",
    [
        [HOME, with_(k8s__deployment__name="d")],  # Gained,
        [with_(k8s__deployment__name="d"), HOME],  # lost,
        [HOME, with_(k8s__pod__uid="u", host__name="h"), with_(host__name="h")],  # both in turn,
        [with_(k8s__deployment__name="a"), with_(k8s__deployment__name="b")],  # changed,
        [HOME, with_(collector="c")] * 3,  # and by two collectors, of which one knows it.
        [with_(collector="a"), with_(collector="b")] * 3,
    ],
    ids=["gained", "lost", "turns", "changed", "two-collectors", "stamps"],
)
def test_a_resource_that_changes_on_the_way_is_one_process(resources: list[Labels]) -> None:
    """It began once, so it counts once."""
    points = [point(100 + 10 * i, 2100 + 60 * i, resource=each) for i, each in enumerate(resources)]
    assert total(added(*points)) == 100 + 10 * (len(resources) - 1)


@pytest.mark.parametrize(
    "name", ["service__instance__id", "host__name", "k8s__pod__name", "process__pid", "tenant__id"]
)
def test_what_says_which_process_tells_writers_apart(name: str) -> None:
    """Though they began in the same nanosecond: replicas, hosts, tenants."""
    one, other = with_(**{name: "1"}), with_(**{name: "2"})
    turns = [(100, 2100, one), (150, 2101, other), (120, 2160, one), (190, 2161, other)]
    assert total(added(*(point(value, at, resource=who) for value, at, who in turns))) == 120 + 190


def test_two_points_at_once_are_of_two_writers() -> None:
    """A body brings what two workers count at one time, with what no table knows to tell them apart."""
    turns = [point(value, at, resource=with_(worker=who))
             for at in (2100, 2160) for who, value in (("1", at - 2000), ("2", at - 1950))]  # fmt: skip
    assert total(added(*turns)) == 160 + 210


def test_a_lifetime_is_not_counted_again_after_a_silence() -> None:
    """A day later the stream is forgotten, but not that it was counted; a new one of the process counts."""
    day = 86_400
    streams = Streams(SINCE * SECOND_NS)
    later = 2_200 + day + 1_000
    found = added(point(100, 2_100), point(5, later, start=later - 10, labels=(("a", 1),)),
                  point(400, later + 1), point(410, later + 61), streams=streams)  # fmt: skip
    assert found == [100, 5, Dropped.UNKNOWN_START, 10]
    assert added(point(7, later + 90, start=later), streams=streams) == [7]


def test_a_laptop_that_slept_goes_on() -> None:
    """Within a day nothing is forgotten."""
    assert added(point(100, 2_100), point(130, 2_100 + 43_200)) == [100, 30]


def test_what_had_no_room_is_not_counted_at_once_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table refuses a stream; when there is room, its lifetime is not one minute's."""
    monkeypatch.setattr("service.ingest.metrics.streams.STREAMS_MAX", 1)
    streams, label = Streams(SINCE * SECOND_NS), (("a", 1),)
    found = added(point(100, 2_100), point(50, 2_101, labels=label), point(60, 9_000, labels=label),
                  point(65, 9_060, labels=label), streams=streams)  # fmt: skip
    assert found == [100, Dropped.SERIES_FULL, Dropped.UNKNOWN_START, 5]


def test_other_boundaries_of_the_same_writer_are_only_a_beginning() -> None:
    """A view that was changed on the way: part of it is counted already."""
    bounds = [histogram(5, 5), histogram(5, 5, 0), histogram(5, 9, 0)]
    found = added(*(point(0, 2100 + i, kind=Kind.HISTOGRAM, histogram=one) for i, one in enumerate(bounds)))
    assert found == [10, Dropped.UNKNOWN_START, 4]


def test_a_unit_that_comes_to_be_told_is_the_same_stream() -> None:
    assert total(added(point(100, 2100), point(110, 2160, unit="{token}"), point(120, 2220, unit="1"))) == 120


def test_deltas_of_several_writers_add_up_in_any_order() -> None:
    """Only the very same point is told twice."""
    turns = [(5, 2100, 2040), (3, 2095, 2035), (5, 2100, 2040), (4, 2100, 2041), (6, 2160, 2100)]
    found = added(*(point(*each, cumulative=False) for each in turns))
    assert found == [5, 3, Dropped.DUPLICATE, 4, 6]


def test_a_process_that_began_after_the_daemon_is_known_whole() -> None:
    """Though no point came between: somebody listened. In a replay it is the first point that begins."""
    live, replay, at = Streams(), Streams(), count(2_100, 60)
    live.listen(1_000 * SECOND_NS)
    replay.listen(10**9 * SECOND_NS)
    assert added(point(100, next(at)), streams=live) == [100]
    assert added(point(100, next(at)), point(1, 9_000, start=8_000, labels=(("a", 1),)), streams=replay) == [
        Dropped.UNKNOWN_START, 1
    ]  # fmt: skip
