"""What every notifier gives and answers: a request that hides its secrets, and what came of it as a closed set."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from detectors.core.columns import SECOND_NS


@dataclass(frozen=True)
class HttpRequest:
    """One request. Its `repr` shows neither URL nor headers nor body: any of them can hold a secret.

    then  another one once this was taken, which is tried once: what was told stands, whatever comes of it
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    then: "HttpRequest | None" = field(default=None, repr=False)


class Reason(StrEnum):
    """Why a destination did not take a delivery. Closed: every reason is exported."""

    MALFORMED = "malformed"  # It does not like what we wrote: the only one that ends a delivery.
    CREDENTIAL = "credential"  # Key, token or policy: somebody must act.
    GONE = "gone"  # The hook, channel or service is not there any more.
    THROTTLED = "throttled"  # It says that we send too much.
    UNAVAILABLE = "unavailable"  # It says that it fails, or will answer later.
    UNREACHABLE = "unreachable"  # No answer: no connection, no TLS, no time.
    UNEXPECTED = "unexpected"  # An answer that the vendor does not document: a proxy's, as a rule.
    EXPIRED = "expired"  # Tried for as long as it was worth telling.


@dataclass(frozen=True)
class Delivered:
    """Taken: the vendor said so, in its own shape.

    reference  where the message is, in the vendor's words: later notices of the group are given it; or empty
    """

    reference: str = ""


@dataclass(frozen=True)
class Retry:
    """Not now.

    after_s  what the destination asked for; None: our own backoff
    reason   `throttled` is about the destination as a whole, the others are about this delivery
    """

    after_s: float | None
    reason: Reason
    said: str


@dataclass(frozen=True)
class Refused:
    """Not like this.

    reason  `malformed`: final, once the least form was refused like that too; `unexpected`: perhaps about what we
            wrote, so the least form is tried, and all of it again later; `credential`, `gone`: waits for a person
    """

    reason: Reason
    said: str


Outcome = Delivered | Retry | Refused


@dataclass(frozen=True)
class Pace:
    """How fast a destination takes deliveries."""

    per_s: float
    burst: int


@dataclass(frozen=True)
class Habit:
    """How a destination is told of much at once.

    singly_max       groups that may wait to be told one by one; more are one notice
    keeps_incidents  it knows a group by a key of its own: each is opened and resolved by itself, whatever happens
    groups_itself    it is told of each alert by itself, outside of the route's groups, and of its end
    again_s          how often it wants to hear again what fires, as it forgets what it does not hear; 0: never
    """

    singly_max: int
    keeps_incidents: bool
    groups_itself: bool = False
    again_s: float = 0.0


RETRY_AFTER_MAX_S = 300.0
"""No vendor documents that it asks for more, and a page that is hours late helps nobody."""
STATUS_REASONS = {401: Reason.CREDENTIAL, 403: Reason.CREDENTIAL, 404: Reason.GONE, 410: Reason.GONE}
"""What a status means whatever stands beside it: somebody must look at key or hook, and until then it waits."""
SECRET_LENGTH_MIN = 8
SCRUBBED = "[secret]"


def unlike(status: int, headers: Mapping[str, str], said: str, now_ns: int) -> Outcome:
    """What an answer means in which nothing is the vendor's own, by its status alone. It never ends a delivery.

    >>> unlike(200, {}, "<html>", 0).reason, unlike(400, {}, "<html>", 0).reason
    (<Reason.UNEXPECTED: 'unexpected'>, <Reason.UNEXPECTED: 'unexpected'>)
    """
    if reason := STATUS_REASONS.get(status):
        return Refused(reason, said)
    if status == 429:
        return Retry(retry_after_s(headers, now_ns), Reason.THROTTLED, said)
    if status >= 500 or status in (408, 425):
        return Retry(retry_after_s(headers, now_ns), Reason.UNAVAILABLE, said)
    if 400 <= status < 500:
        return Refused(Reason.UNEXPECTED, said)
    return Retry(None, Reason.UNEXPECTED, said)


def json_object(body: str) -> dict[str, Any]:
    """An answer's JSON object; an empty one where it is not one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def timestamp(time_ns: int) -> str:
    """A moment as RFC 3339 has it, to the second."""
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).isoformat()


def host_and_path(url: str) -> tuple[str, str]:
    """Where a URL leads, without whoever it names before an `@`.

    >>> host_and_path("https://me:hunter2@hooks.slack.com/services/T0?x=1")
    ('hooks.slack.com', '/services/T0')
    """
    parts = re.match(r"https?://(?:[^/?#]*@)?([^/?#]*)([^?#]*)", url)
    return (parts[1], parts[2]) if parts else ("", "")


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
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = date.timestamp() - now_ns / SECOND_NS
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if math.isfinite(seconds) else None


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, however an answer that echoes its request may have written them.

    >>> scrubbed('{"path": "\\\\/services\\\\/T0\\\\/hunter2"}', ["/services/T0/hunter2"])
    '{"path": "[secret]"}'
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        quoted = json.dumps(secret)[1:-1]
        percent = "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in secret)
        forms = {secret, quoted, quoted.replace("/", "\\/"), percent, secret.replace("/", "%2F")}
        for form in sorted(forms, key=len, reverse=True):
            text = re.sub(re.escape(form), SCRUBBED, text, flags=re.IGNORECASE)
    return text
