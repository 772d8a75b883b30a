"""The Kafka door: OTLP records from topics, from where the saved state left off.

Offsets live with the state they cover. A partition starts at whichever is further: the offset saved with our state, or
the group's committed one, which another member may have moved on; a partition that neither knows starts at its
beginning. The group's commit follows each save, so lag tools see us, and never runs ahead of it.
"""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from service.batch import Record, Signal
from service.settings import KafkaSettings
from service.sources.arrival import Arrival, Arrivals

log = logging.getLogger("tocsin.kafka")

RECORDS_MAX = 5_000
POLL_MS = 500
SESSION_MS, REBALANCE_MS = 30_000, 60_000
WORDS = {"spans": Signal.TRACES, "traces": Signal.TRACES, "metrics": Signal.METRICS, "logs": Signal.LOGS}


def signal_of(topic: str) -> Signal:
    """What a topic holds, by the words in its name; spans if it does not say.

    >>> signal_of("otlp_metrics"), signal_of("agents")
    (<Signal.METRICS: 'metrics'>, <Signal.TRACES: 'traces'>)
    """
    return next((signal for word, signal in WORDS.items() if word in topic.lower()), Signal.TRACES)


class KafkaSource:
    """A consumer of the group, from `saved` offsets by `topic/partition`."""

    def __init__(self, settings: KafkaSettings, arrivals: Arrivals, saved: Mapping[str, int]) -> None:
        self.settings, self.arrivals = settings, arrivals
        self.saved = dict(saved)
        self.lag: dict[str, int] = {}
        self.empty = 0  # Records without a value: tombstones, which OTLP never writes.
        self.closing = False  # Set to fetch no more, and stay in the group until the last offsets are committed.
        self._next: dict[str, int] = {}
        self._broken: Exception | None = None
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers,
            group_id=settings.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=settings.fetch_bytes,
            check_crcs=settings.check_crcs,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
        )

    async def run(self) -> None:
        """Read until cancelled; raises KafkaError where the brokers cannot be reached or refuse us."""
        await self._consumer.start()
        try:
            self._consumer.subscribe(list(self.settings.topics), listener=_Seek(self))
            while True:
                # Its own timeout, never wait_for: a cancelled getmany switches off the poll-interval check for good.
                if self._broken:
                    raise self._broken
                if self.closing:
                    await asyncio.sleep(POLL_MS / 1000)
                    continue
                fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
                for partition, messages in fetched.items():
                    await self._put(partition, messages)
        finally:
            await self._consumer.stop()

    async def _put(self, partition: TopicPartition, messages: list) -> None:  # type: ignore[type-arg]
        name, signal = _name(partition), signal_of(partition.topic)
        # A fetch that was under way when the partition was put back may bring what we have already read.
        messages = [m for m in messages if m.offset >= self._next.get(name, 0)]
        if not messages:
            return
        self._next[name] = messages[-1].offset + 1
        records = tuple(Record(signal, m.value, name) for m in messages if m.value)
        self.empty += len(messages) - len(records)
        await self.arrivals.put(Arrival(records, {name: messages[-1].offset + 1}))
        end = self._consumer.highwater(partition)
        if end is not None:
            self.lag[name] = end - messages[-1].offset - 1

    async def seek(self, partitions: set[TopicPartition]) -> None:
        """Put newly assigned partitions where our state (or the group) left off."""
        self.lag = {name: lag for name, lag in self.lag.items() if name in {_name(p) for p in partitions}}
        for partition in partitions:
            ours = self.saved.get(_name(partition))
            committed = await self._consumer.committed(partition)
            self._next[_name(partition)] = max(ours or 0, committed or 0)
            if ours is not None and ours > (committed or 0):
                self._consumer.seek(partition, ours)

    def fail(self, error: Exception) -> None:
        """End `run` with this error at its next turn."""
        self._broken = error

    async def commit(self, offsets: Mapping[str, int]) -> None:
        """Tell the group what has been saved; a partition that is no longer ours is left out."""
        self.saved.update(offsets)
        mine = {_name(p): p for p in self._consumer.assignment()}
        to_commit = {mine[name]: offset for name, offset in offsets.items() if name in mine}
        if not to_commit:
            return
        try:
            await self._consumer.commit(to_commit)
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("the group has moved on and did not take our offsets: %s", error)
        except KafkaError as error:
            log.warning("offsets could not be committed, the next save tries again: %s", error)


class _Seek(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka logs and swallows what a listener raises, so a failed seek must stop the source by itself."""

    def __init__(self, source: KafkaSource) -> None:
        self.source = source

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        pass

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("reading %s", ", ".join(sorted(_name(p) for p in assigned)) or "nothing: no partition is ours")
        try:
            await self.source.seek(assigned)
        except (KafkaError, TimeoutError) as error:
            self.source.fail(error)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
