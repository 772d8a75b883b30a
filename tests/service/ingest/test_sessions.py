"""When a session closes, and what it then counts as."""

import pytest

from detectors.core.columns import OUTCOMES
from service.batch import Dropped
from tests.service.ingest.wire import Sent, Stream, agent, chat

PRICE = 100 * 0.15e-6 + 10 * 0.6e-6
"""Dollars of a `chat` of the tests: gpt-4o-mini's list price."""


def clock(stream: Stream, seconds: float) -> None:
    """Bring event time to a second by a session of its own, which is not looked at."""
    number = 1_000_000 + round(seconds)
    stream.send(agent(number, 1, seconds + 60, seconds + 60, name="clock"))


def closed(stream: Stream) -> list[dict[str, object]]:
    """The closed sessions but the clock's own."""
    return [row for row in stream.of("session") if row["labels"][1] != "clock"]  # type: ignore[index]


def test_a_session_closes_half_a_minute_after_its_root() -> None:
    """The root ended at 10 and nothing followed: it counts in the slot of 40, as one unit, 10 s long."""
    stream = Stream()
    stream.send(chat(1, 2, 1, 5, parent=1), agent(1, 1, 0, 10, tenant="acme"))
    clock(stream, 39.9)
    clock(stream, 50)
    (row,) = closed(stream)
    assert row["start_s"] == 40
    assert row["labels"] == ("acme", "helper", "session", "", "", "", "", "", "", "")
    assert (row["count"], row["failed"]) == (1.0, 0.0)
    assert row["duration"] == [(26, 1.0)]  # 2**(26/8) < 10 <= 2**(27/8)


def test_a_session_does_not_close_a_moment_early() -> None:
    """A span that comes before the watermark reaches the closing time still belongs to the session."""
    stream = Stream()
    stream.send(agent(1, 1, 0, 10))
    clock(stream, 39.9)
    stream.send(chat(1, 2, 35, 39.95, parent=1), now_s=101)
    clock(stream, 69)
    assert closed(stream) == []
    clock(stream, 80)
    assert [row["start_s"] for row in closed(stream)] == [60]
    assert stream.flush().tally.sessions == 4


def test_a_span_after_the_close_begins_a_new_leg() -> None:
    """The same session id after the close is a unit of its own; its cost is that leg's alone."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 10, gen_ai__conversation__id="c"))
    clock(stream, 50)
    stream.send(chat(2, 1, 100, 110, gen_ai__conversation__id="c"))
    clock(stream, 160)
    assert [row["start_s"] for row in closed(stream)] == [40, 140]
    assert all(len(row["cost"]) == 1 for row in closed(stream))  # type: ignore[arg-type]


def test_a_session_without_a_root_waits_a_quarter_of_an_hour() -> None:
    """A call whose parent never came closes its session after 15 min of silence."""
    stream = Stream()
    stream.send(chat(1, 2, 0, 10, parent=1))
    clock(stream, 900)
    assert closed(stream) == []
    clock(stream, 920)
    assert [row["start_s"] for row in closed(stream)] == [910]


def test_a_root_that_comes_late_closes_the_session_in_an_open_slot() -> None:
    """A root long overdue makes its session due in the past: it counts in the first slot that is open."""
    stream = Stream()
    stream.send(chat(1, 2, 0, 10, parent=1))
    clock(stream, 300)
    stream.send(agent(1, 1, 0, 11), now_s=361)
    assert stream.dropped(Dropped.LATE) == 1
    clock(stream, 330)
    assert [row["start_s"] for row in closed(stream)] == [300]


def test_a_session_closes_after_a_day_at_the_latest() -> None:
    """A session that never falls silent is cut at 24 h, and goes on as a new leg; no cost is lost."""
    stream = Stream()
    for hour in range(26):
        for minute in range(0, 60, 10):
            at = hour * 3600 + minute * 60
            stream.send(chat(1, at + 2, at, at + 1, parent=1), now_s=at + 2)
    assert [row["start_s"] for row in closed(stream)] == [86_400]
    stream.flush()
    assert stream.tally.sessions == 2
    assert sum(float(str(row["count"])) for row in stream.of("llm")) == 156


def test_traces_of_one_conversation_are_one_session() -> None:
    """Two traces with the same conversation id close together, at the cost of both."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 10, gen_ai__conversation__id="c"), chat(2, 1, 12, 20, gen_ai__conversation__id="c"))
    (row,) = stream.flush().of("session")
    assert (row["start_s"], row["count"]) == (50, 1.0)
    assert bucket_holds(row["cost"], 2 * PRICE)


