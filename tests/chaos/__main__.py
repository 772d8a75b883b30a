"""What a real daemon on a real broker tells while everything fails, against a run that nothing disturbs.

    python -m tests.chaos [--faults 200] [--seed N] [--only KIND …]

A fleet of agents writes to Kafka, with batches that come twice or in another order. Every few seconds one thing
fails: the daemon is killed or stands still; the broker is killed or stands still; the network between them is cut,
silent or slow; the daemon's clock is put forward or back, and stays so; its disk is full; another member of its group
takes partitions and gives them back. Of the requests to PagerDuty some meet a 429, a 5xx, a cut connection, or an
answer that never comes. The topic is then read back and given to a pipeline that is never interrupted: that is what
should have been told. It stops by itself, after three seconds for each fault, what brokers and groups need to come
back, and two minutes at most for the rest.
"""

import argparse
import asyncio
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.demo.standins import PagerDutyStandIn, Serving, serving
from tests import broker
from tests.bench.tell import Chance, Recorded
from tests.chaos.faults import GROUP, WEIGHTS, Faults, schedule
from tests.chaos.network import Network, network
from tests.service.test_crash import AGO_S, KEY, RULES, expected, produce, same_state, stream

TOPIC, PARTITIONS = "spans", 2
FLEET = broker.Secured({"FLEET": "PLAINTEXT"})
"""The fleet has a listener of its own, which nothing comes between."""
FAULT_EVERY_S, FAULT_LASTS_S = 3.0, (0.5, 2.5)
MINUTES_A_FAULT = 1.5
"""Of the stream's own time."""
INCIDENTS_AN_AGENT = 1.2
"""Few, as an agent that fails again and again is told once as flapping, and stays open."""
REST_S = 120.0
FAILS = 0.15
"""Share of the requests to PagerDuty that meet a fault."""
AGAIN, SWAPPED = 0.02, 0.05
"""Shares of batches that come twice, and in another order."""


@dataclass
class Found:
    """What came of it all; `wrong` is empty where it is as it should be."""

    faults: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def disturbed(values: Sequence[bytes], rng: random.Random) -> Iterator[bytes]:
    """The same batches, of which some come twice, and some change places with the next one."""
    held: list[bytes] = []
    for value in values:
        if not held and rng.random() < SWAPPED:
            held.append(value)
            continue
        yield value
        yield from held
        held.clear()
        if rng.random() < AGAIN:
            yield value
    yield from held


async def run(directory: Path, faults: Sequence[str], rng: random.Random) -> Found:
    """Let these faults happen one after another while a fleet runs, and say what was told."""
    announced = broker.free_port()
    with broker.running(directory, FLEET, announced) as kafka:
        async with AsyncExitStack() as stack:
            between = await stack.enter_async_context(network(announced, kafka.port))
            await asyncio.to_thread(broker.make_topics, kafka.addresses["FLEET"], {TOPIC: PARTITIONS})
            chance = Chance(rng, FAILS)
            told = Recorded(PagerDutyStandIn(time.monotonic, per_s=1000, burst=10_000), chance)
            place = await stack.enter_async_context(serving(told))
            return await _disturb(directory, kafka, between, told, place, rng, faults)


