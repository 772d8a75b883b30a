"""A test's traffic through the pipeline, and what was told: the same steps as of a running daemon, with a clock that
is the traffic's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alertrules.lifecycle import AlertState, Transition
from alertrules.marks import Mark, mark_from
from alertrules.notice import Notice, NoticeAlert, Status
from alertrules.parse import RuleSet
from alertrules.rules import Rule
from detectors.core.columns import SECOND_NS
from service.batch import Batch
from service.explain import explained
from service.ingest.limits import IngestLimits
from service.pipeline import Outcome, Pipeline
from service.rule_tests.stream import Stream
from service.rule_tests.written import RuleTest


@dataclass
class Page:
    """An alert that somebody was told of. Times are of the test: 0 is when the learning is over.

    ended_ns  when it was closed; None while it is open
    """

    alert: NoticeAlert
    receiver: str
    at_ns: int
    ended_ns: int | None = None


@dataclass(frozen=True)
class Ticket:
    """A line that wakes nobody."""

    rule: str
    text: str
    at_ns: int


@dataclass
class Played:
    """What came of a test.

    states  what is known of each rule at the end, as `tocsin explain` has it
    """

    pages: list[Page] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    spans: int = 0


def marks(test: RuleTest, rules: RuleSet) -> list[Mark]:
    """What is said during a test, in order of time. Raises ValueError where that makes no sense."""
    labels = {rule.name: rule.by for rule in rules.rules}
    found = []
    for said in test.said:
        written = {"mark": said.mark.value, "rule": said.rule, "series": dict(said.series)}
        written |= {"for": f"{said.for_ns // SECOND_NS}s"}
        found.append(mark_from(written, labels, test.start + test.learn + said.at))
    return sorted(found, key=lambda mark: mark.said_ns)


def play(test: RuleTest, rules: RuleSet, said: Sequence[Mark]) -> Played:
    """Run a test's traffic through these rules, with these marks at their times."""
    pipeline = Pipeline(IngestLimits(), rules, max_page_age_ns=0)
    stream, told, waiting = Stream(test), _Told(test), list(said)
    for now_ns, records in stream.records():
        while waiting and waiting[0].said_ns < now_ns:
            told.take(pipeline.step(Batch((), {}, marks=(waiting.pop(0),)), now_ns), now_ns)
        told.take(pipeline.step(Batch(records, {}), now_ns), now_ns)
    told.played.states = {level.rule.name: explained(level, {}) for level in pipeline.levels()}
    return told.played


class _Told:
    """What was told so far."""

    def __init__(self, test: RuleTest) -> None:
        self.zero_ns = test.start + test.learn
        self.played = Played()
        self.problems = self.played.problems
        self._by_id: dict[str, Page] = {}

    def take(self, outcome: Outcome, now_ns: int) -> None:
        """Take what a step led to."""
        at_ns = now_ns - self.zero_ns
        self.played.spans += outcome.tally.spans
        self.problems += [answer.error for answer in outcome.answers if answer.error]
        for notice in outcome.notices:
            self._page(notice, at_ns)
        for moved in outcome.transitions:
            self._end(moved, at_ns)
        for line in outcome.tickets:
            rule, _, text = line.partition(": ")
            self.played.tickets.append(Ticket(rule, text, at_ns))

    def _page(self, notice: Notice, at_ns: int) -> None:
        if notice.status is not Status.FIRING:
            return
        for alert in notice.alerts:
            if alert.alert_id not in self._by_id:
                page = Page(alert, notice.receiver, at_ns)
                self._by_id[alert.alert_id] = page
                self.played.pages.append(page)

    def _end(self, moved: Transition, at_ns: int) -> None:
        page = self._by_id.get(moved.alert_id)
        if page is not None and moved.after is AlertState.INACTIVE:
            page.ended_ns = at_ns


def chosen(rules: RuleSet, names: Iterable[str]) -> RuleSet:
    """These rules alone, told as the files say; all where none is named. Raises ValueError naming one that is not."""
    wanted = tuple(names)
    known: dict[str, Rule] = {rule.name: rule for rule in rules.rules}
    for name in wanted:
        if name not in known:
            raise ValueError(f'"{name}" is not a rule of the files; there are {", ".join(known)}')
    return replace(rules, rules=tuple(known[name] for name in wanted)) if wanted else rules
