"""Pages of a fleet through core, store and delivery, with crashes and failing destinations, by one seed each.

    python -m tests.simulation [--seeds 1000]
    python -m tests.simulation --seed N

Time is the loop's (loop.py): a run of half an hour takes a fraction of a second, and one seed gives one run. What
should be told is what a pipeline tells that is never interrupted. A process may end at any point at which it waits,
and between the two files of a save. A seed that fails is printed with what went wrong, and comes out the same again.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from alertrules.parse import RuleSet, combine, parse_rules
from detectors.core.columns import SECOND_NS
from service.batch import Batch, Record, Signal
from service.config.settings import load
from service.delivery.deliver import SENDERS_EACH, Clocks, Deliverer
from service.demo.standins import Answer, PagerDutyStandIn
from service.ingest.limits import IngestLimits
from service.notifiers.destination import Addresses, addresses
from service.notifiers.notifier import words
from service.pipeline.pipeline import Pipeline, State
from service.store.outbox import Outbox
from service.store.sqlite import Delivery, Store, connect
from tests.service.ingest.wire import EPOCH_S
from tests.service.test_crash import KEY, RULES, stream
from tests.simulation.loop import AtOnce, run

MINUTES, AGO_S = 8, 86_400
CRASHES = (1, 5)
FAILS = 0.3
"""Share of the requests that meet a fault."""
TORN = 0.1
"""Share of the saves at which the process ends between the array file and the commit."""
OVER_S = 3 * 3600.0
HOOK = "http://127.0.0.1:9/hook"
PAGERDUTY = "http://127.0.0.1:9"
LOG = "spans/0"


class CrashError(Exception):
    """The process ends here."""


@dataclass
class Told:
    """What the two destinations took, in order, and the answers of them that were lost."""

    rng: random.Random
    pagerduty: PagerDutyStandIn
    taken: list[tuple[str, str, str]] = field(default_factory=list)
    """Destination, incident, and whether it fires or has ended."""
    lost: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as a destination does on a bad day."""
        fault = self.rng.choice(("429", "503", "cut", "late", "answer lost")) if self.rng.random() < FAILS else ""
        await asyncio.sleep(self.rng.uniform(0.01, 2.0))
        match fault:
            case "429":
                after = {"Retry-After": "2"} if self.rng.random() < 0.5 else {}
                return httpx.Response(429, headers=after, content=_stream("slow down"))
            case "503":
                return httpx.Response(503, content=_stream("oops"))
            case "cut":
                raise httpx.ReadError("cut")
            case "late":
                await asyncio.sleep(10.0)
                raise httpx.ReadTimeout("late")
        answer, fact = self._take(request)
        if fault == "answer lost":
            self.lost[fact] += 1
            raise httpx.ReadError("cut")
        await asyncio.sleep(self.rng.uniform(0.0, 1.0))  # The process may end meanwhile.
        return httpx.Response(answer.status, content=_stream(answer.body))

    def _take(self, request: httpx.Request) -> tuple[Answer, tuple[str, str, str]]:
        event = json.loads(request.content)
        if "dedup_key" in event:
            answer = self.pagerduty.answer(request.url.path, request.content)
            fact = ("pagerduty", event["dedup_key"], event["event_action"])
        else:
            answer, fact = Answer(200, ""), ("webhook", event["groupKey"], event["status"])
        self.taken.append(fact)
        return answer, fact

    def twice(self) -> int:
        """How often a post came again whose answer was not lost."""
        return sum(max(count - 1 - self.lost[fact], 0) for fact, count in Counter(self.taken).items())


async def _stream(text: str) -> AsyncIterator[bytes]:
    """A body as it comes over a network; one that is there at once counts as read."""
    yield text.encode()


@dataclass(frozen=True)
class Result:
    """What is wrong with a run, what was in it, and a hash of all that was told, in order.

    twice  posts that came again though their answer was not lost
    """

    problems: tuple[str, ...]
    crashes: int
    incidents: int
    twice: int
    digest: str


