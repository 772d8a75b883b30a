"""A producer between machines: what it writes is acknowledged by all replicas, in order, whatever is tried again."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.sources.kafka_consumer import text_of
from service.sources.kafka_security import Security

log = logging.getLogger("tocsin.kafka")

REQUEST_BYTES_MAX = 64 << 20
WRITE_TIMEOUT_S = 30.0
LINGER_MS = 20
"""Reports of several partitions that are made at once are compressed together."""

Value = tuple[bytes | None, bytes, int | None]
"""A key, a value, and what tells the partition where the key does not."""


class TopicWriter:
    """One producer, made when something is to be written. One owner."""

    def __init__(self, security: Security, linger_ms: int, timeout_s: float) -> None:
        self._security, self._linger_ms, self._timeout_s = security, linger_ms, timeout_s
        self._producer: AIOKafkaProducer | None = None

    async def write(self, topic: str, values: Sequence[Value]) -> list[tuple[int, int]]:
        """Write records; the partition and offset of each. Raises KafkaError or TimeoutError where it failed."""
        try:
            async with asyncio.timeout(self._timeout_s):
                producer = await self._started()
                there = sorted(await producer.partitions_for(topic)) if values[0][2] is not None else []
                sent = [
                    await producer.send(topic, value, key=key, partition=None if n is None else there[n % len(there)])
                    for key, value, n in values
                ]
                await asyncio.wait(sent)
                failed = [error for one in sent if (error := one.exception())]  # Of all: none is left unseen.
                if failed:
                    raise failed[0]
        except (KafkaError, TimeoutError):
            await self.close()  # Another one knows nothing of what may have gone wrong in this one.
            raise
        return [(one.result().partition, one.result().offset) for one in sent]

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises KafkaError or TimeoutError where the brokers do not say."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return len(await (await self._started()).partitions_for(topic))
        except (KafkaError, TimeoutError):
            await self.close()
            raise

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            made = AIOKafkaProducer(
                **self._security.arguments(), acks="all", enable_idempotence=True, compression_type="zstd",
                linger_ms=self._linger_ms, max_request_size=REQUEST_BYTES_MAX,
                request_timeout_ms=int(self._timeout_s * 500),
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
