"""`/metrics` for Prometheus, `/-/healthy` and `/-/ready` for whoever runs us, `/api/v1/…` for everybody else.

Read-only, and bound to this machine unless the settings say otherwise. Everything shown was taken between two steps.
"""

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from alertrules.lifecycle import Alert
from detectors.core.columns import SECOND_NS, Finding
from service.detect import Level
from service.selfmetrics import SelfMetrics, level_families


class Scrape(Collector):
    """What one request for /metrics shows: health as it is now, levels as they were last taken."""

    def __init__(self, health: list[Metric], levels: list[Level]) -> None:
        self.health, self.levels = health, levels

    def collect(self) -> Iterator[Metric]:
        yield from self.health
        yield from level_families(self.levels)


def web_app(metrics: SelfMetrics, not_ready: Callable[[], str]) -> Starlette:
    """The routes over one daemon's metrics; `not_ready` says what it waits for, nothing while it is ready."""

    async def scraped(request: Request) -> Response:
        scrape = Scrape(metrics.health(), metrics.levels)
        # Rendering many series takes a while, and Kafka's heartbeats share this loop.
        return Response(await asyncio.to_thread(generate_latest, scrape), media_type=CONTENT_TYPE_LATEST)

    async def healthy(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        if reason := not_ready():
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        return PlainTextResponse("ready\n")

    async def alerts(request: Request) -> Response:
        found = [(level, labels, alert) for level in metrics.levels for labels, alert in level.alerts.items()]
        return _json({"alerts": [_alert(*one) for one in found]})

    async def rules(request: Request) -> Response:
        return _json({"rules": [_rule(level, metrics.pages[level.rule.name]) for level in metrics.levels]})

    async def index(request: Request) -> Response:
        paths = ["/metrics", "/-/healthy", "/-/ready", "/api/v1/alerts", "/api/v1/rules"]
        return PlainTextResponse("Tocsin\n" + "".join(f"{path}\n" for path in paths))

    return Starlette(
        routes=[
            Route("/", index),
            Route("/metrics", scraped),
            Route("/-/healthy", healthy),
            Route("/-/ready", ready),
            Route("/api/v1/alerts", alerts),
            Route("/api/v1/rules", rules),
        ]
    )


def _json(value: dict[str, Any]) -> Response:
    """A JSON answer in ASCII, so that any text can stand in it."""
    return Response(json.dumps(value, allow_nan=False), media_type="application/json")


def _alert(level: Level, values: tuple[str, ...], alert: Alert) -> dict[str, Any]:
    return {
        "rule": level.rule.name,
        "labels": {name: value for name, value in zip(level.rule.by, values, strict=True) if value},
        "severity": level.rule.severity.value,
        "state": alert.state.value,
        "id": alert.alert_id,
        "since_s": alert.since_ns / SECOND_NS,
        "fired_s": alert.fired_ns / SECOND_NS if alert.fired_ns else None,
        "finding": _finding(alert.finding) if alert.finding else None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    numbers = {
        "before": finding.before,
        "now": finding.now,
        "since_s": finding.since_ns / SECOND_NS,
        "count": finding.count,
        "log_evidence": finding.log_evidence,
        "threshold": finding.threshold,
    }
    return {"unit": finding.unit} | {name: n if math.isfinite(n) else None for name, n in numbers.items()}


def _rule(level: Level, pages: int) -> dict[str, Any]:
    judged = level.gauges.get("warm")
    return {
        "rule": level.rule.name,
        "detector": level.rule.detector.value,
        "budget_per_week": level.rule.budget_per_week,
        "pages": pages,
        "series": len(level.labels),
        "judged": sum(one > 0 for one in judged.tolist()) if judged is not None else len(level.labels),
        "series_refused": level.refused,
    }
