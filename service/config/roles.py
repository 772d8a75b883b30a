"""What a role needs of the settings, before anything is started."""

from service.batch import Signal
from service.config.settings import Role, Settings, SettingsError
from service.sources.topics import signal_of


def checked(settings: Settings) -> Settings:
    """The settings, fit for their role, with the topics that it reads. Raises SettingsError with a line a problem."""
    kafka, problems = settings.kafka, list[str]()
    if why := _no_record(settings):
        problems += [f"{name}: {why}; leave it out" for name in _of_record(settings)]
    if settings.agentforce.instance_url and (kafka.bootstrap_servers or settings.role is not Role.ALL):
        raise SettingsError(
            "TOCSIN_AGENTFORCE__INSTANCE_URL: what is read of Agentforce comes half an hour late, and would hold up "
            "all else; give it an instance of role all without Kafka, with a data directory of its own"
        )
    if kafka.outcomes_topics and not why:
        problems += _outcomes_problems(settings)
    if settings.role is Role.ALL and kafka.told_topic:
        problems.append(
            "TOCSIN_KAFKA__TOLD_TOPIC: others stand by for role detect alone; leave it out, or set TOCSIN_ROLE=detect"
        )
    if settings.role is not Role.ALL:
        problems += _role_problems(settings)
    if problems:
        raise SettingsError("\n".join(problems))
    return settings.model_copy(update={"kafka": kafka.model_copy(update={"topics": _read(settings)})})


def _read(settings: Settings) -> tuple[str, ...]:
    """Those of the topics that are read in this role: spans where slots are made of them, the others where they are
    added up."""
    of_spans = {Role.INGEST: True, Role.DETECT: False}.get(settings.role)
    topics = settings.kafka.topics
    return tuple(one for one in topics if of_spans is None or (signal_of(one) is Signal.TRACES) == of_spans)


def _no_record(settings: Settings) -> str:
    """Why there is no record of sessions; empty where there is one."""
    if settings.role in (Role.INGEST, Role.SUM):
        return f"role {settings.role} has no record of sessions, which role detect keeps"
    return "" if settings.sessions.record else "TOCSIN_SESSIONS__RECORD=false, and it needs the record of sessions"


def _of_record(settings: Settings) -> list[str]:
    """The settings that are set of what needs a record of sessions."""
    said = {
        "TOCSIN_WRITEBACK__ENDPOINT": settings.writeback.endpoint, "TOCSIN_WEEKLY__RECEIVER": settings.weekly.receiver,
        "TOCSIN_KAFKA__OUTCOMES_TOPICS": settings.kafka.outcomes_topics,
    }  # fmt: skip
    return [name for name, value in said.items() if value]


def _role_problems(settings: Settings) -> list[str]:
    """What does not fit role ingest, sum or detect."""
    kafka, problems = settings.kafka, list[str]()
    if not kafka.bootstrap_servers:
        problems.append(f"TOCSIN_KAFKA__BOOTSTRAP_SERVERS: role {settings.role} works through Kafka; say the brokers")
    if settings.role is Role.INGEST and not _read(settings):
        problems.append(
            f"TOCSIN_KAFKA__TOPICS: role ingest reads spans, and {' '.join(kafka.topics)} hold metrics or logs, by "
            "their names; write a topic of spans, too, as otlp_spans: the word spans or traces in a name says so"
        )
    if kafka.slots_topic in kafka.topics or kafka.slots_topic == kafka.state_topic:
        problems.append(f"TOCSIN_KAFKA__SLOTS_TOPIC: {kafka.slots_topic} is another topic, too; write one of its own")
    if settings.role is Role.SUM and not kafka.sums_topic:
        problems.append("TOCSIN_KAFKA__SUMS_TOPIC: role sum reports to it; write a topic, the same in all roles")
    if kafka.sums_topic and kafka.sums_topic in (*kafka.topics, kafka.slots_topic, kafka.state_topic, kafka.told_topic):
        problems.append(f"TOCSIN_KAFKA__SUMS_TOPIC: {kafka.sums_topic} is another topic, too; write one of its own")
    if kafka.told_topic and kafka.told_topic in (*kafka.topics, kafka.slots_topic, kafka.state_topic):
        problems.append(f"TOCSIN_KAFKA__TOLD_TOPIC: {kafka.told_topic} is another topic, too; write one of its own")
    return problems


def _outcomes_problems(settings: Settings) -> list[str]:
    """Topics of outcomes need brokers, and hold no telemetry."""
    kafka, said, problems = settings.kafka, "TOCSIN_KAFKA__OUTCOMES_TOPICS", list[str]()
    if not kafka.bootstrap_servers:
        problems.append(f"{said}: say the brokers, too, in TOCSIN_KAFKA__BOOTSTRAP_SERVERS")
    if both := sorted({*kafka.topics} & {*kafka.outcomes_topics}):
        problems.append(f"{said}: {' '.join(both)} is read as telemetry; take it out of TOCSIN_KAFKA__TOPICS")
    if kafka.slots_topic in kafka.outcomes_topics:
        problems.append(f"{said}: {kafka.slots_topic} holds reports of slots; write another topic")
    return problems
