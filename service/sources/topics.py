"""What Kafka says of the topics that are to be read: which of them there are, and the id that each was made with.

A topic that is deleted and made anew keeps its name and gets another id. Offsets of the former topic mean nothing in
the new one, and would skip its first records without a word. aiokafka asks for no ids, so we ask for them ourselves
(Metadata, version 10, which brokers since 2.8 answer).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from service.batch import Signal
from service.sources.kafka_consumer import missing_right
from service.sources.kafka_settings import KafkaSettings

log = logging.getLogger("tocsin.kafka")

UNKNOWN_TOPIC, FORBIDDEN_TOPIC = 3, 29
WORDS = {"spans": Signal.TRACES, "traces": Signal.TRACES, "metrics": Signal.METRICS, "logs": Signal.LOGS}


def signal_of(topic: str) -> Signal:
    """What a topic holds, by the words in its name; spans if it does not say.

    >>> signal_of("otlp_metrics"), signal_of("agents")
    (<Signal.METRICS: 'metrics'>, <Signal.TRACES: 'traces'>)
    """
    return next((signal for word, signal in WORDS.items() if word in topic.lower()), Signal.TRACES)


def signal_in(settings: KafkaSettings, topic: str) -> Signal:
    """What the records of a topic are taken for: reports of slots stand for spans, whatever their topic is called."""
    return Signal.TRACES if topic in settings.between else signal_of(topic)


def is_waited_for(settings: KafkaSettings, topic: str) -> bool:
    """Whether it is told how far a topic is read, as event time waits for it.

    Those of spans; or where their reports are read, all others, as those say themselves how far they go.
    """
    if settings.reports_topic in settings.topics:
        return topic != settings.reports_topic
    return signal_in(settings, topic) is Signal.TRACES


class _Uuid(AbstractType[int]):  # type: ignore[misc]
    """Sixteen bytes, as one number."""

    @classmethod
    def encode(cls, value: int) -> bytes:
        return value.to_bytes(16, "big")

    @classmethod
    def decode(cls, data: BytesIO) -> int:
        return int.from_bytes(data.read(16), "big")


_TAGS = ("tags", TaggedFields)
_TEXT = CompactString("utf-8")
_NODES = CompactArray(Int32)


class _Answer(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 3, 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                        ("replicas", _NODES), ("isr", _NODES), ("offline", _NODES), _TAGS,
                    ),
                ),
                ("topic_authorized_operations", Int32),
                _TAGS,
            ),
        ),
        ("cluster_authorized_operations", Int32),
        _TAGS,
    )  # fmt: skip


class _Question(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, FLEXIBLE_VERSION = 3, 10, True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class _Metadata(Request[_Question]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_Question]) -> _Question:
        return request_struct_class([(0, name, {}) for name in self._names], False, False, False, {})


@dataclass
class Topics:
    """The topics to read, as the brokers last told of them.

    setting  which says them
    needed   the one without which nothing can be done, if there is such a one
    ids      by topic; none where the brokers tell no ids
    missing  those that there are not
    forbidden  those that our user may not know of
    """

    names: tuple[str, ...]
    setting: str
    ids: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    needed: str = ""

    @classmethod
    def of(cls, settings: KafkaSettings, ids: dict[str, int]) -> "Topics":
        """Those of an instance, of which these ids are known."""
        needed = settings.reports_topic if settings.reports_topic in settings.topics else ""
        return cls(settings.topics, settings.name_of_topics, ids, needed=needed)

    @property
    def found(self) -> bool:
        """Whether any of them, and the one that is needed, is there to be read, as far as is known."""
        gone = {*self.missing, *self.forbidden}
        return len(gone) < len(self.names) and self.needed not in gone

    @property
    def problem(self) -> str:
        """What keeps some of them from being read, in words; empty where nothing does."""
        missing = f"Kafka has no topic {', '.join(self.missing)}; see {self.setting}" if self.missing else ""
        forbidden = f"Kafka: {missing_right('Read', 'topic', ', '.join(self.forbidden))}" if self.forbidden else ""
        return "; ".join(filter(None, (missing, forbidden)))

    async def look(self, consumer: AIOKafkaConsumer) -> Mapping[str, int]:
        """Ask a broker: the ids of the topics that there are. Raises KafkaError where none answers."""
        client = consumer._client
        try:
            answer = await client.send(client.get_random_node(), _Metadata(self.names))
        except (IncompatibleBrokerVersion, NotImplementedError):
            return {}  # Brokers before 2.8.
        found = {topic[1]: topic[2] for topic in answer.topics if topic[0] == 0}
        before, said = (*self.missing, *self.forbidden), self.problem
        self.missing, self.forbidden = (
            tuple(sorted(topic[1] for topic in answer.topics if topic[0] == code))
            for code in (UNKNOWN_TOPIC, FORBIDDEN_TOPIC)
        )
        if self.problem and self.problem != said:
            log.error("%s", self.problem)
        for topic in set(before) - {*self.missing, *self.forbidden}:
            log.info("topic %s is there now", topic)
        return found


class Elsewhere:
    """Partitions that another member of the group reads: each of both sees a part of every agent.

    count  how many there are, once that is more than a rebalance under way
    """

    def __init__(self, group: str) -> None:
        self.count = 0
        self._group, self._last = group, 0

    def look(self, consumer: AIOKafkaConsumer, topics: Sequence[str]) -> None:
        """Count them; what two looks have in common is said, and its end too."""
        every = sum(len(consumer.partitions_for_topic(topic) or ()) for topic in topics)
        now = max(0, every - len(consumer.assignment()))
        before, self.count, self._last = self.count, min(now, self._last), now
        if self.count and not before:
            log.error(
                "%d of %d partitions are read by another member of group %s: each sees a part of every agent; stop it, "
                "or give it another TOCSIN_KAFKA__GROUP", self.count, every, self._group,
            )  # fmt: skip
        elif before and not self.count:
            log.info("all partitions are read here again")
