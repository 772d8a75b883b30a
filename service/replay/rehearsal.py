"""Recorded telemetry through one set of rules or two, as a backlog is read: which pages would have been sent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from alertrules.parse import RuleSet
from detectors.core.columns import SECOND_NS
from service.batch import Batch
from service.config.settings import Settings
from service.pipeline.pipeline import Pipeline
from service.replay.pages_told import Page, Told
from service.reports.explain import told as rule_told
from service.wiring import pipeline as wired

HOUR_NS, DAY_NS = 3600 * SECOND_NS, 86_400 * SECOND_NS


@dataclass(frozen=True)
class RuleOutcome:
    """What came of one rule: its pages, and whether it could judge.

    weeks           pages by the Monday that their week began with
    series, judged  that it knows in the end, and of them those that it judges
    """

    rule: str
    budget_per_week: float | None
    pages: Sequence[Page]
    weeks: Counter[str]
    series: int
    judged: int


@dataclass(frozen=True)
class Rehearsed:
    """What came of one set of rules.

    from_ns, until_ns  event time of the first and the last record
    unread             bodies that are not OTLP
    dropped            what was not counted, by why
    """

    rules: Sequence[RuleOutcome]
    tickets: Counter[str]
    from_ns: int
    until_ns: int
    spans: int
    unread: int
    dropped: Counter[str]

    @property
    def weeks(self) -> float:
        return max(self.until_ns - self.from_ns, 0) / (7 * DAY_NS)

    @property
    def pages(self) -> list[Page]:
        return sorted((page for rule in self.rules for page in rule.pages), key=lambda page: page.at_ns)


class Rehearsal:
    """One set of rules at work on a record, without anybody who is told."""

    def __init__(self, rules: RuleSet, settings: Settings, now_ns: int) -> None:
        # Pages of any age: nobody is woken by them.
        self.pipeline: Pipeline = wired(settings.model_copy(update={"max_page_age": 0}), rules)
        self.told, self.now_ns, self.from_ns = Told(), now_ns, 0

    def step(self, batch: Batch) -> None:
        """Read a batch as the daemon reads a backlog."""
        self.told.take(self.pipeline.step(batch, self.now_ns), None)
        self.from_ns = self.from_ns or self.pipeline.watermark_ns or 0

    def end(self) -> Rehearsed:
        """Close what is open, and say what came of it."""
        until_ns = self.pipeline.watermark_ns or 0
        self.told.take(self.pipeline.flush(self.now_ns), None)
        rules = []
        for level in self.pipeline.levels():
            shown, name = rule_told(level), level.rule.name
            mine = [page for page in self.told.pages if page.alert.rule == name]
            weeks = Counter(monday(page.at_ns) for page in mine)
            rules.append(RuleOutcome(name, level.rule.budget_in_all, mine, weeks, shown["series"], shown["judged"]))
        tickets = Counter(ticket.rule for ticket in self.told.tickets)
        told = self.told
        return Rehearsed(rules, tickets, self.from_ns, until_ns, told.spans, len(told.errors), told.dropped)


def monday(at_ns: int) -> str:
    """The day with which the week of a time began, UTC.

    >>> monday(1_772_445_600 * SECOND_NS)
    '2026-03-02'
    """
    monday_ns = at_ns // DAY_NS - (at_ns // DAY_NS + 3) % 7  # The first of 1970 was a Thursday.
    return datetime.fromtimestamp(monday_ns * DAY_NS // SECOND_NS, UTC).date().isoformat()


@dataclass(frozen=True)
class Difference:
    """Pages of one set of rules that the other does not send, and those that both do."""

    new: Sequence[Page]
    gone: Sequence[Page]
    both: int


def difference(now: Rehearsed, before: Rehearsed) -> Difference:
    """What a change of rules changes: pages of the same rule and series that overlap, or begin within an hour."""
    left = list(before.pages)
    new = []
    for page in now.pages:
        same = next((one for one in left if _is_same(page, one)), None)
        if same is None:
            new.append(page)
        else:
            left.remove(same)
    return Difference(new, left, len(now.pages) - len(new))


def _is_same(one: Page, other: Page) -> bool:
    if (one.alert.rule, _series(one)) != (other.alert.rule, _series(other)):
        return False
    first, second = sorted((one, other), key=lambda page: page.at_ns)
    return second.at_ns - first.at_ns <= HOUR_NS or first.ended_ns is None or second.at_ns <= first.ended_ns


def _series(page: Page) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(page.alert.labels))


def rehearse(batches: Iterable[Batch], rehearsals: Sequence[Rehearsal]) -> list[Rehearsed]:
    """All batches through each."""
    for batch in batches:
        for rehearsal in rehearsals:
            rehearsal.step(batch)
    return [rehearsal.end() for rehearsal in rehearsals]
