"""Every metric that Tocsin exports, declared once: levels of the rules' series, and its own health.

Series are bounded by the rules' `series_max`; every other label has a closed set of values. Levels are taken between
steps and exported as they stood then; NaN is not exported.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from alertrules.lifecycle import AlertState
from alertrules.notice import Status
from detectors.core.columns import CELL_LABELS, OUTCOMES, SECOND_NS
from service.batch import Dropped
from service.detect import Level
from service.pipeline import Outcome
from service.sources.otlp_http import Refused

if TYPE_CHECKING:
    from service.daemon import Daemon

LABELS = ("rule", *CELL_LABELS)
"""Labels of every level; those that a rule does not group by are empty."""
QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
STEP_BOUNDS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

# What a detector calls a gauge -> (metric, help, further label, its value). Written out by the detectors' names.
LEVELS: dict[str, tuple[str, str, str, str]] = {
    f"latency_{name}": ("tocsin_latency_seconds", "Latency of the last active minutes.", "quantile", q)
    for name, q in QUANTILES.items()
}
LEVELS |= {
    f"session_cost_{name}": ("tocsin_session_cost_usd", "Cost of closed sessions of late.", "quantile", q)
    for name, q in QUANTILES.items()
}
LEVELS |= {
    f"outcome_share_{name}": ("tocsin_outcome_share", "Share of closed sessions of late, by outcome.", "outcome", name)
    for name in OUTCOMES
}
LEVELS |= {
    "latency_baseline": ("tocsin_latency_baseline_seconds", "p95 that the baseline expects at this hour.", "", ""),
    "latency_effect": ("tocsin_latency_threshold_seconds", "p95 that is the rule's smallest effect.", "", ""),
    "session_cost_baseline": ("tocsin_session_cost_baseline_usd", "p95 cost that the baseline expects.", "", ""),
    "session_cost_effect": (
        "tocsin_session_cost_threshold_usd",
        "p95 cost that is the rule's smallest effect.",
        "",
        "",
    ),
    "session_unpriced_ratio": ("tocsin_session_unpriced_ratio", "Sessions with a call of unknown price.", "", ""),
    "error_ratio": ("tocsin_error_ratio", "Failed share of the last active minutes.", "", ""),
    "error_ratio_baseline": ("tocsin_error_baseline_ratio", "Failed share that the baseline expects.", "", ""),
    "error_ratio_effect": ("tocsin_error_threshold_ratio", "Failed share that is the rule's smallest effect.", "", ""),
    "outcome_share_baseline": ("tocsin_outcome_baseline_share", "Good share that the baseline expects.", "", ""),
    "outcome_share_effect": ("tocsin_outcome_threshold_share", "Good share that is the rule's effect.", "", ""),
    "static_level": ("tocsin_static_level", "What a static rule compares, in its signal's unit.", "", ""),
    "static_limit": ("tocsin_static_limit", "The static rule's limit.", "", ""),
    "evidence": ("tocsin_evidence_nats", "Log evidence of a change; absent while warming up.", "", ""),
    "evidence_threshold": ("tocsin_evidence_threshold_nats", "Log evidence that a page needs.", "", ""),
    "warm": ("tocsin_series_judged", "1 once the series is judged, 0 while it is warming up.", "", ""),
}
SPEND = ("tocsin_spend_usd_per_hour", "Dollars of priced calls an hour, over about the last hour.")
ALERT_STATE = ("tocsin_alert_state", "1 for the state that an open alert is in.")
# Name without `_total` -> help.
COUNTERS = {
    "tocsin_spans": "Spans read.",
    "tocsin_points": "Metric points received.",
    "tocsin_log_records": "Log records received.",
    "tocsin_sessions_closed": "Sessions closed and counted.",
    "tocsin_slots": "Slots of ten seconds closed.",
    "tocsin_pages": "Alerts that fired, by rule.",
    "tocsin_notices": "Notices put into the outbox, by what they say.",
    "tocsin_dropped": "What was not counted (or not wholly), by reason.",
    "tocsin_otlp_refused": "OTLP/HTTP requests turned away unread, by reason.",
    "tocsin_series_refused": "Label sets that came when the rule's table was full.",
    "tocsin_series_expired": "Series forgotten after a week of silence.",
    "tocsin_delivery_attempts": "Attempts to tell a destination.",
    "tocsin_deliveries": "Deliveries that a destination took.",
    "tocsin_deliveries_retried": "Attempts that will be repeated.",
    "tocsin_deliveries_dead": "Deliveries given up, by reason.",
}
GAUGES = {
    "tocsin_watermark_delay_seconds": "How far event time lies behind the clock.",
    "tocsin_kafka_lag_records": "Records not read yet, by partition.",
    "tocsin_queue_depth": "Bodies and fetches that wait to be read.",
    "tocsin_outbox_depth": "Deliveries in the outbox, by destination and state.",
    "tocsin_series": "Series a rule tracks.",
    "tocsin_rule_budget_pages_per_week": "False pages a week that the rule's author allows.",
    "tocsin_destination_refusing": "1 where a destination refuses everything: look at its key or hook.",
    "tocsin_save_seconds": "How long the last save took.",
}
STEP_SECONDS = ("tocsin_step_seconds", "How long a step of the pipeline takes.")


class SelfMetrics(Collector):
    """Counts what steps say, and turns it into metric families when asked."""

    def __init__(self, daemon: "Daemon") -> None:
        self.daemon = daemon
        self.levels: list[Level] = []
        self.spend: dict[tuple[str, ...], float] = {}
        self.registry = CollectorRegistry()
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[Dropped] = Counter()
        self.notices: Counter[Status] = Counter()
        self.pages: Counter[str] = Counter()
        self.step_counts = [0] * (len(STEP_BOUNDS_S) + 1)
        self.step_sum_s = 0.0
        self.save_s = 0.0
        self.registry.register(self)

    def stepped(self, outcome: Outcome, seconds: float) -> None:
        """Take in one step's outcome."""
        tally = outcome.tally
        self.counts["tocsin_spans"] += tally.spans
        self.counts["tocsin_points"] += tally.points
        self.counts["tocsin_log_records"] += tally.logs
        self.counts["tocsin_sessions_closed"] += tally.sessions
        self.counts["tocsin_slots"] += tally.slots
        self.dropped.update(tally.dropped)
        self.notices.update(notice.status for notice in outcome.notices)
        for moved in outcome.transitions:
            if moved.after is AlertState.FIRING and moved.before is not AlertState.RECOVERING:
                self.pages[moved.rule] += 1
        self.step_counts[sum(seconds > bound for bound in STEP_BOUNDS_S)] += 1
        self.step_sum_s += seconds

    def saved(self, seconds: float) -> None:
        self.save_s = seconds

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """All families; a label value is whatever telemetry called it, cleaned at the door."""
        yield from self._levels()
        yield from self._counters()
        yield from self._gauges()
        steps, buckets = 0, []
        for bound, count in zip((*map(str, STEP_BOUNDS_S), "+Inf"), self.step_counts, strict=True):
            steps += count
            buckets.append((bound, float(steps)))
        yield HistogramMetricFamily(*STEP_SECONDS, buckets=buckets, sum_value=self.step_sum_s)

    def _levels(self) -> Iterator[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, help_, label, _ in LEVELS.values():
            families.setdefault(name, GaugeMetricFamily(name, help_, labels=(*LABELS, *([label] if label else []))))
        state = GaugeMetricFamily(*ALERT_STATE, labels=(*LABELS, "state"))
        for level in self.levels:
            rows = [_row(level, values) for values in level.labels]
            for gauge, values in level.gauges.items():
                name, _, label, value = LEVELS[gauge]
                more = (value,) if label else ()
                for row, number in zip(rows, values.tolist(), strict=True):
                    if math.isfinite(number):
                        families[name].add_metric((*row, *more), number)
            for labels, alert in level.alerts.items():
                state.add_metric((*_row(level, labels), alert.state.value), 1)
        yield from families.values()
        yield state
        spend = GaugeMetricFamily(*SPEND, labels=("tenant", "agent"))
        for key, dollars in self.spend.items():
            spend.add_metric(key, dollars)
        yield spend

    def _counters(self) -> Iterator[CounterMetricFamily]:
        deliveries, rules = self.daemon.deliverer.counts, [rule.name for rule in self.daemon.rules.rules]
        names = [d.name for d in self.daemon.destinations]
        for name, count in self.counts.items():
            yield CounterMetricFamily(name, COUNTERS[name], value=count)
        table: tuple[tuple[str, tuple[str, ...], Mapping[Any, float]], ...] = (
            ("tocsin_pages", ("rule",), {(rule,): self.pages[rule] for rule in rules}),
            ("tocsin_notices", ("status",), {(s.value,): self.notices[s] for s in Status}),
            ("tocsin_dropped", ("reason",), {(r.value,): self.dropped[r] for r in Dropped}),
            ("tocsin_otlp_refused", ("reason",), {(r.value,): self.daemon.door.refused[r] for r in Refused}),
            ("tocsin_series_refused", ("rule",), {(v.rule.name,): v.refused for v in self.levels}),
            ("tocsin_series_expired", ("rule",), {(v.rule.name,): v.expired for v in self.levels}),
            ("tocsin_delivery_attempts", ("destination",), {(n,): deliveries.attempts[n] for n in names}),
            ("tocsin_deliveries", ("destination",), {(n,): deliveries.delivered[n] for n in names}),
            ("tocsin_deliveries_retried", ("destination",), {(n,): deliveries.retried[n] for n in names}),
            (
                "tocsin_deliveries_dead",
                ("destination", "reason"),
                {(name, reason.value): count for (name, reason), count in deliveries.dead.items()},
            ),
        )
        for name, labels, values in table:
            family = CounterMetricFamily(name, COUNTERS[name], labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            yield family

    def _gauges(self) -> Iterator[GaugeMetricFamily]:
        daemon = self.daemon
        watermark_ns = daemon.pipeline.watermark_ns
        delay: dict[tuple[str, ...], float] = (
            {} if watermark_ns is None else {(): (daemon.clock.now_ns() - watermark_ns) / SECOND_NS}
        )
        lag = daemon.kafka.lag if daemon.kafka else {}
        budgets = {(r.name,): r.budget_per_week for r in daemon.rules.rules if r.budget_per_week is not None}
        table: tuple[tuple[str, tuple[str, ...], Mapping[Any, float]], ...] = (
            ("tocsin_watermark_delay_seconds", (), delay),
            ("tocsin_kafka_lag_records", ("partition",), {(name,): float(n) for name, n in lag.items()}),
            ("tocsin_queue_depth", (), {(): float(daemon.arrivals.qsize())}),
            ("tocsin_outbox_depth", ("destination", "state"), self.outbox),
            ("tocsin_series", ("rule",), {(v.rule.name,): float(len(v.labels)) for v in self.levels}),
            ("tocsin_rule_budget_pages_per_week", ("rule",), budgets),
            (
                "tocsin_destination_refusing",
                ("destination",),
                {(name,): float(refusing) for name, refusing in daemon.deliverer.tripped().items()},
            ),
            ("tocsin_save_seconds", (), {(): self.save_s}),
        )
        for name, labels, values in table:
            family = GaugeMetricFamily(name, GAUGES[name], labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            yield family

    @property
    def outbox(self) -> dict[tuple[str, ...], float]:
        """Deliveries by destination and state; empty once the outbox is closed."""
        return {key: float(count) for key, count in self.daemon.outbox.counts().items()}


def _row(level: Level, values: tuple[str, ...]) -> tuple[str, ...]:
    """A series' values in the order of LABELS."""
    known = dict(zip(level.rule.by, values, strict=True))
    return (level.rule.name, *(known.get(name, "") for name in CELL_LABELS))
