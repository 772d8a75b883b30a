"""Where reading goes on in each partition, and what the group is told of that: as our state on disk has it."""

from collections.abc import Collection, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

Told = int | tuple[int, str]
"""What the group is told of a partition: the next offset, and a text with it."""


def name_of(partition: TopicPartition) -> str:
    """A partition as everybody else calls it."""
    return f"{partition.topic}/{partition.partition}"


class Positions(Protocol):
    """Who knows where each partition goes on.

    next       by partition, the offset after what was put on the queue last
    is_shared  whether other members of the group are to read the other partitions
    """

    next: dict[str, int]
    is_shared: bool

    def forget(self, name: str) -> None:
        """Go on in a partition from what the group knows of it, as if it were new here."""

    def begin_anew(self, name: str) -> None:
        """Its log begins again: what is known of it means nothing any more."""

    async def known(
        self, made: AIOKafkaConsumer, partitions: Collection[TopicPartition], ids: Mapping[str, int]
    ) -> Mapping[TopicPartition, int | None]:
        """Where newly assigned partitions go on; None where nobody knows. `ids` are those of topics. KafkaError."""

    def begins(self) -> Mapping[str, str]:
        """Those of them that go on from what another owner left, with what it said; each is told once."""

    def due(self, mine: Collection[str]) -> Mapping[str, Told]:
        """What the group is to be told of the partitions that are ours."""

    def told(self, due: Mapping[str, Told]) -> None:
        """The group was told."""


class Kept:
    """Positions that are saved with the state that they cover.

    saved  next offset by partition, as the state was saved with it

    A partition goes on at whichever is further: what this process has read, what our state was saved with, or what the
    group was told, as another member may have moved that on.
    """

    is_shared = False

    def __init__(self, saved: Mapping[str, int]) -> None:
        self.next = dict(saved)
        self._saved = dict(saved)
        self._committed: dict[str, int] = {}

    def saved(self, offsets: Mapping[str, int]) -> None:
        """These offsets are saved: the group may be told of them."""
        self._saved |= {name: offset for name, offset in offsets.items() if offset <= self.next.get(name, -1)}

    def forget(self, name: str) -> None:
        self.next.pop(name, None)

    def begin_anew(self, name: str) -> None:
        self.next[name], self._committed[name] = 0, 0
        self._saved.pop(name, None)

    async def known(
        self, made: AIOKafkaConsumer, partitions: Collection[TopicPartition], ids: Mapping[str, int]
    ) -> Mapping[TopicPartition, int | None]:  # fmt: skip
        found: dict[TopicPartition, int | None] = {}
        for partition in partitions:
            name, committed = name_of(partition), await made.committed(partition)
            self._committed[name] = committed or 0
            are_known = [offset for offset in (self.next.get(name), committed) if offset is not None]
            found[partition] = max(are_known, default=None)
        return found

    def begins(self) -> Mapping[str, str]:
        return {}

    def due(self, mine: Collection[str]) -> Mapping[str, Told]:
        return {n: offset for n, offset in self._saved.items() if n in mine and offset > self._committed.get(n, 0)}

    def told(self, due: Mapping[str, Told]) -> None:
        self._committed |= {name: offset for name, offset in due.items() if isinstance(offset, int)}


class Led:
    """Positions of an instance that leads: where its state has them, whatever the group knows.

    A former leader had read further than the state that it left. The group is told for lag tools alone.
    """

    is_shared = True

    def __init__(self, saved: Mapping[str, int]) -> None:
        self._kept = Kept(saved)
        self.next = self._kept.next

    def saved(self, offsets: Mapping[str, int]) -> None:
        """These offsets are saved: the group may be told of them."""
        self._kept.saved(offsets)

    def forget(self, name: str) -> None:
        self._kept.forget(name)

    def begin_anew(self, name: str) -> None:
        self._kept.begin_anew(name)

    async def known(
        self, made: AIOKafkaConsumer, partitions: Collection[TopicPartition], ids: Mapping[str, int]
    ) -> Mapping[TopicPartition, int | None]:  # fmt: skip
        return {partition: self.next.get(name_of(partition)) for partition in partitions}

    def begins(self) -> Mapping[str, str]:
        return {}

    def due(self, mine: Collection[str]) -> Mapping[str, Told]:
        return self._kept.due(mine)

    def told(self, due: Mapping[str, Told]) -> None:
        self._kept.told(due)
