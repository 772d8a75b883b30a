"""A Kafka broker that is killed under a running daemon, and comes back: nothing is lost, and nothing told twice."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.demo.standins import PagerDutyStandIn, Serving, serving
from service.sources import kafka as module
from service.sources.kafka import SILENT_S
from tests import broker
from tests.service.replay import KEY
from tests.service.replay import values as metrics
from tests.service.running import Running, running
from tests.service.test_crash import AGO_S, RULES, by_key, expected, produce, same_state, stream
from tests.service.test_kafka import committed, reading, source, write

TOPIC = "spans"


async def until(client: httpx.AsyncClient, url: str, is_so: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer that is so."""
    async with asyncio.timeout(40):
        while not is_so(answer := await client.get(url)):
            await asyncio.sleep(0.1)
        return answer


async def told(place: Serving, count: int) -> None:
    async with asyncio.timeout(40):
        while len(place.requests) < count:
            await asyncio.sleep(0.02)


async def bereaved(kafka: broker.Broker, bodies: list[bytes], place: Serving, wanted: int, daemon: Running) -> None:
    """The daemon reads half of it, loses its broker, says so, and reads the rest once the broker is back."""
    _, web = await asyncio.to_thread(daemon.addresses)
    half = len(bodies) // 2
    await produce(kafka.address, TOPIC, bodies[:half], seconds=0.0)
    await told(place, 1)
    kafka.kill()
    async with httpx.AsyncClient(trust_env=False) as client:
        gone = await until(client, f"{web}/-/ready", lambda answer: answer.status_code == 503)
        assert "no Kafka broker has answered for" in gone.text
        assert (await client.get(f"{web}/-/healthy")).status_code == 200
        assert metrics((await client.get(f"{web}/metrics")).text)["tocsin_kafka_silent_seconds",] > SILENT_S
        await asyncio.to_thread(kafka.start)
        await produce(kafka.address, TOPIC, bodies[half:], seconds=0.0)
        await until(client, f"{web}/-/ready", lambda answer: answer.status_code == 200)
        await told(place, wanted)
        assert metrics((await client.get(f"{web}/metrics")).text)["tocsin_kafka_silent_seconds",] < SILENT_S
    assert await asyncio.to_thread(daemon.stop) == 0, daemon.said


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[broker.Broker]:
    """A broker that these tests kill, and start again."""
    with broker.running(tmp_path_factory.mktemp("kafka")) as one:
        yield one


def test_the_broker_dies(mortal: broker.Broker, tmp_path: Path) -> None:
    """Not ready meanwhile, but healthy: a restart of ours would not bring it back. Then all goes on where it was."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    bodies = list(stream(random.Random(9), int(time.time() - AGO_S) // 60 * 60))

    async def run(kafka: broker.Broker) -> None:
        await asyncio.to_thread(broker.make_topics, kafka.address, {TOPIC: 1})
        stand_in = PagerDutyStandIn(time.monotonic)
        async with serving(stand_in) as place:
            wanted, state = expected(bodies, rules, place.url)
            settings = {
                "PAGERDUTY__URL": place.url, "PAGERDUTY__ROUTING_KEY": KEY, "MAX_PAGE_AGE": "0", "RULES": str(rules),
                "KAFKA__BOOTSTRAP_SERVERS": kafka.address, "KAFKA__TOPICS": TOPIC, "SAVE_EVERY": "100ms",
            }  # fmt: skip
            with running(tmp_path, **settings) as daemon:
                await bereaved(kafka, bodies, place, sum(map(len, wanted.values())), daemon)
            assert len(place.requests) == sum(map(len, wanted.values()))
            assert by_key(place) == wanted, daemon.said
            assert not stand_in.open() and not stand_in.dropped_resolves
            same_state(tmp_path / "state", state)

    asyncio.run(run(mortal))


def test_brokers_that_are_gone_for_long(mortal: broker.Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers are replaced until one finds a broker; it goes on where reading stopped, and nothing of the others is
    left."""
    topic = "long_spans"
    for name, seconds in (("SILENT_MAX_S", 0.5), ("POLL_S", 0.1), ("AGAIN_FIRST_S", 0.1), ("AGAIN_MAX_S", 0.5)):
        monkeypatch.setattr(module, name, seconds)
    broker.make_topics(mortal.address, {topic: 1})

    async def run() -> None:
        await write(mortal.address, topic, [b"a", b"b"])
        async with reading(source(mortal.address, topic)) as reader:
            await reader.until(2)
            mortal.kill()
            async with asyncio.timeout(30):
                while reader.source.restarts < 3:
                    await asyncio.sleep(0.05)
            assert reader.source.silent_s() > 1
            await asyncio.to_thread(mortal.start)
            await write(mortal.address, topic, [b"c"])
            await reader.until(3)
            assert reader.bodies == [b"a", b"b", b"c"] and reader.source.silent_s() < 1
            reader.source.saved({f"{topic}/0": 3})
        assert await committed(mortal.address, topic) == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
