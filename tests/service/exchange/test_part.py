"""Parts and reports as bytes: what goes in comes out, and whatever else comes in gets an answer."""

import json
import random
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.core.columns import CELL_LABELS, Entries, Examples, Slot
from detectors.core.runs import Running
from detectors.core.series import OVERFLOW_VALUE, SeriesTable
from service.batch import Batch, Dropped, Record, Signal
from service.exchange import part as parts
from service.exchange import report as reports
from service.exchange.packing import packed, size_of, unpacked
from service.exchange.part import CELLS_MAX, Part, PartError
from service.exchange.pieces import Together, cut, with_traces
from service.exchange.report import Report, ReportError
from service.ingest.cardinality import OF_AGENT_MAX, Cardinality
from service.ingest.legs import NO_LEGS
from service.ingest.stretches import NO_STRETCHES
from tests.service.exchange.machines import Owner, detecting
from tests.service.exchange.test_machines import streams
from tests.service.ingest.test_legs import tool
from tests.service.ingest.wire import FIXTURES, Stream, agent, at_ns, body, chat
from tests.service.test_pipeline import end_ns, rules


def told() -> list[bytes]:
    """Reports of a partition, as they are sent."""
    owner = Owner("spans/0", streams(1, 1)[0], {"spans": 1})
    return [report for index in range(150) for report in owner.read(1, end_ns(index))]


TOLD = told()
BODIES = [part for report in TOLD for part in reports.decoded(report).parts]


@given(st.lists(st.one_of(st.integers(0, 2**40).map(float), st.floats(allow_nan=False, allow_infinity=False))))
def test_a_column_comes_back_as_it_was(values: list[float]) -> None:
    """Exactly, whatever kind it is packed as."""
    kind, body = packed(np.array(values))
    assert size_of(kind, len(values)) == len(body)
    assert not body or unpacked(kind, body).tolist() == values


def same(one: Slot, other: Slot) -> None:
    for field in fields(Slot):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Entries | Examples | Running):
            assert all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True)), field
        else:
            assert np.array_equal(a, b), field


def test_a_part_comes_back_as_it_was() -> None:
    """With labels, sums, mixes and examples; and the same part gives the same bytes."""
    assert len(BODIES) > 50
    for written in BODIES:
        part = parts.decoded(written)
        assert parts.encoded(part) == written
        same(parts.decoded(parts.encoded(part)).slot, part.slot)
    seen = parts.decoded(BODIES[-5])
    assert ("acme", "agent-1") in {row[:2] for row in seen.labels}
    assert seen.slot.count.sum() > 10 and len(seen.slot.examples.cell) and "resolved" in seen.outcomes


@settings(max_examples=300)
@given(st.integers(0, len(BODIES) - 1), st.integers(0, 2**32).map(random.Random))
def test_damaged_parts_and_reports_get_an_answer(which: int, chance: random.Random) -> None:
    """Cut, overwritten or made longer: they are refused, or are some other whole part; nothing else is raised."""
    damaged = bytearray(BODIES[which])
    for _ in range(chance.randrange(1, 4)):
        at, size = chance.randrange(len(damaged)), chance.randrange(3)
        damaged[at : at + size] = chance.randbytes(chance.randrange(3))
    try:
        part = parts.decoded(bytes(damaged))
    except PartError as error:
        assert str(error)
    else:
        assert all(np.isfinite(getattr(part.slot, name)).all() for name in parts.COLUMNS)
    try:
        reports.decoded(TOLD[-1][:12] + bytes(damaged))
        reports.decoded(bytes(damaged))
    except ReportError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not a report"), (b"OTLP", "not a report"), (b"tocsin-slots\x09", "format 9"),
        (b"tocsin-slots\x01", "no head"), (b"tocsin-slots\x01\xff\xff\xff\x7f", "do not fit"),
        (b"tocsin-slots\x01\x02\x00\x00\x00[]", "cannot be read"),
        (b"tocsin-slots\x01\x88\x13\x00\x00" + b"[" * 5000, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_not_a_report_is_refused_and_counted(value: bytes, said: str) -> None:
    """With the reason, and what comes after it is read."""
    detect = detecting(rules())
    records = tuple(Record(Signal.TRACES, each, "tocsin.slots/0") for each in (value, TOLD[0]))
    outcome = detect.step(Batch(records, {}), end_ns(1))
    assert outcome.answers[0].error is not None and said in outcome.answers[0].error
    assert outcome.answers[1].error is None
    assert outcome.tally.dropped == {Dropped.MALFORMED: 1}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("source", "a b/1", "not a partition"), ("source", 3, "not a partition"), ("topics", {"a b": 1}, "not topics"),
        ("topics", {"a": -1}, "whole number"), ("watermark_ns", 2**70, "whole number"), ("after", [1], "cannot be"),
        ("is_heard", 1, "is_heard"), ("next_offset", True, "whole number"), ("spans", None, "whole number"),
    ],
)  # fmt: skip
def test_a_head_with_another_value_is_refused(field: str, value: object, said: str) -> None:
    """Each field is looked at before it is used."""
    right = reports.decoded(TOLD[0])
    wrong = Report(**{**vars(right), "parts": (), field: value})
    with pytest.raises((ReportError, PartError), match=said):
        reports.decoded(reports.encoded(wrong))


