"""Roles ingest and detect over a real broker: what they tell, and what they say where something is wrong."""

import asyncio
import dataclasses
import json
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.config.settings import load
from service.exchange.part import decoded as part
from service.exchange.report import decoded
from service.ingest.kernel.columns import Columns
from service.ingest.limits import IngestLimits
from service.ingest.otlp.scanner import Scanner
from service.ledger.session_file import SESSIONS_FILE, reading
from service.ledger.sessions import Sessions
from service.own_metrics.catalog import DECLARED
from service.partition_owner import PartitionOwner
from service.rule_files import read
from service.wiring import made
from tests.broker import make_topics
from tests.service.exchange.cluster import Cluster, differences, payloads, produce
from tests.service.exchange.dialogues import logs
from tests.service.exchange.machines import Owner
from tests.service.exchange.test_conversations import Alone
from tests.service.exchange.test_machines import alone, facts, streams
from tests.service.ingest.test_metrics import DELTA, counter, evaluation, points
from tests.service.ingest.wire import EPOCH_S, agent, body
from tests.service.replay import values
from tests.service.running import Running, running
from tests.service.test_kafka import write
from tests.service.test_pipeline import end_ns, rules

ROWS = 480


@pytest.fixture
def cluster(tmp_path: Path, kafka: str) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters on the broker, none of which outlives the test."""
    made: list[Cluster] = []

    def make(name: str, partitions: int, shares: int = 0, **settings: str) -> Cluster:
        made.append(Cluster(tmp_path, kafka, name, partitions, shares, **settings))
        return made[-1]

    yield make
    for one in made:
        one.end()


def web(one: Running, path: str) -> httpx.Response:
    """What its web server says, once it listens."""
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        if found := re.search(r"metrics(?: and API)? on (http://\S+)", one.said):
            return httpx.get(found[1] + path, trust_env=False)
        time.sleep(0.05)
    raise AssertionError(one.said)


def until(holds: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something holds within a while."""
    until_s = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < until_s:
        time.sleep(0.1)
    return held


def test_one_to_four_to_two_with_kills_and_a_rolling_restart(cluster: Callable[..., Cluster], kafka: str) -> None:
    """While a fleet runs instances come, are killed, restarted one by one, and go: detect tells what one undisturbed
    instance of role all tells, each notice once and word for word."""
    chance, system = random.Random(4), cluster("machines", 6, KAFKA__STATE_EVERY="1s")
    logs = streams(6, 4)
    expected = facts(alone(logs))
    fleet = Thread(target=lambda: asyncio.run(produce(kafka, logs, system.spans, range(ROWS), 0.03)))
    fleet.start()
    system.start("detect", "detect")
    system.start("i0", "ingest")
    time.sleep(3)
    for name in ("i1", "i2", "i3"):
        system.start(name, "ingest")
    time.sleep(3)
    for name in (f"i{chance.randrange(4)}", "detect"):
        system.running[name].kill()
        system.start(name, "detect" if name == "detect" else "ingest")
    fleet.join()
    for name in ("i0", "i1", "i2", "i3"):
        system.running[name].stop()
        if name in ("i0", "i2"):
            system.start(name, "ingest")
    told = system.until_told("detect", expected)
    assert differences(told, payloads(expected)) == []
    broken = [one.said[one.said.index("Traceback") :] for one in system.running.values() if "Traceback" in one.said]
    assert not broken, broken[0]
    shown = values(web(system.running["detect"], "/metrics").text)
    assert shown["tocsin_slot_gaps_total",] == 0
    assert len(told) == len(expected) >= 4


