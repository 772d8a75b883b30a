"""The front of a detect instance: reports of all source partitions in, whole slots out, as Ingest gives them.

Of each partition the parts are taken in their order and each once: what comes again, from who had the partition before
or took it over, is dropped and counted. So a slot is counted exactly once, whatever is sent twice. A slot is whole once
the watermark of every partition has passed it. A partition of which nobody reports holds all others: silence is not
evidence.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np

from alertrules.outcome_classes import UNMAPPED
from detectors.core.columns import CELL_LABELS, SECOND_NS, SLOT_NS, Arrays, Slot, empty_slot
from detectors.core.rows import under
from detectors.core.series import OVERFLOW, OVERFLOW_VALUE, SeriesTable
from service.batch import Answer, Dropped, Gap, Record, Signal, Tally
from service.exchange.conversations import Conversations, both
from service.exchange.metered import Metered
from service.exchange.own_logs import OwnLogs
from service.exchange.part import Part, PartError
from service.exchange.part import decoded as part_of
from service.exchange.pieces import Together, with_traces
from service.exchange.report import Place, Report, ReportError
from service.exchange.report import decoded as report_of
from service.ingest.cardinality import Cardinality, restored
from service.ingest.join.closing import Labels
from service.ingest.join.join import Seed
from service.ingest.legs import NO_LEGS, Legs, legs_of
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.metrics.sums import added
from service.ingest.prices import DAY_NS
from service.ingest.sights import Sights
from service.ingest.stage import CELL_LIFE_NS, NO_METRIC
from service.ingest.stretches import Stretches
from service.ingest.stretches import together as stretches_of

MERGE_FORMAT = 5
"""Of what a snapshot of ours adds to the pipeline's."""
MERGE_READABLE = (1, 2, 3, 4, MERGE_FORMAT)
"""In 1 no sessions were joined here. In 2 it was not told what legs of sessions are made of. In 3
cells had neither a prompt nor a model that answered. In 4 sessions were saved with the queue that is made of them
since."""
HELD_BYTES_MAX = 128 << 20
"""Parts that may wait for a partition of which nobody reports; with more the oldest slot closes without it."""
SILENT_NS = 30 * SECOND_NS
"""An ingest instance reports each of its partitions every ten seconds."""


@dataclass
class Source:
    """One source partition, as far as it was reported.

    place         of the last part that was taken; None before the first
    next_offset   where its ingest goes on in it
    watermark_ns  None while that is not known
    heard_ns      the clock when it was reported last
    """

    place: Place | None = None
    next_offset: int = 0
    watermark_ns: int | None = None
    is_heard: bool = False
    heard_ns: int = 0


