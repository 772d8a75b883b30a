"""Causes of rates, and of what sessions do: the group that brought more, the tool that is waited for."""

import random
from collections.abc import Callable

import pytest

from alertrules.notice import Notice
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from tests.service.ingest.wire import Sent, Value, agent, at_ns, body
from tests.service.test_pipeline import rules

MINUTES, BREAKS = 100, 80
Minute = Callable[[int, random.Random], list[Sent]]


def told_of(text: str, minute: Minute) -> Notice:
    """The first page of these rules, over telemetry told by the minute."""
    one = Pipeline(IngestLimits(), rules(f"groups:\n  - name: test\n    rules:\n      - {text}\n"), 0)
    chance = random.Random(1)
    for number in range(MINUTES):
        record = Record(Signal.TRACES, body(*minute(number, chance)), "p/0")
        if notices := one.step(Batch((record,), {}), at_ns(60 * number + 59)).notices:
            return notices[0]
    raise AssertionError("nothing was told")


def chat(chance: random.Random, at_s: float, tenant: str, model: str = "gpt-4o", tokens: int = 1000) -> Sent:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model,
        "gen_ai.agent.name": "support", "tenant.id": tenant, "gen_ai.usage.input_tokens": tokens,
    }  # fmt: skip
    return Sent(chance.getrandbits(100), 1, at_s, at_s + 1, 0, f"chat {model}", attributes=attributes)


STATIC = "{alert: Much, detector: static, window: 3m, select: {operation: llm}, by: [agent], "
CALLS, SPENT = STATIC + "signal: calls_per_minute, above: 60}", STATIC + "signal: spend_per_hour, above: $12}"


def test_a_tenant_that_asks_more_is_the_cause_of_a_rate() -> None:
    """Of five tenants one asks nine times as much."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        more = 72 if number >= BREAKS else 8
        every = [chat(chance, 60 * number + chance.random() * 50, f"t{i % 4}") for i in range(32)]
        return every + [chat(chance, 60 * number + chance.random() * 50, "acme") for _ in range(more)]

    told = told_of(CALLS, minute)
    assert told.alerts[0].cause == "tenant acme"
    assert "tenant acme went from 7.6" in told.lines[0]


def test_a_tenant_that_is_new_is_the_cause_too() -> None:
    """It brought all that came besides, from none at all."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        every = [chat(chance, 60 * number + chance.random() * 50, f"t{i % 4}") for i in range(40)]
        return every + [chat(chance, 60 * number + 20, "acme") for _ in range(60 * (number >= BREAKS))]

    assert told_of(CALLS, minute).alerts[0].cause == "tenant acme"


def test_where_all_ask_more_nobody_is_named() -> None:
    """Twice as much of everybody, one of whom was most of it before: that one explains most, and is no cause."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        size = 2 if number >= BREAKS else 1
        every = [chat(chance, 60 * number + chance.random() * 50, f"t{i % 4}") for i in range(12 * size)]
        return every + [chat(chance, 60 * number + chance.random() * 50, "acme") for _ in range(36 * size)]

    assert told_of(CALLS, minute).alerts[0].cause == ""


@pytest.mark.parametrize(
    ("calls", "tokens", "cause"),
    [(120, 1000, "model calls an hour 2,"), (40, 3000, "tokens a call 1,")],
)
def test_spend_an_hour_names_its_factor(calls: int, tokens: int, cause: str) -> None:
    """Where every tenant is dearer alike: more calls, or more tokens a call."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        n, size = (calls, tokens) if number >= BREAKS else (40, 1000)
        return [chat(chance, 60 * number + chance.random() * 50, f"t{i % 4}", tokens=size) for i in range(n)]

    assert told_of(SPENT, minute).alerts[0].cause.startswith(cause)


def session(chance: random.Random, end_s: float, crm_s: float, failed: bool, slower: float = 1.0) -> list[Sent]:
    """A run of an agent: two tools and a model, one after another."""
    begin_s = end_s - slower * (crm_s + 2.0)
    trace, at_s, spans = chance.getrandbits(100), begin_s, []
    for number, (name, length_s) in enumerate((("crm.search", crm_s), ("mail.send", 0.5), ("gpt-4o", 1.0)), 2):
        length_s *= slower * chance.uniform(0.8, 1.2)
        is_tool = name != "gpt-4o"
        operation, key = ("execute_tool", "gen_ai.tool.name") if is_tool else ("chat", "gen_ai.request.model")
        attributes: dict[str, Value] = {"gen_ai.operation.name": operation, key: name}
        broke = failed and name == "crm.search"
        spans.append(Sent(trace, number, at_s, at_s + length_s, 1, name, broke, attributes=attributes))
        at_s += length_s
    root = agent(trace, 1, begin_s, at_s, "support")
    if failed:
        root = Sent(root.trace, 1, root.start_s, root.end_s, 0, root.name, failed, attributes=root.attributes)
    return [root, *spans]


def test_a_tool_that_is_waited_for_is_the_cause_of_slow_runs() -> None:
    """The agent's p95 has no cell of a tool; its calls have."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        crm_s = 6.0 if number >= BREAKS else 1.0
        return [one for i in range(12) for one in session(chance, 60 * number + 10 + 4 * i, crm_s, failed=False)]

    told = told_of(
        "{alert: Slow, detector: static, signal: latency_p95, above: 4s, window: 3m, at_least: 10,"
        " select: {operation: agent}, by: [agent]}", minute,
    )  # fmt: skip
    assert told.alerts[0].cause == "crm.search"
    assert "crm.search went from" in told.lines[0] and "which explains" in told.lines[0]


def test_where_every_call_is_slower_no_tool_is_named() -> None:
    """One tool took most of the time before: it explains most of the change, and is no slower than the others."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        slower = 2.0 if number >= BREAKS else 1.0
        return [one for i in range(12) for one in session(chance, 60 * number + 20 + 3 * i, 20.0, False, slower)]

    told = told_of(
        "{alert: Slow, detector: static, signal: latency_p95, above: 30s, window: 3m, at_least: 10,"
        " select: {operation: agent}, by: [agent]}", minute,
    )  # fmt: skip
    assert told.alerts[0].cause == ""


def test_a_tool_that_fails_beside_failed_runs_is_told_and_not_blamed() -> None:
    """Nobody counts which runs had the failed calls."""

    def minute(number: int, chance: random.Random) -> list[Sent]:
        fails = number >= BREAKS
        return [
            one for i in range(12)
            for one in session(chance, 60 * number + 10 + 4 * i, 1.0, fails and chance.random() < 0.6)
        ]  # fmt: skip

    told = told_of(
        "{alert: Fails, detector: static, signal: error_ratio, above: 30%, window: 5m, at_least: 30,"
        " select: {operation: agent}, by: [agent]}", minute,
    )  # fmt: skip
    assert "crm.search" not in told.alerts[0].cause
    assert "; beside it, crm.search failed 0% to" in told.lines[0]
