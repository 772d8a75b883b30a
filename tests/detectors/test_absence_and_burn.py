"""Traffic that does not come, and money that goes too fast."""

import math

import numpy as np
import pytest

from detectors.absence import Absence
from detectors.burn import Burn
from detectors.core.columns import Mode, Tick, Verdict, empty
from detectors.core.contract import Judgement, Terms
from tests.detectors.ticks import MIDNIGHT, tick

DAY = 1440
MODES = np.zeros(4, np.int8)


def absence() -> Absence:
    return Absence(Terms(1.0, None, None, "", "", math.nan, 5 * 60 * 10**9))


def traffic(rng: np.random.Generator, minute: int, rates: list[float], weekend: bool = True) -> Tick:
    """Calls of series 1, 2, … in one minute, fewer at night and, if so wanted, none at the weekend."""
    wave = 1 + 0.6 * math.sin(2 * math.pi * minute / DAY)
    sleeps = not weekend and (minute // DAY - 4) % 7 >= 5  # 1970 began on a Thursday.
    count = rng.poisson([0.0 if sleeps else rate * wave for rate in rates])
    rows = np.flatnonzero(count) + 1
    return tick(minute, rows, count[rows - 1]) if len(rows) else empty(minute * 60 * 10**9)


def told(detector: Absence, ticks: list[Tick]) -> list[tuple[int, int, Judgement]]:
    said = ((one.start_ns // 60_000_000_000, detector.tick(one, MODES)) for one in ticks)
    return [(minute, row, judgement) for minute, judged in said for row, judgement in judged.items()]


def test_nothing_is_said_of_steady_traffic_with_nights_and_weekends() -> None:
    """Four weeks, three series from a call in three minutes to three a minute, all silent at weekends."""
    rng = np.random.default_rng(1)
    ticks = [traffic(rng, MIDNIGHT + t, [0.3, 1.0, 3.0], weekend=False) for t in range(28 * DAY)]
    assert told(absence(), ticks) == []


@pytest.mark.parametrize(("rate", "within_minutes"), [(0.5, 180), (5.0, 25)])
def test_silence_is_a_page_and_the_next_call_its_end(rate: float, within_minutes: int) -> None:
    """Sooner where more was expected; told with the usual rate and when it fell silent."""
    rng, detector = np.random.default_rng(2), absence()
    ticks = [traffic(rng, MIDNIGHT + t, [rate, 1.0]) for t in range(15 * DAY + 300)]
    assert told(detector, ticks) == []
    gone = MIDNIGHT + 15 * DAY + 300
    said = told(detector, [traffic(rng, gone + t, [0.0, 1.0]) for t in range(within_minutes)])
    assert said and {row for _, row, _ in said} == {1}
    found = said[0][2].finding
    assert found is not None and abs(found.since_ns // 60_000_000_000 - gone) < 15 and "would have come" in found.detail
    assert math.isnan(found.count)
    paging = np.array([0, Mode.PAGING, 0, 0], np.int8)
    back = detector.tick(tick(gone + 500, np.array([1]), np.array([1])), paging)
    assert back[1].verdict is Verdict.RECOVERED


def test_an_expected_silence_is_not_missed() -> None:
    """While it is excused nothing adds up."""
    rng, detector = np.random.default_rng(3), absence()
    told(detector, [traffic(rng, MIDNIGHT + t, [2.0, 1.0]) for t in range(10 * DAY)])
    for t in range(10 * DAY, 10 * DAY + 600):
        detector.excuse(np.array([1], np.int32))
        assert detector.tick(traffic(rng, MIDNIGHT + t, [0.0, 1.0]), MODES) == {}


def test_a_silent_pipeline_is_nobodys_absence() -> None:
    """No tick at all for six hours, as when Kafka was away: whoever is there again is not missed."""
    rng, detector = np.random.default_rng(4), absence()
    told(detector, [traffic(rng, MIDNIGHT + t, [2.0, 1.0]) for t in range(10 * DAY)])
    later = [traffic(rng, MIDNIGHT + 10 * DAY + 360 + t, [2.0, 1.0]) for t in range(120)]
    assert told(detector, later) == []


def spent(detector: Burn, first: int, minutes: int, usd: float) -> list[Verdict]:
    """A series that spends so much every minute."""
    said = []
    for t in range(first, first + minutes):
        one = tick(t, np.array([1]), np.array([1]), usd=np.array([usd]))
        said += [judgement.verdict for judgement in detector.tick(one, MODES).values()]
    return said


FIRST_OF_MONTH = 1_798_761_600 // 60


def burn(limit: float) -> Burn:
    return Burn(Terms(math.nan, None, None, "", "", limit))


def test_a_month_at_an_even_pace_is_no_page() -> None:
    """A dollar a minute is $44,640 in January: a limit above says nothing, one below says so at once."""
    assert spent(burn(46_000), FIRST_OF_MONTH, 20 * DAY, 1.0) == []
    assert Verdict.ANOMALOUS in spent(burn(40_000), FIRST_OF_MONTH, 600, 1.0)


def test_a_burst_is_no_page_and_a_new_pace_is() -> None:
    """Ten times the pace for ten minutes changes no month; for six hours it does."""
    detector = burn(70_000)
    assert spent(detector, FIRST_OF_MONTH, 5 * DAY, 1.0) == []
    assert spent(detector, FIRST_OF_MONTH + 5 * DAY, 10, 10.0) == []
    assert spent(detector, FIRST_OF_MONTH + 5 * DAY + 10, DAY, 1.0) == []
    assert Verdict.ANOMALOUS in spent(detector, FIRST_OF_MONTH + 6 * DAY + 10, 360, 10.0)


def test_a_new_month_begins_at_nothing() -> None:
    detector = burn(70_000)
    spent(detector, FIRST_OF_MONTH, 31 * DAY, 1.0)
    assert detector.spent.month[1] == pytest.approx(31 * DAY)
    spent(detector, FIRST_OF_MONTH + 31 * DAY, 60, 1.0)
    assert detector.spent.month[1] == pytest.approx(60)
