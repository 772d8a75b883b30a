"""PagerDuty Events API v2: a group of alerts is one incident, triggered and resolved by one dedup key."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from alertrules.notice import Notice, Status
from detectors.core.columns import SECOND_NS
from service.notifiers.request import Delivered, HttpRequest, Outcome, Pace, Reason, Refused, Retry, retry_after_s

PACE = Pace(per_s=1.9, burst=5)  # With its burst within the 120 a minute that one key may send.
SUMMARY_MAX = 1024
EVENT_BYTES_MAX = 512_000
_THROTTLED_S = 30.0  # PagerDuty asks for tries half a minute apart, and sends no Retry-After.

_SEVERITIES = {"critical": "critical", "page": "critical", "error": "error", "warning": "warning", "info": "info"}
_STATUS_REASONS = {400: Reason.MALFORMED, 401: Reason.CREDENTIAL, 403: Reason.CREDENTIAL, 404: Reason.GONE}
_STATUS_REASONS |= {410: Reason.GONE, 413: Reason.MALFORMED}


@dataclass(frozen=True)
class Target:
    """A service's integration key, and the region's base URL."""

    routing_key: str = field(repr=False)
    base_url: str = "https://events.pagerduty.com"


def render(notice: Notice, target: Target) -> HttpRequest:
    """A trigger while anything of the group fires, a resolve once nothing does; both carry what is known."""
    request = _request(notice, target, _details(notice))
    if len(request.body) <= EVENT_BYTES_MAX:
        return request
    return _request(notice, target, {"left out": "the details were over PagerDuty's 512 KB"})


def render_least(notice: Notice, target: Target) -> HttpRequest:
    """The same without details: for a PagerDuty that finds the event malformed."""
    return _request(notice, target, {})


def outcome(status: int, headers: Mapping[str, str], body: str, now_ns: int) -> Outcome:
    """What PagerDuty's answer means. 202 is taken in, which is not yet an incident."""
    if 200 <= status < 300:
        return Delivered()
    said = _said(body)
    if status == 429:
        asked = retry_after_s(headers, now_ns)
        return Retry(_THROTTLED_S if asked is None else asked, throttled=True, said=said)
    if reason := _STATUS_REASONS.get(status):
        return Refused(reason, said)
    if status >= 500 or 300 <= status < 400 or status in (408, 425):
        return Retry(retry_after_s(headers, now_ns), throttled=False, said=said)
    return Refused(Reason.UNEXPECTED, said)


def _request(notice: Notice, target: Target, details: Mapping[str, Any]) -> HttpRequest:
    labels = dict(notice.labels)
    event: dict[str, Any] = {
        "routing_key": target.routing_key,
        "event_action": "resolve" if notice.status is Status.RESOLVED else "trigger",
        "dedup_key": notice.group,
        "payload": {
            "summary": _summary(notice),
            "source": labels.get("agent") or "tocsin",
            "severity": _SEVERITIES.get(notice.severity, "error"),
            "timestamp": _timestamp(notice.at_ns),
            "class": notice.rule,
            "custom_details": details,
        },
        "client": "Tocsin",
    }
    if tenant := labels.get("tenant"):
        event["payload"]["group"] = tenant
    if notice.runbook:
        event["links"] = [{"href": notice.runbook, "text": "Runbook"}]
    headers = {"Content-Type": "application/json"}
    url = target.base_url.rstrip("/") + "/v2/enqueue"
    return HttpRequest("POST", url, headers, json.dumps(event, allow_nan=False).encode())


def _details(notice: Notice) -> dict[str, Any]:
    return {
        "status": notice.status.value,
        "changed": list(notice.lines),
        "labels": dict(notice.labels),
        "began": _timestamp(notice.began_ns),
        "alerts": list(notice.alert_ids),
    }


def _summary(notice: Notice) -> str:
    """At most 1024 code points: a longer one is refused, and the page with it."""
    text = f"Still firing after 24 h: {notice.title}" if notice.status is Status.STILL_FIRING else notice.title
    text = text or notice.rule
    return text if len(text) <= SUMMARY_MAX else text[: SUMMARY_MAX - 1] + "…"


def _timestamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).isoformat()


def _said(body: str) -> str:
    """PagerDuty's own words for what is wrong."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body.strip()[:200]
    if not isinstance(answer, dict):
        return ""
    errors = answer.get("errors")
    return str("; ".join(map(str, errors)) if isinstance(errors, list) else answer.get("message", ""))[:200]
