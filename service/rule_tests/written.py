"""A file of rules' tests as types: what may be written, with what meaning and what default.

Such a file is named `NAME.test.yaml` and stands beside the rule files that it is about. Times are counted from the
moment at which the learning is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from alertrules.marks import Kind
from alertrules.quantities import level, rate_per_s, share
from alertrules.rules import DurationNs, Name, Written
from alertrules.yaml_file import Grammar, Problem, RuleErrors, line_of, plain, problems, text_of, tree_of
from detectors.core.columns import SECOND_NS
from service.ingest.vocabulary import OPERATIONS, TOOL

MINUTE_NS, HOUR_NS, DAY_NS = 60 * SECOND_NS, 3600 * SECOND_NS, 86_400 * SECOND_NS
START_NS = 1_772_445_600 * SECOND_NS
"""Monday, 2 March 2026, 10:00 UTC: where a test begins that does not say."""
LENGTH_NS = HOUR_NS
"""How long a test is that names no time."""
LENGTH_MAX_NS = 31 * DAY_NS
UNITS_MAX = 20_000_000
"""Sessions and calls of one test: with more it would run for minutes."""
_T = TypeVar("_T")
Many = Annotated[tuple[_T, ...], Field(strict=False)]
Rate = Annotated[float, BeforeValidator(rate_per_s)]
Share = Annotated[float, BeforeValidator(share)]
Seconds = Annotated[float, BeforeValidator(lambda text: level(text, "s"))]
Dollars = Annotated[float, BeforeValidator(lambda text: level(text, "usd"))]
Count = Annotated[float, Field(ge=0, le=1e9, strict=False)]
Label = Annotated[str, Field(max_length=200)]


def _factor(text: object) -> float:
    try:
        value = float(text[:-1]) if isinstance(text, str) and text.endswith("x") else float("nan")
    except ValueError:
        value = float("nan")
    if not 1 <= value <= 1000:
        raise ValueError(f"{text!r:.80} is not a factor of at least 1; write 2x")
    return value


def _outcomes(written: object) -> Mapping[str, float]:
    if not isinstance(written, Mapping) or not all(isinstance(word, str) and word for word in written):
        raise ValueError(f"{written!r:.80} is not a mapping of words; write {{resolved: 80%, escalated: 20%}}")
    shares = {word: share(text) for word, text in written.items()}
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"the shares are {100 * sum(shares.values()):g}% together; write at most 100%")
    return shares


def _moment_ns(text: object) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{text!r:.80} is not a time; write 2026-03-02T10:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    at_ns = int(moment.timestamp()) * SECOND_NS
    if not 0 < at_ns < 2**62:
        raise ValueError(f"{text!r:.80} is out of range; write 2026-03-02T10:00Z")
    return at_ns - at_ns % MINUTE_NS


def _operation(text: object) -> str:
    if not isinstance(text, str) or text not in OPERATIONS:
        raise ValueError(f"{text!r:.80} is not one of {', '.join(sorted(OPERATIONS))}")
    return text


def _text_or_texts(written: object) -> object:
    return [written] if isinstance(written, str) else written


Factor = Annotated[float, BeforeValidator(_factor)]
Outcomes = Annotated[Mapping[str, float], BeforeValidator(_outcomes)]
Texts = Annotated[Many[Annotated[str, Field(min_length=1)]], BeforeValidator(_text_or_texts)]


class Span(Written):
    """From when until when something is different."""

    at: DurationNs
    until: DurationNs | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Span":
        if self.until is not None and self.until <= self.at:
            raise ValueError("until is not after at; write at: 20m and until: 50m")
        return self

    def holds(self, at_ns: int) -> bool:
        return self.at <= at_ns and (self.until is None or at_ns < self.until)


class CallNumbers(Written):
    """What may change of a kind of calls; what is not written stays as it is."""

    each: Count | None = None
    errors: Share | None = None
    error_type: Label | None = None
    latency: Seconds | None = None
    spread: Factor | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cost: Dollars | None = None
    model: Label | None = None
    response_model: Label | None = None
    prompt: Label | None = None


class CallChange(Span, CallNumbers):
    """A change of a kind of calls."""


class Calls(CallNumbers):
    """One kind of calls that an agent's sessions make."""

    operation: Annotated[str, BeforeValidator(_operation)]
    provider: Label = ""
    tool: Label = ""
    changes: Many[CallChange] = ()

    @model_validator(mode="after")
    def _has_a_tool(self) -> "Calls":
        if self.tool and self.operation != TOOL:
            raise ValueError(f"an operation {self.operation} has no tool; leave it out, or write operation: tool")
        return self


