"""One rule at work: what is asked of its series, and what is shown of them."""

from dataclasses import replace

import numpy as np
import pytest

from alertrules.lifecycle import AlertState, Transition
from alertrules.parse import combine, parse_rules
from alertrules.rules import Rule
from detectors.core.columns import CELL_LABELS, SLOT_NS, TICK_NS, Entries, Slot
from detectors.core.descriptor import descriptor, words
from detectors.core.fast import FastEngine
from detectors.core.runs import PLACES
from detectors.core.series import SeriesTable
from service.own_metrics.exposition import level_text
from service.pipeline.detect import Detect
from service.pipeline.rule_runner import RuleRunner
from service.reports.explain import explained, worded

RULE = """
groups:
  - name: test
    rules:
      - alert: ToolsFail
        detector: errors
        by: [tenant]
        budget: 1/week
        effect: 2x
        overrides:
          - match: {tenant: acme}
            effect: EFFECT
"""


def runner(effect: str) -> RuleRunner:
    (rule,) = parse_rules(RULE.replace("EFFECT", effect), "test.yaml").rules
    return RuleRunner(rule)


def slot(start_ns: int, cells: SeriesTable, *tenants: str) -> Slot:
    """Ten calls of each tenant."""
    ids = np.array(
        sorted(cells.id_of((t, "", "tool", "", "", "", "", "", "", ""), start_ns) for t in tenants), np.int32
    )
    ten, zero = np.full(len(ids), 10.0), np.zeros(len(ids))
    none = Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    ended = Entries(ids, np.full(len(ids), PLACES + 250, np.int32), ten)  # Sessions of about two calls.
    return Slot(start_ns, ids, ten, ten, zero, zero, zero, zero, zero, zero, zero, none, none, none, lengths=ended)


def asked(one: RuleRunner, tenant: str) -> float:
    """The ratio that the detector is asked of a tenant's series."""
    assert isinstance(one.detector, FastEngine)
    row = one.view.series.id_of((tenant,), 0)
    return float(one.detector.signal.gates.ratios(np.array([row], np.int32))[0])


def test_an_override_is_asked_of_its_series() -> None:
    """Of the series it matches, whenever they are met, and of no other."""
    cells, one = SeriesTable(CELL_LABELS, 100), runner("1.5x")
    one.view.add(slot(0, cells, "globex"), cells)
    one.tick(0)
    one.view.add(slot(TICK_NS, cells, "acme", "globex"), cells)
    one.tick(TICK_NS)
    assert (asked(one, "acme"), asked(one, "globex")) == (1.5, 2.0)


@pytest.mark.parametrize(("now", "ratio"), [("3x", 3.0), ("2x", 2.0)])
def test_a_changed_override_counts_after_a_restart(now: str, ratio: float) -> None:
    """What is asked follows from the rule as it is now (`2x` is no exception), not from the one it was saved under."""
    cells, before = SeriesTable(CELL_LABELS, 100), runner("1.5x")
    before.view.add(slot(0, cells, "acme"), cells)
    before.tick(0)
    after = runner(now)
    after.view.restore(before.view.snapshot())
    after.detector.restore(before.detector.snapshot())
    after.view.add(slot(TICK_NS, cells, "acme"), cells)
    after.tick(TICK_NS)
    assert (asked(before, "acme"), asked(after, "acme")) == (1.5, ratio)


def test_a_series_of_the_open_tick_hides_no_other() -> None:
    """A series that the detector has not met yet has no levels; those of the others are shown."""
    cells, one = SeriesTable(CELL_LABELS, 100), runner("1.5x")
    one.view.add(slot(0, cells, "acme"), cells)
    one.tick(0)
    one.view.add(slot(TICK_NS, cells, *(f"tenant-{i}" for i in range(50))), cells)
    ratios = dict(zip(one.level().labels, one.level().gauges["error_ratio"].tolist(), strict=True))
    assert ratios["acme",] == 0.0
    assert np.isnan(ratios["tenant-0",])


def test_idle_minutes_pass_in_one_step() -> None:
    """A day in which nothing counted and nothing is open is not stepped through."""
    rules = combine([parse_rules(RULE.replace("EFFECT", "1.5x"), "test.yaml")])
    detect, cells = Detect(rules), SeriesTable(CELL_LABELS, 9)
    detect.add(slot(0, cells, "acme"), cells)
    assert len(list(detect.advance(86_400 * 10**9 + SLOT_NS))) == 1
    assert detect.open_ns == 86_400 * 10**9


EACH = """
groups:
  - name: each
    rules:
      - {{alert: One, detector: {detector}, by: [tenant]{fields}}}
"""
LEAST = {
    "slo": "by: [tenant], signal: error_ratio, objective: 99%",
    "telemetry": "budget: 1/week",
    "versions": "by: [tenant, agent_version], budget: 1/week",
}
"""What a rule must say that is of no other kind."""


def each(detector: str) -> Rule:
    """The least that a rule with this detector must say."""
    described = descriptor(detector)
    assert described is not None
    fields = ", signal: calls_per_minute, window: 1m" if described.takes_signal else ""
    fields += ", above: 3" if described.limit else ", budget: 1/week"
    text = EACH.format(detector=detector, fields=fields)
    if detector in LEAST:
        text = EACH.replace("by: [tenant]{fields}", LEAST[detector]).format(detector=detector)
    (rule,) = parse_rules(text, "test.yaml").rules
    return rule


