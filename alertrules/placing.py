"""The open groups of all routes: which of them an alert joins, and which of them are due."""

from collections.abc import Iterable, Iterator, Sequence

from alertrules.flapping import CALM_NS, FLAPPING
from alertrules.groups import Group, Member, digest, grouping
from alertrules.lifecycle import AlertState, Labels
from alertrules.routes import ROOT_KEY, Branch
from alertrules.storms import CAUSE_NS, STORM_GROUPS_MAX, STORM_NS, Kind, has, shared_cause
from alertrules.suppression import Suppression

Key = tuple[str, str, Labels]
"""Route, kind and labels of a group."""


class Groups:
    """All open groups, by name."""

    def __init__(self, tree: Branch) -> None:
        self.tree = tree
        self.branches = {branch.key: branch for branch in tree.all()}
        self.all: dict[str, Group] = {}
        self._latest: dict[Key, str] = {}  # The newest group of each key.
        self._of: dict[str, list[str]] = {}  # The groups of each open alert.
        self._escalates = any(branch.escalate for branch in tree.all())

    def branch(self, key: str) -> Branch:
        """The route of that key; the first one where there is none any more."""
        return self.branches.get(key, self.tree)

    def of(self, alert_id: str) -> list[Group]:
        """The groups that an alert is in."""
        return [self.all[name] for name in self._of.get(alert_id, ())]

    def named(self, digits: str) -> list[Group]:
        """The groups of the alert whose id begins so, or the group whose name does. Raises ValueError for several."""
        alerts = [alert_id for alert_id in self._of if alert_id.startswith(digits)]
        groups = [name for name in self.all if name.startswith(digits)]
        if len(alerts) + len(groups) > 1:
            raise ValueError(f'{len(alerts) + len(groups)} alerts begin with "{digits}"; write more of the id')
        return [self.all[name] for name in groups] + [group for alert_id in alerts for group in self.of(alert_id)]

    def add(self, group: Group) -> None:
        """Take in a group: a new one, or one that was saved."""
        self.all[group.group] = group
        self._latest[group.route, group.kind, group.labels] = group.group
        for alert_id in group.open:
            self._of.setdefault(alert_id, []).append(group.group)

    def settle(self, group: Group) -> None:
        """A group has changed: forget it if it is over."""
        if group.is_over:
            self.all.pop(group.group, None)
            key = group.route, group.kind, group.labels
            if self._latest.get(key) == group.group:
                del self._latest[key]

    def leave(self, group: Group, alert_id: str, at_ns: int) -> None:
        """An alert of a group has ended; one that flaps is in it until it is calm."""
        if group.open[alert_id].fires >= FLAPPING and alert_id not in group.news:
            group.calming[alert_id] = at_ns
            group.open[alert_id].state = AlertState.INACTIVE
            return
        group.leave(alert_id, at_ns, at_ns)
        self._forget(alert_id, group)

    def _calm(self, group: Group, until_ns: int) -> None:
        """Let go of flapping alerts that have not fired for long enough, before the group is told what comes later."""
        while group.calming:
            alert_id = min(group.calming, key=lambda name: (group.calming[name], name))
            ended_ns = group.calming[alert_id]
            due_ns = group.due_ns(self.branch(group.route))
            if ended_ns + CALM_NS > (until_ns if due_ns is None else min(until_ns, due_ns)):
                return
            group.leave(alert_id, ended_ns, ended_ns + CALM_NS)
            self._forget(alert_id, group)

    def again(
        self, joins: Sequence[tuple[Branch, Member]], at_ns: int
    ) -> tuple[list[tuple[Branch, Member]], list[Group]]:
        """Put flapping alerts that fire again back where they are open still: (the others, the groups of these)."""
        rest, resumed = [], []
        calming = [one for one in self.all.values() if one.calming]
        for branch, member in joins:
            for group in calming:
                if group.route == branch.key and (was := group.resume(member)):
                    self._forget(was, group)
                    self._of.setdefault(member.alert_id, []).append(group.group)
                    group.heard_again(branch, at_ns)
                    resumed.append(group)
                    break
            else:
                rest.append((branch, member))
        return rest, resumed

    def _forget(self, alert_id: str, group: Group) -> None:
        names = [name for name in self._of[alert_id] if name != group.group]
        if names:
            self._of[alert_id] = names
        else:
            del self._of[alert_id]
        self.settle(group)

    def due(self, until_ns: int, is_fresh: bool) -> list[tuple[int, Group]]:
        """The groups that are due, earliest first; pages only while they are fresh."""
        for group in [one for one in self.all.values() if one.calming]:
            self._calm(group, until_ns)
        due = [(due_ns, group) for due_ns, group in self._dues() if due_ns <= until_ns]
        return sorted((one for one in due if is_fresh or not one[1].pages), key=lambda one: one[0])

    def next_due_ns(self, never_ns: int) -> int:
        """When something is next to be done for a group."""
        return min((one.next_ns(self.branch(one.route), never_ns) for one in self.all.values()), default=never_ns)

    def _dues(self) -> Iterator[tuple[int, Group]]:
        for group in self.all.values():
            if (due_ns := group.due_ns(self.branch(group.route))) is not None:
                yield due_ns, group

    @property
    def escalating(self) -> list[Group]:
        """The groups whose escalation is to be looked at."""
        return list(self.all.values()) if self._escalates else []

    def suppress(self, suppression: Suppression | None, at_ns: int) -> list[tuple[Branch, Member]]:
        """Take out what is suppressed and was not told yet, which is returned; mark what was told."""
        taken: list[tuple[Branch, Member]] = []
        if suppression is None and not any(group.suppressed for group in self.all.values()):
            return taken
        for group in list(self.all.values()):
            branch = self.branch(group.route)
            found = {
                name: why
                for name, member in (group.open.items() if suppression else ())
                if suppression and (why := suppression.of(branch, member.matched))
            }
            for alert_id in [name for name in found if name in group.news]:
                taken.append((branch, group.take_out(alert_id)))
                self._forget(alert_id, group)
            if group.suppressed.keys() - found:
                group.heard_again(branch, at_ns)
            group.suppressed = {name: (why.kind.value, why.by) for name, why in found.items() if name in group.open}
        return taken

    def place(self, joins: Sequence[tuple[Branch, Member]], at_ns: int) -> list[Group]:
        """Have alerts join groups, new ones where there are none; the groups that they joined."""
        joined: dict[str, Group] = {}
        for key in dict.fromkeys(branch.key for branch, _ in joins):
            members = [member for branch, member in joins if branch.key == key]
            for group in self._place(self.branch(key), members, at_ns):
                joined[group.group] = group
        return list(joined.values())

    def _place(self, branch: Branch, members: list[Member], at_ns: int) -> Iterator[Group]:
        crowds, alone = self._crowds(branch, at_ns), list[Member]()
        for member in members:
            if crowd := next((one for one in crowds if has(member.depends, one.labels)), None):
                yield self._join(crowd, member, at_ns)
            else:
                alone.append(member)
        members = alone
        if cause := self._cause(branch, members, at_ns):
            sharing = [member for member in members if has(member.depends, cause)]
            members = [member for member in members if member not in sharing]
            crowd = self._new(branch, Kind.CAUSE, cause, sharing[0], at_ns)
            crowd.elsewhere = [one.labels for _, one in self._lately(branch, at_ns) if has(one.depends, cause)]
            for member in sharing:
                yield self._join(crowd, member, at_ns)
        storms = self._is_storm(branch, members, at_ns)
        for member in members:
            labels = grouping(member, branch.group_by)
            group = self._find(branch, Kind.LABELS, labels, at_ns)
            if group is None and storms:
                of = (("severity", member.severity),)
                group = self._find(branch, Kind.STORM, of, at_ns) or self._new(branch, Kind.STORM, of, member, at_ns)
            yield self._join(group or self._new(branch, Kind.LABELS, labels, member, at_ns), member, at_ns)

    def _join(self, group: Group, member: Member, at_ns: int) -> Group:
        group.join(member, at_ns)
        self._of.setdefault(member.alert_id, []).append(group.group)
        return group

    def _find(self, branch: Branch, kind: Kind, labels: Labels, at_ns: int) -> Group | None:
        """The open group that still takes in alerts; one that began too long ago does not."""
        latest = self.all.get(self._latest.get((branch.key, kind, labels), ""))
        return latest if latest and at_ns - latest.opened_ns <= branch.group_window_ns else None

    def _new(self, branch: Branch, kind: Kind, labels: Labels, first: Member, at_ns: int) -> Group:
        facts = [branch.receiver, labels, first.alert_id]
        if branch.key != ROOT_KEY or kind is not Kind.LABELS:
            facts = [branch.key, kind, *facts]
        group = Group(
            branch.receiver, labels, digest(*facts), opened_ns=at_ns, is_new=True, route=branch.key, kind=kind
        )
        self.add(group)
        return group

    def _crowds(self, branch: Branch, at_ns: int) -> list[Group]:
        """The groups of shared causes that are at work still."""
        of_route = [one for one in self.all.values() if one.route == branch.key and one.kind == Kind.CAUSE]
        return [one for one in of_route if one.open and at_ns - one.joined_ns <= CAUSE_NS]

    def _cause(self, branch: Branch, members: Sequence[Member], at_ns: int) -> Labels:
        """What these alerts share with those that have begun lately; empty where they are of one group anyway."""
        lately = self._lately(branch, at_ns)
        cause = shared_cause([member.depends for member in members] + [member.depends for _, member in lately])
        groups = {name for name, member in lately if has(member.depends, cause)}
        new = {grouping(member, branch.group_by) for member in members if has(member.depends, cause)}
        return cause if new and len(groups) + len(new) > 1 else ()

    def _lately(self, branch: Branch, at_ns: int) -> list[tuple[str, Member]]:
        """Alerts of the route that have begun of late, with the names of their groups; without those of storms."""
        of_route = [one for one in self.all.values() if one.route == branch.key and one.kind == Kind.LABELS]
        open_ = [(one.group, member) for one in of_route for member in one.open.values()]
        return [(name, member) for name, member in open_ if at_ns - member.fired_ns <= CAUSE_NS]

    def _is_storm(self, branch: Branch, members: Iterable[Member], at_ns: int) -> bool:
        """Whether more groups begin for the receiver within a minute than a person can read."""
        of_receiver = [one for one in self.all.values() if one.receiver == branch.receiver]
        if any(one.kind == Kind.STORM and at_ns - one.joined_ns < STORM_NS for one in of_receiver):
            return True
        labels = {grouping(member, branch.group_by) for member in members}
        new = sum(self._find(branch, Kind.LABELS, one, at_ns) is None for one in labels)
        recent = sum(at_ns - one.opened_ns < STORM_NS for one in of_receiver)
        return new > 0 and new + recent > STORM_GROUPS_MAX
