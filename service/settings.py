"""Every setting of the daemon: `TOCSIN_…` in the environment (`__` between levels), or its `…_FILE` for a secret."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

SECOND_NS = 1_000_000_000
PREFIX = "TOCSIN_"
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
SIZES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def duration_ns(text: object) -> object:
    """Nanoseconds of a duration as Prometheus writes it; a plain 0 is none.

    >>> duration_ns("1h30m"), duration_ns("90s"), duration_ns("0")
    (5400000000000, 90000000000, 0)
    """
    if isinstance(text, int):
        return text
    if text == "0":
        return 0
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", str(text))
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(f'"{text}" is not a duration; write 90s, 5m or 1h30m')
    return round(sum(float(n) * UNITS_S[u] for n, u in parts) * SECOND_NS)


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
    m = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})", str(text))
    if not m or int(m[2]) > 65_535:
        raise ValueError(f'"{text}" is not an address; write HOST:PORT, as 127.0.0.1:4318')
    return text


def words(text: object) -> object:
    """A list from words between spaces or commas."""
    return tuple(re.split(r"[\s,]+", text.strip())) if isinstance(text, str) else text


Duration = Annotated[int, BeforeValidator(duration_ns), Field(ge=0)]
Size = Annotated[int, BeforeValidator(size_bytes), Field(gt=0)]
Address = Annotated[str, BeforeValidator(listen_address)]
Words = Annotated[tuple[str, ...], BeforeValidator(words)]


class Section(BaseModel):
    """One level of settings: an unknown name is an error, never ignored."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OtlpSettings(Section):
    listen: Address = Field("127.0.0.1:4318", description="where OTLP/HTTP comes in")
    body_max: Size = Field(64 << 20, description="largest body, unpacked; larger ones are answered 413")
    queue_max: int = Field(64, gt=0, description="bodies that may wait; then the door answers 429 with Retry-After")


class WebSettings(Section):
    listen: Address = Field("127.0.0.1:9464", description="where /metrics, /-/healthy, /-/ready and the API are")


class KafkaSettings(Section):
    bootstrap_servers: str | None = Field(None, description="brokers as HOST:PORT,…; without them Kafka is not read")
    group: str = Field("tocsin", description="consumer group")
    topics: Words = Field(
        ("otlp_spans", "otlp_metrics", "otlp_logs"),
        description="topics to read; the word spans, traces, metrics or logs in a name says what it holds",
    )
    fetch_bytes: Size = Field(1 << 20, description="most that one fetch takes from a partition")
    check_crcs: bool = Field(True, description="whether record checksums are verified")


class SlackSettings(Section):
    webhook_url: SecretStr | None = Field(None, description="incoming webhook; pages go to its channel")
    bot_token: SecretStr | None = Field(None, description="bot token, for receivers that name a channel")


class PagerDutySettings(Section):
    routing_key: SecretStr | None = Field(None, description="integration key of an Events API v2 service")
    url: str = Field("https://events.pagerduty.com", description="base URL; /v2/enqueue is added")


class Settings(BaseSettings):
    """What `tocsin run` can be told. Frozen: a change needs a restart."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    otlp: OtlpSettings = OtlpSettings()
    web: WebSettings = WebSettings()
    kafka: KafkaSettings = KafkaSettings()
    slack: SlackSettings = SlackSettings()
    pagerduty: PagerDutySettings = PagerDutySettings()
    rules: Words = Field((), description="rule files or directories; without any, the shipped packs")
    data_dir: Path = Field(Path("tocsin-data"), description="where state is kept")
    lateness: Duration = Field(60 * SECOND_NS, description="how far behind the newest span the watermark stays")
    future_max: Duration = Field(300 * SECOND_NS, description="spans that end later than this after now are rejected")
    session_idle: Duration = Field(30 * SECOND_NS, description="quiet time after its root that closes a session")
    max_page_age: Duration = Field(3600 * SECOND_NS, description="older changes do not page; 0 = no limit")
    save_every: Duration = Field(5 * SECOND_NS, description="how often state is saved, at least")

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
                _put(values, name, text)
            except ValueError as problem:
                problems.append(str(problem))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += [f"{_name(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _put(values: dict[str, Any], name: str, text: str) -> None:
    """Place one variable; raises ValueError with the line to print."""
    known = {n for n, *_ in table()}
    if name not in known and name.endswith("_FILE") and name.removesuffix("_FILE") in known:
        name, text = name.removesuffix("_FILE"), _read(name, text)
    if name not in known:
        near = [n for n in sorted(known) if n.rpartition("_")[0] == name.rpartition("_")[0]] or sorted(known)
        raise ValueError(f"{name}: no such setting; there is {', '.join(near)}")
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
    return PREFIX + "__".join(str(part) for part in location if not isinstance(part, int)).upper()


def table(section: type[BaseModel] = Settings, prefix: str = PREFIX) -> list[tuple[str, str, str]]:
    """(variable, default as one would write it, meaning) of every setting, in the order of the help."""
    rows: list[tuple[str, str, str]] = []
    for field, info in section.model_fields.items():
        name = prefix + field.upper()
        if isinstance(info.default, Section):
            rows += table(type(info.default), f"{name}__")
        else:
            rows.append((name, _written(info.default, field), info.description or ""))
    return rows


def _written(default: object, field: str) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return " ".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int) and default >= SECOND_NS:
        return _in_units(default // SECOND_NS, (("h", 3600), ("m", 60), ("s", 1)))
    if isinstance(default, int) and default >= 1 << 20:
        return f"{default >> 20}MiB"
    return str(default)


def _in_units(seconds: int, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next((u, n) for u, n in units if seconds % n == 0)
    return f"{seconds // size}{unit}"


def from_environment() -> Settings:
    """Settings of this process."""
    return load(dict(os.environ))
