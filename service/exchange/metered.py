"""Metrics and evaluations that detect reads of itself: each counts in its series as in role all.

They come from topics of OTLP metrics and logs, and of late outcomes. What spans told is heard from the slots of all
partitions, and from the reports of who reads the spans. Of spans themselves detect knows the traces of open sessions
that have a name: an evaluation of any other trace is of whom it names itself.
"""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from detectors.core.columns import CELL_LABELS, Arrays, Slot
from detectors.core.series import OVERFLOW, OVERFLOW_VALUE, SeriesTable
from service.batch import Answer, Dropped, Record, Tally
from service.ingest.decode import decode_told
from service.ingest.local import Local
from service.ingest.metrics.meanings import Cell
from service.ingest.metrics.measures import Tells
from service.ingest.metrics.meters import Doors, Joined, Meters
from service.ingest.metrics.taking import doors, take
from service.ingest.metrics.told import SESSIONS, Spoken, pair
from service.ingest.nothing import found_nothing
from service.ingest.otlp.foreign import looks_like
from service.ingest.prices import Prices
from service.ingest.vocabulary import SESSION_UNIT
from service.ingest.words import Words

_UNIT = CELL_LABELS.index("operation")


class Metered:
    """What metrics and evaluations add to slots that are open. One owner.

    meters  with the metrics that rules name
    joined  tenant and agent of a trace of an open session
    """

    def __init__(self, meters: Meters, local: Local, joined: Joined) -> None:
        self.meters, self.words = meters, Words()
        self._local, self._joined, self._prices = local, joined, Prices(local.prices)

    def take(
        self, record: Record, floor_ns: int, future_ns: int, body_bytes_max: int, cells: SeriesTable, tally: Tally
    ) -> tuple[Answer, set[int], int]:  # fmt: skip
        """Take in a body. Any bytes get an answer.

        Also gives the starts of the slots that it counts in, and the latest time in it; 0 if there is none.
        """
        decoded = decode_told(record, body_bytes_max)
        tally.dropped.update(decoded.dropped)
        if decoded.error is not None:
            tally.foreign[record.source, looks_like(record.signal, record.body)] += 1
            return Answer(error=decoded.error), set(), 0
        given = self._doors(cells, tally)
        starts, latest_ns = take(self.meters, record.signal, decoded, floor_ns, future_ns, given, tally)
        if decoded.is_snake_case:
            tally.snake_case[record.source] += 1
        if decoded.read is None or not decoded.read.records:
            return found_nothing(record, decoded, tally), starts, latest_ns
        return Answer(*decoded.rejected()), starts, latest_ns

    def listen(self, now_ns: int) -> None:
        """Somebody listens, from then on at the latest."""
        self.meters.streams.listen(now_ns)

    def hear(self, told: Iterable[Spoken]) -> None:
        """Services told these signals by spans until these times."""
        for service, signal, last_ns in told:
            self.meters.told.hear(service, signal, last_ns)

    def slot(self, slot: Slot, cells: SeriesTable, tally: Tally) -> Slot | None:
        """What they add to a slot that closes; what the spans of it told is heard first."""
        self._hear(slot, cells)
        metered = self.meters.slot(slot.start_ns, self._doors(cells, tally), tally.dropped)
        tally.priced_tokens.update(self.meters.priced())
        return metered

    def _hear(self, slot: Slot, cells: SeriesTable) -> None:
        """Hear who told cost, outcomes and sessions, as role all does of the slots that it closes itself."""
        told = self.meters.told
        for cell in slot.cell[slot.cost_usd > 0].tolist():
            told.hear(cells.values(cell)[1], Tells.COST, slot.start_ns)
        for cell in np.unique(slot.outcome.cell).tolist():
            told.hear(cells.values(cell)[1], Tells.OUTCOMES, slot.start_ns)
        for cell in slot.cell.tolist():
            values = cells.values(cell)
            if values[_UNIT] == SESSION_UNIT:
                told.hear(pair(*values[:2]), SESSIONS, slot.start_ns)

    def due(self, now_ns: int) -> Iterator[str]:
        """Lines about words that are in no class, or no table, by this event time."""
        return self.words.due(now_ns)

    def snapshot(self) -> Arrays:
        """All state, as named arrays."""
        words = json.dumps(self.words.state()).encode()
        return {"meters": self.meters.snapshot(), "words": np.frombuffer(words, np.uint8)}

    def restore(self, arrays: Arrays) -> None:
        """Take the place of what `snapshot` was taken of."""
        self.meters.restore(arrays)
        self.words = Words.resume(json.loads(arrays["words"].tobytes()))

    def _doors(self, cells: SeriesTable, tally: Tally) -> Doors:
        def cell_of(labels: Cell, seen_ns: int) -> int:
            cell = OVERFLOW if OVERFLOW_VALUE in labels else cells.id_of(labels, seen_ns)
            tally.dropped[Dropped.SERIES_FULL] += cell == OVERFLOW
            return cell

        return doors(cell_of, self._joined, self._prices, self.words, self._local)
