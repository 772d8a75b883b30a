"""Late outcomes: what may be written, what is said of what may not, and what becomes of each."""

import math
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from alertrules.links import NO_LINKS
from alertrules.outcome_classes import SHIPPED
from service.ingest.otlp.points import Evaluation
from service.ledger import asked
from service.ledger.counted import record_of
from service.ledger.late import Late, Result, evaluated, late_from
from service.ledger.late_rows import Joined
from service.ledger.session_file import reading
from service.ledger.sessions import Sessions
from tests.service.ingest.wire import EPOCH_S, Stream, agent, at_ns
from tests.service.ledger.rows import legs

DAY_S, NOW_S = 86_400.0, 1_000.0
NOW_NS = at_ns(NOW_S)
AT = EPOCH_S + 900


def key_of(name: str) -> bytes:
    """The number of the test's session as its key."""
    return int(name.removeprefix("c")).to_bytes(16, "big")


def made(directory: Path, *said: dict[str, Any]) -> Sessions:
    """A record of these legs."""
    sessions = Sessions(directory, round(30 * DAY_S * 1e9), 1_000, key_of)
    sessions.add([legs(*said)] if said else [])
    sessions.write(NOW_NS)
    assert sessions.problem == ""
    return sessions


def late(**more: Any) -> Late:
    """What a request says, one that can be read."""
    found, problems = late_from({"session": "c1", "outcome": "csat", "value": 2, "at": AT, **more}, NOW_NS, SHIPPED)
    assert not problems
    return found[0]


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("resolved_7d", True, True),
        ("resolved_7d", False, False),
        ("reopened", True, False),
        ("reopened", False, True),
        ("helped", True, True),
        ("csat", 2, None),
        ("survey", "very satisfied", True),
        ("survey", "low csat", False),
        ("survey", "purple", None),
        ("judge", "pass", True),
        ("judge", "Incorrect", False),
    ],
)
def test_what_is_good(name: str, value: object, good: bool | None) -> None:
    """What its words mean; a number alone means nothing; and what its sender says of it comes first."""
    assert late(outcome=name, value=value).good is good
    assert late(outcome=name, value=value, good=not good).good is not good


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"session": ""}, "one of session and trace names what it is of"),
        ({"trace": "0" * 32}, "one of session and trace names what it is of"),
        ({"session": "", "trace": "xyz"}, '"xyz" is not the 32 hexadecimal digits'),
        ({"session": 7}, "session: expected a text"),
        ({"outcome": ""}, '"outcome" is missing'),
        ({"value": None}, "value: expected true, false, a number, or a word"),
        ({"value": "x" * 65}, "value: expected true, false, a number, or a word of at most 64 characters"),
        ({"value": math.inf}, "value: inf is too large"),
        ({"value": [1]}, "value: expected"),
        ({"at": None}, "at: when it became known; write 2026-01-31T18:00:00Z"),
        ({"at": "yesterday"}, '"yesterday" is not a time'),
        ({"at": "2026-01-31T18:00"}, "has no zone"),
        ({"at": AT + 10_000}, "is in the future"),
        ({"good": "yes"}, "good: 'yes' is not true or false"),
        ({"source": "x" * 65}, "a comment has no place here"),
        ({"comment": "he said"}, '"comment" is not a field of an outcome; there are session, trace'),
    ],
)
def test_what_may_not_be_written(wrong: dict[str, Any], said: str) -> None:
    """Each mistake is told with its item; the good ones of a list are taken."""
    good = {"session": "c1", "outcome": "csat", "value": 2, "at": AT}
    found, problems = late_from([good, {**good, **wrong}, good], NOW_NS, SHIPPED)
    assert len(found) == 2 and [problem.item for problem in problems] == [1]
    assert said in problems[0].said


def test_lists_are_bounded() -> None:
    """Ten thousand at once; and what is no object is said to be none."""
    with pytest.raises(ValueError, match="10001 outcomes; send at most 10000"):
        late_from([{}] * 10_001, NOW_NS, SHIPPED)
    assert "an outcome is an object" in late_from("hello", NOW_NS, SHIPPED)[1][0].said


def test_what_becomes_of_each(tmp_path: Path) -> None:
    """Joined, repeated, contradicting, waiting and too old; a contradiction keeps both, and the latest holds."""
    sessions = made(tmp_path, {"key": 1, "at_s": 10.0})
    said = [late(), late(), late(value=5, at=AT + 50), late(session="c9"), late(at=AT - 40 * DAY_S)]
    results = Counter(dict.fromkeys(("joined", "repeated", "contradicting", "waiting", "too_old"), 1))
    assert sessions.hear(said, NOW_NS) == results and +sessions.late == results
    assert [(one.name, one.number, one.agent) for one in sessions.to_count(10)] == [
        ("csat", 2, "helper"), ("csat", 5, "helper"),
    ]  # fmt: skip
    with closing(reading(tmp_path)) as connection:
        found = asked.session(connection, key_of("c1"), NO_LINKS)["late_outcomes"]
    assert [(one["value"], one["holds"]) for one in found] == [(2.0, False), (5.0, True)]


