"""Pages held against what was injected."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.bench.fleet.laws import MINUTE_S, RULE_OF, Blip, Incident, World

AFTERMATH_S = 60 * MINUTE_S
"""A page within so long of an incident's end tells of it: runs of evidence outlast what began them."""


@dataclass(frozen=True)
class Page:
    """One page as on-call had it, in seconds of the recording."""

    rule: str
    agent: str
    tenant: str
    at_s: float
    began_s: float
    lines: tuple[str, ...]

    def tells_of(self, incident: Incident) -> bool:
        """Whether this page and that incident are of one agent, of no two tenants, and of one time."""
        mine = incident.agent == self.agent and (not incident.tenant or self.tenant in ("", incident.tenant))
        return mine and incident.start_s <= self.at_s and self.began_s <= incident.end_s + AFTERMATH_S

    def in_blip(self, blip: Blip) -> bool:
        return blip.start_s - 120 <= self.at_s <= blip.end_s + 30 * MINUTE_S


def pages_of(requests: Sequence[tuple[str, bytes]], world: World) -> list[Page]:
    """The first trigger of each page, from what PagerDuty was sent."""
    found: list[Page] = []
    open_keys: set[str] = set()
    for _, raw in requests:
        event: dict[str, Any] = json.loads(raw)
        if event["event_action"] == "resolve":
            open_keys.discard(event["dedup_key"])
        elif event["dedup_key"] not in open_keys:
            open_keys.add(event["dedup_key"])
            payload = event["payload"]
            details = payload["custom_details"]
            at_s, began_s = (
                datetime.fromisoformat(when).timestamp() - world.began_s
                for when in (payload["timestamp"], details["began"])
            )
            labels = details["labels"]
            found.append(
                Page(payload["class"], labels["agent"], labels.get("tenant", ""), at_s, began_s,
                     tuple(details["changed"]))
            )  # fmt: skip
    return found


@dataclass(frozen=True)
class Account:
    """What became of one incident: minutes to the first page by the rule that is for it, and all pages it cost.

    touched  model calls that it touched: what there was to find it by
    """

    incident: Incident
    touched: int
    minutes: float | None
    any_minutes: float | None
    pages: int


def accounts(pages: Sequence[Page], world: World, touched: Mapping[str, int]) -> list[Account]:
    """One for each incident."""
    found = []
    for incident in world.incidents:
        mine = [page for page in pages if page.tells_of(incident)]
        by_rule = [page.at_s for page in mine if page.rule == RULE_OF[incident.kind]]
        every = [page.at_s for page in mine]
        found.append(
            Account(
                incident,
                touched.get(incident.name, 0),
                (min(by_rule) - incident.start_s) / MINUTE_S if by_rule else None,
                (min(every) - incident.start_s) / MINUTE_S if every else None,
                len(mine),
            )
        )
    return found


def false_pages(pages: Sequence[Page], world: World) -> list[Page]:
    """Pages that no incident explains."""
    return [page for page in pages if not any(page.tells_of(one) for one in world.incidents)]
