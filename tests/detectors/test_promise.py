"""What a rule says of its own promise: the evidence's tail, pages called noise, slow ramps, its own wobble."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

from detectors.core.anchor import Anchor
from detectors.core.columns import Floats, Verdict
from detectors.core.contract import Terms
from detectors.core.descriptor import build
from detectors.core.dispersion import Dispersion
from detectors.core.engine import Engine
from detectors.core.fast import FastEngine
from detectors.core.rows import resize
from detectors.core.tail import DAYS, LEAST_NATS, Tail
from tests.detectors.ticks import EMPTY, MIDNIGHT, entries, tick

DAY = 1440


def engine() -> Engine:
    detector = build("errors", Terms(1.0, 1.5, 0.005))
    assert isinstance(detector, FastEngine)
    return detector.engine


def fed(detector: Engine, seed: int, days: int, share: float, rows: int = 5, first: int = 0) -> list[Verdict]:
    """Ticks of a hundred calls a series, by the minute; what was said of them."""
    rng, said = np.random.default_rng(seed), []
    for t in range(first * DAY, (first + days) * DAY, 5):
        series = np.arange(rows)
        failed = rng.binomial(100, share, rows)
        judged = detector.tick(tick(MIDNIGHT + t, series, np.full(rows, 100), failed), np.zeros(rows, np.int8))
        said += [one.verdict for one in judged.values()]
    return said


@pytest.mark.parametrize(("scale", "holds"), [(0.7, True), (1.0, True), (2.5, False)])
def test_a_fat_tail_is_told_from_a_thin_one(scale: float, holds: bool) -> None:
    """Daily maxima that fall off as exp(-x) or faster keep the promise, slower ones do not."""
    tail, rng = Tail(), np.random.default_rng(1)
    resize(tail.highest, 300)
    for _ in range(DAYS):
        tail.saw(np.arange(300, dtype=np.int32), rng.exponential(scale, 300))
        tail.end_day(np.arange(300, dtype=np.int32))
    assert (tail.excess() <= 1.5) == holds


def test_little_is_known_of_a_young_tail() -> None:
    tail = Tail()
    assert math.isnan(tail.excess())
    resize(tail.highest, 3)
    tail.saw(np.array([1], np.int32), np.array([LEAST_NATS + 9]))
    tail.end_day(np.arange(3, dtype=np.int32))
    assert math.isnan(tail.excess())


def test_a_page_called_noise_raises_its_series_alone_and_for_a_while() -> None:
    """Half as much again, half of that gone after twenty days."""
    detector = engine()
    fed(detector, 1, 3, 0.02)
    detector.doubt(2)
    rows = np.array([1, 2], np.int32)
    calm, doubted = detector.thresholds(rows).tolist()
    assert doubted == pytest.approx(1.5 * calm)
    detector.now += 20 * DAY
    assert detector.thresholds(rows)[1] == pytest.approx(calm * (1 + 0.5 * 0.965**20))


def test_a_slow_ramp_is_a_ticket_once_a_week() -> None:
    """Ten percent a week is absorbed by the baseline and told against four weeks ago; a steady share is not."""
    crept: list[int] = []
    for seed, growth in ((3, 1.25), (4, 1.0)):
        detector, said = engine(), []
        for week in range(7):
            said += fed(detector, seed + week, 7, 0.03 * growth**week, rows=2, first=7 * week)
        crept.append(said.count(Verdict.CREPT))
    assert crept[0] > 0 and crept[1] == 0


def ramped(name: str, growth: float) -> int:
    """Tickets of two series in seven weeks: latency, cost or the bad share grows by that factor a week."""
    rng, rows, n = np.random.default_rng(8), np.arange(2), np.full(2, 60)
    detector = build(name, Terms(1.0, None if name == "outcomes" else 1.5, 0.1))
    edges, tickets = np.arange(-40, 80) * math.log(2) / 8, 0
    for t in range(0, 49 * DAY, 10):
        factor = growth ** (t // DAY / 7)
        if name == "outcomes":
            drawn = entries(rows, rng.multinomial(n, [1 - 0.15 * factor, *np.full(4, 0.15 / 4 * factor)]))
        else:
            cdf = ndtr((edges - math.log(factor)) / 0.6)
            drawn = entries(rows, rng.multinomial(n, np.diff(cdf, prepend=0.0, append=1.0)), -41)
        duration, cost, outcome = (drawn if name == kind else EMPTY for kind in ("latency", "cost", "outcomes"))
        ticked = tick(MIDNIGHT + t, rows, n, duration=duration, cost=cost, outcome=outcome)
        judged = detector.tick(ticked, np.zeros(2, np.int8))
        crept = [one.finding for one in judged.values() if one.verdict is Verdict.CREPT]
        tickets += len(crept)
        for found in crept:
            assert found is not None and (found.now > found.before) == (name != "outcomes")
    return tickets


@pytest.mark.parametrize("name", ["latency", "cost", "outcomes"])
def test_what_grows_slowly_is_a_ticket_whatever_it_is(name: str) -> None:
    """A sixth a week is nearly twice in four weeks; what stays as it is creeps nowhere."""
    assert ramped(name, 1.17) > 0
    assert ramped(name, 1.0) == 0


def test_no_anchor_without_a_past() -> None:
    """Four weeks must have been seen."""
    anchor = Anchor()
    resize(anchor, 1)
    for _ in range(20):
        anchor.add(np.array([1000.0]), np.array([500.0]))
        assert anchor.crept(np.array([7000.0]), np.array([70.0]), np.ones(1)) == {}


def test_a_series_tells_how_far_it_wobbles_by_itself() -> None:
    """A share that doubles and halves by the hour shows a wobble; one that only draws dice shows next to none."""
    calm, wild = engine(), engine()
    fed(calm, 5, 6, 0.05)
    rng = np.random.default_rng(6)
    for t in range(0, 6 * DAY, 5):
        share = 0.05 * math.exp(0.6 * math.sin(t / 60 * 2.4))
        count = np.full(5, 100)
        wild.tick(tick(MIDNIGHT + t, np.arange(5), count, rng.binomial(100, share, 5)), np.zeros(5, np.int8))
    assert np.nanmax(calm.gauges()["wobble"]) < 1.2 < np.nanmin(wild.gauges()["wobble"])


def tempered(quiet: int, busy: int) -> Floats:
    """eta of so many calm, quiet series and so many busy ones, whose blocks vary nine times as much."""
    part, busily = Dispersion(1, 1, np.float64), np.arange(quiet + busy) >= quiet
    resize(part, len(busily))
    part.ticks_sum[:] = 3 * DAY
    part.effective_sum[:] = part.variance_sum[:] = np.where(busily, 1e5, 1e2)[:, None]
    part.block_square[:] = np.where(busily, 9e5, 1e2)[:, None, None]
    part.block_count[:] = 3
    part.temper(np.full((len(busily), 1), 1e-9), np.zeros(1, np.int32), 16.0)
    return part.eta[:, 0]


def test_busy_series_say_nothing_of_how_quiet_ones_wobble() -> None:
    """A quiet series leans on those as quiet as it is, where there are enough of them."""
    assert tempered(25, 60)[0] == tempered(25, 0)[0]
    assert tempered(5, 60)[0] < tempered(25, 0)[0]
