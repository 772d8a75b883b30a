"""What a rule says it can see at its price."""

import numpy as np

from detectors import errors
from detectors.core.contract import Terms
from tests.detectors.ticks import MIDNIGHT, tick


def visible(rate: float, within: str) -> float:
    """The smallest visible effect of a series with 1% failures after three days at that many sessions a minute."""
    rng, detector, modes = np.random.default_rng(4), errors.build(Terms(1.0, 1.5, 0.005)), np.zeros(2, np.int8)
    for minute in range(3 * 1440 + 1):
        n = rng.poisson(rate) + 1
        ticked = tick(MIDNIGHT + minute, np.array([1]), np.array([n]), np.array([rng.binomial(n, 0.01)]))
        detector.tick(ticked, modes)
    return float(detector.gauges()[f"visible_{within}"][1])


def test_more_traffic_and_more_time_show_smaller_effects() -> None:
    """A busy series shows less than a quiet one would need, and a day less than an hour."""
    busy, quiet = visible(300, "1h"), visible(3, "1h")
    assert busy < quiet
    assert visible(3, "24h") < quiet


def test_a_young_series_sees_nothing() -> None:
    """Before it is judged there is no effect that it would page on."""
    detector = errors.build(Terms(1.0, 1.5, 0.005))
    detector.tick(tick(MIDNIGHT, np.array([1]), np.array([50.0])), np.zeros(2, np.int8))
    assert np.isnan(detector.gauges()["visible_24h"]).all()
