"""A notice as lines of plain text: what `tocsin demo` shows, and `run` where no destination is set."""

from dataclasses import dataclass

from alertrules.notice import Notice, Status
from alertrules.rules import Written
from alertrules.wording import utc
from service.config.setting_types import Section
from service.notifiers.notifier import Notifier
from service.notifiers.request import Delivered, Habit, Pace

TERMINAL_LINES_MAX = 20

_WORDS = {
    Status.FIRING: "PAGE",
    Status.STILL_FIRING: "STILL FIRING",
    Status.RESOLVED: "RESOLVED",
    Status.OVER: "OVER BEFORE IT COULD BE TOLD",
    Status.REPORT: "WEEKLY",
}


class Settings(Section):
    """Nothing."""


class Words(Written):
    """Lines on standard output."""


@dataclass(frozen=True)
class Target:
    """Standard output."""

    identity: tuple[str, ...] = ("terminal",)
    secrets: tuple[str, ...] = ()
    place: str = "the terminal"


def render(notice: Notice) -> tuple[str, ...]:
    """The title with its time, then a line for each alert."""
    shown = notice.lines[:TERMINAL_LINES_MAX]
    if left_out := len(notice.lines) - len(shown):
        shown += (f"… and {left_out} more lines",)
    heading = f"{utc(notice.at_ns)}  {_WORDS[notice.status]}  [{notice.severity}] {notice.title}"
    runbook = (f"    runbook: {notice.runbook}",) if notice.runbook else ()
    described = (f"    {notice.description}",) if notice.description else ()
    more = (f"    {name}: {address}" for name, address in notice.links)
    return (heading, *(f"    {line}" for line in shown), *described, *more, *runbook)


NOTIFIER = Notifier(
    Settings,
    Words,
    targets=lambda settings, words: (Target(),) if words else (),
    every=lambda settings: (Target(),),
    pace=Pace(per_s=1000.0, burst=1000),
    habit=Habit(singly_max=10_000, keeps_incidents=False),
    render=lambda notice, target: render(notice),
    render_least=lambda notice, target: render(notice),
    outcome=lambda *answer: Delivered(),
)
