"""Slots, watermarks and what is late, in the future or from another year."""

import random

from service.batch import Dropped, Record, Signal, Tally
from service.ingest.stage import Ingest
from tests.service.ingest.wire import Sent, Stream, agent, at_ns, body, chat, same_slots


def starts(stream: Stream) -> list[object]:
    """When the slots given so far begin."""
    return [(slot.start_ns - at_ns(0)) // 10**9 for slot in stream.slots]


def test_a_span_belongs_to_the_slot_it_ends_in() -> None:
    """A call from second 5 to 15 counts in the slot that begins at 10; one that ends at 20 in that of 20."""
    stream = Stream()
    stream.send(chat(1, 1, 5, 15), chat(2, 2, 5, 20))
    assert [row["start_s"] for row in stream.flush().of("llm")] == [10, 20]


def test_a_slot_closes_when_the_watermark_passes_its_end() -> None:
    """With a lateness of 60 s, the slot of second 0 closes when a span has ended at 70."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 1))
    stream.send(chat(2, 2, 0, 69.9))
    assert starts(stream) == []
    stream.send(chat(3, 3, 0, 70))
    assert starts(stream) == [0]


def test_a_late_span_is_not_counted() -> None:
    """A span that ends in a closed slot is counted late; one that ends in the first open slot still counts."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 75))
    stream.send(chat(2, 2, 0, 9), now_s=76)
    stream.send(chat(3, 3, 0, 12), now_s=76)
    assert stream.dropped(Dropped.LATE) == 1
    assert [row["start_s"] for row in stream.flush().of("llm")] == [10, 70]


def test_a_late_span_still_joins_its_trace() -> None:
    """A root that comes too late to be counted still names the agent of a call whose slot is open."""
    stream = Stream()
    stream.send(chat(1, 2, 0, 75, parent=1))
    stream.send(agent(1, 1, 0, 5, name="late-root"), now_s=76)
    assert stream.dropped(Dropped.LATE) == 1
    (row,) = stream.flush().of("llm")
    assert row["labels"][1] == "late-root"  # type: ignore[index]
    assert stream.of("agent") == []


def test_lateness_is_decided_before_the_record() -> None:
    """A body that holds minutes of spans does not make its own first spans late."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 500), chat(2, 2, 0, 1))
    assert stream.dropped(Dropped.LATE) == 0
    assert len(stream.flush().of("llm")) == 2


def test_there_is_no_watermark_before_the_first_span() -> None:
    """An idle stream that has seen nothing has no event time."""
    stream = Stream()
    stream.idle(1000)
    stream.send_bytes(b"", 1000)
    assert stream.watermark_s is None


def test_the_slowest_active_partition_holds_the_watermark() -> None:
    """The stream's watermark is the least of its partitions', until one was silent for a minute of wall time."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100), now_s=300, partition="p/0")
    stream.send(chat(2, 2, 0, 200), now_s=310, partition="p/1")
    assert stream.watermark_s == 40
    stream.send(chat(3, 3, 0, 250), now_s=359, partition="p/1")
    assert stream.watermark_s == 40
    stream.idle(360)
    assert stream.watermark_s == 190


def test_an_idle_live_stream_follows_the_clock() -> None:
    """With no data at all the watermark moves on as time does, one lateness behind where the last span was heard."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100), now_s=100)
    stream.idle(150)
    assert stream.watermark_s == 40
    for now_s in (200, 400, 800, 3000):
        stream.idle(now_s)
        assert stream.watermark_s == now_s - 60


def test_a_replay_moves_by_its_data_alone() -> None:
    """A stream days behind the clock does not jump to it when it pauses."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100), now_s=1_000_000)
    stream.idle(1_000_100)
    stream.idle(1_001_000)
    assert stream.watermark_s == 40


def test_the_watermark_never_goes_back() -> None:
    """Old data, a clock that jumps back and a new slow partition leave it where it was."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100))
    stream.send(chat(2, 2, 0, 30), now_s=101, partition="p/1")
    assert stream.watermark_s == 40
    stream.idle(50)
    stream.send(chat(3, 3, 0, 90), now_s=50)
    assert stream.watermark_s == 40


def test_a_future_span_moves_nothing() -> None:
    """A clock that runs years ahead is rejected and does not make everybody else late."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 50))
    answer = stream.send(chat(2, 2, 0, 90_000_000), now_s=51)
    assert (answer.rejected, stream.dropped(Dropped.FUTURE)) == (1, 1)
    assert stream.watermark_s == -10


def test_five_minutes_ahead_are_borne() -> None:
    """A span that ends less than `future_max` after the clock counts."""
    stream = Stream()
    assert stream.send(chat(1, 1, 0, 350), now_s=51).rejected == 0


def test_a_clock_minutes_ahead_makes_nobody_late() -> None:
    """Event time goes no further than the clock: a host that is four minutes ahead counts, and so do all others."""
    stream = Stream()
    stream.send(chat(1, 1, 290, 300), now_s=60)
    stream.send(chat(2, 2, 50, 59), now_s=60)
    assert (stream.watermark_s, stream.dropped(Dropped.LATE)) == (0, 0)
    assert [row["start_s"] for row in stream.flush().of("llm")] == [50, 300]


def test_a_clock_years_behind_is_late() -> None:
    """A span from years ago, once the stream is under way, is late and harms nobody."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100))
    stream.send(chat(2, 2, -90_000_000, -89_999_990), now_s=101)
    assert stream.dropped(Dropped.LATE) == 1
    assert [row["start_s"] for row in stream.flush().of("llm")] == [100]


def test_a_negative_duration_counts_without_it() -> None:
    """A call that ends before it starts is a call, but no duration."""
    stream = Stream()
    stream.send(chat(1, 1, 9, 5))
    (row,) = stream.flush().of("llm")
    assert (row["count"], row["duration"]) == (1.0, [])
    assert stream.dropped(Dropped.NEGATIVE_DURATION) == 1


def test_a_span_sent_twice_counts_once() -> None:
    """Kafka delivers at least once: a span id seen before in its trace is a duplicate."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 5), chat(1, 1, 0, 5))
    stream.send(chat(1, 1, 0, 5))
    assert stream.dropped(Dropped.DUPLICATE) == 2
    assert [row["count"] for row in stream.flush().of("llm")] == [1.0]


def test_an_empty_stretch_of_time_has_no_slots() -> None:
    """A year without data between two spans costs nothing and gives no slot."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 1))
    stream.send(chat(2, 2, 0, 31_536_000))
    assert starts(stream) == [0, 30]  # The call's, and that of its session.
    assert stream.flush().tally.sessions == 2


def fleet(seed: int) -> list[tuple[float, list[Sent]]]:
    """Bodies of an hour's spans, each at its time of arrival, some a little out of order."""
    chance = random.Random(seed)
    spans: list[Sent] = []
    for trace in range(1, 150):
        begun = chance.uniform(0, 600)
        conversation = f"c{trace % 40}" if trace % 3 else ""
        name, tenant = f"agent-{trace % 5}", f"t{trace % 3}"
        spans.append(agent(trace, 1, begun, begun + 9, name, tenant=tenant, gen_ai__conversation__id=conversation))
        for number in range(2, 6):
            start = begun + number
            spans.append(chat(trace, number, start, start + chance.uniform(0, 1.5), parent=1))
    spans.sort(key=lambda sent: sent.end_s + chance.uniform(0, 20))
    return [(spans[i].end_s + 30, spans[i : i + 7]) for i in range(0, len(spans), 7)]


def test_order_within_the_lateness_changes_nothing() -> None:
    """Spans shuffled by less than the lateness, in other bodies, give the same slots to the last bit."""
    spans = [sent for _, group in fleet(1) for sent in group]
    orders = [spans, sorted(spans, key=lambda sent: (sent.end_s // 40, -sent.span, sent.trace))]
    runs = []
    for order in orders:
        stream = Stream()
        for i in range(0, len(order), 11):
            stream.send(*order[i : i + 11], now_s=700)
        runs.append(stream.flush())
    assert runs[0].dropped(Dropped.LATE) == 0
    assert runs[0].rows() == runs[1].rows()
    assert len(runs[0].slots) > 20


def test_when_slots_are_taken_changes_nothing() -> None:
    """Taking the closed slots after each record or only at the end gives the same ones."""
    often, once = Stream(), Stream()
    for now_s, group in fleet(2):
        often.send(*group, now_s=now_s)
        once.ingest.read(Record(Signal.TRACES, body(*group), "p/0"), at_ns(now_s), once.tally)
    assert same_slots(often.flush().slots, once.flush().slots)
    assert often.tally == once.tally


def test_restored_and_never_stopped_are_the_same() -> None:
    """A snapshot at any record, restored, goes on to the same slots, tallies and cells."""
    bodies = fleet(3)
    whole = Stream()
    for now_s, group in bodies:
        whole.send(*group, now_s=now_s)
    whole.flush()
    for cut in (0, 1, len(bodies) // 3, len(bodies) // 2, len(bodies) - 1):
        parted = Stream()
        for i, (now_s, group) in enumerate(bodies):
            if i == cut:
                parted.ingest = Ingest.restore(parted.ingest.snapshot(), parted.limits)
            parted.send(*group, now_s=now_s)
        assert same_slots(parted.flush().slots, whole.slots)
        assert parted.tally == whole.tally
        assert parted.rows() == whole.rows()


def test_downtime_is_not_silence() -> None:
    """After a stop of minutes, the backlog is read before the watermark follows the clock."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100))
    stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
    stream.idle(400)
    assert stream.watermark_s == 40
    stream.send(chat(2, 2, 0, 110), now_s=401)
    assert stream.dropped(Dropped.LATE) == 0


def test_a_snapshot_needs_no_pickle() -> None:
    """Every array has a plain dtype, or one of plain fields."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100))
    assert not any(array.dtype.hasobject for array in stream.ingest.snapshot().values())
    assert Ingest.restore(Stream().ingest.snapshot(), stream.limits).watermark_ns is None


def test_a_full_table_of_cells_counts_under_other() -> None:
    """Ten thousand agent names fill the table; the rest share one row, are counted, and no call is lost."""
    stream = Stream(cells_max=100)
    for first in range(0, 10_000, 500):
        stream.send(*(agent(i + 1, 1, 0, 5, name=f"agent-{i}") for i in range(first, first + 500)), now_s=6)
    rows = stream.flush().of("agent")
    others = [row for row in stream.rows() if row["labels"] == (*["_other"] * 9, "")]
    assert len(stream.ingest.cells) == 99
    assert len(rows) == 99
    assert sum(float(str(row["count"])) for row in rows + others) == 20_000  # A run and a session each.
    assert stream.dropped(Dropped.SERIES_FULL) == 20_000 - 99


def test_a_full_table_of_traces_evicts_the_oldest() -> None:
    """The oldest trace goes, counted, and its session closes; its calls still count."""
    stream = Stream(traces_max=10)
    for trace in range(1, 31):
        stream.send(chat(trace, 1, 0, trace / 10), now_s=5)
    assert stream.dropped(Dropped.TRACES_FULL) == 20
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == 30
    assert stream.tally.sessions == 30


def test_a_tally_counts_each_span_once() -> None:
    """Spans taken, duplicates and late ones among them, are what `spans` counts; rejected ones are not."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 100), chat(1, 1, 0, 100), chat(0, 1, 0, 100))
    stream.send(chat(9, 1, 0, 1), now_s=101)
    assert stream.tally == Tally(
        spans=3,
        dropped=stream.tally.dropped,
        slots=stream.tally.slots,
        sessions=stream.tally.sessions,
        read=stream.tally.read,
    )
