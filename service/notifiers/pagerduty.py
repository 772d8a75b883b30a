"""PagerDuty Events API v2: a group of alerts is one incident, triggered and resolved by one dedup key."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from alertrules.notice import Notice, Status
from alertrules.rules import Name, Written
from service.config.setting_types import RoutingKey, Secret, Section, Url, named
from service.notifiers.notifier import Notifier
from service.notifiers.pagerduty_webhook import INBOUND
from service.notifiers.request import (
    Delivered,
    Habit,
    HttpRequest,
    Outcome,
    Pace,
    Reason,
    Refused,
    host_and_path,
    json_object,
    timestamp,
    unlike,
)

PACE = Pace(per_s=1.9, burst=5)  # With its burst within the 120 a minute that one key may send.
HABIT = Habit(singly_max=100, keeps_incidents=True)
SUMMARY_MAX = 1024
EVENT_BYTES_MAX = 512_000

_SEVERITIES = {"critical": "critical", "page": "critical", "error": "error", "warning": "warning", "info": "info"}
_FIELDS = re.compile(
    r"\b(payload|summary|source|severity|dedup_key|timestamp|event_action|custom_details|component|class|group|links"
    r"|images|client|client_url|json|too (large|big|long)|format)\b",
    re.IGNORECASE,
)
"""Words of an error about the event itself: names of its fields, or its form as a whole."""
_KEY = re.compile("(routing|service|integration)[ _]?key", re.IGNORECASE)


class Settings(Section):
    routing_key: RoutingKey | None = Field(None, description="integration key of an Events API v2 service")
    routing_keys: dict[str, RoutingKey] = Field(
        {}, description="keys of further services, for receivers that say `key: NAME`"
    )
    url: Url = Field("https://events.pagerduty.com", description="base URL; /v2/enqueue is added")
    webhook_secret: Secret | None = Field(
        None, description="secret of a webhook subscription: /api/v1/pagerduty/webhook takes acknowledgements then"
    )


class Words(Written):
    """A page to a service: that of the settings' key, or of the key that has this name there."""

    key: Name | None = None


@dataclass(frozen=True)
class Target:
    """A service's integration key, and the region's base URL."""

    routing_key: str = field(repr=False)
    base_url: str = "https://events.pagerduty.com"

    @property
    def identity(self) -> tuple[str, ...]:
        return ("pagerduty", self.base_url.rstrip("/"), self.routing_key)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.routing_key,)

    @property
    def place(self) -> str:
        """For people: where it is, and nothing secret."""
        return f"PagerDuty at {host_and_path(self.base_url)[0]}"


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
    """What PagerDuty's answer means. 202 is taken in, which is not yet an incident.

    Only its own 202 is a delivery, and only its own 400 about the event is final. One about the routing key is about no
    event: that of a service that was deleted, whose key may be put right.
    """
    answer = json_object(body)
    said = _said(answer, body)
    if status == 202 and answer.get("status") == "success" and isinstance(answer.get("dedup_key"), str):
        return Delivered()
    errors = answer.get("errors")
    if status == 400 and isinstance(errors, list) and errors:
        if any(_KEY.search(str(error)) for error in errors):
            return Refused(Reason.CREDENTIAL, said)
        if any(_FIELDS.search(str(error)) for error in errors):
            return Refused(Reason.MALFORMED, said)
    return unlike(status, headers, said, now_ns)


def _request(notice: Notice, target: Target, details: Mapping[str, Any]) -> HttpRequest:
    labels = dict(notice.labels)
    event: dict[str, Any] = {
        "routing_key": target.routing_key,
        "event_action": "resolve" if notice.status in (Status.RESOLVED, Status.OVER) else "trigger",
        "dedup_key": notice.group,
        "payload": {
            "summary": _summary(notice),
            "source": labels.get("agent") or "tocsin",
            "severity": _SEVERITIES.get(notice.severity, "error"),
            "timestamp": timestamp(notice.at_ns),
            "class": notice.rule,
            "custom_details": details,
        },
        "client": "Tocsin",
    }
    if tenant := labels.get("tenant"):
        event["payload"]["group"] = tenant
    links = [("Runbook", notice.runbook)] if notice.runbook else []
    links += [(name.capitalize(), address) for name, address in notice.links]
    if links:
        event["links"] = [{"href": address, "text": name} for name, address in links]
    headers = {"Content-Type": "application/json"}
    url = target.base_url.rstrip("/") + "/v2/enqueue"
    return HttpRequest("POST", url, headers, json.dumps(event, allow_nan=False).encode())


def _of_first(notice: Notice) -> dict[str, Any]:
    """The cause, the trend and the traces of a notice's first alert, as far as they are known."""
    if not notice.alerts:
        return {}
    first = notice.alerts[0]
    told: dict[str, Any] = {"cause": first.cause, "trend of two hours": first.trend, "traces": dict(first.examples)}
    return {name: value for name, value in told.items() if value}


def _details(notice: Notice) -> dict[str, Any]:
    return {
        "status": notice.status.value,
        "changed": list(notice.lines),
        **_of_first(notice),
        **({"description": notice.description} if notice.description else {}),
        "labels": dict(notice.labels),
        "began": timestamp(notice.began_ns),
        "alerts": list(notice.alert_ids),
    }


def _summary(notice: Notice) -> str:
    """At most 1024 code points: a longer one is refused, and the page with it."""
    text = f"Still firing after 24 h: {notice.title}" if notice.status is Status.STILL_FIRING else notice.title
    text = text or notice.rule
    return text if len(text) <= SUMMARY_MAX else text[: SUMMARY_MAX - 1] + "…"


def _said(answer: Mapping[str, Any], body: str) -> str:
    """PagerDuty's own words for what is wrong, else how the answer begins."""
    errors = answer.get("errors")
    words = "; ".join(map(str, errors)) if isinstance(errors, list) else str(answer.get("message", ""))
    return (words or body.strip())[:200]


def targets(settings: Settings, words: Words | None) -> tuple[Target, ...]:
    """Lead a receiver's words to a service's key."""
    key = settings.routing_key
    if words and words.key:
        key = named(settings.routing_keys, words.key, "pagerduty needs TOCSIN_PAGERDUTY__ROUTING_KEYS")
    if key is None and words is not None:
        raise ValueError("pagerduty needs TOCSIN_PAGERDUTY__ROUTING_KEY (or …_FILE)")
    return (Target(key.get_secret_value(), settings.url),) if key else ()


def every(settings: Settings) -> tuple[Target, ...]:
    """Find every key that is set."""
    keys = [settings.routing_key, *settings.routing_keys.values()]
    return tuple(Target(key.get_secret_value(), settings.url) for key in keys if key)


NOTIFIER = Notifier(
    Settings, Words, targets, every, PACE, HABIT, render, render_least, lambda *answer: outcome(*answer[:4]), INBOUND
)
