"""Plain limits through the whole pipeline, as `tocsin test` runs them."""

from pathlib import Path

from service.rule_tests.run import run

RULES = """
groups:
  - name: limits
    rules:
      - alert: TooFew
        detector: static
        signal: calls_per_minute
        below: 3
        window: 5m
        select: {operation: llm}
        by: [agent]
        keep_firing_for: 5m
      - alert: Objective
        detector: slo
        signal: error_ratio
        objective: 99%
        select: {operation: llm}
        by: [agent]
        keep_firing_for: 5m
      - alert: TooMany
        detector: static
        signal: error_ratio
        above: 20%
        window: 5m
        at_least: 10
        select: {operation: llm}
        by: [agent]
        overrides: [{match: {agent: batch}, above: 90%}]
      - {alert: Nightly, detector: absence, every: 1h, grace: 5m, select: {agent: nightly}, by: [agent]}
      - {alert: Nothing, detector: telemetry, every: 15m, grace: 5m, keep_firing_for: 5m}
"""
TESTS = """
tests:
  - name: a rate that falls, to nothing at last
    rules: [TooFew]
    for: 90m
    agents:
      - &none {agent: steady, sessions: 10/m, calls: [{operation: llm}]}
      - agent: falls
        sessions: 10/m
        calls: [{operation: llm}]
        changes: [{at: 20m, until: 50m, sessions: 0/s}]
    pages:
      - {alert: TooFew, labels: {agent: falls}, after: 20m, before: 28m, ends: {after: 50m, before: 65m}}
  - name: an objective that is missed fast
    rules: [Objective]
    for: 3h
    agents:
      - {agent: a, sessions: 30/m, calls: [{operation: llm, changes: [{at: 70m, until: 100m, errors: 50%}]}]}
    pages:
      - {alert: Objective, after: 85m, before: 92m, text: times the allowed, ends: {after: 100m, before: 125m}}
  - name: a limit of an agent's own
    rules: [TooMany]
    agents:
      - {agent: batch, sessions: 30/m, calls: [{operation: llm, errors: 50%}]}
      - {agent: other, sessions: 30/m, calls: [{operation: llm, errors: 50%}]}
    pages:
      - {alert: TooMany, labels: {agent: other}, before: 10m}
  - name: an agent that must run every hour
    rules: [Nightly]
    for: 4h
    agents:
      - {agent: steady, sessions: 10/m}
      - {agent: nightly, sessions: 1/s, changes: [{at: 2m, until: 60m, sessions: 0/s}, {at: 62m, sessions: 0/s}]}
    pages:
      - {alert: Nightly, labels: {agent: nightly}, after: 126m, before: 131m, text: must come every}
  - name: no telemetry at all
    rules: [Nothing]
    for: 90m
    agents:
      - {agent: steady, sessions: 30/m, changes: [{at: 20m, until: 60m, sessions: 0/s}]}
    pages:
      - {alert: Nothing, after: 39m, before: 42m, text: no telemetry for, ends: {after: 60m, before: 68m}}
"""


def test_limits_hold(tmp_path: Path) -> None:
    """Below, an objective, a limit of one agent, a schedule, and no telemetry at all."""
    (tmp_path / "limits.yaml").write_text(RULES)
    (tmp_path / "limits.test.yaml").write_text(TESTS.replace("&none ", ""))
    results = list(run([tmp_path]))
    assert [(result.name, result.problems) for result in results if not result.ok] == []
    assert len(results) == 5
