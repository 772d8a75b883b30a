"""What is written back, as an OTLP door reads it; what becomes of it while the door is away; and once a week."""

import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from alertrules.outcome_classes import SHIPPED
from service.config.setting_types import header_pairs
from service.config.settings import SettingsError, load
from service.ledger.late import Late
from service.ledger.late_rows import Joined
from service.ledger.session_file import SESSIONS_FILE, reading
from service.ledger.sessions import Sessions
from service.own_metrics.of_writeback import counters, gauges
from service.writeback import sending as sending_module
from service.writeback.back import WriteBack, sending
from tests.service.ingest.wire import EPOCH_S, at_ns
from tests.service.ledger.rows import legs
from tests.service.writeback.sink import Sink, said, sink

DAY_S = 86_400
FIRST, SECOND = bytes(15) + b"\x05", bytes(15) + b"\x06"
BAD = Joined("csat", "2", 2.0, False, at_ns(95), "acme", "helper", "2", (FIRST, SECOND), "conv 1")
PLAIN = Joined("resolved_7d", "true", math.nan, True, at_ns(95), "", "helper", "", (FIRST,))


def until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    until_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def back(url: str, directory: Path = Path(), leads: Sequence[bool] = (True,)) -> WriteBack:
    """What writes back to a door; whether it may is the last of `leads`."""
    to = sending(url, {"authorization": "Bearer x"}, lambda: leads[-1])
    return WriteBack(to, directory, lambda: SHIPPED, lambda: at_ns(200))


def test_an_outcome_is_a_span_and_an_event() -> None:
    """Both marked as our own; the span linked to the session's traces, the event in the first of them."""
    with sink() as door:
        one = back(door.url + "/")
        one.outcome(BAD)
        one.outcome(PLAIN)
        until(lambda: one.sending.written == 2)
        one.sending.stop()
    for group in (*door.traces, *door.logs):
        assert said(group.resource.attributes) == {"service.name": "tocsin", "tocsin.writeback": True}
    assert door.headers["authorization"] == "Bearer x"
    span, event = door.spans[0], door.events[0]
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano) == (
        "gen_ai.evaluation",
        at_ns(95),
        at_ns(95),
    )
    assert [link.trace_id for link in span.links] == [FIRST, SECOND] and span.trace_id != FIRST
    assert (event.event_name, event.trace_id, event.span_id) == ("gen_ai.evaluation.result", FIRST, b"")
    assert (event.time_unix_nano, event.observed_time_unix_nano) == (at_ns(95), at_ns(200))
    assert said(event.attributes) == said(span.attributes) == {
        "gen_ai.evaluation.name": "csat", "gen_ai.evaluation.score.label": "fail",
        "gen_ai.evaluation.score.value": 2.0, "gen_ai.conversation.id": "conv 1", "gen_ai.agent.name": "helper",
        "gen_ai.agent.version": "2", "tenant.id": "acme",
    }  # fmt: skip
    assert said(door.events[1].attributes) == {
        "gen_ai.evaluation.name": "resolved_7d", "gen_ai.evaluation.score.label": "true",
        "gen_ai.agent.name": "helper",
    }  # fmt: skip


def test_the_same_fact_is_the_same_span() -> None:
    """However often it is sent; another fact is another one."""
    with sink() as door:
        one = back(door.url)
        for joined in (BAD, BAD, PLAIN, PLAIN._replace(session="a\ud800b")):
            one.outcome(joined)
        until(lambda: one.sending.written == 4)
        one.sending.stop()
    assert said(door.spans[3].attributes)["gen_ai.conversation.id"] == "a?b"
    ids = [(span.trace_id, span.span_id) for span in door.spans]
    assert ids[0] == ids[1] != ids[2] and len(ids[0][1]) == 8


