"""From transitions to notices: who is told what, in groups, once each. When a group is told is for groups.py to say.

An alert goes down the route tree (routes.py) and joins a group of each route that takes it, unless something
suppresses it there (suppression.py): then it is kept until nothing does. What is older than `max_page_age` does not
page. It is held back until Tocsin has caught up, and then paged with its true beginning if it still fires; what also
ended in the backlog goes into the digest instead.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from alertrules.audience import Audience
from alertrules.cause import How
from alertrules.flapping import FLAPPING, Flaps
from alertrules.groups import Group, Member, alone, group_from, member_from
from alertrules.lifecycle import AlertState, Labels, Transition
from alertrules.marks import ID_DIGITS_MIN
from alertrules.notice import Notice
from alertrules.page import description, line, named, title
from alertrules.parse import RuleSet
from alertrules.placing import Groups
from alertrules.routes import Branch
from alertrules.silences import Acknowledgement, End, Silence, Silences, Word
from alertrules.suppression import Suppressed, Suppression
from alertrules.wording import labels_text, length, utc

NEVER_NS = 2**63
LevelOf = Callable[[str, Labels, int], str]
"""The level of a rule's series at a time, in words; empty where it is not known."""


def unknown_level(rule: str, labels: Labels, at_ns: int) -> str:
    """What is said where nobody knows levels."""
    return ""


@dataclass(frozen=True)
class Told:
    """What one tick led to.

    digest  a line for each alert that began and ended in a backlog: nobody was paged for it
    alone   a notice for each alert that fires or has ended, for destinations that group alerts themselves
    """

    notices: tuple[Notice, ...]
    digest: tuple[str, ...]
    alone: tuple[Notice, ...]


@dataclass
class Kept:
    """An alert that fires and that a route is not to tell just now."""

    route: str
    member: Member
    why: Suppressed


