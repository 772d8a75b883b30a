"""A webhook that takes Alertmanager's payload, version 4: what receives that from an Alertmanager takes it from us.

With a secret each body is signed: `X-Tocsin-Signature: sha256=…`, the HMAC-SHA256 of the body in hex digits.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from alertrules.notice import Notice, NoticeAlert, Status
from alertrules.rules import Name, Written
from service.config.setting_types import Hook, Section, Token, named, revealed
from service.notifiers.notifier import Notifier
from service.notifiers.request import Delivered, Habit, HttpRequest, Outcome, Pace, host_and_path, timestamp, unlike

PACE = Pace(per_s=10.0, burst=20)
HABIT = Habit(singly_max=100, keeps_incidents=True)
OPEN = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of what has not ended."""


class Settings(Section):
    url: Hook | None = Field(None, description="where to post Alertmanager's payload, version 4")
    urls: dict[str, Hook] = Field({}, description="further places, for receivers that say `to: NAME`")
    secret: Token | None = Field(None, description="key of the signature that every body has; without one, none")


class Words(Written):
    """A post to the settings' URL, or to the one that has this name there."""

    to: Name | None = None


@dataclass(frozen=True)
class Target:
    """One place that takes posts."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)

    @property
    def identity(self) -> tuple[str, ...]:
        return ("webhook", self.url)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.url, self.secret, host_and_path(self.url)[1].strip("/"))))

    @property
    def place(self) -> str:
        return f"a webhook at {host_and_path(self.url)[0]}"


def render(notice: Notice, target: Target) -> HttpRequest:
    """Write the notice as Alertmanager would its group."""
    return _request(notice, target, [_alert(alert) for alert in notice.alerts])


def render_least(notice: Notice, target: Target) -> HttpRequest:
    """Write the group alone: for a receiver that finds the whole malformed."""
    return _request(notice, target, [])


def outcome(status: int, headers: Mapping[str, str], body: str, now_ns: int) -> Outcome:
    """Read an answer: any 2xx is a delivery, as webhooks have no answer of their own; nothing else is final."""
    return Delivered() if 200 <= status < 300 else unlike(status, headers, body.strip()[:200], now_ns)


def _request(notice: Notice, target: Target, alerts: list[dict[str, Any]]) -> HttpRequest:
    over = notice.status not in (Status.FIRING, Status.STILL_FIRING)
    body = json.dumps(
        {
            "version": "4",
            "groupKey": notice.group,
            "truncatedAlerts": 0,
            "status": "resolved" if over else "firing",
            "receiver": notice.receiver,
            "groupLabels": dict(notice.labels),
            "commonLabels": {**dict(notice.labels), "alertname": notice.rule, "severity": notice.severity},
            "commonAnnotations": {"summary": notice.title},
            "externalURL": "",
            "alerts": alerts,
        },
        allow_nan=False,
    ).encode()
    headers = {"Content-Type": "application/json"}
    if target.secret:
        digest = hmac.new(target.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Tocsin-Signature"] = f"sha256={digest}"
    return HttpRequest("POST", target.url, headers, body)


def _alert(alert: NoticeAlert) -> dict[str, Any]:
    return {
        "status": "resolved" if alert.ended_ns else "firing",
        "labels": {**dict(alert.labels), "alertname": alert.rule, "severity": alert.severity},
        "annotations": alert.annotations(),
        "startsAt": timestamp(alert.began_ns),
        "endsAt": timestamp(alert.ended_ns) if alert.ended_ns else OPEN,
        "generatorURL": "",
        "fingerprint": alert.alert_id[:16],
    }


def targets(settings: Settings, words: Words | None) -> tuple[Target, ...]:
    """Lead a receiver's words to a URL."""
    url = settings.url
    if words and words.to:
        url = named(settings.urls, words.to, "webhook needs TOCSIN_WEBHOOK__URLS")
    if url is None and words is not None:
        raise ValueError("webhook needs TOCSIN_WEBHOOK__URL (or …_FILE)")
    return (_target(settings, url),) if url else ()


def every(settings: Settings) -> tuple[Target, ...]:
    """Find every URL that is set."""
    return tuple(_target(settings, url) for url in (settings.url, *settings.urls.values()) if url)


def _target(settings: Settings, url: Any) -> Target:
    return Target(url.get_secret_value(), revealed(settings.secret))


NOTIFIER = Notifier(
    Settings, Words, targets, every, PACE, HABIT, render, render_least, lambda *answer: outcome(*answer[:4])
)
