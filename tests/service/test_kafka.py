"""The Kafka door on a real broker: every codec, both encodings, and where reading begins, goes on and stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from service.batch import Record, Signal
from service.demo.standins import PagerDutyStandIn, serving
from service.sources import kafka as module
from service.sources.arrival import Arrival
from service.sources.kafka import KafkaSource
from service.sources.kafka_settings import KafkaSettings
from tests.broker import make_topics
from tests.service.ingest.test_metrics import counter, points
from tests.service.ingest.wire import body, chat, json_body
from tests.service.replay import KEY, MINUTE_S, MONDAY_S
from tests.service.running import running


class Reader:
    """A source, and the daemon's part: takes what arrives."""

    def __init__(self, source: KafkaSource) -> None:
        self.source = source
        self.records: list[Record] = []
        self.offsets: dict[str, int] = {}
        self.expected: list[tuple[str, ...]] = []
        self.checked: dict[str, int] = {}
        self.stopped_by: BaseException | None = None

    async def take(self) -> None:
        while True:
            arrival = await self.source.arrivals.get()
            self.records += arrival.records
            self.offsets |= arrival.offsets
            self.expected += [] if arrival.expected is None else [arrival.expected]
            self.checked |= arrival.checked
            if arrival.answers is not None:
                arrival.answers.set_result(())

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.records) < count:
                await asyncio.sleep(0.01)

    @property
    def bodies(self) -> list[bytes]:
        return [record.body for record in self.records]


def source(
    address: str, *topics: str, saved: Mapping[str, int] | None = None, instance: str = "me", **more: Any
) -> KafkaSource:
    arrivals: asyncio.Queue[Arrival] = asyncio.Queue(4)
    settings = KafkaSettings(**{"bootstrap_servers": address, "group": topics[0], "topics": topics} | more)
    return KafkaSource(settings, arrivals, saved or {}, instance)


@asynccontextmanager
async def reading(one: KafkaSource) -> AsyncIterator[Reader]:
    """The source at work, which leaves cleanly at the end."""
    reader = Reader(one)
    run, take = asyncio.create_task(one.run()), asyncio.create_task(reader.take())
    try:
        yield reader
    finally:
        one.leave()
        await run
        take.cancel()


async def write(
    address: str, topic: str, values: Sequence[bytes | None], codec: str | None = None, at_ms: int | None = None
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, compression_type=codec, max_request_size=4 << 20)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"k", partition=0, timestamp_ms=at_ms)
    finally:
        await producer.stop()


async def committed(address: str, topic: str, group: str = "") -> int | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, group_id=group or topic, enable_auto_commit=False)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await consumer.stop()


def test_codecs_topics_and_tombstones(kafka: str) -> None:
    """Every codec is read; a topic's name says what it holds; a record without a value is counted and passed over."""
    topics = ("k1_otlp_spans", "k1_otlp_metrics", "k1_otlp_logs")
    make_topics(kafka, dict.fromkeys(topics, 1))

    async def run() -> None:
        codecs = (None, "gzip", "snappy", "lz4", "zstd")
        for codec in codecs:
            await write(kafka, topics[0], [str(codec).encode() * 100], codec)
        await write(kafka, topics[0], [None, b"last"])
        await write(kafka, topics[1], [b"m"])
        await write(kafka, topics[2], [b"l"])
        async with reading(source(kafka, *topics)) as reader:
            await reader.until(8)
            spans = [record.body for record in reader.records if record.signal is Signal.TRACES]
            assert spans == [*(str(codec).encode() * 100 for codec in codecs), b"last"]
            assert {record.signal: record.partition for record in reader.records} == {
                Signal.TRACES: f"{topics[0]}/0", Signal.METRICS: f"{topics[1]}/0", Signal.LOGS: f"{topics[2]}/0",
            }  # fmt: skip
            assert reader.source.empty == 1
            # Once before it is known which partitions there are, and once after.
            assert reader.expected == [(f"{topics[0]}/0",)] * 2
            assert reader.source.lag() == {f"{topic}/0": 0 for topic in topics}

    asyncio.run(run())


def test_a_large_record(kafka: str) -> None:
    """One larger than a fetch may be is read all the same."""
    make_topics(kafka, {"k2_spans": 1})
    large = bytes(range(256)) * 4000

    async def run() -> None:
        await write(kafka, "k2_spans", [large, b"after"])
        one = source(kafka, "k2_spans", fetch_bytes=64 << 10)
        async with reading(one) as reader:
            await reader.until(2)
            assert reader.bodies == [large, b"after"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("saved", "told", "first"), [(3, None, 3), (5, 2, 5), (2, 5, 5), (None, 4, 4), (None, None, 0)]
)
def test_where_reading_begins(kafka: str, saved: int | None, told: int | None, first: int) -> None:
    """At whichever is further, our state or the group; from the beginning if neither knows."""
    topic = f"k3_spans_{saved}_{told}"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        await write(kafka, topic, [b"%d" % i for i in range(8)])
        if told is not None:
            other = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=topic, enable_auto_commit=False)
            await other.start()
            other.assign([TopicPartition(topic, 0)])
            await other.commit({TopicPartition(topic, 0): told})
            await other.stop()
        state = {} if saved is None else {f"{topic}/0": saved}
        async with reading(source(kafka, topic, saved=state)) as reader:
            await reader.until(8 - first)
            await asyncio.sleep(0.2)
            assert reader.bodies == [b"%d" % i for i in range(first, 8)]

    asyncio.run(run())


