"""The Kafka door: OTLP records from topics, from where the saved state left off.

Offsets live with the state they cover. A partition starts at whichever is further: what this process has read, what
our state was saved with, or the group's committed offset, which another member may have moved on; a partition that
nobody knows starts at its beginning. The group's commit follows each save, so lag tools see us, and never runs ahead.

What goes wrong once reading has begun (the brokers are gone, the group does not take us, a rebalance fails) ends that
consumer and not the daemon: a new one is made, a while later, and goes on where reading stopped. Before that it is
most likely a wrong setting, and raised.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from service.batch import Answer, Record, Signal
from service.settings import KafkaSettings
from service.sources.arrival import Arrival, Arrivals

log = logging.getLogger("tocsin.kafka")

RECORDS_MAX = 5_000
AHEAD_MAX = 8
"""Fetches that may wait to be read: more would only keep the OTLP door's bodies off the queue."""
POLL_S = 0.5
SESSION_MS, REBALANCE_MS = 30_000, 60_000
METADATA_MS = 10_000
"""How soon a topic that is made after our start is found."""
COMMIT_TIMEOUT_S, STOP_TIMEOUT_S = 5.0, 10.0
AGAIN_FIRST_S, AGAIN_MAX_S, LIVED_S = 1.0, 30.0, 60.0
"""How long until a consumer that failed is replaced; at first again for one that had lived for a while."""
SILENT_MAX_S = 300.0
"""A consumer that has heard from no broker for this long is stuck, whatever it says: it is replaced."""
SILENT_S = 5.0
"""For how long brokers may be silent before we say so: a new leader takes a few seconds, too."""
WORDS = {"spans": Signal.TRACES, "traces": Signal.TRACES, "metrics": Signal.METRICS, "logs": Signal.LOGS}


def signal_of(topic: str) -> Signal:
    """What a topic holds, by the words in its name; spans if it does not say.

    >>> signal_of("otlp_metrics"), signal_of("agents")
    (<Signal.METRICS: 'metrics'>, <Signal.TRACES: 'traces'>)
    """
    return next((signal for word, signal in WORDS.items() if word in topic.lower()), Signal.TRACES)


