"""What a rule says it can see at its price: that effect, sent in, pages."""

from collections.abc import Callable

import numpy as np
import pytest

from detectors import cost, errors, latency, outcomes
from detectors.core.columns import Tick
from detectors.core.contract import Detector, Terms
from tests.detectors.ticks import EMPTY, MIDNIGHT, Watching, entries, tick

LEARNT = 3 * 1440 + 600
"""Three days, so that all is judged, and then some hours."""
MIX = np.array([0.80, 0.10, 0.06, 0.03, 0.01])
Chance = np.random.Generator
Draw = Callable[[Chance, int, float, float], Tick]
"""A tick of one series: its index, calls a minute, and the effect, stated as the rule does."""


def failing(rng: Chance, t: int, rate: float, effect: float) -> Tick:
    """1% failures, times the effect."""
    n = rng.poisson(rate) + 1
    return tick(MIDNIGHT + t, np.array([0]), np.array([n]), np.array([rng.binomial(n, min(0.01 * effect, 1.0))]))


def _values(rng: Chance, rate: float, effect: float) -> tuple[np.ndarray, np.ndarray]:
    value = effect * np.exp(rng.normal(0, 0.5, rng.poisson(rate) + 1))
    buckets = np.ceil(np.log2(value) * 8).astype(int) - 1
    lowest = int(buckets.min())
    return np.array([len(value)]), np.pad(np.bincount(buckets - lowest), (lowest + 100, 0))[None]


def slow(rng: Chance, t: int, rate: float, effect: float) -> Tick:
    """Calls of a second, times the effect."""
    n, dense = _values(rng, rate, effect)
    return tick(MIDNIGHT + t, np.array([0]), n, duration=entries(np.array([0]), dense, -100))


def dear(rng: Chance, t: int, rate: float, effect: float) -> Tick:
    """Sessions of a dollar, times the effect."""
    n, dense = _values(rng, rate, effect)
    return tick(MIDNIGHT + t, np.array([0]), n, cost=entries(np.array([0]), dense, -100), duration=EMPTY)


def worse(rng: Chance, t: int, rate: float, effect: float) -> Tick:
    """Good outcomes of 80%, less the effect; the others grow alike."""
    lost = effect if effect < 1 else 0.0
    mix = np.concatenate([MIX[:1] - lost, MIX[1:] * (1 + lost / MIX[1:].sum())])
    x = rng.multinomial(rng.poisson(rate) + 1, mix)[None]
    return tick(MIDNIGHT + t, np.array([0]), x.sum(1), outcome=entries(np.array([0]), x))


def learnt(draw: Draw, detector: Detector, rate: float, seed: int) -> tuple[Chance, Watching]:
    """A series as it usually is, until it is judged."""
    rng, watching = np.random.default_rng(seed), Watching(1)
    for t in range(LEARNT):
        watching.judge(detector, draw(rng, t, rate, 1.0), MIDNIGHT + t)
    assert not watching.pages
    return rng, watching


RATIO, THRICE, POINTS, MIXED = (
    Terms(1.0, 1.5, 0.005), Terms(1.0, 3.0, None), Terms(1.0, 1.5, 0.05), Terms(1.0, None, 0.10)
)  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "build", "terms", "rate", "asked"),
    [
        (failing, errors.build, RATIO, 30, 1.5), (failing, errors.build, RATIO, 300, 1.5),
        (failing, errors.build, THRICE, 300, 3.0), (failing, errors.build, POINTS, 300, 5.9),
        (slow, latency.build, Terms(1.0, 1.5, None), 30, 1.5), (slow, latency.build, THRICE, 300, 3.0),
        (dear, cost.build, Terms(1.0, 2.0, None), 30, 2.0), (worse, outcomes.build, MIXED, 30, 0.10),
        (worse, outcomes.build, Terms(1.0, None, 0.25), 300, 0.25),
    ],
)  # fmt: skip
def test_the_effect_that_is_told_pages(
    draw: Draw, build: Callable[[Terms], Detector], terms: Terms, rate: float, asked: float
) -> None:
    """Within the hour on average: so within two. It is never less than the rule asks for."""
    detector = build(terms)
    rng, watching = learnt(draw, detector, rate, seed=3)
    visible = float(detector.gauges()["visible_1h"][0])
    assert visible >= asked
    for t in range(LEARNT, LEARNT + 120):
        watching.judge(detector, draw(rng, t, rate, visible), MIDNIGHT + t)
    assert watching.pages, f"{visible:g} was not seen in two hours"


def test_more_traffic_and_more_time_show_smaller_effects() -> None:
    """A busy series shows less than a quiet one would need, and a day less than an hour."""
    told: dict[tuple[float, str], float] = {}
    for rate in (300.0, 3.0):
        detector = errors.build(RATIO)
        learnt(failing, detector, rate, seed=4)
        told |= {(rate, within): float(detector.gauges()[f"visible_{within}"][0]) for within in ("1h", "24h")}
    assert told[300.0, "1h"] < told[3.0, "1h"]
    assert told[3.0, "24h"] < told[3.0, "1h"]


def test_a_young_series_sees_nothing() -> None:
    """Before it is judged there is no effect that it would page on."""
    detector = errors.build(RATIO)
    detector.tick(tick(MIDNIGHT, np.array([1]), np.array([50.0])), np.zeros(2, np.int8))
    assert np.isnan(detector.gauges()["visible_24h"]).all()
