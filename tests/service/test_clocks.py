"""Gaps of the process and steps of the clock are noticed, told apart, and no silence of those who send."""

import logging

import pytest

from service.batch import NO_GAP, Dropped, Gap, Tally
from service.clocks import ClockWatch
from service.ingest.stage import Ingest
from service.minutely import Minutely

SECOND = 10**9


class Hands:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_800_000_000 * SECOND, 5 * SECOND
        self.watch = ClockWatch(lambda: self.wall, lambda: self.monotonic)
        self.watch.look()

    def pass_s(self, wall: float, monotonic: float | None = None) -> None:
        self.wall += round(wall * SECOND)
        self.monotonic += round((wall if monotonic is None else monotonic) * SECOND)


def test_time_that_passes_is_no_gap() -> None:
    """A look a second, with a clock that is slewed a little."""
    hands = Hands()
    for _ in range(100):
        hands.pass_s(1.0005, 1.0)
        hands.watch.look()
    assert hands.watch.take() == NO_GAP and not hands.watch.gaps


@pytest.mark.parametrize(
    ("wall", "monotonic", "kind", "gap"),
    [
        (240, 240, "stood_still", Gap(stood_ns=240 * SECOND)),
        (241, 1, "put_forward", Gap(stepped_ns=240 * SECOND)),  # Or suspended: the monotonic clock stands then.
        (-7199, 1, "put_back", Gap(stepped_ns=-7200 * SECOND)),
    ],
)
def test_a_gap_is_told_once(wall: int, monotonic: int, kind: str, gap: Gap) -> None:
    """By its kind and length, however often somebody looks; and counted."""
    hands = Hands()
    hands.pass_s(wall, monotonic)
    hands.watch.look()
    assert hands.watch.take() == gap and hands.watch.take() == NO_GAP
    assert hands.watch.gaps == {kind: 1} and hands.watch.seconds[kind] == abs(gap.stood_ns + gap.stepped_ns) / SECOND


def test_gaps_between_two_steps_add_up() -> None:
    """A long step hides no gap: the looks in between find it."""
    hands = Hands()
    for _ in range(2):
        hands.pass_s(100, 10)
        hands.watch.look()
    assert hands.watch.take() == Gap(stood_ns=20 * SECOND, stepped_ns=180 * SECOND)


def test_what_is_dropped_is_said_by_the_minute(caplog: pytest.LogCaptureFixture) -> None:
    """One line a minute and kind, however many; and a topic of which nothing can be read is known until some can."""
    caplog.set_level(logging.INFO, "tocsin")
    minutely = Minutely()
    minutely.add(Tally(), (), Ingest.WAITS, 0.0)
    minutely.add(Tally(), (), Ingest.WAITS, 60.0)
    for second in range(61, 121):
        tally = Tally()
        tally.dropped[Dropped.LATE] = 2
        tally.read.update(a=2, b=1)
        tally.foreign.update({("a", "zipkin_json"): 2, ("b", "json"): 1})
        if second == 100:
            tally.read["b"] += 1
        minutely.add(tally, ("a/0", f"a/{second}"), Ingest.WAITS, second)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    assert "120 spans came too late" in lines[0]
    assert "a: 120 of 120 bodies hold no OTLP: it looks like Zipkin" in lines[1]
    assert minutely.unreadable == "nothing that comes from a is OTLP"
    assert minutely.waiting == "event time waits for a/0, which cannot be read to the end"
    minutely.add(Tally(), (), Ingest.WAITS, 180.0)
    assert not minutely.unreadable and not minutely.waiting


def test_a_clock_that_is_behind_everybody_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where all of a minute comes from the future it is this clock or theirs; where some does, a sender."""
    minutely, minute_s = Minutely(), 0.0
    minutely.add(Tally(), (), Ingest.WAITS, minute_s)
    for taken, says in ((0, True), (5, False)):
        tally, minute_s = Tally(spans=taken), minute_s + 60.0
        tally.dropped[Dropped.FUTURE] = 7
        minutely.add(tally, (), Ingest.WAITS, minute_s)
        assert bool(minutely.clock) is says
    assert "7 spans or points end after what this clock allows" in caplog.text


def test_a_start_is_no_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A partition that was not read yet when the first step was taken is nothing to be told."""
    minutely = Minutely()
    minutely.add(Tally(), ("a/0",), Ingest.WAITS, 12_345.0)
    minutely.add(Tally(), (), Ingest.WAITS, 12_346.0)
    minutely.add(Tally(), ("a/0",), Ingest.WAITS, 12_405.0)
    assert not minutely.waiting and not caplog.text