@pytest.mark.parametrize("ago_s", [None, 3600, 0])
def test_where_a_new_group_begins(kafka: str, ago_s: int | None) -> None:
    """At the end, at records that are not older than asked, or after all of them; what it knows comes before that."""
    topic = f"k22_spans_{ago_s}"
    make_topics(kafka, {topic: 1})
    start = {None: "latest", 3600: "90m", 0: datetime.now(UTC) + timedelta(hours=1)}[ago_s]
    first = {None: 4, 3600: 2, 0: 4}[ago_s]

    async def run() -> None:
        old_ms, new_ms = (int((time.time() - hours * 3600) * 1000) for hours in (2, 1))
        await write(kafka, topic, [b"0", b"1"], at_ms=old_ms)
        await write(kafka, topic, [b"2", b"3"], at_ms=new_ms)
        async with reading(source(kafka, topic, start=start)) as reader:
            async with asyncio.timeout(20):
                while not reader.source._sought:
                    await asyncio.sleep(0.01)
            await write(kafka, topic, [b"4"])
            await reader.until(5 - first)
            assert reader.bodies == [b"%d" % i for i in range(first, 5)]
            reader.source.saved({f"{topic}/0": 3})
        async with reading(source(kafka, topic, start=start)) as reader:
            await reader.until(2)
            assert reader.bodies == [b"3", b"4"]

    asyncio.run(run())


