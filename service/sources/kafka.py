"""The Kafka door: OTLP records from topics, from where the saved state left off.

Offsets live with the state they cover. A partition starts at whichever is further: what this process has read, what
our state was saved with, or the group's committed offset, which another member may have moved on; a partition that
nobody knows starts at its beginning, and so do all of a topic that was made anew. The group's commit follows each
save, so lag tools see us, and never runs ahead.

What goes wrong (the brokers are gone, the group does not take us, a rebalance fails) ends that consumer and not the
daemon: a new one is made, a while later, and goes on where reading stopped. Only what the brokers refuse before
anything could be read is raised: it is most likely a wrong setting. Brokers that cannot be reached are waited for.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import partial

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from detectors.core.columns import SECOND_NS
from service.batch import Answer, Record, SetAside
from service.sources.arrival import Arrival, Arrivals, Begin
from service.sources.handed import Handed
from service.sources.kafka_consumer import METADATA_MS, Reassigned, consumer, rejected, stopped, text_of, until
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from service.sources.kafka_start import where
from service.sources.positions import Kept, Led, Positions, name_of
from service.sources.progress import Progress, StuckError
from service.sources.topics import Elsewhere, Topics, is_waited_for, signal_in

log = logging.getLogger("tocsin.kafka")

RECORDS_MAX = 5_000
AHEAD_MAX = 8
"""Fetches that may wait to be read: more would only keep the OTLP door's bodies off the queue."""
POLL_S = 0.5
COMMIT_TIMEOUT_S, LOOK_TIMEOUT_S, REJECT_TIMEOUT_S = 5.0, 5.0, 5.0
AGAIN_FIRST_S, AGAIN_MAX_S, LIVED_S = 1.0, 30.0, 60.0
"""How long until a consumer that failed is replaced; at first again for one that had lived for a while."""
SILENT_MAX_S = 300.0
"""A consumer that has heard from no broker for this long is stuck, whatever it says: it is replaced."""
SILENT_S = 5.0
"""For how long brokers may be silent before we say so: a new leader takes a few seconds, too."""