class KafkaSource:
    """A member of the group, from `saved` offsets by `topic/partition`.

    instance  names this daemon to the group for good: started again after any end, it has its partitions back at once
              instead of after the session of its former self has expired
    """

    def __init__(self, settings: KafkaSettings, arrivals: Arrivals, saved: Mapping[str, int], instance: str) -> None:
        self.settings, self.arrivals, self._instance = settings, arrivals, instance
        self.empty = 0  # Records without a value: tombstones, which OTLP never writes.
        self.restarts = 0  # Consumers that had to be replaced.
        self._saved = dict(saved)
        self._committed: dict[str, int] = {}
        self._next = dict(saved)
        self._unread: deque[asyncio.Future[tuple[Answer, ...]]] = deque()
        self._closing = asyncio.Event()
        self._leaving = asyncio.Event()
        self._news: tuple[str, ...] = ()
        self._broken: Exception | None = None
        self._begun = False
        self._heard_s = 0.0
        self._asks = True  # Not while what was fetched waits to be read.
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Reach the brokers. Raises KafkaError where they cannot be reached."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.bootstrap_servers,
            group_id=self.settings.group,
            group_instance_id=self._instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=self.settings.fetch_bytes,
            check_crcs=self.settings.check_crcs,
            metadata_max_age_ms=METADATA_MS,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await _stopped(consumer)
            raise KafkaError(f"cannot read from Kafka at {self.settings.bootstrap_servers}: {_said(error)}") from None
        consumer.subscribe(list(self.settings.topics), listener=_Seek(self, consumer))
        self._consumer, self._broken, self._heard_s = consumer, None, time.monotonic()

    async def run(self) -> None:
        """Read until `leave`; raises KafkaError only while nothing could be read yet."""
        again_s = AGAIN_FIRST_S
        try:
            while not self._leaving.is_set():
                born_s = time.monotonic()
                try:
                    await self._read()
                except (KafkaError, TimeoutError) as error:
                    if not self._begun:
                        raise
                    self.restarts += 1
                    again_s = AGAIN_FIRST_S if time.monotonic() - born_s > LIVED_S else again_s
                    log.error("%s; trying again in %.0f s, from where reading stopped", _said(error), again_s)
                    await self._drop()
                    await _until(self._leaving, again_s)
                    again_s = min(2 * again_s, AGAIN_MAX_S)
        finally:
            await self._drop()

    def stop_reading(self) -> None:
        """Fetch no more, and stay in the group until the last offsets are committed."""
        self._closing.set()

    def leave(self) -> None:
        """Commit what was saved, and end `run`; what was fetched and is not read yet comes again after a start."""
        self._closing.set()
        self._leaving.set()
        for read in self._unread:
            if not read.done():
                read.set_result(())

    def saved(self, offsets: Mapping[str, int]) -> None:
        """These offsets are saved: the group may be told of them."""
        self._saved |= {name: offset for name, offset in offsets.items() if offset <= self._next.get(name, 0)}

    def fail(self, error: Exception) -> None:
        """End this consumer with an error at its next turn: nothing more is read from it."""
        self._broken = error

    def silent_s(self) -> float:
        """Seconds since a broker last answered; 0 while none is asked."""
        return max(0.0, time.monotonic() - self._heard_s) if self._asks else 0.0

    def lag(self) -> dict[str, int]:
        """Records not read yet of the partitions that are ours, as of the last fetch of each."""
        found = {}
        for partition in self._consumer.assignment() if self._consumer else ():
            end = self._consumer.last_stable_offset(partition) if self._consumer else None
            if end is not None and end >= 0:
                found[_name(partition)] = max(0, end - self._next.get(_name(partition), 0))
        return found

    async def _read(self) -> None:
        """One consumer's life, until it fails or we leave."""
        if self._consumer is None:
            await self.start()
        consumer = self._consumer
        assert consumer is not None
        while not self._leaving.is_set():
            if self._closing.is_set():
                await self._leaving.wait()
                break
            # Its own timeout, never wait_for: a cancelled getmany switches off the poll-interval check for good.
            fetched = await consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=RECORDS_MAX)
            if self._broken:
                raise self._broken
            if self._news:
                expected, self._news = self._news, ()
                await self.arrivals.put(Arrival((), {}, None, expected))
            self._asks, put_s = False, time.monotonic()
            for partition, messages in fetched.items():
                await self._put(consumer, partition, messages)
            self._heard_s += time.monotonic() - put_s
            self._asks = True
            self._listen(consumer)
            await self._commit(consumer)
        await self._commit(consumer)

    async def _put(self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list) -> None:  # type: ignore[type-arg]
        name, signal = _name(partition), signal_of(partition.topic)
        end = consumer.highwater(partition)
        if end is not None and end < self._next.get(name, 0):
            log.warning("%s ends before what was read of it: it was made anew, and is read from its beginning", name)
            self._next[name], self._committed[name] = 0, 0
            self._saved.pop(name, None)
        # Between assignment and seek the consumer may bring what we have already read.
        known = self._next.get(name, 0)
        if messages and messages[0].offset < known:
            messages = [message for message in messages if message.offset >= known]
        if not messages:
            return
        while len(self._unread) >= AHEAD_MAX:
            await self._unread.popleft()
        read: asyncio.Future[tuple[Answer, ...]] = asyncio.get_running_loop().create_future()
        self._unread.append(read)
        records = tuple(Record(signal, message.value, name) for message in messages if message.value)
        self.empty += len(messages) - len(records)
        self._next[name] = messages[-1].offset + 1
        await self.arrivals.put(Arrival(records, {name: self._next[name]}, read))

    def _listen(self, consumer: AIOKafkaConsumer) -> None:
        """Note when a broker was last heard. Raises KafkaError if that is too long ago."""
        now_s = time.monotonic()
        polled = [consumer.last_poll_timestamp(partition) or 0 for partition in consumer.assignment()]
        quiet_s = time.time() - max(polled, default=0) / 1000
        if not polled:
            self._heard_s = now_s
        elif quiet_s < 10 * POLL_S:
            self._heard_s = max(self._heard_s, now_s - max(0.0, quiet_s))
        elif now_s - self._heard_s > SILENT_MAX_S:
            raise KafkaError(f"no broker has answered for {SILENT_MAX_S:.0f} s")

    async def seek(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Put newly assigned partitions where reading left off, or the group."""
        self._news = tuple(sorted(_name(p) for p in partitions if signal_of(p.topic) is Signal.TRACES))
        for partition in partitions:
            name = _name(partition)
            committed = self._committed[name] = await consumer.committed(partition) or 0
            if self._next.get(name, 0) > committed:
                consumer.seek(partition, self._next[name])
            else:
                self._next[name] = committed
        self._begun = True

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Tell the group what has been saved since; a partition that is not ours now is left out."""
        mine = {_name(partition): partition for partition in consumer.assignment()}
        due = {n: offset for n, offset in self._saved.items() if n in mine and offset > self._committed.get(n, 0)}
        if not due:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):  # aiokafka itself would try for ever.
                await consumer.commit({mine[name]: offset for name, offset in due.items()})
        except (KafkaError, TimeoutError) as error:
            log.warning("the group did not take our offsets (%s); they are saved, and told again", _said(error))
        else:
            self._committed |= due

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stopped(consumer)


class _Seek(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka logs and swallows what a listener raises, so a failed seek must end the consumer by itself."""

    def __init__(self, source: KafkaSource, consumer: AIOKafkaConsumer) -> None:
        self.source, self.consumer = source, consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        pass

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("reading %s", ", ".join(sorted(_name(p) for p in assigned)) or "nothing: no partition is ours")
        try:
            await self.source.seek(self.consumer, assigned)
        except (KafkaError, TimeoutError) as error:
            self.source.fail(error)


async def _stopped(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, which may hang in a rebalance that never ends, or stop halfway where brokers are gone."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await consumer.stop()
        return
    except TimeoutError:
        log.warning("the consumer did not stop within %.0f s", STOP_TIMEOUT_S)
    except KafkaError as error:
        log.warning("the consumer did not stop cleanly: %s", _said(error))
    except asyncio.CancelledError:
        # It waits for fetches that it has cancelled, and lets their end out as if it were ours (aiokafka #647).
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
    await _abandoned(consumer)


async def _abandoned(consumer: AIOKafkaConsumer) -> None:
    """End what a stop has left running, which would ask for brokers for ever; there is no public way to."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_fetch_task")
    tasks = [getattr(part, name, None) for part in (coordinator, fetcher) for name in names]
    left = [task for task in (*tasks, *getattr(fetcher, "_pending_tasks", ())) if task is not None and not task.done()]
    for task in left:
        task.cancel()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            if left:
                await asyncio.wait(left)
            await consumer._client.close()
    except TimeoutError:
        log.warning("the consumer's connections did not close within %.0f s", STOP_TIMEOUT_S)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _said(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
