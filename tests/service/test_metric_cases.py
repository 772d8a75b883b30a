"""The cases of misread metrics through a running daemon, their times made new: what it shows, and whom it pages."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.sources.otlp_http import JSON
from tests.service.ingest.test_metric_cases import CASES
from tests.service.replay import values
from tests.service.running import running

RULES = """
groups:
  - name: seen
    rules:
      - {alert: Slow, detector: static, signal: latency_p95, above: 1s, window: 5m, by: [agent, operation]}
      - {alert: Spend, detector: static, signal: spend_per_hour, above: $0.000001, window: 5m, by: [agent]}
"""
_TIME = re.compile(r'UnixNano": "(\d+)"')


def renewed(case: str, last_s: float) -> list[bytes]:
    """The bodies of a case, moved so that the last time in them is this one."""
    raws = [path.read_text() for path in sorted((CASES / case).glob("*.json"))]
    times = {found for raw in raws for found in _TIME.findall(raw)}
    moved = int(last_s * 1e9) - max(map(int, times))
    for each in times:
        raws = [raw.replace(f'"{each}"', f'"{int(each) + moved}"') for raw in raws]
    return [raw.encode() for raw in raws]


def early(at_s: float) -> bytes:
    """A first point, so that all that began after it is known whole."""
    attributes = [{"key": "service.name", "value": {"stringValue": "early"}}]
    data = {"aggregationTemporality": 1, "isMonotonic": True,
            "dataPoints": [{"timeUnixNano": str(int(at_s * 1e9)), "asInt": "1"}]}  # fmt: skip
    metric = {"name": "agent.tool.call.count", "sum": data}
    scope = [{"metrics": [metric]}]
    return json.dumps({"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": scope}]}).encode()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mapping[tuple[str, ...], float], list[Any]]]:
    """What /metrics and the API say after all cases but one, which ends by now; time went on by a last body."""
    directory: Path = tmp_path_factory.mktemp("cases")
    (directory / "rules.yaml").write_text(RULES)
    with running(directory, RULES=str(directory / "rules.yaml"), LATENESS="1s") as daemon:
        door, web = daemon.addresses()
        now_s = time.time()
        bodies = [early(now_s - 900)]
        for case in ("04-two-writers", "26-resource-changes", "03-metric-token-type-total",
                     "20-metric-agent-and-call", "22-metric-unit-spelled", "30-spend-of-metrics-alone"):  # fmt: skip
            bodies += renewed(case, now_s - 150)
        for ago_s in (70, 10, 1):
            bodies.append(early(now_s - ago_s))
        for body in bodies:
            sent = httpx.post(f"{door}/v1/metrics", content=body, headers={"Content-Type": JSON}, trust_env=False)
            assert sent.status_code == 200, sent.content
        alerts: list[Any] = []
        for _ in range(100):
            time.sleep(0.1)
            alerts = httpx.get(f"{web}/api/v1/alerts", trust_env=False).json()["alerts"]
            if len(alerts) >= 3:
                break
        told = values(httpx.get(f"{web}/metrics", trust_env=False).text)
        assert daemon.stop() == 0, daemon.said
    yield told, alerts


def test_lifetimes_count_once(shown: tuple[Mapping[tuple[str, ...], float], list[Any]]) -> None:
    """Two writers, a process whose resource changed, tokens without their total, and calls without their run's."""
    told, _ = shown
    assert told["tocsin_priced_metric_tokens_total", "priced"] == 1340 + 1300 + 2603 + 3300
    assert told["tocsin_dropped_total", "aggregate"] == 2
    assert told["tocsin_dropped_total", "unknown_start"] == 0


def test_milliseconds_and_cost_page_as_what_they_are(
    shown: tuple[Mapping[tuple[str, ...], float], list[Any]],
) -> None:
    """Calls of two seconds are over a second, and not of a quarter of an hour; spend without calls is spend."""
    _, alerts = shown
    found = {(each["rule"], each["labels"]["agent"]): each["finding"]["now"] for each in alerts}
    assert found["Slow", "quarkus-bot"] == pytest.approx(2.0, rel=0.1)
    assert found["Spend", "claude-code"] == pytest.approx(20 * 12, rel=0.5)