class Router:
    """The open groups, and the alerts held back as too old or kept as suppressed. Calls come in time order."""

    def __init__(self, rules: RuleSet, max_page_age_ns: int, level_of: LevelOf = unknown_level) -> None:
        self._level_of = level_of
        self._rules = {rule.name: rule for rule in rules.rules}
        self._inhibits = rules.inhibit_rules
        self._intervals = {one.name: one for one in rules.time_intervals}
        self._groups = Groups(rules.route)
        self._max_page_age_ns = max_page_age_ns
        self.silences = Silences()
        self._flaps = Flaps()
        self._held: dict[str, Member] = {}
        self._kept: dict[tuple[str, str], Kept] = {}  # By route and alert.
        self._at_ns = 0  # End of the last tick.
        self._due_ns = NEVER_NS  # No group is told before it.
        self._had_suppression = True  # As far as is known: the first tick looks.
        self._alone: list[Notice] = []  # Of the step under way.

    def step(self, transitions: Iterable[Transition], at_ns: int, now_ns: int) -> Told:
        """Take one tick's transitions. `at_ns` is the tick's end, `now_ns` the wall clock, 0 in a replay of no age.

        Call it on ticks without transitions too: that is when what was held back is paged.
        """
        self._alone = []
        earlier, ended = self._look(at_ns - 1, now_ns), list[str]()
        self._at_ns = at_ns
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
        self._let_out(at_ns, self._is_fresh(at_ns, now_ns))
        return Told((*earlier, *self._look(at_ns, now_ns)), tuple(ended), tuple(self._alone))

    def elapse(self, until_ns: int, now_ns: int) -> Told:
        """What is due by `until_ns` of event time; all transitions up to then must have been taken."""
        self._alone = []
        return Told(self._look(until_ns, now_ns), (), tuple(self._alone))

    def hear(self, word: Word, now_ns: int) -> tuple[str, Told]:
        """Take in what a person says of who is told: what to answer, and what it leads to. Raises ValueError."""
        self._alone = []
        at_ns = self._at_ns
        if isinstance(word, Silence):
            answer = f"silence {self.silences.add(word, at_ns)}"
        elif isinstance(word, End):
            answer = f"ended: silence {self.silences.end(word.silence_id, at_ns)}"
        else:
            return self._acknowledge(word), Told((), (), ())
        silenced_before = sum(kept.why.kind == "silenced" for kept in self._kept.values())
        self._let_out(at_ns, self._is_fresh(at_ns, now_ns))
        silenced = sum(kept.why.kind == "silenced" for kept in self._kept.values())
        if silenced > silenced_before:
            answer += f"; {silenced - silenced_before} that wait to be told are silenced"
        return answer, Told(self._look(at_ns, now_ns), (), tuple(self._alone))

    def _acknowledge(self, word: Acknowledgement) -> str:
        """Acknowledge every group that has one of the alerts, or a group itself."""
        groups = {group.group: group for target in word.targets for group in self._groups.named(target)}
        if not groups:  # Of several that were told together some may have ended.
            shown = '", "'.join(word.targets[:5])
            raise ValueError(f'no open alert begins with "{shown}"; write the id that the page shows')
        for group in groups.values():
            group.acknowledge("" if word.is_taken_back else word.by, word.said_ns)
        shown = "; ".join(group.shown for group in list(groups.values())[:5])
        return f"{'no longer acknowledged, said' if word.is_taken_back else 'acknowledged by'} {word.by}: {shown}"

    def _look(self, until_ns: int, now_ns: int) -> tuple[Notice, ...]:
        """Tell what is due, earliest first, and those whom escalation brings in."""
        told: list[Notice] = []
        is_fresh = self._is_fresh(until_ns, now_ns)
        while until_ns >= self._due_ns and (due := self._groups.due(until_ns, is_fresh)):
            for due_ns, group in due:
                self._freshen(group, due_ns)
                told += self._escalated(group, due_ns, now_ns)
                for notice in group.look(due_ns, max(due_ns, now_ns)):
                    told += [replace(notice, receiver=receiver) for receiver in group.receivers]
                self._groups.settle(group)
        if until_ns >= self._due_ns:
            self._due_ns = self._groups.next_due_ns(NEVER_NS)
        for group in self._groups.escalating if is_fresh else ():
            told += self._escalated(group, until_ns, now_ns)
        return tuple(told)

    def _freshen(self, group: Group, at_ns: int) -> None:
        """Have what was told before, and what has ended, tell the level of that time."""
        for member in (*group.audible, *(group.closed if not group.open else ())):
            member.level = self._level_of(member.rule, member.labels, at_ns)

    def _escalated(self, group: Group, until_ns: int, now_ns: int) -> Iterator[Notice]:
        """Tell those whom escalation brings in by then, by people's clock."""
        steps = self._groups.branch(group.route).escalate
        while group.first_ns and group.wakes and group.steps < len(steps):
            step = steps[group.steps]
            if max(until_ns, now_ns) < group.first_ns + step.after_ns:
                return
            at_ns = min(until_ns, group.first_ns + step.after_ns)
            self._freshen(group, at_ns)
            yield group.escalate(step.to, step.after_ns, at_ns)
            self._alone += [alone(step.to, member, at_ns) for member in group.audible]

    def _is_fresh(self, at_ns: int, now_ns: int) -> bool:
        return not self._max_page_age_ns or now_ns - at_ns <= self._max_page_age_ns

    def _member(self, fired: Transition) -> Member:
        rule, known = self._rules.get(fired.rule), fired.known
        assert fired.finding is not None
        heading = said = f"{fired.rule}: {labels_text(fired.labels)}"
        if rule:
            said = line(rule, fired.labels, fired.finding, known)
            heading = title(rule, fired.labels, fired.finding, known.cause)
        fires, within_ns = self._flaps.fired(fired.rule, fired.labels, fired.at_ns)
        if fires >= FLAPPING:
            heading += f" (flapping: fired {fires} times in {length(within_ns)})"
        return Member(
            alert_id=fired.alert_id,
            rule=fired.rule,
            labels=fired.labels,
            severity=fired.severity,
            title=heading,
            line=f"{said}; alert {fired.alert_id[:ID_DIGITS_MIN]}",
            runbook=rule.annotations.runbook if rule else "",
            began_ns=fired.finding.since_ns,
            state=fired.after,
            fired_ns=fired.fired_ns,
            own_labels=rule.labels if rule else (),
            description=description(rule, fired.labels, fired.finding) if rule else "",
            cause=named(known.cause),
            named=tuple((term.label, term.value) for term in known.cause if term.value and term.how is How.RATE),
            examples=tuple((one.what, one.trace) for one in known.examples),
            trend=known.trend,
            fires=fires,
        )

    def _follow(self, moved: Transition, at_ns: int) -> None:
        """A later step of an alert that is in groups, or kept; those that never fired are in none."""
        for key, kept in [one for one in self._kept.items() if one[0][1] == moved.alert_id]:
            kept.member.state = moved.after
            if moved.after is AlertState.INACTIVE:
                del self._kept[key]
                self._end_alone(self._groups.branch(kept.route).receiver, kept.member, at_ns)
        for group in self._groups.of(moved.alert_id):
            member = group.open[moved.alert_id]
            member.state = moved.after
            if moved.reason:
                member.line += f"; {moved.reason}"
            if moved.after is AlertState.MUTED:
                group.lasts(moved.alert_id, at_ns)
            elif moved.after is AlertState.INACTIVE:
                self._groups.leave(group, moved.alert_id, at_ns)
                for receiver in group.receivers:
                    self._end_alone(receiver, member, at_ns)
            self._soon(group)

    def _end_alone(self, receiver: str, member: Member, at_ns: int) -> None:
        if member.told_alone:
            self._alone.append(alone(receiver, replace(member, ended_ns=at_ns), at_ns))

    def _soon(self, group: Group) -> None:
        """A group has changed: it may be due sooner than the others."""
        self._due_ns = min(self._due_ns, group.next_ns(self._groups.branch(group.route), NEVER_NS))

    def _released(self) -> Iterator[tuple[Branch, Member]]:
        """What fires and is not too old, for each route that takes it, in the order of the alerts' ids: the order of
        series means nothing."""
        for alert_id in sorted(self._held):
            member = self._held[alert_id]
            if member.state == AlertState.RECOVERING:
                continue  # Gone back before anyone heard of it: it pages if it relapses.
            del self._held[alert_id]
            for branch in self._groups.tree.taking(member.matched):
                yield branch, replace(member)

    def _let_out(self, at_ns: int, is_fresh: bool) -> None:
        """Give to groups what nothing suppresses, and keep what something does."""
        suppression = self._suppression(at_ns)
        joins = list(self._released()) if is_fresh else []
        if is_fresh:
            joins += [(self._groups.branch(one.route), one.member) for one in self._kept.values()]
            self._kept = {}
        joins += self._groups.suppress(suppression, at_ns)
        if suppression is not None or self._had_suppression:
            self._due_ns = self._groups.next_due_ns(NEVER_NS)  # What is let out may be due sooner than all others.
        self._had_suppression = suppression is not None
        let: list[tuple[Branch, Member]] = []
        for branch, member in joins:
            why = suppression.of(branch, member.matched) if suppression else None
            if why:
                self._kept[branch.key, member.alert_id] = Kept(branch.key, member, why)
            else:
                let.append((branch, member))
        others, resumed = self._groups.again(let, at_ns)
        for group in (*resumed, *self._groups.place(others, at_ns)):
            self._soon(group)
        for branch, member in let:
            if not member.told_alone:
                member.told_alone = True
                self._alone.append(alone(branch.receiver, member, at_ns))

    def _suppression(self, at_ns: int) -> Suppression | None:
        """All that can suppress at this moment; None where nothing can."""
        silences = self.silences.active(at_ns)
        if not (silences or self._inhibits or self._intervals):
            return None
        firing = {name: one.matched for name, one in self._held.items()}
        firing |= {kept.member.alert_id: kept.member.matched for kept in self._kept.values()}
        for group in self._groups.all.values():
            firing |= {name: one.matched for name, one in group.open.items() if name not in group.calming}
        return Suppression(self.silences, self._inhibits, self._intervals, firing, at_ns)

    def audience(self) -> Audience:
        """Who is told of each alert that fires, and what keeps others from it."""
        silences = tuple((one, one.state(self._at_ns)) for one in self.silences.all.values())
        kept = [(self._groups.branch(one.route).receiver, one.member, one.why) for one in self._kept.values()]
        return Audience.of(self._groups.all.values(), kept, silences)

    @property
    def is_idle(self) -> bool:
        """Whether no alert is open, held or kept."""
        return not (self._groups.all or self._held or self._kept)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain JSON-able values."""
        return {
            "groups": [asdict(group) for group in self._groups.all.values()],
            "held": [asdict(member) for member in self._held.values()],
            "kept": [[one.route, asdict(one.member), list(one.why)] for one in self._kept.values()],
            "silences": self.silences.snapshot(),
            "flaps": self._flaps.snapshot(),
            "at_ns": self._at_ns,
        }

    @classmethod
    def restore(
        cls, rules: RuleSet, max_page_age_ns: int, state: Mapping[str, Any],
        level_of: LevelOf = unknown_level,
    ) -> "Router":  # fmt: skip
        """The router that `snapshot` was taken of. The rules may have changed: open groups go on as they began.

        What is of a receiver that nobody leads to any more goes through the routes once more.
        """
        router = cls(rules, max_page_age_ns, level_of)
        router._held = {fields["alert_id"]: member_from(fields) for fields in state["held"]}
        router._at_ns = state.get("at_ns", 0)
        router.silences = Silences.restore(state.get("silences", ()))
        router._flaps = Flaps.restore(state.get("flaps", ()))
        known = router._groups.tree.receivers()
        for fields in state["groups"]:
            group = group_from(fields)
            if group.receiver not in known:
                router._held |= {name: replace(one, told_alone=False) for name, one in group.open.items()}
                continue
            router._groups.add(group)
            router._groups.settle(group)
            router._soon(group)
        for route, fields, why in state.get("kept", ()):
            member = member_from(fields)
            if route in router._groups.branches:
                router._kept[route, member.alert_id] = Kept(route, member, Suppressed(*why))
            else:
                router._held[member.alert_id] = member
        return router
