"""Maintenance windows: they count from the moment they were made, and outlive an edit of their rule."""

from dataclasses import replace
from typing import Any

import pytest

from alertrules.lifecycle import AlertState
from alertrules.marks import Mark, mark_from
from alertrules.parse import RuleErrors, RuleSet, combine, parse_rules
from detectors.core.columns import CELL_LABELS, SECOND_NS, SLOT_NS, TICK_NS
from detectors.core.series import SeriesTable
from service.pipeline.detect import Detect
from tests.service.test_detect import slot

BEGIN_NS = 29_000_000 * TICK_NS
RULE = """
groups:
  - name: test
    rules:
      - {alert: Fails, detector: static, signal: error_ratio, above: 20%, window: 1m, by: [tenant]}
"""


def rules(text: str = RULE) -> RuleSet:
    return combine([parse_rules(text, "test.yaml")])


def window(at_s: int, name: str = "Fails") -> Mark:
    """Two hours for acme, made so many seconds after the beginning."""
    asked = {"mark": "expected", "rule": name, "series": {"tenant": "acme"}, "for": "2h"}
    return mark_from(asked, {name: ("tenant",)}, BEGIN_NS + at_s * SECOND_NS)


class Minutes:
    """A detector fed minute by minute."""

    def __init__(self, text: str = RULE) -> None:
        self.detect, self.cells, self.now_ns = Detect(rules(text)), SeriesTable(CELL_LABELS, 100), BEGIN_NS

    def pass_slots(self, count: int, failed: float) -> list[str]:
        """Slots of two tenants; whose alerts began to fire."""
        fired: list[str] = []
        for _ in range(count):
            moved = [*self.detect.advance(self.now_ns)]
            one = slot(self.now_ns, self.cells, "acme", "globex")
            moved += self.detect.add(replace(one, failed=one.failed + failed), self.cells)
            self.now_ns += SLOT_NS
            for step in [step for each in moved for step in each.transitions]:
                if step.after is AlertState.FIRING:
                    fired.append(dict(step.labels)["tenant"])
        return fired

    def restarted(self, text: str) -> tuple[str, ...]:
        arrays: dict[str, Any] = self.detect.snapshot()
        alerts = self.detect.alerts()
        self.detect = Detect(rules(text))
        return self.detect.restore(arrays, alerts)


@pytest.mark.parametrize("second", [0, 1, 15, 31, 59])
def test_a_window_counts_from_its_mark_on(second: int) -> None:
    """Also for what fails in the rest of that minute."""
    minutes = Minutes()
    assert minutes.pass_slots(6, 0.0) == []
    minutes.detect.mark(window(60 + second))
    minutes.pass_slots(-(-second // 10), 0.0)
    assert set(minutes.pass_slots(18, 9.0)) == {"globex"}


@pytest.mark.parametrize("now", [RULE.replace("20%", "30%"), RULE.replace("window: 1m", "window: 2m"),
                                 RULE.replace("by: [tenant]", "by: [tenant], select: {operation: tool}")])  # fmt: skip
def test_a_window_outlives_an_edit(now: str) -> None:
    """Though what the rule has learnt does not."""
    minutes = Minutes()
    minutes.pass_slots(6, 0.0)
    answer, _ = minutes.detect.mark(window(60))
    assert answer.message.startswith("expected: 1 series of Fails, from ") and "UTC" in answer.message
    minutes.restarted(now)
    assert set(minutes.pass_slots(30, 9.0)) == {"globex"}
    assert len(minutes.detect.runners[0].ledger.marks) == 1


def test_a_renamed_rule_keeps_its_windows() -> None:
    """And its account. It learns anew, and what was open under its old name is closed."""
    minutes = Minutes()
    minutes.pass_slots(6, 0.0)
    minutes.detect.mark(window(60))
    assert set(minutes.pass_slots(12, 9.0)) == {"globex"}
    assert minutes.restarted(RULE.replace("Fails", "Failing")) == ("Failing",)
    (runner,) = minutes.detect.runners
    assert (runner.ledger.paged, runner.ledger.marks[0].rule, len(minutes.detect.orphans)) == (1, "Failing", 1)
    assert set(minutes.pass_slots(18, 9.0)) == {"globex"}


def test_a_rule_like_two_others_is_nobodys_heir() -> None:
    """Which of them it was cannot be told."""
    line = RULE.splitlines()[-1]
    two = RULE + line.replace("Fails", "Others") + "\n"
    minutes = Minutes(two)
    minutes.detect.mark(window(0))
    assert minutes.restarted(RULE.replace("Fails", "Third")) == ("Third",)
    assert minutes.detect.runners[0].ledger.marks == []


def test_a_rule_that_says_what_it_was_keeps_what_it_learnt() -> None:
    """Series, state and the open alert, which goes on; and if it asks something else, its account and marks alone."""
    minutes = Minutes()
    assert set(minutes.pass_slots(12, 9.0)) == {"acme", "globex"}
    before = minutes.detect.runners[0]
    renamed = RULE.replace("alert: Fails", "alert: Failing, was: Fails")
    assert minutes.restarted(renamed) == ()
    (after,) = minutes.detect.runners
    assert after.view.series.rows().tolist() == before.view.series.rows().tolist()
    assert (after.ledger.paged, minutes.detect.orphans) == (2, [])
    assert [alert.alert_id for alert in after.alerts.values()] == [a.alert_id for a in before.alerts.values()]
    assert minutes.pass_slots(12, 9.0) == []
    assert minutes.restarted(renamed) == ()  # It may stay there for good.
    assert minutes.restarted(renamed.replace("window: 1m", "window: 2m")) == ("Failing",)
    assert (minutes.detect.runners[0].ledger.paged, len(minutes.detect.orphans)) == (2, 2)


def test_what_a_rule_learnt_goes_to_one_rule() -> None:
    """Neither to two that say they were it, nor to one while it is still there."""
    line = RULE.splitlines()[-1]
    heir = line.replace("alert: Fails", "alert: Heir, was: Fails")
    with pytest.raises(RuleErrors, match=r'was: "Fails" is the rule at test\.yaml:5; what it learnt goes to one rule'):
        rules(RULE + heir + "\n")
    both = RULE.replace(line, heir + "\n" + heir.replace("Heir", "Other"))
    with pytest.raises(RuleErrors, match=r"was: the rule at test\.yaml:5 was that, too; what it learnt goes to one"):
        rules(both)
