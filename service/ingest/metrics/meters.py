"""Metrics and evaluations on their way into slots, with all that must be remembered of them.

A known metric tells the same signals as spans do (calls and their durations, tokens, cost, outcomes of sessions), and
only where no span of its service told that signal in the last day: one source a signal. Tokens cost what their prices
say, where neither a span nor a metric of the service stated cost in the last day. What is told of an agent or workflow
as a whole counts where its service told nothing of calls of models. All that is decided as the slot closes: which of
two was read first changes nothing. Any other metric, if a rule names it, is a cell of its own, with the label `metric`.

An evaluation is of the tenant and agent of its span. Where that span is not known, it is asked for again as each slot
closes, until that of the evaluation does.

A point counts in the slot in which its interval ended; if that is closed, in the first open one, as exporters speak
once a minute and would else be late for ever. So metrics hold no slot open while spans come.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
UNJOINED_MAX = 100_000
"""Evaluations that may wait for their span; further ones are of whom they name themselves."""
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


class Teller(NamedTuple):
    """Of whom points are, and what must not be told by others if they are to count.

    signal  what they tell; spans of the service or the agent may tell it, too
    whole   of what adds up calls of models: what it tells of them; else empty
    """

    start_ns: int
    service: str
    agent: str
    signal: str
    whole: str


@dataclass
class Waiting:
    """What points of one teller add to a slot, until it closes.

    bill    what their tokens cost by prices, which counts where nobody states it
    priced  their tokens by where those prices come from
    """

    sums: Sums = field(default_factory=Sums)
    bill: Sums = field(default_factory=Sums)
    time_ns: int = 0
    priced: Counter[str] = field(default_factory=Counter)


class Judged(NamedTuple):
    """An evaluation, as far as it tells itself whose it is: `own` are its tenant, agent and version."""

    name: str
    score: float
    said: str
    time_ns: int
    trace_id: bytes
    span_id: bytes
    own: tuple[str, str, str]


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
        self._waiting: dict[Teller, Waiting] = {}
        self._unjoined: dict[int, list[Judged]] = {}
        self._unjoined_count = 0
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
        """Have a point of a known metric wait for its slot to close; whether nobody else tells the same yet."""
        signal, whole = measure.signal(meant), "" if measure.is_leaf(meant) else measure.tells
        if self.told.knows(signal, meant, point.time_ns):
            return False
        cell = doors.cell_of(self._labels(measure, meant, point.time_ns), start_ns)
        teller = Teller(start_ns, meant.service, meant.labels[1], signal, whole)
        waiting = self._waiting.setdefault(teller, Waiting())
        waiting.time_ns = max(point.time_ns, waiting.time_ns)
        waiting.sums.known(cell, measure, meant, more)
        if measure.tells is Tells.OUTCOMES:
            place = doors.outcome_of(meant.outcome, point.metric, meant.labels[1], point.time_ns, more.amount)
            waiting.sums.ended(cell, place, more.amount)
        if measure.tells is Tells.COST:
            currency = measure.currency(meant, point)
            waiting.sums.paid(cell, more.amount * (1.0 if currency == USD else self.rates[currency]))
        else:
            self._price(point, more, cell, waiting, measure, meant, doors)
        return True

    def _price(
        self, point: Point, more: Increase, cell: int, waiting: Waiting, measure: Measure, meant: Meaning, doors: Doors
    ) -> None:  # fmt: skip
        """What tokens cost; and of calls whose tokens are told, whether they have a price."""
        if measure.tells is Tells.TOKENS:
            tokens = measure.tokens(meant, more.amount)
            dollars, source = doors.dollars_of(meant, tokens, point.time_ns)
            waiting.bill.paid(cell, dollars)
            waiting.priced[source] += round(tokens.input + tokens.output)
        elif measure.tells is Tells.CALLS and meant.labels[2] in MODEL_OPERATIONS:
            has_tokens = self.told.knows(LEAF.format(Tells.TOKENS), meant, point.time_ns)
            if has_tokens and doors.dollars_of(meant, Tokens(1.0), point.time_ns)[1] is CostSource.UNPRICED:
                waiting.bill.unpriced(cell, more.n)

    def _labels(self, measure: Measure, meant: Meaning, time_ns: int) -> Cell:
        """The labels of a point's cell. What was paid for no call was paid for sessions, where those are told."""
        if measure.tells is not Tells.COST or meant.labels[2]:
            return meant.labels
        tenant, agent, _, *rest = meant.labels
        unit = SESSION_UNIT if self.told.has(pair(tenant, agent), SESSIONS, time_ns) else SPEND
        return (tenant, agent, unit, *rest)

    def _meaning(self, operation: str, point: Point, metric: str) -> Meaning:
        key = (operation, metric, point.labels, point.resource)
        meant = self._meanings.get(key)
        if meant is None:
            if len(self._meanings) >= STREAMS_MAX:
                self._meanings.clear()
            meant = self._meanings[key] = meaning(operation, point.labels, point.resource, metric)
        return meant

    def _evaluation(self, evaluation: Evaluation, start_ns: int, doors: Doors) -> None:
        labels = meaning(EVALUATION, evaluation.labels, evaluation.resource).labels
        name, score, said, time_ns, trace_id, span_id, *_ = evaluation
        judged = Judged(name, score, said, time_ns, trace_id, span_id, (labels[0], labels[1], labels[6]))
        where = doors.joined(trace_id, span_id)
        if any(where) or not evaluation.trace or self._unjoined_count >= UNJOINED_MAX:
            self._judge(judged, where, start_ns, doors)
        else:
            self._unjoined.setdefault(start_ns, []).append(judged)
            self._unjoined_count += 1

    def _join(self, closing_ns: int, doors: Doors) -> None:
        """Ask again whose evaluations are; those of the slot that closes count as what they say themselves."""
        for start_ns, waiting in list(self._unjoined.items()):
            self._unjoined[start_ns] = []
            for judged in waiting:
                where = doors.joined(judged.trace_id, judged.span_id)
                if any(where) or start_ns <= closing_ns:
                    self._judge(judged, where, start_ns, doors)
                    self._unjoined_count -= 1
                else:
                    self._unjoined[start_ns].append(judged)
            if not self._unjoined[start_ns]:
                del self._unjoined[start_ns]

    def _judge(self, judged: Judged, where: tuple[str, str], start_ns: int, doors: Doors) -> None:
        """Add an evaluation to its cells: of this tenant and agent, or where they are empty, of its own."""
        tenant, agent = where[0] or judged.own[0], where[1] or judged.own[1]
        labels = (tenant, agent, EVALUATION, "", "", judged.name, judged.own[2], "", "", "")
        sums = self._sums.setdefault(start_ns, Sums())
        if judged.said:
            sums.evaluated(doors.cell_of(labels, start_ns), *self._verdict(judged, agent, doors))
        if judged.score == judged.score and self.names(SCORE_METRIC):
            cell = doors.cell_of((*labels[:-1], SCORE_METRIC), start_ns)
            if cell != OVERFLOW:
                sums.score(cell, judged.score)

    def priced(self) -> Counter[str]:
        """Tokens whose cost nobody states, by where it comes from, since this was asked last."""
        priced, self._priced = self._priced, Counter()
        return priced

    @staticmethod
    def _verdict(evaluation: Judged, agent: str, doors: Doors) -> tuple[int, bool]:
        """The class of an evaluation's label, and whether it has failed."""
        said = evaluation.said.lower()
        word = "resolved" if said in PASSED else "failed" if said in NOT_PASSED else evaluation.said
        name = f"evaluation {evaluation.name}"
        return doors.outcome_of(word, name, agent, evaluation.time_ns, 1.0), said in NOT_PASSED

    def waits(self, start_ns: int) -> bool:
        """Whether anything waits for a slot to close that others may tell, too."""
        return any(teller.start_ns == start_ns for teller in self._waiting)

    def slot(self, start_ns: int, doors: Doors, dropped: Counter[Dropped]) -> Slot | None:
        """What they add to a slot that closes, all that spans told until then being heard."""
        self._join(start_ns, doors)
        sums = self._sums.pop(start_ns, Sums())
        for teller in [teller for teller in self._waiting if teller.start_ns == start_ns]:
            waiting = self._waiting.pop(teller)
            if self._hears(teller, waiting, teller.signal):
                continue
            if teller.whole and self._hears(teller, waiting, LEAF.format(teller.whole)):
                dropped[Dropped.AGGREGATE] += len(waiting.sums.sums)
                continue
            sums.add(waiting.sums)
            if not self._hears(teller, waiting, Tells.COST, STATED):
                sums.add(waiting.bill)
                self._priced += waiting.priced
        return sums.slot(start_ns) if sums.sums else None

    def _hears(self, teller: Teller, waiting: Waiting, *signals: str) -> bool:
        """Whether one of these is told of the service or the agent."""
        names = teller.service, teller.agent
        return any(self.told.has(name, signal, waiting.time_ns) for name in names for signal in signals)

    def snapshot(self) -> NDArray[np.uint8]:
        """All state as JSON text."""
        state = {
            "streams": self.streams.state(),
            "told": self.told.state(),
            "scores": self._scores.state(),
            "sums": [[start_ns, sums.state()] for start_ns, sums in self._sums.items()],
            "waiting": [
                [*teller, one.sums.state(), one.bill.state(), one.time_ns, one.priced]
                for teller, one in self._waiting.items()
            ],
            "unjoined": [
                [start_ns, name, None if math.isnan(score) else score, said, time_ns, trace.hex(), span.hex(), own]
                for start_ns, waiting in self._unjoined.items()
                for name, score, said, time_ns, trace, span, own in waiting
            ],
        }
        return np.frombuffer(json.dumps(state, allow_nan=False).encode(), np.uint8)

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `snapshot` gave, under `meters`, now or in format 9."""
        state = json.loads(arrays["meters"].tobytes())
        self.streams = Streams.resume(state["streams"])
        self.told = Told.resume(state["told"])
        self._scores = Scores.resume(state.get("scores", ()))
        self._sums = {int(start_ns): Sums.resume(sums) for start_ns, sums in state["sums"]}
        self._waiting = {
            Teller(int(start_ns), *said): Waiting(Sums.resume(sums), Sums.resume(bill), time_ns, Counter(priced))
            for start_ns, *said, sums, bill, time_ns, priced in state.get("waiting", ())
        }
        for start_ns, service, agent, tells, sums, time_ns, priced in state.get("held", ()):
            # A version before let what adds up others wait, with its price; that nobody else tells it was known.
            teller = Teller(int(start_ns), service, agent, "", tells)
            self._waiting[teller] = Waiting(Sums.resume(sums), Sums(), time_ns, Counter(priced))
        self._unjoined, self._unjoined_count = {}, 0
        for start_ns, name, score, said, time_ns, trace, span, own in state.get("unjoined", ()):
            tenant, agent, version = own
            judged = Judged(
                name, math.nan if score is None else score, said, time_ns, bytes.fromhex(trace), bytes.fromhex(span),
                (tenant, agent, version),
            )  # fmt: skip
            self._unjoined.setdefault(int(start_ns), []).append(judged)
            self._unjoined_count += 1
