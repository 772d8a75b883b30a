"""Metrics and evaluations under the roles: detect reads them itself, and they count as in one instance of role all."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from detectors.core.columns import SECOND_NS, Slot
from service.batch import Answer, Dropped, Record, Signal, Tally
from service.config.roles import checked
from service.config.settings import load
from service.exchange.merge import Merge
from service.exchange.report import decoded, encoded
from service.exchange.told_news import NEWS_NS, TOLD_BYTES_MAX, ToldNews
from service.ingest.join.join import UNSEEDED
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.stage import Ingest
from service.sources.topics import Topics, is_waited_for, signal_in
from tests.service.exchange.dialogues import differences, facts
from tests.service.exchange.machines import TOPIC, Owner, made
from tests.service.ingest.test_metrics import CUMULATIVE, DELTA, counter, durations, evaluation, points
from tests.service.ingest.wire import Sent, agent, at_ns, body, chat

METRICS, LOGS = "otlp_metrics/0", "otlp_logs/0"
LIMITS = IngestLimits()


def meters() -> Meters:
    """With rules that name one metric and all scores; cumulative streams count from their own beginning."""
    return Meters(lambda metric: metric in ("queue.served", "gen_ai.evaluation.score"), since_ns=0)


class Both:
    """One instance of role all, and those of roles ingest and detect, that read the same records."""

    def __init__(self, partitions: int = 2) -> None:
        self.alone, self.alone_slots, self.alone_tally = Ingest(LIMITS, meters=meters()), list[Slot](), Tally()
        self.merge = Merge(LIMITS, Local(), (3, 4), UNSEEDED, meters())
        self.slots, self.tally = list[Slot](), Tally()
        self.logs: list[list[Record]] = [[] for _ in range(partitions)]
        theirs = replace(made(), limits=LIMITS)
        topics = {TOPIC: partitions}
        self.owners = [Owner(f"{TOPIC}/{i}", log, topics, theirs) for i, log in enumerate(self.logs)]
        self.alone.expect(f"{TOPIC}/{i}" for i in range(partitions))

    def spans(self, second: float, *spans: Sent, partition: int = 0, service: str = "") -> None:
        """Spans that arrive on a partition."""
        raw = body(*spans, resource={"service.name": service} if service else None)
        record = Record(Signal.TRACES, raw, f"{TOPIC}/{partition}")
        self._alone(record, second)
        self.logs[partition].append(record)
        for report in self.owners[partition].read(1, at_ns(second)):
            self.detect(Record(Signal.TRACES, report, "t/0"), second)

    def told(self, second: float, raw: bytes, signal: Signal = Signal.METRICS) -> Answer:
        """A body of metrics or logs; the answer of detect."""
        record = Record(signal, raw, METRICS if signal is Signal.METRICS else LOGS)
        self._alone(record, second)
        return self.detect(record, second)

    def _alone(self, record: Record, second: float) -> None:
        for _ in self.alone.read_all((record,), at_ns(second), self.alone_tally):
            self.alone_slots += self.alone.take_closed()

    def detect(self, record: Record, second: float) -> Answer:
        """What detect alone reads; its answer."""
        answers = [
            answer for answers in self.merge.read_all((record,), at_ns(second), self.tally) for answer in answers
        ]
        self.slots += self.merge.take_closed()
        return answers[0]

    def pulse(self, second: float) -> None:
        """What moves event time on every partition: a trace of a service of its own."""
        for i in range(len(self.logs)):
            name = f"pulse-{i}"
            one = agent(round(second) << 8 | i + 1, 1, second - 1, second - 0.5, name)
            self.spans(second, one, partition=i, service=name)

    def restart(self) -> None:
        """Detect and those who ingest go on from what they saved."""
        self.merge = Merge.restore(self.merge.snapshot(), LIMITS, Local(), (5, 6), UNSEEDED, meters())
        for owner in self.owners:
            owner.keep()
            owner.restart()

    def differ(self, until_s: float) -> list[str]:
        """What differs of the slots that begin before."""
        mine, theirs = (
            [slot for slot in slots if slot.start_ns < at_ns(until_s)] for slots in (self.slots, self.alone_slots)
        )
        assert max(self.slots[-1].start_ns, self.alone_slots[-1].start_ns) >= at_ns(until_s)
        one = facts(mine, self.merge.cells, self.merge.sights)
        return differences(one, facts(theirs, self.alone.cells, self.alone.sights))

    def counted(self) -> dict[tuple[str, ...], float]:
        """What detect counted, by the labels of cells."""
        found: dict[tuple[str, ...], float] = {}
        for slot in self.slots:
            for cell, count in zip(slot.cell.tolist(), slot.count.tolist(), strict=True):
                found[self.merge.cells.values(cell)] = found.get(self.merge.cells.values(cell), 0.0) + count
        return found


def exported(service: str, name: str, minute: int, temporality: int) -> bytes:
    """What an SDK exports at a minute: calls, tokens, cost, sessions, and a metric of its own."""
    start, at = (0.0, 60.0 * minute) if temporality == CUMULATIVE else (60.0 * minute - 60, 60.0 * minute)
    times = minute if temporality == CUMULATIVE else 1
    labels: dict[str, Any] = {"gen_ai.agent.name": name}
    of_model = labels | {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    add = partial(counter, at=at, start=start, temporality=temporality)
    return points(
        durations([3 * times, times, 0, 0], at, start, temporality, labels=of_model),
        add("gen_ai.client.token.usage", 400.0 * times, **(of_model | {"gen_ai.token.type": "input"})),
        add("agent.tool.call.count", 5.0 * times, **labels, tool="find"),
        add("agent.cost.usd", 0.25 * times, **labels),
        add("agent.session.outcome", 2.0 * times, **labels, outcome="resolved"),
        add("queue.served", 7.0 * times, **labels),
        resource={"service.name": service},
    )


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
@pytest.mark.parametrize("restarts", [False, True])
def test_metrics_count_as_in_one_instance(temporality: int, restarts: bool) -> None:
    """Of a service whose spans tell the same, part of it, and nothing; all in the very first minute, too. Every column
    of every slot is that of role all, also where both roles went on from what they saved in between."""
    both = Both()
    for second in range(5, 600, 5):
        if second < 480:
            trace, partition = second << 16, second // 5 % 2
            calls = chat(trace, 2, second - 4, second - 3, 1, gen_ai__usage__cost=0.01)
            root = agent(trace, 1, second - 5, second - 2, "whole", session__id=f"s{second // 40}")
            both.spans(second, calls, root, partition=partition, service="whole")
            both.spans(second, agent(trace + 1, 1, second - 5, second - 2, "part"), partition=partition, service="part")
        both.pulse(second)
        if second % 60 == 5 and 60 < second < 500:
            for name in ("whole", "part", "silent"):
                both.told(second + 1, exported(name, name, second // 60, temporality))
        if restarts and second in (125, 310):
            both.restart()
    assert both.differ(480) == []
    counted = both.counted()
    calls_of = {name: sum(n for labels, n in counted.items() if labels[1:3] == (name, "llm")) for name in NAMES}
    assert calls_of == {"whole": 95.0, "part": 32.0, "silent": 32.0}
    assert {labels[1] for labels in counted if labels[-1] == "queue.served"} == set(NAMES)
    assert both.tally.points == both.alone_tally.points == 3 * 8 * 6
    assert both.tally.priced_tokens == both.alone_tally.priced_tokens
    assert both.tally.dropped == both.alone_tally.dropped


NAMES = ("whole", "part", "silent")


def test_what_is_read_first_changes_nothing() -> None:
    """The very first export is read before any span of its service, as after a stop: spans still silence it."""
    both = Both()
    both.told(61, exported("whole", "whole", 1, DELTA))
    for second in range(5, 300, 5):
        both.spans(second + 62, chat(second << 16, 2, second - 4, second - 3), service="whole")
        both.pulse(second + 62)
    assert both.differ(180) == []
    assert both.counted()["", "whole", "llm", "openai", "gpt-4o-mini", "", "", "", "", ""] == 58.0
    assert both.counted()["", "whole", "tool", "", "", "find", "", "", "", ""] == 5.0


def test_evaluations_count_as_in_one_instance() -> None:
    """Of a trace of a named session an evaluation is of its tenant and agent, however soon it comes; one that names no
    trace is of whom it names itself. Of a trace of a session without a name detect knows nothing."""
    both = Both()
    for second in range(5, 300, 5):
        if second < 100:
            trace = second << 16
            named = agent(trace, 1, second - 4, second - 1, "helper", tenant__id="acme", session__id="one")
            both.spans(second, named, partition=second // 5 % 2)
            both.told(second + 1, evaluation("fail" if second % 2 else "pass", 0.5, second, trace), Signal.LOGS)
            both.told(second + 2, evaluation("pass", 0.25, second + 1), Signal.LOGS)
        both.pulse(second)
        if second == 50:
            both.restart()
    assert both.differ(200) == []
    found = {labels: n for labels, n in both.counted().items() if labels[2] == "evaluation" and not labels[-1]}
    assert found == {
        ("acme", "helper", "evaluation", "", "", "relevance", "", "", "", ""): 19.0,
        ("", "judge", "evaluation", "", "", "relevance", "", "", "", ""): 19.0,
    }
    assert len(both.tally.evaluations) == len(both.alone_tally.evaluations) == 38  # What the record is told.
    both = Both()
    both.spans(5, agent(9, 1, 1, 4, "helper"))
    both.told(6, evaluation("pass", None, 5, 9), Signal.LOGS)
    for second in range(10, 200, 5):
        both.pulse(second)
    (mine,), (theirs,) = (
        [cells.values(cell) for slot in slots for cell in slot.cell.tolist() if cells.values(cell)[2] == "evaluation"]
        for cells, slots in ((both.merge.cells, both.slots), (both.alone.cells, both.alone_slots))
    )
    assert (mine[1], theirs[1]) == ("judge", "helper")


def test_any_bytes_get_an_answer() -> None:
    """What is no OTLP, too large, of another signal or in another format is dropped and counted, and moves nothing."""
    both = Both()
    for second in range(5, 200, 5):
        both.pulse(second)
    before = both.merge.snapshot()
    assert "not" in str(both.told(200, b"\xff\xfe").error)
    assert "at most" in str(both.told(200, b"x" * (LIMITS.body_bytes_max + 1)).error)
    assert "not an OTLP metrics body" in str(both.told(200, body(chat(1, 2, 195, 196))).error)
    assert "nothing was read" in both.told(200, b'{"hello": "world"}').message
    assert both.told(200, evaluation("pass", None, 9e3), Signal.LOGS).rejected == 1
    assert both.tally.dropped == both.alone_tally.dropped
    assert both.tally.dropped[Dropped.MALFORMED] >= 1 and both.tally.dropped[Dropped.TOO_LARGE] == 1
    assert both.tally.dropped[Dropped.FUTURE] == 1
    assert both.merge.snapshot()["merge"].tobytes() == before["merge"].tobytes()


def test_a_record_that_is_read_again_counts_once() -> None:
    """After a restart from an older state records come again, and what of them the state had does not count again."""
    both, bodies = Both(), [exported("silent", "silent", minute, CUMULATIVE) for minute in range(1, 4)]
    for second in range(5, 400, 5):
        both.pulse(second)
        if second % 60 == 5 and 60 < second < 240:
            both.told(second + 1, bodies[second // 60 - 1])
            both.told(second + 2, bodies[second // 60 - 1])
    assert both.tally.dropped[Dropped.DUPLICATE] == 3 * 6
    assert both.counted()["", "silent", "tool", "", "", "find", "", "", "", ""] == 15.0
    assert both.differ(280) == []


def test_event_time_waits_for_logs_that_are_read_up() -> None:
    """After a stop the reports are read ahead of a log of metrics: its points count in the slots of their times, once
    the broker says that it is read. A log of which nothing is heard is waited for half a minute, and no longer."""
    both, late = Both(1), 500.0
    both.merge.expect([METRICS])
    for second in range(5, 300, 5):
        both.spans(300, agent(second, 1, second - 2, second - 1))
    assert both.slots == [] and both.merge.watermark_ns is None
    for minute in (1, 2, 3):
        both.told(300, exported("silent", "silent", minute, DELTA))
    both.merge.check({METRICS: at_ns(300)}, at_ns(300))
    both.slots += both.merge.closed_slots(at_ns(300), both.tally)
    starts = {(slot.start_ns - at_ns(0)) // SECOND_NS for slot in both.slots if len(slot.duration.cell)}
    assert {50, 110, 170} <= starts
    both.merge.expect([METRICS])
    stood = both.merge.watermark_ns
    for second in range(300, 330, 5):
        both.spans(second, agent(second, 1, second - 2, second - 1))
    assert both.merge.watermark_ns == max(stood or 0, at_ns(300 - 60))
    both.spans(late, agent(7, 1, late - 2, late - 1))
    assert both.merge.watermark_ns == at_ns(late - 61)


def test_a_fleet_without_a_span() -> None:
    """Metrics alone move event time, as far as the empty partitions of spans are read."""
    both = Both(1)
    both.merge.expect([METRICS])
    for second in range(5, 400, 5):
        for report in both.owners[0].read(0, at_ns(second), checked_ns=at_ns(second)):
            both.detect(Record(Signal.TRACES, report, "t/0"), second)
        if second % 60 == 5 and second > 60:
            both.told(second + 1, exported("silent", "silent", second // 60, DELTA))
        both.merge.check({METRICS: at_ns(second)}, at_ns(second))
        both.slots += both.merge.closed_slots(at_ns(second), both.tally)
    assert both.counted()["", "silent", "tool", "", "", "find", "", "", "", ""] == 25.0


def test_what_spans_told_is_reported_seldom_and_whole() -> None:
    """Each pair at once, again after ten minutes, its last time in the end; a first report of many is cut."""
    news = ToldNews()
    assert news.take([("shop", "chat", at_ns(10))], at_ns(10)) == [("shop", "chat", at_ns(10))]
    assert news.take([("shop", "chat", at_ns(70)), ("shop", "tokens", at_ns(70))], at_ns(70)) == [
        ("shop", "tokens", at_ns(70))
    ]
    assert news.take([("shop", "chat", at_ns(80))], at_ns(10) + NEWS_NS) == [("shop", "chat", at_ns(80))]
    assert news.take([("shop", "chat", at_ns(80))], at_ns(9000)) == []
    many, found = [("x" * 200, str(number), 1) for number in range(1_000)], []
    while got := news.take(many, at_ns(9000)):
        assert len(json.dumps(got)) < 2 * TOLD_BYTES_MAX
        found += got
    assert found == many


@pytest.mark.parametrize("told", [7, [["shop", "chat"]], [["shop", 3, 1]], [["shop", "chat", -1]]])
def test_a_report_that_tells_nonsense_is_refused(told: Any) -> None:
    """Detect says so, and goes on as it was; a report of a version before tells nothing of it."""
    both = Both(1)
    owner = both.owners[0]
    both.logs[0].append(Record(Signal.TRACES, body(agent(1, 1, 1, 2)), f"{TOPIC}/0"))
    (report,) = owner.read(1, at_ns(3))
    assert [each[:2] for each in decoded(report).told] == [("shop", "agent")]
    answer = both.detect(Record(Signal.TRACES, encoded(replace(decoded(report), told=told)), "t/0"), 3)
    assert answer.error is not None and both.merge.sources == {}
    before = report.replace(b',"told":', b',"xold":')
    assert decoded(before).told == [] and len(before) == len(report)


def test_each_role_reads_its_own_of_the_same_topics() -> None:
    """By their names. Reports are reports, whatever their topic is called, and are not waited for by their ends."""
    given = {"TOCSIN_KAFKA__BOOTSTRAP_SERVERS": "x:1", "TOCSIN_KAFKA__SLOTS_TOPIC": "agent_logs.slots"}
    kafka = {role: checked(load(given | {"TOCSIN_ROLE": role})).kafka for role in ("all", "ingest", "detect")}
    topics = {role: one.topics for role, one in kafka.items()}
    assert topics["all"] == ("otlp_spans", "otlp_metrics", "otlp_logs")
    assert (topics["ingest"], topics["detect"]) == (("otlp_spans",), ("otlp_metrics", "otlp_logs"))
    read = kafka["detect"].of_reports
    assert [topic for topic in read.topics if is_waited_for(read, topic)] == ["otlp_metrics", "otlp_logs"]
    assert [signal_in(read, topic) for topic in read.topics] == [Signal.TRACES, Signal.METRICS, Signal.LOGS]
    assert read.name_of_topics == "TOCSIN_KAFKA__SLOTS_TOPIC and TOCSIN_KAFKA__TOPICS"
    assert [topic for topic in topics["all"] if is_waited_for(kafka["all"], topic)] == ["otlp_spans"]
    assert not Topics(read.topics, "", missing=("agent_logs.slots",), needed="agent_logs.slots").found


def test_state_of_a_version_before_is_gone_on_from() -> None:
    """It knew no logs of its own, and let only what adds up others wait for its slot: that counts once."""
    both = Both(1)
    both.spans(5, agent(1, 1, 3, 4), service="other")
    arrays = dict(both.merge.snapshot())
    merge, late = json.loads(arrays["merge"].tobytes()), json.loads(arrays["late.meters"].tobytes())
    del merge["logs"], late["waiting"], late["unjoined"]
    cell = both.merge.cells.id_of(("", "helper", "agent", "", "", "", "", "", "", ""), at_ns(5))
    arrays |= {f"cells.{name}": array for name, array in both.merge.cells.snapshot().items()}
    tokens = [[[cell, [0.0, 0.0, 0.0, 70.0, 0.0, 0.0, 0.0, 0.0]]], [], []]
    late["held"] = [[at_ns(0), "shop", "helper", "tokens", tokens, at_ns(5), {"priced": 70}]]
    arrays |= {"merge": _bytes(merge), "late.meters": _bytes(late)}
    both.merge = Merge.restore(arrays, LIMITS, Local(), (5, 6), UNSEEDED, meters())
    for second in range(10, 120, 5):
        both.spans(second, agent(second, 1, second - 2, second - 1), service="other")
    assert sum(float(slot.input_tokens.sum()) for slot in both.slots) == 70.0
    assert both.tally.priced_tokens["priced"] == 70


def _bytes(state: Any) -> Any:
    return np.frombuffer(json.dumps(state).encode(), np.uint8)
