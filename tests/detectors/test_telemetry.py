"""What must come every so often, and telemetry as a whole: by the clock, and only while somebody listens."""

import math

import numpy as np

from detectors.core.columns import TICK_NS, Mode, Verdict, empty
from detectors.core.contract import Clocked, Terms
from detectors.core.descriptor import build
from tests.detectors.ticks import MIDNIGHT, tick

HOUR_NS = 60 * TICK_NS
ROWS, ONE = np.array([1], np.int32), np.ones(1)


def test_a_scheduled_agent_that_is_late() -> None:
    """A nightly agent pages once its day and the grace are over, by the minutes in which others were heard."""
    terms = Terms(math.nan, None, None, every_ns=24 * HOUR_NS, grace_ns=2 * HOUR_NS)
    detector, told, modes = build("absence", terms), [], np.zeros(2, np.int8)
    for minute in range(4 * 1440):
        index = MIDNIGHT + minute
        comes = minute in (120, 1500, 5600)  # Within its time, and then a day and a half late.
        one = tick(index, ROWS, ONE) if comes else empty(index * TICK_NS)
        for judgement in detector.tick(one, modes).values():
            told.append((minute, judgement.verdict, judgement.finding))
            modes[1] = Mode.PAGING if judgement.verdict is Verdict.ANOMALOUS else Mode.WATCHED
    (paged, verdict, finding), (back, recovered, _) = told
    assert (paged, verdict, back, recovered) == (1500 + 26 * 60, Verdict.ANOMALOUS, 5600, Verdict.RECOVERED)
    assert finding is not None
    assert (finding.unit, finding.before, finding.now) == ("s", 86_400.0, 26 * 3600.0)
    assert finding.since_ns == (MIDNIGHT + 1501) * TICK_NS


def test_a_schedule_is_held_by_what_is_heard() -> None:
    """A pipeline that brings nothing for two days makes nobody late, and an expected silence counts anew."""
    terms = Terms(math.nan, None, None, every_ns=HOUR_NS, grace_ns=10 * TICK_NS)
    detector, modes = build("absence", terms), np.zeros(2, np.int8)
    detector.tick(tick(MIDNIGHT, ROWS, ONE), modes)
    assert detector.tick(empty((MIDNIGHT + 2880) * TICK_NS), modes) == {}
    for minute in range(2881, 2940):
        detector.tick(empty((MIDNIGHT + minute) * TICK_NS), modes)
    detector.excuse(ROWS)  # type: ignore[attr-defined]
    for minute in range(2940, 2940 + 69):
        assert detector.tick(empty((MIDNIGHT + minute) * TICK_NS), modes) == {}
    assert detector.tick(empty((MIDNIGHT + 3009) * TICK_NS), modes)[1].verdict is Verdict.ANOMALOUS


def looks(detector, minutes, came, row: int = 1) -> list[tuple[int, Verdict]]:  # type: ignore[no-untyped-def]
    """What it says at these minutes of the wall clock, looked at four times each."""
    assert isinstance(detector, Clocked)
    said = []
    for minute in minutes:
        for quarter in range(4):
            now_ns = (MIDNIGHT + minute) * TICK_NS + quarter * TICK_NS // 4
            comes = came(minute) and quarter == 1
            said += [(minute, one.verdict) for one in detector.look(row, now_ns, comes, np.zeros(2, np.int8)).values()]
    return said


EVERY = Terms(math.nan, None, None, every_ns=15 * TICK_NS, grace_ns=5 * TICK_NS)


def test_no_telemetry_at_all() -> None:
    """Nothing for twenty minutes is told in the twenty-first; what comes once a minute is enough."""
    detector = build("telemetry", EVERY)
    assert looks(detector, range(100), lambda minute: True) == []
    said = looks(detector, range(100, 130), lambda minute: False)
    assert said[0] == (120, Verdict.ANOMALOUS)


def test_before_the_first_telemetry_nothing_is_missing() -> None:
    """A new installation is not paged for what never came."""
    assert looks(build("telemetry", EVERY), range(600), lambda minute: False) == []


def test_time_in_which_nobody_listened_does_not_count() -> None:
    """After a stop of ten hours, or a clock that was put forward or back, silence begins anew."""
    detector = build("telemetry", EVERY)
    looks(detector, range(30), lambda minute: True)
    again = build("telemetry", EVERY)
    again.restore(detector.snapshot())
    assert looks(again, range(630, 640), lambda minute: False) == []
    assert looks(again, range(300, 310), lambda minute: False) == []
    assert [verdict for _, verdict in looks(again, range(310, 330), lambda minute: False)][:1] == [Verdict.ANOMALOUS]


def test_learnt_silence_is_that_of_the_hour() -> None:
    """A fleet that sleeps from 20 to 6 is not missed at night, and is at noon; judged after a week.

    In its first evening nothing was known of the night, so an hour's gap is known to it.
    """

    def works(minute: int) -> bool:
        return 6 * 60 <= minute % 1440 < 20 * 60

    detector, week = build("telemetry", Terms(7 / 30, None, None, window_ns=15 * TICK_NS)), 9 * 1440
    assert looks(detector, range(week), works) == []
    said = looks(detector, range(week, week + 900), lambda minute: works(minute) and minute < week + 720)
    assert said[0][1] is Verdict.ANOMALOUS and week + 732 <= said[0][0] <= week + 720 + 80
