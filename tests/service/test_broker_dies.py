"""A Kafka broker that is killed under a running daemon, and comes back: nothing is lost, and nothing told twice."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from service.demo.standins import PagerDutyStandIn, Serving, serving
from service.sources.kafka import SILENT_S
from tests import broker
from tests.service.replay import KEY
from tests.service.replay import values as metrics
from tests.service.running import Running, running
from tests.service.test_crash import AGO_S, RULES, by_key, expected, produce, same_state, stream

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


def test_the_broker_dies(tmp_path: Path) -> None:
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

    (tmp_path / "kafka").mkdir()
    with broker.running(tmp_path / "kafka") as kafka:
        asyncio.run(run(kafka))
