"""Every setting of the daemon: `TOCSIN_…` in the environment (`__` between levels), or its `…_FILE` for a secret."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from alertrules.links import Links
from detectors.core.calendar import UTC, Calendar
from detectors.core.columns import SECOND_NS
from service.config.local_settings import keep_file, policies, price_file, rates, shares
from service.config.setting_types import (
    Address,
    Duration,
    Headers,
    MaybeAddress,
    MaybeUrl,
    PageLink,
    Section,
    Size,
    Token,
    TraceLink,
    Words,
    duration,
    size_bytes,
)
from service.config.time_zone import calendar
from service.ingest.failures import names
from service.ingest.local import Override, Sampling
from service.notifiers.notifier import notifiers
from service.sampling.policy import Policy
from service.sources.agentforce_settings import AgentforceSettings
from service.sources.kafka_settings import KafkaSettings

PREFIX = "TOCSIN_"
NAMED = "__NAME"
"""End of a setting of which there may be many, each with a name of the operator's."""


def time_zone(name: object) -> object:
    """The calendar of a time zone."""
    return calendar(name) if isinstance(name, str) else name


PriceFile = Annotated[tuple[Override, ...], BeforeValidator(price_file)]
Names = Annotated[tuple[str, ...], BeforeValidator(names)]
Rates = Annotated[tuple[tuple[str, float], ...], BeforeValidator(rates)]
KeepFile = Annotated[Policy | None, BeforeValidator(keep_file)]
PolicyShares = Annotated[tuple[tuple[str, float], ...], BeforeValidator(policies)]
Shares = Annotated[Sampling | None, BeforeValidator(shares)]
Zone = Annotated[Calendar, BeforeValidator(time_zone)]


class Role(StrEnum):
    """What an instance does of the three stages."""

    ALL = "all"
    INGEST = "ingest"
    SUM = "sum"
    DETECT = "detect"


class OtlpSettings(Section):
    listen: Address = Field("127.0.0.1:4318", description="where OTLP/HTTP comes in")
    grpc_listen: MaybeAddress = Field("127.0.0.1:4317", description="where OTLP/gRPC comes in; empty: nowhere")
    token: Token | None = Field(None, description="what senders must send as Authorization: Bearer; none: nothing")
    tls_cert_file: Path | None = Field(None, description="PEM file of a certificate: both OTLP doors speak TLS then")
    tls_key_file: Path | None = Field(None, description="PEM file of its key, if not in the same file")
    body_max: Size = Field(64 << 20, description="largest body, unpacked; larger ones are answered 413")
    queue_max: int = Field(64, gt=0, description="bodies that may wait; then the door answers 429 with Retry-After")


class WebSettings(Section):
    listen: Address = Field("127.0.0.1:9464", description="where /metrics, /-/healthy, /-/ready and the API are")
    token: Token | None = Field(None, description="who sends it may mark pages; without one, this machine alone")
    tls_cert_file: Path | None = Field(None, description="PEM file of a certificate: it speaks TLS then")
    tls_key_file: Path | None = Field(None, description="PEM file of its key, if not in the same file")


class LinksSettings(Section):
    trace: TraceLink = Field("", description="a trace of a page's, as https://traces.example.com/trace/{trace_id}")
    dashboard: PageLink = Field(
        "", description="a dashboard of its agent then, with {agent}, {tenant}, {from_ms} and {to_ms} filled in"
    )
    alert: PageLink = Field("", description="the alert, as https://tocsin.example.com/api/v1/alerts/{alert_id}")
    runbook: PageLink = Field("", description="what to do, with {rule}, for rules that name no runbook")
    silence: PageLink = Field("", description="where it is silenced, with {labels} or {alert_id}")

    @property
    def templates(self) -> Links:
        return Links(self.trace, self.dashboard, self.alert, self.runbook, self.silence)


class LimitsSettings(Section):
    traces_max: int = Field(
        200_000, gt=0, le=10_000_000, description="live traces; one more ends the oldest, and its session with it"
    )
    spans_max: int = Field(
        2_000_000, gt=0, le=100_000_000, description="spans of live traces; one more ends the oldest trace"
    )
    pending_max: int = Field(
        1_000_000, gt=0, le=100_000_000, description="spans in open slots; with more the oldest slot closes early"
    )
    cells_max: int = Field(
        50_000, ge=2, le=10_000_000, description="label sets counted apart; later ones are counted together"
    )