def test_what_waits_is_joined_once_its_session_closes(tmp_path: Path) -> None:
    """By the session's id or a trace's, for two days; then it is given up, and counted."""
    sessions = made(tmp_path)
    said = [late(session="c3"), late(session="", trace=f"{77:032x}"), late(session="c9")]
    assert sessions.hear(said, NOW_NS) == {"waiting": 3} and sessions.to_count(10) == []
    sessions.add([legs({"key": 3, "trace": 3, "at_s": 20.0}, {"key": 4, "trace": 77, "at_s": 30.0, "agent": "other"})])
    sessions.write(NOW_NS + 10**9)
    assert sorted(one.agent for one in sessions.to_count(10)) == ["helper", "other"]
    assert sessions.late[Result.JOINED] == 2
    assert sessions.hear([late(session="", trace=f"{77:032x}"), late(session="c4")], NOW_NS) == {"repeated": 2}
    sessions.write(NOW_NS + round(3 * DAY_S * 1e9))
    assert sessions.late[Result.UNKNOWN] == 1
    sessions.add([legs({"key": 9, "at_s": 40.0})])
    sessions.write(NOW_NS + round(3 * DAY_S * 1e9))
    assert sessions.to_count(10) == []


def test_as_many_are_kept_as_may(tmp_path: Path) -> None:
    """As many as legs; the ones that came first give way."""
    sessions = made(tmp_path)
    sessions.hear([late(session="c2")], NOW_NS - 10**9)
    sessions.hear([late(session=f"c{n}") for n in range(3, 1_003)], NOW_NS)
    sessions.write(NOW_NS + 61 * 10**9)
    assert sessions.late[Result.FULL] == 1
    assert sessions.hear([late(session="c2"), late(session="c3")], NOW_NS) == {"waiting": 1, "repeated": 1}


def test_evaluations_of_telemetry(tmp_path: Path) -> None:
    """Those that name a session or a trace are kept, once however often they come; no series counts them again."""
    labels = (("gen_ai.conversation.id", "c1"),)
    said = Evaluation("faithful", 0.2, "fail", at_ns(900), b"", b"", labels, ())
    traced = said._replace(labels=(), trace_id=(5).to_bytes(16, "big"), name="safe", said="")
    others = [said._replace(labels=()), said._replace(name=""), said._replace(time_ns=at_ns(9_000))]
    told = list(evaluated([said, traced, *others], NOW_NS, SHIPPED))
    assert [(one.session, one.name, one.value, one.good) for one in told] == [
        ("c1", "faithful", "fail", False), ("", "safe", "0.2", None),
    ]  # fmt: skip
    sessions = made(tmp_path)
    for _ in range(2):
        sessions.add([], told)
        sessions.write(NOW_NS)
    sessions.add([legs({"key": 1, "at_s": 10.0}, {"key": 2, "trace": 5, "at_s": 10.0})])
    sessions.write(NOW_NS)
    assert +sessions.late == {"waiting": 2, "repeated": 2, "joined": 2} and sessions.to_count(10) == []


def test_they_count_as_evaluations_do() -> None:
    """In the slot of their time, under their agent and name: in a class, and not again for the record."""
    joined = [
        Joined("resolved_7d", "true", math.nan, True, at_ns(95), "acme", "helper", "2"),
        Joined("resolved_7d", "low csat", math.nan, False, at_ns(95), "acme", "helper", "2"),
        Joined("survey", "escalated", math.nan, None, at_ns(95), "acme", "helper", "2"),
        Joined("csat", "4", 4.0, None, at_ns(-90_000), "acme", "helper", "2"),
    ]
    stream, record = Stream(), record_of(joined, at_ns(100))
    stream.send(agent(1, 1, 80, 81))
    assert stream.ingest.read(record, at_ns(100), stream.tally).rejected == 0
    rows = [row for row in stream.flush().rows() if row["labels"][2] == "evaluation"]  # type: ignore[index]
    mine = {row["labels"][5]: row for row in rows}  # type: ignore[index]
    assert mine["resolved_7d"]["labels"] == ("acme", "helper", "evaluation", "", "", "resolved_7d", "2", "", "", "")
    assert mine["resolved_7d"]["outcome"] == [(0, 1.0), (3, 1.0)] and mine["resolved_7d"]["start_s"] == 90
    assert mine["survey"]["outcome"] == [(1, 1.0)] and "csat" not in mine
    assert list(evaluated(stream.tally.evaluations, at_ns(100), SHIPPED)) == []
