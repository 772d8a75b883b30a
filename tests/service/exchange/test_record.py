"""The record of sessions under roles ingest and detect is that of one instance that reads all of them, row by row."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.core.columns import SECOND_NS
from service.batch import Dropped, Record, Signal
from service.exchange import closed_legs, crossing
from service.exchange import part as parts
from service.exchange.merge import Merge
from service.exchange.part import Part, PartError
from service.exchange.report import decoded, encoded
from service.ingest.join.join import UNSEEDED
from service.ingest.legs import WENT, Legs
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.stretches import Stretches
from service.ledger.counted import record_of
from service.ledger.late_rows import Joined
from tests.service.exchange.dialogues import TOPIC, logs
from tests.service.exchange.test_conversations import (
    CONVERSATIONS,
    MINUTES,
    Alone,
    Detect,
    owners_of,
    read_by_both,
)
from tests.service.exchange.test_conversations import compare as slots_differ
from tests.service.ingest.wire import agent, at_ns, body
from tests.service.test_pipeline import end_ns

NAN = float("nan")
Rows = dict[tuple[bytes, int, int], tuple[Any, ...]]


def rows_of(legs: Mapping[int, Legs], until_ns: int) -> Rows:
    """The rows that the record has of legs that closed until then, by what makes a row one.

    Of what stands for a name only the first half is told.
    """
    found: Rows = {}
    for start_ns, leg in legs.items():
        for i in range(len(leg) if start_ns <= until_ns else 0):
            key = leg.key[i].tobytes()
            key = key[:8] if leg.named[i] else key
            columns = [getattr(leg, name)[i].tolist() for name in ("traces", "went", "tokens", "failed", "weight")]
            columns += [str(leg.lowest[i]), str(leg.dollars[i]), leg.texts[i], leg.trace[i].tobytes(), start_ns]
            found[key, int(leg.first_ns[i]), int(leg.last_ns[i])] = tuple(columns)
    return found


def compare(detect: Detect, alone: Alone) -> list[str]:
    """What differs of the rows of legs that both have closed."""
    until_ns = min(detect.slots[-1].start_ns, alone.slots[-1].start_ns)
    assert until_ns > at_ns(MINUTES * 60 - 200)
    one, other = rows_of(detect.legs, until_ns), rows_of(alone.legs, until_ns)
    assert len(other) > CONVERSATIONS
    return [f"{key}: {one.get(key)} != {other.get(key)}" for key in one.keys() | other.keys()
            if one.get(key) != other.get(key)]  # fmt: skip


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_every_row_is_that_of_one_instance(partitions: int) -> None:
    """Of sessions with a name and without: what they went through, their tokens, cost, times, labels and outcomes."""
    detect, alone = read_by_both(partitions)
    assert compare(detect, alone) == []
    went = sum(leg.went.sum(0) for leg in alone.legs.values())
    assert (np.delete(went, WENT.index("guardrail_blocks")) > 0).all()
    assert any(not leg.named.all() for leg in alone.legs.values())
    assert any(np.isfinite(leg.lowest).any() for leg in alone.legs.values())
    assert detect.tally.unrecorded == 0 and detect.tally.named.total() > CONVERSATIONS


@pytest.mark.parametrize("seed", range(2))
def test_a_leg_that_is_reported_twice_is_one_row(seed: int) -> None:
    """Owners go back to what they kept, two own a partition at once, and detect is restarted: the rows are the same."""
    chance, limits = random.Random(seed), IngestLimits()
    given = logs(3, seed + 20, MINUTES, CONVERSATIONS, late=0)
    detect, owners, alone = Detect(limits), owners_of(given, limits), Alone(given, limits)
    twice = 0
    while any(owner.at < len(owner.log) for owner in owners):
        owner, happens, now_ns = chance.choice(owners), chance.random(), end_ns(len(given[0]))
        if happens < 0.05:
            twice += owner.at
            owner.restart()
            twice -= owner.at
        elif happens < 0.2:
            owner.keep()
        elif happens < 0.25:
            detect.restart()
        else:
            detect.read(owner.read(chance.randrange(1, 12), now_ns), now_ns)
    assert compare(detect, alone) == [] and twice > 50


def test_where_producers_key_by_session_the_rows_are_the_same() -> None:
    """Ingest joins sessions then, and tells their legs; a session is found by its name."""
    given, limits = logs(1, 6, MINUTES, CONVERSATIONS), IngestLimits()
    detect, alone = Detect(limits), Alone(given, limits)
    (owner,) = owners_of(given, limits)
    owner.made = replace(owner.made, tells=False)
    owner.restart()
    for row in range(len(given[0])):
        detect.read(owner.read(1, end_ns(row)), end_ns(row))
    assert compare(detect, alone) == [] and detect.tally.sessions == 0
    keys = {key.tobytes() for leg in detect.legs.values() for key in leg.key}
    assert detect.merge.key_of("conversation-7") in keys


SPANS = (
    agent(1, 1, 3, 4, gen_ai__conversation__id="c", tenant="acme", gen_ai__agent__version="v2"),
    agent(2, 1, 15, 16, gen_ai__conversation__id="c"),
    agent(3, 1, 17, 18),
    agent(99, 1, 150, 150),
)
"""Two turns of a named session, one that nothing names, and what moves event time."""


def parts_of(**made: bool) -> list[tuple[float, bytes]]:
    """Seconds, and the reports of an ingest instance made so."""
    owner = owners_of([[Record(Signal.TRACES, body(span), f"{TOPIC}/0") for span in SPANS]], IngestLimits())[0]
    owner.made = replace(owner.made, **made)  # type: ignore[arg-type]
    owner.restart()
    return [(span.end_s, report) for span in SPANS for report in owner.read(1, at_ns(span.end_s))]


def joined(told: Sequence[tuple[float, bytes]]) -> Detect:
    """What detect makes of them."""
    detect = Detect(IngestLimits())
    for second, report in told:
        detect.read([report], at_ns(second))
    return detect


def as_before(report: bytes) -> bytes:
    """The same as the version before wrote it."""
    known = decoded(report)
    written = bytearray(encoded(replace(known, parts=[_as_before(parts.decoded(one)) for one in known.parts])))
    written[len(b"tocsin-slots")] = 2
    return bytes(written)


def _as_before(part: Part) -> bytes:
    """A part without legs, and without what stands for them since."""
    body = parts.encoded(replace(part, is_whole=False))
    line, _, rest = body.partition(b"\n")
    head = json.loads(line)
    assert head.pop("labels")
    ((kind, column),) = crossing.label_columns(part.stretches, head["words"].index)
    assert head["kinds"].endswith(kind)
    head["kinds"] = head["kinds"][: -len(kind)]
    end = len(rest) - len(crossing.ids_and_times(part.stretches, part.slot.start_ns))
    return json.dumps(head).encode() + b"\n" + rest[: end - len(column)] + rest[end:]


def named(detect: Detect) -> list[bool]:
    return [one for leg in detect.legs.values() for one in leg.named.tolist()]


def test_legs_of_sessions_with_and_without_a_name() -> None:
    """Both are told; the key of one is half of what stands for its name, that of the other its trace's id."""
    detect = joined(parts_of())
    legs = {bool(leg.named[i]): leg.at(slice(i, i + 1)) for leg in detect.legs.values() for i in range(len(leg))}
    assert legs[True].key[0].tobytes() == detect.merge.key_of("c") and legs[True].traces.tolist() == [2]
    assert legs[False].key[0].tobytes() == (3).to_bytes(16, "big") and legs[False].traces.tolist() == [1]
    assert detect.merge.key_of("c")[8:] == bytes(8) and detect.tally.unrecorded == 0


