"""Rights that are missing on a real broker, one at a time: what is said names the topic or group, and the right."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from aiokafka.errors import KafkaError

from alertrules.silences import End
from service.batch import Record, SetAside, Signal
from service.exchange.report import Report
from service.sources import kafka as module
from service.sources import kafka_consumer
from service.sources.kafka import KafkaSource
from service.sources.kafka_consumer import text_of
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from service.sources.slots_topic import SlotsTopic
from service.standby import told_topic
from service.standby.lead import NotLeadingError
from service.standby.leading import Counts, Leading
from service.standby.lease import Lease
from service.store.entries import Entry
from tests.broker import make_topics, running
from tests.rights import LISTENER, On, Right, To, asking, give, login
from tests.service.test_kafka import reading, write

SPANS, UNREADABLE = "r_spans", "r_unreadable_spans"
SLOTS, STATE, REJECTED, TOLD = "tocsin.slots", "tocsin.state", "tocsin.rejected", "tocsin.told"
ALL = (
    Right(To.READ, On.TOPIC, SPANS), Right(To.READ, On.TOPIC, UNREADABLE), Right(To.READ, On.GROUP, "g"),
    Right(To.WRITE, On.TOPIC, SLOTS), Right(To.READ, On.TOPIC, STATE), Right(To.WRITE, On.TOPIC, STATE),
    Right(To.WRITE, On.TOPIC, REJECTED), Right(To.READ, On.TOPIC, TOLD), Right(To.WRITE, On.TOPIC, TOLD),
    Right(To.READ, On.GROUP, "g-lead"),
)  # fmt: skip
MISSING = {f"without-{right.to.name}-{right.name}".lower(): right for right in ALL}
TO_DO = "(kafka-acls.sh; see Rights in deploy/README.md)"


@dataclass(frozen=True)
class Asking:
    """A broker that asks; `open` is where who comes may do everything."""

    open: str
    login: str

    def settings(self, user: str, *topics: str, group: str = "g") -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.login, topics=topics or (SPANS,), group=group, **login(user))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Each user lacks one right of all that the roles need; `describes` may know of a topic and not read it."""
    with running(tmp_path_factory.mktemp("guarded"), asking([*MISSING, "describes", "may"])) as broker:
        make_topics(broker.address, dict.fromkeys((SPANS, UNREADABLE, SLOTS, STATE, REJECTED, TOLD), 1))
        rights = {user: [one for one in ALL if one is not lacks] for user, lacks in MISSING.items()}
        knows = [Right(To.DESCRIBE, On.TOPIC, UNREADABLE), Right(To.READ, On.GROUP, "g-describes")]
        give(broker.address, {**rights, "describes": knows, "may": ALL})
        yield Asking(broker.address, broker.addresses[LISTENER])


def without(right: str, name: str) -> str:
    return f"without-{right}-{name}".lower()


def made(settings: KafkaSettings) -> KafkaSource:
    return KafkaSource(settings, asyncio.Queue(4), {}, settings.sasl_username or "")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def test_read_on_the_group(guarded: Asking) -> None:
    """The start ends with it, in one sentence."""
    settings = guarded.settings(without("read", "g"))
    with pytest.raises(KafkaError) as raised:
        asyncio.run(made(settings).run())
    said = f"our user may not use consumer group g: give it the right Read there {TO_DO}"
    assert str(raised.value.args[0]) == f"cannot read from Kafka at {guarded.login}: {said}"


