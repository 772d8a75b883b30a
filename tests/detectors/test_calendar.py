"""Seasons by the clocks of a place: what people do at nine they do at nine after the clocks were changed, too."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detectors.absence import Absence
from detectors.core import calendar
from detectors.core.calendar import Calendar
from detectors.core.columns import Tick, Verdict, empty
from detectors.core.contract import Terms
from detectors.core.descriptor import build
from service.config.time_zone import calendar as calendar_of
from tests.detectors.ticks import tick

DAY = 1440
MODES = np.zeros(4, np.int8)
BERLIN = ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = (
    int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()) // 60,
    int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()) // 60,
)


def hour_in_berlin(minute: int) -> tuple[int, int]:
    local = datetime.fromtimestamp(minute * 60, BERLIN)
    return local.weekday(), local.hour


def office_hours(rng: np.random.Generator, minute: int) -> Tick:
    """A call and a half a minute from nine to five on weekdays in Berlin, and next to nothing besides."""
    day, hour = hour_in_berlin(minute)
    count = int(rng.poisson(1.5 if day < 5 and 9 <= hour < 17 else 0.05))
    return tick(minute, np.array([1]), np.array([count])) if count else empty(minute * 60 * 10**9)


def false_pages(kept: Calendar, change: int) -> int:
    """Pages of absence in four weeks before a change of the clocks and one week after it; nobody is absent."""
    detector = Absence(Terms(1.0, None, None, window_ns=5 * 60 * 10**9, calendar=kept))
    rng = np.random.default_rng(3)
    judged = (detector.tick(office_hours(rng, minute), MODES) for minute in range(change - 28 * DAY, change + 7 * DAY))
    return sum(one.verdict is Verdict.ANOMALOUS for each in judged for one in each.values())


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_a_change_of_the_clocks_is_nobodys_absence(change: int) -> None:
    """With the hours of UTC it is a page a day until the new hours are learnt."""
    assert false_pages(calendar_of("Europe/Berlin"), change) == 0
    assert false_pages(calendar.UTC, change) > 0


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_a_baseline_is_of_local_hours(change: int) -> None:
    """What fails from nine to ten is expected to fail from nine to ten, the day after the clocks were changed."""
    expected = {}
    for name in ("Europe/Berlin", "UTC"):
        detector = build("errors", Terms(1.0, 2.0, None, calendar=calendar_of(name)))
        rng = np.random.default_rng(4)
        for minute in range(change - 14 * DAY, change + DAY, 10):
            share = 0.10 if hour_in_berlin(minute)[1] == 9 else 0.01
            failed = int(rng.binomial(200, share))
            detector.tick(tick(minute, np.array([1]), np.array([200]), np.array([failed])), MODES)
            if minute > change and hour_in_berlin(minute)[1] == 9:
                expected[name] = float(detector.gauges()["error_ratio_baseline"][1])
    # An hour is read with half of each neighbour: (10% + 1%/2 + 1%/2)/2 against (1% + 10%/2 + 1%/2)/2, shrunk a little.
    assert expected["Europe/Berlin"] > 1.4 * expected["UTC"]


def test_zones_with_odd_offsets_keep_their_hours() -> None:
    """Half an hour off is an hour of the day like any other; a name that is none is refused with what to write."""
    assert {calendar_of("Asia/Kolkata").hour(hour) for hour in range(480_000, 480_024)} == set(range(24))
    assert calendar_of("UTC") is calendar.UTC and math.isfinite(calendar.UTC.ahead(0))
    for name in ("Mars/Olympus", "../../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(ValueError, match="write UTC or a name as Europe/Berlin"):
            calendar_of(name)
