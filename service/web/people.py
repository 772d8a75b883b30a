"""What people say, over HTTP: marks, silences, acknowledgements, changes. And who may say it, and what became of it.

Everything that is said goes through the daemon's one queue, like records, and is answered once it is saved: it cannot
be read again. From this machine it is taken without more; from others with the token that the settings have.
"""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alertrules.changes import change_from
from alertrules.marks import mark_from, packed
from alertrules.rules import GROUP_LABELS
from alertrules.silences import End, Silence, acknowledgement_from, silence_from, silence_id_from
from detectors.core.columns import SECOND_NS
from service.batch import Answer, Said
from service.own_metrics.selfmetrics import SelfMetrics
from service.pipeline.rule_runner import Level
from service.sources.arrival import Arrival, Arrivals

BODY_MAX = 64 << 10
ANSWER_TIMEOUT_S = 30.0


class People:
    """The doors for what people say of one daemon.

    look  has the levels taken, as they stand now
    """

    def __init__(
        self, metrics: SelfMetrics, arrivals: Arrivals, now_ns: Callable[[], int], token: str,
        look: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._metrics, self._arrivals, self._now_ns, self._look = metrics, arrivals, now_ns, look
        self._token = token

    def doors(self) -> list[Route]:
        """Where something is said."""
        return [
            Route("/api/v1/marks", self._door("mark"), methods=["POST"]),
            Route("/api/v1/silences", self._door("silence"), methods=["POST"]),
            Route("/api/v1/acks", self._door("ack"), methods=["POST"]),
            Route("/api/v1/changes", self._door("change"), methods=["POST"]),
            Route("/api/v1/silences/{silence_id}", self.end, methods=["DELETE"]),
        ]

    def _door(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def said(request: Request) -> Response:
            if problem := self.unwelcome(request):
                return refused(403, problem)
            if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return refused(415, "send application/json")  # A page of another site cannot, without asking first.
            try:
                word = await self.read(kind, json.loads(await body_of(request, BODY_MAX)))
            except (ValueError, RecursionError) as error:
                return refused(400, str(error))
            return await self._answered(word)

        return said

    async def end(self, request: Request) -> Response:
        """End a silence early."""
        if problem := self.unwelcome(request):
            return refused(403, problem)
        try:
            word = End(silence_id_from(request.path_params["silence_id"]))
        except ValueError as error:
            return refused(400, str(error))
        return await self._answered(word)

    async def _answered(self, word: Said) -> Response:
        try:
            (answer,) = await self.say((word,))
        except asyncio.QueueFull:
            return refused(503, "too much waits to be read; try again in a second")
        except TimeoutError:
            return refused(503, "not taken in yet; ask for /api/v1/marks, /silences or /alerts in a while")
        return refused(404, answer.error) if answer.error else json_of({"ok": True, "message": answer.message})

    async def read(self, kind: str, written: object) -> Said:
        """What a request of that kind means. Raises ValueError with a sentence."""
        if kind == "mark":
            return mark_from(written, self.labels, self._now_ns())
        if kind == "silence":
            await self._look()
            return silence_from(written, values(self._metrics.levels), self._now_ns())
        if kind == "change":
            return change_from(written, self._now_ns())
        return acknowledgement_from(written, self._now_ns())

    async def say(self, words: tuple[Said, ...]) -> tuple[Answer, ...]:
        """Have it taken in and saved. Raises QueueFull, or TimeoutError where that takes too long."""
        arrival = Arrival((), {}, asyncio.get_running_loop().create_future(), marks=words)
        self._arrivals.put_nowait(arrival)
        assert arrival.answers is not None
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await arrival.answers

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """The labels of each rule's series."""
        return {rule.name: rule.by for rule in self._metrics.parts.rules.rules}

    async def marks(self, request: Request) -> Response:
        """All that was said of pages and series."""
        await self._look()
        return json_of({"marks": [packed(mark) for level in self._metrics.levels for mark in level.marks]})

    async def silences(self, request: Request) -> Response:
        """All silences, those to come and those that ended of late among them."""
        await self._look()
        return json_of({"silences": [_shown(*one) for one in self._metrics.audience.silences]})

    def unwelcome(self, request: Request) -> str:
        """Why what this sender says is not taken; empty if it is."""
        if self._token:
            sent = request.headers.get("authorization", "").encode("utf-8", "replace")
            welcome = hmac.compare_digest(sent, f"Bearer {self._token}".encode())
            return "" if welcome else "send Authorization: Bearer with the token of TOCSIN_WEB__TOKEN"
        # A name that is not ours may be another site's, led here to be let in by the browser.
        if request.client and is_loopback(request.client.host) and is_local(request.headers.get("host", "")):
            return ""
        return "this is taken from this machine alone; set TOCSIN_WEB__TOKEN to take it from others"

    def is_led_here(self, request: Request) -> bool:
        """Whether a request comes to this machine under a name that a page of another site may have made lead here."""
        server = request.scope.get("server") or ("", 0)
        return not self._token and is_loopback(server[0]) and not is_local(request.headers.get("host", ""))


def _shown(silence: Silence, state: str) -> dict[str, Any]:
    """A silence as the API shows it."""
    return {
        "id": silence.silence_id,
        "matchers": list(map(str, silence.matchers)),
        "state": state,
        "from_s": silence.from_ns / SECOND_NS,
        "until_s": silence.until_ns / SECOND_NS,
        "by": silence.by,
        "why": silence.why,
    }


def values(levels: Sequence[Level]) -> dict[str, set[str]]:
    """The values that each label has, in any series that was seen or rule that there is."""
    found: dict[str, set[str]] = {name: set() for name in (*GROUP_LABELS, "alertname")}
    for level in levels:
        rule = level.rule
        fixed = {"alert": rule.name, "alertname": rule.name, "severity": rule.severity.value, **dict(rule.labels)}
        for name, value in fixed.items():
            found.setdefault(name, set()).add(value)
        for place, name in enumerate(rule.by):
            found[name].update(labels[place] for labels in level.labels)
    return found


def is_local(host: str) -> bool:
    """Whether a Host header, with a port or without, names this machine as only it can be named."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or is_loopback(name)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The body of a request. Raises ValueError where it is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > bytes_max:
            raise ValueError(f"what is sent here is at most {bytes_max >> 10} KiB")
    return body


def refused(status: int, error: str) -> Response:
    return json_of({"ok": False, "error": error}, status)


def json_of(value: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer in ASCII, so that any text can stand in it."""
    return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")
