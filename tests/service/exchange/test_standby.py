"""Instances of role detect of which one leads, over a real broker: whoever takes over goes on as after a crash."""

import asyncio
import logging
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from service.delivery.deliver import SENDERS_EACH
from service.demo.standins import PagerDutyStandIn, Serving, serving
from service.sources import state_topic
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from service.sources.state_topic import AT_ONCE, CHUNK_BYTES, GoneError
from service.sources.topic_writer import WRITE_TIMEOUT_S, TopicWriter
from tests.broker import make_topics, running
from tests.service.exchange.cluster import Cluster
from tests.service.replay import values
from tests.service.running import Running
from tests.service.test_crash import AGO_S, KEY, RULES, by_key, expected, stream

log = logging.getLogger(__name__)
LEADS, STANDS = "leads, from the ", "stands by: metrics on"
T = TypeVar("T")
SEEDS = tuple(map(int, os.environ.get("STANDBY_SEEDS", "21").split()))
TAKEOVER_S = 40.0
"""A lease of ten seconds, a group of as many, and a start, on a machine with others at work."""


@dataclass
class Standbys:
    """A cluster whose instances of role detect stand by for one another, and who is paged."""

    cluster: Cluster
    place: Serving
    address: str
    values: Sequence[bytes]
    wanted: dict[str, list[bytes]]
    sent: int = 0
    frozen: set[str] = field(default_factory=set)

    def start(self, name: str) -> Running:
        return self.cluster.start(name, "detect")

    async def leader(self, *others: str) -> str:
        """The name of the instance that leads, once one does that is none of these."""
        found = await until(lambda: next(iter(self.leading() - set(others)), ""), TAKEOVER_S)
        assert found, {name: one.said[-3000:] for name, one in self.cluster.running.items()}
        return found

    def leading(self) -> set[str]:
        """Those whose log said last that they lead, and that run."""
        instances = {name: one for name, one in self.cluster.running.items() if name != "ingest"}
        running = {n: one for n, one in instances.items() if one.process.poll() is None and n not in self.frozen}
        return {name for name, one in running.items() if one.said.rfind(LEADS) > one.said.rfind(STANDS)}

    def kill(self, name: str) -> None:
        self.cluster.running[name].kill()

    async def fell(self, name: str, chance: random.Random, thawing: list[asyncio.Task[None]]) -> None:
        """Kill, stop or freeze an instance; it comes back at once, or is thawed once another one leads."""
        one, how = self.cluster.running[name], chance.choice(["kill", "stop", "freeze"])
        begun_s = time.monotonic()
        if how == "freeze":
            one.process.send_signal(signal.SIGSTOP)
            self.frozen.add(name)
            thawing.append(asyncio.create_task(self._thaw(name, chance.uniform(11.0, 20.0))))
            await self.leader(name)
        elif how == "stop":
            assert await asyncio.to_thread(one.stop) == 0, one.said[-3000:]
            begun_s = time.monotonic()
        else:
            one.kill()
        if how != "freeze":
            self.start(name)
            await self.leader()
        log.info("%s: another one leads after %.1f s", how, time.monotonic() - begun_s)

    async def _thaw(self, name: str, after_s: float) -> None:
        """Let it go on; it must find by itself that another one leads."""
        one = self.cluster.running[name]
        await asyncio.sleep(after_s)
        before = len(one.said)
        one.process.send_signal(signal.SIGCONT)
        assert await until(lambda: STANDS in one.said[before:], TAKEOVER_S), one.said[-3000:]
        self.frozen.discard(name)

    async def produce(self, until: int, seconds: float = 0.0) -> None:
        """Write values up to one, over so many seconds."""
        producer = AIOKafkaProducer(bootstrap_servers=self.address)
        await producer.start()
        try:
            count = until - self.sent
            for value in self.values[self.sent : until]:
                await producer.send_and_wait(self.cluster.spans, value, partition=0)
                await asyncio.sleep(seconds / count)
            self.sent = until
        finally:
            await producer.stop()

    async def until_paged(self, requests: int, seconds: float = 60.0) -> None:
        """Wait for so many requests that differ."""
        assert await until(lambda: len(set(self.place.requests)) >= requests, seconds), len(set(self.place.requests))

    async def all_told(self) -> None:
        """Every incident was told as by one to which nothing had happened."""
        await self.until_paged(sum(map(len, self.wanted.values())))
        await asyncio.sleep(2.0)  # For what should not come.
        assert by_key(self.place) == self.wanted

    def again(self) -> int:
        """How many requests came again."""
        return sum(count - 1 for count in Counter(self.place.requests).values())


