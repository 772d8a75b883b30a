"""Every metric that Tocsin exports, declared once: levels of the rules' series, and its own health.

Series are bounded by the rules' `series_max`; every other label has a closed set of values. Levels are taken between
steps and exported as they stood then; NaN is not exported.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from alertrules.marks import Kind
from alertrules.notice import Status
from alertrules.parse import RuleSet
from detectors.core.columns import CELL_LABELS, OUTCOMES, SECOND_NS
from detectors.core.engine import HORIZONS
from detectors.core.series import OVERFLOW_VALUE
from service.batch import Dropped
from service.deliver import Deliverer
from service.detect import Level
from service.explain import keeps_budget
from service.ingest.prices import CostSource
from service.notifiers.destination import Destination
from service.notifiers.request import Reason
from service.pipeline import Outcome, Pipeline
from service.sources.arrival import Arrivals
from service.sources.kafka import KafkaSource
from service.sources.otlp_http import Door, Refused
from service.store.outbox import Outbox

SERIES = ("rule", *CELL_LABELS)
"""Labels of every level; those that a rule does not group by are empty."""
QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
AGENTS_MAX = 1_000
STEP_BOUNDS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


@dataclass(frozen=True)
class Declared:
    """One metric: its type as Prometheus calls it, its labels, its help text."""

    type: str
    labels: tuple[str, ...]
    help: str


LEVELS = {
    "tocsin_latency_seconds": Declared("gauge", (*SERIES, "quantile"), "Latency of the last active minutes."),
    "tocsin_latency_baseline_seconds": Declared("gauge", SERIES, "p95 latency that the baseline expects at this hour."),
    "tocsin_latency_threshold_seconds": Declared("gauge", SERIES, "p95 latency that is the rule's smallest effect."),
    "tocsin_session_cost_usd": Declared("gauge", (*SERIES, "quantile"), "Cost of closed sessions of late."),
    "tocsin_session_cost_baseline_usd": Declared("gauge", SERIES, "p95 cost of a session that the baseline expects."),
    "tocsin_session_cost_threshold_usd": Declared("gauge", SERIES, "p95 cost that is the rule's smallest effect."),
    "tocsin_session_unpriced_ratio": Declared("gauge", SERIES, "Share of sessions with a call of unknown price."),
    "tocsin_error_ratio": Declared("gauge", SERIES, "Failed share of the last active minutes."),
    "tocsin_error_baseline_ratio": Declared("gauge", SERIES, "Failed share that the baseline expects."),
    "tocsin_error_threshold_ratio": Declared("gauge", SERIES, "Failed share that is the rule's smallest effect."),
    "tocsin_outcome_share": Declared("gauge", (*SERIES, "outcome"), "Share of closed sessions of late, by outcome."),
    "tocsin_outcome_baseline_share": Declared("gauge", SERIES, "Share of good outcomes that the baseline expects."),
    "tocsin_outcome_threshold_share": Declared("gauge", SERIES, "Share of good outcomes that is the smallest effect."),
    "tocsin_static_level": Declared("gauge", SERIES, "What a static rule compares, in its signal's unit."),
    "tocsin_static_limit": Declared("gauge", SERIES, "The static rule's limit."),
    "tocsin_level": Declared("gauge", SERIES, "What a level or river rule looks at, in its signal's unit."),
    "tocsin_level_expected": Declared("gauge", SERIES, "What it should have been."),
    "tocsin_level_score": Declared("gauge", SERIES, "How far it is from that, in the detector's own units."),
    "tocsin_level_bar": Declared("gauge", SERIES, "The score from which it is a page; absent while it is learnt."),
    "tocsin_missing_calls": Declared("gauge", SERIES, "Calls that should have come since the last one."),
    "tocsin_missing_calls_bar": Declared("gauge", SERIES, "Missing calls that are a page; absent while it is learnt."),
    "tocsin_burn_projected_usd": Declared("gauge", SERIES, "What the month will cost at the last day's pace."),
    "tocsin_burn_limit_usd": Declared("gauge", SERIES, "What the month may cost."),
    "tocsin_evidence_nats": Declared("gauge", SERIES, "Log evidence of a change; absent while warming up."),
    "tocsin_evidence_threshold_nats": Declared("gauge", SERIES, "Log evidence that a page needs."),
    "tocsin_visible_effect": Declared(
        "gauge", (*SERIES, "within"), "Smallest effect that would page in that time at usual traffic; absent if none."
    ),
    "tocsin_hourly_wobble": Declared(
        "gauge",
        SERIES,
        "How far it strays from hour to hour by itself, in its effect's kind: a factor or a share.",
    ),
    "tocsin_series_judged": Declared("gauge", SERIES, "1 once the series is judged, 0 while it is warming up."),
}
# What a detector calls a gauge -> metric, and the value of its further label.
GAUGES: dict[str, tuple[str, str]] = {
    **{f"latency_{name}": ("tocsin_latency_seconds", q) for name, q in QUANTILES.items()},
    "latency_baseline": ("tocsin_latency_baseline_seconds", ""),
    "latency_effect": ("tocsin_latency_threshold_seconds", ""),
    **{f"session_cost_{name}": ("tocsin_session_cost_usd", q) for name, q in QUANTILES.items()},
    "session_cost_baseline": ("tocsin_session_cost_baseline_usd", ""),
    "session_cost_effect": ("tocsin_session_cost_threshold_usd", ""),
    "session_unpriced_ratio": ("tocsin_session_unpriced_ratio", ""),
    "error_ratio": ("tocsin_error_ratio", ""),
    "error_ratio_baseline": ("tocsin_error_baseline_ratio", ""),
    "error_ratio_effect": ("tocsin_error_threshold_ratio", ""),
    **{f"outcome_share_{name}": ("tocsin_outcome_share", name) for name in OUTCOMES},
    "outcome_share_baseline": ("tocsin_outcome_baseline_share", ""),
    "outcome_share_effect": ("tocsin_outcome_threshold_share", ""),
    "static_level": ("tocsin_static_level", ""),
    "static_limit": ("tocsin_static_limit", ""),
    "level": ("tocsin_level", ""),
    "level_expected": ("tocsin_level_expected", ""),
    "level_score": ("tocsin_level_score", ""),
    "level_bar": ("tocsin_level_bar", ""),
    "missing_calls": ("tocsin_missing_calls", ""),
    "missing_calls_bar": ("tocsin_missing_calls_bar", ""),
    "burn_projected": ("tocsin_burn_projected_usd", ""),
    "burn_limit": ("tocsin_burn_limit_usd", ""),
    "evidence": ("tocsin_evidence_nats", ""),
    "evidence_threshold": ("tocsin_evidence_threshold_nats", ""),
    **{f"visible_{name}": ("tocsin_visible_effect", name) for name in HORIZONS},
    "wobble": ("tocsin_hourly_wobble", ""),
    "warm": ("tocsin_series_judged", ""),
}
HEALTH = {
    "tocsin_alert_state": Declared("gauge", (*SERIES, "state"), "1 for the state that an open alert is in."),
    "tocsin_spend_usd_per_hour": Declared(
        "gauge", ("tenant", "agent"), "Dollars of priced calls an hour, over about the last hour."
    ),
    "tocsin_build_info": Declared("gauge", ("version",), "1, for the version that runs."),
    "tocsin_scanner_info": Declared("gauge", ("engine",), "1, for what decodes traces: `compiled` or `protobuf`."),
    "tocsin_spans_total": Declared("counter", (), "Spans read."),
    "tocsin_points_total": Declared("counter", (), "Metric points received."),
    "tocsin_log_records_total": Declared("counter", (), "Log records received."),
    "tocsin_sessions_closed_total": Declared("counter", (), "Sessions closed and counted."),
    "tocsin_slots_total": Declared("counter", (), "Slots of ten seconds closed."),
    "tocsin_pages_total": Declared("counter", ("rule",), "Alerts that fired."),
    "tocsin_pages_marked_total": Declared("counter", ("rule", "mark"), "Pages that people called that."),
    "tocsin_notices_total": Declared("counter", ("status",), "Notices put into the outbox, by what they say."),
    "tocsin_dropped_total": Declared("counter", ("reason",), "What was not counted, or not wholly."),
    "tocsin_content_attributes_total": Declared(
        "counter", ("attribute",), "Texts that people and models said, seen on spans and never kept."
    ),
    "tocsin_sessionless_total": Declared("counter", ("agent",), "Sessions that no span named: each was one trace."),
    "tocsin_overflowed_total": Declared("counter", ("agent",), "Calls and sessions counted under _other."),
    "tocsin_priced_calls_total": Declared("counter", ("source",), "Calls with tokens, by where their cost comes from."),
    "tocsin_weighted_calls_total": Declared("counter", (), "Calls counted with a sampling weight other than one."),
    "tocsin_leaf_tokens_ratio": Declared(
        "gauge", (), "Tokens of calls over what the wrappers above them stated; 1 where they agree."
    ),
    "tocsin_metric_saturated_total": Declared(
        "counter", ("metric",), "Values over the last bound of their histogram: how large they were is not known."
    ),
    "tocsin_step_seconds": Declared("histogram", (), "How long a step of the pipeline takes."),
    "tocsin_watermark_delay_seconds": Declared("gauge", (), "How far event time lies behind the clock."),
    "tocsin_series": Declared("gauge", ("rule",), "Series a rule tracks."),
    "tocsin_series_refused_total": Declared("counter", ("rule",), "Label sets that came when the table was full."),
    "tocsin_series_expired_total": Declared("counter", ("rule",), "Series forgotten after a week of silence."),
    "tocsin_rule_budget_pages_per_week": Declared("gauge", ("rule",), "False pages a week that its author allows."),
    "tocsin_rule_tail_nats": Declared(
        "gauge",
        ("rule",),
        "Mean excess of the evidence's tail: at most 1 while the promise holds, over 1.5 not.",
    ),
    "tocsin_rule_keeps_budget": Declared("gauge", ("rule",), "1 while it keeps its budget on these data, else 0."),
    "tocsin_queue_depth": Declared("gauge", (), "Bodies and fetches that wait to be read."),
    "tocsin_otlp_refused_total": Declared("counter", ("reason",), "OTLP/HTTP requests turned away unread."),
    "tocsin_otlp_held_bytes": Declared("gauge", (), "Bytes of OTLP/HTTP bodies being sent or waiting to be read."),
    "tocsin_kafka_lag_records": Declared("gauge", ("partition",), "Records not read yet."),
    "tocsin_kafka_tombstones_total": Declared("counter", (), "Kafka records without a value."),
    "tocsin_kafka_restarts_total": Declared("counter", (), "Kafka consumers that failed and were replaced."),
    "tocsin_last_save_duration_seconds": Declared("gauge", (), "How long the last save took."),
    "tocsin_last_save_timestamp_seconds": Declared("gauge", (), "When state was last saved, in Unix time."),
    "tocsin_save_failures_total": Declared("counter", (), "Saves that failed; nothing is read until one works."),
    "tocsin_outbox_depth": Declared("gauge", ("destination", "state"), "Deliveries in the outbox."),
    "tocsin_outbox_oldest_seconds": Declared("gauge", (), "For how long the oldest waiting delivery has waited."),
    "tocsin_outbox_write_failures_total": Declared("counter", (), "Outcomes of deliveries that could not be written."),
    "tocsin_delivery_attempts_total": Declared("counter", ("destination",), "Attempts to tell a destination."),
    "tocsin_deliveries_total": Declared("counter", ("destination",), "Deliveries that a destination took."),
    "tocsin_deliveries_retried_total": Declared("counter", ("destination",), "Attempts that will be repeated."),
    "tocsin_deliveries_throttled_total": Declared("counter", ("destination",), "Attempts it found to be too many."),
    "tocsin_deliveries_dead_total": Declared("counter", ("destination", "reason"), "Deliveries given up."),
    "tocsin_destination_refusing": Declared(
        "gauge", ("destination",), "1 where a destination refuses everything: look at its key or hook."
    ),
    "tocsin_connection_pools_replaced_total": Declared("counter", (), "Pools of connections that had gone mute."),
}
DECLARED = LEVELS | HEALTH

Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True)
class Parts:
    """The running parts whose state is exported. `kafka` is None where Kafka is not read."""

    rules: RuleSet
    destinations: tuple[Destination, ...]
    pipeline: Pipeline
    deliverer: Deliverer
    outbox: Outbox
    door: Door
    kafka: KafkaSource | None
    arrivals: Arrivals
    now_ns: Callable[[], int]
    wall_ns: Callable[[], int]


class ByAgent:
    """Counts by agent; of a million names, those after the first thousand are one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, more: Mapping[str, int]) -> None:
        for agent, count in more.items():
            known = agent in self.counts or len(self.counts) < AGENTS_MAX
            self.counts[agent if known else OVERFLOW_VALUE] += count

    def values(self) -> "Values":
        return {(agent,): count for agent, count in self.counts.items()}


