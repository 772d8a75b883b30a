"""The route tree, in Alertmanager's words: which receivers are told of an alert, and how it is grouped for each.

An alert enters at the root and goes down into the first child that matches it, or, with `continue`, into the next
ones too. A route of which no child matches takes the alert itself. What a child does not say of receiver, grouping,
times and escalation it has from its parent; matchers, `continue` and time intervals are its own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from alertrules.fields import written
from alertrules.matchers import matchers_of, text_of
from alertrules.rules import DurationNs, Written
from alertrules.select import Matchers, accept
from detectors.core.columns import SECOND_NS

ALL = "..."
"""In `group_by`: every label, so that each alert is told by itself."""
ROOT_KEY = "{}"
ESCALATIONS_MAX = 10
_CALLED = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_. -]{0,98}[A-Za-z0-9_])?", re.ASCII)


def _called(text: object) -> str:
    if not isinstance(text, str) or not _CALLED.fullmatch(text):
        raise ValueError(f"{text!r:.80} is not a name; write letters, digits and _ . -, like team-payments")
    return text


def _grouping(written: object) -> object:
    names = written if isinstance(written, list) else []
    if ALL in names and len(names) > 1:
        raise ValueError(f'"{ALL}" means every label; write it alone')
    if len(set(map(str, names))) < len(names):
        raise ValueError(f"{', '.join(map(str, names))} names a label twice")
    return written


def _listed(written: object) -> object:
    return written if isinstance(written, list) or written is None else [written]


def _in_order(steps: "tuple[Escalation, ...] | None") -> "tuple[Escalation, ...] | None":
    if steps and len(steps) > ESCALATIONS_MAX:
        raise ValueError(f"{len(steps)} steps; write at most {ESCALATIONS_MAX}")
    times = [step.after_ns for step in steps or ()]
    if times != sorted(set(times)):
        raise ValueError("each step comes later than the one before, all counted from the page; write 15m, then 30m")
    return steps


def _later(after_ns: int) -> int:
    if not after_ns:
        raise ValueError("a step waits for somebody; write 15m")
    return after_ns


_TEXT = {"type": "string"}
_ANY_FORM = ({"type": "array", "items": _TEXT}, _TEXT, {"type": "object", "additionalProperties": _TEXT})
Called = Annotated[str, BeforeValidator(_called), written(type="string", pattern=f"^(?:{_CALLED.pattern})$")]
Matching = Annotated[Matchers, BeforeValidator(matchers_of), written(anyOf=list(_ANY_FORM))]
CalledMany = Annotated[tuple[Called, ...], Field(strict=False)]


class Escalation(Written):
    """Who is told next where nobody has acknowledged for so long since the page."""

    after_ns: Annotated[DurationNs, AfterValidator(_later)] = Field(alias="after")
    to: Called


class Route(Written):
    """One route as a file has it; None is inherited."""

    receiver: Called | None = None
    matchers: Matching = ()
    continues: bool = Field(default=False, alias="continue")
    group_by: Annotated[
        Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(strict=False)] | None,
        BeforeValidator(_grouping),
    ] = None
    group_window_ns: DurationNs | None = Field(default=None, alias="group_window")
    group_wait_ns: DurationNs | None = Field(default=None, alias="group_wait")
    group_interval_ns: DurationNs | None = Field(default=None, alias="group_interval")
    repeat_interval_ns: DurationNs | None = Field(default=None, alias="repeat_interval")
    mute_time_intervals: CalledMany = ()
    active_time_intervals: CalledMany = ()
    escalate: Annotated[
        Annotated[tuple[Escalation, ...], Field(strict=False)] | None,
        AfterValidator(_in_order),
        BeforeValidator(_listed),
    ] = None
    routes: Annotated[tuple["Route", ...], Field(strict=False)] = ()


@dataclass(frozen=True)
class Branch:
    """A route with all that it inherits.

    key      names it, whatever is added beside it: its matchers, and those of the routes above
    mutes    names of time intervals in which it tells nobody
    actives  names of those in which alone it tells; empty: always
    """

    key: str = ROOT_KEY
    receiver: str = "oncall"
    matchers: Matchers = ()
    continues: bool = False
    group_by: tuple[str, ...] = ("agent", "severity")
    group_window_ns: int = 1800 * SECOND_NS
    group_wait_ns: int = 0
    group_interval_ns: int = 0
    repeat_interval_ns: int = 86_400 * SECOND_NS
    mutes: tuple[str, ...] = ()
    actives: tuple[str, ...] = ()
    escalate: tuple[Escalation, ...] = ()
    routes: "tuple[Branch, ...]" = ()

    def taking(self, labels: Mapping[str, str]) -> "tuple[Branch, ...]":
        """The routes that take an alert with these labels, in the order of the file."""
        if not accept(self.matchers, labels):
            return ()
        taken: list[Branch] = []
        for branch in self.routes:
            below = branch.taking(labels)
            taken += below
            if below and not branch.continues:
                break
        return tuple(taken) or (self,)

    def all(self) -> "Iterator[Branch]":
        """This route and all below it."""
        yield self
        for branch in self.routes:
            yield from branch.all()

    def receivers(self) -> tuple[str, ...]:
        """Every receiver that may be told, escalation among them, each once."""
        named = [name for one in self.all() for name in (one.receiver, *(step.to for step in one.escalate))]
        return tuple(dict.fromkeys(named))


_DEFAULTS = Branch()
_INHERITED = (
    "receiver", "group_by", "group_window_ns", "group_wait_ns", "group_interval_ns", "repeat_interval_ns", "escalate",
)  # fmt: skip


def branch_of(route: Route, parent: Branch = _DEFAULTS, key: str = ROOT_KEY) -> Branch:
    """The tree below a route with everything inherited."""
    written = {name: getattr(route, name) for name in _INHERITED}
    inherited = {name: getattr(parent, name) if value is None else value for name, value in written.items()}
    own = Branch(
        key=key, matchers=route.matchers, continues=route.continues, mutes=route.mute_time_intervals,
        actives=route.active_time_intervals, **inherited,
    )  # fmt: skip
    return Branch(**{**vars(own), "routes": tuple(_below(route, own))})


def _below(route: Route, own: Branch) -> Iterator[Branch]:
    seen: dict[str, int] = {}
    for child in route.routes:
        text = text_of(child.matchers)
        seen[text] = count = seen.get(text, 0) + 1
        yield branch_of(child, own, f"{own.key}/{text}" + (f"#{count}" if count > 1 else ""))


def places(route: Route, place: tuple[str | int, ...] = ("route",)) -> Iterator[tuple[tuple[str | int, ...], Route]]:
    """Every route with its place in the file, as keys and positions."""
    yield place, route
    for i, child in enumerate(route.routes):
        yield from places(child, (*place, "routes", i))
