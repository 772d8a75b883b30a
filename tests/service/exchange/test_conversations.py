"""Sessions whose traces lie on several partitions are those of one instance that reads all of them."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from detectors.core.columns import SECOND_NS, SLOT_NS, Slot
from service.batch import Dropped, Record, Signal, Tally
from service.config.settings import load
from service.exchange import crossing
from service.exchange.merge import Merge
from service.exchange.part import decoded as part_of
from service.exchange.report import decoded as report_of
from service.exchange.report import encoded
from service.ingest.join.join import UNSEEDED, Seed
from service.ingest.legs import Legs
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.stage import Ingest
from service.wiring import made as of_settings
from tests.service.exchange.dialogues import TOPIC, differences, facts, logs
from tests.service.exchange.machines import Owner, made
from tests.service.ingest.wire import Sent, agent, at_ns, body, chat
from tests.service.test_pipeline import end_ns, rules

Logs = Sequence[Sequence[Record]]
MINUTES, CONVERSATIONS = 22, 50


class Alone:
    """One instance of role all, the slots that it gave, and the legs of sessions by slot."""

    def __init__(self, given: Logs, limits: IngestLimits, begin_s: float = 0.0, names: Seed = UNSEEDED) -> None:
        self.ingest, self.slots, self.tally = Ingest(limits, names=names), list[Slot](), Tally()
        self.legs: dict[int, Legs] = {}
        self.ingest.expect([f"{TOPIC}/{number}" for number in range(len(given))])
        for row, together in enumerate(zip(*given, strict=True)):
            for record in together:
                for _ in self.ingest.read_all((record,), end_ns(row) + round(begin_s * SECOND_NS), self.tally):
                    self.slots += self.ingest.take_closed()
                    self.legs |= self.ingest.legs


class Detect:
    """The front of a detect instance, the slots that it gave, and the legs of sessions by slot."""

    def __init__(self, limits: IngestLimits) -> None:
        self.merge, self.slots, self.tally = Merge(limits, Local(), (3, 4), UNSEEDED, Meters()), list[Slot](), Tally()
        self.legs: dict[int, Legs] = {}

    def read(self, reports: Sequence[bytes], now_ns: int) -> None:
        self.hear([Record(Signal.TRACES, report, "t/0") for report in reports], now_ns)

    def hear(self, records: Sequence[Record], now_ns: int) -> None:
        """Read records of any kind."""
        for record in records:
            for answers in self.merge.read_all((record,), now_ns, self.tally):
                assert answers[0].error is None, answers
                self.slots += self.merge.take_closed()
                self.legs |= self.merge.legs

    def restart(self) -> None:
        """Go on from what was saved."""
        self.merge = Merge.restore(self.merge.snapshot(), self.merge.limits, Local(), (5, 6), UNSEEDED, Meters())


def owners_of(given: Logs, limits: IngestLimits) -> list[Owner]:
    topics, theirs = {TOPIC: len(given)}, replace(made(), limits=limits)
    return [Owner(f"{TOPIC}/{number}", log, topics, theirs) for number, log in enumerate(given)]


def read_by_both(partitions: int) -> tuple[Detect, Alone]:
    """The same conversations on so many partitions, read under the roles in the order of time, and by role all."""
    given, limits = logs(partitions, partitions, MINUTES, CONVERSATIONS), IngestLimits()
    detect, owners, alone = Detect(limits), owners_of(given, limits), Alone(given, limits)
    for row in range(len(given[0])):
        for owner in owners:
            detect.read(owner.read(1, end_ns(row)), end_ns(row))
    return detect, alone


def compare(detect: Detect, alone: Alone) -> list[str]:
    """What differs of the slots that both have closed."""
    until_ns = min(detect.slots[-1].start_ns, alone.slots[-1].start_ns)
    one, other = ([slot for slot in each.slots if slot.start_ns <= until_ns] for each in (detect, alone))
    assert until_ns > at_ns(MINUTES * 60 - 200)
    return differences(
        facts(one, detect.merge.cells, detect.merge.sights), facts(other, alone.ingest.cells, alone.ingest.sights)
    )


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_every_column_is_that_of_one_instance(partitions: int) -> None:
    """Counts, outcomes, costs, lengths and open sessions, whatever of a conversation lies where: roots that come late,
    that never come and that somebody else has, tools that are called again, silences of about the idle time."""
    detect, alone = read_by_both(partitions)
    assert compare(detect, alone) == []
    assert detect.tally.sessions > CONVERSATIONS and sum(len(slot.running.cell) for slot in alone.slots) > 50
    assert detect.merge.conversations.traces < CONVERSATIONS


@pytest.mark.parametrize("seed", range(2))
def test_restarts_repeats_and_delays_lose_and_double_no_stretch(seed: int) -> None:
    """Owners go back to what they kept, two own a partition at once, reports come late, and detect is restarted."""
    chance, limits = random.Random(seed), IngestLimits()
    given = logs(3, seed + 10, MINUTES, CONVERSATIONS, late=0)
    detect, owners, alone = Detect(limits), owners_of(given, limits), Alone(given, limits)
    waiting: list[list[bytes]] = [[] for _ in owners]
    while any(owner.at < len(owner.log) for owner in owners) or any(waiting):
        number, happens = chance.randrange(len(owners)), chance.random()
        owner, now_ns = owners[number], end_ns(len(given[0]))
        if happens < 0.06:
            owner.restart()
        elif happens < 0.15:
            owner.keep()
        elif happens < 0.18:
            zombie = Owner(owner.source, owner.log, owner.topics)
            zombie.kept = owner.kept
            zombie.restart()
            waiting[number] += zombie.read(chance.randrange(1, 60), now_ns)
        elif happens < 0.22:
            detect.restart()
        elif happens < 0.6:
            waiting[number] += owner.read(chance.randrange(1, 12), now_ns)
        elif waiting[number]:
            detect.read([waiting[number].pop(0)], now_ns)
    assert compare(detect, alone) == []
    assert detect.tally.repeats > 0 and detect.tally.gaps == 0


def test_a_state_in_which_sessions_were_joined_is_gone_on_from() -> None:
    """A version before joined sessions by partition, as TOCSIN_KAFKA__KEYED_BY=session still does. What open ones went
    through is told with the next slot, once: on one partition nothing differs."""
    given, limits = logs(1, 5, MINUTES, CONVERSATIONS), IngestLimits()
    detect, alone = Detect(limits), Alone(given, limits)
    (before,) = owners_of(given, limits)
    before.made = replace(before.made, tells=False)
    before.restart()
    for row in range(120):
        detect.read(before.read(1, end_ns(row)), end_ns(row))
    (after,) = owners_of(given, limits)
    after.kept = before.at, before.shard.snapshot()
    after.restart()
    assert after.shard.ingest.join.tables.count("sessions") > 3
    for row in range(120, len(given[0])):
        detect.read(after.read(1, end_ns(row)), end_ns(row))
    assert compare(detect, alone) == []


def told(limits: IngestLimits, *partitions: Sequence[Sent], until_s: float) -> Detect:
    """What detect makes of these spans of partitions, each with what moves event time to a second after."""
    detect = Detect(limits)
    for number, spans in enumerate(partitions):
        pulse = agent(1 << 100 | number, 1, until_s, until_s, "pulse")
        log = [Record(Signal.TRACES, body(each), f"{TOPIC}/{number}") for each in (*spans, pulse)]
        owner = Owner(f"{TOPIC}/{number}", log, {TOPIC: len(partitions)}, replace(made(), limits=limits))
        for record, sent in zip(log, (*spans, pulse), strict=True):
            detect.read(owner.read(1, at_ns(sent.end_s + 1)), at_ns(sent.end_s + 1))
            assert record
    return detect


def sessions(detect: Detect) -> list[tuple[int, float]]:
    """Second and number of the sessions of `helper` that ended."""
    cells = detect.merge.cells
    return [
        ((slot.start_ns - at_ns(0)) // SECOND_NS, count)
        for slot in detect.slots
        for cell, count in zip(slot.cell.tolist(), slot.count.tolist(), strict=True)
        if cells.values(cell)[1:3] == ("helper", "session")
    ]


def turn(trace: int, end_s: float, name: str = "c") -> Sent:
    return agent(trace, 1, end_s - 1, end_s, gen_ai__conversation__id=name)


def test_a_session_waits_for_the_root_of_a_trace_on_another_partition() -> None:
    """A trace without a root keeps its session open for a quarter of an hour, wherever the others lie."""
    lost = chat(2, 2, 4, 5, parent=7, gen_ai__conversation__id="c")
    detect = told(IngestLimits(), [turn(1, 3)], [lost], until_s=1200)
    assert sessions(detect) == [(900, 1.0)]


def test_a_session_is_cut_after_a_day_though_it_goes_on_elsewhere() -> None:
    """The age is that of the session, whose traces on one partition alone would not be old enough."""
    limits = IngestLimits(session_max_ns=100 * SECOND_NS)
    one, other = ([turn(trace, end_s) for trace, end_s in enumerate(range(first, 180, 20), first)] for first in (5, 95))
    detect = told(limits, one[:5], other, until_s=400)
    assert sessions(detect) == [(100, 1.0), (200, 1.0)]


def test_open_sessions_are_bounded() -> None:
    """One more trace than there may be ends the oldest one's session, and is counted."""
    spans = [turn(trace, trace / 10, f"c-{trace}") for trace in range(1, 41)]
    detect = Detect(IngestLimits(traces_max=25))
    owner = owners_of([[Record(Signal.TRACES, body(*spans), f"{TOPIC}/0")]], IngestLimits())[0]
    owner.log = [*owner.log, Record(Signal.TRACES, body(agent(99, 1, 75, 75, "pulse")), owner.source)]
    for second in (5, 75):
        detect.read(owner.read(1, at_ns(second)), at_ns(second))
    assert detect.merge.conversations.traces == 25
    assert detect.tally.dropped[Dropped.TRACES_FULL] == 15
    assert sum(count for _, count in sessions(detect)) == 15


