"""Two versions beside each other: `GET /api/v1/compare?agent=support&old=v2.3&new=v2.4[&tenant=acme]`."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from service.own_metrics.selfmetrics import SelfMetrics
from service.reports.side_by_side import compared
from service.web.people import json_of, refused

ASKED = ("agent", "old", "new")


class Comparisons:
    """The page of one daemon.

    look  has the levels taken, as they stand now
    """

    def __init__(self, metrics: SelfMetrics, look: Callable[[], Awaitable[None]]) -> None:
        self._metrics, self._look = metrics, look
        self.paths = {"/api/v1/compare": self.told}

    async def told(self, request: Request) -> Response:
        """What is known of the two."""
        given = dict(request.query_params)
        if missing := [name for name in ASKED if not given.get(name)]:
            return refused(400, f'"{missing[0]}" is missing; ask ?agent=support&old=v2.3&new=v2.4')
        if unknown := [name[:100] for name in given if name not in (*ASKED, "tenant")]:
            return refused(400, f'"{unknown[0]}" is not known; there are {", ".join(ASKED)}, tenant')
        await self._look()
        try:
            agent, old, new = (given[name] for name in ASKED)
            return json_of(compared(self._metrics.levels, agent, old, new, given.get("tenant")))
        except LookupError as error:
            return refused(404, str(error.args[0]))
