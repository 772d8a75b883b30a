"""From transitions to notices: who is told what, in groups, once each. When a group is told is for groups.py to say.

What is older than `max_page_age` does not page. It is held back until Tocsin has caught up, and then paged with its
true beginning if it still fires; what also ended in the backlog goes into the digest instead.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from alertrules.groups import Group, Member, alone, digest, group_from, member_from
from alertrules.lifecycle import AlertState, Labels, Transition
from alertrules.marks import ID_DIGITS_MIN
from alertrules.notice import Notice
from alertrules.page import description, line, named, title
from alertrules.parse import RuleSet
from alertrules.wording import labels_text, utc

NEVER_NS = 2**63


@dataclass(frozen=True)
class Told:
    """What one tick led to.

    digest  a line for each alert that began and ended in a backlog: nobody was paged for it
    alone   a notice for each alert that fires or has ended, for destinations that group alerts themselves
    """

    notices: tuple[Notice, ...]
    digest: tuple[str, ...]
    alone: tuple[Notice, ...]


class Router:
    """The open groups, and the alerts held back as too old. Calls come in time order."""

    def __init__(self, rules: RuleSet, max_page_age_ns: int) -> None:
        self._rules = {rule.name: rule for rule in rules.rules}
        self._route = rules.route
        self._max_page_age_ns = max_page_age_ns
        self._groups: dict[str, Group] = {}
        self._latest: dict[Labels, str] = {}  # The newest group of each set of labels.
        self._grouped: dict[str, str] = {}  # The group of each alert in one.
        self._held: dict[str, Member] = {}
        self._due_ns = NEVER_NS  # No group is told before it.
        self._alone: list[Notice] = []  # Of the step under way.

    def step(self, transitions: Iterable[Transition], at_ns: int, now_ns: int) -> Told:
        """Take one tick's transitions. `at_ns` is the tick's end, `now_ns` the wall clock, 0 in a replay of no age.

        Call it on ticks without transitions too: that is when what was held back is paged.
        """
        earlier, ended = self.elapse(at_ns - 1, now_ns), []
        self._alone = []
        for moved in transitions:
            if moved.after is AlertState.FIRING and moved.before in (AlertState.INACTIVE, AlertState.PENDING):
                self._held[moved.alert_id] = self._member(moved)
            elif member := self._held.get(moved.alert_id):
                member.state = moved.after
                if moved.after is AlertState.INACTIVE:
                    del self._held[moved.alert_id]
                    ended.append(f"{member.rule}: {member.line}; ended {utc(moved.at_ns)}, older than max_page_age")
            else:
                self._follow(moved, at_ns)
        if self._is_fresh(at_ns, now_ns):
            self._release(at_ns)
        return Told(earlier + self.elapse(at_ns, now_ns), tuple(ended), tuple(self._alone))

    def elapse(self, until_ns: int, now_ns: int) -> tuple[Notice, ...]:
        """What is due by `until_ns` of event time; all transitions up to then must have been taken."""
        if until_ns < self._due_ns:
            return ()
        told: list[Notice] = []
        while due := self._due(until_ns, self._is_fresh(until_ns, now_ns)):
            for due_ns, name in due:
                told += self._groups[name].look(due_ns)
                self._changed(name)
        self._due_ns = min((due_ns for due_ns, _ in self._dues()), default=NEVER_NS)
        return tuple(told)

    def _due(self, until_ns: int, is_fresh: bool) -> list[tuple[int, str]]:
        """The groups that are due, earliest first; pages only while they are fresh."""
        due = [(due_ns, name) for due_ns, name in self._dues() if due_ns <= until_ns]
        return sorted((one for one in due if is_fresh or not self._groups[one[1]].pages), key=lambda one: one[0])

    def _dues(self) -> Iterator[tuple[int, str]]:
        for name, group in self._groups.items():
            if (due_ns := group.due_ns(self._route)) is not None:
                yield due_ns, name

    def _changed(self, name: str) -> None:
        """A group has changed: it is over, or may be due sooner than the others."""
        group = self._groups[name]
        if group.is_over:
            del self._groups[name]
            if self._latest.get(group.labels) == name:
                del self._latest[group.labels]
        elif (due_ns := group.due_ns(self._route)) is not None:
            self._due_ns = min(self._due_ns, due_ns)

    def _is_fresh(self, at_ns: int, now_ns: int) -> bool:
        return not self._max_page_age_ns or now_ns - at_ns <= self._max_page_age_ns

    def _member(self, fired: Transition) -> Member:
        rule = self._rules.get(fired.rule)
        assert fired.finding is not None
        said = (
            line(rule, fired.labels, fired.finding, fired.cause, fired.news)
            if rule
            else f"{fired.rule}: {labels_text(fired.labels)}"
        )
        return Member(
            alert_id=fired.alert_id,
            rule=fired.rule,
            labels=fired.labels,
            severity=fired.severity,
            title=title(rule, fired.labels, fired.finding, fired.cause) if rule else said,
            line=f"{said}; alert {fired.alert_id[:ID_DIGITS_MIN]}",
            runbook=rule.annotations.runbook if rule else "",
            began_ns=fired.finding.since_ns,
            state=fired.after,
            fired_ns=fired.fired_ns,
            own_labels=rule.labels if rule else (),
            description=description(rule, fired.labels, fired.finding) if rule else "",
            cause=named(fired.cause),
            examples=tuple((one.what, one.trace) for one in fired.examples),
            trend=fired.trend,
        )

    def _follow(self, moved: Transition, at_ns: int) -> None:
        """A later step of an alert in a group; those that never fired are in none."""
        name = self._grouped.get(moved.alert_id)
        if name is None:
            return
        group = self._groups[name]
        member = group.open[moved.alert_id]
        member.state = moved.after
        if moved.reason:
            member.line += f"; {moved.reason}"
        if moved.after is AlertState.MUTED:
            group.lasts(moved.alert_id, at_ns)
        elif moved.after is AlertState.INACTIVE:
            group.leave(moved.alert_id, at_ns)
            self._alone.append(alone(group.receiver, member, at_ns))
            del self._grouped[moved.alert_id]
        self._changed(name)

    def _release(self, at_ns: int) -> None:
        """Group what fires and is not too old, in the order of the alerts' ids: the order of series means nothing."""
        for alert_id in sorted(self._held):
            member = self._held[alert_id]
            if member.state == AlertState.RECOVERING:
                continue  # Gone back before anyone heard of it: it pages if it relapses.
            del self._held[alert_id]
            group = self._group_for(member, at_ns)
            group.join(member, at_ns)
            self._alone.append(alone(group.receiver, member, at_ns))
            self._grouped[alert_id] = group.group
            self._changed(group.group)

    def _group_for(self, member: Member, at_ns: int) -> Group:
        """The open group that an alert joins, or a new one where there is none or it began too long ago."""
        labels, receiver = self._labels(member), self._route.receiver
        latest = self._groups.get(self._latest.get(labels, ""))
        if latest and at_ns - latest.opened_ns <= self._route.group_window_ns:
            return latest
        group = Group(receiver, labels, digest(receiver, labels, member.alert_id), opened_ns=at_ns, is_new=True)
        self._groups[group.group], self._latest[labels] = group, group.group
        return group

    def _labels(self, member: Member) -> Labels:
        """The labels that the route groups by. Those that an alert lacks are left out; one that has nothing of its
        series among them shares no cause with others of that kind, and is told by itself."""
        rule, group_by = self._rules.get(member.rule), self._route.group_by
        values = dict(rule.labels if rule else ()) | dict(member.labels)
        values |= {"alert": member.rule, "severity": member.severity}
        of_series = set(group_by) - {"alert", "severity"}
        if of_series and not any(values.get(name) for name in of_series):
            group_by = tuple(values)
        return tuple((name, values[name]) for name in sorted(group_by) if values.get(name))

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
            group = group_from(fields)
            router._groups[group.group], router._latest[group.labels] = group, group.group
            router._grouped.update(dict.fromkeys(group.open, group.group))
            router._changed(group.group)
        router._held = {fields["alert_id"]: member_from(fields) for fields in state["held"]}
        return router