def test_what_an_instance_exports_and_says(cluster: Callable[..., Cluster], kafka: str) -> None:
    """Its metrics are declared ones; it is ready; detect says of which partition nobody reports, and of none else.

    Of the same topics ingest reads those of spans, and detect those of metrics and logs: what no span tells counts.
    """
    system = cluster("exported", 2, KAFKA__TOPICS="exported_logs exported_spans exported_metrics")
    make_topics(kafka, {"exported_metrics": 1, "exported_logs": 1})
    asyncio.run(produce(kafka, streams(2, 1), system.spans, range(60)))
    said: dict[str, Any] = {"gen_ai.token.type": "input", "gen_ai.provider.name": "openai"}
    said["gen_ai.request.model"] = "gpt-4o-mini"
    told = [
        points(
            counter("gen_ai.client.token.usage", 400.0, at, at - 60, DELTA, **said), resource={"service.name": service}
        )
        for at in (60.0, 120.0, 180.0)
        for service in ("shop", "silent")
    ]
    asyncio.run(write(kafka, "exported_metrics", told))
    asyncio.run(write(kafka, "exported_logs", [evaluation("pass", None, 100), b"no OTLP"]))
    one, detect = system.start("i0", "ingest"), system.start("detect", "detect")
    assert until(lambda: values(web(detect, "/metrics").text).get(("tocsin_slots_total",), 0) > 10)
    shown = web(one, "/metrics").text
    assert set(re.findall(r"(?m)^# TYPE (\S+) ", shown)) <= set(DECLARED)
    found = values(shown)
    assert found["tocsin_owned_partitions",] == 2 and found["tocsin_handovers_total", "beginning"] == 2
    assert found["tocsin_reports_total",] >= 2 and found["tocsin_role_info", "ingest"] == 1
    assert web(one, "/-/ready").text == "ready\n" and web(one, "/-/healthy").text == "ok\n"
    assert found["tocsin_points_total",] == found["tocsin_log_records_total",] == 0
    # Half of the points: spans of the other service tell its tokens themselves.
    priced = ("tocsin_priced_metric_tokens_total", "priced")
    assert until(lambda: values(web(detect, "/metrics").text).get(priced, 0) == 3 * 400)
    of_detect = values(web(detect, "/metrics").text)
    assert of_detect["tocsin_role_info", "detect"] == 1
    assert (of_detect["tocsin_points_total",], of_detect["tocsin_log_records_total",]) == (6, 1)
    assert of_detect["tocsin_dropped_total", "malformed"] == 1
    assert of_detect["tocsin_spans_total",] == found["tocsin_spans_total",]
    assert {name[1] for name in of_detect if name[0] == "tocsin_source_silent_seconds"} == {
        f"{system.spans}/0", f"{system.spans}/1"
    }  # fmt: skip
    assert not [name for name in of_detect if name[0] == "tocsin_kafka_unread_partition"]


def recorded(directory: Path) -> dict[tuple[bytes, int, int], tuple[object, ...]]:
    """The rows of the record in a data directory, by what makes a row one: of a name only half is told."""
    with closing(reading(directory)) as file:
        try:
            rows = file.execute("SELECT * FROM leg JOIN label ON label.id = leg.labels").fetchall()
        except sqlite3.OperationalError:
            return {}  # It has no table yet.
    found = {}
    for row in rows:
        key = row["session"][: 8 if row["named"] else 16]
        columns = tuple(row[name] for name in row.keys() if name not in ("id", "session", "labels"))  # noqa: SIM118
        found[key, row["first_ns"], row["last_ns"]] = columns
    return found