def test_the_group_never_goes_back(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is known what the group was told, our older state is not told to the group, however long that takes."""
    topic, seek = "k21_spans", KafkaSource.seek
    make_topics(kafka, {topic: 1})

    async def slowly(one: KafkaSource, made: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        await asyncio.sleep(3 * module.POLL_S)
        await seek(one, made, partitions)

    monkeypatch.setattr(KafkaSource, "seek", slowly)

    async def run() -> None:
        await write(kafka, topic, [b"%d" % i for i in range(8)])
        other = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=topic, enable_auto_commit=False)
        await other.start()
        other.assign([TopicPartition(topic, 0)])
        await other.commit({TopicPartition(topic, 0): 5})
        await other.stop()
        async with reading(source(kafka, topic, saved={f"{topic}/0": 2})) as reader:
            await reader.until(3)
            assert reader.bodies == [b"5", b"6", b"7"]

    asyncio.run(run())


def test_nothing_is_committed_before_it_is_saved(kafka: str) -> None:
    """What was read is the daemon's; only what it has saved is the group's."""
    topic = "k4_spans"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        await write(kafka, topic, [b"a", b"b", b"c"])
        async with reading(source(kafka, topic)) as reader:
            await reader.until(3)
            await asyncio.sleep(0.7)
            assert await committed(kafka, topic) is None
            reader.source.saved({f"{topic}/0": 2})
        assert await committed(kafka, topic) == 2
        async with reading(source(kafka, topic)) as reader:
            await reader.until(1)
            assert reader.bodies == [b"c"]

    asyncio.run(run())


def test_a_rebalance_repeats_nothing(kafka: str) -> None:
    """Another member comes and goes; what we have read and not saved is not read again."""
    topic = "k5_spans"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        await write(kafka, topic, [b"a", b"b"])
        async with reading(source(kafka, topic)) as reader:
            await reader.until(2)
            other = AIOKafkaConsumer(topic, bootstrap_servers=kafka, group_id=topic, enable_auto_commit=False)
            joining = asyncio.create_task(other.start())
            await joining
            await other.stop()
            await write(kafka, topic, [b"c"])
            await reader.until(3)
            assert reader.bodies == [b"a", b"b", b"c"]

    asyncio.run(run())


def test_a_failed_rebalance(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from a consumer whose callback failed; a new one goes on where reading stopped."""
    topic = "k6_spans"
    make_topics(kafka, {topic: 1})
    monkeypatch.setattr(module, "AGAIN_FIRST_S", 0.1)

    async def run() -> None:
        await write(kafka, topic, [b"a"])
        async with reading(source(kafka, topic)) as reader:
            await reader.until(1)
            reader.source.fail(KafkaError("the seek failed"))
            await write(kafka, topic, [b"b"])
            await reader.until(2)
            assert reader.bodies == [b"a", b"b"]
            assert reader.source.restarts == 1

    asyncio.run(run())


class Barred(KafkaSource):
    """One whose seeks the broker refuses."""

    async def seek(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        raise KafkaError("not for you")


def test_a_failed_first_assignment(kafka: str) -> None:
    """Before anything could be read, a failed rebalance is the end, although aiokafka swallows it."""
    topic = "k7_spans"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        settings = KafkaSettings(bootstrap_servers=kafka, group=topic, topics=(topic,))
        one = Barred(settings, asyncio.Queue(4), {}, "me")
        with pytest.raises(KafkaError, match="not for you"):
            await one.run()

    asyncio.run(run())


def test_no_broker(tmp_path: Path) -> None:
    """It waits for the brokers, says so once, and takes in OTLP meanwhile."""
    with running(tmp_path, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1") as daemon:
        _, web = daemon.addresses()
        until_s = time.monotonic() + 20
        while "no Kafka broker has answered" not in (text := httpx.get(f"{web}/-/ready", trust_env=False).text):
            assert time.monotonic() < until_s, text
            time.sleep(0.2)
        said = [line for line in daemon.said.splitlines() if "Kafka at 127.0.0.1:1" in line]
        assert len(said) == 1 and "Connect call failed" in said[0]
        assert daemon.stop() == 0


def test_a_log_read_to_its_end_is_told(kafka: str) -> None:
    """Of a partition that has been read, and of an empty one; of nothing while what was fetched waits to be read."""
    topic = "k16_spans"
    make_topics(kafka, {topic: 2})

    async def run() -> None:
        await write(kafka, topic, [b"a"])
        async with reading(source(kafka, topic)) as reader:
            begun_ns = time.time_ns()
            async with asyncio.timeout(20):
                while len(reader.checked) < 2 or min(reader.checked.values()) < begun_ns:
                    await asyncio.sleep(0.05)
            assert set(reader.checked) == {f"{topic}/0", f"{topic}/1"}

    asyncio.run(run())


def test_both_encodings_through_the_daemon(kafka: str, tmp_path: Path) -> None:
    """otlp_proto and otlp_json are told apart by content, record by record; offsets follow the save."""
    topic = "k10_spans"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        await write(kafka, topic, [body(chat(1, 1, 1, 2)), json_body(chat(2, 2, 1, 2)), b"garbage"])

    asyncio.run(run())
    with running(tmp_path, KAFKA__BOOTSTRAP_SERVERS=kafka, KAFKA__TOPICS=topic, KAFKA__GROUP=topic) as daemon:
        daemon.addresses()
        for _ in range(200):
            if asyncio.run(committed(kafka, topic)) == 3:
                break
        assert daemon.stop() == 0, daemon.said
    assert asyncio.run(committed(kafka, topic)) == 3


METRIC_RULES = """
groups:
  - name: metrics
    rules:
      - {alert: Deep, detector: static, select: {metric: queue.depth}, signal: value, above: 99, window: 1m,
         by: [agent], keep_firing_for: 2m}
      - {alert: Busy, detector: static, select: {metric: queue.served}, signal: per_minute, above: 40, window: 1m,
         by: [agent], keep_firing_for: 2m}
"""


def test_metrics_to_a_page(kafka: str, tmp_path: Path) -> None:
    """Metric bodies of the topic otlp_metrics, where no spans come: a gauge and a counter page, each by itself."""
    group = "k11"
    make_topics(kafka, {"otlp_metrics": 1})
    (tmp_path / "rules.yaml").write_text(METRIC_RULES)
    bodies, served = [], 0.0
    for minute in range(30):
        at_s = MONDAY_S + minute * MINUTE_S
        served += 50.0 if 16 <= minute < 20 else 5.0
        depth = {"at": at_s, "as_double": 250.0 if 6 <= minute < 10 else 20.0}
        gauge = {"name": "queue.depth", "kind": "gauge", "points": [depth]}
        bodies.append(points(gauge, counter("queue.served", served, at_s, MONDAY_S - MINUTE_S)))

    async def run() -> PagerDutyStandIn:
        await write(kafka, "otlp_metrics", bodies)
        pagerduty = PagerDutyStandIn(time.monotonic)
        async with serving(pagerduty) as place:
            settings = {"KAFKA__BOOTSTRAP_SERVERS": kafka, "KAFKA__TOPICS": "otlp_metrics", "KAFKA__GROUP": group}
            told = {"PAGERDUTY__URL": place.url, "PAGERDUTY__ROUTING_KEY": KEY, "MAX_PAGE_AGE": "0"}
            with running(tmp_path, RULES=str(tmp_path / "rules.yaml"), **settings, **told) as daemon:
                await asyncio.to_thread(daemon.addresses)
                async with asyncio.timeout(20):
                    while await committed(kafka, "otlp_metrics", group) != len(bodies):
                        await asyncio.sleep(0.1)
                assert await asyncio.to_thread(daemon.stop) == 0, daemon.said
        return pagerduty

    pagerduty = asyncio.run(run())
    busy, deep = sorted(pagerduty.incidents, key=lambda incident: incident.summary)  # Each group has a sender.
    assert deep.summary.startswith("Deep: agent shop: value ") and busy.summary.startswith("Busy: agent shop: ")
    assert "value 250 (limit 99)" in deep.details["changed"][0]
    assert "per minute 50 (limit 40)" in busy.details["changed"][0]
    assert not pagerduty.open() and not pagerduty.dropped_resolves