class KafkaSource:
    """A member of the group.

    saved     next offset by `topic/partition`, and by `topic` the id that it had, as the state was saved with them
    instance  names this daemon to the group for good
    handed    where the group shares the partitions: who knows where each goes on; `led` where others stand by
    """

    def __init__(
        self, settings: KafkaSettings, arrivals: Arrivals, saved: Mapping[str, int], instance: str,
        handed: Handed | None = None, led: Led | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.arrivals, self._instance = settings, arrivals, instance
        self.security = Security(settings)
        ids = {name: saved[name] for name in settings.topics if name in saved}
        self.topics = Topics.of(settings, ids)
        self.empty = 0  # Records without a value: tombstones, which OTLP never writes.
        self.restarts = 0  # Consumers that had to be replaced.
        self.elsewhere = Elsewhere(settings.group)
        self.progress = Progress(settings.stuck_after / SECOND_NS)
        self.refused = ""  # The right that is missing, since a consumer ended for want of it.
        self.lost: Counter[str] = Counter()  # By topic: records that were deleted before they were read.
        self._kept = led or Kept({name: offset for name, offset in saved.items() if "/" in name})
        self._positions: Positions = handed or self._kept
        self._answered: dict[str, int] = {}  # By partition: the answer of its broker that was told last, ms.
        self._unread: deque[asyncio.Future[tuple[Answer, ...]]] = deque()
        self._closing = asyncio.Event()
        self._leaving = asyncio.Event()
        self._news: tuple[str, ...] | None = tuple(
            f"{topic}/0" for topic in settings.topics if is_waited_for(settings, topic)
        )  # Event time waits for the topics before it is known how many partitions they have.
        self._generation = 0  # Grows whenever partitions are put where reading goes on.
        self._again: set[str] = set()
        self._sought: set[TopicPartition] = set()  # Those that were put where reading goes on.
        self._broken: Exception | None = None
        self._begun = self._overtook = False
        self._silent = ""  # What was said of the brokers' silence; empty while they answer.
        self._heard_s = time.monotonic()
        self._looked_s = 0.0
        self._asks = True  # Not while what was fetched waits to be read.
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Read until `leave`. Raises KafkaError where the brokers refuse us before anything could be read."""
        again_s = AGAIN_FIRST_S
        try:
            while not self._leaving.is_set():
                born_s = time.monotonic()
                try:
                    await self._read()
                except (KafkaError, TimeoutError) as error:
                    said, is_wrong = text_of(error), not getattr(error, "retriable", False)
                    if isinstance(error, IllegalSaslStateError):
                        # A request that overtook the login on its connection; twice, brokers ask for one we do not do.
                        is_wrong, self._overtook = self._overtook, True
                    if isinstance(error, KafkaConnectionError):
                        why, is_wrong = await self.security.why()
                        said = why or said
                    is_topic = isinstance(error, TopicAuthorizationFailedError)  # It is waited for, as a missing one.
                    if not self._begun and is_wrong and not is_topic:
                        raise KafkaError(f"cannot read from Kafka at {self._servers}: {said}") from None
                    if is_topic or isinstance(error, GroupAuthorizationFailedError):
                        self.refused = f"Kafka: {said}"
                    self.restarts += self._begun or is_topic
                    again_s = AGAIN_FIRST_S if time.monotonic() - born_s > LIVED_S else again_s
                    if not isinstance(error, StuckError):
                        self._say_silent(f"{said}; trying again, from where reading stopped")
                    await self._drop()
                    await until(self._leaving, again_s)
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
        self._kept.saved(offsets)

    def fail(self, error: Exception) -> None:
        """End this consumer with an error at its next turn: nothing more is read from it."""
        self._broken = error

    async def reject(self, found: Sequence[SetAside]) -> None:
        """Write records that were set aside into the topic for them. Where that fails, it is said: paging goes on."""
        try:
            async with asyncio.timeout(REJECT_TIMEOUT_S):
                await rejected(self.security, found)
        except (KafkaError, TimeoutError) as error:
            topic = self.settings.rejected_topic
            said = text_of(error, "Write")
            log.error("%d records that were set aside cannot go to topic %s: %s", len(found), topic, said)

    def again(self, name: str) -> None:
        """Read a partition again from where its state on Kafka was left."""
        self._again.add(name)

    async def _go_back(self, made: AIOKafkaConsumer) -> None:
        names, self._again = self._again, set()
        for name in names:
            self._positions.forget(name)
        await self.seek(made, {partition for partition in made.assignment() if name_of(partition) in names})

    def counts(self) -> dict[str, int]:
        """How many partitions each of the topics has, of those that there are."""
        known = {topic: self._consumer.partitions_for_topic(topic) for topic in self.topics.names if self._consumer}
        return {topic: len(partitions) for topic, partitions in known.items() if partitions}

    def silent_s(self) -> float:
        """Seconds since a broker last answered; 0 while none is asked."""
        return max(0.0, time.monotonic() - self._heard_s) if self._asks else 0.0

    def lag(self) -> dict[str, int]:
        """Records not read yet of the partitions that are ours, as of the last fetch of each."""
        found = {}
        for partition in self._consumer.assignment() if self._consumer else ():
            end = self._consumer.last_stable_offset(partition) if self._consumer else None
            if end is not None and end >= 0:
                found[name_of(partition)] = max(0, end - self._next.get(name_of(partition), 0))
        return found

    @property
    def _next(self) -> dict[str, int]:
        return self._positions.next

    @property
    def _servers(self) -> str:
        return self.settings.bootstrap_servers or ""

    async def _start(self) -> AIOKafkaConsumer:
        """Reach the brokers. Raises KafkaError where they cannot be reached."""
        made = consumer(self.security, self._instance, is_shared=self._positions.is_shared)
        try:
            await made.start()
        except KafkaError:
            await stopped(made)
            raise
        made.subscribe(
            list(self.settings.topics), listener=Reassigned(self.revoked, partial(self.seek, made), self.fail)
        )
        self._consumer, self._broken, self._heard_s = made, None, time.monotonic()
        self._answered.clear()
        self._sought.clear()
        return made

    async def _read(self) -> None:
        """One consumer's life, until it fails or we leave."""
        if self._news is not None:
            await self._tell_news()
        made = await self._start()
        while not self._leaving.is_set():
            if self._closing.is_set():
                await self._leaving.wait()
                break
            # Its own timeout, never wait_for: a cancelled getmany switches off the poll-interval check for good.
            fetched = await made.getmany(timeout_ms=int(POLL_S * 1000), max_records=RECORDS_MAX)
            if self._broken:
                raise self._broken
            if self._again:
                await self._go_back(made)
            if self._news is not None:
                await self._tell_news()
            self._asks, put_s = False, time.monotonic()
            generation = self._generation
            for partition, messages in fetched.items():
                while len(self._unread) >= AHEAD_MAX:
                    await self._unread.popleft()
                if generation != self._generation:
                    break  # Partitions were put elsewhere meanwhile: what was fetched before comes again.
                await self._put(made, partition, messages)
            await self._tell_checked(made)
            self._heard_s += time.monotonic() - put_s
            self.progress.excuse(time.monotonic() - put_s)
            self._asks = True
            self._listen(made)
            if time.monotonic() - self._looked_s > METADATA_MS / 1000:
                await self._look_again(made)
            await self._commit(made)
        await self._commit(made)

    async def _tell_news(self) -> None:
        expected, self._news = self._news, None
        begins = {name: Begin(self._next[name], said) for name, said in self._positions.begins().items()}
        await self.arrivals.put(Arrival((), {}, None, expected, begins=begins))

    async def _put(self, made: AIOKafkaConsumer, partition: TopicPartition, messages: list) -> None:  # type: ignore[type-arg]
        name, signal = name_of(partition), signal_in(self.settings, partition.topic)
        end = made.highwater(partition)
        if end is not None and end < self._next.get(name, 0):
            log.warning("%s ends before what was read of it: it was made anew, and is read from its beginning", name)
            self._positions.begin_anew(name)
        if partition not in self._sought:
            return  # Between assignment and seek: they come again, from where reading is to go on.
        known = self._next[name]
        if messages[0].offset < known:
            messages = [message for message in messages if message.offset >= known]
        if not messages:
            return
        if messages[0].offset > known:
            self._count_lost(name, known, (await made.beginning_offsets([partition]))[partition])
        read: asyncio.Future[tuple[Answer, ...]] = asyncio.get_running_loop().create_future()
        self._unread.append(read)
        records = tuple(Record(signal, message.value, name) for message in messages if message.value)
        self.empty += len(messages) - len(records)
        self._next[name] = messages[-1].offset + 1
        ids = {partition.topic: self.topics.ids[partition.topic]} if partition.topic in self.topics.ids else {}
        await self.arrivals.put(Arrival(records, {name: self._next[name], **ids}, read))

    async def _tell_checked(self, made: AIOKafkaConsumer) -> None:
        """Tell which logs that are waited for are read to their ends, as of the last answer of their brokers."""
        checked = {}
        for partition in made.assignment() & self._sought:
            name, answered_ms = name_of(partition), made.last_poll_timestamp(partition)
            if answered_ms in (None, self._answered.get(name)) or not is_waited_for(self.settings, partition.topic):
                continue
            end = made.last_stable_offset(partition)
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    position = await made.position(partition)
            except (KafkaError, TimeoutError):
                continue  # It is being put elsewhere, or taken from us.
            if end is not None and position >= end:
                checked[name] = answered_ms * 1_000_000
            self._answered[name] = answered_ms
        if checked:
            await self.arrivals.put(Arrival((), {}, None, checked=checked))

    def _listen(self, made: AIOKafkaConsumer) -> None:
        """Note when a broker was last heard. Raises KafkaError if that is too long ago."""
        now_s = time.monotonic()
        polled = [made.last_poll_timestamp(partition) or 0 for partition in made.assignment()]
        quiet_s = time.time() - max(polled, default=0) / 1000
        if not polled:
            self._heard_s = now_s
        elif quiet_s < 10 * POLL_S:
            self._heard_s = max(self._heard_s, now_s - max(0.0, quiet_s))
        elif now_s - self._heard_s > SILENT_MAX_S:
            raise KafkaError(f"no broker has answered for {SILENT_MAX_S:.0f} s")
        if now_s - self._heard_s > SILENT_S:
            self._say_silent(f"no broker has answered for {SILENT_S:.0f} s")
        elif self._silent and polled:
            log.info("Kafka at %s answers again; reading goes on where it stopped", self._servers)
            self._silent = self.refused = ""

    def _say_silent(self, why: str) -> None:
        """Say it once an outage, and again where the reason is another."""
        if why != self._silent:
            log.error("Kafka at %s: %s; nothing of it is read, and event time waits for it", self._servers, why)
        self._silent = why

    async def _look_again(self, made: AIOKafkaConsumer) -> None:
        """Look, unless no broker answers just now: then reading goes on as it can. Raises StuckError."""
        self.security.reload()
        try:
            await self.look(made)
            ours = made.assignment()
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                ends = {name_of(one): end for one, end in (await made.end_offsets(list(ours))).items()}
                at = {name_of(one): await made.position(one) for one in ours & self._sought}
        except (KafkaError, TimeoutError):
            self._looked_s = time.monotonic()
            return
        # One that was not put where reading goes on may be waiting for that in vain.
        self.progress.look({name: at.get(name, self._next.get(name, 0)) for name in ends}, ends, time.monotonic())

    async def look(self, made: AIOKafkaConsumer) -> None:
        """Ask which topics there are, and begin those anew that have been made anew. Raises KafkaError."""
        if not self._positions.is_shared:  # Else others read the rest, as they should.
            self.elsewhere.look(made, self.settings.topics)
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            found = await self.topics.look(made)
        self._looked_s = time.monotonic()
        for topic, number in found.items():
            if self.topics.ids.get(topic, number) != number:
                log.warning("topic %s was deleted and made anew: it is read from its beginning", topic)
                for partition in [one for one in made.assignment() if one.topic == topic]:
                    made.seek(partition, 0)
                for name in [name for name in self._next if name.rpartition("/")[0] == topic]:
                    self._positions.begin_anew(name)
            self.topics.ids[topic] = number

    async def seek(self, made: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Put newly assigned partitions where reading left off, or the group."""
        await self.look(made)
        self._generation += 1
        begins = await made.beginning_offsets(list(partitions))
        known = await self._positions.known(made, partitions, self.topics.ids)
        # Reports are read from the first one on: no slot is whole without all of them.
        new = [one for one in partitions if known[one] is None and one.topic not in self.settings.between]
        starts = await where(self.settings.start, made, new, time.time_ns())
        for partition in partitions:
            name, at = name_of(partition), known[partition] or 0
            if at and begins[partition] > at:
                self._count_lost(name, at, begins[partition])
            self._next[name] = max(at, starts.get(partition, 0), begins[partition])
            made.seek(partition, self._next[name])
            self._sought.add(partition)
        self._news = tuple(sorted(name_of(p) for p in made.assignment() if is_waited_for(self.settings, p.topic)))
        self._begun = True

    def revoked(self) -> None:
        """The group is assigning its partitions anew."""
        self._sought.clear()

    def _count_lost(self, name: str, known: int, begins: int) -> None:
        """Offsets from `known` on were deleted before they were read, where the log begins later."""
        if begins > known:
            self.lost[name.rpartition("/")[0]] += begins - known
            log.error(
                "%s: %d records were deleted before they were read (offsets %d to %d); keep the topic for longer, "
                "or look why reading lags", name, begins - known, known, begins - 1,
            )  # fmt: skip

    async def _commit(self, made: AIOKafkaConsumer) -> None:
        """Tell the group what has been saved since.

        Only of partitions that are ours and were put where reading goes on: until then the group may know more of
        one than we do, and its offset would go back.
        """
        mine = {name_of(partition): partition for partition in made.assignment() & self._sought}
        due = self._positions.due(mine)
        if not due:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):  # aiokafka itself would try for ever.
                await made.commit({mine[name]: offset for name, offset in due.items()})
        except (KafkaError, TimeoutError) as error:
            log.warning("the group did not take our offsets (%s); they are saved, and told again", text_of(error))
        else:
            self._positions.told(due)

    async def _drop(self) -> None:
        made, self._consumer = self._consumer, None
        if made is not None:
            await stopped(made)
