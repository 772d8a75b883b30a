"""Late outcomes that detect knows of itself: each counts in its series as an evaluation of role all does."""

import json
from collections.abc import Callable, Iterator

import numpy as np

from detectors.core.columns import Arrays, Slot
from service.batch import Dropped, Record, Tally
from service.ingest.local import Local
from service.ingest.metrics.meanings import Cell, Meaning
from service.ingest.metrics.meters import Doors, Joined, Meters
from service.ingest.otlp import points
from service.ingest.prices import CostSource, Tokens
from service.ingest.words import Unknown, Words


class LateSeries:
    """What late outcomes add to slots that are open. One owner.

    meters  with the metrics that rules name
    joined  tenant and agent of a span of an open session
    """

    def __init__(self, meters: Meters, local: Local, joined: Joined) -> None:
        self.meters, self.words = meters, Words()
        self._local, self._joined = local, joined

    def take(
        self, record: Record, floor_ns: int, future_ns: int, cell_of: Callable[[Cell, int], int], tally: Tally
    ) -> set[int]:  # fmt: skip
        """Take in a body of evaluations; the starts of the slots that it counts in. Raises UnreadableError."""
        read = points.read(record.signal, record.body)
        starts = self.meters.take(read, floor_ns, future_ns, self._doors(cell_of))
        tally.logs += read.records
        tally.dropped.update(read.dropped)
        return starts

    def slot(self, start_ns: int, tally: Tally) -> Slot | None:
        """What they add to a slot that closes."""
        return self.meters.slot(start_ns, tally.dropped)

    def due(self, now_ns: int) -> Iterator[str]:
        """Lines about words that are in no class, by this event time."""
        return self.words.due(now_ns)

    def snapshot(self) -> Arrays:
        """All state, as named arrays."""
        words = json.dumps(self.words.state()).encode()
        return {"meters": self.meters.snapshot(), "words": np.frombuffer(words, np.uint8)}

    def restore(self, arrays: Arrays) -> None:
        """Take the place of what `snapshot` was taken of."""
        self.meters.restore(arrays)
        self.words = Words.resume(json.loads(arrays["words"].tobytes()))

    def _doors(self, cell_of: Callable[[Cell, int], int]) -> Doors:
        def dollars_of(meant: Meaning, tokens: Tokens, time_ns: int) -> tuple[float, CostSource]:
            return 0.0, CostSource.UNPRICED  # Evaluations have no tokens.

        def unknown(why: Dropped, metric: str, word: str, who: str, time_ns: int) -> None:
            """They have no units either."""

        def outcome_of(word: str, metric: str, who: str, time_ns: int, count: float) -> int:
            outcomes = self._local.outcomes
            if (place := outcomes.place(word)) == outcomes.unmapped and count:
                self.words.note(Unknown.OUTCOME, metric, word, who, time_ns, count)
            return place

        return Doors(cell_of, self._joined, dollars_of, unknown, outcome_of)
