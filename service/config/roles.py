"""What a role needs of the settings, before anything is started."""

from service.batch import Signal
from service.config.settings import Role, Settings, SettingsError
from service.sources.topics import signal_of


def checked(settings: Settings) -> Settings:
    """The settings, fit for their role. Raises SettingsError with a line a problem."""
    kafka, problems = settings.kafka, list[str]()
    if settings.agentforce.instance_url and (kafka.bootstrap_servers or settings.role is not Role.ALL):
        raise SettingsError(
            "TOCSIN_AGENTFORCE__INSTANCE_URL: what is read of Agentforce comes half an hour late, and would hold up "
            "all else; give it an instance of role all without Kafka, with a data directory of its own"
        )
    if kafka.outcomes_topics:
        _check_outcomes(settings)
    if settings.role is Role.ALL:
        if kafka.told_topic:
            raise SettingsError(
                "TOCSIN_KAFKA__TOLD_TOPIC: others stand by for role detect alone; leave it out, or set "
                "TOCSIN_ROLE=detect"
            )
        return settings
    if settings.writeback.endpoint:
        problems.append(
            f"TOCSIN_WRITEBACK__ENDPOINT: role {settings.role} has no record of sessions, so there is nothing to write "
            "back; leave it out"
        )
    if settings.weekly.receiver:
        problems.append(
            f"TOCSIN_WEEKLY__RECEIVER: role {settings.role} has no record of sessions, and so no week to "
            "tell of; leave it out"
        )
    if not kafka.bootstrap_servers:
        problems.append(f"TOCSIN_KAFKA__BOOTSTRAP_SERVERS: role {settings.role} works through Kafka; say the brokers")
    if others := [topic for topic in kafka.topics if signal_of(topic) is not Signal.TRACES]:
        spans = [topic for topic in kafka.topics if topic not in others]
        problems.append(
            f"TOCSIN_KAFKA__TOPICS: roles ingest and detect read spans alone; write {' '.join(spans) or 'otlp_spans'}, "
            f"and leave {' '.join(others)} to an instance of role all, with a group and a data directory of its own"
        )
    if kafka.slots_topic in kafka.topics or kafka.slots_topic == kafka.state_topic:
        problems.append(f"TOCSIN_KAFKA__SLOTS_TOPIC: {kafka.slots_topic} is another topic, too; write one of its own")
    if kafka.told_topic and kafka.told_topic in (*kafka.topics, kafka.slots_topic, kafka.state_topic):
        problems.append(f"TOCSIN_KAFKA__TOLD_TOPIC: {kafka.told_topic} is another topic, too; write one of its own")
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _check_outcomes(settings: Settings) -> None:
    """Topics of outcomes need brokers and a record of sessions, and hold no telemetry. Raises SettingsError."""
    kafka, said = settings.kafka, "TOCSIN_KAFKA__OUTCOMES_TOPICS"
    if settings.role is not Role.ALL:
        raise SettingsError(f"{said}: role {settings.role} has no record of sessions to join outcomes to; leave it out")
    if not kafka.bootstrap_servers:
        raise SettingsError(f"{said}: say the brokers, too, in TOCSIN_KAFKA__BOOTSTRAP_SERVERS")
    if both := sorted({*kafka.topics} & {*kafka.outcomes_topics}):
        raise SettingsError(f"{said}: {' '.join(both)} is read as telemetry; take it out of TOCSIN_KAFKA__TOPICS")
