"""An aiokafka consumer as Tocsin needs it, and its end, which aiokafka does not always manage by itself."""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from service.batch import SetAside
from service.sources.kafka_security import Security
from service.sources.positions import name_of

log = logging.getLogger("tocsin.kafka")

SESSION_MS, SHARED_SESSION_MS, REBALANCE_MS = 30_000, 10_000, 60_000
BEAT_MS = 1_000
"""After how long without a heartbeat a member is taken for dead: sooner where others take its partitions over."""
METADATA_MS = 10_000
"""How soon a topic that is made after our start is found."""
STOP_TIMEOUT_S, JOINING_STOP_S = 10.0, 1.0
"""How long a consumer may take to stop. One that is joining its group would wait until all others have joined."""


def consumer(security: Security, instance: str, is_shared: bool) -> AIOKafkaConsumer:
    """A consumer of the group that was not started yet.

    instance   names this daemon to the group for good: started again after any end, it has its partitions back at once
               instead of after the session of its former self has expired
    is_shared  others take its partitions over at its end, so it has no name there, leaves, and is missed soon

    With other topics it is another member: to one that is known by name Kafka gives back the partitions that it had,
    whatever it asks for now. So after a change of topics the group takes it in once its former session has expired.
    """
    settings = security.settings
    topics = zlib.crc32(" ".join(sorted(settings.topics)).encode())
    return AIOKafkaConsumer(
        **security.arguments(),
        client_rack=settings.rack,
        group_id=settings.group,
        group_instance_id=None if is_shared else f"{instance}-{topics:08x}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=settings.fetch_bytes,
        check_crcs=settings.check_crcs,
        metadata_max_age_ms=METADATA_MS,
        session_timeout_ms=SHARED_SESSION_MS if is_shared else SESSION_MS,
        heartbeat_interval_ms=BEAT_MS,
        rebalance_timeout_ms=REBALANCE_MS,
        # Sticky: a member that comes takes its share, the others keep theirs. Round robin for members of before.
        partition_assignment_strategy=(StickyPartitionAssignor, RoundRobinPartitionAssignor),
    )


async def rejected(security: Security, found: Sequence[SetAside]) -> None:
    """Write records that were set aside into their topic, with where each came from. Raises KafkaError."""
    producer = AIOKafkaProducer(**security.arguments(), max_request_size=64 << 20)
    await producer.start()
    try:
        for record, error in found:
            headers = [("tocsin.partition", record.partition.encode()), ("tocsin.error", error.encode())]
            await producer.send_and_wait(security.settings.rejected_topic, record.body, headers=headers)
    finally:
        await producer.stop()


async def stopped(one: AIOKafkaConsumer) -> None:
    """Stop a consumer, which may hang in a rebalance that never ends, or stop halfway where brokers are gone."""
    joins = getattr(one._coordinator, "_rejoin_needed_fut", None)
    patience_s = JOINING_STOP_S if joins is not None and joins.done() else STOP_TIMEOUT_S
    try:
        async with asyncio.timeout(patience_s):
            await one.stop()
        return
    except TimeoutError:
        log.warning("the consumer did not stop within %.0f s", patience_s)
    except KafkaError as error:
        log.warning("the consumer did not stop cleanly: %s", text_of(error))
    except asyncio.CancelledError:
        # It waits for fetches that it has cancelled, and lets their end out as if it were ours (aiokafka #647).
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
    await _abandoned(one)


async def _abandoned(one: AIOKafkaConsumer) -> None:
    """End what a stop has left running, which would ask for brokers for ever; there is no public way to."""
    coordinator, fetcher = one._coordinator, one._fetcher
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_fetch_task")
    tasks = [getattr(part, name, None) for part in (coordinator, fetcher) for name in names]
    left = [task for task in (*tasks, *getattr(fetcher, "_pending_tasks", ())) if task is not None and not task.done()]
    for task in left:
        task.cancel()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            if left:
                await asyncio.wait(left)
            await one._client.close()
    except TimeoutError:
        log.warning("the consumer's connections did not close within %.0f s", STOP_TIMEOUT_S)


async def until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for so long at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def text_of(error: Exception, right: str = "Read") -> str:
    """What an error of aiokafka says, or its type where it says nothing; of a right that is missing, which one.

    Of a TimeoutError, that nobody answered.

    right  what was about to be done to a topic
    """
    if isinstance(error, TimeoutError):
        return "no answer in time"
    said = error.args[0] if error.args else ""
    names = ", ".join(sorted(map(str, said))) if isinstance(said, Collection) and not isinstance(said, str) else said
    if isinstance(error, TopicAuthorizationFailedError):
        return missing_right(right, "topic", names)
    if isinstance(error, GroupAuthorizationFailedError):
        return missing_right("Read", "consumer group", names)
    if isinstance(error, ClusterAuthorizationFailedError):
        return missing_right("IdempotentWrite", "cluster", "")
    return str(said) if error.args else type(error).__name__


def missing_right(right: str, kind: str, name: str) -> str:
    """A right that the user has not whom the brokers know us as, and that it needs one.

    >>> missing_right("Read", "topic", "spans")
    'our user may not use topic spans: give it the right Read there (kafka-acls.sh; see Rights in deploy/README.md)'
    """
    where = f"{kind} {name}" if name else f"the {kind}"
    return (
        f"our user may not use {where}: give it the right {right} there (kafka-acls.sh; see Rights in deploy/README.md)"
    )


class Reassigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """What is to be done when partitions are taken, and given. aiokafka logs and swallows what a listener raises, so
    where `give` fails, `fail` is told: it must end the consumer by itself.
    """

    def __init__(
        self, take: Callable[[], None], give: Callable[[set[TopicPartition]], Awaitable[None]],
        fail: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        self._take, self._give, self._fail = take, give, fail

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._take()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("reading %s", ", ".join(sorted(name_of(p) for p in assigned)) or "nothing: no partition is ours")
        try:
            await self._give(assigned)
        except Exception as error:  # Any: swallowed, it would leave a daemon that reads nothing and says nothing.
            self._fail(error)
