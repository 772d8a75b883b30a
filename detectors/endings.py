"""What model calls end with: the mix of good ends and of each kind of bad one (cut off, refused, empty, each error).

The engine of outcomes, over the endings of calls: one that rises from 1% to 20% is told by its name.
"""

from collections.abc import Mapping

from detectors.core.columns import GOOD_ENDINGS, MODEL_ENDINGS, Entries, Tick
from detectors.core.contract import Terms
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.engine import GAUGES, LEARNS, Engine
from detectors.outcomes import MIX_LEAST_POINTS, Outcomes

NAMES = (*MODEL_ENDINGS, "other")
"""The last one is of no class, and no call has it."""


def of_models(tick: Tick) -> Entries:
    """Return the endings of models: guardrails', tools' and retrievals' are of other kinds."""
    return tick.ending.at(tick.ending.bucket < len(MODEL_ENDINGS))


def _share(ending: str) -> Gauge:
    return Gauge("tocsin_ending_share", "Share of model calls of late, by what they ended with.", ("ending", ending))


_GAUGES: Mapping[str, Gauge] = {
    **{f"outcome_share_{ending}": _share(ending) for ending in NAMES},
    "outcome_good": Gauge(
        "tocsin_ending_good_share",
        "Share of model calls of late that ended well.",
        shows="share",
        usual="outcome_share_baseline",
    ),
    "outcome_share_baseline": Gauge("tocsin_ending_baseline_share", "Share of good ends that the baseline expects."),
    "outcome_share_effect": Gauge(
        "tocsin_ending_threshold_share", "Share of good ends that is the smallest effect."
    ),
    **GAUGES,
}  # fmt: skip


def build(terms: Terms) -> Engine:
    """Make the detector of a rule with `detector: endings`."""
    return Engine(Outcomes(terms.points or MIX_LEAST_POINTS, NAMES, GOOD_ENDINGS, of_models), terms)


DETECTOR = Descriptor(
    build,
    _GAUGES,
    subject="good ends",
    signal="bad_ending_share",
    effects=Effects(None, MIX_LEAST_POINTS, "10pp"),
    learns=LEARNS,
    operations=("llm", "embedding"),
)
