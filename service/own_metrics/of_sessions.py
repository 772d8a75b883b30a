"""What is exported of the record of sessions; nothing but names where there is none."""

from service.ledger.late import Result
from service.ledger.sessions import Sessions
from service.own_metrics.tallied import Values

UNRECORDED = ("full", "unwritten", "untold")


def counters(sessions: Sessions | None) -> dict[str, Values]:
    """By metric."""
    return {
        "tocsin_sessions_recorded_total": {(): sessions.written} if sessions else {},
        "tocsin_sessions_unrecorded_total": {(why,): sessions.dropped[why] for why in UNRECORDED} if sessions else {},
        "tocsin_late_outcomes_total": {(result.value,): sessions.late[result] for result in Result} if sessions else {},
        "tocsin_session_write_failures_total": {(): sessions.failures} if sessions else {},
    }


def gauges(sessions: Sessions | None) -> dict[str, Values]:
    """By metric."""
    return {"tocsin_session_records": {(): float(sessions.rows)} if sessions else {}}
