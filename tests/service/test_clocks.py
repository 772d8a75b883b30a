"""Gaps of the process and steps of the clock are noticed, told apart, and no silence of those who send."""

import logging

import pytest

from service.batch import NO_GAP, Dropped, Gap, Tally
from service.ingest.stage import Ingest
from service.runtime.clocks import ClockWatch
from service.runtime.minute_log import MinuteLog

SECOND = 10**9


class Hands:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_800_000_000 * SECOND, 5 * SECOND
        self.runner = ClockWatch(lambda: self.wall, lambda: self.monotonic)
        self.runner.look()

    def pass_s(self, wall: float, monotonic: float | None = None) -> None:
        self.wall += round(wall * SECOND)
        self.monotonic += round((wall if monotonic is None else monotonic) * SECOND)


def test_time_that_passes_is_no_gap() -> None:
    """A look a second, with a clock that is slewed a little."""
    hands = Hands()
    for _ in range(100):
        hands.pass_s(1.0005, 1.0)
        hands.runner.look()
    assert hands.runner.take() == NO_GAP and not hands.runner.gaps


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
    hands.runner.look()
    assert hands.runner.take() == gap and hands.runner.take() == NO_GAP
    assert hands.runner.gaps == {kind: 1} and hands.runner.seconds[kind] == abs(gap.stood_ns + gap.stepped_ns) / SECOND


def test_gaps_between_two_steps_add_up() -> None:
    """A long step hides no gap: the looks in between find it."""
    hands = Hands()
    for _ in range(2):
        hands.pass_s(100, 10)
        hands.runner.look()
    assert hands.runner.take() == Gap(stood_ns=20 * SECOND, stepped_ns=180 * SECOND)


def test_what_is_dropped_is_said_by_the_minute(caplog: pytest.LogCaptureFixture) -> None:
    """One line a minute and kind, however many; and a topic of which nothing can be read is known until some can."""
    caplog.set_level(logging.INFO, "tocsin")
    minute_log = MinuteLog()
    minute_log.add(Tally(), (), Ingest.WAITS, 0.0)
    minute_log.add(Tally(), (), Ingest.WAITS, 60.0)
    for second in range(61, 121):
        tally = Tally()
        tally.dropped[Dropped.LATE] = 2
        tally.read.update(a=2, b=1)
        tally.foreign.update({("a", "zipkin_json"): 2, ("b", "json"): 1})
        if second == 100:
            tally.read["b"] += 1
        minute_log.add(tally, ("a/0", f"a/{second}"), Ingest.WAITS, second)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    assert "120 spans came too late" in lines[0]
    assert "a: 120 of 120 bodies hold no OTLP: it looks like Zipkin" in lines[1]
    assert minute_log.unreadable == "nothing that comes from a is OTLP"
    assert minute_log.waiting == "event time waits for a/0, which cannot be read to the end"
    minute_log.add(Tally(), (), Ingest.WAITS, 180.0)
    assert not minute_log.unreadable and not minute_log.waiting


def test_a_clock_that_is_behind_everybody_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where all of a minute comes from the future it is this clock or theirs; where some does, a sender."""
    minute_log, minute_s = MinuteLog(), 0.0
    minute_log.add(Tally(), (), Ingest.WAITS, minute_s)
    for taken, says in ((0, True), (5, False)):
        tally, minute_s = Tally(spans=taken), minute_s + 60.0
        tally.dropped[Dropped.FUTURE] = 7
        minute_log.add(tally, (), Ingest.WAITS, minute_s)
        assert bool(minute_log.clock) is says
    assert "7 spans or points end after what this clock allows" in caplog.text


def test_a_start_is_no_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A partition that was not read yet when the first step was taken is nothing to be told."""
    minute_log = MinuteLog()
    minute_log.add(Tally(), ("a/0",), Ingest.WAITS, 12_345.0)
    minute_log.add(Tally(), (), Ingest.WAITS, 12_346.0)
    minute_log.add(Tally(), ("a/0",), Ingest.WAITS, 12_405.0)
    assert not minute_log.waiting and not caplog.text
