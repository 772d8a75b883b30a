"""Links of a page, from templates that the operator sets: to the trace, the dashboard, the alert, and a silence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import Formatter
from urllib.parse import quote

from alertrules.notice import Notice, NoticeAlert

BEFORE_NS, MS_NS = 3600 * 1_000_000_000, 1_000_000
"""How long before an alert began its dashboard begins; a millisecond."""
WORDS = ("agent", "tenant", "rule", "severity", "alert_id", "from_ms", "to_ms", "labels")
"""What a template may have in braces; one for traces has `trace_id` besides."""
LINK_LENGTH_MAX = 2000


@dataclass(frozen=True)
class Links:
    """Templates of addresses, each empty where the operator set none."""

    trace: str = ""
    dashboard: str = ""
    alert: str = ""
    runbook: str = ""
    silence: str = ""


NO_LINKS = Links()


def template(text: str, words: tuple[str, ...]) -> str:
    """The template, if it can be filled in. Raises ValueError saying what was read and what is expected.

    >>> template("https://traces.example.com/{trace_id}", ("trace_id",))
    'https://traces.example.com/{trace_id}'
    """
    known = ", ".join(f"{{{word}}}" for word in words)
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError(f"a brace is not closed; write one of {known}") from None
    for _, word, spec, conversion in parts:
        if word is not None and (word not in words or spec or conversion):
            raise ValueError(f'"{{{word[:40]}}}" is not filled in; write one of {known}')
    if len(text) > LINK_LENGTH_MAX or not re.fullmatch(r"https?://[^\s<>|\"\\^`]+", text):
        raise ValueError(f"is not a link; write https://example.com/… with {known}")
    return text


def trace_link(links: Links, trace_id: str) -> str:
    """Where a trace is shown; empty where the operator set no link."""
    return _filled(links.trace, {"trace_id": trace_id}) if links.trace else ""


def linked(notice: Notice, links: Links) -> Notice:
    """The notice with the links that are set, by what is known of its alerts."""
    if links == NO_LINKS or not notice.alerts:
        return notice
    alerts = tuple(_linked(alert, notice, links) for alert in notice.alerts)
    runbook = notice.runbook or dict(alerts[0].links).get("runbook", "")
    return replace(notice, alerts=alerts, runbook=runbook)


def _linked(alert: NoticeAlert, notice: Notice, links: Links) -> NoticeAlert:
    labels = dict(alert.labels)
    values = {
        "agent": labels.get("agent", ""), "tenant": labels.get("tenant", ""), "rule": alert.rule,
        "severity": alert.severity, "alert_id": alert.alert_id, "from_ms": str((alert.began_ns - BEFORE_NS) // MS_NS),
        "to_ms": str((alert.ended_ns or notice.at_ns) // MS_NS),
        "labels": ",".join(f"{name}={value}" for name, value in alert.labels),
    }  # fmt: skip
    made = [(name, getattr(links, name)) for name in ("dashboard", "alert", "runbook", "silence")]
    found = [(name, _filled(text, values)) for name, text in made if text]
    if links.trace:
        found += [
            (f"{what} trace", trace_link(links, trace)) for what, trace in alert.examples
        ]  # fmt: skip
    return replace(alert, links=tuple(found), runbook=alert.runbook or dict(found).get("runbook", ""))


def _filled(text: str, values: Mapping[str, str]) -> str:
    """The template with values that cannot end the place in which they stand."""
    return text.format(**{name: quote(value, safe="") for name, value in values.items()})
