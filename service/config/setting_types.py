"""How settings are written: each type reads what people write, and says what is wrong with it.

Readers raise ValueError with what was read and what to write. What may be a secret is never repeated.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from alertrules.links import WORDS, template
from alertrules.quantities import duration_ns

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


def optional_address(text: object) -> object:
    """An address, or nothing where it is empty."""
    return listen_address(text) if text else None


def words(text: object) -> object:
    """A list from words between spaces or commas.

    >>> words("a, b"), words(" ")
    (('a', 'b'), ())
    """
    return tuple(re.findall(r"[^\s,]+", text)) if isinstance(text, str) else text


def base_url(text: object) -> object:
    """An address that can be posted to. It may hold a secret: what was read is never repeated."""
    if isinstance(text, str) and re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text, re.ASCII):
        return text
    raise ValueError("this is not a URL; write https://HOST or https://HOST/PATH")


def otlp_base(text: object) -> object:
    """The base URL of an OTLP/HTTP door, to which v1/traces and v1/logs are added; or nothing where it is empty."""
    if isinstance(text, str) and re.search(r"/v1/(traces|logs|metrics)/?\Z", text):
        raise ValueError("this is the URL of one signal; write the base, as http://collector:4318")
    if isinstance(text, str) and "@" in text:
        raise ValueError("this URL holds a name or a secret; write it without, and the secret as a header")
    return base_url(text) if text else ""


def header_pairs(text: str) -> dict[str, str]:
    """Headers by name, from `name=value` between commas. What was read is never repeated.

    >>> header_pairs("authorization=Bearer a=b, x-scope=c")
    {'authorization': 'Bearer a=b', 'x-scope': 'c'}
    """
    found = {}
    for number, pair in enumerate(text.split(","), 1):
        name, _, value = (part.strip() for part in pair.partition("="))
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[ -~]+", value):
            raise ValueError(f"part {number} is no header; write NAME=VALUE, and commas between them")
        found[name.lower()] = value
    return found


def headers(text: object) -> object:
    """A secret that is headers."""
    raw = text.get_secret_value() if isinstance(text, SecretStr) else text
    if isinstance(raw, str):
        header_pairs(raw)
    return text


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


def link(text: object, words: tuple[str, ...]) -> object:
    """A template of an address, with some of these words in braces; empty for none."""
    return template(text, words) if isinstance(text, str) and text else text


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
            f"this is not an integration key: it has {len(raw)} characters; write the 32 letters and digits of an "
            "Events API v2 integration"
        )
    return text


Duration = Annotated[int, BeforeValidator(duration), Field(ge=0)]
Size = Annotated[int, BeforeValidator(size_bytes), Field(gt=0)]
Address = Annotated[str, BeforeValidator(listen_address)]
MaybeAddress = Annotated[str | None, BeforeValidator(optional_address)]


Words = Annotated[tuple[str, ...], BeforeValidator(words)]
Url = Annotated[str, BeforeValidator(base_url)]
MaybeUrl = Annotated[str, BeforeValidator(otlp_base)]
Headers = Annotated[SecretStr, BeforeValidator(headers)]
Secret = Annotated[SecretStr, BeforeValidator(present)]
Token = Annotated[SecretStr, BeforeValidator(token)]
PageLink = Annotated[str, BeforeValidator(partial(link, words=WORDS))]
TraceLink = Annotated[str, BeforeValidator(partial(link, words=(*WORDS, "trace_id")))]
Hook = Annotated[SecretStr, BeforeValidator(hook)]
RoutingKey = Annotated[SecretStr, BeforeValidator(routing_key)]


def revealed(secret: SecretStr | None) -> str:
    """The text of a secret; empty where it is not set."""
    return secret.get_secret_value() if secret else ""


def named(secrets: Mapping[str, SecretStr], name: str, setting: str) -> SecretStr:
    """The secret to which the operator gave that name. Raises ValueError that says what to set.

    >>> named({}, "payments", "slack needs TOCSIN_SLACK__WEBHOOK_URLS")
    Traceback (most recent call last):
    ValueError: slack needs TOCSIN_SLACK__WEBHOOK_URLS__PAYMENTS (or …_FILE)
    """
    found = secrets.get(name.lower())
    if found is None:
        raise ValueError(f"{setting}__{name.upper()} (or …_FILE)")
    return found


class Section(BaseModel):
    """One level of settings: an unknown name is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
