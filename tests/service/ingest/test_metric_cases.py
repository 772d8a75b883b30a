"""Situations of public bug reports that metrics were misread in: each by what its input should be read as."""

import math
from pathlib import Path
from typing import Any

import pytest

from service.batch import Dropped, Signal
from service.ingest.metrics.meters import Meters
from service.ingest.stage import Ingest
from service.replay.inspect import inspect_points
from tests.service.ingest.test_metrics import CUMULATIVE, DELTA, counter, durations, metered, points, sent
from tests.service.ingest.wire import FIXTURES, Stream

CASES = FIXTURES / "cases"


def inspected(case: str, pattern: str = "*.json") -> dict[str, Any]:
    """What `tocsin inspect` reads in the files of a case, in order."""
    return inspect_points(sorted((CASES / case).glob(pattern)), Signal.METRICS)


def only(found: dict[str, Any]) -> dict[str, Any]:
    """The one group."""
    (group,) = found["groups"]
    return dict(group)


@pytest.mark.parametrize("pattern", ["*.json", "*.binpb"])
def test_a_total_is_no_output(pattern: str) -> None:
    """spring-ai's and langchain4j's counters: input, output, and their sum under a third word."""
    found = inspected("03-metric-token-type-total", pattern)
    group = only(found)
    assert (group["input_tokens"], group["output_tokens"]) == (2562, 41)
    assert group["cost_usd"] == pytest.approx(0.006815)
    assert found["dropped"] == {"aggregate": 1}


def test_two_writers_of_one_identity_count_apart() -> None:
    """Their start times tell them: 1300 of the gateway and 40 of the dashboard."""
    found = inspected("04-two-writers")
    assert only(found)["input_tokens"] == 1340 and not found["dropped"]


def test_parts_of_the_input_have_their_own_price() -> None:
    """`gen_ai.token.cache` and `gen_ai.token.reasoning` say which part a point is: the parts add up."""
    group = only(inspected("18-metric-partitions"))
    assert (group["input_tokens"], group["output_tokens"]) == (100, 200)
    assert group["cost_usd"] == pytest.approx(0.0021875)


def test_what_an_agent_used_is_what_its_calls_used() -> None:
    """One run told as `chat` and as `invoke_agent` counts once, whoever the agent is said to be."""
    found = inspected("20-metric-agent-and-call")
    group = only(found)
    assert (group["input_tokens"], group["output_tokens"]) == (3000, 300)
    assert group["cost_usd"] == pytest.approx(0.0105)
    assert sum(found["priced_tokens"].values()) == 3300


def test_a_resource_that_gains_an_attribute_is_the_same_process() -> None:
    """A collector that came to know the deployment's name: the value goes on."""
    found = inspected("26-resource-changes")
    assert only(found)["input_tokens"] == 1300 and not found["dropped"]


def test_cost_of_metrics_alone() -> None:
    assert only(inspected("30-spend-of-metrics-alone"))["cost_usd"] == 20.0


@pytest.mark.parametrize("pattern", ["*.json", "*.binpb"])
def test_milliseconds_are_no_seconds(pattern: str, tmp_path: Path) -> None:
    """micrometer-registry-otlp spells the unit out: calls of two seconds."""
    found = inspected("22-metric-unit-spelled", pattern)
    assert set(only(found)["calls"]) == {"llm"} and "unknown_unit" not in found["dropped"]


def told(*metrics: Any, rates: dict[str, float] | None = None) -> tuple[dict[str, Any], dict[str, int], dict[str, int]]:
    """What the cells of the one service sum up to, what was dropped, and which words were not known."""
    stream = Stream()
    stream.ingest = Ingest(stream.limits, meters=Meters(since_ns=0, rates=rates or {}))
    answer = stream.send_bytes(points(*metrics), 61, "m/0", Signal.METRICS)
    stream.flush()
    sums: dict[str, Any] = {"answer": answer, "p95": 0.0}
    for row in stream.rows():
        for name in ("count", "input_tokens", "output_tokens", "cost_usd"):
            sums[name] = sums.get(name, 0.0) + float(str(row[name]))
        sums["buckets"] = sums.get("buckets", []) + row["duration"]
    words = {word: round(one.count) for (_, _, word, _), one in stream.ingest.words.heard.items()}
    return sums, {str(reason): n for reason, n in stream.tally.dropped.items() if n}, words


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("s", 2), ("seconds", 2), ("Sec", 2), ("", 2), ("ms", 2), ("milliseconds", 2), ("MILLIS", 2), ("us", 2), ("µs", 2),
     ("microseconds", 2), ("ns", 2), ("nanoseconds", 2), ("min", 120), ("minutes", 120), ("h", 7200), ("{seconds}", 2),
     ("s{call}", 2), ("Ms", None), ("S", None), ("fortnights", None), ("{call}", None), ("1", None), ("ks", None)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["histogram", "exponential_histogram"])
