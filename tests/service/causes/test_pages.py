"""What a page says of the cause, through the pipeline from bytes on: who, which trace, what else was new."""

import random
from typing import Any

import numpy as np

from alertrules.lifecycle import AlertState
from alertrules.notice import Notice, Status
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Outcome, Pipeline
from tests.service.ingest.wire import Sent, agent, at_ns, body
from tests.service.test_pipeline import rules

RULES = """
groups:
  - name: test
    rules:
      - {alert: ToolsFail, detector: static, signal: error_ratio, above: 20%, window: 2m, at_least: 20,
         select: {operation: tool}, by: [agent], keep_firing_for: 2m}
      - {alert: Slow, detector: static, signal: latency_p95, above: 2s, window: 3m, at_least: 20,
         select: {operation: llm}, by: [agent], keep_firing_for: 1m}
"""
MINUTES, BREAKS = 100, 80
"""From minute BREAKS on one tool fails, and one version of the agent is slow."""


def call(trace: int, span: int, end_s: float, **said: Any) -> Sent:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": said.get("tool", "")}
    if "model" in said:
        attributes = {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": said["model"],
            "gen_ai.response.model": said.get("answered", said["model"]), "gen_ai.provider.name": "openai",
        }  # fmt: skip
    if "version" in said:
        attributes["gen_ai.agent.version"] = said["version"]
    if said.get("error"):
        attributes["error.type"] = said["error"]
    name = " ".join(str(value) for value in list(attributes.values())[:2])
    return Sent(
        trace, span, end_s - said.get("seconds", 0.5), end_s, 1, name, bool(said.get("error")), attributes=attributes
    )


def minute(number: int, chance: random.Random) -> Record:
    spans = []
    for i in range(40):
        end_s, trace, broken = 60 * number + chance.random() * 55, chance.getrandbits(64), BREAKS <= number < MINUTES
        tool = ("crm.search", "orders.read", "mail.send")[i % 3]
        error = "TimeoutError" if broken and tool == "crm.search" and chance.random() < 0.9 else ""
        new = broken and i % 2 == 0
        spans += [
            call(trace, 2, end_s - 0.2, tool=tool, error=error),
            call(trace, 3, end_s - 0.1, model="gpt-4o", answered="gpt-4o-2" if broken else "gpt-4o-1",
                 version="v2" if new else "v1", seconds=6.0 if new else 1.0),
            agent(trace, 1, end_s - 7, end_s, "support"),
        ]  # fmt: skip
    return Record(Signal.TRACES, body(*spans), "p/0")


def fed(one: Pipeline, first: int, last: int) -> list[Outcome]:
    chance = random.Random(first)
    return [
        one.step(Batch((minute(number, chance),), {}), at_ns(60 * number + 59)) for number in range(first, last)
    ]  # fmt: skip


def paged(outcomes: list[Outcome]) -> dict[str, Notice]:
    """The first page of each rule."""
    told: dict[str, Notice] = {}
    for outcome in outcomes:
        for notice in outcome.notices:
            if notice.status is Status.FIRING:
                told.setdefault(notice.rule, notice)
    return told


def test_pages_name_the_cause() -> None:
    """The tool and its error in the title; the version that is new, with the one beside it unchanged."""
    told = paged(fed(Pipeline(IngestLimits(), rules(RULES), 0), 0, MINUTES))
    fails, slow = told["ToolsFail"], told["Slow"]
    assert ": crm.search, TimeoutError" in fails.title
    assert "crm.search went from 0% to" in fails.lines[0] and "of the change" in fails.lines[0]
    assert ": version v2" in slow.title
    assert "while what is not of it is unchanged" in slow.lines[0]
    assert "version v2 is new" in slow.lines[0] and "gpt-4o is answered by gpt-4o-2" in slow.lines[0]
    alert = fails.alerts[0]
    assert alert.cause == "crm.search, TimeoutError"
    assert alert.examples[0][0] == "failed"
    assert all(len(trace) == 32 for _, trace in alert.examples)
    assert alert.trend.endswith("█") and len(alert.trend) == 12


def test_an_example_is_a_trace_that_was_sent() -> None:
    """The failed one is of a call that failed, the slowest one of the slowest call."""
    one = Pipeline(IngestLimits(), rules(RULES), 0)
    fed(one, 0, BREAKS)
    spans = [call(0xABC, 2, 60 * BREAKS + 5, tool="crm.search", error="TimeoutError", seconds=0.1)]
    spans += [call(0xDEF + i, 2, 60 * BREAKS + 5, tool="crm.search", seconds=0.5 + i) for i in range(3)]
    one.step(Batch((Record(Signal.TRACES, body(*spans), "p/0"),), {}), at_ns(60 * BREAKS + 59))
    one.flush(at_ns(60 * BREAKS + 600))
    kept = one.causes.kept
    cells = np.array(one.ingest.cells.rows(), np.int32)
    traces = {example.what: int(example.trace, 16) for example in kept.of(cells, (0, 1))}
    assert traces == {"slowest": 0xDEF + 2, "failed": 0xABC}