def test_read_on_a_topic(guarded: Asking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is named once in the log, and to /-/ready for as long; the others are read, and it too once it may be."""
    user, name = without("read", SPANS), SPANS
    for place in (module, kafka_consumer):
        monkeypatch.setattr(place, "METADATA_MS", 300)

    async def run() -> None:
        await write(guarded.open, UNREADABLE, [b"other"])
        await write(guarded.open, SPANS, [b"mine"])
        one = made(guarded.settings(user, SPANS, UNREADABLE))
        async with reading(one) as reader:
            await reader.until(1)
            assert reader.bodies == [b"other"] and one.topics.found
            said = f"Kafka: our user may not use topic {name}: give it the right Read there {TO_DO}"
            assert one.topics.problem == said
            await asyncio.to_thread(give, guarded.open, {user: [MISSING[user]]})
            await reader.until(2)
            assert reader.bodies == [b"other", b"mine"] and not one.topics.problem
        assert caplog.text.count(said) == 1

    asyncio.run(run())


def test_a_topic_that_may_be_known_and_not_read(guarded: Asking, caplog: pytest.LogCaptureFixture) -> None:
    """The group gives the partition, and its broker refuses each fetch: said once, told by /-/ready, tried again."""

    async def run() -> None:
        await write(guarded.open, UNREADABLE, [b"a"])
        one = made(guarded.settings("describes", UNREADABLE, group="g-describes"))
        async with reading(one) as reader:
            await until(lambda: one.restarts == 2)
            said = f"our user may not use topic {UNREADABLE}: give it the right Read there"
            assert said in one.refused and caplog.text.count(said) == 1
            await asyncio.to_thread(give, guarded.open, {"describes": [Right(To.READ, On.TOPIC, UNREADABLE)]})
            await until(lambda: bool(reader.bodies) and not one.refused)

    asyncio.run(run())


@pytest.mark.parametrize(("right", "topic"), [("write", SLOTS), ("write", STATE), ("read", STATE)])
def test_topics_between_machines(guarded: Asking, right: str, topic: str) -> None:
    """What role ingest cannot write, or a state that it cannot read, it says; both are tried again."""
    lacks = f"our user may not use topic {topic}: give it the right {right.capitalize()} there {TO_DO}"

    async def run() -> None:
        one = SlotsTopic(Security(guarded.settings(without(right, topic))), SLOTS)
        other = SlotsTopic(Security(guarded.settings("may")), SLOTS)
        try:
            if topic == SLOTS:
                assert not await one.report([Report("spans/0", {"spans": 1}, None, 0, None, False, 0)])
            else:
                where = await one.keep("spans/0", {"a": np.zeros(3)}, 1)
                assert (where is None) is (right == "write")
            if right == "read":
                where = await other.keep("spans/0", {"a": np.zeros(3)}, 1)
                assert where is not None
                with pytest.raises(KafkaError) as raised:
                    await one.state(where)
                assert text_of(raised.value) == lacks
            else:
                assert one.failing == f"cannot write to topic {topic}: {lacks}"
        finally:
            await one.close()
            await other.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("lacks", "named"),
    [(f"read-{TOLD}", f"topic {TOLD}"), ("read-g-lead", "consumer group g-lead"), (f"write-{TOLD}", f"topic {TOLD}")],
)
def test_rights_of_one_that_leads(guarded: Asking, lacks: str, named: str) -> None:
    """Without the group nobody leads, and without reading what was told nobody takes over: the right is named. Where
    that topic cannot be written, pages go on, and it is said."""
    security = Security(guarded.settings(f"without-{lacks}").model_copy(update={"told_topic": TOLD}))

    async def run() -> None:
        lease, counts = Lease(security, "g-lead", TOLD), Counts()
        member = asyncio.create_task(lease.run())
        try:
            if lacks == "read-g-lead":
                await until(lambda: f"may not use {named}: give it the right Read there {TO_DO}" in lease.problem)
                assert not lease.leads.is_set() and not lease.is_confirmed()
                return
            await until(lambda: lease.leads.is_set() and lease.is_confirmed())
            if lacks == f"read-{TOLD}":
                await write(guarded.open, TOLD, [b"{}"])
                with pytest.raises(KafkaError) as raised:
                    await told_topic.read(security, TOLD, 0)
                assert text_of(raised.value) == f"our user may not use {named}: give it the right Read there {TO_DO}"
                return
            leading = Leading(security, lease, counts, "me", "tocsin-1", (), 0)
            await leading.told(lambda: [Entry("{}", "a", "b", "delivered", "", 1)])
            assert f"may not use {named}: give it the right Write there {TO_DO}" in counts.problem
            assert counts.record_failures == 1
            with pytest.raises(NotLeadingError, match="no standby would hear of it"):
                await leading.hear([End("1f0c3a2b")], {})
            await leading.close()
        finally:
            lease.leave()
            await member

    asyncio.run(run())


def test_write_on_the_topic_for_what_is_set_aside(guarded: Asking, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and holds nobody up."""
    caplog.set_level(logging.ERROR)
    one = made(guarded.settings(without("write", REJECTED)))
    asyncio.run(one.reject([SetAside(Record(Signal.TRACES, b"bad", f"{SPANS}/0"), "IndexError: a bug")]))
    assert f"may not use topic {REJECTED}: give it the right Write there" in caplog.text


def test_every_right_is_documented() -> None:
    """The list in deploy/README.md has what these tests take away."""
    text = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    names = (SLOTS, STATE, REJECTED, TOLD, "tocsin", "tocsin-lead")
    assert all(f"--topic {name}" in text or f"--group {name}" in text for name in names)
