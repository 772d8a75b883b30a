"""The policy in the words of samplers: the Collector's tail sampling, and Jaeger's remote sampling."""

import io
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from service.sampling.collector import rendered
from service.sampling.names import weight_of
from service.sampling.needs import NOTHING_NEEDED, Need, Needs, Reason
from service.sampling.policy import SHIPPED, Policy
from service.sampling.remote import OPERATIONS_MAX, strategy

Trace = Mapping[str, str | bool]
SHARE = st.sampled_from((0.0, 0.02, 0.1, 0.5, 1.0))
ODD = 'say "hi"\\ ${env:HOME} \n é😀'
TRACES: tuple[Trace, ...] = (
    {}, {"failed": True}, {"conversation.flagged": True}, {"failed": True, "gen_ai.agent.name": "support"},
    {"service.name": "support", "agent.session.outcome": "failed"}, {"gen_ai.agent.name": "other"},
)  # fmt: skip


def policies(policy: Policy, needs: Needs) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = YAML(typ="safe").load(io.StringIO(rendered(policy, needs)))["processors"][
        "tail_sampling"
    ]["policies"]
    return found


def keeps(policy: Mapping[str, Any], trace: Trace, drawn: float) -> bool:
    """Whether a policy of the Collector keeps a trace; `drawn` is where its hash lies, of one salt, from 0 to 1."""
    kind, told = policy["type"], policy.get(policy["type"], {})
    if kind == "and":
        return all(keeps(part, trace, drawn) for part in told["and_sub_policy"])
    if kind == "probabilistic":
        assert told["hash_salt"] == "tocsin"
        return drawn < float(told["sampling_percentage"]) / 100
    if kind == "string_attribute":
        return trace.get(told["key"]) in told["values"]
    if kind == "boolean_attribute":
        return trace.get(told["key"]) is told["value"]
    return kind == "always_sample" or (kind in ("status_code", "ottl_condition") and trace.get("failed", False) is True)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(Policy, SHARE, SHARE, SHARE, SHARE, SHARE, SHARE, SHARE, st.sampled_from((0.01, 0.2))),
    st.lists(st.builds(Need, st.sampled_from(("support", "else", "")), st.sampled_from(Reason), st.just("why"))),
    st.sampled_from(TRACES),
)
def test_the_recorded_policy_tells_the_chance(policy: Policy, needs: list[Need], trace: Trace) -> None:
    """Of every trace, under every policy: the first that keeps it names the share with which it is kept at all."""
    told = policies(policy, Needs(tuple(needs)))
    draws = [(number + 0.5) / 200 for number in range(200)]
    recorded = [next((one["name"] for one in told if keeps(one, trace, drawn)), None) for drawn in draws]
    weights = [weight_of(name) for name in recorded if name]
    assert len(set(weights)) == 1
    assert sum(weights) == pytest.approx(200)
    assert len({one["name"] for one in told}) == len(told)


def test_what_is_shipped_keeps() -> None:
    """Errors and flags whole, a tenth of the rest; an agent with an alert whole."""
    told = policies(SHIPPED, Needs((Need("support", Reason.ALERT, "AgentErrorsUp"),)))
    assert [one["name"] for one in told if "alert" not in one["name"]] == [
        "tocsin/errors=1", "tocsin/errors raised=1", "tocsin/flagged 1=1", "tocsin/flagged 2=1",
        "tocsin/audit=0.1", "tocsin/rest=0.1",
    ]  # fmt: skip
    assert "tocsin/alert gen_ai.agent.name=1" in {one["name"] for one in told}


def test_names_of_telemetry_are_text(random_seed: int = 1) -> None:
    """Nothing of a name is YAML, nor expanded by the Collector, and equal needs are equal text."""
    odd = [Need(ODD, Reason.ALERT, ODD), Need("b", Reason.FRESH, "version v2", 5)]
    random.Random(random_seed).shuffle(odd)
    text = rendered(SHIPPED, Needs(tuple(sorted(odd))))
    assert text.isascii() and "${" not in text.replace("$${", "")
    told = policies(SHIPPED, Needs(tuple(odd)))
    values = next(one["string_attribute"]["values"] for one in told if one["name"] == "tocsin/alert agent.name=1")
    assert values == [ODD.replace("$", "$$")]


def test_strategies_of_sdks() -> None:
    """The rest, but for services and agents that are needed: by the service's name, else by the span of a run."""
    assert strategy(SHIPPED, NOTHING_NEEDED, "shop") == {
        "strategyType": "PROBABILISTIC",
        "probabilisticSampling": {"samplingRate": 0.1},
    }
    needs = Needs((Need("shop", Reason.ALERT, "Errors"), Need("support", Reason.FRESH, "version v2", 5)))
    assert strategy(SHIPPED, needs, "shop") == {
        "strategyType": "PROBABILISTIC",
        "probabilisticSampling": {"samplingRate": 1.0},
    }
    assert strategy(SHIPPED, needs, "web")["operationSampling"] == {
        "defaultSamplingProbability": 0.1,
        "defaultLowerBoundTracesPerSecond": 0,
        "perOperationStrategies": [
            {"operation": "invoke_agent shop", "probabilisticSampling": {"samplingRate": 1.0}},
            {"operation": "invoke_agent support", "probabilisticSampling": {"samplingRate": 1.0}},
        ],
    }
    many = Needs(tuple(Need(f"a{number}", Reason.ALERT, "E") for number in range(OPERATIONS_MAX + 1)))
    assert strategy(SHIPPED, many, "web")["probabilisticSampling"]["samplingRate"] == 1.0
    of_all = Needs((Need("", Reason.DEPLOY, "all", 5),))
    assert "operationSampling" not in strategy(SHIPPED, of_all, "web")
