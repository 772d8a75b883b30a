"""Settings of Kafka: where the brokers are, how they know us, what is read and from where."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from detectors.core.columns import SECOND_NS
from service.config.setting_types import Duration, Secret, Section, Size, Token, Url, duration, words


def topics(text: object) -> object:
    """A list of names that Kafka allows for a topic."""
    named = words(text)
    for name in named if isinstance(named, tuple) else ():
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name):
            raise ValueError(
                f'"{name[:80]}" is not a name of a topic; write names between spaces, as otlp_spans otlp_logs'
            )
    return named


class Protocol(StrEnum):
    """How the brokers' listener speaks, in Kafka's words."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


def start(text: object) -> object:
    """Where a group begins that has read nothing: `earliest`, `latest`, an age as `7d`, or a time as RFC 3339 has it.

    >>> start("earliest"), start("2026-11-01T00:00:00Z"), start("90s")
    ('earliest', datetime.datetime(2026, 11, 1, 0, 0, tzinfo=datetime.timezone.utc), 90000000000)
    """
    if not isinstance(text, str) or text in ("earliest", "latest"):
        return text
    try:
        return duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        said = f'"{text[:80]}" is not a place to start; write earliest, latest, 7d or 2026-11-01T00:00:00Z'
        raise ValueError(said) from None


