"""What steps counted, added up since the start, as values of metrics that `catalog.py` declares."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from detectors.core.series import OVERFLOW_VALUE
from service.batch import Dropped, Tally
from service.ingest.prices import CostSource
from service.own_metrics.catalog import DECLARED, HEALTH

AGENTS_MAX = 1_000
BY_PRICE = (CostSource.OVERRIDE, CostSource.PRICED, CostSource.FREE, CostSource.UNPRICED)
"""Where a cost comes from that nobody stated."""
STEP_BOUNDS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
Values = Mapping[tuple[str, ...], float]


def family(name: str, values: Values) -> Metric:
    """A counter or gauge as declared, with a value by labels."""
    declared = DECLARED[name]
    found: CounterMetricFamily | GaugeMetricFamily = (
        CounterMetricFamily(name, declared.help, labels=declared.labels)
        if declared.type == "counter"
        else GaugeMetricFamily(name, declared.help, labels=declared.labels)
    )
    for key, value in values.items():
        found.add_metric([valid(label) for label in key], value)
    return found


def valid(text: str) -> str:
    """Text that can be encoded: one lone surrogate would fail the whole scrape, though ingest leaves none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class ByName:
    """Counts by names of agents, scopes or errors; of a million of them, those after the first thousand are one."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def add(self, more: Mapping[Any, int]) -> None:
        """Count these more; a name is a text, or a tuple of them."""
        for name, count in more.items():
            names = (name,) if isinstance(name, str) else name
            known = names in self.counts or len(self.counts) < AGENTS_MAX
            self.counts[names if known else (OVERFLOW_VALUE,) * len(names)] += count

    def values(self) -> "Values":
        return self.counts


class Tallied:
    """The tallies of all steps of a process. One owner."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.dropped: Counter[Dropped] = Counter()
        self.foreign: Counter[tuple[str, str]] = Counter()
        self.snake_case: Counter[str] = Counter()
        self.saturated: Counter[str] = Counter()
        self.costs: Counter[str] = Counter()
        self.priced_tokens: Counter[str] = Counter()
        self.content: Counter[str] = Counter()
        self.sessionless = ByName()
        self.named = ByName()
        self.cut = ByName()
        self.failed = ByName()
        self.unexplained = ByName()
        self.refused = ByName()
        self.weighted = 0
        self.stated_tokens = self.leaf_tokens = 0.0
        self.repeats = self.gaps = 0
        self.step_counts = [0] * (len(STEP_BOUNDS_S) + 1)
        self.step_sum_s = 0.0

    def timed(self, seconds: float) -> None:
        """A step took that long."""
        self.step_counts[sum(seconds > bound for bound in STEP_BOUNDS_S)] += 1
        self.step_sum_s += seconds

    def steps(self) -> Metric:
        """How long steps took."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, STEP_BOUNDS_S), "+Inf"), self.step_counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        name = "tocsin_step_seconds"
        return HistogramMetricFamily(name, HEALTH[name].help, buckets, self.step_sum_s)

    def add(self, tally: Tally) -> None:
        """Take in a step's."""
        self.read["spans"] += tally.spans
        self.read["points"] += tally.points
        self.read["log_records"] += tally.logs
        self.read["sessions_closed"] += tally.sessions
        self.read["slots"] += tally.slots
        self.dropped.update(tally.dropped)
        self.foreign.update(tally.foreign)
        self.snake_case.update(tally.snake_case)
        self.saturated.update(tally.saturated)
        self.costs.update(tally.costs)
        self.priced_tokens.update(tally.priced_tokens)
        self.content.update(tally.content)
        self.sessionless.add(tally.sessionless)
        self.named.add(tally.named)
        self.cut.add(tally.cut)
        self.failed.add(tally.failed)
        self.unexplained.add({scope: round(tokens) for scope, tokens in tally.unexplained.items()})
        self.refused.add(tally.refused)
        self.weighted += tally.weighted
        self.stated_tokens += tally.stated_tokens
        self.leaf_tokens += tally.leaf_tokens
        self.repeats += tally.repeats
        self.gaps += tally.gaps

    def counters(self) -> dict[str, Values]:
        """By metric: what was read, and what became of it."""
        read: dict[str, Values] = {
            f"tocsin_{noun}_total": {(): self.read[noun]}
            for noun in ("spans", "points", "log_records", "sessions_closed", "slots")
        }
        return {
            **read,
            "tocsin_dropped_total": {(reason.value,): self.dropped[reason] for reason in Dropped},
            "tocsin_content_attributes_total": {(name,): count for name, count in self.content.items()},
            "tocsin_sessionless_total": self.sessionless.values(),
            "tocsin_sessions_named_total": self.named.values(),
            "tocsin_values_cut_total": self.cut.values(),
            "tocsin_failed_calls_total": self.failed.values(),
            "tocsin_overflowed_total": self.refused.values(),
            "tocsin_priced_metric_tokens_total": {(source.value,): self.priced_tokens[source] for source in BY_PRICE},
            "tocsin_slot_repeats_total": {(): self.repeats},
            "tocsin_slot_gaps_total": {(): self.gaps},
            "tocsin_weighted_calls_total": {(): self.weighted},
            "tocsin_metric_saturated_total": {(metric,): float(n) for metric, n in self.saturated.items()},
            "tocsin_foreign_bodies_total": dict(self.foreign.items()),
            "tocsin_snake_case_bodies_total": {(source,): count for source, count in self.snake_case.items()},
            "tocsin_priced_calls_total": {
                (source.value,): self.costs[source] for source in CostSource if source is not CostSource.NONE
            },
        }

    def gauges(self) -> dict[str, Values]:
        """By metric: what is no count of its own."""
        agree: Values = {(): self.leaf_tokens / self.stated_tokens} if self.stated_tokens else {}
        return {"tocsin_leaf_tokens_ratio": agree, "tocsin_unexplained_tokens_total": self.unexplained.values()}