async def until(holds: Callable[[], T], seconds: float) -> T:
    """What this gives once it is true, or in the end."""
    until_s = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < until_s:
        await asyncio.sleep(0.1)
    return held


@asynccontextmanager
async def standing_by(directory: Path, address: str, name: str, seed: int, **settings: str) -> AsyncIterator[Standbys]:
    """A cluster with one instance of role ingest, and none of role detect yet."""
    begun = list(stream(random.Random(seed), int(time.time() - AGO_S) // 60 * 60))
    async with serving(PagerDutyStandIn(time.monotonic)) as place:
        told = f"{name}.told"
        cluster = await asyncio.to_thread(
            lambda: Cluster(
                directory, address, name, 1, 0, KAFKA__TOLD_TOPIC=told, PAGERDUTY__URL=place.url,
                PAGERDUTY__ROUTING_KEY=KEY, **settings,
            )
        )  # fmt: skip
        (directory / "rules.yaml").write_text(RULES)
        await asyncio.to_thread(make_topics, address, {told: 1})
        wanted, _ = expected(begun, directory / "rules.yaml", place.url)
        try:
            system = Standbys(cluster, place, address, begun, wanted)
            await system.produce(20)  # Before anybody reads: an empty partition would let event time pass.
            cluster.start("ingest", "ingest")
            yield system
        finally:
            cluster.end()


async def web(one: Running, path: str, **posted: object) -> httpx.Response:
    """What its web server says now; it may have another address than before."""
    addresses = re.findall(r"metrics(?: and API)? on (http://\S+)", one.said)
    async with httpx.AsyncClient(trust_env=False) as client:
        if posted:
            return await client.post(addresses[-1] + path, json=posted)
        return await client.get(addresses[-1] + path)


def test_leaders_that_are_killed(kafka: str, tmp_path: Path) -> None:
    """Each death is taken over in the middle of incidents, the second one by an instance that had nothing: every
    incident is triggered and resolved as by one that never died, under the same key."""

    async def run() -> None:
        async with standing_by(tmp_path, kafka, "killed", 11, KAFKA__STATE_EVERY="3s") as system:
            system.start("a")
            first = await system.leader()
            system.start("b")
            producing = asyncio.create_task(system.produce(len(system.values), 50.0))
            await system.until_paged(3)
            system.kill(first)
            second = await system.leader(first)
            system.start("c")
            await until(lambda: STANDS in system.cluster.running["c"].said, 20)
            await system.until_paged(12)
            system.kill(second)
            assert await system.leader(first, second) == "c"
            await producing
            await system.all_told()
            assert system.again() <= 2 * SENDERS_EACH
            one = system.cluster.running["c"]
            assert "leads, from the state of" in one.said and "Traceback" not in one.said
            shown = values((await web(one, "/metrics")).text)
            assert shown["tocsin_leading",] == 1 and shown["tocsin_takeovers_total", "state"] == 1
            assert shown["tocsin_told_records_total",] > 0 and shown["tocsin_slot_gaps_total",] == 0

    asyncio.run(run())


def test_a_leader_that_stood_still(kafka: str, tmp_path: Path) -> None:
    """It was frozen while another took over: thawed, it tells nothing, and stands by again. As the other ends cleanly,
    it leads within seconds."""

    async def run() -> None:
        async with standing_by(tmp_path, kafka, "frozen", 12, KAFKA__STATE_EVERY="2s") as system:
            system.start("a")
            first = await system.leader()
            system.start("b")
            producing = asyncio.create_task(system.produce(len(system.values), 45.0))
            await system.until_paged(3)
            frozen = system.cluster.running[first]
            frozen.process.send_signal(signal.SIGSTOP)
            second = await system.leader(first)
            await system.until_paged(len(set(system.place.requests)) + 2)
            in_hand = system.again()
            assert in_hand <= SENDERS_EACH
            frozen.process.send_signal(signal.SIGCONT)
            assert await until(lambda: frozen.said.rfind(STANDS) > frozen.said.rfind(LEADS), 20), frozen.said
            assert "does not lead any more" in frozen.said
            assert (await web(frozen, "/-/ready")).status_code == 200
            await asyncio.sleep(3.0)
            begun_s = time.monotonic()
            status = await asyncio.to_thread(system.cluster.running[second].stop)
            assert status == 0 and await system.leader(second) == first
            assert time.monotonic() - begun_s < 20
            await producing
            await system.all_told()
            assert system.again() == in_hand

    asyncio.run(run())


def test_what_people_said(kafka: str, tmp_path: Path) -> None:
    """A follower says who leads. A silence that the leader took holds after its death, although no state was written:
    the next one begins with nothing, reads all reports again, and hears the silence where it was said."""

    async def run() -> None:
        async with standing_by(tmp_path, kafka, "spoken", 13, KAFKA__STATE_EVERY="1h") as system:
            system.start("a")
            first = await system.leader()
            producing = asyncio.create_task(system.produce(len(system.values), 40.0))
            await system.until_paged(4)
            system.start("b")
            follower = system.cluster.running["b"]
            assert await until(lambda: STANDS in follower.said, 20)
            asked = {"matchers": ["agent=~agent-[0-4]"], "for": "24h", "by": "anna"}
            assert await until_answered(follower, "/-/ready", "leads\n")
            refused = await web(follower, "/api/v1/silences", **asked)
            assert refused.status_code == 503 and "stands by" in refused.json()["error"]
            assert "leads" in refused.json()["leader"]
            taken = await web(system.cluster.running[first], "/api/v1/silences", **asked)
            assert taken.status_code == 200, taken.text
            opened = {key for key, told in by_key(system.place).items() if told}
            system.kill(first)
            second = await system.leader(first)
            await producing
            await asyncio.sleep(20.0)
            (silence,) = (await web(system.cluster.running[second], "/api/v1/silences")).json()["silences"]
            assert silence["by"] == "anna" and silence["matchers"] == ['agent=~"agent-[0-4]"']
            told = by_key(system.place)
            assert opened <= told.keys() and all(told[key] == system.wanted[key] for key in opened)
            later = [key for key in told if key not in opened]
            assert all("agent-5" in str(system.wanted[key][0]) for key in later) and later
            assert system.again() <= SENDERS_EACH

    asyncio.run(run())


async def until_answered(one: Running, path: str, text: str, seconds: float = 10.0) -> bool:
    """Whether a page says this within a while."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if text in (await web(one, path)).text:
            return True
        await asyncio.sleep(0.2)
    return False


def test_a_state_that_is_gone_is_not_needed(kafka: str, tmp_path: Path) -> None:
    """Its topic was deleted: whoever leads next says so and counts it, reads the reports again from the beginning, and
    tells nothing again, as the topic says what was told."""

    async def run() -> None:
        async with standing_by(tmp_path, kafka, "lost", 14, KAFKA__STATE_EVERY="1s") as system:
            system.start("a")
            await system.leader()
            producing = asyncio.create_task(system.produce(len(system.values), 30.0))
            await system.until_paged(6)
            assert await asyncio.to_thread(system.cluster.running["a"].stop) == 0
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
            await admin.start()
            await admin.delete_topics([system.cluster.state])
            await admin.close()
            await asyncio.sleep(1.0)
            await asyncio.to_thread(make_topics, kafka, {system.cluster.state: 1})
            one = system.start("b")
            assert await system.leader() == "b"
            await producing
            await system.all_told()
            assert system.again() == 0 and "cannot be gone on from" in one.said
            assert values((await web(one, "/metrics")).text)["tocsin_takeovers_total", "lost"] == 1

    asyncio.run(run())


def test_a_topic_that_is_missing(kafka: str, tmp_path: Path) -> None:
    """Nobody leads without it; each instance says so, with what to make, and one leads once it is there."""

    async def run() -> None:
        async with standing_by(tmp_path, kafka, "untold", 15) as system:
            one = system.cluster.start("a", "detect", TOCSIN_KAFKA__TOLD_TOPIC="untold.other")
            assert await until(lambda: "Kafka has no topic untold.other" in one.said, 20), one.said
            answer = await web(one, "/-/ready")
            assert answer.status_code == 503 and "TOCSIN_KAFKA__TOLD_TOPIC" in answer.text
            await asyncio.to_thread(make_topics, kafka, {"untold.other": 1})
            assert await system.leader() == "a"
            other = system.cluster.start("b", "detect", TOCSIN_KAFKA__TOLD_TOPIC="untold.other")
            assert await until(lambda: STANDS in other.said, 20)
            assert await until_answered(other, "/-/ready", "but stands by; ")
            assert await asyncio.to_thread(other.stop) == 0

    asyncio.run(run())


def test_a_large_state_is_whole(kafka: str) -> None:
    """More chunks than are written at once come back in order; a pointer past the end of the topic is refused."""
    make_topics(kafka, {"large.state": 1})
    security = Security(KafkaSettings(bootstrap_servers=kafka))
    pieces = [random.Random(number).randbytes(CHUNK_BYTES) for number in range(2 * AT_ONCE + 3)]

    async def run() -> None:
        writer = TopicWriter(security, 0, WRITE_TIMEOUT_S)
        where = await state_topic.written(writer, "large.state", "x", iter(pieces), 0)
        await writer.close()
        assert await state_topic.read(security, "large.state", where) == b"".join(pieces)
        with pytest.raises(GoneError, match="holds offsets"):
            await state_topic.read(security, "large.state", replace(where, last=where.last + 1))
        with pytest.raises(GoneError, match="records are there"):
            await state_topic.read(security, "large.state", replace(where, first=where.first + 1))

    asyncio.run(run())


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_becomes_of_leaders(kafka: str, tmp_path: Path, seed: int) -> None:
    """Three instances, and whoever leads is killed, frozen for a while or stopped, over and over; with states that are
    seconds old, or none for minutes. Every incident is told as by one to which nothing happened."""

    async def run() -> None:
        chance, thawing = random.Random(seed), list[asyncio.Task[None]]()
        every = chance.choice(["2s", "20s", "1h"])
        async with standing_by(tmp_path, kafka, f"any{seed}", seed, KAFKA__STATE_EVERY=every) as system:
            for name in ("a", "b", "c"):
                system.start(name)
            producing = asyncio.create_task(system.produce(len(system.values), 75.0))
            falls = 0
            while not producing.done():
                leader = await system.leader()
                await asyncio.sleep(chance.uniform(2.0, 7.0))
                falls += 1
                await system.fell(leader, chance, thawing)
            await asyncio.gather(producing, *thawing)
            await system.all_told()
            assert falls >= 3 and system.again() <= falls * SENDERS_EACH
            broken = [one.said for one in system.cluster.running.values() if "Traceback" in one.said]
            assert not broken, broken[0][-3000:]

    asyncio.run(run())


def test_brokers_that_go_away(tmp_path: Path) -> None:
    """While no broker answers nobody is sure to lead, so nothing is sent; afterwards one leads, and all is told."""

    async def run() -> None:
        with running(tmp_path) as broker:
            async with standing_by(tmp_path, broker.address, "away", 41, KAFKA__STATE_EVERY="3s") as system:
                for name in ("a", "b"):
                    system.start(name)
                leader = system.cluster.running[await system.leader()]
                await system.produce(len(system.values) // 2, 15.0)
                await system.until_paged(4)
                await asyncio.to_thread(broker.kill)
                assert await until_answered(leader, "/metrics", "tocsin_leading 0.0", 15.0)
                assert (await web(leader, "/-/ready")).status_code == 503
                told = len(system.place.requests)
                await asyncio.sleep(8.0)
                assert len(system.place.requests) == told
                await asyncio.to_thread(broker.start)
                await system.produce(len(system.values), 15.0)
                await system.all_told()
                assert system.again() <= SENDERS_EACH

    asyncio.run(run())
