"""`/metrics`, `/-/healthy` and `/-/ready` of an instance that judges nothing: roles ingest and sum."""

from collections.abc import Callable

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.own_metrics.exposition import Families


class PlainWeb:
    """The routes.

    health   the metrics as they are
    missing  says what keeps it from working, nothing while nothing does
    notes    says what somebody should look into
    hangs    says what runs for longer than it may, nothing while it is healthy
    """

    def __init__(
        self, health: Callable[[], list[Metric]], missing: Callable[[], str], notes: Callable[[], list[str]],
        hangs: Callable[[], str],
    ) -> None:  # fmt: skip
        self._health, self._missing, self._notes, self._hangs = health, missing, notes, hangs
        routes = {"/metrics": self.scraped, "/-/healthy": self.healthy, "/-/ready": self.ready}
        self.app = Starlette(routes=[Route(path, reply) for path, reply in routes.items()])

    async def scraped(self, request: Request) -> Response:
        return Response(generate_latest(Families(self._health())), media_type=CONTENT_TYPE_LATEST)

    async def healthy(self, request: Request) -> Response:
        if reason := self._hangs():
            return PlainTextResponse(f"hangs: {reason}\n", 503)
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        if reason := self._missing():
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        return PlainTextResponse("ready\n" + "".join(f"but {note}\n" for note in self._notes()))