class SessionNumbers(Written):
    """What may change of an agent's sessions; `sessions` is how many there are."""

    sessions: Rate | None = None
    outcomes: Outcomes | None = None
    errors: Share | None = None
    latency: Seconds | None = None
    agent_version: Label | None = None


class SessionChange(Span, SessionNumbers):
    """A change of an agent's sessions."""


class Agent(SessionNumbers):
    """An agent's sessions, each with the calls that it makes."""

    tenant: Label = ""
    agent: Label
    calls: Many[Calls] = ()
    changes: Many[SessionChange] = ()

    @model_validator(mode="after")
    def _has_a_rate(self) -> "Agent":
        if self.sessions is None:
            raise ValueError("sessions is missing; write how many there are: 1/s")
        return self


class PointNumbers(Written):
    """What may change of a metric."""

    value: Annotated[float, Field(strict=False, ge=-1e15, le=1e15)] | None = None
    noise: Share | None = None


class PointChange(Span, PointNumbers):
    """A change of a metric."""


class Metric(PointNumbers):
    """A metric of an agent: a gauge, or a counter, of which each point tells what was added in a minute."""

    metric: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Annotated[str, Field(pattern="^(gauge|sum)$")] = "gauge"
    unit: Label = ""
    tenant: Label = ""
    agent: Label = ""
    changes: Many[PointChange] = ()

    @model_validator(mode="after")
    def _has_a_value(self) -> "Metric":
        if self.value is None:
            raise ValueError("value is missing; write value: 10")
        return self


class EvaluationNumbers(Written):
    """What may change of evaluations: how many there are, and their words."""

    rate: Rate | None = None
    words: Outcomes | None = None


class EvaluationChange(Span, EvaluationNumbers):
    """A change of evaluations."""


class Evaluations(EvaluationNumbers):
    """Evaluations of one name of an agent's sessions, as `gen_ai.evaluation.result` or late outcomes tell them."""

    evaluation: Annotated[str, Field(min_length=1, max_length=200)]
    tenant: Label = ""
    agent: Label = ""
    changes: Many[EvaluationChange] = ()

    @model_validator(mode="after")
    def _has_both(self) -> "Evaluations":
        if self.rate is None or not self.words:
            raise ValueError("rate or words is missing; write rate: 10/m and words: {pass: 90%, fail: 10%}")
        return self


class Said(Written):
    """What somebody says during the test, as with `tocsin mark`: a maintenance window."""

    at: DurationNs
    mark: Annotated[Kind, BeforeValidator(Kind)] = Kind.EXPECTED
    rule: Name
    series: Mapping[Label, Label] = Field(default_factory=dict)
    for_ns: DurationNs = Field(alias="for")


class Window(Written):
    """From when until when something is expected."""

    after: DurationNs = 0
    before: DurationNs | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Window":
        if self.before is not None and self.before <= self.after:
            raise ValueError("before is not later than after; write after: 20m and before: 50m")
        return self

    def holds(self, at_ns: int) -> bool:
        return self.after <= at_ns and (self.before is None or at_ns <= self.before)


class ExpectedPage(Window):
    """A page that must be sent, as often as alerts fit it, once at least; all that is written must be so."""

    alert: Name
    labels: Mapping[Label, Label] = Field(default_factory=dict)
    severity: str = ""
    receiver: str = ""
    title: Texts = ()
    text: Texts = ()
    ends: Window | None = None


class ExpectedTicket(Window):
    """A ticket that must be written."""

    alert: Name
    text: Texts = ()