def test_units_of_durations(unit: str, seconds: float | None, kind: str) -> None:
    """Whatever a sender calls them; a word that no table knows is told, and counts nowhere."""
    name = unit.strip("{}").removesuffix("{call}").lower()
    per_s = next((n for words, n in ((("ms", "millis", "milliseconds"), 1e3), (("us", "µs", "microseconds"), 1e6),
                                     (("ns", "nanoseconds"), 1e9)) if name in words), 1.0)  # fmt: skip
    point: dict[str, Any] = {"at": 60, "start": 10, "count": 10, "sum": 20.0 * per_s}
    if kind == "histogram":
        point |= {"bucket_counts": [10], "explicit_bounds": []}
    else:
        point |= {"scale": 3, "positive": (math.ceil(math.log2(2 * per_s) * 8) - 1, [10])}
    metric = {"name": "gen_ai.client.operation.duration", "unit": unit, "kind": kind,
              "data": {"aggregation_temporality": 2}, "points": [point]}  # fmt: skip
    sums, dropped, words = told(metric)
    if seconds is None:
        assert "count" not in sums and dropped == {"unknown_unit": 1} and words == {unit: 1}
        assert sums["answer"].rejected == 1 and "a unit is" in sums["answer"].message
        return
    assert sums["count"] == 10 and not dropped and not words
    ((bucket, count),) = sums["buckets"]
    assert count == 10 and abs(bucket - (math.log2(seconds) * 8 - 1)) <= 1


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
@pytest.mark.parametrize(
    ("types", "tokens", "dropped"),
    [
        ({"input": 100, "output": 20, "total": 120}, (100, 20), {"aggregate": 1}),
        ({"prompt": 100, "completion": 20}, (100, 20), {}),
        ({"input_tokens": 100, "Output-Tokens": 20}, (100, 20), {}),
        ({"input": 100, "output": 20, "reasoning": 15}, (100, 20), {"unknown_token_type": 1}),
        ({"input": 100, "thought": 7, "tool": 9, "audio": 3, "cached": 50}, (100, 0), {"unknown_token_type": 4}),
        ({"": 5}, (0, 0), {"unknown_token_type": 1}),
        ({"input": 100, "cacheRead": 40, "cache_creation": 10}, (150, 0), {}),
    ],
)
def test_types_of_tokens(
    types: dict[str, int], tokens: tuple[int, int], dropped: dict[str, int], temporality: int
) -> None:
    """A word that may mean a part of input or output is added to neither, whatever it is told as."""
    metrics = [
        counter("gen_ai.client.token.usage", n, 60, 10, temporality, **{"gen_ai.token.type": word})
        for word, n in types.items()
    ]
    sums, found, words = told(*metrics)
    assert (sums.get("input_tokens", 0), sums.get("output_tokens", 0)) == tokens
    assert found == dropped and sum(words.values()) == dropped.get("unknown_token_type", 0)


