"""Ingest: records in, closed slots out. Decodes, joins, prices and adds up, each in its own file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from detectors.core.columns import CELL_LABELS, SLOT_NS, Arrays, Slot
from detectors.core.series import OVERFLOW, OVERFLOW_VALUE, SeriesTable
from service.batch import Answer, Dropped, Gap, Record, Signal, Tally
from service.ingest.cardinality import Cardinality, restored
from service.ingest.decode import Decoder, decode
from service.ingest.join.closing import Closing, Labels
from service.ingest.join.join import UNSEEDED, Join, Seed
from service.ingest.legs import Legs, key_bytes
from service.ingest.limits import IngestLimits
from service.ingest.local import NOTHING_LOCAL, Local
from service.ingest.metrics.meanings import Cell
from service.ingest.metrics.measures import Tells
from service.ingest.metrics.meters import Doors, Meters
from service.ingest.metrics.slots_told import SIGNALS, SlotsTold
from service.ingest.metrics.sums import added
from service.ingest.metrics.taking import doors, take
from service.ingest.metrics.told import Spoken
from service.ingest.nothing import found_nothing
from service.ingest.otlp.foreign import ADVICE, Foreign, looks_like
from service.ingest.otlp.scanner import Scanner
from service.ingest.policies import Policies
from service.ingest.prices import DAY_NS, Prices
from service.ingest.reader import Decoded
from service.ingest.review import Review, reviewed
from service.ingest.rollup import roll_up
from service.ingest.sights import Sights
from service.ingest.stretches import Stretches
from service.ingest.twins import Twins
from service.ingest.watermark import Watermark
from service.ingest.words import Unknown, Words

TAKEN = Answer()
METERS = "/metrics"
"""The watermark's name for all metrics together, which move it where no spans come."""
AGENT_PLACE, NO_METRIC = CELL_LABELS.index("agent"), ""
CELL_LIFE_NS = 8 * DAY_NS
"""Event time after which a cell that counted nothing gives its place up: a weekly job keeps its own."""


