"""The topics between machines: reports of slots, and the states of partitions for whoever owns them next.

What is written is acknowledged by all replicas before anything is told to the group. Reports of one source go to one
partition, in order: an idempotent producer keeps them so, whatever it has to try again.
"""

import asyncio
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from detectors.core.columns import Arrays
from service.exchange.report import Report, encoded
from service.sources import state_topic
from service.sources.handed import Pointer
from service.sources.kafka_consumer import text_of
from service.sources.kafka_security import Security
from service.sources.state_topic import CHUNK_BYTES, REFUSED, GoneError
from service.sources.topic_writer import LINGER_MS, WRITE_TIMEOUT_S, TopicWriter

log = logging.getLogger("tocsin.kafka")


@dataclass
class Written:
    """How much was written, before compression."""

    reports: int = 0
    report_bytes: int = 0
    states: int = 0
    state_bytes: int = 0
    failures: int = 0


class SlotsTopic:
    """What one instance of role ingest or sum writes, and how it reads states. One owner.

    topic   where it reports
    shares  how many partitions of it are a share each; 1: whose report it is decides which partition it goes to
    """

    def __init__(self, security: Security, topic: str) -> None:
        self._security, self._settings, self.topic, self.shares = security, security.settings, topic, 1
        self.written = Written()
        self.failing = ""  # Why writing fails; empty while it works.
        self._writer = TopicWriter(security, LINGER_MS, WRITE_TIMEOUT_S)

    async def report(self, reports: Sequence[Report]) -> bool:
        """Write reports, in order for each source; whether all of them are written. Where not, write them again."""
        values = [(one.source.encode(), encoded(one), one.share if self.shares > 1 else None) for one in reports]
        try:
            if values:
                await self._writer.write(self.topic, values)
        except (KafkaError, TimeoutError) as error:
            self._failed(self.topic, error)
            return False
        self._works()
        self.written.reports += len(values)
        self.written.report_bytes += sum(len(value) for _, value, _ in values)
        return True

    async def share(self) -> bool:
        """Have each partition of the topic be a share; whether the brokers say how many there are."""
        try:
            self.shares = await self._writer.partitions(self.topic)
        except (KafkaError, TimeoutError) as error:
            self._failed(self.topic, error)
            return False
        self._works()
        return True

    async def keep(self, source: str, arrays: Arrays, topic_id: int) -> Pointer | None:
        """Write the state of a partition; where it lies, or None where that failed."""
        packed = await asyncio.to_thread(_packed, arrays)
        pieces = (packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES))
        try:
            where = await state_topic.written(self._writer, self._settings.state_topic, source, pieces, topic_id)
        except (KafkaError, TimeoutError) as error:
            self._failed(self._settings.state_topic, error)
            return None
        self._works()
        self.written.states += 1
        self.written.state_bytes += len(packed)
        return where

    async def state(self, where: Pointer) -> Arrays:
        """Read a state. Raises GoneError where it is not there any more, KafkaError or TimeoutError where none says."""
        return await asyncio.to_thread(
            _unpacked, await state_topic.read(self._security, self._settings.state_topic, where)
        )

    def _works(self) -> None:
        if self.failing:
            log.info("writing to Kafka works again")
        self.failing = ""

    def _failed(self, topic: str, error: Exception) -> None:
        """Count it, and say it once."""
        self.written.failures += 1
        why = self._why(topic, error)
        if why != self.failing:
            log.error("%s; nothing more is read until it works", why)
        self.failing = why

    def _why(self, topic: str, error: Exception) -> str:
        if isinstance(error, UnknownTopicOrPartitionError):
            see = self._settings.between.get(topic, "TOCSIN_KAFKA__STATE_TOPIC")
            return f"Kafka has no topic {topic}: make it (deploy/README.md says how), or see {see}"
        if isinstance(error, REFUSED) and topic == self._settings.state_topic:
            return f"topic {topic} compacts, which would take states apart: set its cleanup.policy to delete"
        return f"cannot write to topic {topic}: {text_of(error, 'Write')}"

    async def close(self) -> None:
        """Leave the brokers."""
        await self._writer.close()


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
