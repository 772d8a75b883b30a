"""What people may say of pages and series, how it is refused, and how a rule's account follows."""

import pytest

from alertrules.ledger import Ledger, Page
from alertrules.marks import Kind, Mark, mark_from
from detectors.core.columns import SECOND_NS

RULES = {"Tools": ("tenant", "agent")}
NOW_NS = 1_790_000_000 * SECOND_NS
ID = "1f0c3a2b" * 8


def said(**written: object) -> Mark:
    return mark_from(written, RULES, NOW_NS)


def test_a_page_is_named_by_the_beginning_of_its_id() -> None:
    mark = said(mark="noise", alert="1F0C3A2B", by="anna", note="a deploy")
    assert (mark.kind, mark.alert, mark.by, mark.note) == (Kind.NOISE, "1f0c3a2b", "anna", "a deploy")


def test_a_window_has_a_beginning_and_a_length() -> None:
    now = said(mark="expected", rule="Tools", series={"agent": "support"}, **{"for": "2h"})
    assert (now.from_ns, now.until_ns) == (NOW_NS, NOW_NS + 7200 * SECOND_NS)
    planned = said(mark="expected", rule="Tools", **{"for": "30m", "from": "2026-11-23T18:00:00+01:00"})
    assert planned.from_ns == 1_795_453_200 * SECOND_NS
    assert now.covers(("tenant", "agent"), ("acme", "support"))
    assert not now.covers(("tenant", "agent"), ("acme", "sales"))


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("noise", "a mark is an object"),
        ({"mark": "nose", "alert": ID}, "'nose' is not one of incident, noise, expected, new_normal"),
        ({"mark": "noise"}, 'write either "alert"'),
        ({"mark": "noise", "alert": ID, "rule": "Tools"}, 'write either "alert"'),
        ({"mark": "noise", "alert": "1f0c"}, "first 8 or more hex digits"),
        ({"mark": "noise", "alert": "<script>"}, "first 8 or more hex digits"),
        ({"mark": "noise", "rule": "Tools"}, '"noise" is said of one page'),
        ({"mark": "new_normal", "rule": "Tolls"}, '"Tolls" is no rule; there are Tools'),
        ({"mark": "new_normal", "rule": "Tools", "series": {"model": "x"}}, "they have tenant, agent"),
        ({"mark": "new_normal", "rule": "Tools", "series": ["x"]}, "is not an object of texts"),
        ({"mark": "expected", "rule": "Tools"}, "None is not a duration"),
        ({"mark": "expected", "rule": "Tools", "for": "31d"}, "at most 30d"),
        ({"mark": "expected", "rule": "Tools", "for": "1h", "from": "noon"}, '"noon" is not a time'),
        ({"mark": "expected", "rule": "Tools", "for": "1h", "from": "2026-03-29T02:30"}, "has no zone; write"),
        ({"mark": "expected", "rule": "Tools", "for": "1h", "from": "2026-03-29"}, "has no zone; write"),
        ({"mark": "noise", "alert": ID, "for": "1h"}, 'only "expected" is a window'),
        ({"mark": "noise", "alert": ID, "until": "1h"}, '"until" is no field of a mark'),
        ({"mark": "noise", "alert": 7}, "7 is not text"),
    ],
)
def test_what_is_refused_is_explained(written: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        mark_from(written, RULES, NOW_NS)


def test_the_latest_word_on_a_page_counts_and_the_account_is_kept() -> None:
    """One page is never both noise and an incident; the account goes on after a restart."""
    ledger = Ledger()
    ledger.tick(NOW_NS)
    for number in range(3):
        ledger.page(Page(f"{number}" * 64, (("agent", "support"),), NOW_NS))
    for kind in (Kind.INCIDENT, Kind.NOISE):
        ledger.mark(said(mark=kind.value, alert="1" * 8), next(ledger.named("1" * 8)))
    ledger.tick(NOW_NS + 7 * 86_400 * SECOND_NS)
    again = Ledger.resume(ledger.state())
    assert again.sums() == ledger.sums()
    assert (again.sums().paged, again.sums().noise, again.sums().incident, again.sums().weeks) == (3, 1, 0, 1.0)
    assert again.marks == ledger.marks and again.pages == ledger.pages
