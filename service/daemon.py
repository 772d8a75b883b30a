"""The shell around the core: doors in, one loop that steps, saves and commits, senders out.

One loop owns the pipeline. It takes what the doors have brought, steps in a thread (so that a long step holds up
neither Kafka's heartbeats nor a health check), answers the doors, and saves: at once when there is something to tell,
else every few seconds. Nothing is told, and no offset committed, before the save that it belongs to.

What goes wrong: a save that fails (a full disk) is tried again every second, and until it works nothing more is read:
the doors fill and say so, nothing is told, nothing is lost. Brokers that go away are waited for (sources/kafka.py),
destinations too (deliver.py). A step that raises is a bug of ours: the daemon ends, with its last save as it stands.
One that never ends is told by /-/healthy (watchdog.py).
"""

import asyncio
import gc
import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from alertrules.links import linked
from alertrules.parse import RuleSet
from detectors.core.columns import SECOND_NS
from service.batch import Answer, Batch
from service.config.setting_types import revealed
from service.config.settings import Role, Settings
from service.delivery.client import authorities, new_client
from service.delivery.deliver import Clocks, Deliverer
from service.delivery.weekly import Weekly
from service.ledger.counted import count_late
from service.ledger.late import evaluated
from service.notifiers.destination import Destination, known
from service.own_metrics.looks import Looks
from service.own_metrics.of_standby import Standby
from service.own_metrics.selfmetrics import Parts, SelfMetrics
from service.pipeline.pipeline import Outcome, State
from service.reports import learning
from service.rule_files import RuleFiles, RulesError, announce, told
from service.runtime import systemd
from service.runtime.allocator import TRIMMED_BYTES, trim
from service.runtime.batching import Taking
from service.runtime.clocks import ClockWatch
from service.runtime.connections import Connections
from service.runtime.descriptors import KAFKA, opened, raised, shares
from service.runtime.minute_log import MinuteLog
from service.runtime.steps import HELD_BYTES_MAX, Steps, pause_s
from service.runtime.taken_up import take_up
from service.runtime.watchdog import Watchdog
from service.sampling.policy import SHIPPED
from service.sources.arrival import Arrival, Arrivals, answer_all
from service.sources.otlp_grpc import GrpcDoor
from service.sources.otlp_http import Door
from service.standby.lead import ALONE, Lead, NotLeadingError
from service.store.directory import StoreError
from service.store.outbox import Outbox
from service.store.rejected import Rejected
from service.store.rescue import put_back
from service.store.sqlite import Delivery, Store, connect, exposed
from service.web.pages import Pages
from service.web.server import Server, certificate
from service.wiring import agentforce, outcomes_topic, pipeline, reports_or_spans, sessions, writeback

log = logging.getLogger("tocsin")

DRAIN_S = 10.0
"""How long a clean stop waits for the senders; what they do not manage is sent after the next start."""
SAVE_AGAIN_S = 1.0
STOP_SAVES_MAX = 5
"""How often a stop tries to save on a full disk before it ends without."""


@dataclass(frozen=True)
class Clock:
    """Where now comes from: the wall, or the demo."""

    now_ns: Callable[[], int]


WALL = Clock(time.time_ns)


class SaveError(OSError):
    """The last state could not be saved before the end."""


