"""The topic that says what was told since the last state: what became of deliveries, and what people said.

One partition, in order, as one instance at a time leads. A record is JSON: `outbox` with rows that wait no more, or
`said` with a word and where in the reports it was heard. Hearing of a row again changes nothing; a word is heard once,
as its offset is saved with the state that has heard it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from alertrules.notice import from_json
from service.batch import Said
from service.sources.kafka_consumer import stopped
from service.sources.kafka_security import Security
from service.standby.spoken import packed, unpacked
from service.store.entries import STATES, Entry

log = logging.getLogger("tocsin.kafka")

TOLD_FORMAT = 1
STANDS_S = 30.0
"""How long the brokers may give nothing of what there is."""
RECORD_BYTES_MAX = 512 << 10
"""Of one record: brokers take a megabyte, unless they are told otherwise."""


@dataclass(frozen=True)
class Heard:
    """A word that a former leader heard.

    offset  of its record
    after   next offsets by partition of the reports that had been read then
    """

    word: Said
    offset: int
    after: Mapping[str, int]


@dataclass(frozen=True)
class Told:
    """What the topic says from some offset to its end.

    end      the offset after the last record
    strange  records that are not ours, or of a later version
    """

    rows: tuple[Entry, ...]
    words: tuple[Heard, ...]
    end: int
    strange: int


def place(topic: str) -> str:
    """What the offset of the words that a state has heard is saved under."""
    return f"{topic}/0"


def of_rows(rows: Sequence[Entry]) -> Iterator[bytes]:
    """Records of rows, each of a size that brokers take."""
    batch, size = list[Entry](), 0
    for row in rows:
        if batch and size + len(row.payload) > RECORD_BYTES_MAX:
            yield _record("outbox", rows=batch)
            batch, size = [], 0
        batch.append(row)
        size += len(row.payload)
    if batch:
        yield _record("outbox", rows=batch)


def of_word(word: Said, after: Mapping[str, int]) -> bytes:
    """The record of a word."""
    return _record("said", word=packed(word), after=dict(after))


def _record(kind: str, **fields: object) -> bytes:
    return json.dumps({"format": TOLD_FORMAT, "kind": kind, **fields}).encode()


def decoded(value: bytes, offset: int) -> list[Entry] | Heard:
    """What a record says. Raises ValueError where it is not one of ours."""
    try:
        fields = json.loads(value)
        if fields["format"] == TOLD_FORMAT and fields["kind"] == "said":
            return Heard(unpacked(fields["word"]), offset, {str(n): int(at) for n, at in fields["after"].items()})
        if fields["format"] == TOLD_FORMAT and fields["kind"] == "outbox":
            return [_entry(row) for row in fields["rows"]]
        raise ValueError(f"format {fields['format']!r:.20}, kind {fields['kind']!r:.20}")
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _entry(row: Sequence[object]) -> Entry:
    payload, destination, target, state, said, ended_ns = row
    texts = (payload, destination, target, state, said)
    if not all(isinstance(text, str) for text in texts) or state not in STATES or not isinstance(ended_ns, int):
        raise ValueError("a row is not one of an outbox")
    from_json(str(payload))
    return Entry(str(payload), str(destination), str(target), str(state), str(said), ended_ns)


async def read(security: Security, topic: str, begin: int) -> Told:
    """All of the topic from an offset on. Raises KafkaError or TimeoutError where the brokers do not give it."""
    there = TopicPartition(topic, 0)
    reader = AIOKafkaConsumer(
        **security.arguments(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
        client_rack=security.settings.rack,
    )  # fmt: skip
    rows, words, strange = list[Entry](), list[Heard](), 0
    try:
        async with asyncio.timeout(STANDS_S):
            await reader.start()
            reader.assign([there])
            first = (await reader.beginning_offsets([there]))[there]
            end = (await reader.end_offsets([there]))[there]
        begin = first if begin > end else max(begin, first)  # It was made anew, or forgot what is long ago.
        reader.seek(there, begin)
        moved_s = time.monotonic()
        while begin < end:
            for message in (await reader.getmany(there, timeout_ms=500)).get(there, ()):
                begin, moved_s = message.offset + 1, time.monotonic()
                try:
                    found = decoded(message.value or b"", message.offset)
                except ValueError as error:
                    strange += 1
                    log.error("%s/0 offset %d is not a record of ours: %s", topic, message.offset, error)
                    continue
                if isinstance(found, Heard):
                    words.append(found)
                else:
                    rows += found
            if time.monotonic() - moved_s > STANDS_S:
                raise TimeoutError
        return Told(tuple(rows), tuple(words), end, strange)
    finally:
        await stopped(reader)