def test_a_session_that_nothing_names_is_not_told() -> None:
    """It is of one trace, and so of one partition: its ingest counts it, and tells no more than its cell."""
    log = [Record(Signal.TRACES, body(agent(1, 1, 4, 5)), f"{TOPIC}/0")]
    (owner,) = owners_of([[*log, Record(Signal.TRACES, body(agent(2, 1, 150, 150)), f"{TOPIC}/0")]], IngestLimits())
    reports = [report for second in (6, 150) for report in owner.read(1, at_ns(second))]
    parts = [part_of(part) for report in reports for part in report_of(report).parts]
    assert [(part.slot.start_ns - at_ns(0)) // SLOT_NS for part in parts] == [0, 3]
    assert not any(len(part.stretches) for part in parts)
    detect = Detect(IngestLimits())
    detect.read(reports, at_ns(151))
    assert sessions(detect) == [(30, 1.0)] and detect.tally.sessions == 0


def test_reports_of_the_version_before_are_read() -> None:
    """They tell no stretches, and their sessions are cells: such a partition has its sessions joined by itself."""
    given, limits = logs(2, 3, 8, 20), IngestLimits()
    owners, detect = owners_of(given, limits), Detect(limits)
    for owner in owners:
        owner.made = replace(owner.made, tells=False, records=False)
        owner.restart()
    for row in range(len(given[0])):
        for owner in owners:
            detect.read([_as_of_before(report) for report in owner.read(1, end_ns(row))], end_ns(row))
    assert detect.tally.sessions == 0 and detect.merge.conversations.traces == 0
    labels = {detect.merge.cells.values(cell)[1:3] for slot in detect.slots for cell in slot.lengths.cell.tolist()}
    assert ("agent-0", "session") in labels


def _as_of_before(report: bytes) -> bytes:
    """A report as that version wrote it, whose parts have no stretches."""
    known = report_of(report)
    parts = []
    for part in known.parts:
        line, _, rest = part.partition(b"\n")
        head = json.loads(line)
        assert head.pop("stretches") == 0 and head.pop("labels") and len(part_of(part).stretches) == 0
        head["kinds"] = head["kinds"][: -(1 + crossing.STRETCH_COLUMNS + len(crossing.LABEL_WORDS))]
        parts.append(json.dumps(head).encode() + b"\n" + rest)
    written = bytearray(encoded(replace(known, parts=parts)))
    written[len(b"tocsin-slots")] = 1
    return bytes(written)


def test_instances_of_a_group_name_sessions_alike() -> None:
    """And only there: without a secret of their own; nothing is told where a session lies on one partition."""
    names = []
    for group, keyed_by in (("a", "trace"), ("a", "trace"), ("b", "trace"), ("a", "session")):
        settings = load({"TOCSIN_KAFKA__GROUP": group, "TOCSIN_KAFKA__KEYED_BY": keyed_by})
        names.append(of_settings(settings, rules()))
    assert names[0].names == names[1].names != names[2].names and [one.tells for one in names] == [True] * 3 + [False]


def test_a_state_of_detect_in_which_no_sessions_were_joined_is_gone_on_from() -> None:
    """A version before wrote it: what waits in it is counted, and sessions are joined from here on."""
    limits = IngestLimits()
    spans = [(turn(trace, 3 + trace), agent(1 << 100 | trace, 1, 75, 75, "pulse")) for trace in (1, 2)]
    given = [[Record(Signal.TRACES, body(one), f"{TOPIC}/{n}") for one in each] for n, each in enumerate(spans)]
    detect, (one, other) = Detect(limits), owners_of(given, limits)
    detect.read([report for second in (5, 76) for report in one.read(1, at_ns(second))], at_ns(76))
    arrays = {name: array for name, array in detect.merge.snapshot().items() if not name.startswith("sessions.")}
    said = json.loads(arrays["merge"].tobytes())
    assert len(said["waiting"]) == 1
    arrays["merge"] = np.frombuffer(json.dumps(said | {"format": 1}).encode(), np.uint8)
    detect.merge = Merge.restore(arrays, limits, Local(), (7, 8), UNSEEDED, Meters())
    detect.read([report for second in (5, 76) for report in other.read(1, at_ns(second))], at_ns(76))
    detect.slots += detect.merge.flush(detect.tally)
    assert sessions(detect) == [(30, 1.0)]