class Ingest:
    """All that is known of spans not yet in a closed slot, and the sessions still open.

    Whether a span is late is decided against the watermark as it stood before its record, and slots and sessions
    close as records are read, so how records are batched changes nothing.
    """

    WAITS: ClassVar = "which cannot be read to the end"
    """What is said of the partitions that event time waits for."""

    def __init__(
        self, limits: IngestLimits, review: Review | None = None, decoder: Decoder | None = None,
        meters: Meters | None = None, local: Local = NOTHING_LOCAL, seed: Seed = UNSEEDED, names: Seed | None = None,
        tells: bool = False,
    ) -> None:  # fmt: skip
        self.limits, self.local = limits, local
        self.meters = meters or Meters()
        self._decoder = decoder or Scanner()
        self.cells = SeriesTable(CELL_LABELS, limits.cells_max)
        self._cardinality = Cardinality(self.cells)
        self.sights = Sights()
        self._review = review
        self._watermark = Watermark(limits.lateness_ns, limits.idle_hold_ns)
        self.join = Join(limits, local, seed, names=names, tells=tells)
        self._prices = Prices(local.prices)
        self._closing = Closing(self.join, self._prices)
        self._policies = Policies()
        self.words = Words()
        self._slots_told = SlotsTold(limits.cells_max)
        self._ready: list[Slot] = []
        self._gone: dict[int, Legs] = {}
        self._told: dict[int, Stretches] = {}
        self.legs: Mapping[int, Legs] = {}  # Of the slots that were taken last, by their starts;
        self.stretches: dict[int, Stretches] = {}  # and where sessions are joined elsewhere.
        self._expired_day = 0

    @property
    def watermark_ns(self) -> int | None:
        """Event time that no slot will be added to before; None before the first span."""
        return self._watermark.ns

    def expect(self, partitions: Iterable[str]) -> None:
        """These partitions of Kafka are read from here on: no slot closes that they could still bring spans of."""
        self._watermark.expect(partitions)

    def adjust(self, gap: Gap) -> None:
        """Nobody listened for a while, or the wall clock was stepped: neither is silence."""
        self._watermark.adjust(gap.stood_ns, gap.stepped_ns)

    def check(self, checked: Mapping[str, int], now_ns: int) -> None:
        """By these wall times the logs are read to their ends: event time may pass those that are idle."""
        for partition, at_ns in checked.items():
            self._watermark.check(partition, at_ns, now_ns)

    def waits_for(self, now_ns: int) -> tuple[str, ...]:
        """The partitions of Kafka that nobody could read to their end of late; no slot closes before somebody can."""
        return self._watermark.waits_for(now_ns)

    def passed_ns(self, partition: str) -> int | None:
        """Event time that a partition of Kafka has passed by its silence alone; None while that proves nothing."""
        return self._watermark.passed_ns(partition)

    def pass_to(self, ns: int) -> None:
        """Have event time come as far as this: what ends before is late from here on."""
        self._watermark.force(ns)

    def read(self, record: Record, now_ns: int, tally: Tally) -> Answer:
        """Take in one body. Any bytes get an answer."""
        return next(self.read_all((record,), now_ns, tally))[0]

    def read_all(self, records: Sequence[Record], now_ns: int, tally: Tally) -> Iterator[list[Answer]]:
        """Take in bodies one by one, and give the answers to those read last before the next one moves anything.

        What closes is closed by the last of them, so it changes nothing but time that they are decoded and admitted
        together.
        """
        self.meters.streams.listen(now_ns)
        if self.join.is_short_of_names():
            self._tell_meters()  # What told of what is known by number.
            self.join.forget_names()
        at = 0
        for bodies in decode(records, self.limits.body_bytes_max, self._decoder, self.join.reader):
            theirs, at = records[at : at + len(bodies)], at + len(bodies)
            first = 0
            while first < len(bodies):
                self._expire_cells()
                stop = self._run(theirs, bodies, first, now_ns)
                yield self._take(theirs[first], bodies[first:stop], now_ns, tally)
                first = stop

    def _run(self, records: Sequence[Record], bodies: Sequence[Decoded], first: int, now_ns: int) -> int:
        """Where those that can be admitted together with the first end: none but the last of them closes anything."""
        partition, future_ns = records[first].partition, now_ns + self.limits.future_max_ns
        next_ns = self.join.floor_ns - self.join.floor_ns % SLOT_NS + SLOT_NS
        passing_ns = self._watermark.passing_ns(partition, next_ns, now_ns)
        room = self.limits.pending_max - self.join.pending
        for at in range(first, len(bodies)):
            body = bodies[at]
            if records[at].partition != partition or not 0 < body.last_ns <= future_ns:
                return max(at, first + 1)
            room -= body.stop - body.first
            # As the watermark hears it: with a sender's clock ahead of ours every record would be a run of its own.
            # Whose its evaluations are is said by the spans until then.
            if min(body.last_ns, now_ns) >= passing_ns or room < 0 or body.read is not None:
                return at + 1
        return len(bodies)

    def _take(self, record: Record, bodies: Sequence[Decoded], now_ns: int, tally: Tally) -> list[Answer]:
        """Take in bodies that came with this record, or on its partition after it, and say what became of each."""
        future_ns = now_ns + self.limits.future_max_ns
        if self._review is not None:
            for body in bodies:
                self._review.spans(self.join.dialects(body, future_ns))
        latest_ns = self.join.admit(bodies, future_ns, tally)
        self._count(record.source, bodies, tally)
        body = bodies[0]
        if body.error is not None:
            tally.foreign[record.source, looks_like(record.signal, record.body)] += 1
            return [Answer(error=body.error)]
        if record.signal is not Signal.TRACES:
            latest_ns = self._take_read(record, body, now_ns, tally)
            if latest_ns and self._watermark.is_silent(METERS, now_ns):
                self._watermark.hear(METERS, latest_ns, now_ns)
        else:
            self._take_read(record, bodies[-1], now_ns, tally)
            for last_ns in [body.last_ns for body in bodies] if len(bodies) > 1 else filter(None, (latest_ns,)):
                self._watermark.hear(record.partition, last_ns, now_ns)
        self._move(now_ns, tally)
        if not latest_ns and body.first == body.stop and not (body.read and body.read.records):
            return [found_nothing(record, body, tally)]
        if body.is_snake_case:
            tally.snake_case[record.source] += 1
            rejected, said = body.rejected()
            return [Answer(rejected, "; ".join(filter(None, (said, ADVICE[Foreign.SNAKE_CASE]))))]
        return [Answer(*body.rejected()) if body.dropped else TAKEN for body in bodies]

    def _count(self, source: str, bodies: Sequence[Decoded], tally: Tally) -> None:
        """Note what the decoders and the reader found in bodies."""
        for body in bodies:
            if body.dropped:
                tally.dropped.update(body.dropped)
            if body.content:
                tally.content.update(body.content)
        tally.read[source] += len(bodies)
        if unexplained := self.join.reader.unexplained:
            tally.unexplained.update(unexplained)
            unexplained.clear()

    def _take_read(self, record: Record, decoded: Decoded, now_ns: int, tally: Tally) -> int:
        """Take in metric points and evaluations; the latest time among them, 0 if there is none."""
        if decoded.read is None:
            return 0
        future_ns, floor_ns = now_ns + self.limits.future_max_ns, self.join.floor_ns
        self._tell_meters()
        starts, latest_ns = take(self.meters, record.signal, decoded, floor_ns, future_ns, self._doors(tally), tally)
        for start_ns in starts:
            self.join.open(start_ns)
        return latest_ns

    def _doors(self, tally: Tally) -> Doors:
        """What metrics need of the rest of ingest."""
        cell_of = partial(self._cell, tally=tally)
        return doors(cell_of, self.join.labels_of, self._prices, self.words, self.local)

    def key_of(self, session: str) -> bytes:
        """What stands for the session of that name: the key of its legs."""
        return key_bytes(self.join.lexicon.session(session))

    def closed_slots(self, now_ns: int, tally: Tally) -> Iterator[Slot]:
        """The slots that the watermark has passed and that were not given before, oldest first."""
        self.meters.streams.listen(now_ns)
        self._move(now_ns, tally)
        return self.take_closed()

    def flush(self, tally: Tally) -> Iterator[Slot]:
        """Close whatever is open, sessions too: the end of a finite replay. What still comes is late."""
        self._settle(None, tally)
        return self.take_closed()

    def take_closed(self) -> Iterator[Slot]:
        """The slots that the records read last have closed, oldest first."""
        ready, self._ready = self._ready, []
        self.legs, self._gone = self._gone, {}
        self.stretches, self._told = self._told, {}
        return iter(ready)

    def _move(self, now_ns: int, tally: Tally) -> None:
        watermark_ns = self._watermark.advance(now_ns)
        if watermark_ns is not None:
            tally.tickets += self.words.due(watermark_ns)
        # Before the next slot begins nothing more can close, be it a slot or a session.
        if watermark_ns is not None and watermark_ns - watermark_ns % SLOT_NS > self.join.floor_ns:
            self._settle(watermark_ns, tally)
            self.join.rise(watermark_ns - watermark_ns % SLOT_NS)
        while self.join.pending > self.limits.pending_max:
            start_ns = self.join.first_start_ns
            assert start_ns is not None
            tally.dropped[Dropped.SPANS_FULL] += self.join.waiting(start_ns)
            self._settle(start_ns + SLOT_NS, tally)
            self._watermark.force(start_ns + SLOT_NS)

    def _settle(self, until_ns: int | None, tally: Tally) -> None:
        """Close, in the order of event time, the slots that `until_ns` has passed (everything, if None)."""
        while (start_ns := self.join.next_start_ns()) is not None:
            if until_ns is not None and start_ns + SLOT_NS > until_ns:
                return
            self._close_slot(start_ns, tally)
            self.join.rise(start_ns + SLOT_NS)

    def _close_slot(self, start_ns: int, tally: Tally) -> None:
        def cell_of(labels: Labels, units: int) -> int:
            return self._cell((*labels, NO_METRIC), start_ns, tally, units)

        closed = self._closing.close(start_ns, cell_of, tally)
        tally.tickets += self._cardinality.take()
        firsts = closed.firsts._replace(policies=tuple(self._policies.slot(start_ns, closed.sampled)))
        tally.tickets += [line for _, line in firsts.policies]
        tally.sessions += len(closed.ended)
        if closed.legs is not None:
            self._gone[start_ns] = closed.legs
        if len(closed.stretches):
            self._told[start_ns] = closed.stretches
        tally.sessionless.update(closed.nameless)
        tally.named.update(closed.named)
        tally.cut.update(closed.cut)
        for (word, agent), sessions in closed.no_class.items():
            self.words.note(Unknown.OUTCOME, "", word, agent, start_ns, sessions)
        if self._review is not None:
            reviewed(self._review, closed, self._closing.labels)
        error_ids = self.sights.error_ids(closed, start_ns)
        slot = roll_up(start_ns, closed.units, closed.cells, closed.calls, error_ids)
        slot = replace(slot, firsts=self.sights.first(firsts), lengths=closed.lengths, running=closed.running)
        self.cells.touch(slot.cell, start_ns)
        told = slot.error
        for cell, error, calls in zip(told.cell.tolist(), told.bucket.tolist(), told.count.tolist(), strict=True):
            tally.failed[self.cells.values(cell)[AGENT_PLACE], self.sights.errors.values(error)[0]] += round(calls)
        self._slots_told.note(slot, closed.cells[closed.calls :])
        if self.meters.waits(start_ns):
            self._tell_meters()
        metered = self.meters.slot(start_ns, self._doors(tally), tally.dropped)
        tally.priced_tokens.update(self.meters.priced())
        slot = slot if metered is None else added(slot, metered)
        if len(slot.cell):
            tally.slots += 1
            self._ready.append(slot)

    def _tell_meters(self) -> None:
        """Tell the metrics what spans told since this was done last."""
        self._hear_spans()
        self._slots_told.tell(self.meters.told, self.cells)

    def _hear_spans(self) -> None:
        for service, operation, last_ns in self.join.lexicon.told():
            self.meters.told.hear(service, operation or Tells.TOKENS, last_ns)

    def told(self) -> Iterator[Spoken]:
        """Services, what their spans told, and until when; but for what closed slots tell themselves."""
        self._hear_spans()
        return (one for one in self.meters.told.spoken() if one[1] not in SIGNALS)

    def _expire_cells(self) -> None:
        """Once a day of event time, free the cells long unseen.

        Before a body closes slots, and never while slots wait to be taken: an id that a slot holds keeps its meaning.
        """
        day = self.join.floor_ns // DAY_NS
        if day > self._expired_day and not self._ready:
            self._expired_day = day  # Not saved: doing it again frees nothing more.
            self._tell_meters()
            self.cells.expire(day * DAY_NS - CELL_LIFE_NS)
            self._cardinality.learn()
            self.sights.expire(day * DAY_NS - CELL_LIFE_NS)
            self.join.forget_labels()

    def _cell(self, labels: Cell, seen_ns: int, tally: Tally, units: int = 1) -> int:
        is_other = OVERFLOW_VALUE in labels  # A name for which there was no room.
        cell = OVERFLOW if is_other else self._cardinality.id_of(labels, seen_ns)
        if cell == OVERFLOW:
            tally.dropped[Dropped.SERIES_FULL] += units
            tally.refused[labels[AGENT_PLACE]] += units
        return cell

    def snapshot(self) -> Arrays:
        """All state as named arrays. The slots that closed must have been taken."""
        assert not self._ready and not self._told, "take the closed slots before saving: they are in no snapshot"
        self._tell_meters()
        text = {
            "watermark": self._watermark.state(), "twins": self._closing.twins.state(),
            "policies": self._policies.state(), "words": self.words.state(), "sights": self.sights.seen(),
        }  # fmt: skip
        return {
            **self.join.snapshot(),
            **{f"cells.{name}": array for name, array in self.cells.snapshot().items()},
            **self.sights.snapshot(),
            "meters": self.meters.snapshot(),
            "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
        }

    @classmethod
    def restore(
        cls, arrays: Arrays, limits: IngestLimits, decoder: Decoder | None = None, meters: Meters | None = None,
        local: Local = NOTHING_LOCAL, names: Seed | None = None, tells: bool = False,
    ) -> "Ingest":  # fmt: skip
        """What `snapshot` was taken of: reading on from it gives what never having stopped would have."""
        ingest = cls(limits, decoder=decoder, meters=meters, local=local, names=names, tells=tells)
        text = json.loads(arrays["text"].tobytes())
        ingest.join.restore(arrays)
        ingest.meters.restore(arrays)
        ingest._watermark = Watermark.resume(text["watermark"], limits.lateness_ns, limits.idle_hold_ns)
        ingest._closing.twins = Twins.resume(text["twins"])
        ingest._policies = Policies.resume(text["policies"])
        ingest.words = Words.resume(text.get("words", []))
        ingest.sights = Sights.restore(arrays, text.get("sights", [text.get("answers", ())]))
        cells = {name.removeprefix("cells."): array for name, array in arrays.items() if name.startswith("cells.")}
        ingest.cells = restored(cells, limits.cells_max)
        ingest._cardinality = Cardinality(ingest.cells)
        return ingest
