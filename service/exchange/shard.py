"""One source partition's ingest: its records in, reports of its closed slots out. One owner, wherever that runs.

Each partition has its own watermark and its own live traces, so what it reports is a function of its records alone. Who
takes it over goes on from a snapshot, reads the records since, and reports again what was reported: byte for byte the
same, and a repeat to who reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from detectors.core.columns import FAILED, Arrays, Bools, Examples, Slot, empty_slot
from detectors.core.rows import under
from service.batch import NO_GAP, Answer, Batch, Tally
from service.causes.examples import LIFE_NS
from service.exchange.pieces import cut
from service.exchange.report import Report
from service.exchange.shares import Share, Shares
from service.exchange.told_news import ToldNews
from service.exchange.unreported import Unreported
from service.ingest.decode import Decoder
from service.ingest.join.join import Seed
from service.ingest.legs import NO_LEGS, Legs
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.stage import Ingest
from service.ingest.stretches import NO_STRETCHES, Stretches

SHARD_FORMAT = 2
"""Of a snapshot, beside that of the ingest state in it."""
SHARDS_READABLE = (1, SHARD_FORMAT)
"""In 1 sessions were joined here. What the traces of open ones went through is told with the next slot."""


class HandedOverError(ValueError):
    """A snapshot that cannot be gone on from; the text says why."""


@dataclass(frozen=True)
class Made:
    """What a shard is made of, the same on every instance.

    names         what stands for a session's name begins with, the same on every partition
    tells         whether a session may lie on several partitions, so that they are joined elsewhere
    records       whether what sessions went through is reported, too, for the record of sessions
    shares        how many instances of role sum add the reports up; 1 where there are none
    state_format  of the ingest state within snapshots, and `readable` those that can be gone on from
    """

    limits: IngestLimits
    decoder: Decoder
    local: Local
    seed: Seed
    names: Seed
    tells: bool
    records: bool
    state_format: int
    readable: tuple[int, ...]
    shares: int = 1


class Shard:
    """The ingest of one source partition, and what of it is not reported yet."""

    WAITS: ClassVar = Ingest.WAITS

    def __init__(self, made: Made, source: str) -> None:
        self._made, self.source = made, source
        self.ingest = Ingest(
            made.limits, decoder=made.decoder, local=made.local, seed=made.seed, names=made.names, tells=made.tells
        )  # fmt: skip
        self.ingest.expect((source,))
        self.next_offset = 0
        self._shares, self._unreported = Shares(made.shares), Unreported([None] * made.shares)
        self._spans = 0
        self._best, self._news = _Best(), ToldNews()

    def step(self, batch: Batch, now_ns: int, tally: Tally) -> list[Answer]:
        """Read records of the partition, or learn by `checked` how far it was read. Any bytes get an answer."""
        answers, before, evaluations = list[Answer](), tally.spans, len(tally.evaluations)
        if batch.gap != NO_GAP:
            self.ingest.adjust(batch.gap)
        for answered in self.ingest.read_all(batch.records, now_ns, tally):
            answers += answered
        self.ingest.check(batch.checked, now_ns)
        if (passed_ns := self.ingest.passed_ns(self.source)) is not None and self.ingest.watermark_ns is not None:
            self.ingest.pass_to(passed_ns)
        slots = {slot.start_ns: slot for slot in self.ingest.closed_slots(now_ns, tally)}
        stretches, self.ingest.stretches = self.ingest.stretches, {}
        legs, self.ingest.legs = self.ingest.legs, {}
        for start_ns in sorted(slots.keys() | stretches.keys()):
            slot = slots.get(start_ns) or empty_slot(start_ns)
            self._close(slot, stretches.get(start_ns, NO_STRETCHES), legs.get(start_ns, NO_LEGS))
        self.next_offset = batch.offsets.get(self.source, self.next_offset)
        self._spans += tally.spans - before
        if self._made.records:
            self._unreported.tell(tally.evaluations[evaluations:])
        return answers

    def _close(self, slot: Slot, stretches: Stretches, legs: Legs) -> None:
        whole, ingest = Share(replace(slot, examples=self._best.new(slot)), stretches, legs), self.ingest
        for share, mine in enumerate(self._shares.cut(whole, ingest.cells)):
            told = mine.legs if self._made.records else None
            names = ingest.sights.errors, ingest.local.outcomes.names
            self._unreported.add(share, cut(mine.slot, mine.stretches, told, ingest.cells, *names))

    def waits_for(self, now_ns: int) -> tuple[str, ...]:
        """The partition, while its event time waits for it."""
        return self.ingest.waits_for(now_ns)

    @property
    def watermark_ns(self) -> int | None:
        """Event time of the partition; of one that is empty, how far it was read."""
        if self.ingest.watermark_ns is not None:
            return self.ingest.watermark_ns
        return self.ingest.passed_ns(self.source)

    def take(self, topics: Mapping[str, int], now_ns: int) -> list[Report]:
        """What is to be reported now, in this order; nothing where nothing is new and the last time was just now."""
        event_ns, is_heard = self.watermark_ns, self.ingest.watermark_ns is not None
        if not self._unreported.is_due(event_ns, now_ns):
            return []
        spans, self._spans = self._spans, 0
        told = self._news.take(self.ingest.told(), event_ns)
        standing = Report(self.source, topics, None, self.next_offset, event_ns, is_heard, spans, told=told)
        return self._unreported.take(standing, now_ns)

    def snapshot(self) -> Arrays:
        """All state, as named arrays. What was closed must have been taken."""
        assert self._unreported.is_empty, "take the reports before saving: they are in no snapshot"
        is_joined_here = not self._made.tells or self.ingest.join.tables.is_untold
        written = 1 if is_joined_here else SHARD_FORMAT
        said = {
            "format": written, "source": self.source, "next_offset": self.next_offset,
            "reported": self._unreported.reported[0], "shares": self._unreported.reported,
        }  # fmt: skip
        return {
            "shard": np.frombuffer(json.dumps(said).encode(), np.uint8),
            "format": np.array([self._made.state_format]),
            **{f"ingest/{name}": array for name, array in self.ingest.snapshot().items()},
        }

    @classmethod
    def restore(cls, made: Made, source: str, arrays: Arrays) -> "Shard":
        """Go on from a snapshot. Raises HandedOverError where it is of another partition or version, or damaged."""
        try:
            said, written = json.loads(arrays["shard"].tobytes()), int(arrays["format"][0])
            if said["format"] not in SHARDS_READABLE or written not in made.readable:
                raise HandedOverError(
                    f"it has format {said['format']} with state {written}; this version reads "
                    f"{' and '.join(map(str, SHARDS_READABLE))} with "
                    f"{', '.join(map(str, made.readable))}"
                )
            if said["source"] != source:
                raise HandedOverError(f"it is of {said['source']}, not of {source}")
            shard = cls(made, source)
            shard.ingest = Ingest.restore(
                under(arrays, "ingest/"), made.limits, made.decoder, local=made.local, names=made.names,
                tells=made.tells,
            )  # fmt: skip
            shard.ingest.join.tables.is_untold = said["format"] == 1 and made.tells
            shard.ingest.expect((source,))
            shard.next_offset = int(said["next_offset"])
            shares = said.get("shares", [said["reported"]])
            if len(shares) == made.shares:  # Else there are more or fewer readers, each new to what it is told.
                shard._unreported = Unreported([place and (int(place[0]), int(place[1])) for place in shares])
        except HandedOverError:
            raise
        except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
            raise HandedOverError(f"it is damaged ({type(error).__name__}: {str(error)[:200]})") from None
        return shard


class _Best:
    """Keeps examples back that cannot be told: a better one of their cell was reported in the same quarter of an hour.

    Who reads the reports keeps the best of that time (service/causes/examples.py), and among equal ones the last.
    """

    def __init__(self) -> None:
        self._life = -1
        self._values: dict[tuple[int, int], float] = {}

    def new(self, slot: Slot) -> Examples:
        """Those of a slot that may be told."""
        if slot.start_ns // LIFE_NS != self._life:
            self._life, self._values = slot.start_ns // LIFE_NS, {}
        seen = slot.examples
        kept: Bools = seen.kind == FAILED
        for i in np.flatnonzero(~kept).tolist():
            key, value = (int(seen.cell[i]), int(seen.kind[i])), float(seen.value[i])
            if value >= self._values.get(key, value):
                self._values[key], kept[i] = value, True
        return Examples(seen.cell[kept], seen.kind[kept], seen.value[kept], seen.trace[kept])
