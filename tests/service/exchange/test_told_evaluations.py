"""Evaluations that events of spans tell, on their way through the roles to the record of sessions."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from alertrules.outcome_classes import SHIPPED
from service.batch import Batch, Record, Signal, Tally
from service.exchange.adding import Adding
from service.exchange.report import decoded, encoded
from service.exchange.told_evaluations import EVALUATIONS_MAX
from service.ingest.limits import IngestLimits
from service.ledger.late import Late, evaluated
from tests.service.exchange.dialogues import TOPIC
from tests.service.exchange.machines import made
from tests.service.exchange.test_conversations import Alone, Detect, owners_of
from tests.service.ingest.test_span_evaluations import LINK, judged, said
from tests.service.ingest.wire import Sent, at_ns

NOW_NS = at_ns(100)
BODIES = [
    request.SerializeToString()
    for request in (
        judged(), judged("pass", links=(LINK,)), judged(on_span="c1"), judged(on_event="c2"), judged(own=True),
        judged("", on_event="c3"),
    )
]  # fmt: skip
LOG = [[Record(Signal.TRACES, each, f"{TOPIC}/0") for each in BODIES]]


def told(tally: Tally) -> list[Late]:
    """What the record is told."""
    return [one._replace(number=0.0) for one in evaluated(tally.evaluations, NOW_NS, SHIPPED)]


def detected(reports: Sequence[bytes]) -> Detect:
    detect = Detect(IngestLimits())
    detect.read(reports, NOW_NS)
    return detect


def test_the_record_is_told_what_one_instance_tells_it() -> None:
    """Of sessions by their names, and by the ids of their traces; a score without a word, too."""
    (owner,), alone = owners_of(LOG, IngestLimits()), Alone(LOG, IngestLimits())
    reports = owner.read(len(BODIES), NOW_NS)
    assert told(detected(reports).tally) == told(alone.tally)
    assert [whose for whose, *_ in said(alone.tally)] == ["2", "7", "c1", "c2", "c3"]
    assert told(detected(reports).tally)[-1].value == "0.2"


def test_role_sum_tells_them_on() -> None:
    """Whichever share brings them."""
    (owner,), alone = owners_of(LOG, IngestLimits()), Alone(LOG, IngestLimits())
    source, tally = "tocsin.slots/0", Tally()
    adding = Adding(made(), source)
    records = tuple(Record(Signal.TRACES, report, source) for report in owner.read(len(BODIES), NOW_NS))
    adding.step(Batch(records, {source: 1}), NOW_NS, tally)
    sums = [encoded(report) for report in adding.take({"tocsin.slots": 1}, NOW_NS)]
    assert told(detected(sums).tally) == told(alone.tally) != []


def test_nothing_is_lost_of_many() -> None:
    """More than one report may hold; each once, and event time does not wait for them."""
    many = [
        Record(Signal.TRACES, judged(on_event=f"c{i}", span=Sent(i + 2, 1, 6, 7)).SerializeToString(), f"{TOPIC}/0")
        for i in range(2 * EVALUATIONS_MAX + 50)
    ]
    (owner,) = owners_of([many], IngestLimits())
    reports = owner.read(len(many), NOW_NS)
    assert [len(decoded(report).evaluations) for report in reports][-3:] == [EVALUATIONS_MAX, EVALUATIONS_MAX, 50]
    assert [one.session for one in told(detected(reports).tally)] == [f"c{i}" for i in range(len(many))]
    owner.keep()  # All was reported, so a state may be written.


def test_who_takes_over_tells_them_again() -> None:
    """The record takes what is the same once."""
    (owner,) = owners_of(LOG, IngestLimits())
    first = owner.read(len(BODIES), NOW_NS)
    owner.restart()
    again = owner.read(len(BODIES), NOW_NS)
    assert first == again
    assert told(detected([*first, *again]).tally) == 2 * told(detected(first).tally)


def test_without_a_record_nothing_is_told() -> None:
    """TOCSIN_SESSIONS__RECORD=false leaves the bytes out."""
    (owner,) = owners_of(LOG, IngestLimits())
    owner.made = replace(owner.made, records=False)
    owner.restart()
    assert told(detected(owner.read(len(BODIES), NOW_NS)).tally) == []


@pytest.mark.parametrize(
    "listed", [{}, [[]], [["c", "", "n", "0.5", "", 1]], [["c", "xy", "n", 0.5, "", 1]], [["c", "", "n", None, "", -1]],
               [[1, "", "n", None, "", 1]], [["c", "", "n", None, "", 1]] * (EVALUATIONS_MAX + 1)]
)  # fmt: skip
def test_a_report_that_says_something_else_gets_an_answer(listed: object) -> None:
    """It is not taken, and said so."""
    (owner,) = owners_of(LOG, IngestLimits())
    (report,) = owner.read(1, NOW_NS)
    begin = len(b"tocsin-slots") + 1
    size = int.from_bytes(report[begin : begin + 4], "little")
    head = json.loads(report[begin + 4 : begin + 4 + size]) | {"evaluations": listed}
    written = json.dumps(head).encode()
    damaged = report[:begin] + len(written).to_bytes(4, "little") + written + report[begin + 4 + size :]
    detect = Detect(IngestLimits())
    ((answer,),) = detect.merge.read_all((Record(Signal.TRACES, damaged, "t/0"),), NOW_NS, detect.tally)
    assert answer.error is not None and detect.tally.evaluations == []
