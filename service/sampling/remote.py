"""The policy as SDKs poll it: Jaeger's remote sampling, a strategy by the name of a service.

A sampler at the head of a trace decides before anything has happened: it can follow deploys, new versions and open
alerts, and knows nothing of errors and flags to come. The format is that of Jaeger's `sampling.proto` as JSON, with
names for enumerations: https://www.jaegertracing.io/docs/latest/architecture/apis/#remote-sampling-configuration
"""

from typing import Any

from service.sampling.needs import Needs, shares
from service.sampling.policy import Policy

OPERATIONS_MAX = 200
"""Agents by name in an answer. Samplers keep a few hundred operations at most: with more, all agents are meant."""


def strategy(policy: Policy, needs: Needs, service: str) -> dict[str, Any]:
    """How a service's SDK should sample now.

    A service that is called as an agent of which more is needed is sampled at that share. Agents of other names may run
    in it: for these there is an operation each, the name that OpenTelemetry gives to the span of an agent's run.
    """
    share_for = shares(policy)
    agents: dict[str, float] = {}
    rate = policy.floor
    for need in needs.all:
        share = share_for[need.reason]
        if need.agent in ("", service):
            rate = max(rate, share)
        else:
            agents[need.agent] = max(agents.get(need.agent, 0.0), share)
    raised = {agent: share for agent, share in sorted(agents.items()) if share > rate}
    if len(raised) > OPERATIONS_MAX:
        rate, raised = max(raised.values()), {}
    answer: dict[str, Any] = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": rate}}
    if raised:
        answer["operationSampling"] = {
            "defaultSamplingProbability": rate,
            "defaultLowerBoundTracesPerSecond": 0,
            "perOperationStrategies": [
                {"operation": f"invoke_agent {agent}", "probabilisticSampling": {"samplingRate": share}}
                for agent, share in raised.items()
            ],
        }
    return answer
