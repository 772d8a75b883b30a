"""The pages and tickets that steps of the pipeline lead to, one an alert, with when each began and ended."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from alertrules.lifecycle import AlertState, Transition
from alertrules.notice import Notice, NoticeAlert, Status
from detectors.core.columns import SECOND_NS
from service.pipeline.pipeline import Outcome


@dataclass
class Page:
    """An alert that somebody was told of.

    at_ns     when; `ended_ns` when it was closed, None while it is open
    """

    alert: NoticeAlert
    receiver: str
    at_ns: int
    ended_ns: int | None = None

    def shown(self) -> dict[str, Any]:
        """The same for JSON; times are seconds."""
        alert = self.alert
        return {
            "alert": alert.rule, "labels": dict(alert.labels), "severity": alert.severity, "receiver": self.receiver,
            "title": alert.title, "text": alert.line, "at_s": self.at_ns / SECOND_NS,
            "ended_s": None if self.ended_ns is None else self.ended_ns / SECOND_NS,
        }  # fmt: skip


@dataclass(frozen=True)
class Ticket:
    """A line that wakes nobody."""

    rule: str
    text: str
    at_ns: int


class Told:
    """What was told so far."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.tickets: list[Ticket] = []
        self.errors: list[str] = []
        self.spans = 0
        self.dropped: Counter[str] = Counter()
        self._by_id: dict[str, Page] = {}

    def take(self, outcome: Outcome, now_ns: int | None) -> None:
        """Take what a step led to, told at `now_ns`; None for the event time of each."""
        self.spans += outcome.tally.spans
        self.dropped.update({reason.value: count for reason, count in outcome.tally.dropped.items() if count})
        self.errors += [answer.error for answer in outcome.answers if answer.error]
        for notice in outcome.notices:
            self._page(notice, notice.at_ns if now_ns is None else now_ns)
        for moved in outcome.transitions:
            self._end(moved, moved.at_ns if now_ns is None else now_ns)
        for line in outcome.tickets:
            rule, _, text = line.partition(": ")
            self.tickets.append(Ticket(rule, text, now_ns or 0))

    def _page(self, notice: Notice, at_ns: int) -> None:
        if notice.status is not Status.FIRING:
            return
        for alert in notice.alerts:
            if alert.alert_id not in self._by_id:
                page = Page(alert, notice.receiver, at_ns)
                self._by_id[alert.alert_id] = page
                self.pages.append(page)

    def _end(self, moved: Transition, at_ns: int) -> None:
        page = self._by_id.get(moved.alert_id)
        if page is not None and moved.after is AlertState.INACTIVE:
            page.ended_ns = at_ns
