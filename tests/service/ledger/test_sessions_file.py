"""The record of sessions on disk: what is written twice is one row, what is old goes, and nothing that fails stops."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from alertrules.links import NO_LINKS, Links
from service.ledger import asked
from service.ledger.session_file import SESSIONS_FILE, reading
from service.ledger.session_words import audit_lines, session_lines
from service.ledger.sessions import WAITING_LEGS_MAX, Sessions
from tests.service.ingest.wire import at_ns
from tests.service.ledger.rows import legs

DAY_S, NOW_S = 86_400.0, 100.0


def made(directory: Path, keep_s: float = 30 * DAY_S, rows_max: int = 1_000) -> Sessions:
    return Sessions(directory, round(keep_s * 1e9), rows_max, str.encode)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def ends(directory: Path) -> list[float]:
    """When each leg of the record ended, in order."""
    with closing(reading(directory)) as connection:
        return [(row[0] - at_ns(0)) / 1e9 for row in connection.execute("SELECT last_ns FROM leg ORDER BY last_ns")]


def test_what_is_written_again_is_the_same_row(tmp_path: Path) -> None:
    """After a crash the legs since the last save come again: each is there once, and another leg is another row."""
    for _ in range(2):
        sessions = made(tmp_path)
        sessions.add([legs({"key": 1, "at_s": 10.0}, {"key": 1, "at_s": 60.0}), legs({"key": 2, "at_s": 5.0})])
        sessions.write(at_ns(NOW_S))
        assert (sessions.problem, sessions.rows) == ("", 3)
        sessions.close()
    assert ends(tmp_path) == [5.0, 10.0, 60.0] and sessions.written == 0


def test_the_file_is_nobody_else_s(tmp_path: Path) -> None:
    """It holds the names of agents and tenants."""
    made(tmp_path).write(at_ns(NOW_S))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_is_old_goes_and_what_is_too_much(tmp_path: Path) -> None:
    """Rows past their time are gone; of too many the oldest are dropped, and counted."""
    sessions = made(tmp_path, keep_s=50.0, rows_max=3)
    sessions.add([legs(*({"at_s": float(at_s)} for at_s in (10, 60, 70, 80, 90)))])
    sessions.write(at_ns(100.0))
    assert ends(tmp_path) == [70.0, 80.0, 90.0]
    assert (sessions.rows, sessions.dropped["full"]) == (3, 1)
    sessions.write(at_ns(135.0))
    assert ends(tmp_path) == [90.0] and (sessions.rows, sessions.dropped["full"]) == (1, 1)


def test_a_damaged_file_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, said once a minute, and gone on from once it was moved away: what waited is written then."""
    path = tmp_path / SESSIONS_FILE
    path.write_bytes(b"no database" * 1_000)
    sessions = made(tmp_path)
    sessions.add([legs({"at_s": 10.0})])
    for at_s in (100.0, 101.0, 161.0):
        sessions.write(at_ns(at_s))
    assert sessions.failures == 3 and "not a database" in sessions.problem
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    path.rename(tmp_path / "away")
    sessions.write(at_ns(162.0))
    assert sessions.problem == "" and ends(tmp_path) == [10.0]


def test_another_program_s_file_is_left_alone(tmp_path: Path) -> None:
    """A database of somebody else, or of another version, is named with what to do."""
    with closing(sqlite3.connect(tmp_path / SESSIONS_FILE)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    sessions = made(tmp_path)
    sessions.write(at_ns(NOW_S))
    assert sessions.problem.endswith("move it away to start afresh")


def test_a_file_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    """What is written to a file that nobody can open any more would be lost."""
    sessions = made(tmp_path)
    sessions.add([legs({"at_s": 10.0})])
    sessions.write(at_ns(NOW_S))
    for path in tmp_path.iterdir():
        path.unlink()
    sessions.add([legs({"at_s": 20.0})])
    sessions.write(at_ns(NOW_S))
    assert ends(tmp_path) == [20.0] and sessions.rows == 1


def test_what_no_column_can_hold_is_dropped(tmp_path: Path) -> None:
    """A bug must neither end the daemon nor keep all that comes after it waiting."""
    sessions, wrong = made(tmp_path), legs({"at_s": 10.0})
    wrong.texts[0] = wrong.texts[0]._replace(agent="\ud800")
    sessions.add([wrong])
    sessions.write(at_ns(NOW_S))
    assert "surrogates not allowed" in sessions.problem and sessions.dropped["unwritten"] == 1
    sessions.add([legs({"at_s": 20.0})])
    sessions.write(at_ns(NOW_S))
    assert sessions.problem == "" and ends(tmp_path) == [20.0]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="needs a device that is full")
