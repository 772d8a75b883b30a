"""What ingest holds is bounded, and so is how long it waits."""

from detectors.core.columns import SECOND_NS
from service.batch import Dropped, Record, Signal
from service.ingest.kernel.constants import SPANS_OF_TRACE_MAX
from service.ingest.stage import Ingest
from tests.service.ingest.wire import Stream, agent, at_ns, body, chat, same_slots

DAY_S = 86_400


def test_an_assigned_partition_is_waited_for() -> None:
    """The backlog of one partition is not late because another was read first."""
    stream = Stream()
    stream.ingest.expect(("p/0", "p/1"))
    stream.send(chat(1, 1, 0, 900), now_s=1000, partition="p/0")
    assert stream.watermark_s is None
    stream.send(chat(2, 2, 0, 100), now_s=1001, partition="p/1")
    assert stream.watermark_s == 40
    assert stream.dropped(Dropped.LATE) == 0


def test_an_assigned_partition_is_waited_for_until_its_broker_answers() -> None:
    """However long nobody can read it, it may hold anything; once it is read to its end it holds nobody up."""
    stream = Stream()
    stream.ingest.expect(("p/0", "p/1"))
    stream.send(chat(1, 1, 0, 900), now_s=1000, partition="p/0")
    stream.idle(100_000)
    assert stream.watermark_s is None
    stream.ingest.check({"p/1": at_ns(100_000)}, at_ns(100_000))
    stream.idle(100_000)
    assert stream.watermark_s == 840


def test_a_partition_that_comes_back_holds_where_it_was() -> None:
    """One that was heard before may go on from there: until it speaks, nothing past its end moves."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100), now_s=101, partition="p/0")
    stream.send(chat(2, 2, 0, 900), now_s=901, partition="p/1")
    assert stream.watermark_s == 840
    stream.ingest.expect(("p/0",))
    stream.send(chat(3, 3, 0, 902), now_s=903, partition="p/1")
    assert stream.watermark_s == 840
    stream.ingest.check({"p/0": at_ns(903)}, at_ns(903))
    stream.idle(904)
    assert stream.watermark_s == 840
    for now_s in range(905, 970, 5):
        stream.ingest.check({"p/0": at_ns(now_s)}, at_ns(now_s))
    stream.send(chat(4, 4, 0, 960), now_s=965, partition="p/1")
    assert stream.watermark_s == 900


def test_waiting_is_saved() -> None:
    """A restored stream waits for the same partitions, and the time it was stopped is not silence."""
    stream = Stream()
    stream.ingest.expect(("p/0", "p/1"))
    stream.send(chat(1, 1, 0, 900), now_s=1000, partition="p/0")
    stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
    stream.idle(4000)
    assert stream.watermark_s is None
    stream.send(chat(2, 2, 0, 100), now_s=4001, partition="p/1")
    assert stream.watermark_s == 40


def test_a_cell_unseen_for_eight_days_is_freed() -> None:
    """Its place goes to another; one that counts once a week keeps its own."""
    stream = Stream()
    for day in range(0, 29, 7):
        stream.send(agent(day + 1, 1, day * DAY_S, day * DAY_S, name="weekly"))
        stream.send(agent(day + 100, 1, day * DAY_S, day * DAY_S, name=f"once-{day}"))
    stream.send(agent(999, 1, 29 * DAY_S, 29 * DAY_S, name="last"))
    stream.flush()
    cells = stream.ingest.cells
    names = {cells.values(int(row))[1] for row in cells.rows()}
    assert names == {"weekly", "once-21", "once-28", "last"}
    assert cells.expired > 0


def test_an_id_keeps_its_meaning_while_a_slot_holds_it() -> None:
    """One body with a gap of nine days closes slots on both sides of it: no id in them stands for two label sets."""
    stream = Stream()
    spans = [agent(day, 1, day * DAY_S, day * DAY_S, name=f"day-{day}") for day in range(1, 40, 9)]
    stream.ingest.read(Record(Signal.TRACES, body(*spans), "p"), at_ns(50 * DAY_S), stream.tally)
    stream.ingest.read(
        Record(Signal.TRACES, body(agent(99, 1, 60 * DAY_S, 60 * DAY_S)), "p"), at_ns(61 * DAY_S), stream.tally
    )
    stream.idle(61 * DAY_S)
    rows = [row for row in stream.rows() if row["labels"][2] == "agent"]  # type: ignore[index]
    assert [row["labels"][1] for row in rows] == [f"day-{day}" for day in range(1, 40, 9)]  # type: ignore[index]
    stream.slots.clear()
    stream.send(agent(100, 1, 61 * DAY_S, 61 * DAY_S, name="reborn"), now_s=62 * DAY_S)
    assert stream.ingest.cells.expired >= 8
    stream.send(agent(101, 1, 62 * DAY_S, 62 * DAY_S), now_s=63 * DAY_S)
    assert "reborn" in {row["labels"][1] for row in stream.rows()}  # type: ignore[index]


def test_a_trace_keeps_so_many_spans() -> None:
    """Those that come after are counted, with the labels that the trace lends, under a reason; the root is kept."""
    stream = Stream()
    stream.send(*(chat(1, n + 2, 0, n / 1000, parent=1) for n in range(SPANS_OF_TRACE_MAX + 20)), agent(1, 1, 0, 40))
    stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
    rows = stream.flush().of("llm")
    assert sum(float(str(row["count"])) for row in rows) == SPANS_OF_TRACE_MAX + 20
    assert {row["labels"][1] for row in rows} == {"helper"}  # type: ignore[index]
    assert stream.dropped(Dropped.TRACE_FULL) == 20
    (session,) = stream.of("session")
    assert len(session["cost"]) == 1  # type: ignore[arg-type]


def test_live_spans_are_bounded() -> None:
    """A day-long session of many traces gives up its oldest: it begins a new leg, and no call is lost."""
    stream = Stream(spans_max=100)
    for n in range(500):
        stream.send(chat(n + 1, 1, n, n + 0.5, gen_ai__conversation__id="long"))
    assert stream.ingest.join.spans <= 100
    assert stream.dropped(Dropped.TRACES_FULL) > 0
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == 500


def test_waiting_spans_are_bounded() -> None:
    """Behind a partition that is far behind, the oldest slots close early; its backlog is late, and that is said."""
    stream = Stream(pending_max=100)
    stream.send(chat(9999, 1, 0, 0), now_s=1, partition="slow")
    for n in range(300):
        stream.send(chat(n + 1, 1, 0, n * 0.75 + 100), now_s=30, partition="fast")
    assert stream.ingest.join.pending <= 100
    assert 195 <= stream.dropped(Dropped.SPANS_FULL) <= 215
    stream.send(chat(9998, 1, 1, 1), now_s=31, partition="slow")
    assert stream.dropped(Dropped.LATE) == 1
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == 301


def test_what_is_counted_is_not_kept() -> None:
    """Of a counted span only what those below may inherit is left, in memory and in a snapshot."""
    stream = Stream()
    more = {"gen_ai__response__id": "r", "gen_ai__response__model": "m", "gen_ai__conversation__id": "c"}
    stream.send(*(chat(1, n, 0, n / 100, parent=1, **more) for n in range(2, 100)))
    assert len(stream.ingest.snapshot()["join.waits"]) == 98
    stream.send(agent(2, 1, 80, 80))
    assert stream.ingest.join.spans == 99 and stream.ingest.join.pending == 1
    assert len(stream.ingest.snapshot()["join.waits"]) == 1


def test_a_child_inherits_from_what_was_counted() -> None:
    """A span whose ancestors' slots closed long ago, before a restart, still has their labels and their session."""
    runs = []
    for cut in (False, True):
        stream = Stream()
        stream.send(agent(1, 1, 0, 1, tenant="acme", gen_ai__conversation__id="c"))
        stream.send(chat(1, 2, 0, 90, parent=1))
        if cut:
            stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
        runs.append(stream.flush())
    (row,) = runs[0].of("llm")
    assert row["labels"][:2] == ("acme", "helper")  # type: ignore[index]
    assert same_slots(runs[0].slots, runs[1].slots)