@pytest.mark.parametrize("detector", words())
def test_every_detector_of_the_rule_language_is_watched_shown_and_saved(detector: str) -> None:
    """Built as its rule says, fed, its gauges known to the metrics, its state taken back."""
    cells, one = SeriesTable(CELL_LABELS, 9), RuleRunner(each(detector))
    for minute in range(5):
        one.view.add(slot(minute * TICK_NS, cells, "acme"), cells)
        one.tick(minute * TICK_NS)
        one.look(minute * TICK_NS, came=True)
    level = one.level()
    assert level.labels in ((("acme",),), ((),), (("acme", ""),))
    assert set(level.gauges) <= set(one.rule.described.gauges)
    finite = any(np.isfinite(values).any() for values in level.gauges.values())
    assert ("acme" in level_text([level])) == bool(level.rule.by and finite)
    assert ("acme" if level.rule.by else "everything: ") in "".join(worded(explained(level, {})))
    again = RuleRunner(each(detector))
    again.view.restore(one.view.snapshot())
    again.detector.restore(one.detector.snapshot())
    for name, values in again.level().gauges.items():
        np.testing.assert_array_equal(values, level.gauges[name])


def test_silence_is_judged_while_others_are_heard() -> None:
    """An absent series of one rule pages in ticks that only other rules' series fill, and is told as silence."""
    rules = combine([parse_rules(EACH.format(detector="absence", fields=", select: 'tenant=\"acme\"', budget: 1/week"),
                                 "test.yaml")])  # fmt: skip
    detect, cells, minutes = Detect(rules), SeriesTable(CELL_LABELS, 9), 9 * 1440
    told: list[Transition] = []
    for minute in range(minutes + 60):
        for moved in detect.advance(minute * TICK_NS):
            told += moved.transitions
        detect.add(slot(minute * TICK_NS, cells, *(("acme", "globex") if minute < minutes else ("globex",))), cells)
    assert [one.after for one in told] == [AlertState.FIRING]
    assert told[0].finding is not None and "would have come" in told[0].finding.detail
    assert told[0].at_ns < (minutes + 30) * TICK_NS


def failing(start_ns: int, cells: SeriesTable, failed: float) -> Slot:
    """Ten calls of one tenant, so many of them failed."""
    return replace(slot(start_ns, cells, "acme"), failed=np.array([failed]))


def test_an_outage_pages_from_a_slot() -> None:
    """Between two ticks, at the end of the fourth slot in which everything failed; a rule with `for` waits instead."""
    for waits, paged in (("", [4]), ("        for: 5m\n", [])):
        text = RULE.replace("EFFECT", "1.5x").replace("        effect: 2x\n", "        effect: 2x\n" + waits)
        detect, cells = Detect(combine([parse_rules(text, "test.yaml")])), SeriesTable(CELL_LABELS, 9)
        day = 6 * 1440 * SLOT_NS
        for start_ns in range(0, 3 * day, 6 * SLOT_NS):
            assert not [moved for moved in detect.advance(start_ns) if moved.transitions]
            detect.add(failing(start_ns, cells, float(start_ns % (60 * SLOT_NS) == 0)), cells)
        list(detect.advance(3 * day))
        told = [detect.add(failing(3 * day + i * SLOT_NS, cells, 10.0), cells) for i in range(5)]
        assert [i + 1 for i, moved in enumerate(told) if moved] == paged


BUSY = """
groups:
  - name: test
    rules:
      - {alert: Busy, detector: static, signal: calls_per_minute, above: 5, window: 1m, by: [tenant], expire_after: 1h}
"""


def test_the_alert_of_an_agent_that_is_gone_expires() -> None:
    """Once nothing of it came for `expire_after` while others spoke; time in which nobody spoke does not count."""
    detect, cells = Detect(combine([parse_rules(BUSY, "test.yaml")])), SeriesTable(CELL_LABELS, 100)
    minute, hour = TICK_NS, 60 * TICK_NS
    moved: list[Transition] = []

    def at(start_ns: int, *tenants: str) -> None:
        for tick in detect.advance(start_ns):
            moved.extend(tick.transitions)
        detect.add(slot(start_ns, cells, *tenants), cells)

    at(0, "gone", "other")
    for start_ns in range(minute, 30 * minute, minute):
        at(start_ns, "other")
    at(10 * hour, "other")  # Nobody spoke for hours.
    for start_ns in range(10 * hour + minute, 10 * hour + 29 * minute, minute):
        at(start_ns, "other")
    assert not any(one.reason for one in moved)
    for start_ns in range(10 * hour + 29 * minute, 10 * hour + 33 * minute, minute):
        at(start_ns, "other")
    (closed,) = [one for one in moved if one.reason]
    assert closed.labels == (("tenant", "gone"),) and closed.after is AlertState.INACTIVE
    assert closed.reason == "expired, as nothing of it came for 1 h"
    assert [alert for runner in detect.runners for alert in runner.alerts] != []  # The other's lasts.
