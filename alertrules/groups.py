"""Alerts that are told together, and when: Alertmanager's three times of a route, counted in event time.

A new group is told once it has waited; what closes before that is not told. From then on a look is due every interval,
and tells what came since the last one: alerts that joined, the day's reminder, that the last alert has closed. A look
that finds an open group as it was tells it again once it was last told a whole repeat ago. An interval of zero looks at
once. A group takes in alerts for a window from its first one on: what begins later has a cause of its own, and is told
as a group of its own, where it would have gone by unheard. What is told depends on the times of the alerts alone, never
on when we were asked.

A group of a storm or of a shared cause (storms.py) is told at once too, and then looked at once a minute at most.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alertrules.flapping import CALM_NS
from alertrules.lifecycle import MUTED_AFTER_NS, AlertState, Labels, labels_from
from alertrules.notice import Notice, NoticeAlert, Status
from alertrules.routes import ALL, ROOT_KEY, Branch
from alertrules.rules import Severity
from alertrules.storms import Kind, headline, victims
from alertrules.wording import TITLE_LENGTH_MAX, VALUE_LENGTH_MAX, clean, length, utc
from detectors.core.columns import SECOND_NS, TICK_NS

CROWD_LOOK_NS = 60 * SECOND_NS
"""How often a group of a storm or of a shared cause is looked at, at most."""
LINES_MAX = 100
"""Members named in one notice, and closed members that an open group remembers; more are counted in words."""

_AT_REST = (AlertState.MUTED, AlertState.INACTIVE)
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
    named: Labels = ()  # Labels that its cause names, of the calls that its series is made of.
    examples: Labels = ()  # What each is of the alert, and the trace's id.
    trend: str = ""
    level: str = ""  # That of now, in words, if it was told before; empty where it is not known.
    told_alone: bool = False  # Whether it was given to destinations that group alerts themselves.
    fires: int = 1  # How often it has fired of late, this time among them.

    @property
    def depends(self) -> Labels:
        """The labels of its series, and those that its cause names: what it may share with others."""
        return tuple(sorted({**dict(self.named), **dict(self.labels)}.items()))

    @property
    def said(self) -> str:
        """Its line, and the level of now."""
        return f"{self.line}; now {self.level}" if self.level else self.line

    @property
    def matched(self) -> dict[str, str]:
        """The labels by which routes, inhibition and silences know it."""
        named = {"alert": self.rule, "alertname": self.rule, "severity": self.severity}
        return dict(self.own_labels) | dict(self.labels) | named

    def told(self) -> NoticeAlert:
        """What a notice says of it."""
        labels = {**dict(self.own_labels), **dict(self.labels)}
        return NoticeAlert(
            self.alert_id, self.rule, self.severity,
            tuple((name, clean(value, VALUE_LENGTH_MAX)) for name, value in sorted(labels.items())),
            self.title, self.said, self.runbook, self.began_ns, self.ended_ns, self.description,
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
    route       key of the route that it is of
    kind        why its alerts are together, where it is not the route's `group_by`
    joined_ns   when the last alert joined
    also        receivers that escalation brought in, `steps` of it taken; they are told all that follows
    first_ns    when it was first told, by people's clock: Unix time, or event time in a replay
    suppressed  alerts that were told and that nobody is to hear of now: the kind of what suppresses them, and its name
    elsewhere   labels of alerts that share the cause and were told before by themselves
    calming     flapping alerts that do not fire just now, and since when
    acked_by    who has acknowledged it, and when by people's clock; empty while nobody has
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
    route: str = ROOT_KEY
    kind: str = Kind.LABELS
    joined_ns: int = 0
    also: list[str] = field(default_factory=list)
    steps: int = 0
    first_ns: int = 0
    suppressed: dict[str, tuple[str, str]] = field(default_factory=dict)
    elsewhere: list[Labels] = field(default_factory=list)
    calming: dict[str, int] = field(default_factory=dict)
    acked_by: str = ""
    acked_ns: int = 0

    @property
    def receivers(self) -> tuple[str, ...]:
        """All who are told of it."""
        return (self.receiver, *self.also)

    @property
    def shown(self) -> str:
        """The title of its first open alert, and how many there are beside it."""
        more = len(self.open) - 1
        return next(iter(self.open.values())).title + (f" (and {more} more)" if more else "")

    @property
    def audible(self) -> list[Member]:
        """The alerts that were told, are open, and are not suppressed."""
        return [one for name, one in self.open.items() if name not in self.news and name not in self.suppressed]

    def join(self, member: Member, at_ns: int) -> None:
        """An alert fires."""
        self.open[member.alert_id] = member
        self.news.append(member.alert_id)
        self.joined_ns = at_ns
        self._change(at_ns)

    def heard_again(self, route: Branch, at_ns: int) -> None:
        """It may be told again: repeats that fell due meanwhile are one."""
        self.told_ns = max(self.told_ns, at_ns - route.repeat_interval_ns) if self.told_ns else 0

    def take_out(self, alert_id: str) -> Member:
        """An alert that was not told yet is suppressed: it is not of this group any more."""
        self.news.remove(alert_id)
        if self.is_new and not self.news:
            self.changed_ns = 0
        return self.open.pop(alert_id)

    def acknowledge(self, by: str, at_ns: int) -> None:
        """Somebody looks into it; an empty name takes that back."""
        self.acked_by, self.acked_ns = by, at_ns if by else 0

    def lasts(self, alert_id: str, at_ns: int) -> None:
        """An alert has fired for a day."""
        if alert_id not in self.news and alert_id not in self.suppressed:
            self.still.append(alert_id)
            self._change(at_ns)

    def resume(self, member: Member) -> str:
        """Take in a flapping alert that fires again, which is not told as it is open still: the id that it had.

        Empty where it is not of this group.
        """
        for alert_id in self.calming:
            was = self.open[alert_id]
            if (was.rule, was.labels) == (member.rule, member.labels):
                del self.calming[alert_id], self.open[alert_id]
                self.open[member.alert_id] = replace(member, began_ns=was.began_ns)
                return alert_id
        return ""

    def leave(self, alert_id: str, ended_ns: int, at_ns: int) -> None:
        """An alert has closed, which is known at `at_ns`; one that was never told is forgotten."""
        member = self.open.pop(alert_id)
        self.calming.pop(alert_id, None)
        self.suppressed.pop(alert_id, None)
        member.ended_ns = ended_ns
        member.line += f"; ended {utc(ended_ns)}, after {length(ended_ns - member.began_ns)}"
        if member.fires > 1:
            member.line += f", fired {member.fires} times"
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
    def wakes(self) -> bool:
        """Whether escalation is about something: nobody has acknowledged, and an alert of it is news still."""
        return not self.acked_by and any(member.state not in _AT_REST for member in self.audible)

    @property
    def pages(self) -> bool:
        """Whether its next notice is a page, and not a reminder or a resolve."""
        return bool(self.news) or not self.changed_ns

    def next_ns(self, route: Branch, never_ns: int) -> int:
        """When something is to be done next: it is told, or an alert has been calm for long enough."""
        due_ns = self.due_ns(route)
        calm_ns = min(self.calming.values(), default=never_ns) + CALM_NS
        return min(never_ns, calm_ns, never_ns if due_ns is None else due_ns)

    def due_ns(self, route: Branch) -> int | None:
        """When it is told next, as things stand; None if never."""
        interval_ns = (
            route.group_interval_ns if self.kind == Kind.LABELS else max(route.group_interval_ns, CROWD_LOOK_NS)
        )
        if self.is_new:
            return self.changed_ns + route.group_wait_ns if self.open else None
        if self.changed_ns:
            return self._look_ns(self.changed_ns, interval_ns)
        repeats = route.repeat_interval_ns and self.told_ns
        lasting = [member for member in self.audible if member.state not in _AT_REST]
        if repeats and lasting:
            again_ns = self.told_ns + route.repeat_interval_ns
            reminders = [_reminder_ns(member.fired_ns) for member in lasting if member.fired_ns]
            # The day's reminder says the same, and comes with a tick: not twice within a minute or two.
            again_ns = max([again_ns, *(due for due in reminders if 0 <= due - again_ns <= 2 * TICK_NS)])
            return self._look_ns(again_ns, interval_ns)
        return None

    def _look_ns(self, from_ns: int, interval_ns: int) -> int:
        """The first look at or after `from_ns`."""
        if not interval_ns:
            return from_ns
        looks = max(1, -(-(from_ns - self.looked_ns) // interval_ns))
        return self.looked_ns + looks * interval_ns

    def look(self, at_ns: int, people_ns: int) -> Iterator[Notice]:
        """What is told by the look that is due at `at_ns`."""
        fired = [self.open[alert_id] for alert_id in self.news]
        still = [self.open[alert_id] for alert_id in self.still if alert_id in self.open]
        told = self.audible
        if fired:
            yield self._notice(Status.FIRING, fired, told, at_ns, [member.alert_id for member in fired])
        elif still:
            yield self._notice(Status.STILL_FIRING, still, [], at_ns, [member.alert_id for member in still])
        elif not self.changed_ns:
            yield self._notice(Status.FIRING, told, [], at_ns, [*(member.alert_id for member in told), at_ns])
        if not self.open:
            yield self._notice(Status.RESOLVED, self.closed, [], at_ns, [])
        if fired or still or not self.changed_ns:
            self.told_ns, self.first_ns = at_ns, self.first_ns or people_ns
        self.news, self.still, self.is_new, self.changed_ns, self.looked_ns = [], [], False, 0, at_ns

    def escalate(self, receiver: str, after_ns: int, at_ns: int) -> Notice:
        """What the receiver of the next step is told, as nobody has acknowledged for so long."""
        self.steps += 1
        if receiver not in self.receivers:
            self.also.append(receiver)
        page = self._notice(Status.FIRING, self.audible, [], at_ns, ["escalated", self.steps])
        title = clean(f"Not acknowledged for {length(after_ns)}: {page.title}", TITLE_LENGTH_MAX)
        return replace(page, receiver=receiver, title=title)

    def _notice(
        self, status: Status, about: Sequence[Member], others: Sequence[Member], at_ns: int, facts: Sequence[str | int]
    ) -> Notice:
        """`facts` are what makes it another notice than the group's others of that status."""
        members = [*about, *others]
        first = min(members, key=lambda member: _urgency(member.severity))
        total = len(members) + (self.closed_before if status is Status.RESOLVED else 0)
        lines = [member.said for member in about[:LINES_MAX]]
        # What is new comes first; what stood before is marked as such.
        lines += [f"before: {member.said}" for member in others[: LINES_MAX - len(lines)]]
        if left_out := total - len(lines):
            lines.append(f"… and {left_out} more")
        if self.acked_by:
            lines.append(f"acknowledged by {self.acked_by}, {utc(self.acked_ns)}")
        title = about[0].title + (f" (and {total - 1} more)" if total > 1 else "")
        if others:
            more = f", and {len(about) - 1} more" if len(about) > 1 else ""
            title = f"+ {about[0].title}{more} (beside {len(others)} before)"
        elsewhere = [] if status is Status.RESOLVED else self.elsewhere
        if self.kind != Kind.LABELS and total + len(elsewhere) > 1:
            every = [member.labels for member in members] + elsewhere
            many = headline(self.kind, self.labels, every, total + len(elsewhere))
            title = clean(f"{many}: {about[0].title}", TITLE_LENGTH_MAX)
            lines = [*victims(every), *lines]
        return Notice(
            notice_id=digest(self.group, status.value, sorted(facts, key=str)),
            receiver=self.receiver,
            group=self.group,
            status=status,
            severity=first.severity,
            rule=first.rule,
            title=title,
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


def grouping(member: Member, group_by: Sequence[str]) -> Labels:
    """The labels by which a route groups an alert. Those that it lacks are left out; an alert that has nothing of its
    series among them shares no cause with others of that kind, and is told by itself."""
    values = member.matched
    every = tuple(name for name in values if name != "alert")
    of_series = set(group_by) - {"alert", "alertname", "severity"}
    if tuple(group_by) == (ALL,) or (of_series and not any(values.get(name) for name in of_series)):
        group_by = every
    return tuple((name, values[name]) for name in sorted(group_by) if values.get(name))


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
    pairs = {name: labels_from(fields.get(name, ())) for name in ("labels", "own_labels", "examples", "named")}
    return Member(**{**fields, **pairs})


def group_from(fields: Mapping[str, Any]) -> Group:
    """The group of these fields; one saved before there were times was told at once."""
    members = {alert_id: member_from(member) for alert_id, member in fields["open"].items()}
    closed = [member_from(member) for member in fields["closed"]]
    elsewhere = [labels_from(labels) for labels in fields.get("elsewhere", ())]
    return Group(
        **{**fields, "labels": labels_from(fields["labels"]), "open": members, "closed": closed, "elsewhere": elsewhere}
    )
