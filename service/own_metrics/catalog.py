"""Every metric that Tocsin exports, declared once: levels of the rules' series, and its own health.

Series are bounded by the rules' `series_max`; every other label has a closed or bounded set of values.
"""

from dataclasses import dataclass

from detectors.core.columns import CELL_LABELS
from detectors.core.descriptor import modules

SERIES = ("rule", *CELL_LABELS)
"""Labels of every level; those that a rule does not group by are empty."""


@dataclass(frozen=True)
class Declared:
    """One metric: its type as Prometheus calls it, its labels, its help text."""

    type: str
    labels: tuple[str, ...]
    help: str


def levels() -> dict[str, Declared]:
    """The metrics of the detectors' gauges, as each detector describes its own."""
    found: dict[str, Declared] = {}
    for described in modules().values():
        for gauge in described.gauges.values():
            more = (gauge.label[0],) if gauge.label else ()
            found.setdefault(gauge.metric, Declared("gauge", (*SERIES, *more), gauge.help))
    return found


HEALTH = {
    "tocsin_alert_state": Declared("gauge", (*SERIES, "state"), "1 for the state that an open alert is in."),
    "tocsin_alerts_suppressed": Declared(
        "gauge",
        ("receiver", "state"),
        "Alerts that fire and of which the receiver is not told now: silenced, inhibited, or muted by the hour.",
    ),
    "tocsin_alerts_acknowledged": Declared("gauge", (), "Alerts that fire and that somebody has acknowledged."),
    "tocsin_silences": Declared("gauge", ("state",), "Silences: pending, active, or expired of late."),
    "tocsin_sampling_needs": Declared(
        "gauge", ("reason",), "Agents of which the sampling policy wants more now, by why; all of them count as one."
    ),
    "tocsin_spend_usd_per_hour": Declared(
        "gauge", ("tenant", "agent"), "Dollars of priced calls an hour, over about the last hour."
    ),
    "tocsin_unpriced_ratio": Declared(
        "gauge", ("tenant", "agent"), "Share of calls of models without a known price, over about the last hour."
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
    "tocsin_sessions_named_total": Declared(
        "counter", ("agent",), "Sessions that a span named: an audit record with that name can be joined to them."
    ),
    "tocsin_sessions_recorded_total": Declared("counter", (), "Legs of sessions that were written to the record."),
    "tocsin_sessions_unrecorded_total": Declared(
        "counter", ("reason",), "Legs of sessions that are not in the record, or not any more, before their time."
    ),
    "tocsin_weekly_reports_total": Declared(
        "counter", ("destination", "result"), "Weekly reports that were delivered, or failed for a day."
    ),
    "tocsin_late_outcomes_total": Declared(
        "counter", ("result",), "Outcomes of sessions that came late, by what became of them."
    ),
    "tocsin_session_write_failures_total": Declared("counter", (), "Writes to the record of sessions that failed."),
    "tocsin_writeback_written_total": Declared(
        "counter", (), "Outcomes, and signs of bad ends, written back as a span and an event."
    ),
    "tocsin_writeback_failures_total": Declared("counter", (), "Tries to write back that failed."),
    "tocsin_writeback_dropped_total": Declared("counter", ("reason",), "What was given up without being written back."),
    "tocsin_writeback_waiting": Declared("gauge", (), "Outcomes, and signs of bad ends, that wait to be written back."),
    "tocsin_session_records": Declared("gauge", (), "Legs of sessions in the record."),
    "tocsin_values_cut_total": Declared(
        "counter", ("agent",), "Calls with a name or id of more than 200 characters, which was cut there."
    ),
    "tocsin_failed_calls_total": Declared(
        "counter", ("agent", "error"), "Calls that failed, by the type of their error as far as they tell it."
    ),
    "tocsin_overflowed_total": Declared("counter", ("agent",), "Calls and sessions counted under _other."),
    "tocsin_priced_calls_total": Declared("counter", ("source",), "Calls with tokens, by where their cost comes from."),
    "tocsin_priced_metric_tokens_total": Declared(
        "counter",
        ("source",),
        "Tokens of metrics whose cost nobody states, by where it comes from.",
    ),
    "tocsin_weighted_calls_total": Declared("counter", (), "Calls counted with a sampling weight other than one."),
    "tocsin_leaf_tokens_ratio": Declared(
        "gauge", (), "Tokens of calls over what the wrappers above them stated; 1 where they agree."
    ),
    "tocsin_unexplained_tokens_total": Declared(
        "counter",
        ("scope",),
        "Tokens by which totals of spans differ from all that their parts could add up to, by who wrote the spans.",
    ),
    "tocsin_metric_saturated_total": Declared(
        "counter", ("metric",), "Values over the last bound of their histogram: how large they were is not known."
    ),
    "tocsin_step_seconds": Declared("histogram", (), "How long a step of the pipeline takes."),
    "tocsin_step_running_seconds": Declared(
        "gauge", (), "For how long the step or save under way has been running; 0 between them."
    ),
    "tocsin_telemetry_silent_seconds": Declared(
        "gauge", (), "For how long no span, point or log record has come, from anywhere."
    ),
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
    "tocsin_rules_last_reload_successful": Declared(
        "gauge", (), "1 while the rules in use are those of the files as they were last read, 0 where those are wrong."
    ),
    "tocsin_rules_last_reload_success_timestamp_seconds": Declared(
        "gauge", (), "When the rules in use were read, in Unix time."
    ),
    "tocsin_queue_depth": Declared("gauge", (), "Bodies and fetches that wait to be read."),
    "tocsin_otlp_refused_total": Declared("counter", ("reason",), "OTLP/HTTP requests turned away unread."),
    "tocsin_otlp_held_bytes": Declared("gauge", (), "Bytes of OTLP/HTTP bodies being sent or waiting to be read."),
    "tocsin_connections": Declared("gauge", ("server",), "Connections of senders and of those who ask."),
    "tocsin_connections_max": Declared("gauge", ("server",), "Connections that may be, by the limit of open files."),
    "tocsin_connections_closed_total": Declared(
        "counter", ("server", "reason"), "Connections that were cut: they were too slow, idle, or too many."
    ),
    "tocsin_kafka_lag_records": Declared("gauge", ("partition",), "Records not read yet."),
    "tocsin_kafka_outcomes_lag_records": Declared("gauge", ("partition",), "Outcomes not read yet."),
    "tocsin_kafka_silent_seconds": Declared("gauge", (), "For how long no Kafka broker has answered."),
    "tocsin_alerts_expired_total": Declared(
        "counter", ("rule",), "Alerts closed because nothing of their series came any more, while others spoke."
    ),
    "tocsin_rule_failures_total": Declared(
        "counter", ("rule",), "How often a rule's detector failed by a bug, and began to learn anew."
    ),
    "tocsin_foreign_bodies_total": Declared(
        "counter", ("source", "looks_like"), "Bodies of a topic or door that hold no OTLP, by what they look like."
    ),
    "tocsin_snake_case_bodies_total": Declared(
        "counter", ("source",), "Bodies in JSON that were read although their names have underscores."
    ),
    "tocsin_clock_gaps_total": Declared(
        "counter", ("kind",), "How often the process stood still, or the wall clock was put forward or back."
    ),
    "tocsin_clock_gap_seconds_total": Declared("counter", ("kind",), "How long these gaps were together."),
    "tocsin_kafka_partitions_elsewhere": Declared(
        "gauge", (), "Partitions that another member of the group reads: each of both sees a part of every agent."
    ),
    "tocsin_kafka_lost_records_total": Declared(
        "counter", ("topic",), "Records that Kafka deleted before they were read."
    ),
    "tocsin_kafka_topic_missing": Declared(
        "gauge", ("topic",), "1 for a topic of the settings that there is not, or that our user may not read."
    ),
    "tocsin_kafka_unread_partition": Declared(
        "gauge",
        ("partition",),
        "1 for a partition that could not be read to its end of late, or that nobody reports; event time waits for it.",
    ),
    "tocsin_role_info": Declared(
        "gauge", ("role",), "1, for what this instance does: `all`, `ingest`, `sum` or `detect`."
    ),
    "tocsin_slot_repeats_total": Declared(
        "counter", (), "Parts of slots that were reported before, by the same or another owner of their partition."
    ),
    "tocsin_slot_gaps_total": Declared(
        "counter", (), "Reports before which another one is missing: what it counted counts nowhere."
    ),
    "tocsin_source_delay_seconds": Declared(
        "gauge", ("partition",), "How far event time of a source partition lies behind the clock, as it is reported."
    ),
    "tocsin_source_silent_seconds": Declared(
        "gauge", ("partition",), "For how long no ingest instance has reported a source partition."
    ),
    "tocsin_leading": Declared(
        "gauge", (), "1 while this instance of role detect leads, 0 while it stands by; nothing where none stands by."
    ),
    "tocsin_takeovers_total": Declared(
        "counter",
        ("from",),
        "Times that this instance began to lead: from the `state` that another left, from its own `directory`, or from "
        "that as the state was `lost`.",
    ),
    "tocsin_lead_state_timestamp_seconds": Declared(
        "gauge", (), "When the state was written from which whoever leads next would go on."
    ),
    "tocsin_lead_states_total": Declared("counter", (), "States that were written for whoever leads next."),
    "tocsin_lead_state_bytes_total": Declared("counter", (), "Bytes of these states, before compression."),
    "tocsin_lead_state_failures_total": Declared("counter", (), "Such states that could not be written."),
    "tocsin_told_records_total": Declared(
        "counter", (), "Records of what was told, and of what people said, for whoever leads next."
    ),
    "tocsin_told_record_failures_total": Declared(
        "counter", (), "Times that such records could not be written; they are tried again."
    ),
    "tocsin_owned_partitions": Declared("gauge", (), "Partitions that this instance of role ingest or sum owns."),
    "tocsin_handovers_total": Declared(
        "counter",
        ("from",),
        "Source partitions that were begun: from their `state`, from their `beginning`, or from an offset whose state "
        "is `lost`.",
    ),
    "tocsin_reports_total": Declared("counter", (), "Reports of slots that were written to Kafka."),
    "tocsin_report_bytes_total": Declared("counter", (), "Bytes of these reports, before compression."),
    "tocsin_states_total": Declared("counter", (), "States of source partitions that were written to Kafka."),
    "tocsin_state_bytes_total": Declared("counter", (), "Bytes of these states, before compression."),
    "tocsin_write_failures_total": Declared(
        "counter", (), "Writes to Kafka that failed; nothing more is read until one works."
    ),
    "tocsin_kafka_tombstones_total": Declared("counter", (), "Kafka records without a value."),
    "tocsin_kafka_stuck_total": Declared(
        "counter", ("topic",), "Consumers that were made anew as a partition was not read although its log went on."
    ),
    "tocsin_kafka_restarts_total": Declared("counter", (), "Kafka consumers that failed and were replaced."),
    "tocsin_agentforce_polls_total": Declared("counter", ("result",), "Polls of Agentforce, `ok` or `failed`."),
    "tocsin_agentforce_request_failures_total": Declared(
        "counter", ("reason",), "Requests to Agentforce's org that failed, by why."
    ),
    "tocsin_agentforce_sessions_total": Declared("counter", (), "Sessions of Agentforce that were read."),
    "tocsin_agentforce_sessions_lost_total": Declared(
        "counter", ("reason",), "Sessions of Agentforce that could not be read in time, by why."
    ),
    "tocsin_agentforce_sessions_waiting": Declared(
        "gauge", (), "Sessions of Agentforce whose spans wait for those that may lie beside them."
    ),
    "tocsin_agentforce_spans_total": Declared("counter", (), "Spans of Agentforce that were passed on."),
    "tocsin_agentforce_spans_late_total": Declared(
        "counter", (), "Spans of Agentforce that came after event time had passed them, or again after a restart."
    ),
    "tocsin_agentforce_delay_seconds": Declared("gauge", (), "How far behind now Agentforce is read."),
    "tocsin_last_save_duration_seconds": Declared("gauge", (), "How long the last save took."),
    "tocsin_last_save_timestamp_seconds": Declared("gauge", (), "When state was last saved, in Unix time."),
    "tocsin_save_failures_total": Declared("counter", (), "Saves that failed; nothing is read until one works."),
    "tocsin_state_parts_lost_total": Declared(
        "counter",
        ("part",),
        "Parts of the saved state that could not be read at the start, as a newer version wrote them.",
    ),
    "tocsin_state_put_back_total": Declared(
        "counter", (), "How often files of state, deleted or replaced while in use, were written anew in place."
    ),
    "tocsin_outbox_depth": Declared("gauge", ("destination", "state"), "Deliveries in the outbox."),
    "tocsin_outbox_oldest_seconds": Declared("gauge", (), "For how long the oldest waiting delivery has waited."),
    "tocsin_outbox_write_failures_total": Declared("counter", (), "Outcomes of deliveries that could not be written."),
    "tocsin_delivery_attempts_total": Declared("counter", ("destination",), "Attempts to tell a destination."),
    "tocsin_deliveries_total": Declared("counter", ("destination",), "Deliveries that a destination took."),
    "tocsin_deliveries_retried_total": Declared("counter", ("destination",), "Attempts that will be repeated."),
    "tocsin_deliveries_throttled_total": Declared("counter", ("destination",), "Attempts it found to be too many."),
    "tocsin_delivery_failures_total": Declared(
        "counter", ("destination", "reason"), "Attempts that a destination did not take, by why."
    ),
    "tocsin_deliveries_dead_total": Declared("counter", ("destination", "reason"), "Deliveries given up."),
    "tocsin_destination_refusing": Declared(
        "gauge", ("destination",), "1 where a destination refuses everything: look at its key or hook."
    ),
    "tocsin_destination_failing_seconds": Declared(
        "gauge", ("destination",), "For how long a destination has taken nothing of what it is sent; 0 while it does."
    ),
    "tocsin_connection_pools_replaced_total": Declared("counter", (), "Pools of connections that had gone mute."),
}
LEVELS = levels()
DECLARED = LEVELS | HEALTH
