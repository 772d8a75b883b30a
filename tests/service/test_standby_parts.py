"""What whoever leads next is told: a directory as bytes, rows of an outbox, words in their place; and hostile bytes."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertrules.changes import Change
from alertrules.marks import Kind, Mark
from alertrules.notice import Status, to_json
from alertrules.select import Matcher, Operator
from alertrules.silences import Acknowledgement, End, Silence
from service.batch import Record, Said, Signal
from service.notifiers.request import Habit
from service.runtime.batching import Taking
from service.sources.arrival import Arrival, Arrivals
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from service.sources.state_topic import CHUNK_BYTES, GoneError
from service.standby.leading import Counts, Leading
from service.standby.lease import Lease, Standing, standing
from service.standby.lease_assignor import ENDS, HAS_IT, chosen
from service.standby.rehearing import HURRY_TAKES, Rehearing
from service.standby.spoken import packed, unpacked
from service.standby.told_topic import RECORD_BYTES_MAX, Heard, decoded, of_rows, of_word
from service.standby.travelling import Taken, install, offsets_of
from service.standby.travelling import unpacked as files_of
from service.store.due import next_due
from service.store.entries import Entry, take_in
from service.store.files import DATABASE
from service.store.outbox import Outbox
from service.store.sqlite import Store, connect
from tests.service.test_deliver import Rig, check, until
from tests.service.test_deliver import notice as page
from tests.service.test_store import SLACK, delivery, resolve, save

TARGET = f"target of {SLACK}"
MATCHERS = Matcher("agent", Operator.REGEX, "a.*"), Matcher("rule", Operator.NOT_EQUAL, "")
WORDS: tuple[Said, ...] = (
    Mark(Kind.EXPECTED, "", "Slow", (("agent", "a"),), 5, 9, 4, "anna", "a deploy"),
    Silence("1f0c3a2b", MATCHERS, 1, 9, 2, "b", ""),
    End("1f0c3a2b"),
    Acknowledgement(("1f0c3a2b", "aaaaaaaa"), "anna", 7, True),
    Change(5, "v2", (("agent", "a"),), "https://example.com"),
)  # fmt: skip


def state_of(directory: Path) -> bytes:
    """A directory as it travels, after two saves of which the second one has a base."""
    store = Store(directory, worth_bytes=1)
    many = np.arange(100_000)
    for number in (1, 2):
        name = store.write_arrays({"many": many, "few": np.full(3, number)}, {"slots/0": number}, {"alerts": []})
        store.save(name, {"slots/0": number}, {"alerts": []}, [delivery(number, number)], 1)
    taken = Taken(*store.whole())
    assert len(taken.files) == 2
    size, pieces = taken.size, list(taken.pieces())
    assert sum(map(len, pieces[1:])) == size and max(map(len, pieces)) <= CHUNK_BYTES
    taken.close()
    store.close()
    return b"".join(pieces)


def test_a_directory_travels(tmp_path: Path) -> None:
    """It replaces whatever save was there, and is loaded to the bit with its outbox."""
    state = state_of(tmp_path / "one")
    other = Store(tmp_path / "other")
    for offset in range(1, 8):
        save(other, delivery(100 + offset), offset=offset)
    other.close()
    install(tmp_path / "other", files_of(state))
    assert offsets_of(tmp_path / "other") == {"slots/0": 2}
    again = Store(tmp_path / "other")
    saved = again.load()
    assert saved is not None and saved.offsets == {"slots/0": 2}
    np.testing.assert_array_equal(saved.arrays["many"], np.arange(100_000))
    np.testing.assert_array_equal(saved.arrays["few"], np.full(3, 2))
    again.close()
    outbox = Outbox(connect(tmp_path / "other"), connect(tmp_path / "other"))
    assert [row.notice.notice_id for row in outbox.rows(TARGET, f"{2:064d}")] == [f"{2:064d}"]
    outbox.close()
    assert len([path for path in (tmp_path / "other").iterdir() if path.suffix == ".npz"]) == 2


def test_a_state_that_is_torn(tmp_path: Path) -> None:
    """Cut anywhere, of another version, or with files that are no state's: said, and nothing is written."""
    state = state_of(tmp_path)
    for cut in (0, 1, 20, len(state) // 2, len(state) - 1):
        with pytest.raises(GoneError, match="damaged"):
            files_of(state[:cut])
    for head, said in (
        ({"format": 2, "files": []}, "has format 2, this version reads 1"),
        ({"format": 1, "files": [["../../etc/cron", 0], [DATABASE, 0]]}, "is not a file of a state"),
        ({"format": 1, "files": [[DATABASE, -5]]}, "is not a file of a state"),
        ({"format": 1, "files": []}, "damaged"),
        ([], "damaged"),
    ):
        with pytest.raises(GoneError, match=said):
            files_of(json.dumps(head).encode() + b"\n")


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.floats(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(
        st.sampled_from(("format", "kind", "rows", "word", "after", "fields", "leader", "state", "by", "at_s")), inner,
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_record_gets_an_answer(value: bytes) -> None:
    """Of the topic and of the group's text: what it says, or that it is not ours."""
    with suppress(ValueError):
        decoded(value, 5)
    assert isinstance(standing(value.decode("utf-8", "replace")), Standing)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
def test_words_are_heard_as_they_were_said(word: Said) -> None:
    """All of each kind comes back, through JSON, with how far reports had been read."""
    assert decoded(of_word(word, {"slots/0": 7}), 9) == Heard(word, 9, {"slots/0": 7})
    assert unpacked(json.loads(json.dumps(packed(word)))) == word


def test_rows_come_in_records_that_brokers_take() -> None:
    """Many large notices are several records, and no row is lost."""
    notice = delivery(1).notice
    rows = [Entry(to_json(replace(notice, title="y" * 100_000)), SLACK, TARGET, "over", "", n) for n in range(20)]
    records = list(of_rows(rows))
    assert len(records) > 3 and max(map(len, records)) < 2 * RECORD_BYTES_MAX
    assert [row for record in records for row in list(decoded(record, 0))] == rows  # type: ignore[arg-type]


def test_what_was_told_elsewhere_is_not_told_again(tmp_path: Path) -> None:
    """A row that waits becomes told; one that comes later is known; a page that was over is not sent after its resolve;
    and to be told twice changes nothing."""
    store = Store(tmp_path)
    save(store, delivery(1, 1), delivery(2, 2), resolve(3, 2))

    def row(number: int, group: int, state: str, said: str = "") -> Entry:
        return Entry(to_json(delivery(number, group).notice), SLACK, TARGET, state, said, 5)

    told = [row(1, 1, "delivered", "at ts 7"), row(2, 2, "over"), row(4, 4, "delivered")]
    with closing(connect(tmp_path)) as connection:
        assert take_in(connection, told) == 3
        assert take_in(connection, told) == 0
    save(store, delivery(4, 4), delivery(5, 4), offset=2)
    outbox = Outbox(connect(tmp_path), connect(tmp_path))
    assert [one.group for one in outbox.pending(TARGET)] == [f"{2:064d}", f"{4:064d}"]
    pending = [one for one in outbox.pending(TARGET) if one.was_over]
    found = next_due(outbox, TARGET, pending, Habit(100, keeps_incidents=False), 10, 10)
    assert found is not None and found.notice.status is Status.OVER
    assert [row.notice.notice_id for row in outbox.rows(TARGET, f"{4:064d}")] == [f"{5:064d}"]
    assert outbox.reference(TARGET, f"{1:064d}") == "at ts 7" and outbox.has_heard(TARGET, f"{4:064d}")
    assert outbox.counts()[SLACK, "delivered"] == 2
    outbox.close()
    store.close()


def records(partition: str, begin: int, end: int) -> Arrival:
    """Reports of these offsets."""
    return Arrival(tuple(Record(Signal.TRACES, b"%d" % at, partition) for at in range(begin, end)), {partition: end})


def heard(steps: Sequence[Arrival], words: Sequence[Heard], read: int = 0) -> list[str]:
    """What is taken, in order: bodies of records, and words in brackets."""

    async def run() -> list[str]:
        arrivals: Arrivals = asyncio.Queue()
        for step in steps:
            arrivals.put_nowait(step)
        taking, found = Rehearing(Taking(arrivals), words, {"slots/0": read}, "told/0"), list[str]()
        for _ in range(30):
            if taking.is_empty():
                break
            for one in await taking.take():
                found += [record.body.decode() for record in one.records]
                found += [f"[{word.silence_id} {dict(one.offsets)}]" for word in one.marks if isinstance(word, End)]
        return found

    return asyncio.run(run())


def test_words_are_heard_in_their_place() -> None:
    """Between the very reports, however they are cut; before what people say now."""
    words = [Heard(End("first"), 3, {"slots/0": 4}), Heard(End("second"), 8, {"slots/0": 5})]
    expected = ["2", "3", "[first {'told/0': 4}]", "4", "[second {'told/0': 9}]", "5", "6"]
    for cut in range(2, 8):
        steps = [records("slots/0", begin, end) for begin, end in ((2, cut), (cut, 7)) if begin < end]
        assert heard(steps, words, 2) == expected, cut
    assert heard([records("slots/0", 9, 11)], words, 9) == [*expected[2:3], expected[4], "9", "10"]
    now = Arrival((), {}, marks=(End("now"),))
    assert heard([records("slots/0", 2, 4), now], words[1:], 2) == ["2", "3", expected[4], "[now {}]"]


def test_words_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that do not come, as their topic was made anew, hold a word up for a minute."""
    monkeypatch.setattr("service.runtime.batching.IDLE_S", 0.001)

    async def run() -> int:
        taking = Rehearing(Taking(asyncio.Queue()), [Heard(End("x"), 3, {"slots/0": 10**6})], {}, "told/0")
        count = 0
        while not await taking.take():
            count += 1
        return count

    assert asyncio.run(run()) == HURRY_TAKES


def test_whoever_has_the_lease_keeps_it() -> None:
    """By what it says of itself; one that comes back, and ends a former daemon, is the last to get it."""
    assert chosen({"b": HAS_IT, "a": b""}) == "b"
    assert chosen({"b": b"of a later version", "a": b""}) == "a"
    assert chosen({"b": b"", "a": ENDS}) == "b" and chosen({"a": ENDS}) == "a"


class Lead:
    """One that may tell when the test says so, and notes what it was told, and what the outbox knew then."""

    def __init__(self, database: Path) -> None:
        self.may, self.rows, self.known = False, list[Entry](), list[int]()
        self._database = database

    def may_tell(self) -> bool:
        return self.may

    async def told(self, rows: Callable[[], Sequence[Entry]]) -> None:
        self.rows += rows()
        with closing(sqlite3.connect(self._database)) as connection:
            query = "SELECT count(*) FROM outbox WHERE state <> 'waiting'"
            self.known += connection.execute(query).fetchone()


def test_nothing_is_sent_without_the_lease(tmp_path: Path) -> None:
    """Neither a page nor what is over is decided; with it all goes on, and whoever leads next knows before we do."""

    async def steps(rig: Rig) -> None:
        lead = Lead(tmp_path / DATABASE)
        rig.put(page(1, 1), page(2, 1))
        async with rig.running() as deliverer:
            deliverer._lead = lead  # type: ignore[assignment]
            rig.put(replace(page(3, 2)))
            deliverer.wake()
            await asyncio.sleep(0.5)
            sent = len(rig.slack.posts)
            lead.may = True
            await until(lambda: sum(deliverer.counts.delivered.values()) >= 1 and len(rig.slack.posts) > sent)
            await until(lambda: not rig.outbox.targets())
        assert sent == 0
        told = {(json.loads(row.payload)["notice_id"], row.state) for row in lead.rows}
        assert {state for _, state in told} == {"delivered", "replaced"} and len(told) == 3
        assert lead.known[0] == 0

    check(tmp_path, steps)


def test_whoever_leads_reads_on_where_its_state_ends() -> None:
    """In what the others report, and in the topics of metrics and logs; other offsets of its state are not of these."""
    topics = {"topics": ("otlp_metrics",), "sums_topic": "tocsin.sums", "told_topic": "tocsin.told"}
    security = Security(KafkaSettings(bootstrap_servers="localhost:1", **topics))
    one = Leading(security, Lease(security, "g", "tocsin.told"), Counts(), "me", "tocsin-1", (), 0)
    saved = {"tocsin.sums/0": 3, "otlp_metrics/1": 4, "tocsin.told/0": 5, "tocsin.slots/0": 6, "otlp_metrics": 7}
    led = one.positions(saved)
    assert led is not None and led.next == {"tocsin.sums/0": 3, "otlp_metrics/1": 4}