class Daemon:
    """`tocsin run`. Raises StoreError or OSError where it cannot begin, ValueError as `told` does."""

    def __init__(
        self, settings: Settings, rules: RuleSet, clock: Clock, write: Callable[[str], None], lead: Lead = ALONE,
        standby: Standby | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.rules, self.clock, self.lead = settings, rules, clock, lead
        self.addresses = told(rules, settings)
        self.rule_files = RuleFiles(settings)
        self.store = Store(settings.data_dir)
        if problem := exposed(settings.data_dir):
            log.warning("%s", problem)
        self.outbox = Outbox(connect(settings.data_dir), connect(settings.data_dir))
        self.deliverer = Deliverer(
            self.outbox, self.destinations, known(settings.notifiers), Clocks(self.wall_ns, time.monotonic_ns),
            random.Random(), write, partial(new_client, trusted=authorities(os.environ)), lead=lead,
        )  # fmt: skip
        announce(self.destinations)
        self.pipeline = pipeline(settings, rules)
        offsets, self.unread = take_up(self.store, self.pipeline, rules, clock.now_ns())
        self.offsets = dict(offsets)
        self.steps = Steps(self.pipeline, self._saved_state)
        self.rejected = Rejected(settings.data_dir)
        self.arrivals: Arrivals = asyncio.Queue(settings.otlp.queue_max)
        self.taking = lead.taking(Taking(self.arrivals), self.offsets)
        self.door = Door(self.arrivals, settings.otlp.body_max, revealed(settings.otlp.token))
        led = lead.positions(self.offsets)
        self.kafka = reports_or_spans(settings, self.arrivals, self.offsets, self.store.instance, led)
        self.agentforce = agentforce(settings, self.arrivals, self.offsets)
        if self.kafka is None:
            self.arrivals.put_nowait(Arrival((), {}, expected=()))  # Of logs that the saved state may still wait for.
        left = shares(raised(), opened(), self.deliverer.senders + (KAFKA if self.kafka else 0))
        self.grpc_connections = left.otlp // 3 if settings.otlp.grpc_listen else 0
        self.connections = {"otlp": Connections(left.otlp - self.grpc_connections), "web": Connections(left.web)}
        log.info("connections at once: %d for OTLP, %d for metrics and API", left.otlp, left.web)
        self.writeback = writeback(settings, self.pipeline, clock.now_ns, lead.may_tell)
        self.sessions = sessions(settings, self.pipeline, self.writeback)
        self.clocks = ClockWatch(time.time_ns, time.monotonic_ns)
        self.minute_log = MinuteLog()
        self.work = Watchdog(settings.step_max / SECOND_NS)
        self.told = outcomes_topic(settings, self.sessions, self.pipeline, self.work, clock.now_ns)
        self.weekly = self._weekly()
        parts = Parts(
            rules, self.destinations, self.pipeline, self.deliverer, self.outbox, self.door, self.kafka, self.arrivals,
            clock.now_ns, self.wall_ns, self.work, self.clocks, self.connections, self.rule_files, settings.role.value,
            self.sessions, self.writeback, self.agentforce, self.told, self.weekly, standby,
        )  # fmt: skip
        self.metrics = SelfMetrics(parts)
        self.metrics.parts_lost = [one.name for one in self.unread]
        start = partial(asyncio.create_task, name="look")
        self.looks = Looks(self.pipeline, self.metrics, self.work, start, settings.keep or SHIPPED)
        self.pages = Pages(self)
        self.ready, self._stop = asyncio.Event(), asyncio.Event()
        self.saving_fails = ""  # Why the last save failed; empty while saving works.
        self.put_back = ""  # What became of the files of state, if they had to be put back.
        self.listening: tuple[str, ...] = ()
        self.grpc: GrpcDoor | None = None
        self._untold: list[Delivery] = []
        self._unsaved, self._save_due_s = False, 0.0

    def _weekly(self) -> Weekly:
        """What tells the weekly report, and is told of Mondays by the record of sessions."""
        of, receiver = lambda name: self.addresses.of(name), self.settings.weekly.receiver
        made = Weekly(receiver, of, lambda monday_ns: self.pages.reports(monday_ns), self.lead.may_tell)
        if self.sessions:
            self.sessions.each_monday(made.week)
        return made

    def _saved_state(self) -> State | None:
        saved = self.store.load()
        return None if saved is None else State(saved.arrays, saved.alerts)

    async def _set_aside(self) -> None:
        """Keep what cannot be read for a person, here and in Kafka."""
        found, self.steps.set_aside = self.steps.set_aside, []
        await self.work.run("setting records aside", partial(self.rejected.keep, found, self.wall_ns()))
        if self.kafka:
            await self.kafka.reject(found)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Everybody who is told."""
        return self.addresses.all

    def event_ns(self) -> int:
        """How far event time is; now before the first span."""
        return self.pipeline.watermark_ns or self.clock.now_ns()

    @staticmethod
    def wall_ns() -> int:
        """Now for what waits for the outside world, which no demo speeds up."""
        return time.time_ns()

    def stop(self) -> None:
        """Ask for a clean end: doors shut, what came in is read and saved, due pages are sent."""
        self.door.closing = True
        if self.kafka:
            self.kafka.stop_reading()
        self._stop.set()

    def hang_up(self) -> None:
        """SIGHUP: read the rule files again."""
        self.rule_files.ask()

    async def run(self) -> None:
        """Serve until `stop`; nothing that was accepted is lost then. Raises OSError or KafkaError where it cannot."""
        servers = []
        try:
            web, otlp, pair = self.settings.web, self.settings.otlp, certificate(self.settings.otlp)
            if self.settings.role is Role.ALL:
                servers.append(Server(self.door, otlp.listen, self.connections["otlp"], pair))
            if self.settings.role is Role.ALL and otlp.grpc_listen:
                self.grpc = GrpcDoor(
                    self.door, otlp.grpc_listen, self.grpc_connections, pair, self.pages.sampled.over_grpc
                )
            servers.append(Server(self.pages.web.app, web.listen, self.connections["web"], certificate(web)))
            async with asyncio.TaskGroup() as group:
                await self._serve(group, servers)
        finally:
            for server in servers:
                server.socket.close()
            self.door.close()
            await self.pages.replies.close()
            self.outbox.close()
            self.store.close()
            if self.sessions:
                self.sessions.close()
            if self.writeback:
                self.writeback.sending.stop()

    async def _serve(self, group: asyncio.TaskGroup, servers: "list[Server]") -> None:
        """Everything that runs, from the first accepted body to the last page."""
        for server in servers:
            group.create_task(server.serve([server.socket]), name=f"server {server.address}")
        clocks = group.create_task(systemd.keep_alive(self.clocks, self.work), name="clocks")
        kafka = group.create_task(self.kafka.run(), name="kafka") if self.kafka else None
        polls = [group.create_task(one.run()) for one in (self.agentforce, self.told, self.weekly) if one]
        senders = [group.create_task(self.deliverer.run(), name=f"sender-{i}") for i in range(self.deliverer.senders)]
        if self.grpc:
            group.create_task(self.grpc.run(), name="grpc")
            log.info("OTLP/gRPC on %s", self.grpc.address)
        self.listening = tuple(server.address for server in servers)
        await asyncio.gather(*(server.listens() for server in servers))
        if self.settings.role is Role.ALL:
            log.info("OTLP on http://%s, metrics and API on http://%s", *self.listening)
        else:
            log.info("role %s: metrics and API on http://%s", self.settings.role, *self.listening)
        # Spans live for minutes, by the hundred thousand: the default collector would walk them all the time.
        gc.set_threshold(50_000, 20, 50)
        self.ready.set()
        systemd.notify(systemd.READY)
        await self._loop()
        systemd.notify(systemd.STOPPING)
        for task in (clocks, *polls):
            task.cancel()
        await self._save()
        if self.kafka and kafka:
            self.kafka.leave()
            await asyncio.wait([kafka], timeout=DRAIN_S)
            kafka.cancel()
        self.deliverer.stop()
        _, late = await asyncio.wait(senders, timeout=DRAIN_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=SAVE_AGAIN_S)  # What was told meanwhile is written down.
        await self.lead.ended(self.store)
        for server in servers:
            server.should_exit = True
        if self.grpc:
            await self.grpc.stop()

    async def _loop(self) -> None:
        """Take, step, answer, save; until asked to stop and nothing is left on the queue."""
        while not (self._stop.is_set() and self.taking.is_empty()):
            if self.rule_files.is_due():
                await self._take_rules()
            if self.sessions:
                count_late(self.sessions, self.arrivals, self.clock.now_ns())
            arrivals = await self.taking.take()
            records = tuple(record for arrival in arrivals for record in arrival.records)
            offsets = {name: offset for arrival in arrivals for name, offset in arrival.offsets.items()}
            checked = {name: at_ns for arrival in arrivals for name, at_ns in arrival.checked.items()}
            marks = arrivals[0].marks if arrivals else ()
            expected = arrivals[0].expected if arrivals else None
            if marks and not offsets:  # Else a former leader has heard it.
                try:
                    offsets = dict(await self.lead.hear(marks, self.offsets))
                except NotLeadingError as error:
                    answer_all(arrivals, [Answer(error=str(error))] * len(marks))
                    continue
            batch = Batch(records, offsets, expected, checked, self.clocks.take(), marks)
            begun = time.perf_counter()
            outcomes = await self.work.run("a step", partial(self.steps.step, batch, self.clock.now_ns()))
            self.metrics.stepped(outcomes, time.perf_counter() - begun)
            self.offsets |= offsets
            for outcome in outcomes:
                self._gather(outcome)
            if marks:  # What a person said is kept before it is answered, as it cannot be read again.
                await self._save()
                self.looks.anew()
            answer_all(arrivals, [answer for outcome in outcomes for answer in outcome.answers])
            if self.steps.set_aside:
                await self._set_aside()
            self._unsaved |= bool(records or offsets or marks or any(outcome.tally.slots for outcome in outcomes))
            overdue = time.monotonic() >= self._save_due_s or self.steps.held_bytes > HELD_BYTES_MAX
            overdue |= self.sessions is not None and self.sessions.is_filling
            if self._untold or (overdue and (self._unsaved or self.store.lost())):
                await self._save()

    async def _take_rules(self) -> None:
        """Read the rule files again, between two steps, and go on with what they say; or as before if it is wrong."""
        try:
            rules, addresses = await asyncio.to_thread(self.rule_files.read)
        except RulesError as error:
            return self.rule_files.refused(error)
        await self._save()  # What was noticed under the rules of before is told as they say.
        try:
            anew = await self.work.run("new rules", partial(self.pipeline.take_rules, rules))
        except (KeyError, ValueError, TypeError, IndexError) as error:  # A bug of ours: paging goes on as it was.
            return self.rule_files.refused(error)
        self.rules, self.addresses = rules, addresses
        self.metrics.parts = replace(self.metrics.parts, rules=rules, destinations=self.destinations)
        await self.deliverer.redirect(self.destinations, known(self.settings.notifiers))
        await self._save()  # A record that raises goes back to a state of these rules.
        self.looks.anew()
        learn = f"; {learning.anew(rules.rules, anew, self.clock.now_ns())}" if anew else ""
        self.rule_files.taken(
            f"{len(rules.rules)} rules, told: {', '.join(one.name for one in self.destinations)}{learn}"
        )
        return None

    def _gather(self, outcome: Outcome) -> None:
        intake = self.pipeline.ingest
        self.minute_log.add(outcome.tally, intake.waits_for(self.clock.now_ns()), intake.WAITS, time.monotonic())
        if self.sessions:
            told = evaluated(outcome.tally.evaluations, self.clock.now_ns(), self.pipeline.local.outcomes)
            self.sessions.add(outcome.legs, told)
            self.sessions.dropped["untold"] += outcome.tally.unrecorded
        for line in outcome.digest:
            log.info("not paged, as it began and ended in a backlog: %s", line)
        for line in outcome.tickets:
            log.warning("worth a ticket, not a page: %s", line)
        for notices, are_alone in ((outcome.notices, False), (outcome.alone, True)):
            self._untold += [
                Delivery(linked(notice, self.settings.links.templates), one.name, one.identity)
                for notice in notices
                for one in self.addresses.of(notice.receiver)
                if one.habit.groups_itself == are_alone
            ]

    async def _save(self) -> None:
        """State, offsets, alerts and what is to be told, in one commit; then the senders and the group may know.

        Tries until it works, and reads nothing meanwhile. Raises SaveError once a stop has tried often enough.
        """
        begun, tries_at_stop = time.perf_counter(), 0
        while True:
            try:
                if lost := self.store.lost():  # Here, as the outbox must not be in use.
                    self.put_back = put_back(self.store, self.outbox, lost, self.wall_ns())
                    self.metrics.put_back += 1
                await self.work.run("a save", partial(self._write, self._untold))
                if not self.store.lost():
                    break
                continue
            except (OSError, sqlite3.DatabaseError, StoreError) as error:
                self.metrics.save_failures += 1
                if not self.saving_fails:
                    log.error("cannot save (%s): nothing is read or told until it works", error)
                self.saving_fails = str(error)
            tries_at_stop += self._stop.is_set()
            if tries_at_stop >= STOP_SAVES_MAX:
                raise SaveError(
                    f"the last state could not be saved in {self.settings.data_dir}: {self.saving_fails}; from Kafka "
                    "it is read again, what the OTLP door took since the last save is lost"
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_AGAIN_S):
                    await asyncio.sleep(SAVE_AGAIN_S) if self._stop.is_set() else await self._stop.wait()
        if self.saving_fails:
            log.info("saving works again")
        self.saving_fails = ""
        took_s = time.perf_counter() - begun
        self.metrics.saved(took_s, time.time())
        self._save_due_s = time.monotonic() + pause_s(self.settings.save_every / SECOND_NS, took_s)
        self._unsaved = False
        if self._untold:
            self._untold = []
            self.deliverer.wake()
        if self.kafka:
            self.kafka.saved(self.offsets)

    def _write(self, untold: list[Delivery]) -> None:
        if self.sessions:
            self.sessions.write(self.clock.now_ns())
            self.sessions.pass_to(self.event_ns())
        state = self.steps.snapshot()
        name = self.store.write_arrays(state.arrays, self.offsets, state.alerts)
        self.store.save(name, self.offsets, state.alerts, untold, self.wall_ns())
        held_bytes = self.steps.held_bytes
        self.steps.kept()
        self.lead.saved(self.store)
        if held_bytes > TRIMMED_BYTES:  # What was held lay between objects that stay.
            trim()
