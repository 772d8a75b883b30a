"""The pages of the record where there is none, and where what is asked makes no sense."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from alertrules.links import NO_LINKS
from alertrules.parse import combine, parse_rules
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from service.web.session_pages import NO_RECORD, SESSION_ID_MAX, SessionPages

RULES = """
groups:
  - name: any
    rules: [{alert: Fails, detector: static, signal: error_ratio, above: 20%, window: 1m}]
"""


def asked(path: str) -> httpx.Response:
    """What an instance answers that keeps no record."""
    pipeline = Pipeline(IngestLimits(), combine([parse_rules(RULES, "any.yaml")]), 0)
    pages = SessionPages(None, pipeline, NO_LINKS, lambda: 1_790_000_000 * 10**9)
    routes = {
        "/sessions": pages.audit, "/cohorts": pages.cohorts, "/review": pages.review,
        "/outcomes": pages.outcomes,
        "/sessions/{session_id:path}": pages.session,
    }  # fmt: skip
    app = Starlette(routes=[Route(at, reply) for at, reply in routes.items()])

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(get())


@pytest.mark.parametrize(
    "path", ["/sessions", "/sessions/c", "/cohorts?agent=a&outcome=b", "/review?days=30", "/outcomes?agent=a"]
)
def test_without_a_record(path: str) -> None:
    """It is said that there is none, and by which setting."""
    answer = asked(path)
    assert (answer.status_code, answer.json()["error"]) == (404, NO_RECORD)


@pytest.mark.parametrize("days", ["no", "0", "-1", "nan", "366", "inf", ""])
def test_days_that_make_no_sense(days: str) -> None:
    """What was read, and what to write."""
    for page in ("sessions", "cohorts", "review", "outcomes"):
        answer = asked(f"/{page}?days={days}")
        assert answer.status_code == 400 and "write one above 0 and up to 365" in answer.json()["error"]


def test_a_long_id_is_no_id() -> None:
    """It is refused before it is hashed."""
    assert asked("/sessions/" + "x" * (SESSION_ID_MAX + 1)).status_code == 400