def test_a_site_that_does_not_want_the_bytes() -> None:
    """Its reports are smaller and count the same. Sessions of which no leg is told are counted, named or not."""
    whole, small = parts_of(), parts_of(records=False)
    assert sum(len(report) for _, report in small) < sum(len(report) for _, report in whole) - 60
    detect = joined(small)
    assert named(detect) == [] and detect.tally.sessions == 1 and detect.tally.unrecorded == 2
    assert detect.tally.named == {"helper": 1}
    assert counted(detect) == counted(joined(whole))
    assert ("acme", "helper", "session", "", "", "", "v2", "", "", "") in [
        labels for each in counted(detect) for labels in each
    ]


def counted(detect: Detect) -> list[dict[tuple[str, ...], float]]:
    """By slot, what was counted by labels."""
    values = detect.merge.cells.values
    return [{values(cell): n for cell, n in zip(slot.cell.tolist(), slot.count.tolist(), strict=True)}
            for slot in detect.slots]  # fmt: skip


@pytest.mark.parametrize("old", range(1, 5))
def test_reports_of_the_version_before_are_read(old: int) -> None:
    """Whose legs it does not tell. A session of which they told a part is counted, and is no row: it would be wrong."""
    told = parts_of()
    detect = joined([(second, as_before(report) if i < old else report) for i, (second, report) in enumerate(told)])
    before = [parts.decoded(body) for _, report in told[:old] for body in decoded(report).parts]
    is_named, is_nameless = (not any(len(getattr(part, name)) for part in before) for name in ("stretches", "legs"))
    assert detect.tally.sessions == 1 and detect.tally.unrecorded == 2 - is_named - is_nameless
    assert sorted(named(detect)) == [False] * is_nameless + [True] * is_named


