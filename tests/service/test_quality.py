"""What pages were worth, by what people said of them."""

from dataclasses import replace

import numpy as np
import pytest

from alertrules.ledger import WEEK_NS, Page
from alertrules.marks import mark_from
from detectors.core.columns import SECOND_NS
from service.pipeline.rule_runner import Level
from service.reports.quality import Verdict, quality, verdict, worded
from tests.service.test_windows import BEGIN_NS, RULE, Minutes

NOW_NS = BEGIN_NS + WEEK_NS
TEAMS = """
groups:
  - name: test
    rules:
      - {alert: Fails, detector: static, signal: error_ratio, above: 20%, by: [tenant], labels: {team: shop}}
      - {alert: Errors, detector: errors, effect: 2x, budget: 2/week, by: [tenant], labels: {team: shop}}
      - {alert: Slow, detector: latency, effect: 2x, budget: 1/week, by: [tenant]}
"""
SAID = ("incident", "incident", "incident", "noise", "expected", "ack", "")
"""What was said of the pages of `Errors`, half a minute after the event, one an hour."""


def levels() -> list[Level]:
    minutes = Minutes(TEAMS)
    fails, errors, slow = minutes.detect.runners
    for runner in (fails, errors, slow):
        runner.ledger.tick(BEGIN_NS)
        runner.ledger.tick(NOW_NS)
    for number, said in enumerate(SAID):
        at_ns = BEGIN_NS + (number + 1) * 3_600 * SECOND_NS
        page = Page(f"{number:064x}", (("tenant", "acme"),), at_ns, began_ns=at_ns - 30 * SECOND_NS)
        errors.ledger.page(page)
        if said == "ack":
            errors.ledger.acknowledge(page.alert_id, "anna")
        elif said:
            asked = {"mark": said, "alert": page.alert_id} | ({"for": "1h"} if said == "expected" else {})
            errors.ledger.mark(mark_from(asked, {"Errors": ("tenant",)}, at_ns), page)
    fails.ledger.page(Page("f" * 64, (("tenant", "globex"),), BEGIN_NS - WEEK_NS))
    return [runner.level() for runner in (fails, errors, slow)]


def test_each_page_has_one_verdict() -> None:
    pages = levels()[1].pages
    assert [verdict(page).value for page in pages] == [*SAID[:5], "acknowledged", "never_looked_at"]


def test_by_rule() -> None:
    """Precision is of the pages that were judged, and the older page of another rule is not of these weeks."""
    errors, fails, slow = quality(levels(), NOW_NS, 1.0)["groups"]
    assert (errors["name"], errors["pages"], errors["precision"]) == ("Errors", 7, 0.75)
    assert 0.2 < errors["precision_from"] < 0.75 < errors["precision_to"] < 1.0
    assert (errors["false_pages_per_week"], errors["budget_per_week"], errors["median_delay_s"]) == (1.0, 2.0, 30.0)
    assert (fails["pages"], fails["precision"], fails["budget_per_week"]) == (0, None, None)
    assert (slow["pages"], slow["false_pages_per_week"]) == (0, 0.0)


def test_by_team() -> None:
    """Rules without the label are a group of their own."""
    nobody, shop = quality(levels(), NOW_NS, 4.0, "team")["groups"]
    assert (nobody["name"], nobody["rules"]) == ("", ["Slow"])
    assert (shop["rules"], shop["pages"], shop["budget_per_week"]) == (["Fails", "Errors"], 8, 2.0)


def test_what_to_change_and_what_never_paged() -> None:
    found = quality(levels(), NOW_NS, 4.0)
    assert [one["rule"] for one in found["never_fired"]] == ["Slow"]
    (noisy,) = found["noisiest"]
    assert (noisy["rule"], noisy["labels"], noisy["noise"]) == ("Errors", {"tenant": "acme"}, 1)
    assert "overrides of Errors for tenant: acme" in noisy["change"]


def test_in_words() -> None:
    """A rule whose pages nobody judged has no precision, and says so."""
    said = "\n".join(worded(quality(levels(), NOW_NS, 4.0)))
    assert "Errors: 7 pages (3 incident, 1 noise, 1 expected, 1 acknowledged, 1 never looked at)" in said
    assert "precision 75%" in said and "1 pages a week called noise, of a budget of 2" in said
    assert "from the event to the page: 0.5 min (median)" in said
    assert "precision unknown: nobody said of any page whether it was an incident or noise" in said
    assert "never paged, and have judged no series yet: Slow" in said


def test_what_a_rule_that_never_pages_could_see() -> None:
    """The median of its series that are judged; those that learn say nothing."""
    fails, errors, slow = levels()
    nan = float("nan")
    sees = {"visible_1h": np.array([4.0, 2.0, nan]), "visible_24h": np.full(3, nan)}
    gauges = {"warm": np.array([1.0, 1.0, 0.0]), **sees}
    slow = replace(slow, gauges=gauges, labels=(("acme",), ("globex",), ("young",)))
    found = quality([fails, errors, slow], NOW_NS, 4.0)
    (told,) = found["never_fired"]
    assert (told["series_judged"], told["sees"]) == (2, {"1h": "3x"})
    assert "Slow never paged in 1 weeks: nothing" in (said := "\n".join(worded(found))) and "see 3x within 1h" in said


def test_what_was_said_outlives_a_restart() -> None:
    """Also who acknowledged; and pages that a version before saved are read."""
    minutes = Minutes(RULE)
    (runner,) = minutes.detect.runners
    runner.ledger.page(Page("a" * 64, (("tenant", "acme"),), NOW_NS, began_ns=NOW_NS - 5))
    runner.ledger.acknowledge("a" * 64, "anna")
    runner.ledger.acknowledge("a" * 64, "ben")
    runner.ledger.acknowledge("b" * 64, "ben")
    state = runner.ledger.state()
    (page,) = type(runner.ledger).resume(state).pages.values()
    assert (page.acknowledged_by, page.began_ns, verdict(page)) == ("anna", NOW_NS - 5, Verdict.ACKNOWLEDGED)
    state["pages"] = [one[:4] for one in state["pages"]]
    (before,) = type(runner.ledger).resume(state).pages.values()
    assert before == replace(page, began_ns=0, acknowledged_by="")


@pytest.mark.parametrize("weeks", [0.01, 500.0])
def test_any_span(weeks: float) -> None:
    """Numbers stay finite where nothing was counted."""
    assert all(group["pages"] >= 0 for group in quality(levels(), NOW_NS, weeks)["groups"])
