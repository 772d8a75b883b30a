"""What is exported of Agentforce; nothing but names where it is not read."""

from service.own_metrics.tallied import Values
from service.sources.agentforce_api import OF_SESSION, Why
from service.sources.agentforce_poll import AgentforceSource


def counters(source: AgentforceSource | None) -> dict[str, Values]:
    """By metric."""
    return {
        "tocsin_agentforce_polls_total": {(r,): source.polls[r] for r in ("ok", "failed")} if source else {},
        "tocsin_agentforce_request_failures_total": {(w.value,): source.failures[w] for w in Why} if source else {},
        "tocsin_agentforce_sessions_total": {(): source.sessions} if source else {},
        "tocsin_agentforce_sessions_lost_total": {(w.value,): source.lost[w] for w in OF_SESSION} if source else {},
        "tocsin_agentforce_spans_total": {(): source.spans} if source else {},
        "tocsin_agentforce_spans_late_total": {(): source.late} if source else {},
    }


def gauges(source: AgentforceSource | None) -> dict[str, Values]:
    """By metric."""
    return {
        "tocsin_agentforce_delay_seconds": {(): source.delay_s()} if source else {},
        "tocsin_agentforce_sessions_waiting": {(): float(source.waiting)} if source else {},
    }
