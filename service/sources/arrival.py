"""What a source puts on the daemon's queue, and how it hears what became of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.batch import Answer, Record, Said


class Begin(NamedTuple):
    """Where a partition is read from on, and what its owner before said of the state that it left."""

    offset: int
    said: str


@dataclass(frozen=True, eq=False)
class Arrival:
    """Records that came together, in order.

    offsets   next offset by partition once they are read; empty for a door without offsets
    answers   resolved with one Answer a record once they are read; None if nobody waits
    expected  all partitions of spans that the source reads from here on, before these records; None is no news
    checked   by partition of spans, the wall time by which all in its log is read, once these records are
    begins    of the expected partitions, those that go on from what another owner left
    marks     what a person said, instead of records; answered one by one too, once it is saved
    """

    records: tuple[Record, ...]
    offsets: Mapping[str, int]
    answers: "asyncio.Future[tuple[Answer, ...]] | None" = None
    expected: tuple[str, ...] | None = None
    checked: Mapping[str, int] = field(default_factory=dict)
    marks: tuple[Said, ...] = ()
    begins: Mapping[str, Begin] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of its bodies."""
        return sum(len(record.body) for record in self.records)


Arrivals = asyncio.Queue[Arrival]


def answer_all(arrivals: Sequence[Arrival], given: Sequence[Answer]) -> None:
    """Tell each door what became of its records."""
    at = 0
    for arrival in arrivals:
        asked = len(arrival.records) + len(arrival.marks)
        answers = tuple(given[at : at + asked])
        at += asked
        if arrival.answers is not None and not arrival.answers.done():
            arrival.answers.set_result(answers)
