"""The topic of states: bytes that whoever comes next goes on from, as records that are whole or of no use."""

import asyncio
import secrets
import zlib
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, UnknownError

from service.sources.handed import Pointer
from service.sources.kafka_consumer import stopped
from service.sources.kafka_security import Security
from service.sources.topic_writer import REQUEST_BYTES_MAX, TopicWriter

REFUSED = (CorruptRecordException, UnknownError)
"""What a record without a key meets in a topic that compacts: its own error is not known to aiokafka."""
CHUNK_BYTES = 512 << 10
AT_ONCE = 16
"""Chunks that are written together: of a large state no more is in memory twice."""
READ_TIMEOUT_S, READ_EACH_S = 60.0, 0.01
"""How long reading a state may take, and for each of its chunks."""


class GoneError(Exception):
    """A state that cannot be read where it was; the text says why."""


async def written(
    writer: TopicWriter, topic: str, source: str, pieces: Iterable[bytes], topic_id: int
) -> Pointer:  # fmt: skip
    """Write a state, in pieces of CHUNK_BYTES at most; where it lies. Raises KafkaError or TimeoutError.

    All in one partition of the topic, and without a key: a topic that compacts refuses them, where it would have kept
    the last of them alone. The state's id and the chunk's number come with each.
    """
    state_id, place = secrets.token_hex(8), zlib.crc32(source.encode())
    head, places, values = bytes.fromhex(state_id), list[tuple[int, int]](), list[tuple[None, bytes, int]]()
    count = 0
    for piece in pieces:
        values.append((None, head + count.to_bytes(4, "big") + piece, place))
        count += 1
        if len(values) == AT_ONCE:
            places += await writer.write(topic, values)
            values = []
    if values:
        places += await writer.write(topic, values)
    (partition,) = {partition for partition, _ in places}
    offsets = [offset for _, offset in places]
    return Pointer(partition, min(offsets), max(offsets), count, state_id, topic_id)


async def read(security: Security, topic: str, where: Pointer) -> bytes:
    """Read a state. Raises GoneError where it is not there any more, KafkaError or TimeoutError where none says."""
    there = TopicPartition(topic, where.partition)
    reader = AIOKafkaConsumer(
        **security.arguments(), group_id=None, enable_auto_commit=False, auto_offset_reset="none",
        max_partition_fetch_bytes=REQUEST_BYTES_MAX >> 3, client_rack=security.settings.rack,
    )  # fmt: skip
    try:
        async with asyncio.timeout(READ_TIMEOUT_S + READ_EACH_S * where.chunks):
            await reader.start()
            reader.assign([there])
            begin = (await reader.beginning_offsets([there]))[there]
            end = (await reader.end_offsets([there]))[there]
            if begin > where.first or end <= where.last:
                raise GoneError(f"{there.topic} holds offsets {begin} to {end - 1}, the state was at {where.first}")
            reader.seek(there, where.first)
            chunks = await _chunks(reader, where)
    finally:
        await stopped(reader)
    return b"".join(chunks[number] for number in range(where.chunks))


async def _chunks(reader: AIOKafkaConsumer, where: Pointer) -> dict[int, bytes]:
    """The chunks of a state, by number, however long they take. Raises GoneError where one is missing."""
    chunks: dict[int, bytes] = {}
    while True:
        for messages in (await reader.getmany(timeout_ms=1000)).values():
            for message in messages:
                value = message.value or b""
                if value[:8].hex() == where.state_id:
                    chunks[int.from_bytes(value[8:12], "big")] = value[12:]
                if message.offset >= where.last:
                    if set(chunks) != set(range(where.chunks)):
                        raise GoneError(f"{len(chunks)} of its {where.chunks} records are there")
                    return chunks
