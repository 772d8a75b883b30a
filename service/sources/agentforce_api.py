"""What is asked of Salesforce for Agentforce's sessions (beta), and what its answers mean.

Three requests are documented: a token of the OAuth 2.0 client credentials flow; a query of Data 360 that lists
sessions; and the Session Trace OTel API, which gives one session as OTLP/JSON. deploy/agentforce.md says
what is documented, and what was assumed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from detectors.core.columns import SECOND_NS
from service.config.setting_types import revealed
from service.sources.agentforce_settings import AgentforceSettings

TIMEOUT = httpx.Timeout(connect=5.0, read=60.0, write=10.0, pool=5.0)
"""A query of Data 360 may take a while."""
TOKEN_LIFE_S = 1800.0
"""How long a token is used whose answer does not say how long it lives: an org's shortest session is longer than most
of it, and one that ended earlier is told by 401."""
RENEW_EARLIER_S = 60.0
PAGE_ROWS, PAGES_MAX = 2_000, 500
REASON_MAX = 200
LIST = (
    "SELECT ssot__Id__c, ssot__StartTimestamp__c, ssot__EndTimestamp__c FROM ssot__AiAgentSession__dlm "
    "WHERE ssot__EndTimestamp__c > '{since}' ORDER BY ssot__EndTimestamp__c, ssot__Id__c"
)


class Why(StrEnum):
    """Why a request failed. Closed: every reason is exported."""

    CREDENTIAL = "credential"  # Key, secret or token are not taken: somebody must act.
    FORBIDDEN = "forbidden"  # The app's user lacks a permission, or tracing is not set up.
    THROTTLED = "throttled"  # It says that we ask too much.
    UNAVAILABLE = "unavailable"  # It says that it fails, or will answer later.
    UNREACHABLE = "unreachable"  # No answer: no connection, no TLS, no time.
    MALFORMED = "malformed"  # An answer that holds not what is documented.
    TOO_LARGE = "too_large"
    GONE = "gone"  # There is no such session, or not any more.


OF_SESSION = (Why.GONE, Why.MALFORMED, Why.TOO_LARGE)
"""Reasons that are about the one session that was asked for."""


class AgentforceError(Exception):
    """A request that failed; `after_s` what the answer asked us to wait, None where it did not."""

    def __init__(self, why: Why, said: str, after_s: float | None = None) -> None:
        super().__init__(f"{why}: {said}")
        self.why, self.said, self.after_s = why, said, after_s


@dataclass(frozen=True)
class Session:
    """One that has ended: its id, and Unix nanoseconds."""

    id: str
    start_ns: int
    end_ns: int


class Api:
    """An org's answers. Each method raises AgentforceError. Not for two tasks at once."""

    def __init__(
        self, settings: AgentforceSettings, client: httpx.AsyncClient, body_max: int, now_s: Callable[[], float]
    ) -> None:
        self._settings, self._client, self._body_max, self._now_s = settings, client, body_max, now_s
        self._token, self._until_s = "", 0.0
        self._base = f"{settings.instance_url}/services/data/{settings.api_version}"

    async def sessions(self, since_ns: int) -> list[Session]:
        """Sessions that ended after then, by their end; what it lists twice, or without a sane time, is left out."""
        url = f"{self._base}/ssot/query-sql"
        first = await self._asked("POST", url, json.dumps({"sql": LIST.format(since=_written(since_ns))}).encode())
        rows, status = _rows(first), first.get("status")
        told = status if isinstance(status, dict) else {}
        query, count = told.get("queryId"), told.get("rowCount")
        for _ in range(PAGES_MAX):
            if not isinstance(count, int) or len(rows) >= count:
                break
            if not isinstance(query, str):
                raise AgentforceError(Why.MALFORMED, f"the list has {count} rows, gave {len(rows)}, and no queryId")
            more = _rows(await self._asked("GET", f"{url}/{quote(query, safe='')}/rows?" + urlencode(
                {"offset": len(rows), "rowLimit": PAGE_ROWS})))  # fmt: skip
            if not more:
                raise AgentforceError(Why.MALFORMED, f"the list ended after {len(rows)} of {count} rows")
            rows += more
        found = {one.id: one for row in rows if (one := _session(_named(row, first)))}
        return sorted(found.values(), key=lambda one: (one.end_ns, one.id))

    async def trace(self, session: str) -> dict[str, Any]:
        """One session as OTLP/JSON, decoded."""
        return await self._asked("GET", f"{self._base}/einstein/audit/otel/{quote(session, safe='')}")

    async def close(self) -> None:
        await self._client.aclose()

    async def _asked(self, method: str, url: str, body: bytes = b"") -> dict[str, Any]:
        """An answer to who has a token; one that was ended early is renewed, once."""
        for again in (False, True):
            headers = {"Authorization": f"Bearer {await self._valid_token()}", "Accept": "application/json"}
            if body:
                headers["Content-Type"] = "application/json"
            status, answered, text = await self._answer(method, url, headers, body)
            if status == 401 and not again:
                self._token = ""
                continue
            return self._read(status, answered, text)
        raise AssertionError

    async def _valid_token(self) -> str:
        if self._token and self._now_s() < self._until_s - RENEW_EARLIER_S:
            return self._token
        secret = revealed(self._settings.client_secret)
        form = {"grant_type": "client_credentials", "client_id": self._settings.client_id, "client_secret": secret}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url = f"{self._settings.instance_url}/services/oauth2/token"
        status, answered, text = await self._answer("POST", url, headers, urlencode(form).encode())
        if status in (400, 401):
            raise AgentforceError(Why.CREDENTIAL, self._said(text))
        token, lives_s = (told := self._read(status, answered, text)).get("access_token"), told.get("expires_in")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise AgentforceError(Why.MALFORMED, "the answer for a token holds no access_token")
        known = isinstance(lives_s, int | str) and str(lives_s).isdecimal()
        # One that lives for less than what we renew earlier by is used until the next request.
        self._token, self._until_s = token, self._now_s() + (float(lives_s or 0) if known else TOKEN_LIFE_S)
        return token

    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, httpx.Headers, bytes]:
        text = bytearray()
        try:
            async with self._client.stream(method, url, headers=headers, content=body, timeout=TIMEOUT) as answer:
                async for chunk in answer.aiter_bytes():
                    text += chunk
                    if len(text) > self._body_max:
                        raise AgentforceError(Why.TOO_LARGE, f"an answer is over {self._body_max} bytes")
                return answer.status_code, answer.headers, bytes(text)
        except httpx.HTTPError as error:
            raise AgentforceError(Why.UNREACHABLE, f"{type(error).__name__}: {self._clean(str(error))}") from None

    def _read(self, status: int, headers: httpx.Headers, text: bytes) -> dict[str, Any]:
        """The object that an answer holds."""
        if not 200 <= status < 300:
            code, asked_s = self._said(text), _after_s(headers)
            raise AgentforceError(_why(status, code), f"{status} {code}", asked_s)
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            raise AgentforceError(Why.MALFORMED, "an answer is no JSON") from None
        if not isinstance(told, dict):
            raise AgentforceError(Why.MALFORMED, f"an answer is a {type(told).__name__}, where an object was expected")
        return told

    def _said(self, text: bytes) -> str:
        """The vendor's code and message, as far as they are of the two documented shapes."""
        try:
            told = json.loads(text[:65_536])
        except (ValueError, RecursionError):
            return "without a reason"
        first = told[0] if isinstance(told, list) and told else told
        if not isinstance(first, dict):
            return "without a reason"
        code, message = (
            str(first.get(one) or first.get(other) or "")
            for one, other in (("errorCode", "error"), ("message", "error_description"))
        )
        return self._clean(f"{code}: {message}") if code or message else "without a reason"

    def _clean(self, text: str) -> str:
        """Fit for a log line: short, printable, and without what we sent as secrets."""
        for secret in (revealed(self._settings.client_secret), self._token):
            text = text.replace(secret, "***") if secret else text
        return "".join(c if c.isprintable() else " " for c in text)[:REASON_MAX]


