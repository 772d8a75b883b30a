"""Links of a page: filled in with what is known, never with a way out of their place, absent where none are set."""

from typing import Any

import pytest

from alertrules.links import WORDS, Links, linked, template
from alertrules.notice import Notice, NoticeAlert, Status, from_json, to_json

MINUTE_NS = 60 * 10**9


def notice(**alert: Any) -> Notice:
    fields: dict[str, Any] = {
        "alert_id": "1f0c", "rule": "ToolErrors", "severity": "page", "labels": (("agent", "a&b"), ("tenant", "acme")),
        "title": "t", "line": "l", "runbook": "", "began_ns": 100 * MINUTE_NS, "ended_ns": 0,
        "examples": (("failed", "ab" * 16),),
    }  # fmt: skip
    one = NoticeAlert(**(fields | alert))
    return Notice("n", "oncall", "g", Status.FIRING, "page", "ToolErrors", "t", ("l",), (), 110 * MINUTE_NS,
                  100 * MINUTE_NS, "", ("1f0c",), alerts=(one,))  # fmt: skip


def test_all_of_them() -> None:
    """Values are quoted; the dashboard begins an hour before and ends with the alert, or now."""
    links = Links(
        trace="https://t/{trace_id}", dashboard="https://g/d?var-agent={agent}&from={from_ms}&to={to_ms}",
        alert="https://x/{alert_id}", runbook="https://r/{rule}", silence="https://s/#{labels}",
    )  # fmt: skip
    made = linked(notice(), links)
    assert made.alerts[0].links == (
        ("dashboard", f"https://g/d?var-agent=a%26b&from={40 * 60_000}&to={110 * 60_000}"),
        ("alert", "https://x/1f0c"), ("runbook", "https://r/ToolErrors"),
        ("silence", "https://s/#agent%3Da%26b%2Ctenant%3Dacme"), ("failed trace", f"https://t/{'ab' * 16}"),
    )  # fmt: skip
    assert made.runbook == "https://r/ToolErrors"
    assert from_json(to_json(made)) == made
    annotations = made.alerts[0].annotations()
    assert annotations["link_failed_trace"].endswith("ab") and annotations["trace_failed"] == "ab" * 16
    assert annotations["runbook_url"] == "https://r/ToolErrors" and "link_runbook" not in annotations


def test_none_are_set() -> None:
    """Nothing changes."""
    one = notice()
    assert linked(one, Links()) is one


def test_a_rules_own_runbook_stays() -> None:
    one = notice()
    own = Notice(**{**vars(one), "runbook": "https://own"})
    assert linked(own, Links(runbook="https://r/{rule}")).runbook == "https://own"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://t/{trace}", r'"\{trace\}" is not filled in; write one of \{agent\}'),
        ("https://t/{agent!r}", "is not filled in"), ("https://t/{agent.x}", "is not filled in"),
        ("https://t/{}", "is not filled in"), ("https://t/{agent", "a brace is not closed"),
        ("javascript:alert(1)", "is not a link"), ("https://t/<b>", "is not a link"), ("https://t/ x", "is not a link"),
    ],
)  # fmt: skip
def test_templates_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        template(text, WORDS)