class SessionsSettings(Section):
    record: bool = Field(
        True,
        description="whether what each session went through is recorded; roles ingest and detect need the same, as "
        "ingest reports it",
    )
    keep: Duration = Field(720 * 3600 * SECOND_NS, gt=0, description="how long what each session went through is kept")
    rows_max: int = Field(
        5_000_000,
        gt=0,
        le=1_000_000_000,
        description="legs of sessions kept, about 220 bytes each; the oldest go first",
    )


class WritebackSettings(Section):
    endpoint: MaybeUrl = Field(
        "",
        description="base URL of an OTLP/HTTP door, as http://collector:4318: outcomes that come late, and each week "
        "what foretold bad ends, are written there as spans and events; empty: nowhere",
    )
    headers: Headers | None = Field(
        None, description="headers that are sent with them, a secret, as authorization=Bearer …,x-scope=a"
    )


class WeeklySettings(Section):
    receiver: str = Field(
        "",
        description="receiver of the rule files that is told each Monday which sessions are worth a look, and what "
        "pages were worth; empty: nobody",
    )


_SECTIONS: dict[str, Any] = {kind: (one.settings, one.settings()) for kind, one in notifiers().items()}
NotifierSettings = create_model("NotifierSettings", __base__=Section, **_SECTIONS)
"""A section a notifier, as the notifier describes it. In a setting's name the notifier is the first level."""


