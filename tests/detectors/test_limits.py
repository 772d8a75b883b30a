"""Plain limits: above and below, over minutes and over weeks, for all series and for single ones."""

import math

import numpy as np
import pytest

from detectors.core.columns import TICK_NS, Mode, Verdict, empty
from detectors.core.contract import Asked, Terms
from detectors.core.descriptor import build
from detectors.core.window import Window
from tests.detectors.ticks import MIDNIGHT, tick

MINUTE = TICK_NS
MODES = np.zeros(3, np.int8)
NONE = Asked(None, None, math.nan, math.nan)


def terms(signal: str, minutes: int, **more: float) -> Terms:
    return Terms(math.nan, None, None, signal, window_ns=minutes * MINUTE, **{"at_least": 1.0} | more)  # type: ignore[arg-type]


def said(detector, minute: int, rows=(), n=(), failed=(), modes=MODES) -> dict[int, Verdict]:  # type: ignore[no-untyped-def]
    """What it says of a minute in which these series counted so much; of an empty one if none did."""
    rows, n, failed = np.array(rows, np.int32), np.array(n, float), np.array(failed, float)
    index = MIDNIGHT + minute
    one = tick(index, rows, n, failed if len(failed) else n * 0) if len(rows) else empty(index * TICK_NS)
    return {row: judgement.verdict for row, judgement in detector.tick(one, modes).items()}


def test_a_share_that_falls_below() -> None:
    """Below the limit is anomalous, at it or over it is not; what the window does not hold says nothing."""
    detector = build("static", terms("error_ratio", 1, below=0.1, at_least=5.0))
    assert said(detector, 0, [0, 1, 2], [10, 10, 4], [0, 1, 0]) == {0: Verdict.ANOMALOUS, 1: Verdict.QUIET}
    assert said(detector, 1) == {}


def test_a_rate_that_falls_below_counts_silence() -> None:
    """A series is judged once it is known for a window, and each minute in which anybody is heard, silent or not."""
    detector = build("static", terms("calls_per_minute", 5, below=2.0))
    for minute in range(4):
        assert said(detector, minute, [0], [1]) == {}  # The window is not full: one call a minute is too few later.
    assert said(detector, 4, [0], [1]) == {0: Verdict.ANOMALOUS}
    detector = build("static", terms("calls_per_minute", 5, below=2.0))
    for minute in range(10):
        assert said(detector, minute, [0, 1], [3, 3]) == {}
    verdicts = [said(detector, 10 + minute, [1], [3]) for minute in range(5)]
    assert verdicts[:1] == [{}] and {0: Verdict.ANOMALOUS} in verdicts
    modes = np.array([Mode.PAGING, 0, 0], np.int8)
    back = [said(detector, 15 + minute, [0, 1], [9, 3], modes=modes)[0] for minute in range(2)]
    assert back[-1] is Verdict.RECOVERED


def test_minutes_in_which_nobody_is_heard_are_no_silence() -> None:
    """An hour without any tick, as of a pipeline that stood still, is not an hour of few calls."""
    detector = build("static", terms("calls_per_minute", 5, below=2.0))
    for minute in range(6):
        said(detector, minute, [0], [3])
    assert said(detector, 66, [0], [3]) == {}


def test_an_expected_silence_is_none() -> None:
    """After a maintenance window a series has a whole window until it is judged again."""
    detector = build("static", terms("calls_per_minute", 5, below=2.0))
    for minute in range(6):
        said(detector, minute, [0, 1], [3, 3])
    for minute in range(6, 20):
        detector.excuse(np.array([0], np.int32))  # type: ignore[attr-defined]
        assert said(detector, minute, [1], [3]) == {}
    told = [said(detector, minute, [1], [3]) for minute in range(20, 26)]
    assert told[:4] == [{}] * 4 and told[-1] == {0: Verdict.ANOMALOUS}


@pytest.mark.parametrize(("detector", "more"), [("static", {"above": 0.2}), ("static", {"below": 0.2})])
def test_a_limit_of_a_series_own(detector: str, more: dict[str, float]) -> None:
    """One series is held to its own limit and shows it; forgotten, its id has the rule's again."""
    one = build(detector, terms("error_ratio", 1, **more))
    one.ask(1, Asked(None, None, 0.5, 0.05))
    over = said(one, 0, [0, 1, 2], [10, 10, 10], [3, 3, 1])
    above = "above" in more
    assert over == {
        0: Verdict.ANOMALOUS if above else Verdict.QUIET,
        1: Verdict.QUIET,
        2: Verdict.QUIET if above else Verdict.ANOMALOUS,
    }
    assert one.gauges()["static_limit"][:3].tolist() == [0.2, 0.5 if above else 0.05, 0.2]
    one.forget(np.array([1], np.int32))
    assert one.gauges()["static_limit"][:3].tolist() == [0.2, 0.2, 0.2]


def test_a_month_s_limit_of_a_series_own() -> None:
    """`burn` holds one series to its own dollars."""
    one = build("burn", Terms(math.nan, None, None, above=1000.0))
    one.ask(1, Asked(None, None, 1e9, math.nan))
    for minute in range(120):
        rows, n = np.arange(2, dtype=np.int32), np.ones(2)
        judged = one.tick(tick(MIDNIGHT + minute, rows, n, n * 0, usd=n), MODES)
    assert [row for row, judgement in judged.items() if judgement.verdict is Verdict.ANOMALOUS] == [0]
    assert one.gauges()["burn_limit"][:2].tolist() == [1000.0, 1e9]


def test_a_window_of_weeks_takes_the_memory_of_an_hour_s() -> None:
    """Thirty days have 60 places of twelve hours; the mean is over at least 59 of them, and over no more than 60."""
    window = Window("error_ratio", 30 * 1440)
    assert (window.places, window.width) == (60, 720)
    assert Window("error_ratio", 60).width == 1 and Window("error_ratio", 90).places == 45
    rows = np.zeros(1, np.int32)
    for half_day in range(120):  # The first thirty days failed, the others did not.
        one = tick(MIDNIGHT + 720 * half_day, rows, np.array([100.0]), np.array([100.0 * (half_day < 60)]))
        window.add(one, 1)
        level, count = window.levels(rows)
        held = min(half_day + 1, 60)
        failing = held if half_day < 60 else 119 - half_day
        assert count[0] == 100 * held
        assert level[0] == pytest.approx(failing / held)
    assert window.ring.at.shape == (1, 60)


def test_a_rate_over_days_is_told_by_the_minute() -> None:
    """A steady rate is itself over three days, whatever part of the last place has passed."""
    window = Window("calls_per_minute", 3 * 1440)
    rows = np.zeros(1, np.int32)
    for minute in range(5 * 1440):
        window.add(tick(MIDNIGHT + minute, rows, np.array([7.0]), np.array([0.0])), 1)
        if minute >= 3 * 1440 and minute % 311 == 0:
            assert window.levels(rows)[0][0] == pytest.approx(7.0)
