"""`/metrics` for Prometheus, `/-/healthy` and `/-/ready` for whoever runs us, `/api/v1/…` for everybody else.

Read-only, and bound to this machine unless the settings say otherwise. Everything shown was taken between two steps.
"""

import asyncio
import math
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from alertrules.lifecycle import Alert
from detectors.core.columns import SECOND_NS, Finding
from service.detect import Level

if TYPE_CHECKING:
    from service.daemon import Daemon


def web_app(daemon: "Daemon") -> Starlette:
    """The routes over one daemon."""

    def metrics(request: Request) -> Response:
        return Response(generate_latest(daemon.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def healthy(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        if daemon.ready.is_set() and not daemon.door.closing:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", 503)

    async def alerts(request: Request) -> Response:
        found = [
            _alert(level, labels, alert) for level in daemon.metrics.levels for labels, alert in level.alerts.items()
        ]
        return JSONResponse({"alerts": found})

    async def rules(request: Request) -> Response:
        return JSONResponse({"rules": [_rule(daemon, level) for level in daemon.metrics.levels]})

    async def index(request: Request) -> Response:
        paths = ["/metrics", "/-/healthy", "/-/ready", "/api/v1/alerts", "/api/v1/rules"]
        return PlainTextResponse("Tocsin\n" + "".join(f"{path}\n" for path in paths))

    async def metrics_off_loop(request: Request) -> Response:
        # Rendering many series takes a while, and Kafka's heartbeats share this loop.
        return await asyncio.to_thread(metrics, request)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/metrics", metrics_off_loop),
            Route("/-/healthy", healthy),
            Route("/-/ready", ready),
            Route("/api/v1/alerts", alerts),
            Route("/api/v1/rules", rules),
        ]
    )


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


def _rule(daemon: "Daemon", level: Level) -> dict[str, Any]:
    judged = level.gauges.get("warm")
    return {
        "rule": level.rule.name,
        "detector": level.rule.detector.value,
        "budget_per_week": level.rule.budget_per_week,
        "pages": daemon.metrics.pages[level.rule.name],
        "series": len(level.labels),
        "judged": int(judged.sum()) if judged is not None else len(level.labels),
        "series_refused": level.refused,
    }