class World:
    """One seed: a log, two destinations, and a process that ends now and then and is started again."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.begin_s = EPOCH_S // 60 * 60
        self.log = list(stream(self.rng, self.begin_s, MINUTES))
        text = RULES.replace("pagerduty: {}\n", "pagerduty: {}\n    webhook: {}\n")
        self.rules: RuleSet = combine([parse_rules(text, "rules.yaml", words())])
        environ = {
            "TOCSIN_PAGERDUTY__URL": PAGERDUTY, "TOCSIN_PAGERDUTY__ROUTING_KEY": KEY, "TOCSIN_WEBHOOK__URL": HOOK,
        }  # fmt: skip
        self.to: Addresses = addresses(
            map(self.rules.receiver, self.rules.route.receivers()), load(environ).notifiers
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self.told = Told(self.rng, PagerDutyStandIn(loop.time, per_s=1000, burst=10_000))
        self.clocks = Clocks(
            lambda: (self.begin_s + AGO_S) * SECOND_NS + int(loop.time() * SECOND_NS),
            lambda: int(loop.time() * SECOND_NS),
        )
        self.crashes = 0

    async def run(self) -> Result:
        """Live through all crashes, and then to the end."""
        for _ in range(self.rng.randint(*CRASHES)):
            try:
                async with asyncio.timeout(self.rng.uniform(0.5, 40.0)):
                    await self._live()
                break  # It was all told before it could end.
            except (TimeoutError, ExceptionGroup):
                self.crashes += 1
                await asyncio.sleep(self.rng.uniform(0.0, 5.0))
        while True:
            try:
                await self._live()
                break
            except ExceptionGroup as group:  # A save was torn.
                if not group.subgroup(CrashError):
                    raise
                self.crashes += 1
        return self._judged()

    async def _live(self) -> None:
        """One process: read, step, save, tell, until all is told."""
        async with self._opened() as (store, pipeline, offset, deliverer), asyncio.TaskGroup() as group:
            senders = [group.create_task(deliverer.run()) for _ in range(deliverer.senders)]
            await self._read(store, pipeline, offset, deliverer)
            until_s = asyncio.get_running_loop().time() + OVER_S
            while any(state == "waiting" for _, state in self.outbox.counts()):
                assert asyncio.get_running_loop().time() < until_s, "the outbox is never empty"
                await asyncio.sleep(5.0)
            deliverer.stop()
            await asyncio.gather(*senders)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[Store, Pipeline, int, Deliverer]]:
        store = Store(self.directory)
        self.outbox = Outbox(connect(self.directory), connect(self.directory))
        pipeline, offset = Pipeline(IngestLimits(), self.rules, 0), 0
        if saved := store.load():
            pipeline.restore(State(saved.arrays, saved.alerts))
            offset = saved.offsets[LOG]
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.told.answer))
        try:
            yield store, pipeline, offset, Deliverer(
                self.outbox, self.to.all, (), self.clocks, self.rng, lambda line: None, lambda count: client, AtOnce()
            )  # fmt: skip
        finally:
            self.outbox.close()
            store.close()

    async def _read(self, store: Store, pipeline: Pipeline, offset: int, deliverer: Deliverer) -> None:
        untold: list[Delivery] = []
        while offset < len(self.log):
            some = self.log[offset : offset + self.rng.randint(1, 8)]
            offset += len(some)
            outcome = pipeline.step(_batch(some), self.clocks.wall_ns())
            untold += [
                Delivery(notice, one.name, one.identity)
                for notice in outcome.notices
                for one in self.to.of(notice.receiver)
            ]
            if untold or offset == len(self.log) or self.rng.random() < 0.2:
                self._save(store, pipeline, offset, untold)
                untold = []
                deliverer.wake()
            await asyncio.sleep(self.rng.uniform(0.0, 1.5))

    def _save(self, store: Store, pipeline: Pipeline, offset: int, untold: list[Delivery]) -> None:
        state = pipeline.snapshot()
        name = store.write_arrays(state.arrays, {LOG: offset}, state.alerts)
        if self.rng.random() < TORN:
            raise CrashError
        store.save(name, {LOG: offset}, state.alerts, untold, self.clocks.wall_ns())

    def _judged(self) -> Result:
        undisturbed = Pipeline(IngestLimits(), self.rules, 0)
        notices = undisturbed.step(_batch(self.log), self.clocks.wall_ns()).notices
        problems = list(self._untrue({notice.group for notice in notices}))
        saved = Store(self.directory)
        last = saved.load()
        saved.close()
        wanted = undisturbed.snapshot().arrays
        assert last is not None
        learnt = [name for name in wanted if name.startswith("detect/")]
        if wrong := [name for name in learnt if not np.array_equal(last.arrays[name], wanted[name])]:
            problems.append(f"what was learnt is another: {', '.join(wrong[:3])}")
        digest = hashlib.sha256(repr((self.told.taken, self.crashes)).encode()).hexdigest()[:16]
        incidents = len({notice.group for notice in notices})
        return Result(tuple(problems), self.crashes, incidents, self.told.twice(), digest)

    def _untrue(self, wanted: set[str]) -> list[str]:
        told, problems = self.told, []
        for place in ("pagerduty", "webhook"):
            heard = {key for where, key, _ in told.taken if where == place}
            if heard != wanted:
                problems.append(f"{place}: lost {sorted(wanted - heard)}, phantom {sorted(heard - wanted)}")
            last: dict[str, str] = {}
            for where, key, what in told.taken:
                if where == place and what in ("trigger", "firing") and last.get(key) in ("resolve", "resolved"):
                    problems.append(f"{place}: {key} fires after its end")
                last[key] = what if where == place else last.get(key, "")
            if still := [key for key, what in last.items() if what in ("trigger", "firing")]:
                problems.append(f"{place}: never ended: {still}")
        # What was in hand as the process ended may have been taken: it is sent again.
        if told.twice() > 2 * SENDERS_EACH * self.crashes:
            problems.append(f"{told.twice()} posts came twice over {self.crashes} crashes and two destinations")
        return problems


def _batch(values: Sequence[bytes]) -> Batch:
    return Batch(tuple(Record(Signal.TRACES, value, LOG) for value in values), {})


async def _world(directory: Path, seed: int) -> Result:
    return await World(directory, seed).run()


def simulated(seed: int) -> Result:
    """One run."""
    with tempfile.TemporaryDirectory() as directory:
        return run(_world(Path(directory), seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="this one alone")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seeds = range(given.seeds) if given.seed is None else [given.seed]
    failed = crashes = incidents = twice = 0
    for seed in seeds:
        result = simulated(seed)
        failed, crashes = failed + bool(result.problems), crashes + result.crashes
        incidents, twice = incidents + result.incidents, twice + result.twice
        if result.problems or given.seed is not None:
            print(f"seed {seed} ({result.digest}):", "; ".join(result.problems) or "nothing is wrong", flush=True)
    print(f"{len(seeds)} seeds, {incidents} incidents, {crashes} crashes, {twice} posts sent twice")
    print(f"seeds that failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
