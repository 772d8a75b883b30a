"""Every setting of the daemon: `TOCSIN_…` in the environment (`__` between levels), or its `…_FILE` for a secret."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from alertrules.quantities import duration_ns
from detectors.core.calendar import UTC, Calendar
from detectors.core.columns import SECOND_NS
from service.ingest.failures import names
from service.ingest.local import Override, Sampling
from service.local_settings import policies, price_file, rates, shares
from service.time_zone import calendar

PREFIX = "TOCSIN_"
SIZES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def duration(text: object) -> int:
    """Nanoseconds: of text as Prometheus writes durations, or given as such by a program."""
    return text if isinstance(text, int) and not isinstance(text, bool) else duration_ns(text)


def size_bytes(text: object) -> object:
    """Bytes of a size with or without a unit.

    >>> size_bytes("2MiB"), size_bytes("512")
    (2097152, 512)
    """
    if isinstance(text, int):
        return text
    m = re.fullmatch(r"(\d+)\s*([a-zA-Z]*)", str(text))
    if not m or m[2].lower() not in SIZES:
        raise ValueError(f'"{text}" is not a size; write 512KiB, 2MiB or a number of bytes')
    return int(m[1]) * SIZES[m[2].lower()]


def listen_address(text: object) -> object:
    """A host and port, as `127.0.0.1:4318`; port 0 takes a free one."""
    m = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})", str(text), re.ASCII)
    if not m or int(m[2]) > 65_535:
        raise ValueError(f'"{text}" is not an address; write HOST:PORT, as 127.0.0.1:4318')
    return text


def words(text: object) -> object:
    """A list from words between spaces or commas.

    >>> words("a, b"), words(" ")
    (('a', 'b'), ())
    """
    return tuple(re.findall(r"[^\s,]+", text)) if isinstance(text, str) else text


def topics(text: object) -> object:
    """A list of names that Kafka allows for a topic."""
    named = words(text)
    for name in named if isinstance(named, tuple) else ():
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name):
            raise ValueError(
                f'"{name[:80]}" is no name of a topic; write names between spaces, as otlp_spans otlp_logs'
            )
    return named


def base_url(text: object) -> object:
    """An address that can be posted to. It may hold a secret: what was read is never repeated."""
    if isinstance(text, str) and re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text, re.ASCII):
        return text
    raise ValueError("this is not a URL; write https://HOST or https://HOST/PATH")


def present(text: object) -> object:
    """A secret that is one word. What was read is never repeated."""
    raw = text.get_secret_value() if isinstance(text, SecretStr) else text
    if isinstance(raw, str) and not raw:
        raise ValueError("is empty; write the secret, or leave the setting out")
    if isinstance(raw, str) and not re.fullmatch(r"[!-~]+", raw):
        raise ValueError(
            "this cannot be a secret: it has a space, or a letter that is not ASCII; write it as it was given"
        )
    return text


def token(text: object) -> object:
    """Any text but none: an empty file or variable is a mistake."""
    raw = text.get_secret_value() if isinstance(text, SecretStr) else text
    if raw == "":
        raise ValueError("is empty; write the token, or leave the setting out")
    return text


def hook(text: object) -> object:
    """A webhook: a URL that is more than a host. It is a secret: what was read is never repeated."""
    raw = text.get_secret_value() if isinstance(text, SecretStr) else text
    if raw == "":
        raise ValueError("is empty; write the hook's URL, or leave the setting out")
    if isinstance(raw, str) and not re.fullmatch(r"https?://[^\s/?#]+/[^\s?#]+", raw, re.ASCII):
        raise ValueError("this is not a URL of a hook; write https://hooks.slack.com/services/T…/B…/…")
    return text


def routing_key(text: object) -> object:
    """An integration key as PagerDuty gives them. It is a secret: what was read is never repeated."""
    raw = text.get_secret_value() if isinstance(text, SecretStr) else text
    if raw == "":
        raise ValueError("is empty; write the integration key, or leave the setting out")
    if isinstance(raw, str) and not re.fullmatch(r"[!-~]{32}", raw):
        raise ValueError(
            f"this is no integration key: it has {len(raw)} characters; write the 32 letters and digits of an "
            "Events API v2 integration"
        )
    return text


def time_zone(name: object) -> object:
    """The calendar of a time zone."""
    return calendar(name) if isinstance(name, str) else name


Duration = Annotated[int, BeforeValidator(duration), Field(ge=0)]
Size = Annotated[int, BeforeValidator(size_bytes), Field(gt=0)]
Address = Annotated[str, BeforeValidator(listen_address)]


PriceFile = Annotated[tuple[Override, ...], BeforeValidator(price_file)]
Names = Annotated[tuple[str, ...], BeforeValidator(names)]
Rates = Annotated[tuple[tuple[str, float], ...], BeforeValidator(rates)]
PolicyShares = Annotated[tuple[tuple[str, float], ...], BeforeValidator(policies)]
Shares = Annotated[Sampling | None, BeforeValidator(shares)]
Zone = Annotated[Calendar, BeforeValidator(time_zone)]
Words = Annotated[tuple[str, ...], BeforeValidator(words)]
Topics = Annotated[tuple[str, ...], BeforeValidator(topics)]
Url = Annotated[str, BeforeValidator(base_url)]
Secret = Annotated[SecretStr, BeforeValidator(present)]
Token = Annotated[SecretStr, BeforeValidator(token)]
Hook = Annotated[SecretStr, BeforeValidator(hook)]
RoutingKey = Annotated[SecretStr, BeforeValidator(routing_key)]


class Section(BaseModel):
    """One level of settings: an unknown name is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OtlpSettings(Section):
    listen: Address = Field("127.0.0.1:4318", description="where OTLP/HTTP comes in")
    body_max: Size = Field(64 << 20, description="largest body, unpacked; larger ones are answered 413")
    queue_max: int = Field(64, gt=0, description="bodies that may wait; then the door answers 429 with Retry-After")


