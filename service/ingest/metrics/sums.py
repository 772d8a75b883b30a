"""What metrics and evaluations add to one slot."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors.core.columns import Entries, Floats, Ids, Slot, added_up
from service.ingest.metrics.histograms import Increase
from service.ingest.metrics.meanings import Meaning
from service.ingest.metrics.measures import Measure, Tells

HISTOGRAMS = ("duration", "cost", "outcome", "ending", "first_token", "prompt", "score", "error", "failed_squares")
SUMS = ("count", "squares", "failed", "input_tokens", "output_tokens", "cost_usd", "amount", "unpriced")


class Sums:
    """What metrics and evaluations add to one slot, by cell."""

    def __init__(self) -> None:
        self.sums: dict[int, list[float]] = {}
        self.duration: dict[tuple[int, int], float] = {}
        self.outcome: dict[tuple[int, int], float] = {}

    def known(self, cell: int, measure: Measure, meant: Meaning, more: Increase) -> None:
        """What a point of a known metric adds, but for dollars. Its words must be known, and its unit the second."""
        amount = more.amount if math.isfinite(more.amount) else 0.0
        if measure.tells is Tells.CALLS:
            calls = more.n if measure.timed else amount
            self._add(cell, count=calls, squares=calls, failed=calls if meant.failed else 0.0)
            if measure.timed:
                self._buckets(cell, more)
        elif measure.tells is Tells.TOKENS:
            tokens = measure.tokens(meant, amount)
            self._add(cell, input_tokens=tokens.input, output_tokens=tokens.output)

    def ended(self, cell: int, place: int, sessions: float) -> None:
        """So many sessions ended in this class."""
        self._add(cell, count=sessions, squares=sessions)
        self._outcome(cell, place, sessions)

    def unpriced(self, cell: int, calls: float) -> None:
        """So many calls have no price that is known."""
        self._add(cell, unpriced=calls)

    def paid(self, cell: int, dollars: float) -> None:
        """What was paid."""
        self._add(cell, cost_usd=dollars)

    def add(self, other: "Sums") -> None:
        """Add all of another's."""
        for cell, values in other.sums.items():
            self._add(cell, **dict(zip(SUMS, values, strict=True)))
        for mine, theirs in ((self.duration, other.duration), (self.outcome, other.outcome)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0.0) + count

    def any(self, cell: int, more: Increase) -> None:
        """A point of a metric that a rule names."""
        weight = max(more.n, 1.0)
        self._add(cell, count=weight, squares=weight, amount=more.amount if math.isfinite(more.amount) else 0.0)
        self._buckets(cell, more)

    def evaluated(self, cell: int, place: int, failed: bool) -> None:
        """The label of an evaluation, by its class."""
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

    def _buckets(self, cell: int, more: Increase) -> None:
        for bucket, count in more.buckets:
            if count > 0:
                self.duration[cell, bucket] = self.duration.get((cell, bucket), 0.0) + count

    def slot(self, start_ns: int) -> Slot:
        """The same as a slot."""
        cells = sorted(self.sums)
        columns = np.array([self.sums[cell] for cell in cells], np.float64).reshape(-1, len(SUMS))
        sums = {name: columns[:, i] for i, name in enumerate(SUMS)}
        none, nothing = np.zeros(len(cells)), Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        return Slot(
            start_ns=start_ns, cell=np.array(cells, np.int32), free=none, **sums,  # type: ignore[arg-type]
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
        sums.sums = {int(cell): [*values, *[0.0] * (len(SUMS) - len(values))] for cell, values in state[0]}
        sums.duration = {(cell, bucket): count for cell, bucket, count in state[1]}
        sums.outcome = {(cell, place): count for cell, place, count in state[2]}
        return sums


PASSED = frozenset(("pass", "passed", "good", "correct", "relevant", "true", "yes", "safe", "positive", "grounded"))
NOT_PASSED = frozenset(
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

    columns: dict[str, Any] = {name: summed(name) for name in (*SUMS, "free")}
    columns |= {name: together(name) for name in HISTOGRAMS}
    # Metrics have no calls that could stand for their cells.
    return Slot(
        start_ns=one.start_ns, cell=cells.astype(np.int32), examples=one.examples, firsts=one.firsts,
        lengths=one.lengths, running=one.running, **columns,
    )  # fmt: skip
