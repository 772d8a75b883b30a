"""A request that comes to the broker before the login on its connection."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalSaslStateError, KafkaError

from service.sources import kafka as module
from service.sources.kafka import KafkaSource
from service.sources.kafka_settings import KafkaSettings
from tests.broker import make_topics
from tests.service.test_kafka import reading, write


class Overtaken(KafkaSource):
    """One whose first requests arrive at the broker before its login does."""

    times = 1

    async def seek(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        self.times -= 1
        if self.times >= 0:
            raise IllegalSaslStateError
        await super().seek(consumer, partitions)


def test_a_request_that_overtakes_the_login(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, once: a broker that goes on asking for a login is not the one that was meant."""
    topic = "k18_overtaken_spans"
    make_topics(kafka, {topic: 1})
    monkeypatch.setattr(module, "AGAIN_FIRST_S", 0.1)

    async def run() -> None:
        await write(kafka, topic, [b"a"])
        settings = KafkaSettings(bootstrap_servers=kafka, group=topic, topics=(topic,))
        async with reading(Overtaken(settings, asyncio.Queue(4), {}, "me")) as reader:
            await reader.until(1)
        one = Overtaken(settings, asyncio.Queue(4), {}, "me")
        one.times = 2
        with pytest.raises(KafkaError, match="IllegalSaslState"):
            await one.run()

    asyncio.run(run())