def bucket_holds(entries: object, value: float) -> bool:
    """Whether the only bucket is the one a value falls in."""
    assert isinstance(entries, list)
    ((bucket, count),) = entries
    return bool(count == 1 and 2 ** (bucket / 8) < value <= 2 ** ((bucket + 1) / 8))


def test_the_best_session_id_of_a_trace_is_its_session() -> None:
    """A conversation id on the root, though it comes last, beats a session id on the children."""
    stream = Stream()
    stream.send(chat(1, 2, 0, 5, parent=1, session__id="s"))
    stream.send(chat(2, 1, 0, 6, gen_ai__conversation__id="thread"))
    stream.send(agent(1, 1, 0, 9, gen_ai__conversation__id="thread"))
    rows = stream.flush().of("session")
    assert len(rows) == 1
    assert bucket_holds(rows[0]["cost"], 2 * PRICE)


@pytest.mark.parametrize(
    ("calls", "cost", "unpriced", "free"),
    [
        ([chat(1, 2, 0, 1, parent=1)], PRICE, 0.0, 0.0),
        ([chat(1, 2, 0, 1, parent=1), chat(1, 3, 0, 1, parent=1, gen_ai__request__model="who")], None, 1.0, 0.0),
        ([chat(1, 2, 0, 1, parent=1, gen_ai__usage__cost=0.0)], None, 0.0, 1.0),
        ([chat(1, 2, 0, 1, parent=1, gen_ai__usage__cost=0.5)], 0.5, 0.0, 0.0),
        ([], None, 0.0, 0.0),
    ],
    ids=["priced", "one-unpriced", "free", "stated", "no-calls"],
)
def test_what_a_session_costs(calls: list[Sent], cost: float | None, unpriced: float, free: float) -> None:
    """A session has a cost if every call of it has one, and is never worth 0 for want of a price."""
    stream = Stream()
    stream.send(agent(1, 1, 0, 10), *calls)
    (row,) = stream.flush().of("session")
    assert (row["unpriced"], row["free"], row["cost_usd"]) == (unpriced, free, 0.0)
    assert row["cost"] == [] if cost is None else bucket_holds(row["cost"], cost)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("resolved", "resolved"),
        ("Success", "resolved"),
        ("Transferred", "escalated"),
        ("timed-out", "abandoned"),
        ("ERROR", "failed"),
        ("purple", "unmapped"),
    ],
)
def test_outcomes_fall_into_classes(said: str, meant: str) -> None:
    """Whatever case and synonym a sender uses, a session falls into one class, and has not failed by that alone."""
    stream = Stream()
    stream.send(agent(1, 1, 0, 10, agent__session__outcome=said))
    (row,) = stream.flush().of("session")
    assert row["outcome"] == [(OUTCOMES.index(meant), 1.0)]
    assert row["failed"] == 0.0


def test_an_outcome_may_stand_on_any_span_and_the_latest_counts() -> None:
    """A label on a child, in JSON metadata, counts; a later one replaces it."""
    stream = Stream()
    first = chat(1, 2, 0, 5, parent=1, metadata='{"outcome": "abandoned", "tenant": "acme"}')
    stream.send(agent(1, 1, 0, 10, session__outcome="resolved"), first)
    (row,) = stream.flush().of("session")
    assert row["outcome"] == [(0, 1.0)]
    assert row["labels"][0] == "acme"  # type: ignore[index]


def test_a_failed_root_is_a_failed_session() -> None:
    """A session has failed if its root has."""
    stream = Stream()
    stream.send(Sent(1, 1, 0, 10, name="agent.session", failed=True))
    (row,) = stream.flush().of("session")
    assert row["failed"] == 1.0
