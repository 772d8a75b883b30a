"""`POST /api/v1/outcomes`: outcomes of sessions that come late, one or many. Answered once they are written."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.ledger.late import Late, Problem, Result, late_from, summed
from service.ledger.session_file import SessionFileError
from service.ledger.sessions import Sessions
from service.pipeline.pipeline import Pipeline
from service.runtime.watchdog import Watchdog
from service.web.people import People, body_of, json_of, refused
from service.web.session_pages import NO_RECORD

LATE_BODY_MAX = 8 << 20
PROBLEMS_SHOWN = 20


class LateDoor:
    """The door of one daemon; who may mark pages may use it."""

    def __init__(
        self, people: People, sessions: Sessions | None, pipeline: Pipeline, work: Watchdog, now_ns: Callable[[], int]
    ) -> None:
        self._people, self._sessions, self._pipeline = people, sessions, pipeline
        self._work, self._now_ns = work, now_ns

    def route(self) -> Route:
        """Where it is."""
        return Route("/api/v1/outcomes", self.take, methods=["POST"])

    async def take(self, request: Request) -> Response:
        """Take late outcomes. Of a list the good ones are taken, whatever the others are."""
        if problem := self._people.unwelcome(request):
            return refused(403, problem)
        if self._sessions is None:
            return refused(404, NO_RECORD)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return refused(415, "send application/json")
        now_ns = self._now_ns()
        try:
            body = await body_of(request, LATE_BODY_MAX)
            found, problems = await asyncio.to_thread(self._read, body, now_ns)
        except (ValueError, RecursionError) as error:
            return refused(400, str(error))
        self._sessions.late[Result.MALFORMED] += len(problems)
        try:
            results = await self._work.run("late outcomes", partial(self._sessions.hear, found, now_ns))
        except (sqlite3.Error, OSError, SessionFileError) as error:
            return refused(503, f"nothing was taken, as the record of sessions cannot be written: {error}")
        return _answer(results, problems)

    def _read(self, body: bytes, now_ns: int) -> tuple[list[Late], list[Problem]]:
        return late_from(json.loads(body), now_ns, self._pipeline.local.outcomes)


def _answer(results: Counter[Result], problems: list[Problem]) -> Response:
    """What became of each, and which are wrong."""
    told = {
        "results": {result.value: count for result, count in results.items()},
        "problems": [problem._asdict() for problem in problems[:PROBLEMS_SHOWN]],
    }
    if not problems:
        return json_of({"ok": True, "message": summed(results) or "nothing was sent", **told})
    of = len(problems) + results.total()
    error = f"{len(problems)} of {of} are not taken; item {problems[0].item}: {problems[0].said}"
    return json_of({"ok": False, "error": error, **told}, 400)