class Settings(BaseSettings):
    """What `tocsin run` can be told. Frozen: a change needs a restart."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    role: Role = Field(
        Role.ALL,
        description="what this instance does: all; or, on several machines, ingest (reads a share of the topics of "
        "spans), detect (adds up what those count, judges and pages) or sum (between them, for very many spans: adds "
        "a share of it up)",
    )
    otlp: OtlpSettings = OtlpSettings()
    web: WebSettings = WebSettings()
    kafka: KafkaSettings = KafkaSettings()
    agentforce: AgentforceSettings = AgentforceSettings()
    links: LinksSettings = LinksSettings()
    limits: LimitsSettings = LimitsSettings()
    sessions: SessionsSettings = SessionsSettings()
    writeback: WritebackSettings = WritebackSettings()
    weekly: WeeklySettings = WeeklySettings()
    notifiers: NotifierSettings = NotifierSettings()
    rules: Words = Field((), description="rule files or directories; without any, the shipped packs")
    rules_watch: bool = Field(True, description="whether rule files that have changed are read again by themselves")
    data_dir: Path = Field(Path("tocsin-data"), description="where state is kept")
    decoder: Literal["compiled", "protobuf"] = Field(
        "compiled", description="what decodes traces; `protobuf` gives the same results, slower, to compare with"
    )
    prices: PriceFile = Field((), description="file of prices that no list has, or that are your own")
    rates: Rates = Field(
        (), description="dollars for one of a currency, as EUR=1.08, JPY=0.0067: a cost in any other is not read"
    )
    no_failures: Names = Field(
        (), description="exceptions of your own that are no failures, as NeedsApproval, beside the known ones"
    )
    sampling: Shares = Field(None, description="what the collector keeps, as errors=1 rest=0.1, where spans do not say")
    sampling_policies: PolicyShares = Field(
        (), description="what policies of its tail sampling keep, as errors=1, sample 1%=0.01, where it records them"
    )
    keep: KeepFile = Field(
        None, description="file that says which share of traces is worth keeping, and when; without one, as shipped"
    )
    lateness: Duration = Field(60 * SECOND_NS, description="how far behind the newest span the watermark stays")
    idle_hold: Duration = Field(
        300 * SECOND_NS,
        description="how long a Kafka partition, or a service over OTLP, that spoke steadily may hold "
        "event time once it is silent: what comes within it is not late, and pages of all others wait as long",
    )
    future_max: Duration = Field(300 * SECOND_NS, description="spans that end later than this after now are rejected")
    session_idle: Duration = Field(30 * SECOND_NS, description="quiet time after its root that closes a session")
    max_page_age: Duration = Field(3600 * SECOND_NS, description="older changes do not page; 0 = no limit")
    time_zone: Zone = Field(UTC, description="whose hours of day and week people keep, as Europe/Berlin")
    save_every: Duration = Field(
        5 * SECOND_NS,
        description="how often state is saved; less often where saves would take over a tenth of the time",
    )
    step_max: Duration = Field(300 * SECOND_NS, gt=0, description="a step or save that takes longer is said to hang")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` hands in what the environment says, and knows every problem in it.


class SettingsError(Exception):
    """What is wrong with the environment, one line a problem."""


def load(environ: dict[str, str]) -> Settings:
    """Settings from the environment, secrets from the files that `…_FILE` names. Raises SettingsError."""
    values: dict[str, Any] = {}
    problems = []
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX):
            try:
                _put(values, *_known(name, text, environ))
            except ValueError as problem:
                problems.append(str(problem))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += [f"{_name(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _known(name: str, text: str, environ: dict[str, str]) -> tuple[str, str]:
    """The setting that a variable means, and its text; raises ValueError with the line to print."""
    known = [setting for setting, *_ in table()]
    setting = name.removesuffix("_FILE")
    if name not in known and name != setting and (setting in known or _among(setting) in known):
        if setting in environ:
            raise ValueError(f"{name}: {setting} is set too; keep one of them")
        return setting, _read(name, text)
    if name not in known and _among(name) not in known:
        near = [one for one in known if one.rpartition("__")[0] == name.rpartition("__")[0]] or known
        raise ValueError(f"{name}: no such setting; there is {', '.join(near)}")
    return name, text


def _among(name: str) -> str:
    """The row of the table that stands for a setting of a name that the operator chose: `…__NAME`."""
    return name.rpartition("__")[0] + NAMED


def _put(values: dict[str, Any], name: str, text: str) -> None:
    *levels, last = name.removeprefix(PREFIX).lower().split("__")
    if levels and levels[0] in NotifierSettings.model_fields:
        levels.insert(0, "notifiers")
    for level in levels:
        values = values.setdefault(level, {})
    values[last] = text


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}") from None


def _name(location: tuple[int | str, ...]) -> str:
    known = {setting for setting, *_ in table()}
    parts = [str(part) for part in location if part != "notifiers"]
    # Pydantic may add the place in a list, or what kind of thing it expected.
    names = (PREFIX + "__".join(parts[:count]).upper() for count in range(len(parts), 0, -1))
    told = (name for name in names if name in known or _among(name) in known)
    return next(told, PREFIX + "__".join(parts).upper())


def table(section: type[BaseModel] = Settings, prefix: str = PREFIX) -> list[tuple[str, str, str]]:
    """(variable, default as one would write it, meaning) of every setting, in the order of the help."""
    rows: list[tuple[str, str, str]] = []
    for field, info in section.model_fields.items():
        name = prefix + field.upper()
        if isinstance(info.default, NotifierSettings):
            rows += table(NotifierSettings, prefix)
        elif isinstance(info.default, Section):
            rows += table(type(info.default), f"{name}__")
        elif isinstance(info.default, dict):
            rows.append((name + NAMED, "none", info.description or ""))
        else:
            rows.append((name, _written(info), info.description or ""))
    return rows


def _written(info: FieldInfo) -> str:
    """A setting's default as one would write it."""
    default = info.default
    if default is None or default in ((), ""):
        return "none"
    if isinstance(default, Calendar):
        return "UTC"
    if isinstance(default, tuple):
        return " ".join(default)
    if isinstance(default, StrEnum):
        return default.value
    if isinstance(default, bool):
        return str(default).lower()
    readers = [found.func for found in info.metadata if isinstance(found, BeforeValidator)]
    if duration in readers:
        return _in_units(default, (("h", 3600 * SECOND_NS), ("m", 60 * SECOND_NS), ("s", SECOND_NS)))
    if size_bytes in readers:
        return _in_units(default, (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)))
    return str(default)


def _in_units(amount: int, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next((unit, size) for unit, size in units if amount % size == 0)
    return f"{amount // size}{unit}"


def from_environment(more: Mapping[str, str] = MappingProxyType({})) -> Settings:
    """Settings of this process; `more` stands for what its options say."""
    return load(dict(os.environ) | dict(more))
