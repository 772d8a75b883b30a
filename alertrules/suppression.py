"""Why nobody is told of an alert that fires: a silence, an alert that explains it, or the time of day."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from alertrules.inhibition import InhibitRule, Sources
from alertrules.routes import Branch
from alertrules.silences import Silences, silencing
from alertrules.times import TimeInterval, holding


class Kind(StrEnum):
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    MUTED = "muted"


class Suppressed(NamedTuple):
    """What keeps an alert from being told, and which one: a silence's id, an alert's id, a time interval's name."""

    kind: Kind
    by: str


class Suppression:
    """Everything that can suppress, as it stands at one moment of event time."""

    def __init__(
        self, silences: Silences, inhibits: Sequence[InhibitRule], intervals: Mapping[str, TimeInterval],
        firing: Mapping[str, Mapping[str, str]], at_ns: int,
    ) -> None:  # fmt: skip
        self._silences = silences.active(at_ns)
        self._sources = Sources(inhibits, firing)
        self._holding = set(holding(intervals, intervals, at_ns))

    def of(self, branch: Branch, labels: Mapping[str, str]) -> Suppressed | None:
        """What keeps an alert with these labels from being told by that route; None if nothing does."""
        if silence := silencing(self._silences, labels):
            return Suppressed(Kind.SILENCED, silence)
        if source := self._sources.inhibiting(labels):
            return Suppressed(Kind.INHIBITED, source)
        if muting := next((name for name in branch.mutes if name in self._holding), ""):
            return Suppressed(Kind.MUTED, muting)
        if branch.actives and not self._holding.intersection(branch.actives):
            return Suppressed(Kind.MUTED, f"outside {', '.join(branch.actives)}")
        return None