def test_a_state_of_the_version_before_is_gone_on_from() -> None:
    """Sessions that were open in it are counted, and are no rows; those that begin later are."""
    limits = IngestLimits()
    waits_s = limits.lateness_ns / SECOND_NS
    later = [agent(4, 1, 70, 71, gen_ai__conversation__id="d"), agent(98, 1, 200, 200)]
    spans = [*SPANS[:2], agent(97, 1, 25 + waits_s, 25 + waits_s), *later]
    (owner,) = owners_of([[Record(Signal.TRACES, body(span), f"{TOPIC}/0") for span in spans]], limits)
    detect = joined([(span.end_s, report) for span in spans[:3] for report in owner.read(1, at_ns(span.end_s))])
    assert detect.merge.conversations.traces == 2 and not detect.legs
    arrays = {name: array for name, array in detect.merge.snapshot().items() if not name.startswith("late.")}
    said = json.loads(arrays["merge"].tobytes()) | {"format": 2}
    arrays["merge"] = np.frombuffer(json.dumps(said).encode(), np.uint8)
    detect.merge = Merge.restore(arrays, limits, Local(), (5, 6), UNSEEDED, Meters())
    for span in later:
        detect.read(owner.read(1, at_ns(span.end_s)), at_ns(span.end_s))
    assert detect.tally.sessions == 2 and detect.tally.unrecorded == 1
    keys = {key.tobytes() for leg in detect.legs.values() for key in leg.key[leg.named]}
    assert keys == {detect.merge.key_of("d")}


def test_late_outcomes_count_in_series_as_in_role_all() -> None:
    """Good and bad ones, a number, and a word of no class, which is told; also those that wait over a restart."""
    given, limits = logs(2, 8, MINUTES, CONVERSATIONS), IngestLimits()
    detect, owners, alone = Detect(limits), owners_of(given, limits), Alone([[], []], limits)
    for row in range(len(given[0])):
        now_ns, late = end_ns(row), list[Record]()
        if row % 20 == 3:
            told = [("resolved_7d", "true", NAN, True), ("csat", "2", 2.0, False), ("mood", "so so", NAN, None)]
            late = [record_of([joined_of(*one, now_ns - 30 * SECOND_NS) for one in told], now_ns)]
        for record in (*(log[row] for log in given), *late):
            for _ in alone.ingest.read_all((record,), now_ns, alone.tally):
                alone.slots += alone.ingest.take_closed()
        for owner in owners:
            detect.read(owner.read(1, now_ns), now_ns)
        detect.hear(late, now_ns)
        if row % 20 == 5:
            detect.restart()
    assert slots_differ(detect, alone) == []
    labels = [detect.merge.cells.values(cell) for slot in detect.slots for cell in slot.cell.tolist()]
    assert {one[5] for one in labels if one[2] == "evaluation"} == {"resolved_7d", "csat", "mood"}
    words = [line for line in detect.tally.tickets if "so so" in line]
    assert words == [line for line in alone.tally.tickets if "so so" in line] != []


