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
from service.ingest.metrics.meters import Doors, Joined, Meters
from service.ingest.metrics.slots_told import SlotsTold
from service.ingest.metrics.taking import doors, take
from service.ingest.metrics.told import Spoken
from service.ingest.nothing import found_nothing
from service.ingest.otlp.foreign import looks_like
from service.ingest.prices import Prices
from service.ingest.vocabulary import SESSION_UNIT
from service.ingest.words import Words

_UNIT = CELL_LABELS.index("operation")
UNKNOWN, OF_CALLS, OF_SESSIONS = range(3)


class Metered:
    """What metrics and evaluations add to slots that are open. One owner.

    meters  with the metrics that rules name
    joined  tenant and agent of a trace of an open session
    """

    def __init__(self, meters: Meters, local: Local, joined: Joined, cells_max: int) -> None:
        self.meters, self.words = meters, Words()
        self._slots_told = SlotsTold(cells_max)
        self._units = np.zeros(cells_max + 1, np.int8)  # What is counted in each cell, as far as it was looked up.
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
        self._slots_told.tell(self.meters.told, cells)
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
        """What they add to a slot that closes; who told cost, outcomes and sessions in it is heard first."""
        unknown = slot.cell[self._units[slot.cell] == UNKNOWN]
        self._units[unknown] = [OF_SESSIONS if cells.values(cell)[_UNIT] == SESSION_UNIT else OF_CALLS
                                for cell in unknown.tolist()]  # fmt: skip
        self._slots_told.note(slot, slot.cell[self._units[slot.cell] == OF_SESSIONS])
        if self.meters.waits(slot.start_ns):
            self._slots_told.tell(self.meters.told, cells)
        metered = self.meters.slot(slot.start_ns, self._doors(cells, tally), tally.dropped)
        tally.priced_tokens.update(self.meters.priced())
        return metered

    def forget_cells(self, cells: SeriesTable) -> None:
        """Some cells are about to be freed: their numbers will mean others."""
        self._slots_told.tell(self.meters.told, cells)
        self._units[:] = UNKNOWN

    def due(self, now_ns: int) -> Iterator[str]:
        """Lines about words that are in no class, or no table, by this event time."""
        return self.words.due(now_ns)

    def snapshot(self, cells: SeriesTable) -> Arrays:
        """All state, as named arrays."""
        self._slots_told.tell(self.meters.told, cells)
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
