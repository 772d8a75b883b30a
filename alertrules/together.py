"""Many notices as one: what a destination is told when it could not be told each by itself."""

from collections.abc import Callable, Sequence

from alertrules.groups import LINES_MAX, digest
from alertrules.notice import Notice, Status
from alertrules.rules import Severity
from alertrules.wording import TITLE_LENGTH_MAX, clean, utc

_SEVERITIES = [severity.value for severity in Severity]
_TITLES = {
    Status.FIRING: "{count} pages at once, {title} among them",
    Status.STILL_FIRING: "{count} pages at once, {title} among them",
    Status.RESOLVED: "{count} at once, {title} among them",
    Status.OVER: "{count} came and went, {title} among them",
}
_LINES: dict[Status, Callable[[Notice], str]] = {
    Status.FIRING: lambda notice: f"{notice.title}, since {utc(notice.began_ns)}",
    Status.STILL_FIRING: lambda notice: f"{notice.title}, since {utc(notice.began_ns)}",
    Status.RESOLVED: lambda notice: f"{notice.title}, {_span(notice)}",
    Status.OVER: lambda notice: f"{notice.title}, {_span(notice)}",
}


def together(notices: Sequence[Notice], status: Status) -> Notice:
    """One notice that tells of all of these, a line each, the most urgent first; its id is a hash of theirs."""
    most = sorted(notices, key=lambda notice: (_urgency(notice.severity), notice.at_ns, notice.notice_id))
    first = most[0]
    lines = [clean(_LINES[status](notice), TITLE_LENGTH_MAX) for notice in most[:LINES_MAX]]
    if left_out := len(most) - len(lines):
        lines.append(f"… and {left_out} more")
    ids = sorted(notice.notice_id for notice in notices)
    return Notice(
        notice_id=digest(status.value, ids),
        receiver=first.receiver,
        group=digest("together", ids),
        status=status,
        severity=first.severity,
        rule=first.rule,
        title=_TITLES[status].format(count=len(most), title=first.title),
        lines=tuple(lines),
        labels=tuple(sorted(set.intersection(*(set(notice.labels) for notice in notices)))),
        at_ns=max(notice.at_ns for notice in notices),
        began_ns=min(notice.began_ns for notice in notices),
        runbook=first.runbook if len({notice.runbook for notice in notices}) == 1 else "",
        alert_ids=tuple(alert_id for notice in most for alert_id in notice.alert_ids)[:LINES_MAX],
        alerts=tuple(alert for notice in most for alert in notice.alerts),
    )


def _span(notice: Notice) -> str:
    return f"from {utc(notice.began_ns)} to {utc(notice.at_ns)}"


def _urgency(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
