"""From transitions to notices: who is told what, in groups, once each.

A group is told when its first alert fires, when one joins, after a day, and when the last one has closed; the steps
of one tick are one notice. `group_wait`, `group_interval` and `repeat_interval` of a route are read but not acted on:
alerts are judged on one tick a minute, so those that move together arrive together, and nothing is repeated but the
day's reminder.

What is older than `max_page_age` does not page. It is held back until Tocsin has caught up, and then paged with its
true beginning if it still fires; what also ended in the backlog goes into the digest instead.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from alertrules.lifecycle import AlertState, Labels, Transition, labels_from
from alertrules.marks import ID_DIGITS_MIN
from alertrules.notice import Notice, Status
from alertrules.page import line, title
from alertrules.parse import RuleSet
from alertrules.rules import Severity
from alertrules.wording import VALUE_LENGTH_MAX, clean, labels_text, utc

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


@dataclass
class Group:
    """Alerts that are told together: one incident at the destination, from its first page to its resolve."""

    receiver: str
    labels: Labels
    group: str
    open: dict[str, Member] = field(default_factory=dict)
    closed: list[Member] = field(default_factory=list)
    closed_before: int = 0  # Closed ones no longer in `closed`.


@dataclass(frozen=True)
class Told:
    """What one tick led to.

    digest  a line for each alert that began and ended in a backlog: nobody was paged for it
    """

    notices: tuple[Notice, ...]
    digest: tuple[str, ...]


class Router:
    """The open groups, and the alerts held back as too old. One call of `step` a tick, in time order."""

    def __init__(self, rules: RuleSet, max_page_age_ns: int) -> None:
        self._rules = {rule.name: rule for rule in rules.rules}
        self._route = rules.route
        self._max_page_age_ns = max_page_age_ns
        self._groups: dict[Labels, Group] = {}
        self._told: dict[str, Labels] = {}
        self._held: dict[str, Member] = {}

    def step(self, transitions: Iterable[Transition], at_ns: int, now_ns: int) -> Told:
        """Take one tick's transitions. `at_ns` is the tick's end, `now_ns` the wall clock, 0 in a replay of no age.

        Call it on ticks without transitions too: that is when what was held back is paged.
        """
        told: dict[Labels, _Steps] = {}
        digest: list[str] = []
        for moved in transitions:
            if moved.after is AlertState.FIRING and moved.before in (AlertState.INACTIVE, AlertState.PENDING):
                self._held[moved.alert_id] = self._member(moved)
            elif member := self._held.get(moved.alert_id):
                member.state = moved.after
                if moved.after is AlertState.INACTIVE:
                    del self._held[moved.alert_id]
                    digest.append(f"{member.rule}: {member.line}; ended {utc(moved.at_ns)}, older than max_page_age")
            else:
                self._follow(moved, told)
        if not self._max_page_age_ns or now_ns - at_ns <= self._max_page_age_ns:
            self._release(told)
        return Told(
            tuple(notice for key, steps in told.items() for notice in self._notices(key, steps, at_ns)), tuple(digest)
        )

    def _member(self, fired: Transition) -> Member:
        rule = self._rules.get(fired.rule)
        assert fired.finding is not None
        said = line(rule, fired.labels, fired.finding) if rule else labels_text(fired.labels)
        return Member(
            alert_id=fired.alert_id,
            rule=fired.rule,
            labels=fired.labels,
            severity=fired.severity,
            title=title(rule, fired.labels, fired.finding) if rule else f"{fired.rule}: {labels_text(fired.labels)}",
            line=f"{said}; alert {fired.alert_id[:ID_DIGITS_MIN]}",
            runbook=rule.annotations.runbook if rule else "",
            began_ns=fired.finding.since_ns,
            state=fired.after,
        )

    def _follow(self, moved: Transition, told: "dict[Labels, _Steps]") -> None:
        """A later step of an alert that was told; those that never fired are in no group."""
        key = self._told.get(moved.alert_id)
        if key is None:
            return
        group = self._groups[key]
        member = group.open[moved.alert_id]
        member.state = moved.after
        if moved.after is AlertState.MUTED:
            told.setdefault(key, _Steps()).still.append(member)
        elif moved.after is AlertState.INACTIVE:
            del group.open[moved.alert_id], self._told[moved.alert_id]
            group.closed.append(member)
            if len(group.closed) > LINES_MAX:
                del group.closed[0]
                group.closed_before += 1
            told.setdefault(key, _Steps())

    def _release(self, told: "dict[Labels, _Steps]") -> None:
        """Page what fires and is not too old, in the order of the alerts' ids: the order of series means nothing."""
        for alert_id in sorted(self._held):
            member = self._held[alert_id]
            if member.state == AlertState.RECOVERING:
                continue  # Gone back before anyone heard of it: it pages if it relapses.
            del self._held[alert_id]
            key = self._key(member.rule, member.labels, member.severity)
            group = self._groups.get(key)
            if group is None:
                receiver = self._route.receiver
                group = self._groups[key] = Group(receiver, key, _hash(receiver, key, alert_id))
            group.open[alert_id] = member
            self._told[alert_id] = key
            told.setdefault(key, _Steps()).fired.append(member)

    def _key(self, rule: str, labels: Labels, severity: str) -> Labels:
        """The labels that the route groups by; those that an alert lacks are left out."""
        known = self._rules.get(rule)
        values = dict(known.labels if known else ()) | dict(labels) | {"alert": rule, "severity": severity}
        return tuple((name, values[name]) for name in sorted(self._route.group_by) if values.get(name))

    def _notices(self, key: Labels, steps: "_Steps", at_ns: int) -> Iterable[Notice]:
        group = self._groups[key]
        open_members = list(group.open.values())
        if steps.fired:
            rest = [member for member in open_members if member not in steps.fired]
            yield _notice(group, Status.FIRING, steps.fired, rest, at_ns)
        elif steps.still:
            yield _notice(group, Status.STILL_FIRING, steps.still, [], at_ns)
        if not group.open:
            yield _notice(group, Status.RESOLVED, group.closed, [], at_ns)
            del self._groups[key]

    def snapshot(self) -> dict[str, Any]:
        """The state as plain JSON-able values."""
        return {
            "groups": [asdict(group) for group in self._groups.values()],
            "held": [asdict(member) for member in self._held.values()],
        }

    @classmethod
    def restore(cls, rules: RuleSet, max_page_age_ns: int, state: Mapping[str, Any]) -> "Router":
        """The router that `snapshot` was taken of. The rules may have changed: open groups go on as they began."""
        router = cls(rules, max_page_age_ns)
        for fields in state["groups"]:
            members = {alert_id: _member(member) for alert_id, member in fields["open"].items()}
            closed = [_member(member) for member in fields["closed"]]
            group = Group(**{**fields, "labels": labels_from(fields["labels"]), "open": members, "closed": closed})
            router._groups[group.labels] = group
            router._told.update(dict.fromkeys(members, group.labels))
        router._held = {fields["alert_id"]: _member(fields) for fields in state["held"]}
        return router


