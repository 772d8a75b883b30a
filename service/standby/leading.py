"""An instance that leads: what it tells whoever leads next, while a daemon runs under it.

What becomes of a delivery, and what a person says, is written to the topic at once. The state, which has all that came
before, is written now and then. Where a record cannot be written, pages go on and it is tried again with the next one,
in order, so that no page is ever known without what was told before it.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from detectors.core.columns import SECOND_NS
from service.batch import Said
from service.runtime.batching import Taking
from service.sources import state_topic
from service.sources.kafka_consumer import text_of
from service.sources.kafka_security import Security
from service.sources.positions import Led
from service.sources.state_topic import REFUSED
from service.sources.topic_writer import WRITE_TIMEOUT_S, TopicWriter
from service.standby.lead import NotLeadingError
from service.standby.lease import Lease, Standing
from service.standby.rehearing import Rehearing
from service.standby.told_topic import Heard, of_rows, of_word, place
from service.standby.travelling import Taken
from service.store.entries import Entry
from service.store.sqlite import Store

log = logging.getLogger("tocsin.standby")

TOLD_TIMEOUT_S = 3.0
"""How long a record may take. Deliveries wait for it, so after one that failed the next try is as far away."""
STATES_LOOK_S = 0.2


@dataclass
class Counts:
    """What one process did for whoever leads next, since its start."""

    takeovers: dict[str, int] = field(default_factory=lambda: {"state": 0, "directory": 0, "lost": 0})
    records: int = 0
    record_failures: int = 0
    states: int = 0
    state_bytes: int = 0
    state_failures: int = 0
    problems: dict[str, str] = field(default_factory=dict)  # Why a topic took the last record or state not.

    @property
    def problem(self) -> str:
        """Why whoever leads next would not know all; empty while all is written."""
        return "; ".join(self.problems.values())


@dataclass(eq=False)
class _Record:
    """One that is to be written; its offset once it is."""

    value: bytes
    offset: int = -1


@dataclass(frozen=True, eq=False)
class _Taken:
    """A state that is to be written.

    covered  the offset before which the topic says nothing that this state does not have. It is the topic's end at the
             state before: what was being written down at this one was told since. Hearing of it again changes nothing
    """

    state: Taken
    covered: int


class Leading:
    """One time of leading. One owner, but for `saved`, which the saving thread calls.

    name      who leads, for people
    instance  whose state is written
    end       the offset after the last record of the topic as it began
    """

    def __init__(
        self, security: Security, lease: Lease, counts: Counts, name: str, instance: str, words: Sequence[Heard],
        end: int,
    ) -> None:  # fmt: skip
        self._settings, self._lease, self._counts = security.settings, lease, counts
        self._name, self._instance, self._words = name, instance, words
        self._next = self._ends = end
        self._topic = security.settings.told_topic
        self._records, self._states = (
            TopicWriter(security, 2, TOLD_TIMEOUT_S),
            TopicWriter(security, 0, WRITE_TIMEOUT_S),
        )
        self._unwritten: list[_Record] = []
        self._turn, self._keeping = asyncio.Lock(), asyncio.Lock()
        self._failed_s = self._kept_s = float("-inf")
        self._taken: _Taken | None = None

    def may_tell(self) -> bool:
        return self._lease.is_confirmed()

    async def told(self, rows: Callable[[], Sequence[Entry]]) -> None:
        records = [_Record(value) for value in of_rows(rows())]
        self._unwritten += records
        if records and time.monotonic() - self._failed_s > TOLD_TIMEOUT_S:
            await self._write(records[-1])

    async def hear(self, words: Sequence[Said], read: Mapping[str, int]) -> Mapping[str, int]:
        if not self._lease.is_confirmed():
            raise NotLeadingError("this instance does not lead any more; say it again in a moment")
        after = {name: at for name, at in read.items() if name.startswith(f"{self._settings.reports_topic}/")}
        records = [_Record(of_word(word, after)) for word in words]
        self._unwritten += records
        await self._write(records[-1])
        if records[-1].offset < 0 or not self._lease.is_confirmed():
            self._unwritten = [one for one in self._unwritten if one not in records]
            raise NotLeadingError(
                f"not taken in, as no standby would hear of it: {self._counts.problem or 'another one leads'}"
            )
        return {place(self._topic): records[-1].offset + 1}

    async def _write(self, last: _Record) -> None:
        """Write all that is not written yet, up to this one at least. Where that fails it is said once."""
        async with self._turn:
            if last.offset >= 0 or not self._unwritten:
                return  # Somebody has written it together with others.
            batch = list(self._unwritten)
            try:
                places = await self._records.write(self._topic, [(None, one.value, 0) for one in batch])
            except (KafkaError, TimeoutError) as error:
                self._counts.record_failures += 1
                self._failed_s = time.monotonic()
                self._failed(self._topic, error)
                return
            self._failed_s = float("-inf")
            for one, (_, offset) in zip(batch, places, strict=True):
                one.offset = offset
            self._unwritten = [one for one in self._unwritten if one.offset < 0]
            self._next = max(self._next, batch[-1].offset + 1)
            self._counts.records += len(batch)
            self._counts.problems.pop(self._topic, None)

    def _failed(self, topic: str, error: Exception) -> None:
        """Say it once."""
        problem = self._why(topic, error)
        if problem != self._counts.problems.get(topic):
            log.error("whoever leads next would not know all: %s", problem)
        self._counts.problems[topic] = problem

    def _why(self, topic: str, error: Exception) -> str:
        if isinstance(error, UnknownTopicOrPartitionError):
            return f"Kafka has no topic {topic}: make it (deploy/README.md says how)"
        if isinstance(error, REFUSED):
            return f"topic {topic} compacts, which would lose records without a key: set its cleanup.policy to delete"
        return f"cannot write to topic {topic}: {text_of(error, 'Write')}"

    def positions(self, saved: Mapping[str, int]) -> Led | None:
        read = self._settings.of_reports.topics
        return Led({name: at for name, at in saved.items() if name.rpartition("/")[0] in read})

    def taking(self, taking: Taking, saved: Mapping[str, int]) -> Taking | Rehearing:
        heard = saved.get(place(self._topic), 0)
        words = [word for word in self._words if word.offset >= heard]
        return Rehearing(taking, words, saved, place(self._topic)) if words else taking

    def saved(self, store: Store) -> None:
        if self._taken is not None or time.monotonic() - self._kept_s < self._settings.state_every / SECOND_NS:
            return
        self._kept_s, covered, self._ends = time.monotonic(), self._ends, self._next
        try:
            self._taken = _Taken(Taken(*store.whole()), covered)
        except (OSError, sqlite3.Error) as error:
            self._counts.state_failures += 1
            log.error("the state cannot be read to be written for whoever leads next: %s", error)

    async def run(self) -> None:
        """Write states as they come, and records that could not be written; until cancelled."""
        while True:
            await asyncio.sleep(STATES_LOOK_S)
            if self._unwritten and time.monotonic() - self._failed_s > TOLD_TIMEOUT_S:
                await self._write(self._unwritten[-1])
            async with self._keeping:
                if self._taken is not None:
                    await self._keep(self._taken)
                    self._taken = None

    async def ended(self, store: Store) -> None:
        async with self._keeping:
            if self._taken is not None:
                self._taken.state.close()
                self._taken = None
            if not self._lease.is_confirmed():
                return
            if self._unwritten:
                await self._write(self._unwritten[-1])
            # Nothing is being sent any more: the outbox has all that was written so far.
            await self._keep(_Taken(Taken(*await asyncio.to_thread(store.whole)), self._next))

    async def _keep(self, taken: _Taken) -> None:
        """Write a state and tell the group where it lies. Where that fails the next one is tried."""
        topic, size = self._settings.state_topic, taken.state.size
        try:
            if not self._lease.is_confirmed():
                return
            where = await state_topic.written(self._states, topic, self._topic, taken.state.pieces(), 0)
            await self._lease.tell(taken.covered, Standing(self._name, where, self._instance, time.time()))
        except (KafkaError, TimeoutError) as error:
            self._counts.state_failures += 1
            self._failed(topic, error)
            return
        finally:
            taken.state.close()
        self._counts.states += 1
        self._counts.state_bytes += size
        self._counts.problems.pop(topic, None)

    async def close(self) -> None:
        """Leave the brokers."""
        if self._taken:
            self._taken.state.close()
        await self._records.close()
        await self._states.close()
