"""Situations of public bug reports whose right reading is a daemon's: what it shows of them while it runs."""

import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.service.ingest.wire import FIXTURES
from tests.service.running import Running, running

CASES = FIXTURES / "cases"
RULES = """
groups:
  - name: cases
    rules:
      - alert: SessionsFail
        detector: static
        signal: error_ratio
        above: 50%
        select: {operation: session}
        by: [agent]
      - {alert: ToolsFail, detector: static, signal: error_ratio, above: 50%, select: 'operation="tool"', by: [agent]}
"""


def moved(raw: bytes, by_ns: int) -> bytes:
    """A body whose times are later."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {key: str(int(v) + by_ns) if key.endswith("UnixNano") else walk(v) for key, v in value.items()}

    return json.dumps(walk(json.loads(raw))).encode()


def last_ns(raw: bytes) -> int:
    """When the last span of a body ends."""
    return max(int(end) for end in re.findall(rb'"endTimeUnixNano": ?"(\d+)"', raw))


def post(otlp: str, raw: bytes) -> None:
    """Send a body."""
    request = urllib.request.Request(f"{otlp}/v1/traces", raw, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def levels(daemon: Running, bodies: list[bytes], wanted: set[str], seconds: float = 20) -> dict[str, float]:
    """What the rules show of bodies that ended five minutes ago, by rule and agent, once each of their services has
    sent a later span. Event time goes by what is sent, so nobody waits for it.
    """
    otlp, web = daemon.addresses()
    then_ns = time.time_ns() - 300 * 10**9
    for raw in bodies:
        post(otlp, moved(raw, then_ns - max(map(last_ns, bodies))))
    span = {"spanId": "f" * 16, "name": "later", "startTimeUnixNano": str(then_ns),
            "endTimeUnixNano": str(then_ns + 280 * 10**9)}  # fmt: skip
    later = []
    for number, raw in enumerate(bodies, 1):
        spans = [{"scope": {"name": "x"}, "spans": [span | {"traceId": f"{number:032x}"}]}]
        later.append({"resource": json.loads(raw)["resourceSpans"][0]["resource"], "scopeSpans": spans})
        post(otlp, json.dumps({"resourceSpans": later[-1:]}).encode())
    post(otlp, json.dumps({"resourceSpans": later}).encode())  # Of no one service.
    until_s, found = time.monotonic() + seconds, dict[str, float]()
    while time.monotonic() < until_s and not wanted <= found.keys():
        with urllib.request.urlopen(f"{web}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        rows = re.findall(r'^tocsin_static_level\{agent="([^"]*)",rule="(\w+)"\} (\S+)$', text, re.MULTILINE)
        found = {f"{rule} {agent}": float(value) for agent, rule, value in rows}
        time.sleep(0.2)
    return found


@pytest.mark.parametrize("decoder", ["compiled", "protobuf"])
def test_a_foreign_parent_makes_no_difference(tmp_path: Path, decoder: str) -> None:
    """Sessions whose top has a foreign parent close and fail as those of a root do; a pause fails nothing."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    names = ("12-root-with-foreign-parent/rooted.json", "12-root-with-foreign-parent/foreign.json",
             "01-graph-interrupt/traces.json")  # fmt: skip
    wanted = {"SessionsFail rooted-bot", "SessionsFail foreign-bot", "ToolsFail LangGraph"}
    with running(tmp_path, RULES=str(rules), DECODER=decoder) as daemon:
        found = levels(daemon, [(CASES / name).read_bytes() for name in names], wanted)
    assert {name: found.get(name) for name in wanted} == {
        "SessionsFail rooted-bot": 1.0, "SessionsFail foreign-bot": 1.0, "ToolsFail LangGraph": 0.0,
    }  # fmt: skip