def test_who_asks_later_sees_what_the_page_said() -> None:
    """The p95 of an open alert is the one that was told: never beyond the largest value that was seen."""
    one = Pipeline(IngestLimits(), rules(RULES), 0)
    moved = [moved for outcome in fed(one, 0, MINUTES) for moved in outcome.transitions]
    told = next(one.finding for one in moved if one.rule == "Slow" and one.after is AlertState.FIRING)
    slow = next(runner for runner in one.detect.runners if runner.rule.name == "Slow")
    assert told is not None and told.now <= 6.0 and [alert.finding for alert in slow.alerts.values()] == [told]


def test_a_restored_pipeline_names_the_same() -> None:
    """Saved just before the incident: the same titles, lines and traces."""
    whole, before = (Pipeline(IngestLimits(), rules(RULES), 0) for _ in range(2))
    fed(whole, 0, BREAKS)
    fed(before, 0, BREAKS)
    again = Pipeline(IngestLimits(), rules(RULES), 0)
    again.restore(before.snapshot())
    assert paged(fed(whole, BREAKS, MINUTES)) == paged(fed(again, BREAKS, MINUTES))


def test_a_resolve_tells_the_level_of_then() -> None:
    """When it ended, how long it was, and what the level is now."""
    one = Pipeline(IngestLimits(), rules(RULES), 0)
    told = [notice for outcome in fed(one, 0, MINUTES + 20) for notice in outcome.notices]
    (resolved,) = [notice for notice in told if notice.status is Status.RESOLVED]
    assert all("; ended " in line for line in resolved.lines)
    assert any(line.endswith("; now 0%") for line in resolved.lines)


SPEND = """
groups:
  - name: test
    rules:
      - {alert: Spend, detector: static, signal: spend_per_hour, above: $1, window: 5m, by: [agent]}
"""


def test_a_page_of_spend_says_what_has_no_price() -> None:
    """A sum of dollars that lacks the calls without a known price is too low, and says so."""
    one, told = Pipeline(IngestLimits(), rules(SPEND), 0), list[Notice]()
    for number in range(10):
        spans = []
        for i in range(4):
            attributes: dict[str, Any] = {"gen_ai.operation.name": "chat"}
            attributes |= {"gen_ai.request.model": "gpt-4o" if i else "nobodys-model"}
            attributes |= {"gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 200_000}
            attributes |= {"gen_ai.agent.name": "support"}
            at_s = 60 * number + 10 * i
            spans.append(Sent(number * 10 + i + 1, 1, at_s, at_s + 1, 0, "chat", attributes=attributes))
        told += one.step(Batch((Record(Signal.TRACES, body(*spans), "p/0"),), {}), at_ns(60 * number + 59)).notices
    assert "; unpriced: 40% of the calls have no known price" in told[0].lines[0]


CACHE = """
groups:
  - name: test
    rules:
      - {alert: CacheCold, detector: static, signal: cache_read_share, below: 55%, window: 3m, by: [agent]}
"""


def test_a_level_that_fell_below_its_limit_has_a_cause() -> None:
    """One of two models no longer reads its prompts from the cache."""
    one, told = Pipeline(IngestLimits(), rules(CACHE), 0), list[Notice]()
    for number in range(BREAKS + 10):
        spans = []
        for i in range(20):
            model = ("gpt-4o", "gpt-4o-mini")[i % 2]
            read = 0 if i % 2 and number >= BREAKS else 700
            attributes: dict[str, Any] = {
                "gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.provider.name": "openai",
                "gen_ai.agent.name": "support", "gen_ai.usage.input_tokens": 1000,
                "gen_ai.usage.cache_read.input_tokens": read,
            }  # fmt: skip
            at_s = 60 * number + 2 * i
            spans.append(Sent(number * 100 + i + 1, 1, at_s, at_s + 1, 0, "chat", attributes=attributes))
        told += one.step(Batch((Record(Signal.TRACES, body(*spans), "p/0"),), {}), at_ns(60 * number + 59)).notices
    assert told[0].alerts[0].cause == "gpt-4o-mini"
    # Its window of three minutes has one of before: (70% + 0% + 0%) / 3.
    assert "gpt-4o-mini went from 70% to 23.3%" in told[0].lines[0]