def entry_point(text: object) -> object:
    """A function that gives tokens, as `package.module:function`."""
    if isinstance(text, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return text
    raise ValueError("this is not a function; write package.module:function")


def topic(text: object) -> object:
    """One name that Kafka allows for a topic."""
    named = topics(text)
    if isinstance(named, tuple) and len(named) != 1:
        raise ValueError("this is not one topic; write one name")
    return named[0] if isinstance(named, tuple) else named


def maybe_topic(text: object) -> object:
    """One name that Kafka allows for a topic, or nothing."""
    return topic(text) if text != "" else text


Topic = Annotated[str, BeforeValidator(topic)]
MaybeTopic = Annotated[str, BeforeValidator(maybe_topic)]
Topics = Annotated[tuple[str, ...], BeforeValidator(topics)]
Start = Annotated[Literal["earliest", "latest"] | int | datetime, BeforeValidator(start)]


class KafkaSettings(Section):
    bootstrap_servers: str | None = Field(None, description="brokers as HOST:PORT,…; without them Kafka is not read")
    group: str = Field("tocsin", description="consumer group")
    topics: Topics = Field(
        ("otlp_spans", "otlp_metrics", "otlp_logs"),
        min_length=1,
        description="topics to read; the word spans, traces, metrics or logs in a name says what it holds. All roles "
        "may be given the same: ingest reads those of spans, detect those of metrics and logs",
    )
    start: Start = Field(
        "earliest",
        description="where a group begins that has read nothing yet: earliest, latest, an age (7d) or a time "
        "(2026-11-01T00:00:00Z). What is old is learnt from and pages nothing",
    )
    outcomes_topics: Topics = Field(
        (), description="topics of plain JSON with outcomes of sessions, as POST /api/v1/outcomes takes them"
    )
    rejected_topic: str = Field("tocsin.rejected", description="where records go that cannot be read without an error")
    slots_topic: Topic = Field(
        "tocsin.slots", description="where instances of role ingest report slots, for role detect, or for role sum"
    )
    sums_topic: MaybeTopic = Field(
        "",
        description="where instances of role sum report slots, added up, for role detect. With it role ingest tells "
        "each partition of TOCSIN_KAFKA__SLOTS_TOPIC a share of its cells and sessions. The same in all roles; empty: "
        "there is no role sum",
    )
    state_topic: Topic = Field(
        "tocsin.state",
        description="where instances of roles ingest and sum leave the state of a partition for its next owner, and "
        "role detect its own for whoever leads next",
    )
    state_every: Duration = Field(
        300 * SECOND_NS,
        gt=0,
        description="how often such a state is written: what came since is read again by the next owner",
    )
    told_topic: MaybeTopic = Field(
        "",
        description="where the instance of role detect that leads says what it told, and what people said. With it "
        "several may run, of which one leads; empty: one instance, and nobody stands by",
    )
    stuck_after: Duration = Field(
        60 * SECOND_NS,
        gt=0,
        description="how long a partition may stand although its log goes on, before the consumer is made anew",
    )
    keyed_by: Literal["trace", "session"] = Field(
        "trace",
        description="what producers key records of spans by: trace, or session where all of a session lies on one "
        "partition, so that role ingest need not tell its traces to role detect",
    )
    fetch_bytes: Size = Field(1 << 20, description="most that one fetch takes from a partition")
    check_crcs: bool = Field(True, description="whether record checksums are verified")
    client_id: str = Field("tocsin", description="what the brokers' logs and quotas call this client")
    rack: str | None = Field(None, description="rack or zone of this machine: fetches go to a replica in it, if any")
    security_protocol: Protocol = Field(
        Protocol.PLAINTEXT, description="of the brokers' listener: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    ssl_ca_file: Path | None = Field(None, description="PEM file of authorities to trust instead of the system's")
    ssl_cert_file: Path | None = Field(None, description="PEM file of our certificate, where brokers ask for one")
    ssl_key_file: Path | None = Field(None, description="PEM file of its key, if not in the same file")
    ssl_key_password: Token | None = Field(None, description="password of that key")
    ssl_check_hostname: bool = Field(True, description="whether a broker's certificate must be of its host name")
    sasl_mechanism: Mechanism | None = Field(
        None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; with SASL_… protocols"
    )
    sasl_username: str | None = Field(None, description="user of PLAIN and SCRAM")
    sasl_password: Token | None = Field(None, description="its password")
    oauth_token_url: Url | None = Field(None, description="endpoint that gives tokens for client credentials")
    oauth_client_id: str | None = Field(None, description="client of that endpoint")
    oauth_client_secret: Secret | None = Field(None, description="its secret")
    oauth_scope: str | None = Field(None, description="scope to ask for")
    oauth_token_path: Path | None = Field(None, description="file that holds a token, read anew for each connection")
    oauth_provider: Annotated[str, BeforeValidator(entry_point)] | None = Field(
        None, description="function that returns a token, as package.module:function; for the IAM of a cloud"
    )

    @property
    def reports_topic(self) -> str:
        """Where role detect reads what the others report."""
        return self.sums_topic or self.slots_topic

    @property
    def of_reports(self) -> "KafkaSettings":
        """The same of an instance of role detect: it reads what the others report, too, in a group of its own."""
        return self.model_copy(update={"topics": (self.reports_topic, *self.topics), "group": f"{self.group}-detect"})

    @property
    def of_slots(self) -> "KafkaSettings":
        """The same of instances of role sum, which share what role ingest reports, in a group of their own."""
        update = {"topics": (self.slots_topic,), "group": f"{self.group}-sum", "start": "earliest"}
        return self.model_copy(update=update)

    @property
    def between(self) -> Mapping[str, str]:
        """The topics of reports, each with the setting that names it."""
        named = {self.slots_topic: "TOCSIN_KAFKA__SLOTS_TOPIC"}
        return named | {self.sums_topic: "TOCSIN_KAFKA__SUMS_TOPIC"} if self.sums_topic else named

    @property
    def lead_group(self) -> str:
        """The consumer group whose one member with a partition leads."""
        return f"{self.group}-lead"

    @property
    def name_of_topics(self) -> str:
        """The settings that say which topics are read."""
        named = [self.between.get(topic, "TOCSIN_KAFKA__TOPICS") for topic in self.topics]
        return " and ".join(dict.fromkeys(named))


def secret(text: SecretStr | None) -> str | None:
    """The text of a secret that is set."""
    return text.get_secret_value() if text else None
