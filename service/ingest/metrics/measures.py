"""What metrics and evaluations mean: which cell they count in, and what of it they tell.

A known metric tells the same signals as spans do (calls and their durations, tokens, cost, outcomes of sessions), and
only where no span of its service told that signal in the last day: one source a signal. Tokens cost what their prices
say, where neither a span nor a metric of the service stated cost in the last day. Any other metric, if a rule names it,
is a cell of its own, with the label `metric`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from detectors.core.columns import OUTCOMES, Entries, Floats, Ids, Slot, added_up
from service.ingest.dialects import RESOURCE_FIELDS, SPAN_NAMES, WANTED
from service.ingest.metrics.streams import Increase
from service.ingest.otlp.points import Evaluation, Labels, Point
from service.ingest.prices import DAY_NS, Tokens
from service.ingest.read import read_resource, read_span
from service.ingest.rollup import BUCKET_MAX, BUCKET_MIN
from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    AGENT_VERSION,
    LLM,
    MODEL_OPERATIONS,
    OTHER,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SESSION_UNIT,
    TENANT,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Reading,
    Scalar,
    outcome_class,
)

SCORE_METRIC = "gen_ai.evaluation.score"
"""The metric as which a rule names the scores of evaluations; `tool` is the evaluation's name."""
PLAIN = {
    "agent": "gen_ai.agent.name", "tenant": "tenant.id", "model": "gen_ai.request.model", "tool": "gen_ai.tool.name",
    "tool.name": "gen_ai.tool.name", "agent.name": "gen_ai.agent.name", "provider": "gen_ai.provider.name",
}  # fmt: skip
"""Plain names that metrics made by hand carry, and the attributes that they mean."""
_FAILED = frozenset(("error", "errored", "failed", "failure", "fail", "exception", "timeout"))
_FRESH, _READ = frozenset(("input", "prompt")), frozenset(("cacheread", "cache_read"))
_WRITTEN = frozenset(("cachecreation", "cache_creation", "cachewrite", "cache_write"))


KNOWN_MAX = 1e9
"""Calls, sessions or dollars that one point may tell: no agent makes, or costs, a billion between two exports."""
TOKENS_MAX = 1e15


class Tells(StrEnum):
    """What a metric tells."""

    CALLS = "calls"  # How many calls, how many of them failed, and how long they took.
    TOKENS = "tokens"
    COST = "cost"
    OUTCOMES = "outcomes"


@dataclass(frozen=True)
class Measure:
    """A known metric. `operation` holds where its attributes name none; `token` is the kind that it counts."""

    tells: Tells
    operation: str
    token: str = ""

    def signal(self, meant: "Meaning") -> str:
        """What spans tell, too, if they tell this."""
        return meant.labels[2] if self.tells is Tells.CALLS else self.tells

    def is_sane(self, more: Increase) -> bool:
        """Whether a point tells what can be: one of absurd size would hide all others of its rule for weeks."""
        largest = TOKENS_MAX if self.tells is Tells.TOKENS else KNOWN_MAX
        amount = 0.0 if math.isnan(more.amount) or (self.tells is Tells.CALLS and more.n) else more.amount
        return max(more.n, abs(amount)) <= largest

    def tokens(self, meant: "Meaning", amount: float) -> Tokens:
        """So many tokens, of the kind that they are."""
        kind = self.token or meant.token
        if kind in _READ:
            return Tokens(amount, cache_read=amount)
        if kind in _WRITTEN:
            return Tokens(amount, cache_write=amount)
        return Tokens(amount) if kind in _FRESH else Tokens(output=amount)


MEASURES: Mapping[str, Measure] = {
    "gen_ai.client.operation.duration": Measure(Tells.CALLS, LLM),
    "gen_ai.client.inference.duration": Measure(Tells.CALLS, LLM),
    "gen_ai.invoke_agent.duration": Measure(Tells.CALLS, AGENT_RUN),
    "gen_ai.execute_tool.duration": Measure(Tells.CALLS, TOOL),
    "gen_ai.invoke_workflow.duration": Measure(Tells.CALLS, WORKFLOW),
    "gen_ai.workflow.duration": Measure(Tells.CALLS, WORKFLOW),
    "agent.tool.call.count": Measure(Tells.CALLS, TOOL),
    "gen_ai.client.token.usage": Measure(Tells.TOKENS, LLM),
    "gen_ai.client.inference.usage.input_tokens": Measure(Tells.TOKENS, LLM, "input"),
    "gen_ai.client.inference.usage.output_tokens": Measure(Tells.TOKENS, LLM, "output"),
    "claude_code.token.usage": Measure(Tells.TOKENS, LLM),
    "agent.cost.usd": Measure(Tells.COST, OTHER),
    "operation.cost": Measure(Tells.COST, OTHER),
    "claude_code.cost.usage": Measure(Tells.COST, OTHER),
    "agent.session.outcome": Measure(Tells.OUTCOMES, SESSION_UNIT),
}
"""The metrics that tell what spans tell too. A new one is a line."""
SECONDS_IN = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
Cell = tuple[str, ...]
"""Values of CELL_LABELS."""


