"""Outcomes from one daemon through a real Collector to another, which reads none of them; and where nobody is."""

import time
from pathlib import Path

import httpx
import pytest

from tests import otelcol
from tests.broker import free_port
from tests.service.running import running
from tests.service.test_marks import tocsin
from tests.service.test_sessions_daemon import QUICK, conversation, until
from tests.service.writeback.sink import said, sink


def tell(web: str, outcome: str = "resolved_7d") -> dict[str, int]:
    """An outcome of session c 1, and what became of it."""
    told = {"session": "c 1", "outcome": outcome, "value": True, "at": time.time() - 5}
    answer = httpx.post(web + "/api/v1/outcomes", json=told)
    assert answer.status_code == 200, answer.text
    results: dict[str, int] = answer.json()["results"]
    return results


@pytest.mark.skipif(bool(otelcol.missing()), reason=otelcol.missing() or "there is one")
def test_a_collector_between_two(tmp_path: Path) -> None:
    """It goes on with its marks, ids and links; the other one drops it unread, and counts it."""
    (tmp_path / "other").mkdir()
    with sink() as beside, running(tmp_path / "other", **QUICK) as other:
        door, other_web = other.addresses()
        with (
            otelcol.passing(otelcol.BINARY, tmp_path, beside.url, door) as collector,
            running(tmp_path, WRITEBACK__ENDPOINT=collector, **QUICK) as daemon,
        ):
            door, web = daemon.addresses()
            conversation(door, 10, "c 1")
            until(lambda: tocsin(web, "session", "c 1")[0] == 0)
            assert tell(web) == {"joined": 1}
            until(lambda: "tocsin_writeback_written_total 1.0" in httpx.get(web + "/metrics").text)
            until(lambda: 'tocsin_dropped_total{reason="own"} 2.0' in httpx.get(other_web + "/metrics").text)
            until(lambda: len(beside.events) == len(beside.spans) == 1)
            assert daemon.stop() == 0 and "not written back" not in daemon.said
        metrics = httpx.get(other_web + "/metrics").text
    assert "tocsin_spans_total 0.0" in metrics and "tocsin_sessions_closed_total 0.0" in metrics
    assert said(beside.traces[0].resource.attributes)["tocsin.writeback"] is True
    trace = (10).to_bytes(16, "big")
    assert beside.events[0].trace_id == trace and [link.trace_id for link in beside.spans[0].links] == [trace]
    assert said(beside.events[0].attributes)["gen_ai.conversation.id"] == "c 1"


def test_an_endpoint_where_nobody_is(tmp_path: Path) -> None:
    """Outcomes are taken, sessions recorded, the stop is clean; what is lost is counted, and said once."""
    with running(tmp_path, WRITEBACK__ENDPOINT=f"http://127.0.0.1:{free_port()}", **QUICK) as daemon:
        door, web = daemon.addresses()
        conversation(door, 10, "c 1")
        until(lambda: tocsin(web, "session", "c 1")[0] == 0)
        assert tell(web) == tell(web, "csat") == {"joined": 1}
        until(lambda: "tocsin_writeback_waiting 2.0" in httpx.get(web + "/metrics").text)
        assert httpx.get(web + "/-/ready").status_code == 200
        assert daemon.stop() == 0
    assert "2 outcomes are not written back to http://127.0.0.1:" in daemon.said


def test_without_a_record_of_sessions_nothing_is_written_back(tmp_path: Path) -> None:
    """That is said before anything is started."""
    with running(tmp_path, ROLE="ingest", WRITEBACK__ENDPOINT="http://collector:4318") as daemon:
        assert daemon.process.wait(30) == 2
    assert "TOCSIN_WRITEBACK__ENDPOINT: role ingest has no record of sessions, which role detect keeps" in daemon.said