class Merge:
    """The source partitions, and the parts that wait for their slot to be whole. Does what `Ingest` does for others."""

    WAITS: ClassVar = "of which nobody reports"

    def __init__(self, limits: IngestLimits, local: Local, seed: Seed, names: Seed, meters: Meters) -> None:
        self.limits, self.local = limits, local
        self.cells = SeriesTable(CELL_LABELS, limits.cells_max)
        self._cardinality = Cardinality(self.cells)
        self.sights = Sights()
        self.conversations = Conversations(limits, local, seed, names)
        self.metered = Metered(meters, local, self.conversations.labels_of, limits.cells_max)
        self.logs = OwnLogs(limits.lateness_ns)
        self.legs: Mapping[int, Legs] = {}  # Of the slots that were taken last, by their starts.
        self._gone: dict[int, Legs] = {}
        self.sources: dict[str, Source] = {}
        self.topics: Mapping[str, int] = {}
        self.watermark_ns: int | None = None
        self._waiting: dict[int, dict[str, list[bytes]]] = {}
        self._held_bytes = 0
        self._ready: list[Slot] = []
        self._expired_day = 0

    def adjust(self, gap: Gap) -> None:
        """Nobody listened for a while: it is not the ingest instances that were silent."""
        for source in self.sources.values():
            source.heard_ns += gap.stood_ns + gap.stepped_ns
        self.logs.adjust(gap)

    def expect(self, partitions: Iterable[str]) -> None:
        """These partitions of metrics and logs are read here. Of spans the reports tell which sources there are."""
        self.logs.expect(partitions)

    def check(self, checked: Mapping[str, int], now_ns: int) -> None:
        """By these wall times those logs are read to their ends; that there is no further report proves nothing."""
        self.logs.check(checked, now_ns)

    def pass_to(self, ns: int) -> None:
        """Have event time come as far as this: what ends before is late from here on."""
        self.watermark_ns = max(ns, self.watermark_ns or 0)

    def waits_for(self, now_ns: int) -> tuple[str, ...]:
        """The source partitions of which no ingest instance has reported of late; event time waits for them."""
        silent = (name for name in self._known() if not self._speaks(name, now_ns))
        return tuple(silent)

    def _speaks(self, name: str, now_ns: int) -> bool:
        source = self.sources.get(name)
        return source is not None and now_ns - source.heard_ns <= SILENT_NS

    def _known(self) -> list[str]:
        return [f"{topic}/{number}" for topic, count in list(self.topics.items()) for number in range(count)]

    def read_all(self, records: Sequence[Record], now_ns: int, tally: Tally) -> Iterator[list[Answer]]:
        """Take in reports one by one, and give the answer to each before the next one moves anything."""
        self.metered.listen(now_ns)
        for record in records:
            self._expire_cells()
            yield [self._read(record, now_ns, tally)]

    def key_of(self, session: str) -> bytes:
        """What stands for the session of that name: the key of its legs."""
        return self.conversations.key_of(session)

    def _read(self, record: Record, now_ns: int, tally: Tally) -> Answer:
        tally.read[record.source] += 1
        if record.signal is not Signal.TRACES:
            return self._take_metered(record, now_ns, tally)
        try:
            report = report_of(record.body)
            parts = [(part_of(body), body) for body in report.parts]
        except (ReportError, PartError) as error:
            tally.dropped[Dropped.MALFORMED] += 1
            return Answer(error=f"a record of {record.partition} is not taken: {error}")
        self._take(report, parts, now_ns, tally)
        self._move(now_ns, tally)
        return Answer()

    def _take_metered(self, record: Record, now_ns: int, tally: Tally) -> Answer:
        """Count metrics and evaluations, late outcomes too, in slots that are open."""
        passed_ns, future_ns = self.watermark_ns or 0, now_ns + self.limits.future_max_ns
        floor_ns = max(self.conversations.floor_ns, passed_ns - passed_ns % SLOT_NS)
        answer, starts, latest_ns = self.metered.take(
            record, floor_ns, future_ns, self.limits.body_bytes_max, self.cells, tally
        )
        for start_ns in starts:
            self.conversations.open(start_ns)
        self.logs.hear(record.partition, latest_ns, now_ns)
        self._move(now_ns, tally)
        return answer

    def _take(self, report: Report, parts: Sequence[tuple[Part, bytes]], now_ns: int, tally: Tally) -> None:
        source = self.sources.setdefault(report.source, Source())
        if source.place is not None and report.after is not None and report.after > source.place:
            tally.gaps += 1
            tally.tickets.append(
                f"a report of {report.source} is missing: what it counted in the slots after {source.place[0]} and up "
                f"to {report.after[0]} counts nowhere"
            )
        for part, body in parts:
            if source.place is not None and part.place <= source.place:
                tally.repeats += 1
                continue
            source.place = part.place
            if self.watermark_ns is not None and part.slot.start_ns + SLOT_NS <= self.watermark_ns:
                tally.dropped[Dropped.LATE] += round(float(part.slot.count.sum()))
                self._record(part.slot.start_ns, [self._legs_of(part)])  # No slot is needed for that.
                continue
            self._wait(part.slot.start_ns, report.source, body)
        if report.next_offset >= source.next_offset:  # Not of who had it before, and does not know that yet.
            source.next_offset = report.next_offset
            tally.spans += report.spans
            self.topics = report.topics
        self.metered.hear(report.told)
        tally.evaluations += report.evaluations  # Of a report that comes again, too: the record takes each once.
        if report.watermark_ns is not None:
            source.watermark_ns = max(report.watermark_ns, source.watermark_ns or 0)
        source.is_heard |= report.is_heard
        source.heard_ns = now_ns

    def _wait(self, start_ns: int, source: str, body: bytes) -> None:
        """Have a part wait for its slot to be whole."""
        self.conversations.open(start_ns)
        self._waiting.setdefault(start_ns, {}).setdefault(source, []).append(body)
        self._held_bytes += len(body)

    def _move(self, now_ns: int, tally: Tally) -> None:
        """Close the slots that every partition has passed."""
        known = [self.sources.get(name) for name in self._known()]
        marks = [source.watermark_ns for source in known if source is not None and source.watermark_ns is not None]
        are_heard = self.logs.are_heard or any(source is not None and source.is_heard for source in known)
        passed_ns = min((*marks, self.logs.allows_ns(now_ns)))
        if known and len(marks) == len(known) and are_heard and passed_ns > 0:
            self.watermark_ns = max(passed_ns, self.watermark_ns or 0)
            tally.tickets += self.metered.due(self.watermark_ns)
            self._close(self.watermark_ns, tally)
        while self._held_bytes > HELD_BYTES_MAX:
            start_ns = min(self._waiting)
            tally.dropped[Dropped.SPANS_FULL] += len(self._waiting[start_ns])
            self.watermark_ns = max(start_ns + SLOT_NS, self.watermark_ns or 0)
            self._close(self.watermark_ns, tally)

    def _close(self, until_ns: int | None, tally: Tally) -> None:
        """Close, in the order of event time, the slots that `until_ns` has passed (everything, if None)."""
        together = Together(self.cells, self._cardinality, self.sights.errors, self._outcome_of)
        while (start_ns := self.conversations.next_start_ns()) is not None:
            if until_ns is not None and start_ns + SLOT_NS > until_ns:
                return
            self._close_slot(start_ns, together, tally)

    def _close_slot(self, start_ns: int, together: Together, tally: Tally) -> None:
        waiting = self._waiting.pop(start_ns, {})
        self._held_bytes -= sum(len(body) for bodies in waiting.values() for body in bodies)
        by_source = [with_traces([part_of(body) for body in waiting[source]]) for source in sorted(waiting)]
        parts, refused, slot = [part for parts in by_source for part in parts], 0.0, empty_slot(start_ns)
        if parts:
            slot, refused = together.slot(parts)
            tally.tickets += self._cardinality.take()

        def cell_of(labels: Labels, units: int) -> int:
            nonlocal refused
            is_other = OVERFLOW_VALUE in labels  # A name for which there was no room.
            cell = OVERFLOW if is_other else self.cells.id_of((*labels, NO_METRIC), start_ns)
            refused += units * (cell == OVERFLOW)
            return cell

        stretches = stretches_of([self._by_class(part) for part in parts])
        sessions, legs = self.conversations.close(start_ns, stretches, cell_of, self.sights, tally)
        slot = both(slot, sessions)
        self._record(start_ns, [*map(self._legs_of, parts), legs])
        tally.unrecorded += sum(part.untold for part in parts)
        if (metered := self.metered.slot(slot, self.cells, tally)) is not None:
            slot = added(slot, metered)
        if refused:
            tally.dropped[Dropped.SERIES_FULL] += round(refused)
        # Of a share, calls of open sessions and what is new may be in another one.
        if len(slot.cell) or len(slot.session_cells()) or any(slot.firsts):
            self.cells.touch(slot.cell, start_ns)
            tally.slots += 1
            self._ready.append(self.sights.told(slot))

    def _by_class(self, part: Part) -> Stretches:
        """What a part tells of traces, with our numbers of the classes of outcomes."""
        rows = part.stretches.rows
        classes = np.array([*map(self._outcome_of, part.outcomes), -1], np.int32)  # -1 is the last of them: none.
        rows["outcome"] = classes[rows["outcome"]]
        return part.stretches

    def _record(self, start_ns: int, legs: Sequence[Legs]) -> None:
        """Have the record be told of legs that closed in a slot."""
        known = [each for each in (self._gone.get(start_ns, NO_LEGS), *legs) if len(each)]
        if known:
            self._gone[start_ns] = legs_of(known)

    def _legs_of(self, part: Part) -> Legs:
        """What sessions went through that its ingest counted, with our names of the classes of outcomes."""
        names = {"": ""} | {name: self.local.outcomes.names[self._outcome_of(name)] for name in part.outcomes}
        texts = [each._replace(outcome=names.get(each.outcome, UNMAPPED)) for each in part.legs.texts]
        return replace(part.legs, texts=texts)

    def _outcome_of(self, name: str) -> int:
        outcomes = self.local.outcomes
        return outcomes.names.index(name) if name in outcomes.names else outcomes.unmapped

    def closed_slots(self, now_ns: int, tally: Tally) -> Iterator[Slot]:
        """The slots that closed and were not given before, oldest first. Time closes none by itself."""
        self._move(now_ns, tally)
        return self.take_closed()

    def take_closed(self) -> Iterator[Slot]:
        """The slots that the reports read last have closed, oldest first."""
        ready, self._ready = self._ready, []
        self.legs, self._gone = self._gone, {}
        return iter(ready)

    def flush(self, tally: Tally) -> Iterator[Slot]:
        """Close whatever waits: the end of a finite replay."""
        self._close(None, tally)
        return self.take_closed()

    def _expire_cells(self) -> None:
        """Once a day of event time, free the cells long unseen; never while slots wait to be taken."""
        day = (self.watermark_ns or 0) // DAY_NS
        if day > self._expired_day and not self._ready:
            self._expired_day = day
            self.metered.forget_cells(self.cells)
            self.cells.expire(day * DAY_NS - CELL_LIFE_NS)
            self._cardinality.learn()
            self.conversations.forget_cells()
            self.sights.expire(day * DAY_NS - CELL_LIFE_NS)

    def snapshot(self) -> Arrays:
        """All state as named arrays. The slots that closed must have been taken."""
        assert not self._ready, "take the closed slots before saving: they are in no snapshot"
        waiting = [
            (start_ns, source, body)
            for start_ns, sources in self._waiting.items()
            for source, bodies in sources.items()
            for body in bodies
        ]
        text = {
            "format": MERGE_FORMAT, "topics": dict(self.topics), "watermark_ns": self.watermark_ns,
            "sources": {name: asdict(source) for name, source in self.sources.items()},
            "waiting": [(start_ns, source, len(body)) for start_ns, source, body in waiting],
            "sights": self.sights.seen(), "logs": self.logs.state(),
        }  # fmt: skip
        return {
            "merge": np.frombuffer(json.dumps(text).encode(), np.uint8),
            "waiting": np.frombuffer(b"".join(body for *_, body in waiting), np.uint8),
            **{f"cells.{name}": array for name, array in self.cells.snapshot().items()},
            **self.sights.snapshot(),
            **{f"sessions.{name}": array for name, array in self.conversations.snapshot().items()},
            **{f"late.{name}": array for name, array in self.metered.snapshot(self.cells).items()},
        }

    @classmethod
    def restore(
        cls, arrays: Arrays, limits: IngestLimits, local: Local, seed: Seed, names: Seed, meters: Meters
    ) -> "Merge":  # fmt: skip
        """What `snapshot` was taken of. Raises ValueError where it is of another version or role."""
        if "merge" not in arrays:
            raise ValueError("it was written by role all; a detect instance begins with a directory of its own")
        merge, text = cls(limits, local, seed, names, meters), json.loads(arrays["merge"].tobytes())
        if text["format"] not in MERGE_READABLE:
            formats = " and ".join(map(str, MERGE_READABLE))
            raise ValueError(f"its slots have format {text['format']}, this version reads {formats}")
        merge.topics, merge.watermark_ns = text["topics"], text["watermark_ns"]
        for name, fields in text["sources"].items():
            place = fields.pop("place")
            merge.sources[name] = Source(place=None if place is None else (place[0], place[1]), **fields)
        if sessions := under(arrays, "sessions."):
            merge.conversations.restore(sessions, text["format"] > 2)
        if late := under(arrays, "late."):
            merge.metered.restore(late)
        merge.logs.restore(text.get("logs", {}))
        held, at = arrays["waiting"].tobytes(), 0
        for start_ns, source, size in text["waiting"]:
            merge._wait(start_ns, source, held[at : at + size])
            at += size
        merge.cells = restored(under(arrays, "cells."), limits.cells_max)
        merge._cardinality = Cardinality(merge.cells)
        merge.sights = Sights.restore(arrays, text.get("sights", [text.get("answers", ())]))
        return merge