async def _disturb(
    directory: Path, kafka: broker.Broker, between: Network, told: Recorded, place: Serving, rng: random.Random,
    faults: Sequence[str],
) -> Found:  # fmt: skip
    rules = directory / "rules.yaml"
    rules.write_text(RULES)
    begin_s = int(time.time() - AGO_S) // 60 * 60
    minutes, agents = round(MINUTES_A_FAULT * len(faults)), min(80, 30 + len(faults) // 4)
    meant = list(stream(rng, begin_s, minutes, agents, INCIDENTS_AN_AGENT / minutes))
    sent = list(disturbed(meant, rng))
    chaos = Faults(directory, kafka, between, {
        "PAGERDUTY__URL": place.url, "PAGERDUTY__ROUTING_KEY": KEY, "MAX_PAGE_AGE": "0", "RULES": str(rules),
        "KAFKA__BOOTSTRAP_SERVERS": kafka.announced, "KAFKA__TOPICS": TOPIC, "KAFKA__GROUP": GROUP,
        "SAVE_EVERY": "100ms",
    }, TOPIC, rng)  # fmt: skip
    found = Found(Counter(faults))
    try:
        async with asyncio.TaskGroup() as group:
            seconds = FAULT_EVERY_S * len(faults)
            group.create_task(produce(kafka.addresses["FLEET"], TOPIC, sent, seconds, PARTITIONS))
            for kind in faults:
                seconds = rng.uniform(*FAULT_LASTS_S)
                await asyncio.sleep(FAULT_EVERY_S - seconds)
                await chaos.fail(kind, seconds)
        told.chance.share = 0.0
        log = await _read_back(kafka.addresses["FLEET"], len(sent))
        wanted, state = await asyncio.to_thread(expected, log, rules, place.url)
        ended = {key for key, bodies in wanted.items() if json.loads(bodies[-1])["event_action"] == "resolve"}
        await _all_told(told, ended, len(wanted) - len(ended))
        status = await asyncio.to_thread(chaos.daemon.stop)
    finally:
        if chaos.daemon.process.poll() is None:
            chaos.daemon.kill()
    _judge(found, told, set(wanted), ended, chaos)
    undisturbed, _ = await asyncio.to_thread(expected, meant, rules, place.url)
    if set(undisturbed) != set(wanted):
        found.wrong.append("batches that came twice or in another order changed what should be told")
    if status:
        found.wrong.append(f"the daemon ended with status {status}: {chaos.daemon.said[-2000:]}")
    try:
        same_state(directory / "state", state)
    except AssertionError as error:
        found.wrong.append(f"what was learnt is not what it should be: {error}")
    return found


async def _read_back(address: str, least: int) -> list[bytes]:
    """All values of the topic, as they were written one after another."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        parts = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends, records = await consumer.end_offsets(parts), list[ConsumerRecord]()
        async with asyncio.timeout(REST_S):
            while [part for part in parts if await consumer.position(part) < ends[part]]:
                batches = await consumer.getmany(timeout_ms=500)
                records += [record for batch in batches.values() for record in batch]
    finally:
        await consumer.stop()
    assert len(records) >= least, f"{len(records)} records in the log, {least} were sent"
    # The fleet writes one at a time, and stamps it with its own clock, which nobody puts.
    return [record.value for record in sorted(records, key=lambda one: (one.timestamp, one.offset))]


async def _all_told(told: Recorded, ended: set[str], still_open: int) -> None:
    """Wait until every incident that has ended is resolved where it was told, or for so long."""
    until_s = time.monotonic() + REST_S
    while time.monotonic() < until_s:
        over = {one["dedup_key"] for _, one in told.taken if one["event_action"] == "resolve"}
        if ended <= over and len(told.inner.open()) <= still_open:
            break
        await asyncio.sleep(0.2)
    await asyncio.sleep(2.0)  # For what should not come.


def _judge(found: Found, told: Recorded, wanted: set[str], ended: set[str], chaos: Faults) -> None:
    events = Counter((one["dedup_key"], one["event_action"]) for _, one in told.taken)
    heard, triggered = {key for key, _ in events}, {key for key, action in events if action == "trigger"}
    twice = told.twice()
    found.figures = {
        "incidents that should be told": len(wanted),
        "told when they began": len(triggered & wanted),
        "told as over, once the way was free": len((heard - triggered) & wanted),
        "lost": len(wanted - heard),
        "phantom": len(heard - wanted),
        "open, and should have ended": len({one.dedup_key for one in told.inner.open()} & ended),
        "incidents triggered again after their resolve": len(told.inner.incidents) - len(triggered),
        "posts whose answer was lost": sum(told.lost.values()),
        "posts sent twice besides": len(twice),
        "posts sent twice, a kill": round(len(twice) / max(len(chaos.killed), 1), 3),
        "partitions that another member held": chaos.taken,
        "times it said that it cannot save": chaos.said(["cannot save ("]),
        "times it said that its clock was put forward or back": chaos.said(["the wall clock was put"]),
    }
    for name in ("lost", "phantom", "open, and should have ended", "incidents triggered again after their resolve"):
        if found.figures[name]:
            found.wrong.append(f"{name}: {found.figures[name]:g}, and should be 0")
    if len(twice) > len(chaos.killed):
        found.wrong.append(f"posts sent twice: {len(twice)}, more than one a kill")


def shown(found: Found) -> Iterator[str]:
    """The table."""
    yield from (f"{count:6}  {kind}" for kind, count in sorted(found.faults.items()))
    yield from (f"{value:6g}  {name}" for name, value in found.figures.items())
    yield from (f" WRONG  {wrong}" for wrong in found.wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", nargs="+", choices=list(WEIGHTS), default=list(WEIGHTS), metavar="KIND",
                        help=f"faults of these kinds alone: {', '.join(WEIGHTS)}")  # fmt: skip
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # The fleet's own, about the broker that is gone.
    with tempfile.TemporaryDirectory() as directory:
        rng = random.Random(given.seed)
        found = asyncio.run(run(Path(directory), schedule(rng, given.faults, given.only), rng))
    print("\n".join(shown(found)))
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
