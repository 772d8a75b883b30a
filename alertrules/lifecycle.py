"""An alert's life: who fires, who is held and who is closed, as tables of transitions.

    inactive -> pending -> firing <-> recovering -> inactive
                              \\__________\\____-> muted -> inactive

A verdict moves an alert AT_ONCE, or ONCE_HELD for the rule's `for`; the clock alone moves it BY_CLOCK. Not judged
moves nothing: silence neither fires, nor resolves, nor forgets.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from alertrules.cause import UNKNOWN, Known
from detectors.core.columns import SECOND_NS, Finding, Mode, Verdict

Labels = tuple[tuple[str, str], ...]
"""A series' labels, sorted by name; empty values are left out."""

MUTED_AFTER_NS = 86400 * SECOND_NS
"""A level that has lasted a day is not news: it is told once more, and then learnt."""


class AlertState(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"
    MUTED = "muted"


@dataclass(frozen=True)
class Transition:
    """One alert changed state. Equal facts are equal values."""

    rule: str
    labels: Labels
    severity: str
    before: AlertState
    after: AlertState
    at_ns: int  # End of the tick that moved it.
    alert_id: str  # One episode's: from the page to its close, relapses included. Empty while pending.
    fired_ns: int  # End of the tick that paged; 0 while pending.
    finding: Finding | None  # The latest anomalous tick's.
    reason: str = ""  # Why it closed, where no recovery was seen.
    known: Known = UNKNOWN  # What is known of the change besides; of an alert that begins.


@dataclass(frozen=True)
class Alert:
    """One rule on one series, from its first anomalous tick to its close."""

    state: AlertState
    alert_id: str
    since_ns: int  # End of the tick that brought it into this state.
    fired_ns: int
    finding: Finding | None
    silent_ns: int = 0  # For how long nothing of its series came, while something of others did.


@dataclass(frozen=True)
class Holds:
    """How long a rule waits: before it pages, and before it calls a page closed."""

    for_ns: int
    keep_firing_for_ns: int


@dataclass(frozen=True)
class Identity:
    """Whose alert it is."""

    rule: str
    labels: Labels
    severity: str


AT_ONCE = {
    (AlertState.INACTIVE, Verdict.ANOMALOUS): AlertState.PENDING,
    (AlertState.PENDING, Verdict.QUIET): AlertState.INACTIVE,
    (AlertState.FIRING, Verdict.RECOVERED): AlertState.RECOVERING,
    (AlertState.RECOVERING, Verdict.RELAPSED): AlertState.FIRING,
    (AlertState.MUTED, Verdict.RECOVERED): AlertState.INACTIVE,
}
ONCE_HELD = {(AlertState.PENDING, Verdict.ANOMALOUS): AlertState.FIRING}
BY_CLOCK = (
    (AlertState.RECOVERING, AlertState.INACTIVE),  # After `keep_firing_for` in this state.
    (AlertState.RECOVERING, AlertState.MUTED),  # After a day since the page.
    (AlertState.FIRING, AlertState.MUTED),
)
MODES = {
    AlertState.INACTIVE: Mode.WATCHED,
    AlertState.PENDING: Mode.WATCHED,
    AlertState.FIRING: Mode.PAGING,
    AlertState.RECOVERING: Mode.RECOVERING,
    AlertState.MUTED: Mode.MUTED,
}
_INACTIVE = Alert(AlertState.INACTIVE, "", 0, 0, None)


def mode_of(alert: Alert | None) -> Mode:
    """What the detector is to ask about a series at the next tick."""
    return MODES[alert.state] if alert else Mode.WATCHED


def advance(
    alert: Alert | None, verdict: Verdict, finding: Finding | None, at_ns: int, holds: Holds, identity: Identity
) -> tuple[Alert | None, tuple[Transition, ...]]:
    """The alert after the tick that ends at `at_ns`, None once inactive, and the steps it took; ticks come in order.

    The verdict moves it first, then the clocks, which also run on ticks that were not judged.
    """
    now = alert or _INACTIVE
    if finding is not None and verdict in (Verdict.ANOMALOUS, Verdict.RELAPSED):
        now = replace(now, finding=finding)
    steps = [now]
    if state := AT_ONCE.get((now.state, verdict)):
        steps.append(_entered(steps[-1], state, at_ns, identity))
    now = steps[-1]
    if at_ns - now.since_ns >= holds.for_ns and (state := ONCE_HELD.get((now.state, verdict))):
        if now is not steps[0] and now.state is AlertState.PENDING:
            steps.pop()  # Without `for` nobody ever sees it pending.
        steps.append(_entered(now, state, at_ns, identity))
    for before, after in BY_CLOCK:
        now = steps[-1]
        hold_ns, held_since_ns = (
            (holds.keep_firing_for_ns, now.since_ns) if after is AlertState.INACTIVE else (MUTED_AFTER_NS, now.fired_ns)
        )
        if now.state is before and at_ns - held_since_ns >= hold_ns:
            steps.append(_entered(now, after, at_ns, identity))
    transitions = tuple(_transition(before.state, after, at_ns, identity) for before, after in pairwise(steps))
    return (None if steps[-1].state is AlertState.INACTIVE else steps[-1]), transitions


def close(alert: Alert, at_ns: int, identity: Identity, reason: str = "") -> Transition:
    """The end of an alert whose series has expired or whose rule is gone: nobody will judge it any more."""
    closed = _entered(alert, AlertState.INACTIVE, at_ns, identity)
    return replace(_transition(alert.state, closed, at_ns, identity), reason=reason)


def waited(alert: Alert, counted: bool, tick_ns: int) -> Alert:
    """The alert after a tick in which something came: its silence begins anew where its series counted, else grows."""
    return replace(alert, silent_ns=0 if counted else alert.silent_ns + tick_ns)


def _entered(alert: Alert, state: AlertState, at_ns: int, identity: Identity) -> Alert:
    if state is AlertState.FIRING and not alert.fired_ns:
        return replace(alert, state=state, since_ns=at_ns, fired_ns=at_ns, alert_id=alert_id(identity, at_ns))
    return replace(alert, state=state, since_ns=at_ns)


def _transition(before: AlertState, after: Alert, at_ns: int, identity: Identity) -> Transition:
    return Transition(
        identity.rule, identity.labels, identity.severity, before, after.state, at_ns,
        after.alert_id, after.fired_ns, after.finding,
    )  # fmt: skip


def alert_id(identity: Identity, fired_ns: int) -> str:
    """A hash of the facts of one episode, 64 hex digits: a replay gives the same."""
    facts = json.dumps([identity.rule, sorted(identity.labels), fired_ns])
    return hashlib.sha256(facts.encode()).hexdigest()


def packed(alert: Alert) -> dict[str, Any]:
    """The alert as JSON knows it; what is not a number is null."""
    fields = asdict(alert)
    if alert.finding:
        fields["finding"] = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in fields["finding"].items()
        }
    return fields


def unpacked(fields: Mapping[str, Any]) -> Alert:
    """The alert that `packed` gave."""
    facts: dict[str, Any] | None = fields["finding"]
    finding = None
    if facts is not None:
        numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in facts.items()}
        finding = Finding(**numbers)
    return Alert(**{**fields, "state": AlertState(fields["state"]), "finding": finding})


def labels_from(pairs: Iterable[Iterable[str]]) -> Labels:
    """Labels as JSON gives them back."""
    return tuple((name, value) for name, value in pairs)
