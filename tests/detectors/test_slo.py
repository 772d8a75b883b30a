"""Objectives: a page when a known part of thirty days' budget is used up, and no sooner."""

import math

import numpy as np
import pytest

from detectors.core.columns import Finding, Mode, Verdict
from detectors.core.contract import Judgement, Terms
from detectors.core.descriptor import build
from detectors.slo import PARTS, PERIOD_TICKS, burn_rate
from tests.detectors.ticks import MIDNIGHT, tick

OBJECTIVE = 0.99
RATE = 100
ROWS = np.zeros(1, np.int32)


def watched(shares: list[tuple[int, float]], *spans: int, at_least: float = 1.0) -> list[tuple[int, Judgement]]:
    """What is said, minute by minute, of a hundred calls a minute of which such shares fail for so many minutes."""
    terms = Terms(math.nan, None, None, "error_ratio", at_least=at_least, objective=OBJECTIVE, spans=spans)
    detector, minute, said, mode = build("slo", terms), 0, [], Mode.WATCHED
    for minutes, share in shares:
        for _ in range(minutes):
            one = tick(MIDNIGHT + minute, ROWS, np.array([RATE]), np.array([RATE * share]))
            judgement = detector.tick(one, np.array([mode], np.int8))[0]
            if judgement.verdict is not Verdict.QUIET:
                said.append((minute, judgement))
            mode = {Verdict.ANOMALOUS: Mode.PAGING, Verdict.RECOVERED: Mode.WATCHED}.get(judgement.verdict, mode)
            minute += 1
    return said


@pytest.mark.parametrize("ticks", [60, 360])
def test_it_pages_once_its_part_is_used_up(ticks: int) -> None:
    """After a calm window, a total failure pages in the minute in which the window's part of the budget is gone."""
    said = watched([(ticks, 0.0), (ticks, 1.0)], ticks)
    (minute, page), *_ = said
    used = RATE * (minute + 1 - ticks)  # Calls that failed, all of them within the window.
    part = used / (RATE * PERIOD_TICKS * (1 - OBJECTIVE))
    width = -(-ticks // 60)
    assert PARTS[ticks] <= part <= PARTS[ticks] + 2 * width / PERIOD_TICKS / (1 - OBJECTIVE)
    assert isinstance(page.finding, Finding)
    assert page.finding.before == pytest.approx(0.01) and page.finding.unit == "ratio"
    assert page.finding.now == pytest.approx(burn_rate(ticks) * 0.01, rel=0.15)


def test_what_is_allowed_never_pages() -> None:
    """A share just under the objective's, for days, and a burst that is too short to use up its part."""
    assert watched([(4 * 1440, 0.0099)], 60, 360, 4320) == []
    assert watched([(120, 0.0), (8, 1.0), (120, 0.0)], 60) == []


def test_it_closes_soon_after_the_burning_ends() -> None:
    """The last twelfth of the window is calm: an hour's page closes within five minutes and a bit."""
    said = watched([(120, 0.0), (30, 1.0), (60, 0.0)], 60)
    assert [judgement.verdict for _, judgement in said] == [Verdict.ANOMALOUS, Verdict.RECOVERED]
    assert 150 <= said[1][0] <= 156


def test_a_young_series_has_its_own_time_alone() -> None:
    """Five minutes of 2% failures are not a tenth of a month's budget, though all that is known is over the limit."""
    assert watched([(300, 0.02)], 4320) == []
    (minute, _), *_ = watched([(3000, 0.02)], 4320)
    used = 0.02 * RATE * (minute + 1) / (RATE * PERIOD_TICKS * 0.01)
    assert used == pytest.approx(0.10, rel=0.05)


def test_few_calls_say_nothing() -> None:
    """`at_least` is how many calls the window must hold."""
    assert watched([(30, 1.0)], 60, at_least=10_000.0) == []


def test_its_levels() -> None:
    """The burn rate over each window, and the bad share over the longest."""
    terms = Terms(math.nan, None, None, "error_ratio", objective=OBJECTIVE, spans=(60, 360))
    detector = build("slo", terms)
    for minute in range(400):
        share = 0.5 if minute >= 390 else 0.0
        detector.tick(tick(MIDNIGHT + minute, ROWS, np.array([RATE]), np.array([RATE * share])), np.zeros(1, np.int8))
    gauges = {name: values[0] for name, values in detector.gauges().items()}
    assert gauges["slo_burn_1h"] == pytest.approx(100 * 0.5 * 10 / 60)
    assert gauges["slo_burn_6h"] == pytest.approx(100 * 0.5 * 10 / 358, rel=0.02)
    assert gauges["slo_allowed"] == pytest.approx(0.01)
