"""Topics of plain JSON with outcomes of sessions that come late: what `POST /api/v1/outcomes` takes, a record each.

An offset is committed once the record of sessions holds what came before it. After a crash it comes again, and what the
record has already is counted as repeated.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from alertrules.outcome_classes import Outcomes
from service.ledger.late import Result, late_in
from service.ledger.session_file import SessionFileError
from service.ledger.sessions import Sessions
from service.runtime.watchdog import Watchdog
from service.sources.kafka_consumer import METADATA_MS, stopped, text_of
from service.sources.kafka_security import Security
from service.sources.positions import name_of
from service.sources.topics import Topics

log = logging.getLogger("tocsin.kafka")

RECORDS_AT_ONCE = 500
TRY_AGAIN_S, TRY_AGAIN_MAX_S = 1.0, 30.0
LOOK_EVERY_S, WRONG_EVERY_S = 30.0, 60.0


class OutcomesTopic:
    """The consumer of these topics, in a group of its own: that of the telemetry with `-outcomes` at its end.

    failing  why nothing is read; empty while it works
    topics   which of them there are
    lag      records not read yet, by partition
    """

    def __init__(
        self, security: Security, sessions: Sessions, work: Watchdog, outcomes: Callable[[], Outcomes],
        now_ns: Callable[[], int],
    ) -> None:  # fmt: skip
        self._security, self._sessions, self._work = security, sessions, work
        self._outcomes, self._now_ns = outcomes, now_ns
        self.topics = Topics(security.settings.outcomes_topics, "TOCSIN_KAFKA__OUTCOMES_TOPICS")
        self.failing, self.lag = "", dict[str, int]()
        self._looked_s = self._said_s = float("-inf")
        self._wait_s = TRY_AGAIN_S

    async def run(self) -> None:
        """Read for as long as the daemon runs; what goes wrong is said once, and tried again."""
        while True:
            made = self._consumer()
            try:
                await made.start()
                made.subscribe(self._security.settings.outcomes_topics)
                while True:
                    await self._take(made)
            except KafkaError as error:
                self._fails(text_of(error))
            except (sqlite3.Error, OSError, SessionFileError) as error:
                self._fails(f"the record of sessions cannot be written: {error}")
            finally:
                await stopped(made)
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(2 * self._wait_s, TRY_AGAIN_MAX_S)

    def _consumer(self) -> AIOKafkaConsumer:
        settings = self._security.settings
        return AIOKafkaConsumer(
            **self._security.arguments(), client_rack=settings.rack, group_id=f"{settings.group}-outcomes",
            enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed",
            max_partition_fetch_bytes=settings.fetch_bytes, check_crcs=settings.check_crcs,
            metadata_max_age_ms=METADATA_MS,
        )  # fmt: skip

    async def _take(self, made: AIOKafkaConsumer) -> None:
        """Take the next records, and commit them once they are written."""
        if time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            await self._look(made)
        found = await made.getmany(timeout_ms=1000, max_records=RECORDS_AT_ONCE)
        records = [one for some in found.values() for one in some if one.value is not None]
        wrong = await self._hear([one.value for one in records]) if records else {}
        if wrong:
            self._say(records, wrong)
        if found:
            await made.commit({partition: some[-1].offset + 1 for partition, some in found.items()})
        for partition in made.assignment():
            end, next_ = made.highwater(partition), await made.position(partition)
            self.lag[name_of(partition)] = max(0, (end or 0) - next_)
        if self.failing:
            log.info("outcomes are read from Kafka again")
        self.failing, self._wait_s = "", TRY_AGAIN_S

    async def _hear(self, values: Sequence[bytes]) -> dict[int, str]:
        """Have outcomes written; what is wrong with some, by their place. Raises what the record raises."""
        now_ns = self._now_ns()
        found, wrong = await asyncio.to_thread(late_in, values, now_ns, self._outcomes())
        self._sessions.late[Result.MALFORMED] += sum(map(len, wrong.values()))
        if found:
            await self._work.run("late outcomes", partial(self._sessions.hear, found, now_ns))
        return {place: problems[0].said for place, problems in wrong.items()}

    async def _look(self, made: AIOKafkaConsumer) -> None:
        """See which topics there are; those that there are not, or may not be read, are told in `/-/ready`."""
        self._looked_s = time.monotonic()
        await self.topics.look(made)

    def _say(self, records: Sequence["ConsumerRecord[bytes, bytes]"], wrong: dict[int, str]) -> None:
        """One line a minute: all of them are counted, and the first is an example."""
        if time.monotonic() - self._said_s < WRONG_EVERY_S:
            return
        self._said_s = time.monotonic()
        place, why = next(iter(wrong.items()))
        one = records[place]
        where = name_of(TopicPartition(one.topic, one.partition))
        log.warning("%s, offset %d: outcomes that cannot be read were left out: %s", where, one.offset, why)

    def _fails(self, why: str) -> None:
        if why != self.failing:
            log.error("outcomes are not read from Kafka: %s; it is tried again", why)
        self.failing = why
