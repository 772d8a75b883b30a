"""Where reading goes on of partitions that several instances share: from the state that their last owner left.

An owner writes the state of its partition into a topic now and then, and tells the group the offset that the state
covers together with where it lies. Both are told in one commit, so a new owner always finds a state and the offset that
belongs to it.
"""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from service.sources.positions import Told, name_of

log = logging.getLogger("tocsin.kafka")

POINTER_FORMAT = 1


@dataclass(frozen=True)
class Pointer:
    """Where a state lies in its topic.

    partition, first, last  the records from the first offset to the last one hold it, among others' records
    chunks    how many of them there are
    state_id  what each of its records begins with
    topic_id  of the source's topic; 0 where the brokers tell none
    """

    partition: int
    first: int
    last: int
    chunks: int
    state_id: str
    topic_id: int

    def text(self) -> str:
        """What is told to the group."""
        return json.dumps({"format": POINTER_FORMAT, **vars(self)}, separators=(",", ":"))


def pointer(text: str) -> Pointer | None:
    """What a former owner told the group; None where it is not of ours, or of a version that we do not know.

    >>> pointer("")
    >>> pointer(Pointer(0, 5, 9, 3, "a", 7).text())
    Pointer(partition=0, first=5, last=9, chunks=3, state_id='a', topic_id=7)
    """
    try:
        fields = json.loads(text)
        if fields.pop("format") != POINTER_FORMAT:
            return None
        found = Pointer(**fields)
        numbers = (found.partition, found.first, found.last, found.chunks, found.topic_id)
        are_right = all(type(number) is int and number >= 0 for number in numbers) and type(found.state_id) is str
        return found if are_right else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


class Handed:
    """Positions of a member that owns some of the partitions for a while."""

    is_shared = True

    def __init__(self) -> None:
        self.next: dict[str, int] = {}
        self._begins: dict[str, str] = {}
        self._saved: dict[str, tuple[int, str]] = {}
        self._committed: dict[str, tuple[int, str]] = {}

    def saved(self, name: str, offset: int, where: Pointer) -> None:
        """The state of a partition up to an offset is written: the group may be told of it."""
        self._saved[name] = offset, where.text()

    def forget(self, name: str) -> None:
        self.next.pop(name, None)

    def begin_anew(self, name: str) -> None:
        self.next[name] = 0
        self._saved.pop(name, None)

    async def known(
        self, made: AIOKafkaConsumer, partitions: Collection[TopicPartition], ids: Mapping[str, int]
    ) -> Mapping[TopicPartition, int | None]:  # fmt: skip
        """Of a partition that was ours before and comes back at once, what was read goes on; of others, the state."""
        mine = {name_of(partition) for partition in made.assignment()}
        # Of one that was taken from us before it was told, too, nothing is known any more.
        for part in (self.next, self._saved, self._committed, self._begins):
            for name in part.keys() - mine:
                del part[name]
        found: dict[TopicPartition, int | None] = {}
        commits = await made._coordinator.fetch_committed_offsets(list(partitions)) if partitions else {}
        for partition in partitions:
            name, commit = name_of(partition), commits.get(partition)
            committed, text = None, ""
            if commit is not None and commit.offset >= 0:
                committed, text = int(commit.offset), str(commit.metadata or "")
            if (ours := self.next.get(name)) is not None and ours >= (committed or 0):
                found[partition] = ours
                continue
            where = pointer(text)
            if where and where.topic_id and where.topic_id != ids.get(partition.topic, where.topic_id):
                log.warning("%s was made anew while nobody read it: it is read from its beginning", name)
                committed, text = 0, ""
            elif committed is not None and where is None:
                log.warning(
                    "%s: the group knows an offset without a state that an owner left: what was under way there counts "
                    "in part; no instance of another role may be in the same group", name
                )  # fmt: skip
            self.next.pop(name, None)  # Not to be believed until reading was put where it goes on.
            self._begins[name] = text
            found[partition] = committed
        return found

    def begins(self) -> Mapping[str, str]:
        """Those that reading was put to; a partition of which that is under way still waits for the next time."""
        begins = {name: said for name, said in self._begins.items() if name in self.next}
        self._begins = {name: said for name, said in self._begins.items() if name not in begins}
        return begins

    def due(self, mine: Collection[str]) -> Mapping[str, Told]:
        return {name: told for name, told in self._saved.items() if name in mine and told != self._committed.get(name)}

    def told(self, due: Mapping[str, Told]) -> None:
        self._committed |= {name: told for name, told in due.items() if isinstance(told, tuple)}
