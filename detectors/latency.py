"""p95 regression: the whole distribution of durations against the hour's, and a gate on its 95% quantile."""

from detectors.core.contract import Terms
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.distribution import Distribution, quantile_gauges
from detectors.core.engine import GAUGES, LEARNS, Engine

LEAST_RATIO = 1.5


def build(terms: Terms) -> Engine:
    """Make the detector of a rule with `detector: latency`."""
    return Engine(Distribution(lambda tick: tick.duration, "s", "latency", terms.ratio or LEAST_RATIO), terms)


DETECTOR = Descriptor(
    build,
    {
        **quantile_gauges("latency", "tocsin_latency_seconds", "Latency of the last active minutes.", "s"),
        "latency_baseline": Gauge(
            "tocsin_latency_baseline_seconds", "p95 latency that the baseline expects at this hour."
        ),
        "latency_effect": Gauge("tocsin_latency_threshold_seconds", "p95 latency that is the rule's smallest effect."),
        **GAUGES,
    },
    subject="p95",
    signal="latency_p95",
    effects=Effects(LEAST_RATIO, None, "1.5x"),
    learns=LEARNS,
)
