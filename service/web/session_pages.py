"""`/api/v1/sessions`: what is known of one session, and who names sessions at all. Read beside the writer."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from alertrules.ledger import WEEK_NS
from alertrules.links import Links
from service.ingest.prices import DAY_NS
from service.ledger import asked
from service.ledger.by_day import by_day
from service.ledger.by_day_words import days_told
from service.ledger.cohort_words import cohorts_told
from service.ledger.cohorts import cohorts
from service.ledger.histories import days_ago, histories
from service.ledger.review_words import review_told
from service.ledger.session_file import reading
from service.ledger.sessions import Sessions
from service.ledger.worst import review, weights
from service.pipeline.pipeline import Pipeline
from service.web.people import json_of, refused
from service.wiring import key_of

T = TypeVar("T")
WEEK_DAYS, TWO_WEEKS_DAYS, MONTH_DAYS, DAYS_MAX = 7.0, 14.0, 30.0, 365.0
SESSION_ID_MAX = 1_000
NO_RECORD = "this instance keeps no record of sessions: TOCSIN_SESSIONS__RECORD is false"
NOT_KNOWN = (
    "no session of that id, and no trace of that id begins one, is in the record. A session is recorded once it has "
    "fallen silent. It is kept for TOCSIN_SESSIONS__KEEP, under a hash of its id that another data directory does not "
    "share. One that no span names is found by the id of its trace"
)


class SessionPages:
    """The pages of one daemon's record, if it keeps one."""

    def __init__(self, sessions: Sessions | None, pipeline: Pipeline, links: Links, now_ns: Callable[[], int]) -> None:
        self._sessions, self._pipeline, self._links, self._now_ns = sessions, pipeline, links, now_ns
        self._turn = asyncio.Lock()  # Some look at many rows: one at a time, so that they take one core at most.
        self.paths = {
            "/api/v1/sessions": self.audit,
            "/api/v1/cohorts": self.cohorts,
            "/api/v1/outcomes": self.outcomes,
            "/api/v1/review": self.review,
            "/api/v1/sessions/{session_id:path}": self.session,
        }

    async def session(self, request: Request) -> Response:
        """All that is known of one session."""
        name = request.path_params["session_id"]
        if len(name) > SESSION_ID_MAX:
            return refused(400, f"a session's id has at most {SESSION_ID_MAX} characters")

        def found(connection: sqlite3.Connection) -> dict[str, Any] | None:
            key = asked.key_in(connection, name, key_of(self._pipeline, name))
            return None if key is None else asked.session(connection, key, self._links)

        return await self._read(found)

    async def audit(self, request: Request) -> Response:
        """Who names sessions, in the last week or `?days=`."""
        try:
            since_ns = days_ago(self._now_ns(), days_of(request, WEEK_DAYS))
        except ValueError as error:
            return refused(400, str(error))
        return await self._read(lambda connection: asked.audit(connection, since_ns))

    async def cohorts(self, request: Request) -> Response:
        """What foretold bad ends, in the last 30 days or `?days=`, of `?agent=`, by `?outcome=`."""
        try:
            since_ns = days_ago(self._now_ns(), days_of(request, MONTH_DAYS))
        except ValueError as error:
            return refused(400, str(error))
        agent, outcome = (request.query_params.get(name, "") for name in ("agent", "outcome"))
        outcomes = self._pipeline.local.outcomes
        return await self._read(
            lambda connection: cohorts_told(cohorts(histories(connection, since_ns, outcomes, agent, outcome)))
        )

    async def outcomes(self, request: Request) -> Response:
        """What came of sessions by the day on which they ended, in whole days, the last 14 or `?days=`."""
        try:
            since_ns = days_ago(self._now_ns(), days_of(request, TWO_WEEKS_DAYS))
        except ValueError as error:
            return refused(400, str(error))
        agent, outcome = (request.query_params.get(name, "") for name in ("agent", "outcome"))
        midnight_ns, outcomes = since_ns - since_ns % DAY_NS, self._pipeline.local.outcomes
        return await self._read(
            lambda connection: days_told(by_day(histories(connection, midnight_ns, outcomes, agent, outcome)))
        )

    async def review(self, request: Request) -> Response:
        """The sessions of the last week, or `?days=`, that are most worth a look."""
        try:
            now_ns, days = self._now_ns(), days_of(request, WEEK_DAYS)
        except ValueError as error:
            return refused(400, str(error))
        return await self._read(partial(self._reviewed, now_ns, days))

    async def week(self, monday_ns: int) -> dict[str, Any] | None:
        """The review of the week before that Monday; None where there is no record. Raises sqlite3.Error."""
        if self._sessions is None:
            return None
        return await self._looked_up(self._sessions, partial(self._reviewed, monday_ns, WEEK_DAYS))

    def _reviewed(self, until_ns: int, days: float, connection: sqlite3.Connection) -> dict[str, Any]:
        since_ns, outcomes = days_ago(until_ns, days), self._pipeline.local.outcomes
        before = cohorts(histories(connection, days_ago(since_ns, MONTH_DAYS), outcomes, until_ns=since_ns))
        week = histories(connection, since_ns, outcomes, until_ns=until_ns)
        return review_told(review(week, weights(before), until_ns // WEEK_NS), self._links)

    async def _read(self, read: Callable[[sqlite3.Connection], dict[str, Any] | None]) -> Response:
        if self._sessions is None:
            return refused(404, NO_RECORD)
        try:
            found = await self._looked_up(self._sessions, read)
        except sqlite3.Error as error:
            return refused(503, f"the record of sessions cannot be read: {self._sessions.problem or error}")
        return refused(404, NOT_KNOWN) if found is None else json_of(found)

    async def _looked_up(self, sessions: Sessions, read: Callable[[sqlite3.Connection], T]) -> T:
        """Read beside the writer, in a thread. Raises sqlite3.Error."""

        def in_thread() -> T:
            with closing(reading(sessions.directory)) as connection:
                return read(connection)

        async with self._turn:
            return await asyncio.to_thread(in_thread)


def days_of(request: Request, default: float) -> float:
    """The days that a request asks for. Raises ValueError with a sentence."""
    written = request.query_params.get("days", f"{default:g}")
    try:
        days = float(written)
    except ValueError:
        days = 0.0
    if not 0 < days <= DAYS_MAX:
        raise ValueError(f'days: "{written:.40}" is not a number of days; write one above 0 and up to {DAYS_MAX:g}')
    return days
