"""Turns what steps count, and the levels of the rules' series, into the metrics that `catalog.py` declares.

Levels are taken between steps and exported as they stood then; NaN is not exported.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric

from alertrules.audience import NOBODY
from alertrules.marks import Kind
from alertrules.notice import Status
from alertrules.parse import RuleSet
from detectors.core.columns import SECOND_NS
from service.delivery.deliver import Deliverer
from service.delivery.weekly import Weekly
from service.ledger.sessions import Sessions
from service.notifiers.destination import Destination
from service.notifiers.request import Reason
from service.own_metrics import of_agentforce, of_kafka, of_sessions, of_sources, of_standby, of_writeback
from service.own_metrics.owner_metrics import OF_OWNERS
from service.own_metrics.tallied import Tallied, Values, family
from service.pipeline.pipeline import Outcome, Pipeline
from service.pipeline.rule_runner import Level
from service.reports.explain import keeps_budget
from service.rule_files import RuleFiles
from service.runtime.clocks import KINDS, ClockWatch
from service.runtime.connections import Closed, Connections
from service.runtime.watchdog import Watchdog
from service.sampling.needs import NOTHING_NEEDED
from service.sampling.needs import Reason as Need
from service.sources.agentforce_poll import AgentforceSource
from service.sources.arrival import Arrivals
from service.sources.kafka import KafkaSource
from service.sources.otlp_http import Door, Refused
from service.sources.outcomes_topic import OutcomesTopic
from service.store.outbox import Outbox

if TYPE_CHECKING:
    from service.writeback.back import WriteBack

ENDS = (Reason.MALFORMED, Reason.EXPIRED)
"""Why a delivery is given up; every other failure is tried again."""
FAILURES = tuple(reason for reason in Reason if reason is not Reason.EXPIRED)


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
    work: Watchdog
    clocks: ClockWatch
    connections: Mapping[str, Connections]
    rule_files: RuleFiles
    role: str
    sessions: Sessions | None
    writeback: "WriteBack | None"
    agentforce: AgentforceSource | None
    told: OutcomesTopic | None
    weekly: Weekly
    standby: of_standby.Standby | None


class SelfMetrics:
    """Counts what steps say, and turns it into metric families when asked."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.levels: list[Level] = []
        self.spend: dict[tuple[str, ...], float] = {}
        self.unpriced: dict[tuple[str, ...], float] = {}
        self.audience = NOBODY
        self.needs = NOTHING_NEEDED
        self.tallied = Tallied()
        self.notices: Counter[Status] = Counter()
        self.save_failures = self.put_back = 0
        self.parts_lost: Sequence[str] = ()
        self._save: tuple[float, float] | None = None
        self._heard_s = time.monotonic()
        self.expired: Counter[str] = Counter()

    def telemetry_silent_s(self) -> float:
        """For how long no span, point or log record has come; since the start, if none has."""
        return time.monotonic() - self._heard_s

    def stepped(self, outcomes: Iterable[Outcome], seconds: float) -> None:
        """Take in one step, and what it led to."""
        for outcome in outcomes:
            self._take(outcome)
        self.tallied.timed(seconds)

    def _take(self, outcome: Outcome) -> None:
        tally = outcome.tally
        if tally.spans or tally.points or tally.logs:
            self._heard_s = time.monotonic()
        self.tallied.add(tally)
        self.expired.update(moved.rule for moved in outcome.transitions if moved.reason)
        self.notices.update(notice.status for notice in outcome.notices)

    def saved(self, seconds: float, at_s: float) -> None:
        """A save took that long, and ended then."""
        self._save = (seconds, at_s)

    def health(self) -> list[Metric]:
        """All families but the levels. Quick, and not to be called while the daemon moves: on its event loop."""
        families = [family(name, values) for name, values in (self._counters() | self._gauges()).items()]
        return [*families, self.tallied.steps()]

    def _counters(self) -> dict[str, Values]:
        parts, deliveries = self.parts, self.parts.deliverer.counts
        names = [destination.name for destination in parts.destinations]
        return {
            **self.tallied.counters(),
            "tocsin_pages_total": {(level.rule.name,): level.sums.paged for level in self.levels},
            "tocsin_pages_marked_total": {
                (level.rule.name, kind.value): count
                for level in self.levels
                for kind, count in ((Kind.NOISE, level.sums.noise), (Kind.INCIDENT, level.sums.incident))
            },
            "tocsin_notices_total": {(status.value,): self.notices[status] for status in Status},
            "tocsin_otlp_refused_total": {(reason.value,): parts.door.refused[reason] for reason in Refused},
            "tocsin_connections_closed_total": {
                (server, why.value): connections.closed[why]
                for server, connections in parts.connections.items()
                for why in Closed
            },
            "tocsin_series_refused_total": {(level.rule.name,): level.refused for level in self.levels},
            "tocsin_series_expired_total": {(level.rule.name,): level.expired for level in self.levels},
            "tocsin_alerts_expired_total": {(rule.name,): self.expired[rule.name] for rule in parts.rules.rules},
            "tocsin_rule_failures_total": {
                (rule.name,): parts.pipeline.detect.failed[rule.name] for rule in parts.rules.rules
            },
            "tocsin_clock_gaps_total": {(kind,): parts.clocks.gaps[kind] for kind in KINDS},
            "tocsin_clock_gap_seconds_total": {(kind,): parts.clocks.seconds[kind] for kind in KINDS},
            **of_kafka.counters(parts.kafka),
            **of_agentforce.counters(parts.agentforce),
            "tocsin_weekly_reports_total": {key: float(count) for key, count in parts.weekly.told.items()},
            **of_sessions.counters(parts.sessions),
            **of_writeback.counters(parts.writeback),
            **of_standby.counters(parts.standby),
            **{name: {} for name in OF_OWNERS},
            "tocsin_save_failures_total": {(): self.save_failures},
            "tocsin_state_put_back_total": {(): self.put_back},
            "tocsin_state_parts_lost_total": {(name,): 1 for name in self.parts_lost},
            "tocsin_outbox_write_failures_total": {(): deliveries.unwritten},
            "tocsin_delivery_attempts_total": {(name,): deliveries.attempts[name] for name in names},
            "tocsin_deliveries_total": {(name,): deliveries.delivered[name] for name in names},
            "tocsin_deliveries_retried_total": {(name,): deliveries.retried[name] for name in names},
            "tocsin_deliveries_throttled_total": {(name,): deliveries.throttled[name] for name in names},
            "tocsin_delivery_failures_total": {(n, r.value): deliveries.failed[n, r] for n in names for r in FAILURES},
            "tocsin_deliveries_dead_total": {(n, r.value): deliveries.dead[n, r] for n in names for r in ENDS},
            "tocsin_connection_pools_replaced_total": {(): parts.deliverer.client.replaced},
        }

    def _gauges(self) -> dict[str, Values]:
        parts = self.parts
        watermark_ns, oldest_ns = parts.pipeline.watermark_ns, parts.outbox.oldest_waiting_ns()
        now_ns = parts.now_ns()
        tracked: Values = {(level.rule.name,): float(len(level.labels)) for level in self.levels}
        budgets: Values = {(r.name,): r.budget_per_week for r in parts.rules.rules if r.budget_per_week is not None}
        waited_s = None if oldest_ns is None else max(0.0, (parts.wall_ns() - oldest_ns) / SECOND_NS)
        return {
            **self.tallied.gauges(),
            "tocsin_alerts_suppressed": {key: float(count) for key, count in self.audience.suppressed().items()},
            "tocsin_alerts_acknowledged": {(): float(self.audience.acknowledged)},
            "tocsin_silences": {(state,): float(count) for state, count in self.audience.states().items()},
            "tocsin_sampling_needs": {(reason.value,): float(self.needs.count(reason)) for reason in Need},
            "tocsin_spend_usd_per_hour": self.spend,
            "tocsin_unpriced_ratio": self.unpriced,
            "tocsin_build_info": {(_version(),): 1},
            "tocsin_scanner_info": {(parts.pipeline.decoder.name,): 1},
            "tocsin_telemetry_silent_seconds": {(): self.telemetry_silent_s()},
            "tocsin_watermark_delay_seconds": _if_any(watermark_ns and (now_ns - watermark_ns) / SECOND_NS),
            "tocsin_series": tracked,
            "tocsin_rule_budget_pages_per_week": budgets,
            "tocsin_rule_tail_nats": {(lv.rule.name,): lv.excess for lv in self.levels if math.isfinite(lv.excess)},
            "tocsin_rule_keeps_budget": {
                (lv.rule.name,): float(kept) for lv in self.levels if (kept := keeps_budget(lv)) is not None
            },
            "tocsin_rules_last_reload_successful": {(): float(parts.rule_files.is_current)},
            "tocsin_rules_last_reload_success_timestamp_seconds": {(): parts.rule_files.read_s},
            "tocsin_step_running_seconds": {(): parts.work.running_s()},
            "tocsin_queue_depth": {(): parts.arrivals.qsize()},
            "tocsin_otlp_held_bytes": {(): parts.door.held_bytes},
            "tocsin_connections": {(server,): float(len(all_)) for server, all_ in parts.connections.items()},
            "tocsin_connections_max": {
                (name,): float(all_.connections_max) for name, all_ in parts.connections.items()
            },
            "tocsin_kafka_unread_partition": {(name,): 1.0 for name in parts.pipeline.ingest.waits_for(now_ns)},
            **of_kafka.gauges(parts.kafka),
            **of_agentforce.gauges(parts.agentforce),
            **of_sessions.gauges(parts.sessions),
            "tocsin_kafka_outcomes_lag_records": {(n,): float(lag) for n, lag in parts.told.lag.items()}
            if parts.told
            else {},
            **of_writeback.gauges(parts.writeback),
            **of_standby.gauges(parts.standby),
            **of_sources.gauges([parts.pipeline.ingest], now_ns),
            "tocsin_role_info": {(parts.role,): 1},
            "tocsin_last_save_duration_seconds": _if_any(self._save and self._save[0]),
            "tocsin_last_save_timestamp_seconds": _if_any(self._save and self._save[1]),
            "tocsin_outbox_depth": {key: float(count) for key, count in parts.outbox.counts().items()},
            "tocsin_outbox_oldest_seconds": _if_any(waited_s),
            "tocsin_destination_failing_seconds": {(name,): s for name, s in parts.deliverer.failing_s().items()},
            "tocsin_destination_refusing": {(name,): float(no) for name, no in parts.deliverer.tripped().items()},
        }


def _if_any(value: float | None) -> dict[tuple[str, ...], float]:
    return {} if value is None else {(): value}


def _version() -> str:
    try:
        return version("tocsin")
    except PackageNotFoundError:
        return "unknown"
