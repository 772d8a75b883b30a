"""A budget of some series' own: the evidence that their pages need follows from it, and from theirs alone."""

import math

import numpy as np
import pytest

from alertrules.parse import combine, parse_rules
from detectors.core import budget
from detectors.core.contract import Asked, Terms
from detectors.core.descriptor import build
from detectors.core.fast import FastEngine
from service.pipeline.overrides import Overrides
from tests.detectors.ticks import MIDNIGHT, tick

WEEK = 10_080
RULE = """
groups:
  - name: g
    rules:
      - alert: A
        detector: errors
        by: [tenant, agent]
        budget: 1/week
        overrides:
          - {match: {tenant: acme}, budget: 4/week}
          - {match: {agent: b}, effect: 3x}
"""


def asks(share: float | None) -> Asked:
    return Asked(1.5, 0.005, math.nan, math.nan, share)


def test_the_engine_asks_for_the_evidence_of_a_series_own_budget() -> None:
    """`log(10080 / share)` of the series that have one, before and after midnights; the others stay as they were."""
    detector, plain = (build("errors", Terms(1.0, 1.5, 0.005)) for _ in range(2))
    rows, n = np.arange(4, dtype=np.int32), np.full(4, 50.0)
    detector.ask(2, asks(0.01))
    for minute in range(0, 3 * 1440, 5):
        one = tick(MIDNIGHT + minute, rows, n, n * 0.02)
        for each in (detector, plain):
            each.tick(one, np.zeros(4, np.int8))
    detector.ask(3, asks(8.0))
    assert isinstance(detector, FastEngine) and isinstance(plain, FastEngine)
    engine = detector.engine
    usual = budget.threshold(1.0, 4)
    expected = [usual, usual, math.log(WEEK / 0.01), math.log(WEEK / 8.0)]
    assert engine.base(rows).tolist() == pytest.approx(expected)
    assert np.broadcast_to(plain.engine.base(rows), 4).tolist() == pytest.approx([usual] * 4)
    asked = engine.thresholds(rows)
    assert asked[2] >= expected[2] and asked[3] >= expected[3]
    detector.forget(np.array([2], np.int32))
    assert engine.base(rows)[2] == pytest.approx(usual)


def test_the_series_of_an_override_share_its_budget() -> None:
    """Rounded up to a power of two; where that grows, what was asked of the older ones is asked anew."""
    overrides = Overrides(combine([parse_rules(RULE, "a.yaml")]).rules[0])
    first = overrides.meet([(1, ("acme", "a")), (2, ("globex", "a")), (3, ("globex", "b"))])
    assert {row: asked.share for row, asked in first.items()} == {1: 4.0, 3: None}
    assert (first[3].ratio, first[1].ratio) == (3.0, 1.5)
    second = overrides.meet([(4, ("acme", "b")), (5, ("acme", "c"))])
    assert {row: asked.share for row, asked in second.items()} == {1: 1.0, 4: 1.0, 5: 1.0}
    assert overrides.meet([(6, ("acme", "d"))]).keys() == {6}
    overrides.forget([4, 5])
    assert overrides.of(4) is None and (left := overrides.of(1)) is not None and left.share == 2.0


def test_a_smaller_budget_is_a_higher_bar() -> None:
    """`level` sets the bar of each series from its own budget."""
    terms = Terms(1.0, None, None, "error_ratio", "", math.nan, 5 * 60 * 10**9, 1)
    detector = build("level", terms)
    detector.ask(1, asks(0.0001))
    rng, rows = np.random.default_rng(1), np.arange(2, dtype=np.int32)
    for minute in range(6 * 1440):
        n = np.full(2, 400.0)
        failed = np.repeat(rng.binomial(400, 0.1), 2).astype(float)
        detector.tick(tick(MIDNIGHT + minute, rows, n, failed), np.zeros(2, np.int8))
    bars = detector.gauges()["level_bar"]
    assert bars[1] > bars[0]
