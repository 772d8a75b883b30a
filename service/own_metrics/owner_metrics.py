"""What an instance of role ingest or sum exports, of the metrics that `catalog.py` declares."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from service.exchange.adding import Adding
from service.exchange.shard import Shard
from service.own_metrics import of_kafka, of_sources
from service.own_metrics.tallied import Tallied, Values, family
from service.runtime.clocks import KINDS, ClockWatch
from service.runtime.watchdog import Watchdog
from service.sources.arrival import Arrivals
from service.sources.kafka import KafkaSource
from service.sources.slots_topic import SlotsTopic

OF_OWNERS = (
    "tocsin_owned_partitions", "tocsin_handovers_total", "tocsin_reports_total", "tocsin_report_bytes_total",
    "tocsin_states_total", "tocsin_state_bytes_total", "tocsin_write_failures_total",
)  # fmt: skip
"""What no other role has."""
FROM_STATE, FROM_BEGINNING, LOST = "state", "beginning", "lost"


class OwnerParts(NamedTuple):
    """The running parts whose state is exported. `owned` gives what is done with each partition that is ours."""

    kafka: KafkaSource
    topic: SlotsTopic
    arrivals: Arrivals
    work: Watchdog
    clocks: ClockWatch
    owned: Callable[[], Sequence[Shard | Adding]]
    role: str
    decoder: str


class OwnerMetrics:
    """Counts what steps say, and turns it into metric families when asked."""

    def __init__(self, parts: OwnerParts) -> None:
        self.parts, self.tallied = parts, Tallied()
        self.handovers = Counter({FROM_STATE: 0, FROM_BEGINNING: 0, LOST: 0})
        self.heard_s = time.monotonic()

    def health(self) -> list[Metric]:
        """All families."""
        parts, written, now_ns = self.parts, self.parts.topic.written, time.time_ns()
        owned = parts.owned()
        shares = [one.merge for one in owned if isinstance(one, Adding)]
        values: dict[str, Values] = {
            **self.tallied.counters(),
            **self.tallied.gauges(),
            **of_kafka.counters(parts.kafka),
            **of_kafka.gauges(parts.kafka),
            "tocsin_build_info": {(version("tocsin"),): 1.0},
            "tocsin_role_info": {(parts.role,): 1.0},
            "tocsin_scanner_info": {(parts.decoder,): 1.0},
            "tocsin_telemetry_silent_seconds": {(): time.monotonic() - self.heard_s},
            "tocsin_step_running_seconds": {(): parts.work.running_s()},
            "tocsin_queue_depth": {(): float(parts.arrivals.qsize())},
            "tocsin_clock_gaps_total": {(kind,): float(parts.clocks.gaps[kind]) for kind in KINDS},
            "tocsin_clock_gap_seconds_total": {(kind,): parts.clocks.seconds[kind] for kind in KINDS},
            "tocsin_owned_partitions": {(): float(len(owned))},
            "tocsin_kafka_unread_partition": {(name,): 1.0 for one in shares for name in one.waits_for(now_ns)},
            **of_sources.gauges(shares, now_ns),
            "tocsin_handovers_total": {(how,): float(count) for how, count in self.handovers.items()},
            "tocsin_reports_total": {(): float(written.reports)},
            "tocsin_report_bytes_total": {(): float(written.report_bytes)},
            "tocsin_states_total": {(): float(written.states)},
            "tocsin_state_bytes_total": {(): float(written.state_bytes)},
            "tocsin_write_failures_total": {(): float(written.failures)},
        }
        return [*(family(name, each) for name, each in values.items()), self.tallied.steps()]
