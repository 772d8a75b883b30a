"""What a rule has cost so far: its pages, and what people said of them. Held against its budget by who asks."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from alertrules import marks
from alertrules.lifecycle import Labels, labels_from
from alertrules.marks import Kind, Mark
from detectors.core.columns import SECOND_NS

WEEK_NS = 7 * 86_400 * SECOND_NS
KEPT_MAX = 1_000
"""Pages, tickets and marks kept in full; older ones are only counted."""


@dataclass(frozen=True)
class Page:
    """One alert that fired (or a ticket): whose, when, and what was said of it.

    began_ns         when what it tells of began; 0 where nobody knows
    acknowledged_by  who looked into it; empty while nobody said so
    """

    alert_id: str
    labels: Labels
    at_ns: int
    said: Kind | None = None
    began_ns: int = 0
    acknowledged_by: str = ""


@dataclass(frozen=True)
class Sums:
    """A rule's account at one moment.

    weeks   event time since the rule began to count, in weeks
    paged   pages so far; `noise` and `incident` of them were called that
    """

    weeks: float
    paged: int
    noise: int
    incident: int


class Ledger:
    """One rule's account. Times are event time."""

    def __init__(self) -> None:
        self.began_ns = 0
        self.now_ns = 0
        self.paged = 0
        self.said: Counter[Kind] = Counter()
        self.pages: dict[str, Page] = {}
        self.tickets: list[str] = []
        self.marks: list[Mark] = []

    def tick(self, at_ns: int) -> None:
        """A tick that counted something ended."""
        self.began_ns = self.began_ns or at_ns
        self.now_ns = at_ns

    def page(self, page: Page) -> None:
        """An alert fired."""
        self.paged += 1
        self.pages[page.alert_id] = page
        if len(self.pages) > KEPT_MAX:
            del self.pages[next(iter(self.pages))]

    def acknowledge(self, alert_id: str, by: str) -> None:
        """Somebody looks into an alert. The first who did is kept."""
        page = self.pages.get(alert_id)
        if page is not None and not page.acknowledged_by:
            self.pages[alert_id] = replace(page, acknowledged_by=by)

    def ticket(self, line: str) -> None:
        """A line that is worth a look some day."""
        self.tickets = [*self.tickets, line][-KEPT_MAX:]

    def named(self, alert_id: str) -> Iterator[Page]:
        """The pages whose id begins with these digits."""
        yield from [page for name, page in self.pages.items() if name.startswith(alert_id)]

    def mark(self, mark: Mark, page: Page | None) -> None:
        """Keep a mark, and count it once a page: the latest word on a page counts."""
        self.marks = [*self.marks, mark][-KEPT_MAX:]
        if page is None:
            return
        if page.said is not None:
            self.said[page.said] -= 1
        self.said[mark.kind] += 1
        self.pages[page.alert_id] = replace(page, said=mark.kind)

    def sums(self) -> Sums:
        weeks = (self.now_ns - self.began_ns) / WEEK_NS
        return Sums(weeks, self.paged, self.said[Kind.NOISE], self.said[Kind.INCIDENT])

    def state(self) -> dict[str, Any]:
        """What `resume` takes, fit for JSON."""
        return {
            "began_ns": self.began_ns,
            "now_ns": self.now_ns,
            "paged": self.paged,
            "said": dict(self.said),
            "pages": [list(vars(page).values()) for page in self.pages.values()],
            "tickets": self.tickets,
            "marks": [marks.packed(mark) for mark in self.marks],
        }

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> "Ledger":
        """The ledger that `state` was taken of."""
        ledger = cls()
        ledger.began_ns, ledger.now_ns, ledger.paged = state["began_ns"], state["now_ns"], state["paged"]
        ledger.said = Counter({Kind(kind): count for kind, count in state["said"].items()})
        for alert_id, labels, at_ns, said, *more in state["pages"]:  # A version before kept four facts of a page.
            ledger.pages[alert_id] = Page(alert_id, labels_from(labels), at_ns, Kind(said) if said else None, *more)
        ledger.tickets = list(state["tickets"])
        ledger.marks = [marks.unpacked(fields) for fields in state["marks"]]
        return ledger
