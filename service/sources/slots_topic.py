"""The topics between machines: reports of slots, and the states of partitions for whoever owns them next.

What is written is acknowledged by all replicas before anything is told to the group. Reports of one source go to one
partition, in order: an idempotent producer keeps them so, whatever it has to try again.
"""

import asyncio
import io
import logging
import secrets
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    UnknownError,
    UnknownTopicOrPartitionError,
)

from detectors.core.columns import Arrays
from service.exchange.report import Report, encoded
from service.sources.handed import Pointer
from service.sources.kafka_consumer import stopped, text_of
from service.sources.kafka_security import Security

log = logging.getLogger("tocsin.kafka")

REFUSED = (CorruptRecordException, UnknownError)
"""What a record without a key meets in a topic that compacts: its own error is not known to aiokafka."""
CHUNK_BYTES = 512 << 10
REQUEST_BYTES_MAX = 64 << 20
WRITE_TIMEOUT_S, READ_TIMEOUT_S = 30.0, 60.0
LINGER_MS = 20
"""Reports of several partitions that are made at once are compressed together."""


class GoneError(Exception):
    """A state that cannot be read where it was; the text says why."""


@dataclass
class Written:
    """How much was written, before compression."""

    reports: int = 0
    report_bytes: int = 0
    states: int = 0
    state_bytes: int = 0
    failures: int = 0


class SlotsTopic:
    """The producer of one ingest instance, and how it reads states. One owner."""

    def __init__(self, security: Security) -> None:
        self._security, self._settings = security, security.settings
        self.written = Written()
        self.failing = ""  # Why writing fails; empty while it works.
        self._producer: AIOKafkaProducer | None = None

    async def report(self, reports: Sequence[Report]) -> bool:
        """Write reports, in order for each source; whether all of them are written. Where not, write them again."""
        values = [(one.source.encode(), encoded(one), None) for one in reports]
        if await self._write(self._settings.slots_topic, values) is None:
            return False
        self.written.reports += len(values)
        self.written.report_bytes += sum(len(value) for _, value, _ in values)
        return True

    async def keep(self, source: str, arrays: Arrays, topic_id: int) -> Pointer | None:
        """Write the state of a partition; where it lies, or None where that failed."""
        packed = await asyncio.to_thread(_packed, arrays)
        state_id = secrets.token_hex(8)
        chunks = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
        # All in one partition of the topic, and without a key: a topic that compacts refuses them, where it would have
        # kept the last of them alone. The id and the chunk's number come with each.
        head, place = bytes.fromhex(state_id), zlib.crc32(source.encode())
        values = [(None, head + number.to_bytes(4, "big") + chunk, place) for number, chunk in enumerate(chunks)]
        places = await self._write(self._settings.state_topic, values)
        if places is None:
            return None
        self.written.states += 1
        self.written.state_bytes += len(packed)
        (partition,) = {partition for partition, _ in places}
        offsets = [offset for _, offset in places]
        return Pointer(partition, min(offsets), max(offsets), len(chunks), state_id, topic_id)

    async def state(self, where: Pointer) -> Arrays:
        """Read a state. Raises GoneError where it is not there any more, KafkaError or TimeoutError where none says."""
        there = TopicPartition(self._settings.state_topic, where.partition)
        reader = AIOKafkaConsumer(
            **self._security.arguments(), group_id=None, enable_auto_commit=False, auto_offset_reset="none",
            max_partition_fetch_bytes=REQUEST_BYTES_MAX >> 3, client_rack=self._settings.rack,
        )  # fmt: skip
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
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
        return await asyncio.to_thread(_unpacked, b"".join(chunks[number] for number in range(where.chunks)))

    async def _write(
        self, topic: str, values: Sequence[tuple[bytes | None, bytes, int | None]]
    ) -> list[tuple[int, int]] | None:  # fmt: skip
        """Write records; the partition and offset of each, or None where it failed. What failed is said once.

        values  keys, values, and what tells the partition where the key does not
        """
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                producer = await self._started()
                there = sorted(await producer.partitions_for(topic)) if values[0][2] is not None else []
                sent = [
                    await producer.send(topic, value, key=key, partition=None if n is None else there[n % len(there)])
                    for key, value, n in values
                ]
                await asyncio.wait(sent)
                done = [one.result() for one in sent]
        except (KafkaError, TimeoutError) as error:
            self.written.failures += 1
            self._say(self._why(topic, error))
            await self.close()  # Another one knows nothing of what may have gone wrong in this one.
            return None
        if self.failing:
            log.info("writing to Kafka works again")
        self.failing = ""
        return [(one.partition, one.offset) for one in done]

    def _why(self, topic: str, error: Exception) -> str:
        if isinstance(error, UnknownTopicOrPartitionError):
            return f"Kafka has no topic {topic}: make it (deploy/README.md says how), or see TOCSIN_KAFKA__SLOTS_TOPIC"
        if isinstance(error, REFUSED) and topic == self._settings.state_topic:
            return f"topic {topic} compacts, which would take states apart: set its cleanup.policy to delete"
        said = "no answer in time" if isinstance(error, TimeoutError) else text_of(error, "Write")
        return f"cannot write to topic {topic}: {said}"

    def _say(self, why: str) -> None:
        if why != self.failing:
            log.error("%s; nothing more is read until it works", why)
        self.failing = why

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            made = AIOKafkaProducer(
                **self._security.arguments(), acks="all", enable_idempotence=True, compression_type="zstd",
                linger_ms=LINGER_MS, max_request_size=REQUEST_BYTES_MAX, request_timeout_ms=int(WRITE_TIMEOUT_S * 500),
            )  # fmt: skip
            try:
                await made.start()
            except BaseException:
                await _closed(made)
                raise
            self._producer = made
        return self._producer

    async def close(self) -> None:
        """Leave the brokers."""
        made, self._producer = self._producer, None
        if made is not None:
            await _closed(made)


async def _closed(made: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(5.0):
            await made.stop()
    except (KafkaError, TimeoutError) as error:
        log.warning("the producer did not stop cleanly: %s", text_of(error))


async def _chunks(reader: AIOKafkaConsumer, where: Pointer) -> dict[int, bytes]:
    """The chunks of a state, by number. Raises GoneError where one is missing."""
    chunks: dict[int, bytes] = {}
    until_s = time.monotonic() + READ_TIMEOUT_S
    while time.monotonic() < until_s:
        for messages in (await reader.getmany(timeout_ms=1000)).values():
            for message in messages:
                value = message.value or b""
                if value[:8].hex() == where.state_id:
                    chunks[int.from_bytes(value[8:12], "big")] = value[12:]
                if message.offset >= where.last:
                    if set(chunks) != set(range(where.chunks)):
                        raise GoneError(f"{len(chunks)} of its {where.chunks} records are there")
                    return chunks
    raise TimeoutError


def _packed(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(packed: bytes) -> Arrays:
    """The arrays of a state. Raises GoneError where it is damaged."""
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise GoneError(f"it is damaged ({type(error).__name__}: {error})") from None
