"""Where shared partitions go on, as members of the group come and go."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.sources.handed import Handed, Pointer

ONE, OTHER = TopicPartition("spans", 0), TopicPartition("spans", 1)
WHERE = Pointer(0, 5, 9, 3, "a", 0)


@dataclass
class Member:
    """What is asked of a consumer: which partitions are its own, and what its group was told."""

    mine: set[TopicPartition]
    told: Mapping[TopicPartition, OffsetAndMetadata]

    def assignment(self) -> set[TopicPartition]:
        return self.mine

    @property
    def _coordinator(self) -> "Member":
        return self

    async def fetch_committed_offsets(self, partitions: Any) -> Mapping[TopicPartition, OffsetAndMetadata]:
        return self.told


def test_a_partition_that_is_taken_before_it_was_told() -> None:
    """Two rebalances follow each other: of what was ours in between nothing is told, as nobody knows its offset."""
    told = {one: OffsetAndMetadata(40, WHERE.text()) for one in (ONE, OTHER)}

    async def run() -> Handed:
        handed = Handed()
        for mine in ({ONE, OTHER}, {ONE}):
            found = await handed.known(Member(mine, told), mine, {})
            handed.next |= {f"spans/{one.partition}": offset or 0 for one, offset in found.items()}
        return handed

    handed = asyncio.run(run())
    assert handed.begins().keys() == handed.next.keys() == {"spans/0"}


def test_a_partition_is_told_once_reading_was_put_there() -> None:
    """While a rebalance is under way the loop may ask: what has no offset yet is told when it has."""
    handed, told = Handed(), {ONE: OffsetAndMetadata(40, WHERE.text())}
    handed.next["spans/0"] = 7  # Of before: the group has moved on.
    asyncio.run(handed.known(Member({ONE}, told), {ONE}, {}))
    assert handed.begins() == {}
    handed.next["spans/0"] = 40
    assert handed.begins() == {"spans/0": WHERE.text()}
    assert handed.begins() == {}