def test_detect_keeps_the_record_of_sessions(cluster: Callable[..., Cluster], kafka: str) -> None:
    """Over kills of all roles its rows are those of one instance of role all. A session is found by its name; late
    outcomes by the API and from Kafka are joined to it, and counted in their series."""
    system = cluster("record", 3, 4, KAFKA__STATE_EVERY="1s")
    begin_s = time.time() // 10 * 10 - EPOCH_S - 3600
    given = logs(3, 31, 22, 50, late=0, begin_s=begin_s)
    make_topics(kafka, {"record_outcomes": 1})
    expected = Sessions(system.directory, 10**18, 10**9, lambda name: name.encode())
    names = made(load(system.settings("i0", "ingest")), rules()).names
    one = Alone(given, IngestLimits(), begin_s, names)
    expected.add(one.legs.values())
    expected.write(time.time_ns())
    system.start("detect", "detect", TOCSIN_KAFKA__OUTCOMES_TOPICS="record_outcomes")
    for name, role in (("i0", "ingest"), ("i1", "ingest"), ("s0", "sum"), ("s1", "sum")):
        system.start(name, role)
    fleet = Thread(target=lambda: asyncio.run(produce(kafka, given, system.spans, range(len(given[0])), 0.03)))
    fleet.start()
    time.sleep(2)
    for name, role in (("i0", "ingest"), ("s0", "sum")):
        system.running[name].kill()
        system.start(name, role)
    time.sleep(2)
    system.running["detect"].kill()
    detect = system.start("detect", "detect", TOCSIN_KAFKA__OUTCOMES_TOPICS="record_outcomes")
    fleet.join()
    rows, directory = recorded(system.directory), system.directory / "detect" / "state"
    assert len(rows) > 50
    assert until(lambda: (directory / SESSIONS_FILE).exists() and recorded(directory) == rows, 120), [
        (mine.get(key), rows.get(key)) for mine in [recorded(directory)] for key in mine.keys() ^ rows.keys()
    ][:3]
    late = {"session": "conversation-7", "outcome": "resolved_7d", "value": True, "at": time.time() - 5}
    asyncio.run(write(kafka, "record_outcomes", [json.dumps(late | {"outcome": "csat"}).encode()]))
    base = str(web(detect, "/metrics").url).removesuffix("/metrics")
    answer = httpx.post(f"{base}/api/v1/outcomes", json=late, trust_env=False)
    assert answer.status_code == 200 and answer.json()["results"] == {"joined": 1}
    assert until(lambda: values(web(detect, "/metrics").text)["tocsin_late_outcomes_total", "joined"] == 2)
    assert until(lambda: values(web(detect, "/metrics").text)["tocsin_log_records_total",] == 2)
    told = web(detect, "/api/v1/sessions/conversation-7").json()
    assert told["named"] and {one["outcome"] for one in told["late_outcomes"]} == {"resolved_7d", "csat"}
    assert web(detect, "/api/v1/review?days=365").status_code == 200
    of_sum = [values(web(system.running[name], "/metrics").text) for name in ("s0", "s1")]
    assert all(shown["tocsin_role_info", "sum"] == 1 and shown["tocsin_owned_partitions",] == 2 for shown in of_sum)
    assert sum(shown["tocsin_sessions_closed_total",] for shown in of_sum) > 10
    silent = [name[1] for name in of_sum[0] if name[0] == "tocsin_source_silent_seconds"]
    assert sorted(silent) == [f"{system.spans}/{number}" for number in range(3)]
    assert values(web(detect, "/metrics").text)["tocsin_slot_gaps_total",] == 0
    assert "slots are reported in 4 shares, a partition of record.slots each" in system.running["i1"].said
    assert not [name for name, one in system.running.items() if "Traceback" in one.said]


def test_a_missing_topic_of_slots_is_said_and_waited_for(cluster: Callable[..., Cluster], kafka: str) -> None:
    """The instance is not ready, names the topic and the setting, reads on no further, and goes on once it is there."""
    system = cluster("untopical", 1, KAFKA__SLOTS_TOPIC="untopical.other")
    asyncio.run(produce(kafka, streams(1, 1), system.spans, range(60)))
    one = system.start("i0", "ingest")
    assert until(lambda: web(one, "/-/ready").status_code == 503 and "untopical.other" in web(one, "/-/ready").text, 60)
    assert "TOCSIN_KAFKA__SLOTS_TOPIC" in web(one, "/-/ready").text
    make_topics(kafka, {"untopical.other": 1})
    assert until(lambda: web(one, "/-/ready").text == "ready\n", 60), one.said
    assert "writing to Kafka works again" in one.said


def test_a_state_that_is_gone_is_said(cluster: Callable[..., Cluster], kafka: str) -> None:
    """Its topic was deleted: the next owner goes on from the offset without it, counts that, and says what is lost."""
    system = cluster("stateless", 1, KAFKA__STATE_EVERY="1s")
    asyncio.run(produce(kafka, streams(1, 1), system.spans, range(60)))
    one = system.start("i0", "ingest")
    assert until(lambda: values(web(one, "/metrics").text)["tocsin_states_total",] > 0)
    assert one.stop() == 0

    async def make_anew() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_topics([system.state])
        await admin.close()

    asyncio.run(make_anew())
    time.sleep(1)
    make_topics(kafka, {system.state: 1})
    again = system.start("i0", "ingest")
    assert until(lambda: values(web(again, "/metrics").text)["tocsin_handovers_total", "lost"] == 1)
    assert "begins without one at offset 60" in again.said


def test_a_topic_of_states_that_compacts_is_said(cluster: Callable[..., Cluster], kafka: str) -> None:
    """It would keep the last record of a state alone: the instance says so, with what to set, and loses nothing."""
    system = cluster("compacting", 1, KAFKA__STATE_EVERY="1s", KAFKA__STATE_TOPIC="compacting.compact")

    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        config = {"cleanup.policy": "compact"}
        await admin.create_topics([NewTopic("compacting.compact", 1, 1, topic_configs=config)])
        await admin.close()

    asyncio.run(make())
    asyncio.run(produce(kafka, streams(1, 1), system.spans, range(60)))
    one = system.start("i0", "ingest")
    assert until(lambda: "compacts" in web(one, "/-/ready").text, 60), web(one, "/-/ready").text + one.said
    assert web(one, "/-/ready").status_code == 503 and "cleanup.policy to delete" in one.said