def test_a_letter_that_is_not_utf_8_loses_no_span() -> None:
    """A hundred spans and one whose name is not UTF-8: all are read, the name with replacement characters."""
    stream = Stream()
    bad = chat(101, 1, 0, 1)
    spans = [chat(n, 1, 0, 1) for n in range(1, 101)]
    named = type(bad)(101, 1, 0, 1, 0, "agent.tool XXXX")
    raw = body(*spans, named).replace(b"XXXX", b"a\xff\xfeb")
    assert stream.send_bytes(raw, 2).error is None
    assert stream.tally.spans == 101
    assert stream.flush().of("tool")[0]["labels"][5] == "a\ufffd\ufffdb"  # type: ignore[index]
    assert sum(float(str(row["count"])) for row in stream.of("llm")) == 100


def test_a_cut_body_is_still_refused() -> None:
    """Bad text in a body that is cut besides changes nothing: it is not OTLP."""
    stream = Stream()
    raw = body(chat(1, 1, 0, 1), chat(2, 1, 0, 1)).replace(b"gpt-4o", b"gpt\xff4o")
    assert stream.send_bytes(raw, 2).error is None
    answer = stream.send_bytes(raw[:-5], 2)
    assert answer.error is not None
    assert stream.dropped(Dropped.MALFORMED) == 1
    assert stream.ingest.limits.lateness_ns == 60 * SECOND_NS


def test_the_queue_of_sessions_is_as_long_as_few_are_open() -> None:
    """Each session waits a quarter of an hour for a root until the root is there; closed, it leaves the queue."""
    stream = Stream()
    for second in range(600):
        spans = [chat(1000 * second + n, 2, second, second + 0.5, 1) for n in range(1, 11)]
        roots = [agent(1000 * second + n, 1, second, second + 1) for n in range(1, 11)]
        stream.send(*spans, *roots)
        tables = stream.ingest.join.tables
        assert tables.count("sessions") < 400 and tables.queue_places < 1_000
    assert stream.flush().tally.sessions == 6_000