@dataclass(frozen=True)
class Meaning:
    """What the attributes of one stream say. `models`: the one that answered, and the one asked for."""

    labels: Cell
    provider: str
    models: tuple[str, str]
    failed: bool
    token: str
    outcome: str
    service: str


def meaning(operation: str, attributes: Labels, resource: Labels, metric: str = "") -> Meaning:
    """The labels of a stream's cell, by the tables of the dialects, and the few plain names besides."""
    known: dict[str, Scalar] = {PLAIN.get(name, name): value for name, value in attributes}
    process = read_resource([(name, value) for name, value in resource if name in _RESOURCE])
    reading = Reading(is_root=True)
    read_span(reading, lambda: "", [(WANTED[name], value) for name, value in known.items() if name in WANTED])
    said = str(known.get("operation", "")).lower()
    if said and f"agent.{said}" in SPAN_NAMES:
        operation = SPAN_NAMES[f"agent.{said}"][0]
    elif reading.operation != OTHER and "gen_ai.operation.name" in known:
        operation = reading.operation
    own, is_model = reading.own, operation in MODEL_OPERATIONS
    provider, models = str(own.get(PROVIDER, "")), (str(own.get(RESPONSE_MODEL, "")), str(own.get(REQUEST_MODEL, "")))
    labels = (
        str(own.get(TENANT) or process.tenant),
        str(own.get(AGENT) or process.agent),
        operation,
        provider if is_model else "",
        (models[1] or models[0]) if is_model else "",
        str(own.get(TOOL_NAME, "")) if operation == TOOL else "",
        str(own.get(AGENT_VERSION) or process.version),
        metric,
    )
    failed = reading.failed or str(known.get("status", "")).lower() in _FAILED
    token = str(known.get("gen_ai.token.type") or known.get("direction") or known.get("type") or "").lower()
    return Meaning(labels, provider, models, failed, token, str(known.get("outcome", "")), process.agent)


_RESOURCE = frozenset(name for names in RESOURCE_FIELDS.values() for name in names)


TOLD_MAX = 20_000
"""Services and agents, by signal, of which it is remembered that their spans tell it."""
STATED = "stated"
"""The signal of cost that a metric states."""


