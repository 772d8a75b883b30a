"""Who leads: the member of a consumer group to whom the one partition of a topic is assigned.

Kafka gives the partition to another member only once this one has left, or was not heard for the session's time
(`lease_assignor.py`). So whoever was heard as a member of late is the only one that leads. `is_confirmed` asks for
that: the brokers have taken a heartbeat that was sent within LEASE_S, well under the session's time. A process that was
stopped for longer finds that its last heartbeat is too old before it does anything else.

A member that was taken for dead comes back under another id. Somebody else may have led meanwhile, so the lease is
lost then, although the partition may be its own again.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from service.sources.handed import Pointer, pointer
from service.sources.kafka_consumer import BEAT_MS, METADATA_MS, SHARED_SESSION_MS, Reassigned, stopped, text_of, until
from service.sources.kafka_security import Security
from service.standby.lease_assignor import ENDS, HAS_IT, assignor

log = logging.getLogger("tocsin.standby")

LEASE_S = 6.0
"""For how long a heartbeat counts. The brokers give the partition away ten seconds after it, at the earliest."""
LEASE_REBALANCE_MS = 30_000
LEASE_POLL_MS = 300
SEE_EVERY_S = 2.0
BROKERS_S = 5.0
"""How long the brokers may take to answer."""
AGAIN_FIRST_S, AGAIN_MAX_S = 1.0, 30.0
TEXT_MAX = 200
_LEAD_FORMAT = 1
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""It goes on while the machine is suspended, where there is such a clock."""


@dataclass(frozen=True)
class Standing:
    """What the group is told with its offset: who leads, and where the last state lies. One commit tells both.

    leader   who leads, for people
    state    where the last state lies; None before the first
    by       the instance that led last: its directory is further than that state
    at_s     when it was written, Unix time; 0 before the first
    """

    leader: str = ""
    state: Pointer | None = None
    by: str = ""
    at_s: float = 0.0

    def text(self) -> str:
        """What is committed."""
        state = self.state.text() if self.state else ""
        fields = {"leader": self.leader[:TEXT_MAX], "state": state, "by": self.by, "at_s": round(self.at_s, 3)}
        return json.dumps({"format": _LEAD_FORMAT, **fields}, separators=(",", ":"))


