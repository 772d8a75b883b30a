"""p95 regression: the whole distribution of durations against the hour's, and a gate on its 95% quantile."""

from detectors.core.contract import Terms
from detectors.core.distribution import Distribution
from detectors.core.engine import Engine

LEAST_RATIO = 1.5


def build(terms: Terms) -> Engine:
    """The detector of a rule with `detector: latency`."""
    return Engine(Distribution(lambda tick: tick.duration, "s", "latency", terms.ratio or LEAST_RATIO), terms)
