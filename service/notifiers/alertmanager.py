"""Prometheus Alertmanager, API v2: each alert by itself, told again as long as it fires, and its end for a while.

Alertmanager groups, silences and routes what it is sent. It forgets an alert that it does not hear of for five minutes
(`resolve_timeout`), and takes the start of an alert for the moment it first hears of it: with an older one it would
notify before the rest of the group has come. So `startsAt` is left to it, and the true beginning is an annotation.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from alertrules.notice import Notice, NoticeAlert
from alertrules.rules import Written
from alertrules.wording import utc
from service.config.setting_types import Section, Token, base_url, revealed
from service.config.setting_types import Words as List
from service.notifiers.notifier import Notifier
from service.notifiers.request import (
    Delivered,
    Habit,
    HttpRequest,
    Outcome,
    Pace,
    Reason,
    Refused,
    host_and_path,
    timestamp,
    unlike,
)

PACE = Pace(per_s=20.0, burst=20)
HABIT = Habit(singly_max=1, keeps_incidents=False, groups_itself=True, again_s=60.0)
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


def _urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        base_url(url)
    return urls


class Settings(Section):
    urls: Annotated[List, AfterValidator(_urls)] = Field(
        (), description="every Alertmanager of a cluster, as http://alertmanager:9093; /api/v2/alerts is added"
    )
    token: Token | None = Field(None, description="bearer token, where a proxy before it asks for one")


class Words(Written):
    """Every Alertmanager of the settings."""


@dataclass(frozen=True)
class Target:
    """One Alertmanager. Each of a cluster is told: they agree among themselves."""

    url: str = field(repr=False)
    token: str = field(default="", repr=False)

    @property
    def identity(self) -> tuple[str, ...]:
        return ("alertmanager", self.url.rstrip("/"))

    @property
    def secrets(self) -> tuple[str, ...]:
        user = re.match(r"https?://([^/@]*)@", self.url)
        return tuple(filter(None, (self.token, user[1] if user else "")))

    @property
    def place(self) -> str:
        return f"Alertmanager at {host_and_path(self.url)[0]}"


def render(notice: Notice, target: Target) -> HttpRequest:
    """Write the notice's alerts as Alertmanager takes them."""
    return _request([_alert(alert, _annotations(alert)) for alert in notice.alerts], target)


def render_least(notice: Notice, target: Target) -> HttpRequest:
    """Write their labels alone: for an Alertmanager that finds one of them malformed."""
    return _request([_alert(alert, {}) for alert in notice.alerts], target)


def outcome(status: int, headers: Mapping[str, str], body: str, now_ns: int) -> Outcome:
    """Read Alertmanager's answer: 200 without a body is its own, and its errors are one JSON string.

    With 400 it has stored those of the alerts that it liked, so the least form goes to all of them once more.
    """
    said = body.strip()[:200]
    if status == 200 and not said:
        return Delivered()
    if status in (400, 422) and said.startswith(('"', "{")):
        return Refused(Reason.MALFORMED, said)
    return unlike(status, headers, said, now_ns)


def _request(alerts: list[dict[str, Any]], target: Target) -> HttpRequest:
    headers = {"Content-Type": "application/json"}
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    url = target.url.rstrip("/") + "/api/v2/alerts"
    return HttpRequest("POST", url, headers, json.dumps(alerts, allow_nan=False).encode())


def _alert(alert: NoticeAlert, annotations: Mapping[str, str]) -> dict[str, Any]:
    written: dict[str, Any] = {"labels": labels(alert), "annotations": annotations}
    if alert.ended_ns:
        written["endsAt"] = timestamp(alert.ended_ns)
    return written


def labels(alert: NoticeAlert) -> dict[str, str]:
    """Name labels as every Alertmanager takes them; `alertname` is the rule.

    >>> labels(NoticeAlert("1", "Slow", "page", (("team.name", "a"), ("tool", "")), "", "", "", 0, 0))
    {'team_name': 'a', 'alertname': 'Slow', 'severity': 'page'}
    """
    named = {_NOT_A_NAME.sub("_", name): value for name, value in alert.labels if value}
    return named | {"alertname": alert.rule, "severity": alert.severity}


def _annotations(alert: NoticeAlert) -> dict[str, str]:
    return alert.annotations() | {"began": utc(alert.began_ns)}


def every(settings: Settings) -> tuple[Target, ...]:
    """Find every Alertmanager that is set."""
    return tuple(Target(url, revealed(settings.token)) for url in settings.urls)


def targets(settings: Settings, words: Words | None) -> tuple[Target, ...]:
    """Lead a receiver to all of them."""
    if words is not None and not settings.urls:
        raise ValueError("alertmanager needs TOCSIN_ALERTMANAGER__URLS")
    return every(settings)


NOTIFIER = Notifier(
    Settings, Words, targets, every, PACE, HABIT, render, render_least, lambda *answer: outcome(*answer[:4])
)
