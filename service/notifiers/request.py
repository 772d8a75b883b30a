"""What every notifier gives and answers: a request that hides its secrets, and what came of it as a closed set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

from detectors.core.columns import SECOND_NS


@dataclass(frozen=True)
class HttpRequest:
    """One request. Its `repr` shows neither URL nor headers nor body: any of them can hold a secret."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Reason(StrEnum):
    """Why a destination will never take a delivery as it is. Closed: every reason is exported."""

    MALFORMED = "malformed"  # It does not like what we wrote.
    CREDENTIAL = "credential"  # Key, token or policy: somebody must act.
    GONE = "gone"  # The hook, channel or service is not there any more.
    UNEXPECTED = "unexpected"  # An answer that nobody documents.
    EXPIRED = "expired"  # Tried for as long as it was worth telling.


@dataclass(frozen=True)
class Delivered:
    """Taken."""


@dataclass(frozen=True)
class Retry:
    """Not now.

    after_s    what the destination asked for; None: our own backoff
    throttled  it said that we send too much: everything to it waits, not this delivery alone
    """

    after_s: float | None
    throttled: bool
    said: str


@dataclass(frozen=True)
class Refused:
    """Not ever."""

    reason: Reason
    said: str


Outcome = Delivered | Retry | Refused


@dataclass(frozen=True)
class Pace:
    """How fast a destination takes deliveries."""

    per_s: float
    burst: int


RETRY_AFTER_MAX_S = 3600.0


def retry_after_s(headers: Mapping[str, str], now_ns: int) -> float | None:
    """What `Retry-After` asks for, in seconds or as an HTTP date; None if it is missing or no such thing.

    >>> retry_after_s({"retry-after": "30"}, 0)
    30.0
    >>> retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 0)
    60.0
    """
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = date.timestamp() - now_ns / SECOND_NS
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if math.isfinite(seconds) else None
