"""What people and pipelines tell of changes: read, or refused with what to write instead."""

from typing import Any

import pytest

from alertrules.changes import change_from
from detectors.core.columns import SECOND_NS

NOW_NS = 1_790_000_000 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


def test_in_our_words() -> None:
    """A line, its labels and a link; without a time it is now."""
    change = change_from({"summary": "support v2.4", "labels": {"agent": "support"}, "link": "https://ci/1"}, NOW_NS)
    assert (change.at_ns, change.summary, change.link) == (NOW_NS, "support v2.4", "https://ci/1")
    assert change.labels == (("agent", "support"),)
    assert change_from({"summary": "x", "at": "2026-09-21T12:00:00Z", "by": "ci"}, NOW_NS).summary == "x, by ci"


def test_as_pagerduty_has_it() -> None:
    """The documented body of a change event, with labels among its details."""
    event = {
        "routing_key": "R0",
        "payload": {
            "summary": "Build success", "timestamp": "2026-09-21T13:00:00.000Z", "source": "acme-build",
            "custom_details": {"agent": "support", "build_number": "220"},
        },
        "links": [{"href": "https://ci.example.com/220", "text": "build"}],
    }  # fmt: skip
    change = change_from(event, NOW_NS)
    assert (change.summary, change.link) == ("Build success", "https://ci.example.com/220")
    assert change.labels == (("agent", "support"),) and change.at_ns == 1_789_995_600 * SECOND_NS


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([], "a change is an object"), ({}, '"summary" is missing'), ({"summary": 3}, "summary: 3 is not text"),
        ({"summary": "x", "sumary": "y"}, '"sumary" is not a field of a change; there are summary'),
        ({"summary": "x", "labels": {"team": "a"}}, '"team" is not a label; there are tenant, agent'),
        ({"summary": "x", "labels": ["agent"]}, "is not an object of texts"),
        ({"summary": "x", "at": "noon"}, 'at: "noon" is not a time'),
        ({"summary": "x", "at": "2020-01-01T00:00:00Z"}, "is not of the last 30 days"),
        ({"summary": "x", "at": "2036-01-01T00:00:00Z"}, "or of the next hour"),
        ({"payload": {"summary": None}}, "is not text"),
    ],
)  # fmt: skip
def test_what_is_refused(written: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        change_from(written, NOW_NS)
