"""`/metrics` for Prometheus, `/-/healthy` and `/-/ready` for whoever runs us, `/api/v1/…` for everybody else.

Bound to this machine unless the settings say otherwise. Everything shown was taken between two steps. The one thing
that can be written are marks, what people say of pages: from this machine, or with the token that the settings have.
"""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from alertrules.marks import mark_from, packed
from service.explain import alert_told, explained, told
from service.readiness import Readiness
from service.rule_files import RulesError
from service.selfmetrics import SelfMetrics, level_families
from service.sources.arrival import Arrival, Arrivals
from service.watch import Level

BODY_MAX = 64 << 10
ANSWER_TIMEOUT_S = 30.0
Reply = Callable[[Request], Awaitable[Response]]


class Scrape(Collector):
    """What one request for /metrics shows: health as it is now, levels as they were last taken."""

    def __init__(self, health: list[Metric], levels: list[Level]) -> None:
        self.health, self.levels = health, levels

    def collect(self) -> Iterator[Metric]:
        yield from self.health
        yield from level_families(self.levels)


class Web:
    """The routes over one daemon's metrics.

    look       has the levels taken, as they stand now
    readiness  says what it waits for, and what somebody should look into
    reload     has the rule files read again
    hangs      says what runs for longer than it may, nothing while it is healthy
    """

    def __init__(
        self, metrics: SelfMetrics, arrivals: Arrivals, now_ns: Callable[[], int], token: str,
        look: Callable[[], Awaitable[None]], readiness: Readiness, reload: Callable[[], "asyncio.Future[str]"],
        hangs: Callable[[], str],
    ) -> None:  # fmt: skip
        self.metrics, self.arrivals, self.now_ns = metrics, arrivals, now_ns
        self._look, self._readiness, self._reload, self.hangs = look, readiness, reload, hangs
        self._token = token
        self._paths = {
            "/metrics": self.scraped,
            "/-/healthy": self.healthy,
            "/-/ready": self.ready,
            "/api/v1/alerts": self.alerts,
            "/api/v1/rules": self.rules,
            "/api/v1/rules/{name}": self.rule,
            "/api/v1/marks": self.marks,
            "/api/v1/destinations": self.destinations,
        }
        routes = [Route(path, self._at_home(reply)) for path, reply in self._paths.items()]
        self.app = Starlette(
            routes=[
                Route("/", self._at_home(self.index)),
                Route("/api/v1/marks", self.mark, methods=["POST"]),
                Route("/-/reload", self.reload, methods=["POST"]),
                *routes,
            ]
        )

    @property
    def _labels(self) -> Mapping[str, Sequence[str]]:
        """The labels of each rule's series."""
        return {rule.name: rule.by for rule in self.metrics.parts.rules.rules}

    def _at_home(self, reply: Reply) -> Reply:
        """Refuse requests to this machine under another name: a page of another site can make its own lead here."""

        async def checked(request: Request) -> Response:
            server = request.scope.get("server") or ("", 0)
            if not self._token and _is_loopback(server[0]) and not _is_local(request.headers.get("host", "")):
                return _refused(403, "ask for localhost or 127.0.0.1, or set TOCSIN_WEB__TOKEN to allow other names")
            return await reply(request)

        return checked

    async def _levels(self) -> list[Level]:
        await self._look()
        return self.metrics.levels

    async def index(self, request: Request) -> Response:
        return PlainTextResponse("Tocsin\n" + "".join(f"{path}\n" for path in self._paths))

    async def scraped(self, request: Request) -> Response:
        levels = await self._levels()
        scrape = Scrape(self.metrics.health(), levels)
        # Rendering many series takes a while, and Kafka's heartbeats share this loop.
        return Response(await asyncio.to_thread(generate_latest, scrape), media_type=CONTENT_TYPE_LATEST)

    async def healthy(self, request: Request) -> Response:
        if reason := self.hangs():
            return PlainTextResponse(f"hangs: {reason}\n", 503)
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        if reason := self._readiness.missing():
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        # Telemetry is taken in all the same, and whoever sends it must not be turned away.
        failing = [f"but {one['name']} {one['problem']}\n" for one in self._destinations() if one["problem"]]
        return PlainTextResponse(
            "ready\n" + "".join([*failing, *(f"but {note}\n" for note in self._readiness.notes())])
        )

    async def alerts(self, request: Request) -> Response:
        levels = await self._levels()
        found = [(level, labels, alert) for level in levels for labels, alert in level.alerts.items()]
        return _json({"alerts": [alert_told(*one) for one in found]})

    async def rules(self, request: Request) -> Response:
        return _json({"rules": [told(level) for level in await self._levels()]})

    async def rule(self, request: Request) -> Response:
        """One rule and its series; `?agent=support` picks those with that label."""
        name, wanted = request.path_params["name"], dict(request.query_params)
        if name not in self._labels:
            return _refused(404, f'"{name:.100}" is no rule; there are {", ".join(self._labels)}')
        if unknown := [label[:100] for label in wanted if label not in self._labels[name]]:
            return _refused(
                400, f'"{unknown[0]}" is not a label of its series; they have {", ".join(self._labels[name])}'
            )
        level = next((level for level in await self._levels() if level.rule.name == name), None)
        if level is None:
            return _refused(503, "nothing was judged yet; try again in a second")
        return _json(await asyncio.to_thread(explained, level, wanted))

    async def destinations(self, request: Request) -> Response:
        return _json({"destinations": self._destinations()})

    def _destinations(self) -> list[dict[str, Any]]:
        """Who is told, and what keeps each of them from hearing; empty while nothing does."""
        parts = self.metrics.parts
        standings, failing_s, waiting = parts.deliverer.standings(), parts.deliverer.failing_s(), parts.outbox.counts()
        told = []
        for destination in parts.destinations:
            name, failing = destination.name, standings[destination.name].failing
            problem = (
                f"has taken nothing for {failing_s[name]:.0f} s: {failing.reason}, {failing.said}" if failing else ""
            )
            told.append(
                {
                    "name": name,
                    "place": destination.target.place,
                    "failing_seconds": round(failing_s[name], 3),
                    "reason": failing.reason.value if failing else "",
                    "problem": problem,
                    "waiting": waiting[name, "waiting"],
                }
            )
        return told

    async def reload(self, request: Request) -> Response:
        """Read the rule files again; answered once they are in use, or were found wrong."""
        if problem := self._unwelcome(request):
            return _refused(403, problem)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return _json({"ok": True, "message": await asyncio.shield(self._reload())})
        except TimeoutError:
            return _refused(503, "not read yet; look at tocsin_rules_last_reload_successful in a while")
        except RulesError as error:
            return _refused(400, str(error))

    async def marks(self, request: Request) -> Response:
        return _json({"marks": [packed(mark) for level in await self._levels() for mark in level.marks]})

    async def mark(self, request: Request) -> Response:
        """Take a mark; answered once it is saved."""
        if problem := self._unwelcome(request):
            return _refused(403, problem)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _refused(415, "send application/json")  # A page of another site cannot, without asking first.
        try:
            mark = mark_from(json.loads(await _body(request)), self._labels, self.now_ns())
        except (ValueError, RecursionError) as error:
            return _refused(400, str(error))
        arrival = Arrival((), {}, asyncio.get_running_loop().create_future(), marks=(mark,))
        try:
            self.arrivals.put_nowait(arrival)
        except asyncio.QueueFull:
            return _refused(503, "too much waits to be read; try again in a second")
        assert arrival.answers is not None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                (answer,) = await arrival.answers
        except TimeoutError:
            return _refused(503, "not taken in yet; look at /api/v1/marks in a while")
        return _refused(404, answer.error) if answer.error else _json({"ok": True, "message": answer.message})

    def _unwelcome(self, request: Request) -> str:
        """Why this sender's marks are not taken; empty if they are."""
        if self._token:
            sent = request.headers.get("authorization", "").encode("utf-8", "replace")
            welcome = hmac.compare_digest(sent, f"Bearer {self._token}".encode())
            return "" if welcome else "send Authorization: Bearer with the token of TOCSIN_WEB__TOKEN"
        # A name that is not ours may be another site's, led here to be let in by the browser.
        if request.client and _is_loopback(request.client.host) and _is_local(request.headers.get("host", "")):
            return ""
        return "this is taken from this machine alone; set TOCSIN_WEB__TOKEN to take it from others"


def _is_local(host: str) -> bool:
    """Whether a Host header, with a port or without, names this machine as only it can be named."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_MAX:
            raise ValueError("a mark is at most 64 KiB")
    return body


def _refused(status: int, error: str) -> Response:
    return _json({"ok": False, "error": error}, status)


def _json(value: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer in ASCII, so that any text can stand in it."""
    return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")
