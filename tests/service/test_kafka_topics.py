"""Topics on a real broker that come later, are made anew, misspelt or changed, or lose records before they are read."""

import asyncio
import logging
import time
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete

from service.batch import Record, SetAside, Signal
from service.sources import kafka as module
from service.sources import kafka_consumer
from tests.broker import make_topics
from tests.service.ingest.wire import body, chat
from tests.service.running import running
from tests.service.test_deliver import until
from tests.service.test_kafka import committed, reading, source, write


def test_a_topic_made_later(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found soon after it is made."""
    topic = "k8_spans"
    monkeypatch.setattr(module, "METADATA_MS", 300)
    monkeypatch.setattr(kafka_consumer, "METADATA_MS", 300)

    async def run() -> None:
        async with reading(source(kafka, topic)) as reader:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(make_topics, kafka, {topic: 1})
            await write(kafka, topic, [b"a"])
            await reader.until(1)

    asyncio.run(run())


def test_a_topic_made_anew(kafka: str) -> None:
    """Offsets of the topic that was there before do not hide the new one's records."""
    topic = "k9_spans"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        await write(kafka, topic, [b"new"])
        async with reading(source(kafka, topic, saved={f"{topic}/0": 1000})) as reader:
            await reader.until(1)
            assert reader.bodies == [b"new"]
            reader.source.saved({f"{topic}/0": 1})
        assert await committed(kafka, topic) == 1
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_topics([topic])
        await admin.close()

    asyncio.run(run())


def test_a_topic_that_is_not_there(kafka: str, tmp_path: Path) -> None:
    """A misspelt topic is named, where people look; those that are there are read."""
    topic = "k12_spans"
    make_topics(kafka, {topic: 1})
    asyncio.run(write(kafka, topic, [body(chat(1, 1, 1, 2))]))
    topics = f"{topic} k12_misspelt"
    with running(tmp_path, KAFKA__BOOTSTRAP_SERVERS=kafka, KAFKA__TOPICS=topics, KAFKA__GROUP=topic) as daemon:
        _, web = daemon.addresses()
        until_s = time.monotonic() + 20
        while (
            'tocsin_kafka_topic_missing{topic="k12_misspelt"} 1.0'
            not in (text := httpx.get(f"{web}/metrics", trust_env=False).text)
            or "tocsin_spans_total 1.0" not in text
        ):
            assert time.monotonic() < until_s, daemon.said
            time.sleep(0.1)
        ready = httpx.get(f"{web}/-/ready", trust_env=False)
        assert ready.status_code == 200 and "but Kafka has no topic k12_misspelt" in ready.text
        assert f'topic_missing{{topic="{topic}"}} 0.0' in text


def test_the_topics_of_a_group_change(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another set of topics under the same group and name starts, and goes on where each topic was left."""
    monkeypatch.setattr(kafka_consumer, "SESSION_MS", 6_000)
    make_topics(kafka, {"k13_spans": 1, "k13_more_spans": 2})

    async def run() -> None:
        await write(kafka, "k13_spans", [b"a"])
        async with reading(source(kafka, "k13_spans")) as reader:
            await reader.until(1)
            reader.source.saved(reader.offsets)
        await write(kafka, "k13_more_spans", [b"b"])
        await write(kafka, "k13_spans", [b"c"])
        for topics, wanted in (
            (("k13_spans", "k13_more_spans"), {b"b", b"c"}),
            (("k13_more_spans",), {b"b"}),
        ):
            one = source(kafka, *topics)
            one.settings = one.settings.model_copy(update={"group": "k13_spans"})
            async with reading(one) as reader:
                await reader.until(len(wanted))
                assert set(reader.bodies) == wanted

    asyncio.run(run())


def test_partitions_that_are_added_are_read(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From their beginning; and event time is told of them before anything that is read after that."""
    topic = "k18_spans"
    make_topics(kafka, {topic: 1})
    monkeypatch.setattr(module, "METADATA_MS", 300)
    monkeypatch.setattr(kafka_consumer, "METADATA_MS", 300)

    async def run() -> None:
        await write(kafka, topic, [b"a"])
        async with reading(source(kafka, topic)) as reader:
            await reader.until(1)
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
            await admin.start()
            await admin.create_partitions({topic: NewPartitions(total_count=2)})
            await admin.close()
            producer = AIOKafkaProducer(bootstrap_servers=kafka, metadata_max_age_ms=300)
            await producer.start()
            await asyncio.sleep(1)
            await producer.send_and_wait(topic, b"b", partition=1)
            await producer.stop()
            await reader.until(2)
            assert reader.bodies == [b"a", b"b"] and not reader.source.lost
            assert reader.expected[-1] == (f"{topic}/0", f"{topic}/1")

    asyncio.run(run())


async def remake(address: str, topic: str, partitions: int = 1) -> None:
    """Delete a topic and make it again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        await asyncio.sleep(1)
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


@pytest.mark.parametrize("running_then", [True, False])
def test_a_topic_made_anew_with_more_records(kafka: str, monkeypatch: pytest.MonkeyPatch, running_then: bool) -> None:
    """Its id is another, so no record is passed over for an offset of the topic before it."""
    topic = f"k14_spans_{running_then}"
    make_topics(kafka, {topic: 1})
    monkeypatch.setattr(module, "METADATA_MS", 300)
    monkeypatch.setattr(kafka_consumer, "METADATA_MS", 300)

    async def run() -> None:
        await write(kafka, topic, [b"%d" % i for i in range(5)])
        async with reading(source(kafka, topic)) as reader:
            await reader.until(5)
            reader.source.saved(reader.offsets)
            state = dict(reader.offsets)
            assert set(state) == {topic, f"{topic}/0"}
            if running_then:
                await remake(kafka, topic)
                await write(kafka, topic, [b"new %d" % i for i in range(9)])
                async with asyncio.timeout(30):
                    while not {b"new %d" % i for i in range(9)} <= set(reader.bodies):
                        await asyncio.sleep(0.05)
        if not running_then:
            await remake(kafka, topic)
            await write(kafka, topic, [b"new %d" % i for i in range(9)])
            async with reading(source(kafka, topic, saved=state)) as reader:
                await reader.until(9)
                assert reader.bodies == [b"new %d" % i for i in range(9)]
                assert reader.offsets[topic] != state[topic]
                reader.source.saved(reader.offsets)
            assert await committed(kafka, topic) == 9

    asyncio.run(run())


async def delete_records(address: str, topic: str, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


@pytest.mark.parametrize("kept", [2, 0])
def test_records_that_expired_before_they_were_read(kafka: str, kept: int) -> None:
    """How many there were is counted, and reading goes on with the first that is there, now or later."""
    topic = f"k15_spans_{kept}"
    make_topics(kafka, {topic: 1})

    async def run() -> None:
        await write(kafka, topic, [b"%d" % i for i in range(10)])
        await delete_records(kafka, topic, 10 - kept)
        async with reading(source(kafka, topic, saved={f"{topic}/0": 3})) as reader:
            await reader.until(kept)
            await write(kafka, topic, [b"later"])
            await reader.until(kept + 1)
            assert reader.bodies == [b"8", b"9", b"later"][2 - kept :]
            assert reader.source.lost[topic] == 7 - kept
        stranger = source(kafka, topic, group=f"{topic}-stranger")
        async with reading(stranger) as reader:
            await reader.until(kept + 1)
            assert not reader.source.lost  # What one never knew of, one did not lose.

    asyncio.run(run())


def test_two_in_one_group_notice_each_other(kafka: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each says that another reads a part; once one has gone the other has all, and says that."""
    caplog.set_level(logging.INFO)
    topic = "k23_spans"
    make_topics(kafka, {topic: 2})

    async def run() -> None:
        async with reading(source(kafka, topic, instance="one")) as first:
            await until(lambda: len(first.source._sought) == 2)
            async with reading(source(kafka, topic, instance="two")) as second:
                await until(lambda: len(second.source._sought) == 1 and len(first.source._sought) == 1)
                for reader in (first, second):
                    assert reader.source._consumer is not None
                    for _ in range(2):  # One look may fall into a rebalance.
                        await reader.source.look(reader.source._consumer)
                    assert reader.source.elsewhere.count == 1
            await until(lambda: len(first.source._sought) == 2, 60)
            assert first.source._consumer is not None
            await first.source.look(first.source._consumer)
            assert first.source.elsewhere.count == 0

    asyncio.run(run())
    assert f"1 of 2 partitions are read by another member of group {topic}" in caplog.text
    assert "all partitions are read here again" in caplog.text


@pytest.mark.parametrize("there", [True, False])
def test_what_is_set_aside_goes_to_its_topic(kafka: str, caplog: pytest.LogCaptureFixture, there: bool) -> None:
    """As it came, with where it came from and why; where there is no such topic it is said, and holds nobody up."""
    topic = f"k17_rejected_{there}"
    make_topics(kafka, {"k17_spans": 1} | ({topic: 1} if there else {}))

    async def run() -> None:
        one = source(kafka, "k17_spans", rejected_topic=topic)
        begun_s = time.monotonic()
        await one.reject([SetAside(Record(Signal.TRACES, b"bad", "k17_spans/0"), "IndexError: a bug")])
        assert time.monotonic() - begun_s < 2 * module.REJECT_TIMEOUT_S
        if not there:
            return
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                message = await consumer.getone()
        finally:
            await consumer.stop()
        assert message.value == b"bad"
        assert dict(message.headers) == {"tocsin.partition": b"k17_spans/0", "tocsin.error": b"IndexError: a bug"}

    asyncio.run(run())
    assert ("1 records that were set aside cannot go to topic" in caplog.text) is not there