class Faulty(Scanner):
    """A decoder with a bug, which one body shows."""

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        if any(b"poison" in body for body in bodies):
            raise RuntimeError("a bug")
        return super().scan(bodies)


def test_a_record_that_raises_is_set_aside(cluster: Callable[..., Cluster], kafka: str, tmp_path: Path) -> None:
    """Its partition goes back to its state, everything else counts once, and the record is kept for a person."""
    system = cluster("choosy", 1, KAFKA__REJECTED_TOPIC="choosy.rejected")
    make_topics(kafka, {"choosy.rejected": 1})
    logs = streams(1, 1)
    logs[0][30] = logs[0][30]._replace(body=body(agent(7, 7, 150, 155, "poison")))
    asyncio.run(produce(kafka, logs, system.spans, range(100)))
    settings = load(system.settings("poisoned", "ingest") | {"TOCSIN_WEB__LISTEN": "127.0.0.1:0"})

    async def run() -> None:
        one = PartitionOwner(settings, read(settings))
        one._made = dataclasses.replace(one._made, decoder=Faulty())
        async with asyncio.TaskGroup() as group:
            group.create_task(one.run())
            async with asyncio.timeout(40):
                while not (owned := one.owned.get(f"{system.spans}/0")) or owned.shard.next_offset < 100:
                    await asyncio.sleep(0.05)
            one.stop()

    asyncio.run(run())
    (kept,) = (settings.data_dir / "rejected").glob("*.bin")
    assert kept.read_bytes() == logs[0][30].body
    reports = [decoded(value) for value in asyncio.run(everything(kafka, system.slots))]
    told = [part(body) for report in reports for body in report.parts]
    counted = {one.place: float(one.slot.count.sum()) for one in told}
    owner, expected = Owner("spans/0", [*logs[0][:30], *logs[0][31:100]], {}), dict[tuple[int, int], float]()
    for index in range(99):
        for report in owner.read(1, end_ns(index)):
            expected |= {one.place: float(one.slot.count.sum()) for one in map(part, decoded(report).parts)}
    assert counted == expected
    rejected = asyncio.run(everything(kafka, "choosy.rejected"))
    assert rejected == [logs[0][30].body]


async def everything(address: str, topic: str) -> list[bytes]:
    """All values of a topic of one partition."""
    reader, there = AIOKafkaConsumer(bootstrap_servers=address), TopicPartition(topic, 0)
    await reader.start()
    try:
        reader.assign([there])
        await reader.seek_to_beginning(there)
        end, found = (await reader.end_offsets([there]))[there], list[bytes]()
        while await reader.position(there) < end:
            found += [one.value for one in (await reader.getmany(timeout_ms=500)).get(there, ())]
        return found
    finally:
        await reader.stop()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ROLE": "ingest"}, "TOCSIN_KAFKA__BOOTSTRAP_SERVERS: role ingest works through Kafka; say the brokers"),
        (
            {"ROLE": "ingest", "KAFKA__BOOTSTRAP_SERVERS": "x:1", "KAFKA__TOPICS": "otlp_metrics otlp_logs"},
            "TOCSIN_KAFKA__TOPICS: role ingest reads spans, and otlp_metrics otlp_logs hold metrics or logs",
        ),
        (
            {"ROLE": "ingest", "KAFKA__BOOTSTRAP_SERVERS": "x:1", "KAFKA__TOPICS": "tocsin.slots"},
            "TOCSIN_KAFKA__SLOTS_TOPIC: tocsin.slots is another topic, too",
        ),
        (
            {"ROLE": "sum", "KAFKA__BOOTSTRAP_SERVERS": "x:1", "KAFKA__TOPICS": "otlp_spans"},
            "TOCSIN_KAFKA__SUMS_TOPIC: role sum reports to it; write a topic, the same in all roles",
        ),
        ({"ROLE": "both"}, "TOCSIN_ROLE: Input should be 'all', 'ingest', 'sum' or 'detect'"),
    ],
)
def test_settings_that_do_not_fit_a_role(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    """What is wrong, and what to write."""
    with running(tmp_path, **settings) as one:
        status, lines = one.process.wait(30), one.said.splitlines()
    assert status == 2 and any(said in line for line in lines), lines
