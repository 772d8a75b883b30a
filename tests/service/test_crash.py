"""A real daemon, killed over and over while it reads from a real Kafka: no page is lost, none invented."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaProducer

from alertrules.parse import load
from service.batch import Batch, Record, Signal
from service.demo.standins import Fault, PagerDutyStandIn, Serving, serving
from service.ingest.limits import IngestLimits
from service.notifiers import pagerduty
from service.notifiers.notifier import words
from service.pipeline.pipeline import Pipeline, State
from service.store.sqlite import Store
from tests.broker import make_topics
from tests.service.ingest.wire import EPOCH_S, Sent, body, chat, json_body
from tests.service.running import running

KEY = "k" * 32
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
KILLS = 6
AGENTS, MINUTES, QUIET_MINUTES = 6, 24, 6
"""A fleet small enough for PagerDuty's pace, and a quiet end in which everything resolves."""
AGO_S = 2 * 86_400
"""The stream is old enough to be a replay, which event time alone moves: so it has one right answer."""
RULES = """
groups:
  - name: crash
    rules:
      - alert: AgentFails
        detector: static
        select: {operation: llm}
        by: [agent]
        signal: error_ratio
        above: 20%
        window: 1m
        keep_firing_for: 1m
        severity: page
receivers:
  - name: oncall
    pagerduty: {}
route:
  receiver: oncall
  group_by: [alert, agent]
"""


def stream(
    rng: random.Random, begin_s: int, minutes: int = MINUTES, agents: int = AGENTS, often: float = 0.25
) -> Iterator[bytes]:  # fmt: skip
    """Record values in order of event time: agents that fail for a minute or two now and then, and some garbage."""
    bad_until = [0] * agents
    number = 0
    for minute in range(minutes + QUIET_MINUTES):
        for agent in range(agents):
            if minute < minutes and minute >= bad_until[agent] + 4 and rng.random() < often:
                bad_until[agent] = minute + rng.randint(1, 2)
        for part in range(3):
            for agent in range(agents):
                end_s = begin_s - EPOCH_S + minute * 60 + part * 20 + agent % 20
                spans: list[Sent] = []
                for _ in range(4):
                    number += 1
                    span = chat(number, number, end_s - 1, end_s)
                    spans.append(replace(span, failed=minute < bad_until[agent] and number % 2 == 0))
                write = json_body if rng.random() < 0.1 else body
                yield write(*spans, resource={"service.name": f"agent-{agent}"})
            if rng.random() < 0.3:
                yield rng.choice([b"\xff\xfe garbage", b"{", b"\x0a\xff", rng.randbytes(200)])


def expected(values: Sequence[bytes], rules: Path, url: str) -> tuple[dict[str, list[bytes]], State]:
    """The requests of every incident, in order, and the state at the end, of a pipeline that was never interrupted."""
    pipeline = Pipeline(IngestLimits(), load([rules], words()), max_page_age_ns=0)
    told: dict[str, list[bytes]] = defaultdict(list)
    for value in values:
        outcome = pipeline.step(Batch((Record(Signal.TRACES, value, "spans/0"),), {}), time.time_ns())
        for notice in outcome.notices:
            told[notice.group].append(pagerduty.render(notice, pagerduty.Target(KEY, url)).body)
    return dict(told), pipeline.snapshot()


async def produce(address: str, topic: str, values: Sequence[bytes], seconds: float, partitions: int = 1) -> None:
    """Write the values over so many seconds, each with another codec than the one before."""
    producers = [
        AIOKafkaProducer(bootstrap_servers=address, compression_type=codec, max_request_size=2 << 20)
        for codec in CODECS
    ]
    for producer in producers:
        await producer.start()
    try:
        begun_s = time.monotonic()
        for i, value in enumerate(values):
            await producers[i % len(producers)].send_and_wait(topic, value, partition=i % partitions)
            await asyncio.sleep(max(0.0, begun_s + i * seconds / len(values) - time.monotonic()))
    finally:
        for producer in producers:
            await producer.stop()


