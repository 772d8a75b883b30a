"""Roles ingest and sum: partitions in, reports of their slots out, for as long as the group lets us own them.

One loop owns the shards. It takes what the source has brought, steps the shards in a thread, writes what they report to
Kafka, and now and then the state of each. Only with its state written is an offset told to the group: whoever owns the
partition next goes on from there, and what it reports again is a repeat to whoever reads it.

What goes wrong: a write that fails is tried again every second, and until it works nothing more is read. A step that
raises is a bug of ours: the partition goes back to its state, its records are taken one by one, and the one that raises
again is set aside.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from aiokafka.errors import KafkaError

from alertrules.parse import RuleSet
from detectors.core.columns import SECOND_NS, Arrays
from service.batch import Batch, Dropped, Gap, Record, SetAside, Tally
from service.config.settings import Role, Settings
from service.exchange.adding import Adding
from service.exchange.report import Report
from service.exchange.shard import HandedOverError, Shard
from service.own_metrics.owner_metrics import FROM_BEGINNING, FROM_STATE, LOST, OwnerMetrics, OwnerParts
from service.runtime import systemd
from service.runtime.batching import Taking
from service.runtime.clocks import ClockWatch
from service.runtime.connections import Connections
from service.runtime.descriptors import KAFKA, opened, raised, shares
from service.runtime.minute_log import MinuteLog
from service.runtime.watchdog import Watchdog
from service.sources.arrival import Arrival, Arrivals, Begin, answer_all
from service.sources.handed import Handed, Pointer, pointer
from service.sources.kafka import SILENT_S
from service.sources.kafka_consumer import text_of
from service.sources.slots_topic import SlotsTopic
from service.sources.state_topic import GoneError
from service.store.directory import instance_of, locked
from service.store.rejected import Rejected
from service.web.plain import PlainWeb
from service.web.server import Server, certificate
from service.wiring import made, shared_source

log = logging.getLogger("tocsin")

AGAIN_S = 1.0
STOP_WRITES_MAX = 5
"""How often a stop tries to write before it ends without: what was not written is read again by the next owner."""
LEAVE_S, LEAVE_JOINING_S = 10.0, 1.0
"""How long the last commit may take. Without a partition of ours there is none, and joining may wait for others."""
RENEW_S = 3600.0
"""A state is written anew after so long although nothing came: its topic need not keep records for longer."""


@dataclass
class Owned:
    """A partition that is ours, and when its state was last written.

    careful_until  of one that went back to its state: the offset before which its records are taken one by one
    """

    shard: Shard | Adding
    kept_s: float
    kept_offset: int
    careful_until: int = 0


@dataclass
class Stepped:
    """What a step of several shards led to."""

    tally: Tally = field(default_factory=Tally)
    reports: list[Report] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


class PartitionOwner:
    """`tocsin run --role ingest`, and `sum`. Raises StoreError or OSError where it cannot begin."""

    def __init__(self, settings: Settings, rules: RuleSet) -> None:
        self.settings, self._made = settings, made(settings, rules)
        self._kind: type[Shard | Adding] = Adding if settings.role is Role.SUM else Shard
        self._lock = locked(settings.data_dir)
        self.arrivals: Arrivals = asyncio.Queue(settings.otlp.queue_max)
        self.taking, self.handed = Taking(self.arrivals), Handed()
        self.kafka = shared_source(settings, self.arrivals, instance_of(self._lock), self.handed)
        kafka = settings.kafka
        self.topic = SlotsTopic(
            self.kafka.security, kafka.sums_topic if settings.role is Role.SUM else kafka.slots_topic
        )
        self.rejected = Rejected(settings.data_dir)
        self.owned: dict[str, Owned] = {}
        self.clocks, self.minute_log = ClockWatch(time.time_ns, time.monotonic_ns), MinuteLog()
        self.work = Watchdog(settings.step_max / SECOND_NS)
        self.metrics = OwnerMetrics(
            OwnerParts(
                self.kafka, self.topic, self.arrivals, self.work, self.clocks, self._shards,
                settings.role.value, self._made.decoder.name,
            )
        )  # fmt: skip
        self.web = PlainWeb(self.metrics.health, self.missing, self.notes, self.work.hangs)
        self.ready = asyncio.Event()
        self._careful: dict[str, int] = {}  # Of partitions that go back to their state: where their step ended.
        self._poison: set[tuple[str, bytes]] = set()
        self._stop = asyncio.Event()

    def _shards(self) -> list[Shard | Adding]:
        return [one.shard for one in list(self.owned.values())]

    def stop(self) -> None:
        """Ask for a clean end: what came is reported, and the states are written for who owns the partitions next."""
        self.kafka.stop_reading()
        self._stop.set()

    def hang_up(self) -> None:
        """SIGHUP: there are no rules here to be read again. Classes of outcomes need a restart."""

    def missing(self) -> str:
        """Say what keeps it from working; empty while nothing does."""
        if not self.ready.is_set() or self._stop.is_set():
            return "starting or stopping"
        if self.topic.failing:
            return self.topic.failing
        if (silent_s := self.kafka.silent_s()) > SILENT_S:
            return f"no Kafka broker has answered for {silent_s:.0f} s"
        return self.kafka.refused or ("" if self.kafka.topics.found else self.kafka.topics.problem)

    def notes(self) -> list[str]:
        """Say what somebody should look into."""
        found = [
            self.minute_log.unreadable,
            self.minute_log.waiting,
            self.minute_log.clock,
            *self.kafka.progress.stuck(),
        ]
        found.append(self.kafka.topics.problem)
        if not self.owned:
            found.append("no partition is ours: there are as many instances as partitions, or the group is busy")
        return [note for note in found if note]

    async def run(self) -> None:
        """Serve until `stop`. Raises OSError or KafkaError where it cannot."""
        web = self.settings.web
        connections = Connections(shares(raised(), opened(), KAFKA).web)
        server = Server(self.web.app, web.listen, connections, certificate(web))
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(server.serve([server.socket]), name=f"server {server.address}")
                await server.listens()
                log.info("role %s: metrics on http://%s", self.settings.role, server.address)
                clocks = group.create_task(systemd.keep_alive(self.clocks, self.work), name="clocks")
                kafka = group.create_task(self.kafka.run(), name="kafka")
                self.ready.set()
                systemd.notify(systemd.READY)
                await self._loop()
                systemd.notify(systemd.STOPPING)
                clocks.cancel()
                await self._keep(list(self.owned))
                self.kafka.leave()
                await asyncio.wait([kafka], timeout=LEAVE_S if self.owned else LEAVE_JOINING_S)
                kafka.cancel()
                server.should_exit = True
                await serving
        finally:
            server.socket.close()
            await self.topic.close()
            self._lock.close()

    async def _loop(self) -> None:
        """Take, step, report, keep; until asked to stop and nothing is left on the queue."""
        if not await self._knows_shares():
            return
        while not (self._stop.is_set() and self.taking.is_empty()):
            arrivals = await self.taking.take()
            if arrivals and (expected := arrivals[0].expected) is not None:
                await self._own(expected, arrivals[0].begins)
            batches, gap, topics = _by_partition(arrivals), self.clocks.take(), self.kafka.counts()
            begun_s = time.perf_counter()
            stepped = await self.work.run("a step", partial(self._step, batches, gap, topics, time.time_ns()))
            self._count(stepped, time.perf_counter() - begun_s)
            await self._report(stepped.reports)
            answer_all(arrivals, ())
            for name in stepped.broken:
                self.kafka.again(name)
            if stepped.set_aside:
                await self.work.run(
                    "setting records aside", partial(self.rejected.keep, stepped.set_aside, time.time_ns())
                )
                await self.kafka.reject(stepped.set_aside)
            await self._keep(self._due())

    async def _knows_shares(self) -> bool:
        """Where role sum adds our reports up, learn how many share them, before the first is made; False at a stop."""
        if self.settings.role is not Role.INGEST or not self.settings.kafka.sums_topic:
            return True
        while not self._stop.is_set():
            if await self.topic.share():
                self._made = replace(self._made, shares=self.topic.shares)
                log.info("slots are reported in %d shares, a partition of %s each", self.topic.shares, self.topic.topic)
                return True
            await asyncio.sleep(AGAIN_S)
        return False

    def _count(self, stepped: Stepped, seconds: float) -> None:
        tally = stepped.tally
        if tally.spans:
            self.metrics.heard_s = time.monotonic()
        self.metrics.tallied.add(tally)
        self.metrics.tallied.timed(seconds)
        now_ns = time.time_ns()
        waits = [name for one in self.owned.values() for name in one.shard.waits_for(now_ns)]
        self.minute_log.add(tally, waits, self._kind.WAITS, time.monotonic())
        for line in tally.tickets:
            log.warning("worth a ticket, not a page: %s", line)

    async def _own(self, expected: tuple[str, ...], begins: Mapping[str, Begin]) -> None:
        """Own these partitions and no others; those that begin go on from the state that was left of them."""
        for name in set(self.owned) - set(expected):
            del self.owned[name]
        for name, begin in begins.items():
            shard = await self._begun(name, begin)
            shard.next_offset = begin.offset
            self.owned[name] = Owned(shard, time.monotonic(), begin.offset, self._careful.pop(name, 0))

    async def _begun(self, name: str, begin: Begin) -> Shard | Adding:
        where = pointer(begin.said)
        if where is None:
            self.metrics.handovers[FROM_BEGINNING] += 1
            return self._kind(self._made, name)
        try:
            shard = self._kind.restore(self._made, name, await self._state(name, where))
        except (GoneError, HandedOverError) as error:
            log.error(
                "the state of %s that its owner left cannot be gone on from (%s): it begins without one at offset %d, "
                "and what was under way there counts in part", name, error, begin.offset,
            )  # fmt: skip
            self.metrics.handovers[LOST] += 1
            return self._kind(self._made, name)
        self.metrics.handovers[FROM_STATE] += 1
        return shard

    async def _state(self, name: str, where: Pointer) -> Arrays:
        """The state, once the brokers give it. Raises GoneError where they have it no more, or we are to stop."""
        said = ""
        while True:
            try:
                return await self.topic.state(where)
            except (KafkaError, TimeoutError) as error:
                before, said = said, text_of(error)
                if self._stop.is_set():
                    raise GoneError(f"asked to stop before it could be read: {said}") from None
                if said != before:
                    log.error("the state of %s cannot be read yet: %s", name, said)
                await asyncio.sleep(AGAIN_S)

    def _step(
        self, batches: Mapping[str, Batch], gap: Gap, topics: Mapping[str, int], now_ns: int
    ) -> Stepped:  # fmt: skip
        """Step every shard, with what came for it."""
        stepped = Stepped()
        for name, owned in list(self.owned.items()):
            batch = batches.get(name, Batch((), {}))
            batch = Batch(batch.records, batch.offsets, checked=batch.checked, gap=gap)
            try:
                self._step_one(owned, batch, now_ns, stepped)
                stepped.reports += owned.shard.take(topics, now_ns)
            except Exception:
                if not batch.records:
                    raise
                log.exception("a step failed: %s goes back to its state, and its records are taken one by one", name)
                self._careful[name] = max(owned.careful_until, *batch.offsets.values(), 0)
                stepped.broken.append(name)
                del self.owned[name]
        return stepped

    def _step_one(self, owned: Owned, batch: Batch, now_ns: int, stepped: Stepped) -> None:
        """Step one shard; by records where it went back to its state, without the one that raised."""
        name = owned.shard.source
        if owned.shard.next_offset >= owned.careful_until:
            owned.shard.step(batch, now_ns, stepped.tally)
            return
        for record in batch.records:
            key = name, hashlib.sha256(record.body).digest()
            if key in self._poison:
                stepped.tally.dropped[Dropped.SET_ASIDE] += 1
                continue
            try:
                owned.shard.step(Batch((record,), {}), now_ns, stepped.tally)
            except Exception as error:
                self._poison.add(key)
                stepped.set_aside.append(SetAside(record, f"{type(error).__name__}: {error}"))
                raise
        owned.shard.step(Batch((), batch.offsets, checked=batch.checked, gap=batch.gap), now_ns, stepped.tally)

    async def _report(self, reports: list[Report]) -> None:
        """Write reports until it works; a stop gives up in the end, and the next owner makes them again."""
        tries_at_stop = 0
        while reports and not await self.topic.report(reports):
            tries_at_stop += self._stop.is_set()
            if tries_at_stop >= STOP_WRITES_MAX:
                raise OSError(f"the last slots could not be written: {self.topic.failing}; the next owner makes them")
            await asyncio.sleep(AGAIN_S)

    def _due(self) -> list[str]:
        """The partitions whose state is to be written now: one at a time, so that no step waits for all of them."""
        now_s, every_s = time.monotonic(), self.settings.kafka.state_every / SECOND_NS
        due = [
            (owned.kept_s, name)
            for name, owned in self.owned.items()
            if now_s - owned.kept_s >= (every_s if owned.shard.next_offset > owned.kept_offset else RENEW_S)
        ]
        return [min(due)[1]] if due else []

    async def _keep(self, names: list[str]) -> None:
        """Write the states of partitions; where that fails, it is tried again when they are due next."""
        for name in names:
            owned = self.owned[name]
            arrays = await self.work.run("a state", owned.shard.snapshot)
            offset = owned.shard.next_offset
            topic_id = self.kafka.topics.ids.get(name.rpartition("/")[0], 0)
            where = await self.topic.keep(name, arrays, topic_id)
            if where is not None:
                self.handed.saved(name, offset, where)
                owned.kept_s, owned.kept_offset = time.monotonic(), offset


def _by_partition(arrivals: list[Arrival]) -> dict[str, Batch]:
    """What came for each partition, in its order."""
    records: dict[str, list[Record]] = {}
    offsets: dict[str, int] = {}
    checked: dict[str, int] = {}
    for arrival in arrivals:
        for record in arrival.records:
            records.setdefault(record.partition, []).append(record)
        offsets |= {name: offset for name, offset in arrival.offsets.items() if "/" in name}
        checked |= arrival.checked
    return {
        name: Batch(
            tuple(records.get(name, ())),
            {name: offsets[name]} if name in offsets else {},
            checked={name: checked[name]} if name in checked else {},
        )
        for name in offsets.keys() | checked.keys()
    }