class RuleTest(Written):
    """One test: what rules see, and which pages come of it. `pages` says all of them."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    rules: Many[Name] = ()
    start: Annotated[int, BeforeValidator(_moment_ns)] = START_NS
    learn: DurationNs = 0
    for_ns: DurationNs | None = Field(default=None, alias="for")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    agents: Many[Agent] = ()
    metrics: Many[Metric] = ()
    evaluations: Many[Evaluations] = ()
    said: Many[Said] = ()
    pages: Many[ExpectedPage]
    tickets: Many[ExpectedTicket] | None = None

    @property
    def changes(self) -> list[Span]:
        """All that changes, of agents, calls, metrics and evaluations."""
        found: list[Span] = [one for agent in self.agents for one in agent.changes]
        found += [one for agent in self.agents for calls in agent.calls for one in calls.changes]
        found += [one for metric in self.metrics for one in metric.changes]
        return found + [one for evaluations in self.evaluations for one in evaluations.changes]

    @property
    def length_ns(self) -> int:
        """How long it is: as written, or to the last time that it names, and an hour at least."""
        if self.for_ns is not None:
            return self.for_ns
        times = [time for one in self.changes for time in (one.at, one.until)]
        windows = [*self.pages, *(self.tickets or ()), *(page.ends for page in self.pages if page.ends)]
        times += [time for window in windows for time in (window.after, window.before)]
        return max([LENGTH_NS, *(time + MINUTE_NS for time in times if time)])

    @model_validator(mode="after")
    def _is_bounded(self) -> "RuleTest":
        if self.learn + self.length_ns > LENGTH_MAX_NS:
            raise ValueError("it is longer than 31d with its learning; write less")
        seconds = (self.learn + self.length_ns) / SECOND_NS
        rates = [(agent, agent.sessions or 0.0) for agent in self.agents]
        units = sum(rate * (1 + sum(call.each or 1.0 for call in agent.calls)) for agent, rate in rates) * seconds
        units += sum(one.rate or 0.0 for one in self.evaluations) * seconds
        if units > UNITS_MAX:
            raise ValueError(f"it has {units:,.0f} spans; write lower rates or a shorter learn, at most {UNITS_MAX:,}")
        return self


class FileOfTests(Written):
    """A file of tests, and the rule files that they are about: all of its directory, if it does not say."""

    rule_files: Many[Annotated[str, Field(min_length=1)]] = ()
    tests: Many[RuleTest]

    @model_validator(mode="after")
    def _has_one(self) -> "FileOfTests":
        if not self.tests:
            raise ValueError("there is no test in it; write one")
        return self


GRAMMAR = Grammar(
    FileOfTests,
    {
        "tests": RuleTest, "agents": Agent, "calls": Calls, "metrics": Metric, "evaluations": Evaluations,
        "said": Said, "pages": ExpectedPage,
        "tickets": ExpectedTicket, "ends": Window,
    },
    "tests:", ("tests", None), "name", "test",
)  # fmt: skip


@dataclass(frozen=True)
class Tests:
    """What one file says: its tests, the line of each, and the rule files."""

    file: str
    rule_files: tuple[Path, ...]
    tests: tuple[RuleTest, ...]
    lines: tuple[int, ...]


def read(path: Path) -> Tests:
    """The tests of a file. Raises RuleErrors with all its problems."""
    file = str(path)
    tree = tree_of(text_of(path), file, GRAMMAR)
    try:
        found = FileOfTests.model_validate(plain(tree))
    except ValidationError as error:
        raise RuleErrors(problems(error, tree, file, GRAMMAR)) from None
    lines = tuple(line_of(tree, ("tests", number)) for number in range(len(found.tests)))
    twice = [one.name for one in found.tests]
    clashes = [
        Problem(file, line, one.name, "name", "stands already above; every test needs a name of its own", "test")
        for number, (one, line) in enumerate(zip(found.tests, lines, strict=True)) if one.name in twice[:number]
    ]  # fmt: skip
    if clashes:
        raise RuleErrors(clashes)
    return Tests(file, tuple(path.parent / name for name in found.rule_files) or (path.parent,), found.tests, lines)
