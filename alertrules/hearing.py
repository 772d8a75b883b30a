"""Who hears, out of all files together: receivers, the route tree, inhibition and time intervals; and what is wrong.

A file may hold each of them; the route stands in one file alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from alertrules.inhibition import InhibitRule
from alertrules.matchers import text_of
from alertrules.reach import can_match, is_taken
from alertrules.receivers import ONCALL, Receiver
from alertrules.routes import ALL, Branch, Route, branch_of, places
from alertrules.rules import GROUP_LABELS, Rule
from alertrules.select import Matchers
from alertrules.times import TimeInterval

Place = tuple[str | int, ...]


class Says(Protocol):
    """What one file says of who hears, and on which line each name stands."""

    @property
    def file(self) -> str: ...
    @property
    def receivers(self) -> tuple[Receiver, ...]: ...
    @property
    def route(self) -> Route | None: ...
    @property
    def inhibit_rules(self) -> tuple[InhibitRule, ...]: ...
    @property
    def time_intervals(self) -> tuple[TimeInterval, ...]: ...
    @property
    def lines(self) -> Mapping[str, int]: ...
    def named(self, kind: str) -> Iterator[tuple[str, int]]: ...


class Wrong(NamedTuple):
    """One thing to mend: the file, the line, the field, what to write instead."""

    file: str
    line: int
    field: str
    message: str


@dataclass(frozen=True)
class Hearing:
    """Who hears, checked. `dead` has the receivers, routes and inhibition rules that nothing comes to."""

    receivers: tuple[Receiver, ...]
    route: Branch
    inhibit_rules: tuple[InhibitRule, ...]
    time_intervals: tuple[TimeInterval, ...]
    dead: tuple[Wrong, ...]


def hearing(files: Sequence[Says], rules: Sequence[Rule]) -> tuple[Hearing, list[Wrong]]:
    """Put what all files say together, with the defaults; what is wrong with it stands beside it.

    What can be used and that nothing comes to is dead, and not wrong: it may have been so for months.
    """
    routed = [file for file in files if file.route]
    first = f"{routed[0].file}:{routed[0].lines['route']}" if routed else ""
    wrong = [
        Wrong(file.file, file.lines["route"], "route", f"there is one already, at {first}; keep one")
        for file in routed[1:]
    ]
    route = (routed[0].route if routed else None) or Route()
    receivers = tuple(receiver for file in files for receiver in file.receivers)
    if ONCALL.name not in {receiver.name for receiver in receivers}:
        receivers = (*receivers, ONCALL)
    intervals: dict[str, TimeInterval] = {}
    for file in files:
        for one, (_, line) in zip(file.time_intervals, file.named("time_intervals"), strict=True):
            if one.name in intervals:
                wrong.append(Wrong(file.file, line, "time_intervals", f'"{one.name}" stands twice; keep one'))
            intervals[one.name] = one
    known = {*GROUP_LABELS, "alertname", *(name for rule in rules for name, _ in rule.labels)}
    tree, dead = branch_of(route), list[Wrong]()
    if routed:
        named = [receiver.name for receiver in receivers]
        check = _RouteCheck(routed[0], named, known, intervals, rules)
        wrong += check.all()
        dead += check.dead()
    for found, is_dead in _inhibition(files, known, rules):
        (dead if is_dead else wrong).append(found)
    for file in files:
        for name in sorted({one.name for one in file.receivers} - set(tree.receivers())):
            unheard = f'no route leads to "{name}"; write one, or leave it out'
            dead.append(Wrong(file.file, file.lines[f"receiver {name}"], "receivers", unheard))
    inhibits = tuple(rule for file in files for rule in file.inhibit_rules)
    return Hearing(receivers, tree, inhibits, tuple(intervals.values()), tuple(dead)), wrong


class _RouteCheck:
    """The routes of one file against all that the files name."""

    def __init__(
        self, file: Says, receivers: Sequence[str], known: set[str], intervals: Mapping[str, TimeInterval],
        rules: Sequence[Rule],
    ) -> None:  # fmt: skip
        self._file, self._receivers, self._known, self._intervals = file, receivers, known, intervals
        self._rules = rules

    def all(self) -> Iterator[Wrong]:
        """Everything that is wrong."""
        root = self._file.route
        assert root is not None
        of_root = {
            "matchers": root.matchers, "continue": root.continues,
            "mute_time_intervals": root.mute_time_intervals, "active_time_intervals": root.active_time_intervals,
        }  # fmt: skip
        for field, written in of_root.items():
            if written:
                yield self._wrong(("route",), field, "the first route takes every alert, always; write it in routes")
        for place, route in places(root):
            yield from self._names(place, route)
            yield from self._labels(place, route)

    def dead(self) -> Iterator[Wrong]:
        """Routes that no alert can come to."""
        root = self._file.route
        if self._rules and root is not None:
            yield from self._dead(("route",), root, (), [])

    def _wrong(self, place: Place, field: str, message: str) -> Wrong:
        path = ".".join(map(str, place))
        return Wrong(self._file.file, self._file.lines[path], f"{path}.{field}" if field else path, message)

    def _names(self, place: Place, route: Route) -> Iterator[Wrong]:
        told = [("receiver", route.receiver)] if route.receiver else []
        if place == ("route",) and not route.receiver:
            told = [("receiver", ONCALL.name)]
        told += [("escalate", step.to) for step in route.escalate or ()]
        for field, name in told:
            if name not in self._receivers:
                yield self._wrong(place, field, f'"{name}" is not a receiver; there are {", ".join(self._receivers)}')
        for field in ("mute_time_intervals", "active_time_intervals"):
            for name in getattr(route, field):
                if name not in self._intervals:
                    there = f"there are {', '.join(self._intervals)}" if self._intervals else "there is none"
                    yield self._wrong(place, field, f'"{name}" is not a time interval; {there}')

    def _labels(self, place: Place, route: Route) -> Iterator[Wrong]:
        used = {"group_by": set(route.group_by or ()) - {ALL}}
        used["matchers"] = {matcher.label for matcher in route.matchers} if self._rules else set()
        for field, names in used.items():
            for name in sorted(names - self._known):
                written = f'"{name}" is not a label; there are {", ".join(sorted(self._known))}'
                yield self._wrong(place, field, written)

    def _dead(
        self, place: Place, route: Route, above: Matchers, before: list[tuple[Place, Matchers]]
    ) -> Iterator[Wrong]:
        """Routes that no alert can come to; of those below one nothing is said.

        before  routes that take an alert before it could come here
        """
        all_ = (*above, *route.matchers)
        if not {matcher.label for matcher in all_} <= self._known:
            return  # Told already.
        if not can_match(self._rules, all_):
            yield self._wrong(place, "matchers", f"no alert of any rule can match {text_of(all_)}")
            return
        if before and is_taken(self._rules, all_, [matchers for _, matchers in before]):
            takers = [place for place, matchers in before if is_taken(self._rules, all_, [matchers])]
            line = self._file.lines[".".join(map(str, takers[0] if takers else before[0][0]))]
            more = "takes" if takers else "and those after it take"
            yield self._wrong(
                place, "", f"the route on line {line} {more} all that could match; put this one first, or write "
                "continue: true there",
            )  # fmt: skip
            return
        for i, child in enumerate(route.routes):
            here = (*place, "routes", i)
            yield from self._dead(here, child, all_, before)
            if not child.continues:
                before = [*before, (here, (*all_, *child.matchers))]


def _inhibition(files: Sequence[Says], known: set[str], rules: Sequence[Rule]) -> Iterator[tuple[Wrong, bool]]:
    """What is wrong with inhibition rules, and whether they are only dead."""
    for file in files:
        for i, rule in enumerate(file.inhibit_rules):
            line = file.lines[f"inhibit_rules {i}"]
            sides = {"source_matchers": rule.source_matchers, "target_matchers": rule.target_matchers}
            for field, matchers in sides.items():
                names = {matcher.label for matcher in matchers} - known
                for name in sorted(names if rules else ()):
                    written = f'"{name}" is not a label; there are {", ".join(sorted(known))}'
                    yield Wrong(file.file, line, f"inhibit_rules.{i}.{field}", written), False
                if rules and not names and not can_match(rules, matchers):
                    written = f"no alert of any rule can match {text_of(matchers)}"
                    yield Wrong(file.file, line, f"inhibit_rules.{i}.{field}", written), True
            for name in sorted(set(rule.equal) - known if rules else ()):
                written = f'"{name}" is not a label; there are {", ".join(sorted(known))}'
                yield Wrong(file.file, line, f"inhibit_rules.{i}.equal", written), False
