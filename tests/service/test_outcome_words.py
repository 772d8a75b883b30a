"""Outcomes by the words of senders, through the pipeline: by spans, metrics and evaluations, in own classes or not."""

from typing import Any

import pytest

from alertrules.parse import combine, parse_rules
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.ingest.stage import Ingest
from service.pipeline.pipeline import Outcome, Pipeline
from tests.service.ingest.test_metrics import DELTA, counter, evaluation, points
from tests.service.ingest.wire import agent, at_ns, body

RULES = """
groups:
  - name: seen
    rules:
      - {alert: Bad, detector: static, signal: bad_outcome_share, above: 30%, window: 5m, by: [agent]}
      - {alert: Worse, detector: outcomes, select: {operation: session}, by: [agent], budget: 1/week}
"""
OWN = """
outcomes:
  - {class: contained, good: true, words: ['wrapped up']}
  - {class: breached, words: ['sla breach*']}
"""


def pipeline(rules: str = RULES) -> Pipeline:
    return Pipeline(IngestLimits(), combine([parse_rules(rules, "own.yaml")]), 0)


def spans(minute: int, *words: str) -> bytes:
    """A session for each word."""
    sent = [
        agent(1000 * minute + i, 1, 60 * minute + i, 60 * minute + i + 5, session__outcome=word)
        for i, word in enumerate(words)
    ]
    return body(*sent)


def metrics(minute: int, *words: str) -> bytes:
    """The same as a metric tells it."""
    at = 60.0 * minute + 30
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return points(
        *(counter("agent.session.outcome", n, at, at - 60, DELTA, agent="helper", outcome=w) for w, n in counts.items())
    )


def fed(one: Pipeline, minute: int, raw: bytes, signal: Signal) -> Outcome:
    return one.step(Batch((Record(signal, raw, f"{signal}/0"),), {}), at_ns(60 * minute + 45))


def shares(one: Pipeline) -> dict[str, float]:
    """The outcome gauges of the one series that is judged by its mix."""
    (level,) = [level for level in one.levels() if level.rule.name == "Worse"]
    return {
        name.removeprefix("outcome_").removeprefix("share_"): round(float(values[0]), 2)
        for name, values in level.gauges.items()
        if name.startswith("outcome_") and values[0] > 0.01
    }


SENT = pytest.mark.parametrize(("write", "signal"), [(spans, Signal.TRACES), (metrics, Signal.METRICS)])


@SENT
def test_a_word_of_no_class_is_a_ticket_and_no_page(write: Any, signal: Signal) -> None:
    """It is named with how often it came, once, over a restart too; and it is none of the bad outcomes."""
    one, tickets, pages = pipeline(), list[str](), 0
    for minute in range(40):
        words = ["resolved"] * 5 if minute < 15 else ["Wrapped up"] * 4 + ["SLA breach"]
        outcome = fed(one, minute, write(minute, *words), signal)
        tickets += outcome.tickets
        pages += len(outcome.notices)
        if minute in (10, 20, 32):
            state, one = one.snapshot(), pipeline()
            one.restore(state)
    assert pages == 0 and len(tickets) == 2, tickets
    (wrapped,) = [line for line in tickets if '"Wrapped up"' in line]
    assert "of helper is in no class: 4" in wrapped and "in 10 min" in wrapped and "under outcomes:" in wrapped
    assert shares(one) == {"unmapped": 1.0}


@SENT
def test_classes_of_ones_own_are_counted_shown_and_judged(write: Any, signal: Signal) -> None:
    """The same words with a table: nothing is unmapped, a good class is good, and a bad one pages by its share."""
    one, tickets, pages = pipeline(RULES + OWN), list[str](), list[str]()
    for minute in range(30):
        words = (
            ["resolved"] * 3 + ["Wrapped up"] * 2 if minute < 15 else ["wrapped-up", "resolved", *["SLA breach"] * 3]
        )
        outcome = fed(one, minute, write(minute, *words), signal)
        tickets += outcome.tickets
        pages += [notice.title for notice in outcome.notices]
        if minute == 13:
            assert shares(one) == {"good": 1.0, "resolved": 0.6, "contained": 0.4}
    assert not tickets and pages == ["Bad: agent helper: bad outcomes 36%, limit 30%"]
    found = shares(one)
    assert found["breached"] == pytest.approx(0.6, abs=0.05) and found["good"] == pytest.approx(0.4, abs=0.05)


def test_evaluations_have_the_same_words() -> None:
    """A label in no class is told with the name of its evaluation."""
    one, tickets = pipeline(), list[str]()
    for minute in range(14):
        tickets += fed(one, minute, evaluation("mostly fine", None, 60 * minute + 30), Signal.LOGS).tickets
    (ticket,) = tickets
    assert '"mostly fine"' in ticket and "judge" in ticket


def test_another_table_is_another_question() -> None:
    """What was learnt by other classes is of no use, and rules that judge no outcomes go on."""
    state = pipeline().snapshot()
    assert pipeline(RULES + OWN).restore(state) == ("Bad", "Worse")
    assert pipeline().restore(state) == ()
    state = pipeline(RULES + OWN).snapshot()
    assert pipeline(RULES + OWN).restore(state) == ()


def test_words_that_never_repeat_are_few_tickets() -> None:
    """An id in place of an outcome: some are named, the others are only counted, and every table is bounded."""
    one, tickets = pipeline(), list[str]()
    for minute in range(25):
        words = [f"ticket {1000 * minute + i}" for i in range(60)]
        tickets += fed(one, minute, spans(minute, *words), Signal.TRACES).tickets
    assert any("more words that no table knows" in line for line in tickets)
    assert isinstance(one.ingest, Ingest)
    assert len(tickets) <= 21 * 16 and len(one.ingest.words.heard) <= 1000


def test_classes_are_read_again_with_the_rules() -> None:
    """Without a restart: a word that was of no class is of one, and sessions under way keep theirs by name."""
    one = pipeline()
    for minute in range(4):
        fed(one, minute, spans(minute, "SLA breach", "escalated", "resolved"), Signal.TRACES)
    assert one.take_rules(combine([parse_rules(RULES + OWN, "own.yaml")])) == ("Bad", "Worse")
    for minute in range(4, 20):
        fed(one, minute, spans(minute, "SLA breach", "escalated", "wrapped up"), Signal.TRACES)
    found = shares(one)
    assert found["breached"] == found["escalated"] == pytest.approx(1 / 3, abs=0.04)
    assert found["contained"] == pytest.approx(1 / 3, abs=0.04)
    assert one.take_rules(combine([parse_rules(RULES, "own.yaml")])) == ("Bad", "Worse")
    for minute in range(20, 26):
        fed(one, minute, spans(minute, "SLA breach", "escalated", "resolved"), Signal.TRACES)
    assert {"resolved", "escalated", "unmapped", "good"} == shares(one).keys()
