"""The shell of role detect where several instances run: one leads and runs a daemon, the others stand by.

Whoever is given the lease (standby/lease.py) does three things before anything is sent. It makes its data directory the
last state of whoever led before, unless that was itself. It reads what was told since, and marks it as told in the
outbox. It tells the group that it leads. Then the daemon starts as it would after a crash, from that directory, and
hears again what people said since.

One that loses the lease sends nothing from that moment on: each delivery asks for the lease first. Its daemon is ended
as by SIGTERM, and it stands by again, in the same process.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version

from aiokafka.errors import KafkaError
from prometheus_client.metrics_core import Metric

from alertrules.parse import RuleSet
from detectors.core.columns import SECOND_NS
from service.config.settings import Settings
from service.daemon import WALL, Daemon
from service.own_metrics import of_standby
from service.own_metrics.tallied import Values, family
from service.rule_files import RuleFiles, RulesError
from service.runtime import systemd
from service.runtime.clocks import ClockWatch
from service.runtime.connections import Connections
from service.runtime.descriptors import KAFKA, opened, raised, shares
from service.runtime.watchdog import Watchdog
from service.sources import state_topic
from service.sources.kafka_consumer import text_of
from service.sources.kafka_security import Security
from service.sources.state_topic import GoneError
from service.standby import told_topic
from service.standby.leading import Counts, Leading
from service.standby.lease import Lease, Standing
from service.standby.told_topic import place
from service.standby.travelling import install, offsets_of, unpacked
from service.store.directory import instance_of, locked
from service.store.entries import Entry, take_in
from service.store.sqlite import connect
from service.web.plain import PlainWeb
from service.web.server import Server, certificate
from service.web.standing_by import standing_by

log = logging.getLogger("tocsin.standby")

TRY_AGAIN_S = 1.0
TAKE_UP_MAX_S = 300.0
"""How long the brokers may keep the last state from whoever is to lead, before its own directory has to do."""


class Candidate:
    """`tocsin run --role detect` with a topic of what was told. Raises StoreError or OSError where it cannot begin."""

    def __init__(self, settings: Settings, rules: RuleSet, write: Callable[[str], None]) -> None:
        self.settings, self.rules, self._write = settings, rules, write
        self.security = Security(settings.kafka)
        self.topic = settings.kafka.told_topic
        self.lease = Lease(self.security, settings.kafka.lead_group, self.topic)
        self.counts = Counts()
        self.standby = of_standby.Standby(self.lease, self.counts)
        with closing(locked(settings.data_dir)) as lock:  # Said at the start, and not in the night.
            self.instance = instance_of(lock)
        self.name = f"{socket.gethostname()} ({settings.web.listen})"
        self.work = Watchdog(settings.step_max / SECOND_NS)
        self.clocks = ClockWatch(time.time_ns, time.monotonic_ns)
        self.daemon: Daemon | None = None
        self._cannot = ""  # Why it cannot take over yet.
        self._begins = ""  # What is done before it leads; empty while it stands by.
        self._stop = asyncio.Event()
        self._is_ready = False

    def stop(self) -> None:
        """Ask for a clean end: a daemon that runs saves and sends what is due; then another instance leads at once."""
        self._stop.set()
        if self.daemon is not None:
            self.daemon.stop()

    def hang_up(self) -> None:
        """SIGHUP: read the rule files again; one that stands by reads them as it begins to lead."""
        if self.daemon is not None:
            self.daemon.hang_up()

    def leader(self) -> str:
        """Who leads, in words."""
        told = self.lease.standing.leader
        return f"{told} led last" if told and self.lease.leads.is_set() else f"{told} leads" if told else "nobody leads"

    def missing(self) -> str:
        """Say what keeps it from taking over; empty while nothing does."""
        if self._stop.is_set() or not self._is_ready:
            return "starting or stopping"
        return self.lease.problem or self._cannot

    def notes(self) -> list[str]:
        """Say what it does instead of leading."""
        return [self._begins or f"stands by; {self.leader()}"]

    def health(self) -> list[Metric]:
        """The metrics of one that stands by."""
        values: dict[str, Values] = {
            **of_standby.counters(self.standby),
            **of_standby.gauges(self.standby),
            "tocsin_build_info": {(version("tocsin"),): 1.0},
            "tocsin_role_info": {("detect",): 1.0},
        }
        return [family(name, each) for name, each in values.items()]

    async def run(self) -> None:
        """Stand by and lead in turn, until `stop`. Raises what a daemon raises."""
        async with asyncio.TaskGroup() as group:
            member = group.create_task(self.lease.run(), name="lease")
            while not self._stop.is_set():
                if (leading := await self._until_leading(group)) is not None:
                    await self._lead(group, leading)
                if self.lease.has_left:
                    raise OSError("gave up the lead, as its work had hung")
            self.lease.leave()
            await member

    async def _until_leading(self, group: asyncio.TaskGroup) -> Leading | None:
        """Stand by, with a web server that says so, until this instance may lead; None once it is to stop."""
        web = standing_by(PlainWeb(self.health, self.missing, self.notes, self.work.hangs), self.leader)
        address = self.settings.web.listen
        server = Server(
            web.app, address, Connections(shares(raised(), opened(), KAFKA).web), certificate(self.settings.web)
        )
        clocks = group.create_task(systemd.keep_alive(self.clocks, self.work), name="clocks")
        serving = group.create_task(server.serve([server.socket]), name=f"server {server.address}")
        try:
            await server.listens()
            log.info("stands by: metrics on http://%s", server.address)
            self._is_ready = True
            systemd.notify(systemd.READY)
            while not self._stop.is_set():
                if self.lease.lost.is_set():
                    self.lease.renew()
                if not (self.lease.leads.is_set() and self.lease.is_confirmed()):
                    await asyncio.sleep(0.1)
                elif (leading := await self._begun()) is not None:
                    return leading
            return None
        finally:
            self._begins = self._cannot = ""
            clocks.cancel()
            server.should_exit = True
            await serving
            server.socket.close()

    async def _begun(self) -> Leading | None:
        """Take over what was led before; None where the lease went meanwhile, or it is to stop."""
        begun_s = time.monotonic()
        said = ""
        while self.lease.is_confirmed() and not self._stop.is_set():
            try:
                return await self._taken_over(may_lose=time.monotonic() - begun_s > TAKE_UP_MAX_S)
            except (KafkaError, TimeoutError) as error:
                before, said = said, text_of(error)
                self._cannot = f"cannot take over yet: {said}"
                if said != before:
                    log.error("%s", self._cannot)
                await asyncio.sleep(TRY_AGAIN_S)
        return None

    async def _taken_over(self, may_lose: bool) -> Leading:
        await self.lease.hear()
        before, begin, directory = self.lease.standing, self.lease.offset, self.settings.data_dir
        self._begins = f"begins to lead; {before.leader or 'nobody'} led before"
        how = "directory"
        with closing(locked(directory)):
            if before.state is not None and (before.by != self.instance or offsets_of(directory) is None):
                try:
                    packed = await state_topic.read(self.security, self.settings.kafka.state_topic, before.state)
                    files = unpacked(packed)
                    await self.work.run("a state from Kafka", partial(install, directory, files))
                    how = "state"
                except (GoneError, KafkaError, TimeoutError) as error:
                    if not isinstance(error, GoneError) and not may_lose:
                        raise
                    how = "lost"
                    log.error(
                        "the state that %s left cannot be gone on from (%s): going on from %s, and reports since then "
                        "are read again", before.leader, error, directory,
                    )  # fmt: skip
            known = offsets_of(directory) or {}
            if how == "lost":
                begin = known.get(place(self.topic), 0)
            told = await told_topic.read(self.security, self.topic, begin)
            marked = await self.work.run("what was told", partial(self._mark, told.rows))
        self.counts.takeovers[how] += 1
        self.counts.problems.clear()
        await self.lease.tell(begin, Standing(self.name, before.state, self.instance, before.at_s))
        origin = f"the state of {before.leader}" if how == "state" else f"the directory {directory}"
        heard = known.get(place(self.topic), 0)
        log.info(
            "leads, from %s: %d that were told since are not told again, and %d words are heard",
            origin, marked, sum(word.offset >= heard for word in told.words),
        )  # fmt: skip
        return Leading(self.security, self.lease, self.counts, self.name, self.instance, told.words, told.end)

    def _mark(self, rows: Sequence[Entry]) -> int:
        with closing(connect(self.settings.data_dir)) as connection:
            return take_in(connection, rows)

    async def _lead(self, group: asyncio.TaskGroup, leading: Leading) -> None:
        """Run a daemon until the lease is lost or it is to stop."""
        await self._read_rules()
        states = group.create_task(leading.run(), name="states")
        watching: asyncio.Task[None] | None = None
        try:
            self.daemon = Daemon(self.settings, self.rules, WALL, self._write, leading, self.standby)
            watching = group.create_task(self._watch(self.daemon), name="lease lost")
            if self._stop.is_set():
                self.daemon.stop()
            await self.daemon.run()
        finally:
            self.daemon = None
            states.cancel()
            if watching:
                watching.cancel()
            await leading.close()

    async def _read_rules(self) -> None:
        """Lead by what the rule files say now."""
        try:
            self.rules, _ = await asyncio.to_thread(RuleFiles(self.settings).read)
        except RulesError as error:
            log.error("the rule files are wrong since they were changed, so those of before are used: %s", error)

    async def _watch(self, daemon: Daemon) -> None:
        """End the daemon once the lease is lost. One whose work hangs gives it up: another instance may do better."""
        while not self.lease.lost.is_set():
            if daemon.work.hangs() and not self.lease.has_left:
                log.error("gives up the lead: %s", daemon.work.hangs())
                self.lease.leave()
            await asyncio.sleep(0.1)
        log.error("does not lead any more: nothing more is told from here, and it stands by again")
        daemon.stop()
