"""A range of Kafka's log by time, read once: no group is joined, and no offset is committed."""

import asyncio
import time
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from service.batch import Batch, Record, Signal
from service.sources.kafka import RECORDS_MAX
from service.sources.kafka_consumer import stopped
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from service.sources.topics import signal_of

STUCK_S = 60.0
"""Brokers that bring nothing for so long, while there is more to read, are given up."""
POLL_MS = 1000


class KafkaRange:
    """The records of the topics whose time is in the range, partition by partition as they come.

    part     of all offsets, which share is read
    time_ms  of the latest record
    """

    def __init__(self, settings: KafkaSettings, begins: datetime, ends: datetime) -> None:
        self.settings, self.part, self.time_ms = settings, 0.0, 0
        self._begins_ms, self._ends_ms = int(begins.timestamp() * 1000), int(ends.timestamp() * 1000)
        self._first: dict[TopicPartition, int] = {}
        self._end: dict[TopicPartition, int] = {}
        self._left: set[TopicPartition] = set()
        self._is_news = True
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Find out where the range begins and ends. Raises KafkaError, TimeoutError, ValueError."""
        if not self.settings.bootstrap_servers:
            raise ValueError("TOCSIN_KAFKA__BOOTSTRAP_SERVERS says no broker; set it, or read files with --otlp")
        if self._begins_ms >= self._ends_ms:
            raise ValueError("--from is not before --to")
        self._consumer = consumer = AIOKafkaConsumer(
            **Security(self.settings).arguments(), group_id=None, enable_auto_commit=False,
            isolation_level="read_committed", max_partition_fetch_bytes=self.settings.fetch_bytes,
            check_crcs=self.settings.check_crcs, client_rack=self.settings.rack,
        )  # fmt: skip
        await consumer.start()
        there = await consumer.topics()
        if missing := [topic for topic in self.settings.topics if topic not in there]:
            raise ValueError(f"Kafka has no topic {', '.join(missing)}; see TOCSIN_KAFKA__TOPICS")
        # Without a group it is assigned every partition, once the brokers have told of them.
        consumer.subscribe(list(self.settings.topics))
        async with asyncio.timeout(STUCK_S):
            while not consumer.assignment():  # noqa: ASYNC110 - The client tells nobody when.
                await asyncio.sleep(0.02)
        partitions = sorted(consumer.assignment())
        last = await consumer.end_offsets(partitions)
        begins = await consumer.offsets_for_times(dict.fromkeys(partitions, self._begins_ms))
        ends = await consumer.offsets_for_times(dict.fromkeys(partitions, self._ends_ms))
        for one in partitions:
            first, end = begins[one], ends[one]
            self._first[one] = last[one] if first is None else first.offset
            self._end[one] = last[one] if end is None else end.offset
            consumer.seek(one, self._first[one])
        await self._look()

    async def next(self) -> Batch | None:
        """Fetch some records; None once all are read. Raises KafkaError where brokers bring no more of them."""
        assert self._consumer is not None
        since_s = time.monotonic()
        while self._left:
            fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
            records = []
            for one, found in fetched.items():
                for record in found:
                    if record.offset < self._end[one] and record.value:
                        self.time_ms = max(self.time_ms, record.timestamp)
                        records.append(Record(signal_of(one.topic), record.value, f"{one.topic}/{one.partition}"))
            if records:
                # Event time waits for the partitions that there is more of, from before these records.
                expected = self._expected() if self._is_news else None
                await self._look()
                return Batch(tuple(records), {}, expected)
            await self._look()
            if time.monotonic() - since_s > STUCK_S:
                raise KafkaError(f"the brokers brought nothing for {STUCK_S:.0f} s, and there is more to read")
        return None

    async def stop(self) -> None:
        """Leave the brokers."""
        if self._consumer is not None:
            await stopped(self._consumer)

    async def _look(self) -> None:
        """See which partitions are read to the end of the range."""
        assert self._consumer is not None
        read, left = 0, set()
        for one, end in self._end.items():
            at = await self._consumer.position(one)
            read += min(at, end) - self._first[one]
            if at < end:
                left.add(one)
            else:
                self._consumer.pause(one)
        self._is_news |= left != self._left
        self._left = left
        self.part = read / max(sum(self._end.values()) - sum(self._first.values()), 1)

    def _expected(self) -> tuple[str, ...]:
        self._is_news = False
        return tuple(
            f"{one.topic}/{one.partition}" for one in sorted(self._left) if signal_of(one.topic) is Signal.TRACES
        )
