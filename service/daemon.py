"""The shell around the core: doors in, one loop that steps, saves and commits, senders out.

One loop owns the pipeline. It takes what the doors have brought, steps in a thread (so that a long step holds up
neither Kafka's heartbeats nor a health check), answers the doors, and saves: at once when there is something to tell,
else every few seconds. Nothing is told, and no offset committed, before the save that it belongs to.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from alertrules.parse import RuleSet
from service.batch import Batch
from service.deliver import Deliverer
from service.detect import Level
from service.ingest.stage import IngestLimits
from service.notifiers import pagerduty, slack
from service.notifiers.destination import Configured, Destination, destinations
from service.pipeline import Outcome, Pipeline, State
from service.selfmetrics import SelfMetrics
from service.settings import SECOND_NS, Settings
from service.sources.arrival import Arrival, Arrivals
from service.sources.kafka import KafkaSource
from service.sources.otlp_http import Door
from service.store.outbox import Outbox
from service.store.sqlite import Delivery, Store, connect
from service.web.app import web_app

log = logging.getLogger("tocsin")

TAKE_MAX = 64
"""Arrivals that one step reads at most: what bounds the time between two saves."""
IDLE_S = 1.0
LEVELS_EVERY_S = 1.0
DRAIN_S = 10.0
"""How long a clean stop waits for the senders; what they do not manage is sent after the next start."""


@dataclass(frozen=True)
class Clock:
    """Where now comes from: the wall, or the demo."""

    now_ns: Callable[[], int]


WALL = Clock(time.time_ns)


class Daemon:
    """`tocsin run`, from its settings and rules. Raises StoreError or ValueError where it cannot begin."""

    def __init__(self, settings: Settings, rules: RuleSet, clock: Clock, write: Callable[[str], None]) -> None:
        self.settings, self.rules, self.clock = settings, rules, clock
        self.destinations: tuple[Destination, ...] = destinations(rules.receiver(), _configured(settings))
        self.store = Store(settings.data_dir)
        self.outbox = Outbox(connect(settings.data_dir))
        self.deliverer = Deliverer(self.outbox, self.destinations, time.time_ns, random.Random(), write)
        limits = IngestLimits(
            lateness_ns=settings.lateness,
            future_max_ns=settings.future_max,
            session_idle_ns=settings.session_idle,
            body_bytes_max=settings.otlp.body_max,
        )
        self.pipeline = Pipeline(limits, rules, settings.max_page_age)
        self.offsets: dict[str, int] = {}
        self._restore()
        self.arrivals: Arrivals = asyncio.Queue(settings.otlp.queue_max)
        self.door = Door(self.arrivals, settings.otlp.body_max)
        self.kafka = (
            KafkaSource(settings.kafka, self.arrivals, self.offsets) if settings.kafka.bootstrap_servers else None
        )
        self.metrics = SelfMetrics(self)
        self.ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._untold: list[Delivery] = []
        self._unsaved = False
        self._saved_s = 0.0
        self._levels_s = float("-inf")

    def _restore(self) -> None:
        saved = self.store.load()
        if saved is None:
            log.info("no state in %s: starting afresh", self.settings.data_dir)
            return
        anew = self.pipeline.restore(State(saved.arrays, saved.alerts))
        self.offsets = dict(saved.offsets)
        for name in anew:
            log.info("rule %s is new or asks something else now: it starts to learn", name)

    def stop(self) -> None:
        """Ask for a clean end: doors shut, what came in is read and saved, due pages are sent."""
        self.door.closing = True
        if self.kafka:
            self.kafka.closing = True
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`; nothing that was accepted is lost then."""
        servers = [
            _Server(self.door.app, self.settings.otlp.listen),
            _Server(web_app(self), self.settings.web.listen),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                serving = [group.create_task(server.serve(), name=server.config.host) for server in servers]
                for server, task in zip(servers, serving, strict=True):
                    await server.wait_started(task)
                self.listening = tuple(server.address() for server in servers)
                kafka = group.create_task(self.kafka.run(), name="kafka") if self.kafka else None
                senders = [
                    group.create_task(self.deliverer.run(), name=f"sender-{i}") for i in range(self.deliverer.senders)
                ]
                self.ready.set()
                await self._loop()
                await self._save()
                if kafka:
                    kafka.cancel()
                self.deliverer.stop()
                _, late = await asyncio.wait(senders, timeout=DRAIN_S)
                for task in late:
                    task.cancel()
                for server in servers:
                    server.should_exit = True
        finally:
            self.outbox.close()
            self.store.close()

    async def _loop(self) -> None:
        """Take, step, answer, save; until asked to stop and nothing is left on the queue."""
        while not (self._stop.is_set() and self.arrivals.empty()):
            arrivals = await self._take()
            records = tuple(record for arrival in arrivals for record in arrival.records)
            offsets = {name: offset for arrival in arrivals for name, offset in arrival.offsets.items()}
            begun = time.perf_counter()
            outcome = await asyncio.to_thread(self.pipeline.step, Batch(records, offsets), self.clock.now_ns())
            self.metrics.stepped(outcome, time.perf_counter() - begun)
            self.offsets |= offsets
            _answer(arrivals, outcome)
            self._gather(outcome)
            if time.monotonic() - self._levels_s >= LEVELS_EVERY_S:
                self.metrics.levels, self.metrics.spend = await asyncio.to_thread(self._levels)
                self._levels_s = time.monotonic()
            self._unsaved |= bool(records or outcome.tally.slots)
            overdue = time.monotonic() - self._saved_s >= self.settings.save_every / SECOND_NS
            if self._untold or (self._unsaved and overdue):
                await self._save()

    def _levels(self) -> tuple[list[Level], dict[tuple[str, ...], float]]:
        return self.pipeline.levels(), self.pipeline.spend()

    async def _take(self) -> list[Arrival]:
        """What has arrived, after a short wait at most: time alone can close slots too."""
        arrivals = []
        try:
            async with asyncio.timeout(IDLE_S):
                arrivals.append(await self.arrivals.get())
        except TimeoutError:
            return []
        while len(arrivals) < TAKE_MAX and not self.arrivals.empty():
            arrivals.append(self.arrivals.get_nowait())
        return arrivals

    def _gather(self, outcome: Outcome) -> None:
        for line in outcome.digest:
            log.info("not paged, as it began and ended in a backlog: %s", line)
        self._untold += [Delivery(notice, d.name) for notice in outcome.notices for d in self.destinations]

    async def _save(self) -> None:
        """State, offsets, alerts and what is to be told, in one commit; then the senders and the group may know."""
        begun = time.perf_counter()
        untold, self._untold = self._untold, []
        await asyncio.to_thread(self._write, untold)
        self.metrics.saved(time.perf_counter() - begun)
        self._saved_s, self._unsaved = time.monotonic(), False
        if untold:
            self.deliverer.wake()
        if self.kafka:
            await self.kafka.commit(dict(self.offsets))

    def _write(self, untold: list[Delivery]) -> None:
        state = self.pipeline.snapshot()
        name = self.store.write_arrays(state.arrays)
        self.store.save(name, self.offsets, state.alerts, None, untold, time.time_ns())


class _Server(uvicorn.Server):
    """A server in our loop, which leaves signals to us."""

    def __init__(self, app: ASGIApp, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        super().__init__(
            uvicorn.Config(
                app, host.strip("[]"), int(port), log_config=None, access_log=False, lifespan="off",
                timeout_keep_alive=30, timeout_graceful_shutdown=5, server_header=False,
            )
        )  # fmt: skip

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def wait_started(self, task: "asyncio.Task[None]") -> None:
        """Until it listens; raises OSError where the address cannot be had."""
        while not self.started:
            if task.done():
                raise OSError(f"cannot listen on {self.config.host}:{self.config.port}: is something else there?")
            await asyncio.sleep(0.01)

    def address(self) -> str:
        """Host and port it listens on, the port that was taken where 0 was asked."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"{host}:{port}"


def _answer(arrivals: list[Arrival], outcome: Outcome) -> None:
    """Tell each door what became of its records."""
    at = 0
    for arrival in arrivals:
        answers = outcome.answers[at : at + len(arrival.records)]
        at += len(arrival.records)
        if arrival.answers is not None and not arrival.answers.done():
            arrival.answers.set_result(answers)


def _configured(settings: Settings) -> Configured:
    """The destinations that the settings know; the secrets leave them here."""
    hook, token, key = settings.slack.webhook_url, settings.slack.bot_token, settings.pagerduty.routing_key
    return Configured(
        slack=slack.Target(
            webhook_url=hook.get_secret_value() if hook else "", bot_token=token.get_secret_value() if token else ""
        )
        if hook or token
        else None,
        pagerduty=pagerduty.Target(routing_key=key.get_secret_value(), base_url=settings.pagerduty.url)
        if key
        else None,
    )
