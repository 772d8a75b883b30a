"""What people and pipelines tell of changes, as a deploy: a page that comes soon after names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alertrules.lifecycle import Labels
from alertrules.marks import labels_said, moment, said
from alertrules.wording import TITLE_LENGTH_MAX, clean, utc
from detectors.core.columns import CELL_LABELS, SECOND_NS

LABELS = tuple(name for name in CELL_LABELS if name != "metric")
AGE_MAX_NS, AHEAD_MAX_NS = 30 * 86_400 * SECOND_NS, 3600 * SECOND_NS
KEYS = ("summary", "at", "labels", "link", "by")
EXAMPLE = '{"summary": "support-agent v2.4", "labels": {"agent": "support"}}'


@dataclass(frozen=True)
class Change:
    """A deploy, or another change that somebody told of.

    summary  what it is, in a line
    labels   of the series that it may concern: agent, tenant and the like; none for all
    link     where more stands; empty for nowhere
    """

    at_ns: int
    summary: str
    labels: Labels = ()
    link: str = ""


def change_from(written: object, now_ns: int) -> Change:
    """The change that a request means: in our words, or as PagerDuty's change events have it.

    Raises ValueError with a sentence that says what was read and what to write instead.
    """
    if not isinstance(written, Mapping):
        raise ValueError(f"a change is an object; write {EXAMPLE}")
    if isinstance(written.get("payload"), Mapping):
        written = _of_pagerduty(written, written["payload"])
    if unknown := [str(key)[:80] for key in written if key not in KEYS]:
        raise ValueError(f'"{unknown[0]}" is not a field of a change; there are {", ".join(KEYS)}')
    summary = said(written, "summary")
    if not summary:
        raise ValueError(f'"summary" is missing, what changed in a line; write {EXAMPLE}')
    at_ns = moment(written, now_ns, "at")
    if not now_ns - AGE_MAX_NS <= at_ns <= now_ns + AHEAD_MAX_NS:
        raise ValueError(f"at: {utc(at_ns)} is not of the last 30 days, or of the next hour")
    by = said(written, "by")
    return Change(at_ns, f"{summary}, by {by}" if by else summary, _labels(written), said(written, "link"))


def _of_pagerduty(event: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """A change event (PagerDuty, Events API v2, change events) in our words; its details name labels."""
    details, links = payload.get("custom_details"), event.get("links")
    labels = {name: value for name, value in details.items() if name in LABELS} if isinstance(details, Mapping) else {}
    link = links[0].get("href", "") if isinstance(links, list) and links and isinstance(links[0], Mapping) else ""
    found = {"summary": payload.get("summary", ""), "labels": labels, "link": link}
    return found | ({"at": payload["timestamp"]} if payload.get("timestamp") else {})


def _labels(written: Mapping[str, Any]) -> Labels:
    labels = labels_said(written, "labels")
    for name, _ in labels:
        if name not in LABELS:
            raise ValueError(f'"{name[:80]}" is not a label; there are {", ".join(LABELS)}')
    return tuple((name, clean(value, TITLE_LENGTH_MAX)) for name, value in labels if value)