class WebSettings(Section):
    listen: Address = Field("127.0.0.1:9464", description="where /metrics, /-/healthy, /-/ready and the API are")
    token: Token | None = Field(None, description="who sends it may mark pages; without one, this machine alone")


class KafkaSettings(Section):
    bootstrap_servers: str | None = Field(None, description="brokers as HOST:PORT,…; without them Kafka is not read")
    group: str = Field("tocsin", description="consumer group")
    topics: Topics = Field(
        ("otlp_spans", "otlp_metrics", "otlp_logs"),
        min_length=1,
        description="topics to read; the word spans, traces, metrics or logs in a name says what it holds",
    )
    rejected_topic: str = Field("tocsin.rejected", description="where records go that cannot be read without an error")
    fetch_bytes: Size = Field(1 << 20, description="most that one fetch takes from a partition")
    check_crcs: bool = Field(True, description="whether record checksums are verified")


class SlackSettings(Section):
    webhook_url: Hook | None = Field(None, description="incoming webhook; pages go to its channel")
    bot_token: Secret | None = Field(None, description="bot token, for receivers that name a channel")


class PagerDutySettings(Section):
    routing_key: RoutingKey | None = Field(None, description="integration key of an Events API v2 service")
    url: Url = Field("https://events.pagerduty.com", description="base URL; /v2/enqueue is added")


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


class Settings(BaseSettings):
    """What `tocsin run` can be told. Frozen: a change needs a restart."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    otlp: OtlpSettings = OtlpSettings()
    web: WebSettings = WebSettings()
    kafka: KafkaSettings = KafkaSettings()
    limits: LimitsSettings = LimitsSettings()
    slack: SlackSettings = SlackSettings()
    pagerduty: PagerDutySettings = PagerDutySettings()
    rules: Words = Field((), description="rule files or directories; without any, the shipped packs")
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
    save_every: Duration = Field(5 * SECOND_NS, description="how often state is saved, at least")
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
    if name not in known and setting in known:
        if setting in environ:
            raise ValueError(f"{name}: {setting} is set too; keep one of them")
        return setting, _read(name, text)
    if name not in known:
        near = [one for one in known if one.rpartition("__")[0] == name.rpartition("__")[0]] or known
        raise ValueError(f"{name}: no such setting; there is {', '.join(near)}")
    return name, text


def _put(values: dict[str, Any], name: str, text: str) -> None:
    *levels, last = name.removeprefix(PREFIX).lower().split("__")
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
    parts = [str(part) for part in location]
    # Pydantic may add the place in a list, or what kind of thing it expected.
    names = (PREFIX + "__".join(parts[:count]).upper() for count in range(len(parts), 0, -1))
    return next((name for name in names if name in known), PREFIX + "__".join(parts).upper())


def table(section: type[BaseModel] = Settings, prefix: str = PREFIX) -> list[tuple[str, str, str]]:
    """(variable, default as one would write it, meaning) of every setting, in the order of the help."""
    rows: list[tuple[str, str, str]] = []
    for field, info in section.model_fields.items():
        name = prefix + field.upper()
        if isinstance(info.default, Section):
            rows += table(type(info.default), f"{name}__")
        else:
            rows.append((name, _written(info), info.description or ""))
    return rows


def _written(info: FieldInfo) -> str:
    """A setting's default as one would write it."""
    default = info.default
    if default is None or default == ():
        return "none"
    if isinstance(default, Calendar):
        return "UTC"
    if isinstance(default, tuple):
        return " ".join(default)
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


def from_environment() -> Settings:
    """Settings of this process."""
    return load(dict(os.environ))