async def killed_and_started(
    directory: Path, address: str, topic: str, rules: Path, place: Serving, wanted: int, rng: random.Random, kills: int
) -> str:
    """Run the daemon to its end through all its deaths; what the last one wrote."""
    settings = {
        "PAGERDUTY__URL": place.url,
        "PAGERDUTY__ROUTING_KEY": KEY,
        "KAFKA__BOOTSTRAP_SERVERS": address,
        "KAFKA__TOPICS": topic,
        "KAFKA__GROUP": topic,
        "MAX_PAGE_AGE": "0",
        "SAVE_EVERY": "100ms",
        "RULES": str(rules),
    }
    for _ in range(kills):
        with running(directory, **settings) as daemon:
            await asyncio.to_thread(daemon.addresses)
            await asyncio.sleep(rng.uniform(0.1, 2.0))
            daemon.kill()
    with running(directory, **settings) as daemon:
        await asyncio.to_thread(daemon.addresses)
        until_s = time.monotonic() + 30
        while len(set(place.requests)) < wanted and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # For what should not come.
        assert await asyncio.to_thread(daemon.stop) == 0, daemon.said
        return daemon.said


def same_state(directory: Path, wanted: State) -> None:
    """What was learnt is to the last bit what it would have been: no record was left out, none counted twice."""
    store = Store(directory)
    saved = store.load()
    store.close()
    assert saved is not None
    learnt = {name: array for name, array in wanted.arrays.items() if name.startswith("detect/")}
    assert any("spend" in name and np.any(array) for name, array in learnt.items())
    for name, array in learnt.items():
        np.testing.assert_array_equal(saved.arrays[name], array, name)


def by_key(place: Serving) -> dict[str, list[bytes]]:
    """What the stand-in was sent of each incident, without what it was sent again."""
    told: dict[str, list[bytes]] = defaultdict(list)
    for _, sent in place.requests:
        key = json.loads(sent)["dedup_key"]
        if sent not in told[key][-1:]:
            told[key].append(sent)
    return dict(told)


def resolved_again(place: Serving) -> int:
    """How many resolves came again, as the daemon was killed before it had written down the first."""
    resolves = [sent for _, sent in place.requests if json.loads(sent)["event_action"] == "resolve"]
    return len(resolves) - len(set(resolves))


def test_killed_over_and_over(kafka: str, tmp_path: Path) -> None:
    """Every incident is triggered and resolved as if nothing had happened; what is sent twice is the same bytes."""
    rng = random.Random(7)
    topic, rules = "crash_spans", tmp_path / "rules.yaml"
    make_topics(kafka, {topic: 1})
    rules.write_text(RULES)
    values = list(stream(rng, int(time.time() - AGO_S) // 60 * 60))

    async def run() -> None:
        stand_in = PagerDutyStandIn(time.monotonic)
        stand_in.script.append(Fault.TAKEN_THEN_RESET)
        async with serving(stand_in) as place:
            wanted, state = expected(values, rules, place.url)
            assert len(wanted) >= 12 and all(len(told) == 2 for told in wanted.values())
            async with asyncio.TaskGroup() as group:
                group.create_task(produce(kafka, topic, values, seconds=10.0))
                count = 2 * len(wanted)
                said = await killed_and_started(tmp_path, kafka, topic, rules, place, count, rng, KILLS)
            assert by_key(place) == wanted, said
            assert len(place.requests) > count  # The answer that was lost, at least.
            assert not stand_in.open() and stand_in.dropped_resolves == resolved_again(place)
            same_state(tmp_path / "state", state)

    asyncio.run(run())


def test_a_backlog_on_two_partitions(kafka: str, tmp_path: Path) -> None:
    """One is read before the other, and nothing on the other is late for that, through two deaths."""
    rng = random.Random(8)
    topic, rules = "backlog_spans", tmp_path / "rules.yaml"
    make_topics(kafka, {topic: 2})
    rules.write_text(RULES)
    values = list(stream(rng, int(time.time() - AGO_S) // 60 * 60))

    async def run() -> None:
        async with serving(PagerDutyStandIn(time.monotonic)) as place:
            wanted, state = expected(values, rules, place.url)
            await produce(kafka, topic, values, seconds=0.0, partitions=2)
            count = 2 * len(wanted)
            said = await killed_and_started(tmp_path, kafka, topic, rules, place, count, rng, 2)
            assert {key: len(told) for key, told in by_key(place).items()} == dict.fromkeys(wanted, 2), said
            same_state(tmp_path / "state", state)

    asyncio.run(run())
