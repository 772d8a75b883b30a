"""Stand-ins for Slack and PagerDuty: small real HTTP servers that keep their rules and record what on-call would see.

They check what the real ones check and limit what those limit, so that a page they take would be taken there too.
"""

import asyncio
import html
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

BODY_BYTES_MAX = 2 << 20
_HEAD_BYTES_MAX = 65_536
_REQUEST_S_MAX = 30.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: str
    content_type: str = "text/plain"
    retry_after: str = ""


class Fault(Enum):
    """What a network does."""

    RESET = "the connection is cut before an answer"
    STALL = "the answer never comes"
    TAKEN_THEN_RESET = "the request is taken, its answer is lost"


Script = deque[Answer | Fault]


class StandIn(Protocol):
    """A destination: what it answers to a body, and what it is told to answer instead for a while."""

    script: Script

    def answer(self, path: str, body: bytes) -> Answer: ...


@dataclass(frozen=True)
class SlackPost:
    """One message as people see it. `alarms` are the control sequences that would notify or link someone."""

    at_s: float
    color: str
    text: str
    alarms: tuple[str, ...]


class TokenBucket:
    """So many at once, then so many a second."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst, self._tokens, self._at_s = per_s, burst, float(burst), 0.0

    def take(self, now_s: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class SlackStandIn:
    """An incoming webhook: `ok` or an error word as plain text, one message a second with a burst of five."""

    def __init__(self, clock_s: Callable[[], float], per_s: float = 1.0, burst: int = 5) -> None:
        self.script: Script = deque()
        self.posts: list[SlackPost] = []
        self.throttled = 0
        self._clock_s = clock_s
        self._bucket = TokenBucket(per_s, burst)

    def answer(self, path: str, body: bytes) -> Answer:
        if not path.startswith("/services/"):
            return Answer(404, "no_service")
        now_s = self._clock_s()
        if not self._bucket.take(now_s):
            self.throttled += 1
            return Answer(429, "rate_limited", retry_after="1")
        try:
            message = json.loads(body)
        except ValueError:
            return Answer(400, "invalid_payload")
        if not isinstance(message, dict):
            return Answer(400, "invalid_payload")
        if error := _slack_error(message):
            return Answer(400, error)
        self.posts.append(_slack_post(message, now_s))
        return Answer(200, "ok")


def _slack_error(message: dict[str, Any]) -> str:
    attachments = message.get("attachments", [])
    blocks = [*message.get("blocks", []), *(block for one in attachments for block in one.get("blocks", []))]
    if not message.get("text") and not blocks and not attachments:
        return "no_text"
    if len(attachments) > 100:
        return "too_many_attachments"
    if len(blocks) > 50 or not all(map(_good_block, blocks)):
        return "invalid_blocks"
    if sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) > 12_000:
        return "msg_blocks_too_long"
    return ""


def _good_block(block: dict[str, Any]) -> bool:
    text = block.get("text", {})
    match block.get("type"):
        case "header":
            return text.get("type") == "plain_text" and 1 <= len(text["text"]) <= 150
        case "section":
            return text.get("type") in ("plain_text", "mrkdwn") and 1 <= len(text["text"]) <= 3000
        case "context":
            return 1 <= len(block.get("elements", [])) <= 10
        case "actions":
            return 1 <= len(block.get("elements", [])) <= 25 and all(map(_good_button, block["elements"]))
        case "divider":
            return True
    return False


def _good_button(element: dict[str, Any]) -> bool:
    text = element.get("text", {})
    is_text = text.get("type") == "plain_text" and 1 <= len(text["text"]) <= 75
    return element.get("type") == "button" and is_text and len(element.get("value", "")) <= 2000


def _slack_post(message: dict[str, Any], now_s: float) -> SlackPost:
    attachments = message.get("attachments", [])
    marked: list[str] = [message.get("text", "")] + [one.get("fallback", "") for one in attachments]
    shown: list[str] = [message["text"]] if message.get("text") else []
    for block in [*message.get("blocks", []), *(block for one in attachments for block in one.get("blocks", []))]:
        if block.get("type") == "actions":
            continue
        for text in [block.get("text", {}), *block.get("elements", [])]:
            shown.append(text.get("text", ""))
            if text.get("type") == "mrkdwn":
                marked.append(text["text"])
    alarms = [found for text in marked for found in re.findall(r"<[^<>]*>", text)]
    color = attachments[0].get("color", "") if attachments else ""
    return SlackPost(now_s, color, html.unescape("\n".join(filter(None, shown))), tuple(alarms))


@dataclass
class Incident:
    """One incident as PagerDuty keeps it: opened by a trigger, added to, resolved."""

    dedup_key: str
    summary: str
    severity: str
    opened_s: float
    details: Any
    resolved_s: float | None = None
    triggers: int = 1


class PagerDutyStandIn:
    """Events API v2: 202 for an event taken, 400 with the errors, one open incident a dedup key."""

    def __init__(self, clock_s: Callable[[], float], per_s: float = 2.0, burst: int = 120) -> None:
        self.script: Script = deque()
        self.incidents: list[Incident] = []
        self.dropped_resolves = 0
        self.throttled = 0
        self._clock_s = clock_s
        self._bucket = TokenBucket(per_s, burst)

    def answer(self, path: str, body: bytes) -> Answer:
        now_s = self._clock_s()
        if path != "/v2/enqueue":
            return _json(404, {"status": "not found"})
        if len(body) > 512 * 1024:
            return _json(413, {"status": "event too large"})
        try:
            event = json.loads(body)
        except ValueError:
            event = None
        errors = _pagerduty_errors(event)
        if errors:
            return _json(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        if not self._bucket.take(now_s):
            self.throttled += 1
            return _json(429, {"status": "throttle exceeded", "message": "Requests are arriving too fast"})
        self._take(event, now_s)
        return _json(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})

    def open(self) -> list[Incident]:
        """The incidents that on-call still has to look at."""
        return [incident for incident in self.incidents if incident.resolved_s is None]

    def _take(self, event: dict[str, Any], now_s: float) -> None:
        incident = next((one for one in self.open() if one.dedup_key == event["dedup_key"]), None)
        if event["event_action"] == "resolve":
            if incident:
                incident.resolved_s = now_s
            else:
                self.dropped_resolves += 1
        elif event["event_action"] == "trigger" and incident:
            incident.triggers += 1
        elif event["event_action"] == "trigger":
            payload = event["payload"]
            details = payload.get("custom_details")
            self.incidents.append(Incident(event["dedup_key"], payload["summary"], payload["severity"], now_s, details))


def _pagerduty_errors(event: Any) -> list[str]:
    if not isinstance(event, dict):
        return ["Event is not a JSON object"]
    payload = event.get("payload") or {}
    trigger = event.get("event_action") == "trigger"
    wrong = {
        "Length of 'routing_key' is incorrect (should be 32 characters)": len(event.get("routing_key", "")) != 32,
        "'event_action' is invalid": event.get("event_action") not in ("trigger", "acknowledge", "resolve"),
        "'dedup_key' is missing or too long": not 1 <= len(event.get("dedup_key", "")) <= 255,
        "'summary' is missing": trigger and not payload.get("summary"),
        "'summary' is too long (maiximum is 1024 characters)": len(payload.get("summary", "")) > 1024,
        "'source' is missing": trigger and not payload.get("source"),
        "'severity' is invalid": trigger and payload.get("severity") not in ("critical", "error", "warning", "info"),
    }
    return [error for error, found in wrong.items() if found]


def _json(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value), "application/json")


@dataclass
class Serving:
    """Where a stand-in listens, and what came in, answered or not."""

    url: str
    requests: list[tuple[str, bytes]] = field(default_factory=list)


@asynccontextmanager
async def serving(stand_in: StandIn) -> AsyncIterator[Serving]:
    """The stand-in on a free port of the loopback, until the block ends."""
    open_writers: set[asyncio.StreamWriter] = set()
    place = Serving("")

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        try:
            async with asyncio.timeout(_REQUEST_S_MAX):
                await _serve_one(stand_in, place, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError, ValueError):
            pass  # A client that leaves, or that is no HTTP client.
        finally:
            open_writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
    place.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield place
    finally:
        server.close()
        for writer in list(open_writers):
            writer.transport.abort()
        await server.wait_closed()


async def _serve_one(
    stand_in: StandIn, place: Serving, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One request, one answer, and the connection ends."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    path = head.split(" ", 2)[1]
    length = re.search(r"^content-length:\s*(\d+)", head, re.IGNORECASE | re.MULTILINE)
    size = int(length[1]) if length else 0
    body = await reader.readexactly(min(size, BODY_BYTES_MAX))
    place.requests.append((path, body))
    scripted = stand_in.script.popleft() if stand_in.script else None
    if scripted is Fault.STALL:
        await reader.read(1)  # Until the client has enough.
        return
    if scripted is Fault.TAKEN_THEN_RESET:
        stand_in.answer(path, body)
    if isinstance(scripted, Fault):
        writer.transport.abort()
        return
    answer = scripted or stand_in.answer(path, body)
    retry_after = f"Retry-After: {answer.retry_after}\r\n" if answer.retry_after else ""
    text = answer.body.encode()
    writer.write(
        f"HTTP/1.1 {answer.status} -\r\nContent-Type: {answer.content_type}\r\nContent-Length: {len(text)}\r\n"
        f"{retry_after}Connection: close\r\n\r\n".encode()
        + text
    )
    await writer.drain()
