"""What is exported of instances of role detect of which one leads; nothing but names where nobody stands by."""

from typing import NamedTuple

from service.own_metrics.tallied import Values
from service.standby.leading import Counts
from service.standby.lease import Lease


class Standby(NamedTuple):
    """What a process knows of its standing."""

    lease: Lease
    counts: Counts


def counters(standby: Standby | None) -> dict[str, Values]:
    """By metric."""
    counts = standby.counts if standby else None
    return {
        "tocsin_takeovers_total": {(how,): float(count) for how, count in counts.takeovers.items()} if counts else {},
        "tocsin_told_records_total": {(): float(counts.records)} if counts else {},
        "tocsin_told_record_failures_total": {(): float(counts.record_failures)} if counts else {},
        "tocsin_lead_states_total": {(): float(counts.states)} if counts else {},
        "tocsin_lead_state_bytes_total": {(): float(counts.state_bytes)} if counts else {},
        "tocsin_lead_state_failures_total": {(): float(counts.state_failures)} if counts else {},
    }


def gauges(standby: Standby | None) -> dict[str, Values]:
    """By metric. Only who leads for sure at this moment says so."""
    lease = standby.lease if standby else None
    return {
        "tocsin_leading": {(): float(lease.is_confirmed())} if lease else {},
        "tocsin_lead_state_timestamp_seconds": {(): lease.standing.at_s} if lease and lease.standing.at_s else {},
    }
