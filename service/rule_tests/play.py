"""A test's traffic through the pipeline, and what was told: the same steps as of a running daemon, with a clock that
is the traffic's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alertrules.marks import Mark, mark_from
from alertrules.parse import RuleSet
from alertrules.rules import Rule
from detectors.core.columns import SECOND_NS
from service.batch import Batch
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from service.replay.pages_told import Page, Ticket, Told
from service.reports.explain import explained
from service.rule_tests.stream import Stream
from service.rule_tests.written import RuleTest


@dataclass(frozen=True)
class Played:
    """What came of a test. Times are of the test: 0 is when the learning is over.

    states    what is known of each rule at the end, as `tocsin explain` has it
    problems  what could not be read
    """

    pages: Sequence[Page]
    tickets: Sequence[Ticket]
    states: Mapping[str, Mapping[str, Any]]
    problems: Sequence[str]
    spans: int


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
    stream, told, waiting = Stream(test), Told(), list(said)
    for now_ns, records in stream.records():
        while waiting and waiting[0].said_ns < now_ns:
            told.take(pipeline.step(Batch((), {}, marks=(waiting.pop(0),)), now_ns), now_ns - stream.zero_ns)
        told.take(pipeline.step(Batch(records, {}), now_ns), now_ns - stream.zero_ns)
    states = {level.rule.name: explained(level, {}) for level in pipeline.levels()}
    return Played(told.pages, told.tickets, states, told.errors, told.spans)


def chosen(rules: RuleSet, names: Iterable[str]) -> RuleSet:
    """These rules alone, told as the files say; all where none is named. Raises ValueError naming one that is not."""
    wanted = tuple(names)
    known: dict[str, Rule] = {rule.name: rule for rule in rules.rules}
    for name in wanted:
        if name not in known:
            raise ValueError(f'"{name}" is not a rule of the files; there are {", ".join(known)}')
    return replace(rules, rules=tuple(known[name] for name in wanted)) if wanted else rules
