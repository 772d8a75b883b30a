"""What settings describe of an instance: its pipeline, what each source partition is ingested by, what is read."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from alertrules.parse import RuleSet
from service.config.setting_types import header_pairs, revealed
from service.config.settings import Role, Settings
from service.delivery.client import authorities, new_client
from service.exchange.shard import Made
from service.ingest.join.join import Seed
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ledger.sessions import Sessions
from service.pipeline.front import Merging
from service.pipeline.pipeline import FORMAT, READABLE, Pipeline
from service.runtime.watchdog import Watchdog
from service.sources.agentforce_api import Api
from service.sources.agentforce_poll import AgentforceSource
from service.sources.arrival import Arrivals
from service.sources.handed import Handed
from service.sources.kafka import KafkaSource
from service.sources.kafka_security import Security
from service.sources.outcomes_topic import OutcomesTopic
from service.sources.positions import Led

if TYPE_CHECKING:
    from service.writeback.back import WriteBack


def pipeline(settings: Settings, rules: RuleSet) -> Pipeline:
    """The core of role all or detect, as the settings want it, before anything was read or restored."""
    bounds = _limits(settings)
    seed = secrets.randbits(63), secrets.randbits(63)  # Of what was saved, if there is anything.
    front = Merging(bounds, seed, _names(settings.kafka.group)) if settings.role is Role.DETECT else None
    return Pipeline(
        bounds, rules, settings.max_page_age, _decoder(settings), _local(settings), seed, settings.time_zone, front
    )


def writeback(
    settings: Settings, pipeline: Pipeline, now_ns: Callable[[], int], may_send: Callable[[], bool]
) -> "WriteBack | None":  # fmt: skip
    """What writes outcomes back, while it may; None where no endpoint is set."""
    said = settings.writeback
    if not said.endpoint:
        return None
    from service.writeback.back import WriteBack, sending  # Its SDK makes every start slower.

    to = sending(said.endpoint, header_pairs(revealed(said.headers)) if said.headers else {}, may_send)
    return WriteBack(to, settings.data_dir, lambda: pipeline.local.outcomes, now_ns)


def sessions(settings: Settings, pipeline: Pipeline, onward: "WriteBack | None") -> Sessions | None:
    """The record of sessions; None where it is not to be kept."""
    kept = settings.sessions
    if not kept.record:
        return None
    return Sessions(settings.data_dir, kept.keep, kept.rows_max, partial(key_of, pipeline), onward)


def outcomes_topic(
    settings: Settings, kept: Sessions | None, pipeline: Pipeline, work: Watchdog, now_ns: Callable[[], int]
) -> OutcomesTopic | None:
    """What reads outcomes from Kafka; None where no topic of them is set."""
    if kept is None or not settings.kafka.outcomes_topics:
        return None
    return OutcomesTopic(Security(settings.kafka), kept, work, lambda: pipeline.local.outcomes, now_ns)


def agentforce(settings: Settings, arrivals: Arrivals, offsets: Mapping[str, int]) -> AgentforceSource | None:
    """What reads Agentforce; None where no org is set. Raises ValueError where there are no authorities to trust."""
    said = settings.agentforce
    if not said.instance_url:
        return None
    client = new_client(1, authorities(os.environ))
    api = Api(said, client, settings.otlp.body_max, time.monotonic)
    return AgentforceSource(said, arrivals, offsets, api, time.time_ns)


def key_of(pipeline: Pipeline, session: str) -> bytes:
    """What stands for the session of a name."""
    return pipeline.ingest.key_of(session)


def made(settings: Settings, rules: RuleSet) -> Made:
    """What roles ingest and sum make of each partition that is theirs."""
    seed = secrets.randbits(63), secrets.randbits(63)  # Of the state that was left, if there is any.
    local = _local(settings, rules)
    names, tells = _names(settings.kafka.group), settings.kafka.keyed_by != "session"
    return Made(
        _limits(settings), _decoder(settings), local, seed, names, tells, settings.sessions.record, FORMAT, READABLE
    )


def _names(group: str) -> Seed:
    """What stands for a session's name begins with: instances that share partitions are of one group."""
    digest = hashlib.sha256(group.encode()).digest()
    return int.from_bytes(digest[:7], "big"), int.from_bytes(digest[8:15], "big")


def reports_or_spans(
    settings: Settings, arrivals: Arrivals, offsets: Mapping[str, int], instance: str, led: Led | None
) -> KafkaSource | None:  # fmt: skip
    """What reads Kafka: in role detect what the others report, too. None where no brokers are set."""
    if not settings.kafka.bootstrap_servers:
        return None
    read = settings.kafka.of_reports if settings.role is Role.DETECT else settings.kafka
    return KafkaSource(read, arrivals, offsets, instance, led=led)


def shared_source(settings: Settings, arrivals: Arrivals, instance: str, handed: Handed) -> KafkaSource:
    """What reads partitions that instances share: of spans, or in role sum of what was reported of them."""
    read = settings.kafka.of_slots if settings.role is Role.SUM else settings.kafka
    return KafkaSource(read, arrivals, {}, instance, handed)


def _limits(settings: Settings) -> IngestLimits:
    return IngestLimits(
        lateness_ns=settings.lateness,
        idle_hold_ns=settings.idle_hold,
        future_max_ns=settings.future_max,
        session_idle_ns=settings.session_idle,
        body_bytes_max=settings.otlp.body_max,
        **settings.limits.model_dump(),
    )


def _decoder(settings: Settings) -> Scanner | ProtobufDecoder:
    return Scanner() if settings.decoder == "compiled" else ProtobufDecoder()


def _local(settings: Settings, rules: RuleSet | None = None) -> Local:
    weights = {name: 1 / share for name, share in settings.sampling_policies}
    local = Local(settings.prices, settings.sampling, weights, frozenset(settings.no_failures), dict(settings.rates))
    return replace(local, outcomes=rules.outcomes) if rules else local
