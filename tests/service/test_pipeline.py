"""The core as a whole: records in, notices out, whatever the cuts, crashes and garbage between."""

import random

import pytest

from alertrules.notice import Notice, Status
from alertrules.parse import RuleSet, combine, parse_rules
from detectors.core.columns import SECOND_NS
from service.batch import Batch, Dropped, Record, Signal, Tally
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Outcome, Pipeline
from tests.service.ingest.wire import Sent, agent, at_ns, body

RULES = """
groups:
  - name: test
    rules:
      - alert: ToolsFail
        detector: static
        signal: error_ratio
        above: 20%
        window: 2m
        at_least: 5
        select: {operation: tool}
        by: [tenant, agent]
        keep_firing_for: 2m
      - alert: Slow
        detector: static
        signal: latency_p95
        above: 2s
        window: 3m
        by: [agent, operation]
        keep_firing_for: 1m
      - alert: Drift
        detector: errors
        budget: 1/week
        by: [tenant, agent]
"""
TIMES = "route: {group_by: [alert], group_wait: 95s, group_interval: 3m, repeat_interval: 4m}\n"
"""All that a group can wait for, in less than the incidents last."""
AGENTS = 4
MINUTES = 40


def rules(text: str = RULES) -> RuleSet:
    return combine([parse_rules(text, "test.yaml")])


def tool(trace: int, span: int, end_s: float, seconds: float, failed: bool) -> Sent:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up"}
    return Sent(trace, span, end_s - seconds, end_s, 1, "execute_tool look_up", failed, attributes=attributes)


def records(seed: int = 1) -> list[Record]:
    """Forty minutes of four agents: tools of one fail from minute 8 to 14, another is slow from 12 to 20."""
    chance = random.Random(seed)
    bodies = []
    for second in range(0, MINUTES * 60, 5):
        spans = []
        for i in range(AGENTS):
            end_s, trace = second + chance.random() * 5, chance.getrandbits(64)
            failed = i == 1 and 480 <= second < 840 and chance.random() < 0.6
            seconds = 3.0 if i == 2 and 720 <= second < 1200 else 0.5
            spans.append(tool(trace, 2, end_s - 0.1, seconds, failed))
            spans.append(agent(trace, 1, end_s - seconds - 0.2, end_s, f"agent-{i}", tenant="acme"))
        bodies.append(Record(Signal.TRACES, body(*spans), "p/0"))
    return bodies


def end_ns(index: int) -> int:
    """The clock when record `index` comes in."""
    return at_ns((index + 1) * 5)


def pipeline(text: str = RULES, max_page_age_ns: int = 0) -> Pipeline:
    return Pipeline(IngestLimits(), rules(text), max_page_age_ns)


def fed(one: Pipeline, stream: list[Record], cuts: list[int] | None = None) -> list[Outcome]:
    """Every outcome of a stream given in batches that end at these indices, flushed at the end."""
    ends = sorted({*(cuts or range(1, len(stream) + 1)), len(stream)})
    outcomes, start = [], 0
    for end in ends:
        outcomes.append(one.step(Batch(tuple(stream[start:end]), {}), end_ns(end - 1)))
        start = end
    return [*outcomes, one.flush(end_ns(len(stream)))]


def notices(outcomes: list[Outcome]) -> list[Notice]:
    return [notice for outcome in outcomes for notice in outcome.notices]


def test_both_incidents_page_and_resolve() -> None:
    """Each is told once when it begins and once when it is over, in that order, and nothing else is."""
    told = notices(fed(pipeline(), records()))
    said = [(n.rule, dict(n.labels)["agent"], n.status) for n in told]
    assert said[0] == ("ToolsFail", "agent-1", Status.FIRING)
    assert set(said) == {
        ("ToolsFail", "agent-1", Status.FIRING), ("ToolsFail", "agent-1", Status.RESOLVED),
        ("Slow", "agent-2", Status.FIRING), ("Slow", "agent-2", Status.RESOLVED),
    }  # fmt: skip
    assert {n.group for n in told if n.status is Status.RESOLVED} == {n.group for n in told}


@pytest.mark.parametrize("route", ["", TIMES])
def test_how_the_stream_is_cut_changes_nothing(route: str) -> None:
    """One record a batch, all in one, or cut at random: the same notices and transitions."""
    stream = records()
    expected = fed(pipeline(RULES + route), stream)
    for seed in range(3):
        cuts = random.Random(seed).sample(range(1, len(stream)), [0, 5, 60][seed])
        again = fed(pipeline(RULES + route), stream, cuts or [len(stream)])
        assert notices(again) == notices(expected)
        assert [t for o in again for t in o.transitions] == [t for o in expected for t in o.transitions]