def test_what_cannot_be_written_waits_within_bounds(tmp_path: Path) -> None:
    """A hundred thousand legs; the oldest give way, and are counted."""
    (tmp_path / SESSIONS_FILE).symlink_to("/dev/full")
    sessions, one = made(tmp_path), legs(*({"key": n, "at_s": float(n)} for n in range(1, 1_001)))
    for _ in range(WAITING_LEGS_MAX // 1_000 + 2):
        sessions.add([one])
    sessions.write(at_ns(NOW_S))
    assert sessions.problem and sessions.dropped["unwritten"] == 2_000


def test_many_that_wait_ask_to_be_written(tmp_path: Path) -> None:
    """Before the oldest give way; not while writing fails, which asking again would not mend."""
    sessions, one = made(tmp_path), legs(*({"key": n, "at_s": float(n)} for n in range(1, 1_001)))
    for _ in range(WAITING_LEGS_MAX // 2_000):
        sessions.add([one])
    assert not sessions.is_filling
    sessions.add([one])
    assert sessions.is_filling
    sessions.write(at_ns(NOW_S))
    assert not sessions.is_filling and sessions.rows == 1_000
    for _ in range(WAITING_LEGS_MAX // 1_000):
        sessions.add([one])
    sessions.problem = "the disk is full"
    assert not sessions.is_filling


def test_one_session_in_words(tmp_path: Path) -> None:
    """Its legs are added up; a cost that is not known is not 0; it is found by its key and by the ids of its traces."""
    sessions = made(tmp_path)
    first = {"key": 7, "trace": 71, "at_s": 10.0, "model_calls": 2, "failed_model_calls": 1, "lowest": 0.25}
    second = {"key": 7, "trace": 72, "at_s": 60.0, "model_calls": 1, "tool_calls": 3, "repeated_tool_calls": 2}
    sessions.add([legs(first, second | {"outcome": "escalated", "dollars": float("nan")})])
    sessions.write(at_ns(NOW_S))
    with closing(reading(tmp_path)) as connection:
        assert asked.key_in(connection, "some id", key(7)) == key(7)
        assert asked.key_in(connection, f"{72:032X}", key(1)) == key(7)
        assert asked.key_in(connection, "another id", key(1)) is None
        found = asked.session(connection, key(7), Links(trace="https://traces/{trace_id}"))
    assert (found["model_calls"], found["tool_calls"], found["traces"]) == (3, 3, 2)
    assert found["cost_usd"] is None and found["outcome"] == "escalated" and found["input_tokens"] == 200
    assert found["legs"][0]["link"] == f"https://traces/{71:032x}"
    text = "\n".join(session_lines("some id", found))
    assert "model calls: 3 (1 failed)" in text and "tool calls: 3 (2 the same as before)" in text
    assert "cost: not known" in text and "outcome escalated" in text and "active for 20.0 s, 2 traces, 2 legs" in text


def test_who_names_sessions(tmp_path: Path) -> None:
    """By agent: the share that a record of an audit can be joined to, and since when there is none."""
    sessions = made(tmp_path)
    never = [{"agent": "never", "named": False, "at_s": 20.0 + i} for i in range(12)]
    stopped = [{"agent": "stopped", "named": i < 5, "at_s": 20.0 + i} for i in range(20)]
    mixed = [{"agent": "mixed", "named": i % 2 == 0, "at_s": 20.0 + i} for i in range(20)]
    sessions.add([legs(*({"key": n, "trace": n, **one} for n, one in enumerate([*never, *stopped, *mixed], 1)))])
    sessions.write(at_ns(NOW_S))
    with closing(reading(tmp_path)) as connection:
        found = asked.audit(connection, at_ns(0))
        assert asked.audit(connection, at_ns(50))["named_share"] is None
    assert (found["legs"], found["named"]) == (52, 15)
    agents = {one["agent"]: one for one in found["agents"]}
    assert {name: one["named_share"] for name, one in agents.items()} == {"stopped": 0.25, "never": 0.0, "mixed": 0.5}
    since = {name: one["nameless_since_s"] for name, one in agents.items()}
    assert since == {"never": at_ns(20) / 1e9, "stopped": at_ns(25) / 1e9, "mixed": None}
    lines = list(audit_lines(found))
    assert "15 of 52 legs of sessions have a name (28.8%)" in lines[0]
    assert any("never: 0 of 12 (0.0%); none has a name since" in line for line in lines)


def test_a_session_that_nothing_names_shows_no_link(tmp_path: Path) -> None:
    """Without a template of links there is none; its id is that of its trace."""
    sessions = made(tmp_path)
    sessions.add([legs({"key": 9, "trace": 9, "named": False, "at_s": 1.0})])
    sessions.write(at_ns(NOW_S))
    with closing(reading(tmp_path)) as connection:
        assert asked.key_in(connection, f"{9:032x}", key(1)) == key(9)
        found = asked.session(connection, key(9), NO_LINKS)
    assert found["legs"][0]["link"] == "" and not found["named"]