def test_reports_of_a_version_before_are_read() -> None:
    """In format 4 cells had neither a prompt nor a model that answered: the same is counted as from these of today."""
    with np.load(FIXTURES / "reports-4.npz") as file:
        raw, ends = file["body"].tobytes(), file["ends"].tolist()
    before = [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    assert {one[len("tocsin-slots")] for one in before} == {4}
    assert {
        len(row) for one in before for part in reports.decoded(one).parts for row in parts.decoded(part).labels
    } == {len(CELL_LABELS)}
    counted = []
    for sent in (before, TOLD[: len(before)]):
        detect = detecting(rules())
        records = tuple(Record(Signal.TRACES, one, "tocsin.slots/0") for one in sent)
        outcome = detect.step(Batch(records, {}), end_ns(200))
        assert all(answer.error is None for answer in outcome.answers) and not outcome.tally.dropped
        cells = detect.ingest.cells
        counted.append((outcome.tally.slots, sorted(cells.values(row) for row in cells.rows().tolist())))
    assert counted[0] == counted[1] and counted[0][0] > 20


def test_what_found_no_room_in_a_version_before_finds_none_here() -> None:
    """The cell that stands for all others is known for it by a reader with more labels."""
    part = parts.decoded(BODIES[-5])
    other = (*[OVERFLOW_VALUE] * (len(CELL_LABELS) - 1), "")
    places = [CELL_LABELS.index(name) for name in ("prompt", "response_model")]
    head, _, columns = parts.encoded(replace(part, labels=(other, *part.labels[1:]))).partition(b"\n")
    said = json.loads(head)
    kinds, at = said["kinds"], 0
    for place in range(len(CELL_LABELS)):
        size = size_of(kinds[place], said["cells"])
        if place in places:  # As if they had never been written.
            columns = columns[:at] + columns[at + size :]
        else:
            at += size
    said["kinds"] = kinds[: places[0]] + kinds[places[1] + 1 :]
    del said["cell_labels"]
    read = parts.decoded(json.dumps(said).encode() + b"\n" + columns)
    assert read.labels == (other, *part.labels[1:])
    with pytest.raises(PartError, match="its cells have 9 labels"):
        parts.decoded(head.replace(b'"cell_labels":10', b'"cell_labels":9') + b"\n" + columns)


def test_two_readers_together_tell_apart_no_more_values_than_one() -> None:
    """What partitions tell of an agent's prompts adds up to one bound, and every call counts."""
    log = [[], []]  # type: list[list[Record]]
    for number in range(2 * OF_AGENT_MAX):
        call = chat(number + 1, 1, number / 100, number / 100 + 1, prompt__version=f"v{number}")
        log[number % 2].append(Record(Signal.TRACES, body(call), f"spans/{number % 2}"))
    sent = []
    for number, mine in enumerate(log):
        mine.append(Record(Signal.TRACES, body(agent(9_000 + number, 1, 199, 200)), f"spans/{number}"))
        owner = Owner(f"spans/{number}", mine, {"spans": 2})
        sent += [report for second in (9, 201) for report in owner.read(OF_AGENT_MAX + (second > 9), at_ns(second))]
    detect = detecting(rules())
    outcome = detect.step(Batch(tuple(Record(Signal.TRACES, one, "tocsin.slots/0") for one in sent), {}), at_ns(201))
    cells = detect.ingest.cells
    found = [labels for row in cells.rows().tolist() if (labels := cells.values(row))[2] == "llm"]
    assert len({labels[CELL_LABELS.index("prompt")] for labels in found}) == OF_AGENT_MAX + 1
    assert [line for line in outcome.tickets if "values of prompt" in line]


def test_many_cells_are_several_parts() -> None:
    """A slot of more cells than a part holds comes in pieces, and is counted whole."""
    spans = [agent(i + 1, 1, 1.0, 2.0, f"agent-{i}") for i in range(CELLS_MAX + 100)]
    log = [
        Record(Signal.TRACES, body(*spans), "spans/0"),
        Record(Signal.TRACES, body(agent(9, 9, 199, 200)), "spans/0"),
    ]
    owner, detect = Owner("spans/0", log, {"spans": 1}), detecting(rules())
    sent = [report for index in (100, 200) for report in owner.read(1, at_ns(index))]
    found = [parts.decoded(part) for report in sent for part in reports.decoded(report).parts]
    assert [part.piece for part in found if part.slot.start_ns == at_ns(0)] == [0, 1]
    counted = sum(float(part.slot.count.sum()) for part in found)
    outcome = detect.step(Batch(tuple(Record(Signal.TRACES, one, "tocsin.slots/0") for one in sent), {}), at_ns(200))
    assert outcome.tally.slots == 2 and counted == 2 * len(spans)
    assert len(detect.ingest.cells) == 2 * len(spans)


def test_a_missing_report_is_said() -> None:
    """A report names the last part before it: if that never came, it is counted and told, once."""
    detect = detecting(rules())
    sent = [Record(Signal.TRACES, one, "tocsin.slots/0") for one in TOLD]
    lost = next(i for i in range(60, len(TOLD)) if reports.decoded(TOLD[i]).parts)
    outcome = detect.step(Batch((*sent[:lost], *sent[lost + 1 :]), {}), end_ns(200))
    assert outcome.tally.gaps == 1
    assert [line for line in outcome.tickets if "is missing" in line]


def test_open_sessions_come_through_parts() -> None:
    """What a slot tells of them and of lengths, by the reader's cells; one of a cell that is not there is refused."""
    stream = Stream()
    stream.send(*(tool(1, 100 + n, 1 + n / 10) for n in range(40)), agent(2, 1, 0, 1))
    stream.send(agent(9, 1, 170, 170))
    slots = [slot for slot in stream.slots if len(slot.running.cell) or len(slot.lengths.cell)]
    assert any(len(slot.running.cell) for slot in slots) and any(len(slot.lengths.cell) for slot in slots)
    cells, errors = SeriesTable(CELL_LABELS, 100), SeriesTable(("error",), 10)
    for slot in slots:
        written = [
            parts.encoded(part)
            for part in cut(slot, NO_STRETCHES, NO_LEGS, stream.ingest.cells, stream.ingest.sights.errors, ())
        ]
        read, _ = Together(cells, Cardinality(cells), errors, int).slot([parts.decoded(one) for one in written])
        for mine, theirs in ((slot.running, read.running), (slot.lengths, read.lengths)):
            labels = [stream.ingest.cells.values(cell) for cell in mine.cell.tolist()]
            assert [cells.values(cell) for cell in theirs.cell.tolist()] == labels
            assert all(np.array_equal(vars(mine)[name], vars(theirs)[name]) for name in vars(mine) if name != "cell")
    with pytest.raises(PartError):
        parts.decoded(re.sub(rb'"sessions":\[\[.*?\]\],', b'"sessions":[[],', written[0]))
    with pytest.raises(PartError):
        parts.decoded(written[0][:-1])


def told_stretches() -> Part:
    """A part with a stretch of a named session, and an example of its trace."""
    log = [
        Record(Signal.TRACES, body(agent(1, 1, 4, 5, gen_ai__conversation__id="c")), "spans/0"),
        Record(Signal.TRACES, body(agent(2, 1, 100, 100)), "spans/0"),
    ]
    owner = Owner("spans/0", log, {"spans": 1})
    sent = [reports.decoded(report) for second in (6, 101) for report in owner.read(1, at_ns(second))]
    return parts.decoded(next(part for report in sent for part in report.parts))


def test_an_example_of_a_trace_that_is_told_has_no_id_of_its_own() -> None:
    """It is found by its place among the stretches; where that part of the slot is missing the example is left out."""
    part = told_stretches()
    assert part.known.tolist() == [0] and not part.slot.examples.trace.any()
    (whole,) = with_traces([part])
    halves = part.stretches.rows[["trace_high", "trace_low"]][0].tolist()
    assert whole.slot.examples.trace.tolist() == [list(halves)]
    (partial,) = with_traces([replace(part, stretches=NO_STRETCHES)])
    assert len(partial.slot.examples.cell) == 0


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("first", 2**62, "outside of what can be"),
        ("last", at_ns(1000), "outside of what can be"),
        ("ended", at_ns(9), "begins after its end"),
        ("dollars", -1.0, "to dollars is none"),
        ("tokens_in", 1e35, "to tokens is none"),
        ("lowest", -0.5, "to lowest is none"),
        ("outcome", 100, "more than 5"),
        ("flags", 255, "more than 15"),
        ("outcome_ns", -(2**62), "outside of what can be"),
    ],
)
def test_a_stretch_that_cannot_be_is_refused(field: str, value: float, said: str) -> None:
    """Each field is looked at before a kernel sees it."""
    part = told_stretches()
    part.stretches.rows["outcome"] = 0
    part.stretches.rows["outcome_ns"] = part.stretches.rows["last"]
    assert len(parts.decoded(parts.encoded(part)).stretches) == 1
    part.stretches.rows[field] = value
    with pytest.raises(PartError, match=said):
        parts.decoded(parts.encoded(part))
