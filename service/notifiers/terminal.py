"""A notice as lines of plain text: what `tocsin demo` shows, and `run` where no destination is set."""

from alertrules.notice import Notice, Status
from alertrules.wording import utc

LINES_MAX = 20

_WORDS = {
    Status.FIRING: "PAGE",
    Status.STILL_FIRING: "STILL FIRING",
    Status.RESOLVED: "RESOLVED",
    Status.OVER: "OVER BEFORE IT COULD BE TOLD",
}


def render(notice: Notice) -> tuple[str, ...]:
    """The title with its time, then a line for each alert."""
    shown = notice.lines[:LINES_MAX]
    if left_out := len(notice.lines) - len(shown):
        shown += (f"… and {left_out} more lines",)
    heading = f"{utc(notice.at_ns)}  {_WORDS[notice.status]}  [{notice.severity}] {notice.title}"
    runbook = (f"    runbook: {notice.runbook}",) if notice.runbook else ()
    return (heading, *(f"    {line}" for line in shown), *runbook)
