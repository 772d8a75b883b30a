"""`/metrics` for Prometheus, `/-/healthy` and `/-/ready` for whoever runs us, `/api/v1/…` for everybody else.

Bound to this machine unless the settings say otherwise. Everything shown was taken between two steps. What can be
written is what people say (people.py), and what vendors send back of it (vendors.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from detectors.core.columns import SECOND_NS
from service.own_metrics.exposition import page
from service.own_metrics.selfmetrics import SelfMetrics
from service.pipeline.rule_runner import Level
from service.reports.explain import alert_told, explained, told
from service.rule_files import RulesError
from service.runtime.readiness import Readiness
from service.web.people import ANSWER_TIMEOUT_S, People, json_of, refused

Reply = Callable[[Request], Awaitable[Response]]


class Web:
    """The routes over one daemon's metrics.

    doors      where something is sent
    pages      of others, by their paths
    look       has the levels taken, as they stand now
    readiness  says what it waits for, and what somebody should look into
    reload     has the rule files read again
    hangs      says what runs for longer than it may, nothing while it is healthy
    """

    def __init__(
        self, metrics: SelfMetrics, people: People, doors: Sequence[Route], pages: Mapping[str, Reply],
        look: Callable[[], Awaitable[None]], readiness: Readiness, reload: Callable[[], "asyncio.Future[str]"],
        hangs: Callable[[], str],
    ) -> None:  # fmt: skip
        self.metrics, self._people = metrics, people
        self._look, self._readiness, self._reload, self.hangs = look, readiness, reload, hangs
        self._paths = {
            "/metrics": self.scraped,
            "/-/healthy": self.healthy,
            "/-/ready": self.ready,
            "/api/v1/alerts": self.alerts,
            "/api/v1/rules": self.rules,
            "/api/v1/rules/{name}": self.rule,
            "/api/v1/marks": people.marks,
            "/api/v1/silences": people.silences,
            "/api/v1/destinations": self.destinations,
            **pages,
        }
        routes = [Route(path, self._at_home(reply)) for path, reply in self._paths.items()]
        self.app = Starlette(
            routes=[
                Route("/", self._at_home(self.index)),
                *doors,
                Route("/-/reload", self.reload, methods=["POST"]),
                *routes,
            ]
        )

    def _at_home(self, reply: Reply) -> Reply:
        """Refuse requests to this machine under another name: a page of another site can make its own lead here."""

        async def checked(request: Request) -> Response:
            if self._people.is_led_here(request):
                return refused(403, "ask for localhost or 127.0.0.1, or set TOCSIN_WEB__TOKEN to allow other names")
            return await reply(request)

        return checked

    async def _levels(self) -> list[Level]:
        await self._look()
        return self.metrics.levels

    async def index(self, request: Request) -> Response:
        return PlainTextResponse("Tocsin\n" + "".join(f"{path}\n" for path in self._paths))

    async def scraped(self, request: Request) -> Response:
        levels = await self._levels()
        # Rendering many series takes a while, and Kafka's heartbeats share this loop.
        text = await asyncio.to_thread(page, self.metrics.health(), levels)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

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
        return json_of({"alerts": [alert_told(*one) | self._audience(one[2].alert_id) for one in found]})

    def _audience(self, alert_id: str) -> dict[str, Any]:
        """Who was told of an alert, who is not told now and why, and who has acknowledged it."""
        one = self.metrics.audience.alerts.get(alert_id)
        if one is None:
            return {"receivers": [], "groups": [], "suppressed": [], "acknowledged": None}
        suppressed = [{"receiver": to, "state": why.kind.value, "by": why.by} for to, why in one.suppressed]
        acknowledged = {"by": one.acknowledged_by, "at_s": one.acknowledged_ns / SECOND_NS}
        return {
            "receivers": one.told,
            "groups": one.groups,
            "suppressed": suppressed,
            "acknowledged": acknowledged if one.acknowledged_by else None,
        }

    async def rules(self, request: Request) -> Response:
        return json_of({"rules": [told(level) for level in await self._levels()]})

    async def rule(self, request: Request) -> Response:
        """One rule and its series; `?agent=support` picks those with that label."""
        name, wanted = request.path_params["name"], dict(request.query_params)
        if name not in self._people.labels:
            return refused(404, f'"{name:.100}" is no rule; there are {", ".join(self._people.labels)}')
        if unknown := [label[:100] for label in wanted if label not in self._people.labels[name]]:
            return refused(
                400, f'"{unknown[0]}" is not a label of its series; they have {", ".join(self._people.labels[name])}'
            )
        level = next((level for level in await self._levels() if level.rule.name == name), None)
        if level is None:
            return refused(503, "nothing was judged yet; try again in a second")
        return json_of(await asyncio.to_thread(explained, level, wanted))

    async def destinations(self, request: Request) -> Response:
        return json_of({"destinations": self._destinations()})

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
        if problem := self._people.unwelcome(request):
            return refused(403, problem)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return json_of({"ok": True, "message": await asyncio.shield(self._reload())})
        except TimeoutError:
            return refused(503, "not read yet; look at tocsin_rules_last_reload_successful in a while")
        except RulesError as error:
            return refused(400, str(error))
