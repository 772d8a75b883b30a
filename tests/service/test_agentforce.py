"""Agentforce, against a stand-in of the vendor's server: what is read, in which order, and what of its errors."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.config.roles import checked
from service.config.settings import PREFIX, SettingsError, load
from service.delivery.client import new_client
from service.sources.agentforce_api import Api, Why
from service.sources.agentforce_poll import AGENTFORCE, AgentforceSource
from service.sources.arrival import Arrival
from tests.service.running import running
from tests.service.salesforce import CLIENT, SECRET, Org, ok, serving, wrong

S = 10**9
NOW = 1_800_000_000 * S
MINUTE = 60 * S
HOLD = 30 * MINUTE


@pytest.fixture
def org() -> Iterator[Org]:
    with serving(Org()) as one:
        yield one


class Polling:
    """A source on a clock that the test moves, and what it has put on the queue."""

    def __init__(self, org: Org, offsets: dict[str, int] | None = None, secret: str = SECRET) -> None:
        settings = load({
            f"{PREFIX}AGENTFORCE__INSTANCE_URL": org.url, f"{PREFIX}AGENTFORCE__CLIENT_ID": CLIENT,
            f"{PREFIX}AGENTFORCE__CLIENT_SECRET": secret,
        }).agentforce  # fmt: skip
        self.now_ns, self.arrivals = NOW, asyncio.Queue[Arrival]()
        api = Api(settings, new_client(1, ssl.create_default_context()), 1 << 20, lambda: self.now_ns / S)
        self.api, self.settings = api, settings
        self.source = AgentforceSource(settings, self.arrivals, offsets or {}, api, lambda: self.now_ns)

    def poll(self, *later_ns: int) -> list[float]:
        """Polls at these times after now; how long each asked to wait."""

        async def each() -> list[float]:
            waits = []
            for later in later_ns:
                self.now_ns = NOW + later
                waits.append(await self.source.poll())
            await self.api.close()
            return waits

        waited = asyncio.run(each())
        # Each run of a loop has a client of its own.
        self.api._client = new_client(1, ssl.create_default_context())
        return waited

    def came(self) -> list[list[int]]:
        """Ends of the spans of each arrival since the last look, and the offset that it brings at the end."""
        found = []
        while not self.arrivals.empty():
            arrival = self.arrivals.get_nowait()
            spans = [
                int(span["endTimeUnixNano"])
                for record in arrival.records
                for group in json.loads(record.body)["resourceSpans"]
                for scope in group["scopeSpans"]
                for span in scope["spans"]
            ]
            found.append([*spans, arrival.offsets[AGENTFORCE]])
        return found


def test_spans_of_sessions_beside_each_other_come_in_the_order_in_which_they_ended(org: Org) -> None:
    """A session is exported whole once it has ended; its first spans lie before those of one that ended sooner."""
    t = NOW - 40 * MINUTE
    org.add("short", [(t, t + 2 * MINUTE), (t, t + MINUTE)])
    org.add("long", [(t - MINUTE, t + 20 * MINUTE), (t, t + 30 * S), (t, t + 15 * MINUTE)])
    polling = Polling(org)
    assert polling.poll(0) == [60.0]
    assert polling.came() == [[t + 30 * S, t + MINUTE, t + 2 * MINUTE, NOW - HOLD]]
    polling.poll(5 * MINUTE, 10 * MINUTE)
    assert polling.came() == [[t + 15 * MINUTE, NOW + 5 * MINUTE - HOLD], [t + 20 * MINUTE, NOW + 10 * MINUTE - HOLD]]
    assert org.asked["GET /services/data/v66.0/einstein/audit/otel/long"] == 1
    assert (polling.source.sessions, polling.source.spans, polling.source.waiting) == (2, 5, 0)


def test_spans_get_the_session_that_they_do_not_name(org: Org) -> None:
    """By its id the vendor gave the session, whatever its spans say of it."""
    t = NOW - 40 * MINUTE
    org.add("0197-abc", [(t, t + MINUTE)])
    polling = Polling(org)
    polling.poll(0)
    body = json.loads(polling.arrivals.get_nowait().records[0].body)
    told = body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    assert {"key": "gen_ai.conversation.id", "value": {"stringValue": "0197-abc"}} in told


def test_a_restart_goes_on_where_the_state_was_saved(org: Org) -> None:
    """What was on the queue by then does not come again, and what was not is asked for again."""
    t = NOW - 40 * MINUTE
    org.add("a", [(t, t + 12 * MINUTE), (t, t + MINUTE)])
    first = Polling(org)
    first.poll(0)
    ((end, position),) = first.came()
    assert end == t + MINUTE
    second = Polling(org, {AGENTFORCE: position})
    second.poll(5 * MINUTE)
    assert second.came() == [[t + 12 * MINUTE, NOW + 5 * MINUTE - HOLD]]
    assert second.source.late == 1


def test_lists_come_in_pages(org: Org) -> None:
    """As many as the answer says there are; a list that ends early is a failure, and nothing is passed by."""
    t = NOW - 20 * MINUTE
    for number in range(7):
        org.add(f"s{number}", [(t, t + number * MINUTE + S)])
    polling = Polling(org)
    polling.poll(0)
    assert polling.source.sessions == 7
    assert org.asked["GET /services/data/v66.0/ssot/query-sql/q1/rows"] == 3
    org.instead["/rows"] = [ok({"data": []})]
    before = polling.source.position_ns
    polling.poll(MINUTE)
    assert polling.source.failures[Why.MALFORMED] == 1 and polling.source.position_ns == before


def test_a_token_is_renewed_before_its_end_and_when_it_was_ended(org: Org) -> None:
    """Half an hour where nobody says; and once more on 401."""
    polling = Polling(org)
    polling.poll(0, MINUTE, 28 * MINUTE)
    assert org.asked["POST /services/oauth2/token"] == 1
    polling.poll(29 * MINUTE + S)
    assert org.asked["POST /services/oauth2/token"] == 2
    org.tokens.clear()
    polling.poll(30 * MINUTE)
    assert org.asked["POST /services/oauth2/token"] == 3 and not polling.source.failures


def test_a_credential_that_is_not_taken_is_said_and_never_shown(org: Org, caplog: pytest.LogCaptureFixture) -> None:
    """Though the vendor repeats it. It is tried again, more and more seldom; said once."""
    with caplog.at_level(logging.INFO, "tocsin.agentforce"):
        waits = Polling(org, secret="hunter2").poll(0, MINUTE, 3 * MINUTE)
    assert waits == [60.0, 120.0, 240.0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "credential: invalid_client" in line and "TOCSIN_AGENTFORCE__CLIENT_SECRET" in line
    assert "hunter2" not in caplog.text and "***" in line


@pytest.mark.parametrize(
    ("answer", "why", "wait_s"),
    [
        (wrong(503, "SERVICE_UNAVAILABLE", "rate limit", Retry_After="300"), Why.THROTTLED, 300.0),
        (wrong(429, "TOO_MANY_REQUESTS", "slow down"), Why.THROTTLED, 60.0),
        (wrong(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), Why.THROTTLED, 60.0),
        (wrong(403, "INSUFFICIENT_ACCESS", "no access"), Why.FORBIDDEN, 60.0),
        (wrong(400, "BAD_REQUEST", "No selected dataspace"), Why.FORBIDDEN, 60.0),
        ((500, {}, b"<html>"), Why.UNAVAILABLE, 60.0),
        ((302, {"Location": "https://login.example.com"}, b""), Why.MALFORMED, 60.0),
        ((200, {}, b"[]"), Why.MALFORMED, 60.0),
        ((200, {}, b"[" * 100_000), Why.MALFORMED, 60.0),
    ],
)
def test_an_org_that_fails_is_waited_for(
    org: Org, answer: tuple[int, dict[str, str], bytes], why: Why, wait_s: float
) -> None:
    """The position stays, so that nothing is passed by; the next poll reads what this one could not."""
    t = NOW - 40 * MINUTE
    org.add("a", [(t, t + MINUTE)])
    org.instead["/query-sql"] = [answer]
    polling = Polling(org)
    before = polling.source.position_ns
    assert polling.poll(0) == [wait_s]
    assert polling.source.failures == {why: 1} and polling.source.position_ns == before and not polling.came()
    polling.poll(MINUTE)
    assert polling.source.spans == 1 and polling.source.polls == {"failed": 1, "ok": 1}


def test_a_throttle_among_sessions_holds_the_position_before_those_that_are_missing(org: Org) -> None:
    """What was read before it counts; it is not read again."""
    t = NOW - 50 * MINUTE
    org.add("a", [(t, t + MINUTE)])
    org.add("b", [(t + 30 * S, t + 5 * MINUTE), (t + 30 * S, t + 2 * MINUTE)])
    org.instead["/otel/b"] = [wrong(503, "SERVER_UNAVAILABLE", "limit")]
    polling = Polling(org)
    polling.poll(0)
    assert polling.came() == [[t + 30 * S - 1]]
    polling.poll(MINUTE)
    assert polling.came() == [[t + MINUTE, t + 2 * MINUTE, t + 5 * MINUTE, NOW + MINUTE - HOLD]]
    assert org.asked["GET /services/data/v66.0/einstein/audit/otel/a"] == 1


def test_a_session_that_cannot_be_read_is_tried_until_its_time_has_come(org: Org) -> None:
    """Then it is lost, and counted by why; others beside it are not. One that is there by then is read."""
    t = NOW - 25 * MINUTE
    org.add("good", [(t, t + MINUTE)])
    org.add("late", [(t, t + 2 * MINUTE)])
    org.sessions["broken"] = (t, t + 2 * MINUTE, b'{"resourceSpans": 7}')
    org.sessions["huge"] = (t, t + 2 * MINUTE, b" " * (2 << 20))
    org.instead["/otel/late"] = [wrong(404, "NOT_FOUND", "not there yet")]
    polling = Polling(org)
    polling.poll(0)
    assert polling.source.failures == {Why.GONE: 1, Why.MALFORMED: 1, Why.TOO_LARGE: 1} and not polling.source.lost
    polling.poll(10 * MINUTE)
    assert polling.came()[-1][:-1] == [t + MINUTE, t + 2 * MINUTE]
    assert polling.source.lost == {Why.MALFORMED: 1, Why.TOO_LARGE: 1}


def test_any_document_is_read_or_refused(org: Org) -> None:
    """Whatever a session holds where lists, objects and times are expected."""
    t = NOW - 40 * MINUTE
    odd: list[dict[str, Any]] = [
        {"resourceSpans": [None, 3, {"scopeSpans": "x"}, {"scopeSpans": [None, {"spans": [None, 1, {}]}]}]},
        {"resourceSpans": [{"resource": 5, "scopeSpans": [{"spans": [{"endTimeUnixNano": "9" * 40}]}]}]},
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"endTimeUnixNano": -1, "attributes": {"a": 1}}]}]}]},
    ]
    for number, document in enumerate(odd):
        org.sessions[f"odd{number}"] = (t, t + MINUTE, document)
    polling = Polling(org)
    polling.poll(0)
    assert polling.source.sessions == 3 and polling.source.spans == 3


def test_no_answer_is_waited_for(org: Org) -> None:
    """Nobody listens there."""
    polling = Polling(org)
    org.url = "http://127.0.0.1:9"
    lost = Polling(org)
    assert lost.poll(0) == [60.0] and lost.source.failures == {Why.UNREACHABLE: 1}
    assert polling.source.delay_s() == 3600.0


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"INSTANCE_URL": "http://example.my.salesforce.com"}, "a secret is sent there, so it must be https"),
        ({"INSTANCE_URL": "https://me:pw@example.com"}, "this is not the URL of an org"),
        ({"INSTANCE_URL": "https://example.com/services"}, "this is not the URL of an org"),
        ({"CLIENT_SECRET": ""}, "is empty"),
        ({"API_VERSION": "66"}, "write it as v66.0"),
        ({"LOOK_BACK": "73h"}, "less than or equal"),
    ],
)
def test_settings_say_what_to_write(more: dict[str, str], line: str) -> None:
    """TLS but on this machine, a version, and what is exported at all."""
    given = {"INSTANCE_URL": "https://example.my.salesforce.com", "CLIENT_ID": "a", "CLIENT_SECRET": "b", **more}
    with pytest.raises(SettingsError, match=line):
        load({f"{PREFIX}AGENTFORCE__{name}": text for name, text in given.items()})


def test_it_is_alone() -> None:
    """An org without an app, and one beside Kafka, are refused before anything starts."""
    url = {f"{PREFIX}AGENTFORCE__INSTANCE_URL": "https://example.my.salesforce.com"}
    with pytest.raises(SettingsError, match=r"CLIENT_ID and …__CLIENT_SECRET"):
        load(url)
    app = {f"{PREFIX}AGENTFORCE__CLIENT_ID": "a", f"{PREFIX}AGENTFORCE__CLIENT_SECRET": "b"}
    assert checked(load(url | app)).agentforce.client_id == "a"
    with pytest.raises(SettingsError, match="data directory of its own"):
        checked(load(url | app | {f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": "localhost:9092"}))


def test_a_daemon_counts_what_agents_did_in_salesforce(org: Org, tmp_path: Path) -> None:
    """From the org to the levels of the rules, and on where it was after kill -9."""
    now = time.time_ns()
    for number in range(30):
        t = now - 40 * MINUTE + number * 10 * S
        org.add(f"s{number}", [(t, t + 4 * S), (t + S, t + 2 * S)])
    org.page_rows = 100
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    settings = {
        "AGENTFORCE__INSTANCE_URL": org.url, "AGENTFORCE__CLIENT_ID": CLIENT,
        "AGENTFORCE__CLIENT_SECRET_FILE": str(secret), "AGENTFORCE__POLL_EVERY": "1s", "SAVE_EVERY": "100ms",
    }  # fmt: skip
    for again in (False, True):
        with running(tmp_path, **settings) as daemon:
            _, web = daemon.addresses()
            until_s, text = time.monotonic() + 30, ""
            while time.monotonic() < until_s and 'polls_total{result="ok"} 2' not in text:
                time.sleep(0.1)
                text = httpx.get(f"{web}/metrics").text
            assert f"tocsin_agentforce_spans_total {0 if again else 60}" in text, text
            assert 'tocsin_dropped_total{reason="late"} 0.0' in text
            assert f"tocsin_spans_total {0 if again else 60}.0" in text
            assert SECRET not in daemon.said and "00D!" not in daemon.said
            daemon.kill()