def test_a_door_that_is_away(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits; the oldest give way; what it takes in the end is counted, and what it never takes."""
    monkeypatch.setattr(sending_module, "WAITING_FACTS_MAX", 5)
    monkeypatch.setattr(sending_module, "SENT_AT_ONCE", 2)
    monkeypatch.setattr(sending_module, "PAUSE_FIRST_S", 0.05)
    with sink() as door:
        door.status = 400
        one = back(door.url)
        one.outcome(BAD)
        until(lambda: one.sending.failures > 1)
        for _ in range(7):
            one.outcome(PLAIN)
        assert gauges(one)["tocsin_writeback_waiting"] == {(): 6.0} and one.sending.lost["full"] == 2
        assert door.tries > 1 and not door.logs
        door.status = 200
        until(lambda: one.sending.written == 6)
        door.status = 400
        one.outcome(PLAIN)
        until(lambda: one.sending.waiting == 1)
        one.sending.stop()
    assert counters(one)["tocsin_writeback_dropped_total"] == {("full",): 2, ("expired",): 0, ("stopped",): 1}
    assert len(door.events) == 6 and len({span.span_id for span in door.spans}) == 2
    assert "outcomes cannot be written back to http://127.0.0.1" in caplog.text
    assert "1 outcomes are not written back" in caplog.text and "Bearer" not in caplog.text


def test_whoever_does_not_lead_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has waits, without a failure, until it leads again."""
    monkeypatch.setattr(sending_module, "PAUSE_FIRST_S", 0.05)
    leads = [False]
    with sink() as door:
        one = back(door.url, leads=leads)
        one.outcome(BAD)
        time.sleep(0.2)
        assert door.tries == 0 and one.sending.waiting == 1
        leads.append(True)
        until(lambda: one.sending.written == 1)
        one.sending.stop()
    assert one.sending.failures == 0 and len(door.spans) == 1


def test_what_is_tried_for_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A door where nobody is, and then what came after."""
    monkeypatch.setattr(sending_module, "TRIED_FOR_S", 0.0)
    monkeypatch.setattr(sending_module, "PAUSE_FIRST_S", 0.05)
    with sink() as door:
        door.status = 404
        one = back(door.url)
        one.outcome(BAD)
        until(lambda: one.sending.lost["expired"] == 1)
        door.status = 200
        one.outcome(PLAIN)
        until(lambda: one.sending.written == 1)
        one.sending.stop()
    assert one.sending.waiting == 0 and one.sending.lost["stopped"] == 0


def record(directory: Path, door: Sink) -> tuple[Sessions, WriteBack]:
    one = back(door.url, directory)
    return Sessions(directory, 40 * DAY_S * 10**9, 10_000, lambda name: int(name).to_bytes(16, "big"), one), one


def outcome(session: str, at_s: float, **more: str) -> Late:
    return Late(session, more.get("trace", ""), "csat", "2", 2.0, False, at_ns(at_s), "survey")


def test_the_record_tells_of_what_it_joins(tmp_path: Path) -> None:
    """At once, with the id that was just given; or later, without; never of what telemetry told itself, or twice."""
    with sink() as door:
        sessions, one = record(tmp_path, door)
        sessions.add([legs({"key": 1, "trace": 5, "at_s": 0.0}, {"key": 1, "trace": 6, "at_s": 60.0})])
        sessions.write(at_ns(100))
        sessions.hear([outcome("1", 90.0), outcome("1", 90.0), outcome("2", 91.0)], at_ns(100))
        sessions.add([], [outcome("1", 92.0)._replace(name="judge", counted=True)])
        sessions.add([legs({"key": 2, "trace": 7, "at_s": 90.0})])
        sessions.write(at_ns(101))
        until(lambda: one.sending.written == 2)
        one.sending.stop()
    told = [(said(event.attributes).get("gen_ai.conversation.id"), event.trace_id[-1]) for event in door.events]
    assert told == [("1", 5), (None, 7)]
    assert [link.trace_id[-1] for link in door.spans[0].links] == [5, 6]


def test_once_a_week_what_foretold_bad_ends(tmp_path: Path) -> None:
    """At the first save after Monday, whatever was started since; nothing of a week that nobody was there for."""
    monday_s = next(day for day in range(0, 8 * DAY_S, DAY_S) if _is_monday(day)) - EPOCH_S % DAY_S
    with sink() as door:
        sessions, one = record(tmp_path, door)
        made = [
            {"key": i, "trace": i, "at_s": monday_s - 1000.0, "outcome": "resolved" if i % 3 else "escalated",
             "failed_tool_calls": int(i % 3 == 0 or i % 10 == 0), "agent": "bot"}
            for i in range(1, 301)
        ]  # fmt: skip
        sessions.add([legs(*made)])
        sessions.write(at_ns(monday_s - 900))
        for event_s in (monday_s - 500, monday_s - 1, monday_s, monday_s + 60):
            sessions.pass_to(at_ns(event_s))
        until(lambda: one.sending.written >= 1)
        sessions.close()
        again = Sessions(tmp_path, 10**18, 10_000, str.encode, one)
        again.pass_to(at_ns(monday_s + 120))
        one.sending.stop()
        again.close()
    assert len(door.events) == len({event.SerializeToString() for event in door.events}) == one.sending.written
    signs = {said(event.attributes)["gen_ai.evaluation.score.label"]: event for event in door.events}
    event = signs["failed_tool_call"]
    facts = said(event.attributes)
    assert event.time_unix_nano == at_ns(monday_s) and not door.spans[0].links
    assert facts["gen_ai.evaluation.name"] == "tocsin.foretells_bad_end" and facts["gen_ai.agent.name"] == "bot"
    assert facts["tocsin.lift.low"] < facts["gen_ai.evaluation.score.value"] < facts["tocsin.lift.high"]
    assert facts["tocsin.sessions"] == 300.0 and facts["gen_ai.evaluation.explanation"].startswith("a tool failed: ")
    with closing(reading(tmp_path)) as connection:
        assert [tuple(row) for row in connection.execute("SELECT monday_ns FROM week")] == [(at_ns(monday_s),)]


def _is_monday(day_s: int) -> bool:
    return time.gmtime(EPOCH_S + day_s).tm_wday == 0


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("ENDPOINT", "collector:4318", "this is not a URL"),
        ("ENDPOINT", "http://collector:4318/v1/traces", "this is the URL of one signal; write the base, as http://"),
        ("ENDPOINT", "http://me:sesame@collector:4318", "this URL holds a name or a secret; write it without"),
        ("HEADERS", "authorization=Bearer sesame,x", "part 2 is no header; write NAME=VALUE"),
        ("HEADERS", "x=a\nb", "part 1 is no header"),
    ],
)
def test_settings_that_are_wrong(name: str, text: str, error: str) -> None:
    """What to write instead, and nothing of a secret."""
    with pytest.raises(SettingsError) as found:
        load({f"TOCSIN_WRITEBACK__{name}": text})
    assert str(found.value).startswith(f"TOCSIN_WRITEBACK__{name}: ") and error in str(found.value)
    assert "sesame" not in str(found.value)


def test_settings_that_are_right() -> None:
    """An endpoint alone, and headers."""
    found = load({"TOCSIN_WRITEBACK__ENDPOINT": "http://collector:4318", "TOCSIN_WRITEBACK__HEADERS": "A=b=c"})
    assert found.writeback.headers and "b=c" not in repr(found)
    assert header_pairs(found.writeback.headers.get_secret_value()) == {"a": "b=c"}
    assert counters(None)["tocsin_writeback_written_total"] == {} and load({}).writeback.endpoint == ""


class Heard:
    """The Mondays that the record told of."""

    def __init__(self) -> None:
        self.mondays: list[int] = []

    def outcome(self, joined: Joined) -> None:
        raise AssertionError(joined)

    def week(self, monday_ns: int) -> None:
        self.mondays.append(monday_ns)


def test_a_file_of_before_begins_with_this_monday(tmp_path: Path) -> None:
    """It knew of none: nothing is written of a week that may have been told, and of the next one it is, once."""
    heard = Heard()
    sessions = Sessions(tmp_path, 10**18, 10_000, str.encode, heard)
    sessions.write(at_ns(0))
    sessions.close()
    with closing(sqlite3.connect(tmp_path / SESSIONS_FILE)) as connection:
        connection.execute("DROP TABLE week")
    for at_s in (0, 0, 7 * DAY_S, 7 * DAY_S + 60, DAY_S):
        sessions.pass_to(at_ns(at_s))
    sessions.close()
    (monday_ns,) = heard.mondays
    assert 0 < monday_ns - at_ns(0) <= 7 * DAY_S * 10**9 and time.gmtime(monday_ns // 10**9)[3:7] == (0, 0, 0, 0)