@dataclass
class _Steps:
    """What one tick did to one group."""

    fired: list[Member] = field(default_factory=list)
    still: list[Member] = field(default_factory=list)


def _notice(group: Group, status: Status, about: Sequence[Member], others: Sequence[Member], at_ns: int) -> Notice:
    members = [*about, *others]
    first = min(members, key=lambda member: _urgency(member.severity))
    total = len(members) + (group.closed_before if status is Status.RESOLVED else 0)
    lines = [member.line for member in members[:LINES_MAX]]
    if left_out := total - len(lines):
        lines.append(f"… and {left_out} more")
    ids = [member.alert_id for member in about]
    facts = [] if status is Status.RESOLVED else sorted(ids)
    return Notice(
        notice_id=_hash(group.group, status.value, facts),
        receiver=group.receiver,
        group=group.group,
        status=status,
        severity=first.severity,
        rule=first.rule,
        title=about[0].title + (f" (and {total - 1} more)" if total > 1 else ""),
        lines=tuple(lines),
        labels=tuple((name, clean(value, VALUE_LENGTH_MAX)) for name, value in group.labels),
        at_ns=at_ns,
        began_ns=min(member.began_ns for member in members),
        runbook=first.runbook,
        alert_ids=tuple(ids[:LINES_MAX]),
    )


def _urgency(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _hash(*facts: object) -> str:
    """64 hex digits that say these facts and nothing of when we said them."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _member(fields: Mapping[str, Any]) -> Member:
    return Member(**{**fields, "labels": labels_from(fields["labels"])})