def _why(status: int, code: str) -> Why:
    match status:
        case 401:
            return Why.CREDENTIAL
        case 403 if "REQUEST_LIMIT_EXCEEDED" in code:
            return Why.THROTTLED
        case 400 | 403:
            return Why.FORBIDDEN
        case 404:
            return Why.GONE
        case 429 | 503:  # The rate limit of Connect REST API is 503.
            return Why.THROTTLED
        case _ if status >= 500:
            return Why.UNAVAILABLE
        case _:
            return Why.MALFORMED


def _after_s(headers: httpx.Headers) -> float | None:
    asked = headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() and len(asked) < 6 else None


def _rows(told: Mapping[str, Any]) -> list[Any]:
    rows = told.get("data")
    if not isinstance(rows, list):
        raise AgentforceError(Why.MALFORMED, "the list of sessions has no data")
    return list(rows)


def _named(row: object, first: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row by the names of its columns: rows are objects, or lists beside metadata."""
    if isinstance(row, dict):
        return row
    told = first.get("metadata")
    columns = told if isinstance(told, list) else []
    names = [str(one.get("name")) if isinstance(one, dict) else "" for one in columns]
    return dict(zip(names, row, strict=False)) if isinstance(row, list) else {}


def _session(row: Mapping[str, Any]) -> Session | None:
    name, begun, ended = (row.get(f"ssot__{one}__c") for one in ("Id", "StartTimestamp", "EndTimestamp"))
    start_ns, end_ns = _ns(begun), _ns(ended)
    if not isinstance(name, str) or not name or len(name) > REASON_MAX or start_ns is None or end_ns is None:
        return None
    return Session(name, start_ns, end_ns) if start_ns <= end_ns else None


def _ns(text: object) -> int | None:
    """A time as the query writes it; UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000) * (SECOND_NS // 1000)


def _written(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000 / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