class SelfMetrics:
    """Counts what steps say, and turns it into metric families when asked."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.levels: list[Level] = []
        self.spend: dict[tuple[str, ...], float] = {}
        self.read: Counter[str] = Counter()
        self.dropped: Counter[Dropped] = Counter()
        self.saturated: Counter[str] = Counter()
        self.costs: Counter[str] = Counter()
        self.content: Counter[str] = Counter()
        self.sessionless = ByAgent()
        self.refused = ByAgent()
        self.weighted = 0
        self.stated_tokens = self.leaf_tokens = 0.0
        self.notices: Counter[Status] = Counter()
        self.step_counts = [0] * (len(STEP_BOUNDS_S) + 1)
        self.step_sum_s = 0.0
        self.save_failures = 0
        self._save: tuple[float, float] | None = None

    def stepped(self, outcome: Outcome, seconds: float) -> None:
        """Take in one step's outcome."""
        tally = outcome.tally
        self.read["spans"] += tally.spans
        self.read["points"] += tally.points
        self.read["log_records"] += tally.logs
        self.read["sessions_closed"] += tally.sessions
        self.read["slots"] += tally.slots
        self.dropped.update(tally.dropped)
        self.saturated.update(tally.saturated)
        self.costs.update(tally.costs)
        self.content.update(tally.content)
        self.sessionless.add(tally.sessionless)
        self.refused.add(tally.refused)
        self.weighted += tally.weighted
        self.stated_tokens += tally.stated_tokens
        self.leaf_tokens += tally.leaf_tokens
        self.notices.update(notice.status for notice in outcome.notices)
        self.step_counts[sum(seconds > bound for bound in STEP_BOUNDS_S)] += 1
        self.step_sum_s += seconds

    def saved(self, seconds: float, at_s: float) -> None:
        """A save took that long, and ended then."""
        self._save = (seconds, at_s)

    def health(self) -> list[Metric]:
        """All families but the levels. Quick, and not to be called while the daemon moves: on its event loop."""
        families = [_family(name, values) for name, values in (self._counters() | self._gauges()).items()]
        total, buckets = 0, []
        for bound, count in zip((*map(str, STEP_BOUNDS_S), "+Inf"), self.step_counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        help_ = HEALTH["tocsin_step_seconds"].help
        return [*families, HistogramMetricFamily("tocsin_step_seconds", help_, buckets, self.step_sum_s)]

    def _counters(self) -> dict[str, Values]:
        parts, deliveries = self.parts, self.parts.deliverer.counts
        names = [destination.name for destination in parts.destinations]
        kafka = parts.kafka
        return {
            **{
                f"tocsin_{noun}_total": {(): self.read[noun]}
                for noun in ("spans", "points", "log_records", "sessions_closed", "slots")
            },
            "tocsin_pages_total": {(level.rule.name,): level.sums.paged for level in self.levels},
            "tocsin_pages_marked_total": {
                (level.rule.name, kind.value): count
                for level in self.levels
                for kind, count in ((Kind.NOISE, level.sums.noise), (Kind.INCIDENT, level.sums.incident))
            },
            "tocsin_notices_total": {(status.value,): self.notices[status] for status in Status},
            "tocsin_dropped_total": {(reason.value,): self.dropped[reason] for reason in Dropped},
            "tocsin_content_attributes_total": {(name,): count for name, count in self.content.items()},
            "tocsin_sessionless_total": self.sessionless.values(),
            "tocsin_overflowed_total": self.refused.values(),
            "tocsin_priced_calls_total": {
                (source.value,): self.costs[source] for source in CostSource if source is not CostSource.NONE
            },
            "tocsin_weighted_calls_total": {(): self.weighted},
            "tocsin_metric_saturated_total": {(metric,): float(n) for metric, n in self.saturated.items()},
            "tocsin_otlp_refused_total": {(reason.value,): parts.door.refused[reason] for reason in Refused},
            "tocsin_series_refused_total": {(level.rule.name,): level.refused for level in self.levels},
            "tocsin_series_expired_total": {(level.rule.name,): level.expired for level in self.levels},
            "tocsin_kafka_tombstones_total": {(): kafka.empty if kafka else 0},
            "tocsin_kafka_restarts_total": {(): kafka.restarts if kafka else 0},
            "tocsin_save_failures_total": {(): self.save_failures},
            "tocsin_outbox_write_failures_total": {(): deliveries.unwritten},
            "tocsin_delivery_attempts_total": {(name,): deliveries.attempts[name] for name in names},
            "tocsin_deliveries_total": {(name,): deliveries.delivered[name] for name in names},
            "tocsin_deliveries_retried_total": {(name,): deliveries.retried[name] for name in names},
            "tocsin_deliveries_throttled_total": {(name,): deliveries.throttled[name] for name in names},
            "tocsin_deliveries_dead_total": {(n, r.value): deliveries.dead[n, r] for n in names for r in Reason},
            "tocsin_connection_pools_replaced_total": {(): deliveries.pools_replaced},
        }

    def _gauges(self) -> dict[str, Values]:
        parts = self.parts
        watermark_ns, oldest_ns = parts.pipeline.watermark_ns, parts.outbox.oldest_waiting_ns()
        now_ns = parts.now_ns()
        tracked: Values = {(level.rule.name,): float(len(level.labels)) for level in self.levels}
        budgets: Values = {(r.name,): r.budget_per_week for r in parts.rules.rules if r.budget_per_week is not None}
        waited_s = None if oldest_ns is None else max(0.0, (parts.wall_ns() - oldest_ns) / SECOND_NS)
        agree = self.leaf_tokens / self.stated_tokens if self.stated_tokens else None
        return {
            "tocsin_leaf_tokens_ratio": _if_any(agree),
            "tocsin_spend_usd_per_hour": self.spend,
            "tocsin_build_info": {(_version(),): 1},
            "tocsin_scanner_info": {(parts.pipeline.decoder.name,): 1},
            "tocsin_watermark_delay_seconds": _if_any(watermark_ns and (now_ns - watermark_ns) / SECOND_NS),
            "tocsin_series": tracked,
            "tocsin_rule_budget_pages_per_week": budgets,
            "tocsin_rule_tail_nats": {(lv.rule.name,): lv.excess for lv in self.levels if math.isfinite(lv.excess)},
            "tocsin_rule_keeps_budget": {
                (lv.rule.name,): float(kept) for lv in self.levels if (kept := keeps_budget(lv)) is not None
            },
            "tocsin_queue_depth": {(): parts.arrivals.qsize()},
            "tocsin_otlp_held_bytes": {(): parts.door.held_bytes},
            "tocsin_kafka_lag_records": {(n,): lag for n, lag in (parts.kafka.lag() if parts.kafka else {}).items()},
            "tocsin_last_save_duration_seconds": _if_any(self._save and self._save[0]),
            "tocsin_last_save_timestamp_seconds": _if_any(self._save and self._save[1]),
            "tocsin_outbox_depth": {key: float(count) for key, count in parts.outbox.counts().items()},
            "tocsin_outbox_oldest_seconds": _if_any(waited_s),
            "tocsin_destination_refusing": {(name,): float(no) for name, no in parts.deliverer.tripped().items()},
        }


def level_families(levels: list[Level]) -> Iterator[Metric]:
    """The levels of every series of every rule, as they stood: slow where series are many, and fit for a thread."""
    families: dict[str, Metric] = {name: _family(name, {}) for name in (*LEVELS, "tocsin_alert_state")}
    for level in levels:
        rows = [_row(level, values) for values in level.labels]
        for gauge, values in level.gauges.items():
            name, more = GAUGES[gauge]
            labels = DECLARED[name].labels
            for row, number in zip(rows, values.tolist(), strict=True):
                if math.isfinite(number):
                    families[name].add_sample(name, dict(zip(labels, (*row, more), strict=False)), number)
        for key, alert in level.alerts.items():
            labels = HEALTH["tocsin_alert_state"].labels
            row = (*_row(level, key), alert.state.value)
            families["tocsin_alert_state"].add_sample("tocsin_alert_state", dict(zip(labels, row, strict=True)), 1)
    yield from families.values()


def _family(name: str, values: Values) -> Metric:
    """A counter or gauge as declared, with a value by labels."""
    declared = DECLARED[name]
    family: CounterMetricFamily | GaugeMetricFamily = (
        CounterMetricFamily(name, declared.help, labels=declared.labels)
        if declared.type == "counter"
        else GaugeMetricFamily(name, declared.help, labels=declared.labels)
    )
    for key, value in values.items():
        family.add_metric([_valid(label) for label in key], value)
    return family


def _if_any(value: float | None) -> dict[tuple[str, ...], float]:
    return {} if value is None else {(): value}


def _row(level: Level, values: tuple[str, ...]) -> tuple[str, ...]:
    """A series' values in the order of SERIES."""
    known = dict(zip(level.rule.by, values, strict=True))
    return (level.rule.name, *(_valid(known.get(name, "")) for name in CELL_LABELS))


def _valid(text: str) -> str:
    """Text that can be encoded: one lone surrogate would fail the whole scrape, though ingest leaves none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _version() -> str:
    try:
        return version("tocsin")
    except PackageNotFoundError:
        return "unknown"
