"""What is exported of a Kafka consumer, in either role that has one."""

from service.own_metrics.tallied import Values
from service.sources.kafka import KafkaSource


def counters(kafka: KafkaSource | None) -> dict[str, Values]:
    """By metric; nothing but their names where Kafka is not read."""
    return {
        "tocsin_kafka_lost_records_total": {(n,): kafka.lost[n] for n in kafka.topics.names} if kafka else {},
        "tocsin_kafka_stuck_total": {(n,): kafka.progress.made_anew[n] for n in kafka.topics.names} if kafka else {},
        "tocsin_kafka_tombstones_total": {(): kafka.empty if kafka else 0},
        "tocsin_kafka_restarts_total": {(): kafka.restarts if kafka else 0},
    }


def gauges(kafka: KafkaSource | None) -> dict[str, Values]:
    """By metric; nothing but their names where Kafka is not read."""
    unread = (*kafka.topics.missing, *kafka.topics.forbidden) if kafka else ()
    missing: Values = {(n,): float(n in unread) for n in kafka.topics.names} if kafka else {}
    return {
        "tocsin_kafka_lag_records": {(n,): lag for n, lag in (kafka.lag() if kafka else {}).items()},
        "tocsin_kafka_topic_missing": missing,
        "tocsin_kafka_partitions_elsewhere": {(): float(kafka.elsewhere.count)} if kafka else {},
        "tocsin_kafka_silent_seconds": {(): kafka.silent_s()} if kafka else {},
    }
