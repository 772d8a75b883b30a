"""A running daemon's record of sessions: asked by `tocsin session`, after a kill -9, and where its file is damaged."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from service.ledger.session_file import SESSIONS_FILE
from tests.service.ingest.wire import EPOCH_S, Sent, agent, chat, json_body
from tests.service.running import running
from tests.service.test_marks import tocsin

JSON = {"Content-Type": "application/json"}
QUICK = {"SAVE_EVERY": "100ms", "LATENESS": "1s", "SESSION_IDLE": "1s"}


def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    until_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.1)


def send(door: str, *spans: Sent) -> None:
    """Send spans, and have event time go on."""
    sent = httpx.post(door + "/v1/traces", content=json_body(*spans), headers=JSON, trust_env=False)
    assert sent.status_code == 200, sent.content


def conversation(door: str, number: int, name: str) -> None:
    """A session of one turn, a minute ago."""
    at_s = time.time() - EPOCH_S - 60
    root = agent(number, 1, at_s - 3, at_s, gen_ai__conversation__id=name, tenant__id="acme")
    send(door, root, chat(number, 2, at_s - 2, at_s - 1, 1))
    send(door, agent(number + 1, 1, at_s + 58, at_s + 59, "clock"))


def test_a_session_is_found_by_its_id(tmp_path: Path) -> None:
    """Across kill -9, by its own id or its trace's; who asks for another one is told what to check."""
    with running(tmp_path, **QUICK) as daemon:
        door, web = daemon.addresses()
        conversation(door, 10, "thread/ä 1")
        until(lambda: tocsin(web, "session", "thread/ä 1")[0] == 0)
        daemon.kill()
    with running(tmp_path, LINKS__TRACE="https://traces.example.com/{trace_id}", **QUICK) as daemon:
        _, web = daemon.addresses()
        status, said, error = tocsin(web, "session", "thread/ä 1")
        assert status == 0 and said.startswith("session thread/ä 1: agent helper, tenant acme, model gpt-4o-mini"), (
            error
        )
        assert f"https://traces.example.com/{10:032x}" in said and "model calls: 1\n" in said
        found = json.loads(tocsin(web, "session", f"{10:032x}", "--json")[1])
        assert found["named"] and found["cost_usd"] > 0 and found["active_s"] == 3.0
        status, _, error = tocsin(web, "session", "nobody")
        assert status == 1 and "is found by the id of its trace" in error
        status, said, _ = tocsin(web, "session", "--audit")
        assert status == 0 and "1 of 1 (100.0%)" in said
        assert tocsin(web, "session")[0] == 2
        status, said, _ = tocsin(web, "cohorts", "--agent", "helper")
        assert status == 0 and said.startswith("1 sessions, of 0 of which it is known how they ended, 0 badly")
        assert tocsin(web, "review", "mark", f"{10:032x}", "good", "--by", "anna")[:2] == (0, "1 joined\n")
        assert ", ended well" in tocsin(web, "review")[1] and "| ended |" in tocsin(web, "review", "--markdown")[1]
        assert tocsin(web, "review", "mark", "x")[0] == 2
        assert httpx.get(web + "/api/v1/sessions?days=no").status_code == 400
        assert "thread" not in "".join(
            path.read_bytes().decode("latin-1") for path in (tmp_path / "state").iterdir() if path.is_file()
        )


def test_an_outcome_that_comes_late(tmp_path: Path) -> None:
    """By the API, and in telemetry: joined to its session, counted, and answered; kept across kill -9."""
    with running(tmp_path, **QUICK) as daemon:
        door, web = daemon.addresses()
        at_s = time.time() - 5
        first = {"session": "c 1", "outcome": "resolved_7d", "value": False, "at": at_s, "source": "tickets"}
        answer = httpx.post(web + "/api/v1/outcomes", json=first)
        assert (answer.status_code, answer.json()["message"]) == (200, "1 waiting")
        conversation(door, 10, "c 1")
        until(lambda: tocsin(web, "session", "c 1")[0] == 0)
        more = [first, {"trace": f"{10:032x}", "outcome": "csat", "value": 2, "at": at_s, "good": False}, {"x": 1}]
        answer = httpx.post(web + "/api/v1/outcomes", json=more)
        assert answer.status_code == 400 and answer.json()["results"] == {"repeated": 1, "joined": 1}
        assert answer.json()["error"].startswith('1 of 3 are not taken; item 2: "x" is not a field of an outcome')
        assert httpx.post(web + "/api/v1/outcomes", content="[").status_code == 415
        assert httpx.post(web + "/api/v1/outcomes", content="[", headers=JSON).status_code == 400
        # Of the first it is told as it is joined to its session, of the second at once.
        until(lambda: "tocsin_log_records_total 2.0" in httpx.get(web + "/metrics").text)
        assert 'tocsin_late_outcomes_total{result="joined"} 2.0' in httpx.get(web + "/metrics").text
        status, said, error = tocsin(web, "outcomes", "--agent", "helper", "--outcome", "resolved_7d")
        assert status == 0 and " 1 sessions, of 100% it is known how they ended, 100% of these badly" in said, error
        assert json.loads(tocsin(web, "outcomes", "--json")[1])["cohorts"][0]["days"][0]["bad"] == 1
        assert tocsin(web, "outcomes", "--days", "-1")[0] == 1
        daemon.kill()
    with running(tmp_path, **QUICK) as daemon:
        said = tocsin(daemon.addresses()[1], "session", "c 1")[1]
    assert "later: resolved_7d false, bad at " in said and ", from tickets" in said and "later: csat 2.0, bad" in said


def test_a_record_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """Telemetry is read and counted; /metrics, /-/ready and the log say what is wrong."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / SESSIONS_FILE).write_bytes(b"no database" * 1_000)
    with running(tmp_path, **QUICK) as daemon:
        door, web = daemon.addresses()
        conversation(door, 10, "c")
        until(lambda: "tocsin_sessions_closed_total 1.0" in httpx.get(web + "/metrics").text)
        until(lambda: "tocsin_session_write_failures_total 0.0" not in httpx.get(web + "/metrics").text)
        ready = httpx.get(web + "/-/ready")
        assert ready.status_code == 200 and "but sessions are not recorded: file is not a database" in ready.text
        assert httpx.get(web + "/api/v1/sessions/c").status_code == 503
        assert daemon.stop() == 0 and daemon.said.count("sessions are not recorded") == 1


def test_a_record_that_nobody_wants(tmp_path: Path) -> None:
    """Sessions are counted, no file is written, and who asks is told by which setting."""
    with running(tmp_path, SESSIONS__RECORD="false", **QUICK) as daemon:
        door, web = daemon.addresses()
        conversation(door, 10, "c")
        until(lambda: "tocsin_sessions_closed_total 1.0" in httpx.get(web + "/metrics").text)
        status, _, error = tocsin(web, "session", "c")
        assert status == 1 and "TOCSIN_SESSIONS__RECORD is false" in error
        assert httpx.post(web + "/api/v1/outcomes", json={}).status_code == 404
        assert daemon.stop() == 0
    assert not (tmp_path / "state" / SESSIONS_FILE).exists()