@pytest.mark.parametrize(
    ("cost", "dollars"),
    [
        ({"unit": "USD"}, 50.0), ({"unit": "{USD}"}, 50.0), ({"unit": "$"}, 50.0), ({"unit": ""}, 50.0),
        ({"unit": "1"}, 50.0), ({"unit": "EUR"}, 55.0), ({"unit": "1", "currency": "eur"}, 55.0),
        ({"unit": "JPY"}, None), ({"unit": "USD", "gen_ai.usage.cost.currency": "JPY"}, None),
        ({"unit": "cents"}, None),
    ],
)  # fmt: skip
def test_currencies(cost: dict[str, str], dollars: float | None) -> None:
    """What is not dollars, and has no rate, is not summed as dollars; and then the tokens have their price."""
    labels = {name: text for name, text in cost.items() if name != "unit"}
    spent = counter("operation.cost", 50, 60, 10, DELTA, **labels) | {"unit": cost["unit"]}
    used = counter("gen_ai.client.token.usage", 1e6, 60, 10, DELTA, **{
        "gen_ai.token.type": "input", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"})  # fmt: skip
    sums, dropped, _ = told(spent, used, rates={"EUR": 1.1})
    assert sums["cost_usd"] == pytest.approx(2.5 if dollars is None else dollars)
    assert dropped == ({"unknown_unit": 1} if dollars is None else {})


@pytest.mark.parametrize("leaf_first", [True, False])
@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
@pytest.mark.parametrize("above", ["invoke_agent", "invoke_workflow"])
def test_what_is_above_adds_nothing_whenever_it_comes(leaf_first: bool, temporality: int, above: str) -> None:
    """Also where the calls are told by a later body; and it counts where nobody tells the calls."""

    def usage(operation: str, agent: str) -> Any:
        said = {"gen_ai.operation.name": operation, "gen_ai.token.type": "input", "gen_ai.agent.name": agent}
        return counter("gen_ai.client.token.usage", 300, 60, 10, temporality, **said)

    bodies = [points(usage("chat", "a")), points(usage(above, "planner"))]
    stream = metered(names=False)
    for raw in bodies if leaf_first else reversed(bodies):
        stream.send_bytes(raw, 61, "m/0", Signal.METRICS)
    assert sum(float(str(row["input_tokens"])) for row in stream.flush().rows()) == 300
    assert stream.dropped(Dropped.AGGREGATE) == 1
    alone, dropped, _ = told(usage(above, "planner"))
    assert alone["input_tokens"] == 300 and not dropped


def test_an_old_and_a_new_name_of_one_metric_count_once() -> None:
    """A sender that writes both generations of the conventions tells each call once."""
    said = {"gen_ai.request.model": "gpt-4o"}
    old = counter("gen_ai.client.token.usage", 300, 60, 10, DELTA, **said, **{"gen_ai.token.type": "input"})
    new = counter("gen_ai.client.inference.usage.input_tokens", 300, 60, 10, DELTA, **said)
    timed = durations([1, 2, 0, 0], 60)
    sums, dropped, _ = told(new, old, timed, timed | {"name": "gen_ai.client.inference.duration"})
    assert (sums["input_tokens"], sums["count"], dropped) == (300, 3, {"aggregate": 2})


@pytest.mark.parametrize(
    "metric",
    [
        {"name": "agent.cost.usd", "kind": "gauge", "points": [{"at": 60, "as_double": 5.0}]},
        {"name": "agent.cost.usd", "kind": "sum", "points": [{"at": 60, "as_double": 5.0}]},
        {"name": "gen_ai.invoke_agent.duration", "unit": "ms", "kind": "sum", "data": {"aggregation_temporality": 1},
         "points": [{"at": 60, "as_double": 5000.0}]},
        {"name": "operation.cost", "kind": "histogram", "data": {"aggregation_temporality": 1}, "unit": "USD",
         "points": [{"at": 60, "count": 3}]},
    ],
    ids=["gauge", "no-temporality", "sum-of-durations", "no-sum"],
)  # fmt: skip
def test_what_adds_nobody_knows_what_adds_nothing(metric: dict[str, Any]) -> None:
    sums, dropped, _ = told(metric)
    assert "count" not in sums and dropped == {"unknown_kind": 1}


def test_a_counter_that_forgot_to_say_so_is_one() -> None:
    """`isMonotonic` left out is false in JSON and protobuf: a cost of 5 that grows to 7 is 7, and not 12."""
    stream = metered(names=False)
    for total, at in ((5.0, 60), (7.0, 120)):
        spent = counter("agent.cost.usd", total, at, 10)
        spent["data"]["is_monotonic"] = False
        sent(stream, spent)
    assert sum(float(str(row["cost_usd"])) for row in stream.flush().rows()) == 7.0


def test_audio_and_batches_have_no_price_of_text() -> None:
    """Tokens count; what they cost is not known."""
    said = {"gen_ai.request.model": "gpt-4o", "gen_ai.token.type": "input"}
    plain, audio, flex = (
        counter("gen_ai.client.token.usage", 1000, 60, 10, DELTA, **said, **more)
        for more in ({}, {"gen_ai.token.modality": "audio"}, {"openai.response.service_tier": "flex"})
    )
    sums, _, _ = told(plain, audio, flex)
    assert (sums["input_tokens"], sums["cost_usd"]) == (3000, pytest.approx(0.0025))


def test_an_unknown_word_is_told_once() -> None:
    """As a ticket that names it and says how often it came, ten minutes after it came first; over a restart, too."""
    stream, tickets = metered(names=False), list[tuple[int, str]]()
    for minute in range(30):
        sent(stream, durations([1, 0, 0, 0], 60 * minute + 60) | {"unit": "jiffies"})
        if minute in (5, 15):
            stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
        tickets += [(minute, line) for line in stream.tally.tickets]
        stream.tally.tickets.clear()
    ((minute, ticket),) = tickets
    assert 10 <= minute <= 13
    assert '"jiffies"' in ticket and "gen_ai.client.operation.duration of helper" in ticket and "in 10 min" in ticket
