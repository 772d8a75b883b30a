"""Situations of public bug reports that metrics were misread in: each by what its input should be read as."""

from pathlib import Path
from typing import Any

import pytest

from service.batch import Signal
from service.inspect import inspect_points
from tests.service.ingest.wire import FIXTURES

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
