"""What is worth keeping now, for those who sample: the Collector, SDKs that poll Jaeger's remote sampling, people."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from detectors.core.columns import SECOND_NS
from service.own_metrics.selfmetrics import SelfMetrics
from service.sampling.collector import rendered
from service.sampling.needs import Need
from service.sampling.policy import SHARES, Policy
from service.sampling.remote import strategy
from service.sources.sampling_grpc import SAMPLED_NAME_MAX, sampling_handler
from service.web.people import json_of


class Sampled:
    """The pages on sampling of one daemon.

    look  has the levels taken, and with them what is needed, as they stand now
    """

    def __init__(self, metrics: SelfMetrics, look: Callable[[], Awaitable[None]], policy: Policy) -> None:
        self._metrics, self._look, self._policy = metrics, look, policy
        self.paths = {
            "/api/v1/sampling": self.told,
            "/api/v1/sampling/collector": self.collector,
            "/sampling": self.remote,
        }

    async def told(self, request: Request) -> Response:
        """The policy, and what is needed now with the reasons."""
        await self._look()
        return json_of({"policy": _policy(self._policy), "needs": list(map(_need, self._metrics.needs.all))})

    async def collector(self, request: Request) -> Response:
        """The policies of the Collector's tail sampling, as YAML."""
        await self._look()
        return Response(rendered(self._policy, self._metrics.needs), media_type="application/yaml")

    async def remote(self, request: Request) -> Response:
        """How the SDK of a service should sample: `?service=NAME`, as Jaeger has it."""
        services = request.query_params.getlist("service")
        if len(services) != 1 or not 0 < len(services[0]) <= SAMPLED_NAME_MAX:
            return PlainTextResponse("'service' parameter must be provided once\n", 400)
        return json_of(await self.strategy(services[0]))

    async def strategy(self, service: str) -> dict[str, Any]:
        """How the SDK of a service should sample, as JSON."""
        await self._look()
        return strategy(self._policy, self._metrics.needs, service)

    def over_grpc(self, token: str) -> grpc.GenericRpcHandler:
        """The same for those who ask over gRPC; with a token it is asked for."""
        return sampling_handler(self.strategy, token)


def _policy(policy: Policy) -> dict[str, Any]:
    """The policy by the names that a file has, times in seconds."""
    found: dict[str, Any] = {name: getattr(policy, name) for name in SHARES}
    times = {"fresh_for_s": policy.fresh_for_ns // SECOND_NS, "deploy_for_s": policy.deploy_for_ns // SECOND_NS}
    return found | times | {"flags": [dataclasses.asdict(flag) for flag in policy.flags]}


def _need(need: Need) -> dict[str, Any]:
    until_s = need.until_ns / SECOND_NS if need.until_ns else None
    return {"agent": need.agent, "reason": need.reason.value, "why": need.why, "until_s": until_s}
