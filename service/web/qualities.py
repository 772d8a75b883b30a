"""What pages were worth: `GET /api/v1/quality[?weeks=4][&by=team]`."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.own_metrics.selfmetrics import SelfMetrics
from service.reports.quality import BY_RULE, quality
from service.web.people import json_of, refused

WEEKS, WEEKS_MAX = 4.0, 520.0
OPTIONS = ("weeks", "by")


class Qualities:
    """The page of one daemon.

    look    has the levels taken, as they stand now
    now_ns  event time
    """

    def __init__(self, metrics: SelfMetrics, look: Callable[[], Awaitable[None]], now_ns: Callable[[], int]) -> None:
        self._metrics, self._look, self._now_ns = metrics, look, now_ns
        self.paths = {"/api/v1/quality": self.told}

    async def told(self, request: Request) -> Response:
        """Alert quality by rule, or by a label of rules."""
        given = dict(request.query_params)
        if unknown := [name[:100] for name in given if name not in OPTIONS]:
            return refused(400, f'"{unknown[0]}" is not known; there are {", ".join(OPTIONS)}')
        try:
            weeks = float(given.get("weeks", WEEKS))
        except ValueError:
            weeks = 0.0
        if not 0 < weeks <= WEEKS_MAX:
            return refused(400, f"weeks: write a number above 0 and up to {WEEKS_MAX:g}, such as {WEEKS:g}")
        await self._look()
        levels, by = self._metrics.levels, given.get("by", BY_RULE)
        known = sorted({name for level in levels for name, _ in level.rule.labels})
        if by != BY_RULE and by not in known:
            return refused(400, f'by: no rule has a label "{by:.100}"; write {", ".join([BY_RULE, *known])}')
        return json_of(quality(levels, self._now_ns(), weeks, by))

    async def week(self, monday_ns: int) -> dict[str, Any]:
        """Alert quality of the week before that Monday, by rule."""
        await self._look()
        return quality(self._metrics.levels, monday_ns, 1.0)
