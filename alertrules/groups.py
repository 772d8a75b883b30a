"""Alerts that are told together, and when: Alertmanager's three times of a route, counted in event time.

A new group is told once it has waited; what closes before that is not told. From then on a look is due every interval,
and tells what came since the last one: alerts that joined, the day's reminder, that the last alert has closed. A look
that finds an open group as it was tells it again once it was last told a whole repeat ago. An interval of zero looks at
once. A group takes in alerts for a window from its first one on: what begins later has a cause of its own, and is told
as a group of its own, where it would have gone by unheard. What is told depends on the times of the alerts alone, never
on when we were asked.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alertrules.lifecycle import MUTED_AFTER_NS, AlertState, Labels, labels_from
from alertrules.notice import Notice, NoticeAlert, Status
from alertrules.receivers import Route
from alertrules.rules import Severity
from alertrules.wording import VALUE_LENGTH_MAX, clean, length, utc
from detectors.core.columns import TICK_NS

LINES_MAX = 100
"""Members named in one notice, and closed members that an open group remembers; more are counted in words."""

_SEVERITIES = [severity.value for severity in Severity]


@dataclass
class Member:
    """One alert of a group: what is needed to tell of it, even when its rule is gone."""

    alert_id: str
    rule: str
    labels: Labels
    severity: str
    title: str
    line: str
    runbook: str
    began_ns: int
    state: str
    fired_ns: int = 0  # End of the tick that paged; 0 in what was saved before it was kept.
    ended_ns: int = 0  # End of the tick that closed it; 0 while it is open.
    own_labels: Labels = ()  # Those that the rule gives to its alerts.
    description: str = ""
    cause: str = ""
    examples: Labels = ()  # What each is of the alert, and the trace's id.
    trend: str = ""

    def told(self) -> NoticeAlert:
        """What a notice says of it."""
        labels = {**dict(self.own_labels), **dict(self.labels)}
        return NoticeAlert(
            self.alert_id, self.rule, self.severity,
            tuple((name, clean(value, VALUE_LENGTH_MAX)) for name, value in sorted(labels.items())),
            self.title, self.line, self.runbook, self.began_ns, self.ended_ns, self.description,
            self.cause, self.examples, self.trend,
        )  # fmt: skip


@dataclass
class Group:
    """One incident at the destination, from its first page to its resolve.

    opened_ns   when its first alert fired
    news        alerts that fired and were not told yet, in the order in which they came
    still       alerts that were told and have lasted a day since the last look
    is_new      nothing of it was told yet
    changed_ns  when the first of what is to be told came; 0 while nothing is
    looked_ns   the last look, whether or not it told anything; looks are due in intervals from it
    told_ns     the last notice; 0 before the first
    """

    receiver: str
    labels: Labels
    group: str
    opened_ns: int = 0
    open: dict[str, Member] = field(default_factory=dict)
    closed: list[Member] = field(default_factory=list)
    closed_before: int = 0  # Closed ones no longer in `closed`.
    news: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    is_new: bool = False
    changed_ns: int = 0
    looked_ns: int = 0
    told_ns: int = 0

    def join(self, member: Member, at_ns: int) -> None:
        """An alert fires."""
        self.open[member.alert_id] = member
        self.news.append(member.alert_id)
        self._change(at_ns)

    def lasts(self, alert_id: str, at_ns: int) -> None:
        """An alert has fired for a day."""
        if alert_id not in self.news:
            self.still.append(alert_id)
            self._change(at_ns)

    def leave(self, alert_id: str, at_ns: int) -> None:
        """An alert has closed; one that was never told is forgotten."""
        member = self.open.pop(alert_id)
        member.ended_ns = at_ns
        member.line += f"; ended {utc(at_ns)}, after {length(at_ns - member.began_ns)}"
        if alert_id in self.news:
            self.news.remove(alert_id)
            return
        self.closed.append(member)
        if len(self.closed) > LINES_MAX:
            del self.closed[0]
            self.closed_before += 1
        if not self.open:
            self._change(at_ns)

    def _change(self, at_ns: int) -> None:
        self.changed_ns = self.changed_ns or at_ns

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to tell of it, now or ever."""
        return not self.open and (self.is_new or not self.changed_ns)

    @property
    def pages(self) -> bool:
        """Whether its next notice is a page, and not a reminder or a resolve."""
        return bool(self.news) or not self.changed_ns

    def due_ns(self, route: Route) -> int | None:
        """When it is told next, as things stand; None if never."""
        if self.is_new:
            return self.changed_ns + route.group_wait_ns
        if self.changed_ns:
            return self._look_ns(self.changed_ns, route.group_interval_ns)
        repeats = route.repeat_interval_ns and self.told_ns
        lasting = [member for member in self.open.values() if member.state != AlertState.MUTED]
        if repeats and lasting:
            again_ns = self.told_ns + route.repeat_interval_ns
            reminders = [_reminder_ns(member.fired_ns) for member in lasting if member.fired_ns]
            # The day's reminder says the same, and comes with a tick: not twice within a minute or two.
            again_ns = max([again_ns, *(due for due in reminders if 0 <= due - again_ns <= 2 * TICK_NS)])
            return self._look_ns(again_ns, route.group_interval_ns)
        return None

    def _look_ns(self, from_ns: int, interval_ns: int) -> int:
        """The first look at or after `from_ns`."""
        if not interval_ns:
            return from_ns
        looks = max(1, -(-(from_ns - self.looked_ns) // interval_ns))
        return self.looked_ns + looks * interval_ns

    def look(self, at_ns: int) -> Iterator[Notice]:
        """What is told by the look that is due at `at_ns`."""
        fired = [self.open[alert_id] for alert_id in self.news]
        still = [self.open[alert_id] for alert_id in self.still if alert_id in self.open]
        if fired:
            rest = [member for member in self.open.values() if member not in fired]
            yield self._notice(Status.FIRING, fired, rest, at_ns, [member.alert_id for member in fired])
        elif still:
            yield self._notice(Status.STILL_FIRING, still, [], at_ns, [member.alert_id for member in still])
        elif not self.changed_ns:
            yield self._notice(Status.FIRING, list(self.open.values()), [], at_ns, [*self.open, at_ns])
        if not self.open:
            yield self._notice(Status.RESOLVED, self.closed, [], at_ns, [])
        if fired or still or not self.changed_ns:
            self.told_ns = at_ns
        self.news, self.still, self.is_new, self.changed_ns, self.looked_ns = [], [], False, 0, at_ns

    def _notice(
        self, status: Status, about: Sequence[Member], others: Sequence[Member], at_ns: int, facts: Sequence[str | int]
    ) -> Notice:
        """`facts` are what makes it another notice than the group's others of that status."""
        members = [*about, *others]
        first = min(members, key=lambda member: _urgency(member.severity))
        total = len(members) + (self.closed_before if status is Status.RESOLVED else 0)
        lines = [member.line for member in members[:LINES_MAX]]
        if left_out := total - len(lines):
            lines.append(f"… and {left_out} more")
        return Notice(
            notice_id=digest(self.group, status.value, sorted(facts, key=str)),
            receiver=self.receiver,
            group=self.group,
            status=status,
            severity=first.severity,
            rule=first.rule,
            title=about[0].title + (f" (and {total - 1} more)" if total > 1 else ""),
            lines=tuple(lines),
            labels=tuple((name, clean(value, VALUE_LENGTH_MAX)) for name, value in self._labels_of(members)),
            at_ns=at_ns,
            began_ns=min(member.began_ns for member in members),
            runbook=first.runbook,
            alert_ids=tuple(member.alert_id for member in about[:LINES_MAX]),
            description=first.description,
            alerts=tuple(member.told() for member in members[:LINES_MAX]),
        )

    def _labels_of(self, members: Sequence[Member]) -> list[tuple[str, str]]:
        """The group's own labels, and those of series and rules that all of these alerts have in common."""
        common = set.intersection(*({*member.own_labels, *member.labels} for member in members))
        return sorted({**dict(common), **dict(self.labels)}.items())


def alone(receiver: str, member: Member, at_ns: int) -> Notice:
    """What a destination is told of one alert, that forms groups itself: that it fires, or that it has ended."""
    group = Group(receiver, member.labels, digest("alone", receiver, member.alert_id))
    status = Status.RESOLVED if member.ended_ns else Status.FIRING
    return group._notice(status, [member], [], at_ns, [member.alert_id])


def _reminder_ns(fired_ns: int) -> int:
    """The tick with which an alert has lasted a day."""
    return -(-(fired_ns + MUTED_AFTER_NS) // TICK_NS) * TICK_NS


def _urgency(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def digest(*facts: object) -> str:
    """64 hex digits that say these facts and nothing of when we said them."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def member_from(fields: Mapping[str, Any]) -> Member:
    """The member of these fields, as JSON gives them back."""
    own_labels = labels_from(fields.get("own_labels", ()))
    examples = labels_from(fields.get("examples", ()))
    labels = labels_from(fields["labels"])
    return Member(**{**fields, "labels": labels, "own_labels": own_labels, "examples": examples})


def group_from(fields: Mapping[str, Any]) -> Group:
    """The group of these fields; one saved before there were times was told at once."""
    members = {alert_id: member_from(member) for alert_id, member in fields["open"].items()}
    closed = [member_from(member) for member in fields["closed"]]
    return Group(**{**fields, "labels": labels_from(fields["labels"]), "open": members, "closed": closed})
