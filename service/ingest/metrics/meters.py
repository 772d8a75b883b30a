"""Metrics and evaluations on their way into slots, with all that must be remembered of them.

A known metric tells the same signals as spans do (calls and their durations, tokens, cost, outcomes of sessions), and
only where no span of its service told that signal in the last day: one source a signal. Tokens cost what their prices
say, where neither a span nor a metric of the service stated cost in the last day. What is told of an agent or workflow
as a whole counts where its service told nothing of calls of models. Any other metric, if a rule names it, is a cell of
its own, with the label `metric`.

A point counts in the slot in which its interval ended; if that is closed, in the first open one, as exporters speak
once a minute and would else be late for ever. So metrics hold no slot open while spans come.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import SECOND_NS, SLOT_NS, Arrays, Slot
from detectors.core.series import OVERFLOW
from service.batch import Dropped
from service.ingest.metrics.histograms import Increase
from service.ingest.metrics.meanings import Cell, Meaning, meaning
from service.ingest.metrics.measures import MEASURES, USD, Measure, Tells
from service.ingest.metrics.scores import Scores
from service.ingest.metrics.streams import STREAMS_MAX, Streams
from service.ingest.metrics.sums import NOT_PASSED, PASSED, Sums
from service.ingest.metrics.told import LEAF, SESSIONS, STATED, Told, pair
from service.ingest.otlp.points import SCORE_METRIC, Evaluation, Kind, Point, Read
from service.ingest.prices import CostSource, Tokens
from service.ingest.vocabulary import EVALUATION, MODEL_OPERATIONS, SESSION_UNIT, SPEND

LATE_MAX_NS = 3600 * SECOND_NS
"""What ended longer than this before the first open slot is not counted any more."""
Joined = Callable[[bytes, bytes], tuple[str, str]]
"""Tenant and agent of a span of a live trace; empty where it is not known."""
NO_RATES: Mapping[str, float] = {}


class Doors(NamedTuple):
    """What the rest of ingest does for metrics.

    cell_of     the id of a cell, seen at that time
    dollars_of  dollars of tokens that were used until then, of the provider and a model of that meaning, and where they
                come from
    unknown     a word that no table knows: of what kind, of which metric, the word, who sent it, and when
    outcome_of  the class of an outcome: the word, of which metric, who sent it, when, and how often
    """

    cell_of: Callable[[Cell, int], int]
    joined: Joined
    dollars_of: Callable[[Meaning, Tokens, int], tuple[float, CostSource]]
    unknown: Callable[[Dropped, str, str, str, int], None]
    outcome_of: Callable[[str, str, str, int, float], int]


@dataclass
class Held:
    """What is told of an agent as a whole, until its slot closes; `priced` counts tokens by source of their cost."""

    sums: Sums
    time_ns: int
    priced: Counter[str]


def nothing_named(metric: str) -> bool:
    """For whom no rule names a metric."""
    return False


class Meters:
    """The metrics' part of ingest. `names` says whether a rule names a metric; `rates` are dollars of a currency."""

    def __init__(
        self, names: Callable[[str], bool] = nothing_named, since_ns: int | None = None,
        rates: Mapping[str, float] = NO_RATES,
    ) -> None:  # fmt: skip
        self.names, self.rates = names, rates
        self.streams = Streams(since_ns)
        self.told = Told()
        self._scores = Scores()
        self._sums: dict[int, Sums] = {}
        self._priced: Counter[str] = Counter()
        self._held: dict[tuple[int, str, str, Tells], Held] = {}
        self._meanings: dict[tuple[Any, ...], Meaning] = {}

    def take(self, read: Read, floor_ns: int, future_ns: int, doors: Doors) -> set[int]:
        """Take in what a body held; the starts of the slots that it counts in.

        What it drops it adds to the body's, and those scores that were not said before to the body's evaluations.
        """
        starts = set()
        self._hear(read.points, future_ns)
        for point in read.points:
            start_ns = self._start(point.time_ns, floor_ns, future_ns, read.dropped)
            if start_ns is not None and self._point(point, start_ns, read, doors):
                starts.add(start_ns)
        read.evaluations += self._scores.fresh(read.scores, future_ns, read.dropped)
        for evaluation in read.evaluations:
            start_ns = self._start(evaluation.time_ns, floor_ns, future_ns, read.dropped)
            if start_ns is not None:
                self._evaluation(evaluation, start_ns, doors)
                starts.add(start_ns)
        return starts

    @staticmethod
    def _start(time_ns: int, floor_ns: int, future_ns: int, dropped: Counter[Dropped]) -> int | None:
        if time_ns > future_ns:
            dropped[Dropped.FUTURE] += 1
            return None
        if time_ns < floor_ns - LATE_MAX_NS:
            dropped[Dropped.LATE] += 1
            return None
        return max((time_ns - 1) // SLOT_NS * SLOT_NS, floor_ns)  # A slot's end is the end of an interval in it.

    def _hear(self, points: Sequence[Point], future_ns: int) -> None:
        """Hear who tells what, before any point of the same body is counted: which one comes first does not matter."""
        for point in points:
            measure = MEASURES.get(point.metric)
            if measure is None or point.time_ns > future_ns:
                continue
            meant = self._meaning(measure.operation, point, "")
            if measure.unread(meant, point, self.rates) is not None:
                continue
            self.told.tells(meant, measure, point.time_ns)
            if measure.tells is Tells.OUTCOMES:
                self.told.hear(pair(*meant.labels[:2]), SESSIONS, point.time_ns)
            for name in {meant.service, meant.labels[1]}:
                if measure.tells is Tells.COST:
                    self.told.hear(name, STATED, point.time_ns)
                if measure.is_leaf(meant) and measure.tells in (Tells.TOKENS, Tells.COST):
                    self.told.hear(name, LEAF.format(measure.tells), point.time_ns)

    def _point(self, point: Point, start_ns: int, read: Read, doors: Doors) -> bool:
        """Add a point to its cells; whether it has any."""
        measure, is_named = MEASURES.get(point.metric), self.names(point.metric)
        if measure is None and not is_named:
            return False
        if measure is not None and point.kind is Kind.SUM:
            point = point._replace(monotonic=True)  # It is a counter, though many forget to say so.
        why = None
        if measure is not None:
            meant = self._meaning(measure.operation, point, "")
            why = self._unread(point, measure, meant, doors)
            if why is not None and not is_named:
                read.dropped[why] += 1
                return False
            point = measure.in_seconds(point)
        more = self.streams.increase(point)
        if isinstance(more, Increase) and measure is not None and not measure.is_sane(more):
            more = Dropped.BAD_NUMBER
        if isinstance(more, Dropped):
            read.dropped[more] += 1
            return False
        counts = False
        if more is not None and measure is not None:
            if why is None:
                counts = self._known(point, more, start_ns, measure, meant, doors)
            else:
                read.dropped[why] += 1
        if more is not None and is_named:
            cell = doors.cell_of(self._meaning("", point, point.metric).labels, start_ns)
            if cell != OVERFLOW:  # Numbers of different metrics are no sum.
                self._sums.setdefault(start_ns, Sums()).any(cell, more)
                counts = True
        if counts and more is not None and more.saturated:
            read.saturated[point.metric] += round(more.saturated)
        return counts

    def _unread(self, point: Point, measure: Measure, meant: Meaning, doors: Doors) -> Dropped | None:
        """Why a point of a known metric is not counted as what it tells."""
        found = measure.unread(meant, point, self.rates)
        if found is None:
            return None if self.told.is_teller(meant, measure, point.time_ns) else Dropped.AGGREGATE
        why, word = found
        if why is not Dropped.AGGREGATE:
            doors.unknown(why, point.metric, word, meant.labels[1], point.time_ns)
        return why

    def _known(
        self, point: Point, more: Increase, start_ns: int, measure: Measure, meant: Meaning, doors: Doors
    ) -> bool:
        """Add a point of a known metric to its cell; whether nobody else tells the same."""
        if self.told.knows(measure.signal(meant), meant, point.time_ns):
            return False
        cell = doors.cell_of(self._labels(measure, meant, point.time_ns), start_ns)
        sums, priced = self._into(measure, meant, start_ns, point.time_ns)
        sums.known(cell, measure, meant, more)
        if measure.tells is Tells.OUTCOMES:
            place = doors.outcome_of(meant.outcome, point.metric, meant.labels[1], point.time_ns, more.amount)
            sums.ended(cell, place, more.amount)
        if measure.tells is Tells.COST:
            currency = measure.currency(meant, point)
            sums.paid(cell, more.amount * (1.0 if currency == USD else self.rates[currency]))
        elif not self._is_stated(meant, point.time_ns):
            self._price(point, more, cell, sums, priced, measure, meant, doors)
        return True

    def _is_stated(self, meant: Meaning, time_ns: int) -> bool:
        """Whether somebody states what the calls of a service, or of an agent, cost."""
        return any(self.told.knows(signal, meant, time_ns) for signal in (Tells.COST, STATED))

    def _price(
        self, point: Point, more: Increase, cell: int, sums: Sums, priced: Counter[str], measure: Measure,
        meant: Meaning, doors: Doors,
    ) -> None:  # fmt: skip
        """What tokens cost; and of calls whose tokens are told, whether they have a price."""
        if measure.tells is Tells.TOKENS:
            tokens = measure.tokens(meant, more.amount)
            dollars, source = doors.dollars_of(meant, tokens, point.time_ns)
            sums.paid(cell, dollars)
            priced[source] += round(tokens.input + tokens.output)
        elif measure.tells is Tells.CALLS and meant.labels[2] in MODEL_OPERATIONS:
            has_tokens = self.told.knows(LEAF.format(Tells.TOKENS), meant, point.time_ns)
            if has_tokens and doors.dollars_of(meant, Tokens(1.0), point.time_ns)[1] is CostSource.UNPRICED:
                sums.unpriced(cell, more.n)

    def _labels(self, measure: Measure, meant: Meaning, time_ns: int) -> Cell:
        """The labels of a point's cell. What was paid for no call was paid for sessions, where those are told."""
        if measure.tells is not Tells.COST or meant.labels[2]:
            return meant.labels
        tenant, agent, _, *rest = meant.labels
        unit = SESSION_UNIT if self.told.has(pair(tenant, agent), SESSIONS, time_ns) else SPEND
        return (tenant, agent, unit, *rest)

    def _into(self, measure: Measure, meant: Meaning, start_ns: int, time_ns: int) -> tuple[Sums, Counter[str]]:
        """Where a point is added: what adds up others waits until its slot closes, as those others may come later."""
        if measure.is_leaf(meant):
            return self._sums.setdefault(start_ns, Sums()), self._priced
        held = self._held.setdefault(
            (start_ns, meant.service, meant.labels[1], measure.tells), Held(Sums(), 0, Counter())
        )
        held.time_ns = time_ns
        return held.sums, held.priced

    def _meaning(self, operation: str, point: Point, metric: str) -> Meaning:
        key = (operation, metric, point.labels, point.resource)
        meant = self._meanings.get(key)
        if meant is None:
            if len(self._meanings) >= STREAMS_MAX:
                self._meanings.clear()
            meant = self._meanings[key] = meaning(operation, point.labels, point.resource, metric)
        return meant

    def _evaluation(self, evaluation: Evaluation, start_ns: int, doors: Doors) -> None:
        said = meaning(EVALUATION, evaluation.labels, evaluation.resource)
        tenant, agent = doors.joined(evaluation.trace_id, evaluation.span_id)
        where = (tenant or said.labels[0], agent or said.labels[1])
        labels = (*where, EVALUATION, "", "", evaluation.name, said.labels[6], "")
        sums = self._sums.setdefault(start_ns, Sums())
        if evaluation.said:
            sums.evaluated(doors.cell_of(labels, start_ns), *self._verdict(evaluation, where[1], doors))
        if evaluation.score == evaluation.score and self.names(SCORE_METRIC):
            cell = doors.cell_of((*labels[:-1], SCORE_METRIC), start_ns)
            if cell != OVERFLOW:
                sums.score(cell, evaluation.score)

    def priced(self) -> Counter[str]:
        """Tokens whose cost nobody states, by where it comes from, since this was asked last."""
        priced, self._priced = self._priced, Counter()
        return priced

    @staticmethod
    def _verdict(evaluation: Evaluation, agent: str, doors: Doors) -> tuple[int, bool]:
        """The class of an evaluation's label, and whether it has failed."""
        said = evaluation.said.lower()
        word = "resolved" if said in PASSED else "failed" if said in NOT_PASSED else evaluation.said
        name = f"evaluation {evaluation.name}"
        return doors.outcome_of(word, name, agent, evaluation.time_ns, 1.0), said in NOT_PASSED

    def slot(self, start_ns: int, dropped: Counter[Dropped]) -> Slot | None:
        """What they add to a slot that closes."""
        sums = self._sums.pop(start_ns, Sums())
        for key in [key for key in self._held if key[0] == start_ns]:
            _, service, agent, tells = key
            held, signal = self._held.pop(key), LEAF.format(tells)
            if any(self.told.has(name, signal, held.time_ns) for name in (service, agent)):
                dropped[Dropped.AGGREGATE] += len(held.sums.sums)
            else:
                sums.add(held.sums)
                self._priced += held.priced
        return sums.slot(start_ns) if sums.sums else None

    def snapshot(self) -> NDArray[np.uint8]:
        """All state as JSON text."""
        state = {
            "streams": self.streams.state(),
            "told": self.told.state(),
            "scores": self._scores.state(),
            "sums": [[start_ns, sums.state()] for start_ns, sums in self._sums.items()],
            "held": [[*key, held.sums.state(), held.time_ns, held.priced] for key, held in self._held.items()],
        }
        return np.frombuffer(json.dumps(state, allow_nan=False).encode(), np.uint8)

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `snapshot` gave, under `meters`, now or in format 9."""
        state = json.loads(arrays["meters"].tobytes())
        self.streams = Streams.resume(state["streams"])
        self.told = Told.resume(state["told"])
        self._scores = Scores.resume(state.get("scores", ()))
        self._sums = {int(start_ns): Sums.resume(sums) for start_ns, sums in state["sums"]}
        self._held = {
            (int(start_ns), service, agent, Tells(tells)): Held(Sums.resume(sums), time_ns, Counter(priced))
            for start_ns, service, agent, tells, sums, time_ns, priced in state.get("held", ())
        }
