"""What one receiver is told about one group of alerts."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from alertrules.lifecycle import Labels, labels_from


class Status(StrEnum):
    FIRING = "firing"
    STILL_FIRING = "still_firing"  # A day old: told once more, then muted.
    RESOLVED = "resolved"
    OVER = "over"  # Resolved before it could be told that it fired.
    REPORT = "report"  # No alert, but what somebody asked to read each week. It is in no outbox.


@dataclass(frozen=True)
class NoticeAlert:
    """One alert of a notice, for destinations that take alerts one by one.

    labels    those of its series and the rule's own
    line      what changed, by how much, since when, over how many
    began_ns  start of its run of evidence
    ended_ns  when it closed; 0 while it is open
    description  the rule's, filled in; empty where it has none
    cause     what explains most of the change, in a few words; empty where nothing does
    examples  traces worth a look: slowest, failed or dearest, and the trace's id
    trend     its level over the last two hours, a character for ten minutes; empty where that is not known
    runbook   the rule's address of what to do, or the operator's template filled in; empty where there is none
    links     names and addresses, as the operator's templates have them
    """

    alert_id: str
    rule: str
    severity: str
    labels: Labels
    title: str
    line: str
    runbook: str
    began_ns: int
    ended_ns: int
    description: str = ""
    cause: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    trend: str = ""
    links: tuple[tuple[str, str], ...] = ()

    @property
    def other_links(self) -> tuple[tuple[str, str], ...]:
        """Its links, the runbook's apart: that has a place of its own."""
        return tuple((name, address) for name, address in self.links if name != "runbook")

    def annotations(self) -> dict[str, str]:
        """Its words by the names that Alertmanager's users know; `change` is the line, where a rule describes more."""
        told = {"summary": self.title, "description": self.description or self.line}
        told |= {"change": self.line} if self.description else {}
        told |= {"cause": self.cause} if self.cause else {}
        told |= {"trend": self.trend} if self.trend else {}
        told |= {f"trace_{what}": trace for what, trace in self.examples}
        told |= {f"link_{name.replace(' ', '_')}": address for name, address in self.other_links}
        return told | ({"runbook_url": self.runbook} if self.runbook else {})


@dataclass(frozen=True)
class Notice:
    """What one receiver is told. `notice_id` is a hash of the facts, so a replayed notice has the same id.

    group      names the group for the destination: the same for its page and its resolve, 64 hex digits
    title      one line, plain text, cleaned of control characters but not escaped for any destination
    lines      one a member alert: what changed, by how much, since when, over how many
    labels     the group's labels
    at_ns      end of the tick that caused it
    began_ns   start of the earliest run of evidence in the group
    description  that of the rule of its first alert, filled in; empty where it has none
    alerts     those that `lines` tell of, each by itself
    reference  where the destination keeps what it was told of the group before, in its own words; empty where that is
               not known, and until it is sent
    """

    notice_id: str
    receiver: str
    group: str
    status: Status
    severity: str
    rule: str
    title: str
    lines: tuple[str, ...]
    labels: Labels
    at_ns: int
    began_ns: int
    runbook: str
    alert_ids: tuple[str, ...]
    description: str = ""
    alerts: tuple[NoticeAlert, ...] = ()
    reference: str = ""

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Those of its first alert, the runbook's apart."""
        return self.alerts[0].other_links if self.alerts else ()


_PAIRS = ("labels", "examples", "links")


def to_json(notice: Notice) -> str:
    """The notice as the outbox keeps it."""
    return json.dumps(asdict(notice), allow_nan=False)


def from_json(text: str) -> Notice:
    """The notice that `to_json` gave."""
    fields = json.loads(text)
    fields["status"] = Status(fields["status"])
    fields["labels"] = tuple((name, value) for name, value in fields["labels"])
    fields["lines"], fields["alert_ids"] = tuple(fields["lines"]), tuple(fields["alert_ids"])
    # What an older version wrote has no `alerts`.
    fields["alerts"] = tuple(
        NoticeAlert(**{**alert, **{name: labels_from(alert.get(name, ())) for name in _PAIRS}})
        for alert in fields.get("alerts", ())
    )
    return Notice(**fields)