def standing(text: str) -> Standing:
    """What a leader committed; nothing where it is not of ours, or of a version that we do not know.

    >>> standing(Standing("host-a", None, "tocsin-1", 5.0).text())
    Standing(leader='host-a', state=None, by='tocsin-1', at_s=5.0)
    >>> standing("{")
    Standing(leader='', state=None, by='', at_s=0.0)
    """
    try:
        fields: Mapping[str, Any] = json.loads(text)
        if fields["format"] != _LEAD_FORMAT:
            return Standing()
        return Standing(str(fields["leader"]), pointer(fields["state"]), str(fields["by"]), float(fields["at_s"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Standing()


class Lease:
    """This instance's membership. One owner.

    leads  set while the partition is ours
    lost   set once it is not any more, after it was; until `renew`
    """

    def __init__(self, security: Security, group: str, topic: str) -> None:
        self._security, self._group, self._place = security, group, TopicPartition(topic, 0)
        self.leads, self.lost = asyncio.Event(), asyncio.Event()
        self.problem = "not a member of the group yet"  # Empty while the brokers take us for one.
        self.offset, self.standing = 0, Standing()  # As the group was told last, by whoever leads.
        self._leaving = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._member = ""  # The id under which we began to lead.
        self._holds = False
        self._beat_s = float("-inf")
        self._looked_s = float("-inf")
        self._broken: Exception | None = None

    def is_confirmed(self) -> bool:
        """Whether nobody else leads, for sure, at this moment."""
        return self._holds and not self.lost.is_set() and time.clock_gettime(_CLOCK) - self._beat_s < LEASE_S

    def renew(self) -> None:
        """After the lease was lost and nothing is done under it any more: lead again once the partition is ours."""
        self._member = ""
        self.lost.clear()
        if self._holds and self._consumer is not None:
            self._begin(self._consumer)

    def leave(self) -> None:
        """Leave the group: another member leads at once."""
        self._leaving.set()

    @property
    def has_left(self) -> bool:
        """Whether `leave` was said."""
        return self._leaving.is_set()

    async def run(self) -> None:
        """Be a member until `leave`. Whatever the brokers say is tried again."""
        again_s = AGAIN_FIRST_S
        while not self._leaving.is_set():
            try:
                await self._be_member()
            except (KafkaError, TimeoutError) as error:
                self._say(f"Kafka: {text_of(error)}")
                self._drop_lease()
                again_s = AGAIN_FIRST_S if self._beat_s > float("-inf") else min(2 * again_s, AGAIN_MAX_S)
                self._beat_s = float("-inf")
                await until(self._leaving, again_s)

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error("nobody may lead from here: %s", problem)
        self.problem = problem

    async def _be_member(self) -> None:
        made = AIOKafkaConsumer(
            **self._security.arguments(), group_id=self._group, enable_auto_commit=False, auto_offset_reset="latest",
            metadata_max_age_ms=METADATA_MS, session_timeout_ms=SHARED_SESSION_MS, heartbeat_interval_ms=BEAT_MS,
            rebalance_timeout_ms=LEASE_REBALANCE_MS,
            partition_assignment_strategy=(assignor(self._place.topic, self._says),),
        )  # fmt: skip
        self._broken = None
        try:
            await made.start()
            self._watch_beats(made)
            made.subscribe([self._place.topic], listener=Reassigned(self._revoked, self._given, self._fail))
            self._consumer = made
            while not self._leaving.is_set():
                await made.getmany(timeout_ms=LEASE_POLL_MS)
                if self._broken:
                    raise self._broken
                await self._look(made)
        finally:
            self._drop_lease()
            self._consumer = None
            await stopped(made)

    def _watch_beats(self, made: AIOKafkaConsumer) -> None:
        """Note when a heartbeat was sent that the brokers took; aiokafka tells nobody."""
        coordinator = made._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            sent_s, member = time.clock_gettime(_CLOCK), coordinator.member_id
            is_taken: bool = await beat()
            if is_taken and member == coordinator.member_id:
                self._beat_s = sent_s
            return is_taken

        coordinator._do_heartbeat = noted

    async def _look(self, made: AIOKafkaConsumer) -> None:
        """See who leads, and that the topic is there. Raises KafkaError or TimeoutError."""
        if time.monotonic() - self._looked_s < SEE_EVERY_S:
            return None
        self._looked_s = time.monotonic()
        self._security.reload()
        partitions = made.partitions_for_topic(self._place.topic)
        if not partitions:
            return self._say(
                f"Kafka has no topic {self._place.topic}: make it with one partition (deploy/README.md says how), or "
                "see TOCSIN_KAFKA__TOLD_TOPIC"
            )
        try:
            async with asyncio.timeout(BROKERS_S):
                await self._hear(made)
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, TopicAuthorizationFailedError):
                raise
            return self._say(f"no broker answers: {text_of(error)}")
        self._say("")
        return None

    async def _hear(self, made: AIOKafkaConsumer) -> None:
        found = (await made._coordinator.fetch_committed_offsets([self._place])).get(self._place)
        if found is not None and found.offset >= 0:
            self.offset, self.standing = int(found.offset), standing(str(found.metadata or ""))

    async def hear(self) -> None:
        """See what the group was told last, now. Raises KafkaError or TimeoutError."""
        if self._consumer is None:
            raise KafkaError("not a member of the group")
        async with asyncio.timeout(BROKERS_S):
            await self._hear(self._consumer)

    async def tell(self, offset: int, said: Standing) -> None:
        """Tell the group, which takes it from its leader alone. Raises KafkaError or TimeoutError."""
        if self._consumer is None or not self.is_confirmed():
            raise KafkaError("this instance does not lead any more")
        async with asyncio.timeout(BROKERS_S):
            await self._consumer.commit({self._place: (offset, said.text())})
        self.offset, self.standing = offset, said

    def _revoked(self) -> None:
        """The group assigns anew: whether the partition stays ours is known in a moment."""
        self._holds = False

    async def _given(self, partitions: set[TopicPartition]) -> None:
        made = self._consumer
        self._holds = self._place in partitions
        if partitions and made is not None:
            made.pause(*partitions)  # It is owned, not read.
        if not self._holds or made is None:
            self._drop_lease()
        elif not self._member:
            self._begin(made)
        elif made._coordinator.member_id != self._member:
            self._drop_lease()
            self._holds = True

    def _says(self) -> bytes:
        """What we say of ourselves: that we lead, under the id under which the group knows us now; or did."""
        if not self._member:
            return b""
        made = self._consumer
        return HAS_IT if made is not None and made._coordinator.member_id == self._member else ENDS

    def _begin(self, made: AIOKafkaConsumer) -> None:
        if not self.lost.is_set():
            self._member = made._coordinator.member_id
            self.leads.set()

    def _drop_lease(self) -> None:
        self._holds = False
        if self._member:
            self.lost.set()
        self.leads.clear()

    def _fail(self, error: Exception) -> None:
        self._broken = error
