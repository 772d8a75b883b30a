"""One share of the slots, added up: the reports of all source partitions in, reports of whole slots out.

What role detect does with reports first, done where a partition of `tocsin.slots` is read, so that many do it side by
side: the cells of that share are added up, and the sessions of that share are joined. What is reported then is told to
detect as if it came from one source partition. As that, it is a function of what is read alone.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.core.columns import Arrays, empty_slot
from detectors.core.rows import under
from service.batch import NO_GAP, Answer, Batch, Tally
from service.exchange.merge import Merge
from service.exchange.pieces import cut
from service.exchange.report import Report
from service.exchange.shard import HandedOverError, Made
from service.exchange.told_news import ToldNews
from service.exchange.unreported import Unreported
from service.ingest.legs import NO_LEGS
from service.ingest.metrics.meters import Meters
from service.ingest.stretches import NO_STRETCHES

ADDING_FORMAT = 1
"""Of a snapshot, beside that of the slots in it."""
ONLY = 0
"""Who reads what we report has one share, which is all of it."""


class Adding:
    """The reports of one partition of `tocsin.slots`, and what of their sums is not reported yet."""

    WAITS: ClassVar = Merge.WAITS

    def __init__(self, made: Made, source: str) -> None:
        self._made, self.source = made, source
        self.merge = Merge(made.limits, made.local, made.seed, made.names, Meters())
        self.next_offset = 0
        self._unreported, self._news = Unreported([None]), ToldNews()
        self._spans = 0

    def step(self, batch: Batch, now_ns: int, tally: Tally) -> list[Answer]:
        """Read reports. Any bytes get an answer."""
        answers, before, evaluations = list[Answer](), tally.spans, len(tally.evaluations)
        if batch.gap != NO_GAP:
            self.merge.adjust(batch.gap)
        for answered in self.merge.read_all(batch.records, now_ns, tally):
            answers += answered
            self._close()
        self.next_offset = batch.offsets.get(self.source, self.next_offset)
        self._spans += tally.spans - before
        if self._made.records:
            self._unreported.tell(tally.evaluations[evaluations:])
        return answers

    def _close(self) -> None:
        """Have the slots be reported that closed, with the sessions that did."""
        slots, legs = {slot.start_ns: slot for slot in self.merge.take_closed()}, self.merge.legs
        for start_ns in sorted(slots.keys() | legs.keys()):
            slot, told = slots.get(start_ns) or empty_slot(start_ns), legs.get(start_ns, NO_LEGS)
            parts = cut(
                slot, NO_STRETCHES, told if self._made.records else None, self.merge.cells, self.merge.sights.errors,
                self._made.local.outcomes.names,
            )  # fmt: skip
            last = self._unreported.last[ONLY]
            if last is not None and last[0] >= start_ns:
                # Sessions of a slot that closed before they were told of: they come after what was told last.
                parts = (replace(part, slot=empty_slot(last[0]), piece=last[1] + 1 + part.piece) for part in parts)
            self._unreported.add(ONLY, parts)

    def waits_for(self, now_ns: int) -> tuple[str, ...]:
        """The source partitions of which no ingest instance has reported of late; event time waits for them."""
        return self.merge.waits_for(now_ns)

    def take(self, topics: Mapping[str, int], now_ns: int) -> list[Report]:
        """What is to be reported now, in this order; nothing where nothing is new and the last time was just now."""
        event_ns = self.merge.watermark_ns
        if not self._unreported.is_due(event_ns, now_ns):
            return []
        spans, self._spans = self._spans, 0
        told = self._news.take(self.merge.metered.meters.told.spoken(), event_ns)
        is_heard = event_ns is not None
        standing = Report(self.source, topics, None, self.next_offset, event_ns, is_heard, spans, told=told)
        return self._unreported.take(standing, now_ns)

    def snapshot(self) -> Arrays:
        """All state, as named arrays. What was closed must have been taken."""
        assert self._unreported.is_empty, "take the reports before saving: they are in no snapshot"
        said = {
            "format": ADDING_FORMAT, "source": self.source, "next_offset": self.next_offset,
            "reported": self._unreported.reported[ONLY],
        }  # fmt: skip
        slots = {f"slots/{name}": array for name, array in self.merge.snapshot().items()}
        return {"adding": np.frombuffer(json.dumps(said).encode(), np.uint8), **slots}

    @classmethod
    def restore(cls, made: Made, source: str, arrays: Arrays) -> "Adding":
        """Go on from a snapshot. Raises HandedOverError where it is of another partition or version, or damaged."""
        try:
            said = json.loads(arrays["adding"].tobytes())
            if said["format"] != ADDING_FORMAT:
                raise HandedOverError(f"it has format {said['format']}; this version reads {ADDING_FORMAT}")
            if said["source"] != source:
                raise HandedOverError(f"it is of {said['source']}, not of {source}")
            adding, slots = cls(made, source), under(arrays, "slots/")
            adding.merge = Merge.restore(slots, made.limits, made.local, made.seed, made.names, Meters())
            adding.next_offset, place = int(said["next_offset"]), said["reported"]
            adding._unreported = Unreported([place and (int(place[0]), int(place[1]))])
        except HandedOverError:
            raise
        except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
            raise HandedOverError(f"it is damaged ({type(error).__name__}: {str(error)[:200]})") from None
        return adding