@pytest.mark.parametrize("route", ["", TIMES])
def test_a_restored_pipeline_goes_on_where_it_was(route: str) -> None:
    """Saved and restored at thirty moments, it tells exactly what one that never stopped tells."""
    stream = records()
    expected = notices(fed(pipeline(RULES + route), stream))
    one = pipeline(RULES + route)
    told: list[Notice] = []
    for index, record in enumerate(stream):
        told += one.step(Batch((record,), {}), end_ns(index)).notices
        if index % 16 == 7:
            state = one.snapshot()
            one = pipeline(RULES + route)
            assert one.restore(state) == ()
    told += one.flush(end_ns(len(stream))).notices
    assert told == expected
    assert len(expected) > 4 * bool(route)


def test_garbage_between_good_records_changes_nothing() -> None:
    """What cannot be read is answered with an error and counted, and the rest is read as if it were not there."""
    stream = records()
    expected = notices(fed(pipeline(), stream))
    chance, one, errors = random.Random(9), pipeline(), 0
    told: list[Notice] = []
    for index, record in enumerate(stream):
        garbage = Record(chance.choice(list(Signal)), chance.randbytes(chance.randrange(1, 200)), "p/0")
        outcome = one.step(Batch((garbage, record), {}), end_ns(index))
        told += outcome.notices
        errors += outcome.answers[0].error is not None
        assert outcome.answers[1].error is None
    told += one.flush(end_ns(len(stream))).notices
    assert told == expected
    assert errors > len(stream) / 2


def test_what_is_old_does_not_page() -> None:
    """In a backlog older than max_page_age, what also ended in it goes into the digest and pages nobody."""
    one = pipeline(max_page_age_ns=3600 * SECOND_NS)
    told: list[Notice] = []
    digest: list[str] = []
    late_ns = 24 * 3600 * SECOND_NS
    stream = records()
    for record in stream:
        outcome = one.step(Batch((record,), {}), end_ns(len(stream)) + late_ns)
        told += outcome.notices
        digest += outcome.digest
    digest += one.flush(end_ns(len(stream)) + late_ns).digest
    assert told == []
    assert {line.split(":")[0] for line in digest} == {"ToolsFail", "Slow"}


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_an_open_alert_of_a_rule_that_is_gone_is_closed(change: str) -> None:
    """After a restart without the rule (or with another meaning), its page is resolved, not left open for ever."""
    stream = records()
    apart = "route: {group_by: [alert, agent]}\n"
    one = pipeline(RULES + apart)
    told = notices([one.step(Batch(tuple(stream[:130]), {}), end_ns(130))])
    assert [n.status for n in told if n.rule == "ToolsFail"] == [Status.FIRING]
    text = RULES.replace("alert: ToolsFail", "alert: Other") if change == "gone" else RULES.replace("20%", "30%")
    if change == "changed":
        text = text.replace("operation: tool", "operation: llm")
    after = pipeline(text + apart)
    assert after.restore(one.snapshot()) == (("Other",) if change == "gone" else ("ToolsFail",))
    rest = notices([after.step(Batch((record,), {}), end_ns(130 + i)) for i, record in enumerate(stream[130:170])])
    resolved = [n for n in rest if n.status is Status.RESOLVED and n.rule == "ToolsFail"]
    assert [n.group for n in resolved] == [n.group for n in told if n.rule == "ToolsFail"]


def test_ten_thousand_agents_are_bounded() -> None:
    """Label sets beyond the table share one series and are counted; the others are counted as ever."""
    one = Pipeline(IngestLimits(cells_max=300), rules(), 0)
    dropped = Tally().dropped
    for start in range(0, 10_000, 500):
        spans = [agent(i + 1, 1, start / 100, start / 100 + 1, f"agent-{i}") for i in range(start, start + 500)]
        outcome = one.step(Batch((Record(Signal.TRACES, body(*spans), "p/0"),), {}), at_ns(start / 100 + 1))
        dropped += outcome.tally.dropped
    dropped += one.flush(at_ns(200)).tally.dropped
    assert one.ingest.cells.size <= 300
    assert dropped[Dropped.SERIES_FULL] > 9_000
    assert all(len(level.labels) <= 300 for level in one.levels())