def joined_of(name: str, value: str, number: float, good: bool | None, at_ns: int) -> Joined:
    return Joined(name, value, number, good, at_ns, "acme", "agent-1", "2")


def whole_part() -> Part:
    """A part with a leg and a stretch."""
    bodies = [parts.decoded(body) for _, report in parts_of(tells=False) for body in decoded(report).parts]
    return next(part for part in bodies if len(part.legs))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("last_ns", at_ns(1000), "ends after its slot"),
        ("first_ns", at_ns(1000), "before it begins"),
        ("first_ns", -1, "begins before all time"),
        ("traces", 2**31, "more than"),
        ("went", 70_000, "more than 65535"),
        ("tokens", -1.0, "the input tokens of a leg is none"),
        ("dollars", 1e31, "the dollars of a leg is none"),
    ],
)
def test_a_leg_that_cannot_be_is_refused(field: str, value: float, said: str) -> None:
    """Each column is looked at before it is taken."""
    part = whole_part()
    column = getattr(part.legs, field).copy()
    column[:] = value
    with pytest.raises(PartError, match=said):
        parts.decoded(parts.encoded(replace(part, legs=replace(part.legs, **{field: column}))))


def test_columns_that_contradict_or_are_missing_are_refused() -> None:
    """More output tokens than tokens; a body that is cut; a number of legs that is none, or too large."""
    told = next(
        part for _, report in parts_of() for part in map(parts.decoded, decoded(report).parts) if len(part.stretches)
    )
    head, _, rest = parts.encoded(told).partition(b"\n")
    for legs in (-1, True, 5_000, "1"):
        with pytest.raises(PartError):
            parts.decoded(json.dumps(json.loads(head) | {"legs": legs}).encode() + b"\n" + rest)
    with pytest.raises(PartError):
        parts.decoded(head + b"\n" + rest[:-1])
    with pytest.raises(PartError, match="fewer than some of them"):
        parts.decoded(parts.encoded(replace(told, stretches=_overflowing(told))))


def _overflowing(part: Part) -> Stretches:
    """Stretches with more output tokens than tokens."""
    rows = part.stretches.rows.copy()
    rows["tokens_in"], rows["tokens_out"] = -5.0, 7.0
    return Stretches(rows, part.stretches.texts)


def test_many_legs_of_one_slot_come_in_pieces() -> None:
    """None is lost where there are more than one part may have."""
    spans = [agent(1 + n, 1, 3, 4) for n in range(2 * closed_legs.LEGS_MAX + 5)]
    log = [Record(Signal.TRACES, body(*each), f"{TOPIC}/0") for each in (spans, [agent(10**6, 1, 150, 150)])]
    (owner,) = owners_of([log], IngestLimits())
    detect = joined([(second, report) for second in (5.0, 151.0) for report in owner.read(1, at_ns(second))])
    keys = {key.tobytes() for leg in detect.legs.values() for key in leg.key}
    assert keys == {(1 + n).to_bytes(16, "big") for n in range(len(spans))}


def test_a_leg_of_a_slot_that_is_closed_is_recorded_all_the_same() -> None:
    """Its calls are late and counted so; its row needs no slot."""
    told = parts_of()
    detect = joined([])
    detect.merge.pass_to(at_ns(1000))
    for second, report in told:
        detect.read([report], at_ns(second))
    assert named(detect) == [False] and detect.slots == [] and detect.tally.dropped[Dropped.LATE] > 0
