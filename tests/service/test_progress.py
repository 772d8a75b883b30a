"""A partition that is not read although its log goes on is noticed, said once, and read again by a new consumer."""

import asyncio
import logging

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from detectors.core.columns import SECOND_NS
from service.sources import kafka as module
from service.sources.progress import Progress, StuckError
from tests.broker import make_topics
from tests.service.test_kafka import Reader, reading, source


def test_what_stands_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each time that it stood too long the consumer is replaced, and counted; that it moves again is said."""
    caplog.set_level(logging.INFO, "tocsin.kafka")
    one = Progress(60.0)
    for now_s in (0.0, 30.0, 60.0):
        one.look({"a/0": 5, "a/1": round(now_s)}, {"a/0": 9, "a/1": 100}, now_s)
    for now_s in (61.0, 123.0):
        with pytest.raises(StuckError):
            one.look({"a/0": 5, "a/1": round(now_s)}, {"a/0": 9, "a/1": 200}, now_s)
    assert one.made_anew == {"a": 2}
    assert one.stuck() == ["a/0 stands at offset 5 for more than 60 s, and ends at 9"]
    assert caplog.text.count("a/0 stands at offset 5") == 1
    one.look({}, {}, 123.5)
    one.look({"a/0": 7}, {"a/0": 9}, 124.0)
    assert "a/0 is read again, from offset 5" in caplog.text and not one.stuck()


def test_what_need_not_move_is_not_stuck() -> None:
    """A log that is read to its end, one that is ours no more, and time in which nobody asked for records."""
    one = Progress(60.0)
    one.look({"a/0": 9, "a/1": 1, "a/2": 1}, {"a/0": 9, "a/1": 2, "a/2": 2}, 0.0)
    one.excuse(50.0)
    one.look({"a/0": 9, "a/1": 1}, {"a/0": 9, "a/1": 2}, 100.0)
    with pytest.raises(StuckError):
        one.look({"a/0": 9, "a/1": 1, "a/2": 1}, {"a/0": 9, "a/1": 2, "a/2": 2}, 111.0)
    assert one.made_anew == {"a": 1} and [said.split()[0] for said in one.stuck()] == ["a/1"]


def test_a_consumer_that_is_stuck(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one that fetches nothing more of one of its partitions: all records come, each once, and it is counted."""
    topic = "progress_spans"
    make_topics(kafka, {topic: 2})
    monkeypatch.setattr(module, "METADATA_MS", 200)

    async def run() -> None:
        one = source(kafka, topic, stuck_after=SECOND_NS)
        async with reading(one) as reader:
            await write_round(kafka, topic, [b"a0", b"a1"])
            await reader.until(2)
            assert one._consumer is not None
            one._consumer.pause(TopicPartition(topic, 1))
            await write_round(kafka, topic, [b"b0", b"b1", b"c0", b"c1"])
            await told(reader)
            await reader.until(6)
            assert sorted(reader.bodies) == [b"a0", b"a1", b"b0", b"b1", b"c0", b"c1"]
            # On a busy machine the new consumer may take as long to join, and be replaced, too.
            assert one.restarts == one.progress.made_anew[topic] >= 1

    asyncio.run(run())


async def write_round(address: str, topic: str, values: list[bytes]) -> None:
    """Write to two partitions, in turn."""
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()
    for i, value in enumerate(values):
        await producer.send_and_wait(topic, value, partition=i % 2)
    await producer.stop()


async def told(reader: Reader) -> None:
    """Wait until it says which partition stands, and how far its log goes."""
    async with asyncio.timeout(20):
        while not (stuck := reader.source.progress.stuck()):
            await asyncio.sleep(0.01)
    assert stuck == ["progress_spans/1 stands at offset 1 for more than 1 s, and ends at 3"]
