"""Metrics and evaluations on their way into slots, with all that must be remembered of them.

A point counts in the slot in which its interval ended; if that is closed, in the first open one, as exporters speak
once a minute and would else be late for ever. So metrics hold no slot open while spans come.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import SECOND_NS, SLOT_NS, Arrays, Slot
from detectors.core.series import OVERFLOW
from service.batch import Dropped
from service.ingest.metrics.measures import (
    MEASURES,
    SCORE_METRIC,
    STATED,
    Cell,
    Meaning,
    Sums,
    Tells,
    Told,
    meaning,
)
from service.ingest.metrics.streams import STREAMS_MAX, Increase, Streams
from service.ingest.otlp.points import Evaluation, Point, Read
from service.ingest.prices import Tokens
from service.ingest.vocabulary import EVALUATION

LATE_MAX_NS = 3600 * SECOND_NS
"""What ended longer than this before the first open slot is not counted any more."""
Door = Callable[[Cell, int], int]
"""The id of a cell, seen at that time."""
Till = Callable[[Meaning, Tokens, int], float]
"""Dollars of tokens that were used until then, of the provider and a model of that meaning."""
Joined = Callable[[bytes, bytes], tuple[str, str]]
"""Tenant and agent of a span of a live trace; empty where it is not known."""


def nothing_named(metric: str) -> bool:
    """For whom no rule names a metric."""
    return False


class Meters:
    """The metrics' part of ingest. `names` says whether a rule names a metric."""

    def __init__(self, names: Callable[[str], bool] = nothing_named, since_ns: int | None = None) -> None:
        self.names = names
        self.streams = Streams(since_ns)
        self.told = Told()
        self._sums: dict[int, Sums] = {}
        self._meanings: dict[tuple[Any, ...], Meaning] = {}

    def take(
        self, read: Read, floor_ns: int, future_ns: int, cell_of: Door, joined: Joined, dollars_of: Till
    ) -> set[int]:
        """Take in what a body held; the starts of the slots that it counts in. What it drops it adds to the body's."""
        starts = set()
        self._hear_cost(read.points, future_ns)
        for point in read.points:
            start_ns = self._start(point.time_ns, floor_ns, future_ns, read.dropped)
            if start_ns is None:
                continue
            more = self.streams.increase(point)
            measure = MEASURES.get(point.metric)
            if isinstance(more, Increase) and measure is not None and not measure.is_sane(more):
                more = Dropped.BAD_NUMBER
            if isinstance(more, Dropped):
                read.dropped[more] += 1
            elif more is not None and self._point(point, more, start_ns, cell_of, dollars_of):
                starts.add(start_ns)
                if more.saturated:
                    read.saturated[point.metric] += round(more.saturated)
        for evaluation in read.evaluations:
            start_ns = self._start(evaluation.time_ns, floor_ns, future_ns, read.dropped)
            if start_ns is not None:
                self._evaluation(evaluation, start_ns, cell_of, joined)
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

    def _hear_cost(self, points: Sequence[Point], future_ns: int) -> None:
        """Hear whose metrics state cost, before tokens of the same body are priced."""
        for point in points:
            measure = MEASURES.get(point.metric)
            if measure is not None and measure.tells is Tells.COST and point.time_ns <= future_ns:
                meant = self._meaning(measure.operation, point, "")
                for name in (meant.service, meant.labels[1]):
                    self.told.hear(name, STATED, point.time_ns)

    def _point(self, point: Point, more: Increase, start_ns: int, cell_of: Door, dollars_of: Till) -> bool:
        """Add a point to its cells; whether it has any."""
        sums = self._sums.get(start_ns) or Sums()
        measure, counts = MEASURES.get(point.metric), False
        if measure is not None:
            meant = self._meaning(measure.operation, point, "")
            if not self.told.knows(measure.signal(meant), meant, point.time_ns):
                cell = cell_of(meant.labels, start_ns)
                sums.known(cell, measure, meant, point, more)
                if measure.tells is Tells.TOKENS and math.isfinite(more.amount):
                    sums.paid(cell, self._dollars(meant, measure.tokens(meant, more.amount), point.time_ns, dollars_of))
                counts = True
        if self.names(point.metric):
            cell = cell_of(self._meaning("", point, point.metric).labels, start_ns)
            if cell != OVERFLOW:  # Numbers of different metrics are no sum.
                sums.any(cell, more)
                counts = True
        if counts:
            self._sums[start_ns] = sums
        return counts

    def _dollars(self, meant: Meaning, tokens: Tokens, time_ns: int, dollars_of: Till) -> float:
        """What tokens cost; nothing where that is stated."""
        stated = any(self.told.knows(signal, meant, time_ns) for signal in (Tells.COST, STATED))
        return 0.0 if stated else dollars_of(meant, tokens, time_ns)

    def _meaning(self, operation: str, point: Point, metric: str) -> Meaning:
        key = (operation, metric, point.labels, point.resource)
        meant = self._meanings.get(key)
        if meant is None:
            if len(self._meanings) >= STREAMS_MAX:
                self._meanings.clear()
            meant = self._meanings[key] = meaning(operation, point.labels, point.resource, metric)
        return meant

    def _evaluation(self, evaluation: Evaluation, start_ns: int, cell_of: Door, joined: Joined) -> None:
        said = meaning(EVALUATION, evaluation.labels, evaluation.resource)
        tenant, agent = joined(evaluation.trace_id, evaluation.span_id)
        where = (tenant or said.labels[0], agent or said.labels[1])
        labels = (*where, EVALUATION, "", "", evaluation.name, said.labels[6], "")
        sums = self._sums.setdefault(start_ns, Sums())
        if evaluation.said:
            sums.evaluated(cell_of(labels, start_ns), evaluation)
        if evaluation.score == evaluation.score and self.names(SCORE_METRIC):
            cell = cell_of((*labels[:-1], SCORE_METRIC), start_ns)
            if cell != OVERFLOW:
                sums.score(cell, evaluation.score)

    def slot(self, start_ns: int) -> Slot | None:
        """What they add to a slot that closes."""
        sums = self._sums.pop(start_ns, None)
        return sums.slot(start_ns) if sums and sums.sums else None

    def snapshot(self) -> NDArray[np.uint8]:
        """All state as JSON text."""
        state = {
            "streams": self.streams.state(),
            "told": self.told.state(),
            "sums": [[start_ns, sums.state()] for start_ns, sums in self._sums.items()],
        }
        return np.frombuffer(json.dumps(state, allow_nan=False).encode(), np.uint8)

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `snapshot` gave, under `meters`."""
        state = json.loads(arrays["meters"].tobytes())
        self.streams = Streams.resume(state["streams"])
        self.told = Told.resume(state["told"])
        self._sums = {int(start_ns): Sums.resume(sums) for start_ns, sums in state["sums"]}