class Told:
    """Which signals the spans of each service, and of each agent, told of late: metrics are silent there. And whose
    metrics state cost: their tokens are not priced.
    """

    def __init__(self) -> None:
        self._last_ns: dict[tuple[str, str], int] = {}

    def hear(self, name: str, signal: str, last_ns: int) -> None:
        """A service or an agent told a signal until then. Who was silent longest gives up its place."""
        if len(self._last_ns) > TOLD_MAX:
            latest = sorted(self._last_ns.items(), key=lambda told: told[1])[-TOLD_MAX // 2 :]
            self._last_ns = dict(latest)
        self._last_ns[name, signal] = max(last_ns, self._last_ns.get((name, signal), 0))

    def knows(self, signal: str, meant: Meaning, time_ns: int) -> bool:
        """Whether it is told already."""
        last = max(self._last_ns.get((name, signal), 0) for name in (meant.service, meant.labels[1]))
        return time_ns - last < DAY_NS

    def state(self) -> list[Any]:
        """What `resume` takes, fit for JSON."""
        return [[*key, last_ns] for key, last_ns in self._last_ns.items()]

    @classmethod
    def resume(cls, state: list[Any]) -> "Told":
        told = cls()
        told._last_ns = {(agent, signal): last_ns for agent, signal, last_ns in state}
        return told


SUMS = ("count", "squares", "failed", "input_tokens", "output_tokens", "cost_usd", "amount")
Add = Callable[[Cell], int]
"""The id of a cell."""


class Sums:
    """What metrics and evaluations add to one slot, by cell."""

    def __init__(self) -> None:
        self.sums: dict[int, list[float]] = {}
        self.duration: dict[tuple[int, int], float] = {}
        self.outcome: dict[tuple[int, int], float] = {}

    def known(self, cell: int, measure: Measure, meant: Meaning, point: Point, more: Increase) -> None:
        """A point of a known metric."""
        amount = more.amount if math.isfinite(more.amount) else 0.0
        if measure.tells is Tells.CALLS:
            calls = more.n or amount
            self._add(cell, count=calls, squares=calls, failed=calls if meant.failed else 0.0)
            self._buckets(cell, more, SECONDS_IN.get(point.unit, 1.0))
        elif measure.tells is Tells.TOKENS:
            tokens = measure.tokens(meant, amount)
            self._add(cell, input_tokens=tokens.input, output_tokens=tokens.output)
        elif measure.tells is Tells.COST:
            self.paid(cell, amount)
        else:
            self._add(cell, count=amount, squares=amount)
            self._outcome(cell, outcome_class(meant.outcome), amount)

    def paid(self, cell: int, dollars: float) -> None:
        """What was paid."""
        self._add(cell, cost_usd=dollars)

    def any(self, cell: int, more: Increase) -> None:
        """A point of a metric that a rule names."""
        weight = max(more.n, 1.0)
        self._add(cell, count=weight, squares=weight, amount=more.amount if math.isfinite(more.amount) else 0.0)
        self._buckets(cell, more, 1.0)

    def evaluated(self, cell: int, evaluation: Evaluation) -> None:
        """The label of an evaluation, which passes or fails."""
        said = evaluation.said.lower()
        failed = said in _NOT_PASSED
        place = 0 if said in _PASSED else OUTCOMES.index("failed") if failed else outcome_class(said)
        self._add(cell, count=1.0, squares=1.0, failed=float(failed))
        self._outcome(cell, place, 1.0)

    def score(self, cell: int, score: float) -> None:
        """The score of an evaluation."""
        self._add(cell, count=1.0, squares=1.0, amount=score)

    def _add(self, cell: int, **added: float) -> None:
        sums = self.sums.setdefault(cell, [0.0] * len(SUMS))
        for name, value in added.items():
            sums[SUMS.index(name)] += value

    def _outcome(self, cell: int, place: int, count: float) -> None:
        if count > 0:
            self.outcome[cell, place] = self.outcome.get((cell, place), 0.0) + count

    def _buckets(self, cell: int, more: Increase, unit: float) -> None:
        moved = round(math.log2(unit) * 8) if unit != 1.0 else 0
        for bucket, count in more.buckets:
            if count > 0:
                place = min(max(bucket + moved, BUCKET_MIN), BUCKET_MAX)
                self.duration[cell, place] = self.duration.get((cell, place), 0.0) + count

    def slot(self, start_ns: int) -> Slot:
        """The same as a slot."""
        cells = sorted(self.sums)
        columns = np.array([self.sums[cell] for cell in cells], np.float64).reshape(-1, len(SUMS))
        sums = {name: columns[:, i] for i, name in enumerate(SUMS)}
        none, nothing = np.zeros(len(cells)), Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        return Slot(
            start_ns=start_ns, cell=np.array(cells, np.int32), unpriced=none, free=none, **sums,  # type: ignore[arg-type]
            duration=_entries(self.duration), cost=nothing, outcome=_entries(self.outcome),
        )  # fmt: skip

    def state(self) -> list[Any]:
        """What `resume` takes, fit for JSON."""
        return [
            list(self.sums.items()),
            [[*key, count] for key, count in self.duration.items()],
            [[*key, count] for key, count in self.outcome.items()],
        ]

    @classmethod
    def resume(cls, state: list[Any]) -> "Sums":
        sums = cls()
        sums.sums = {int(cell): list(values) for cell, values in state[0]}
        sums.duration = {(cell, bucket): count for cell, bucket, count in state[1]}
        sums.outcome = {(cell, place): count for cell, place, count in state[2]}
        return sums


_PASSED = frozenset(("pass", "passed", "good", "correct", "relevant", "true", "yes", "safe", "positive", "grounded"))
_NOT_PASSED = frozenset(
    ("fail", "failed", "bad", "incorrect", "irrelevant", "false", "no", "unsafe", "negative", "error")
)


def _entries(counted: Mapping[tuple[int, int], float]) -> Entries:
    pairs = sorted(counted)
    cell: Ids = np.array([cell for cell, _ in pairs], np.int32)
    bucket: Ids = np.array([bucket for _, bucket in pairs], np.int32)
    count: Floats = np.array([counted[pair] for pair in pairs], np.float64)
    return Entries(cell, bucket, count)


def added(one: Slot, other: Slot) -> Slot:
    """Two slots of the same time as one."""
    cells, place = np.unique(np.concatenate([one.cell, other.cell]), return_inverse=True)

    def summed(name: str) -> Floats:
        values = np.concatenate([getattr(one, name), getattr(other, name)])
        return np.bincount(place, values, len(cells)).astype(np.float64)

    def together(name: str) -> Entries:
        a, b = getattr(one, name), getattr(other, name)
        joined = (np.concatenate([getattr(a, part), getattr(b, part)]) for part in ("cell", "bucket", "count"))
        return added_up(*joined)

    names = (*SUMS, "unpriced", "free")
    return Slot(
        start_ns=one.start_ns, cell=cells.astype(np.int32), **{name: summed(name) for name in names},
        duration=together("duration"), cost=together("cost"), outcome=together("outcome"), ending=together("ending"),
        first_token=together("first_token"), prompt=together("prompt"),
    )  # fmt: skip
