"""Who is told of each alert that fires, and what keeps others from it: as the API and /metrics show it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alertrules.groups import Group, Member
from alertrules.silences import STATES, Silence
from alertrules.suppression import Kind, Suppressed


@dataclass
class Alert:
    """One alert that fires.

    told        receivers that were told of it
    groups      names of the groups that it is in, which are keys of incidents
    suppressed  receivers that are not told of it now, and why
    """

    told: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    suppressed: list[tuple[str, Suppressed]] = field(default_factory=list)
    acknowledged_by: str = ""
    acknowledged_ns: int = 0


@dataclass(frozen=True)
class Audience:
    """All alerts by id, and all silences with their state."""

    alerts: Mapping[str, Alert]
    silences: tuple[tuple[Silence, str], ...]

    @classmethod
    def of(
        cls, groups: Iterable[Group], kept: Iterable[tuple[str, Member, Suppressed]],
        silences: tuple[tuple[Silence, str], ...],
    ) -> "Audience":  # fmt: skip
        """Gather it from the groups, and from what is kept from being told."""
        alerts: dict[str, Alert] = {}
        for group in groups:
            for alert_id in group.open:
                one = alerts.setdefault(alert_id, Alert())
                one.groups.append(group.group)
                one.told += [] if alert_id in group.news else list(group.receivers)
                if alert_id in group.suppressed:
                    kind, by = group.suppressed[alert_id]
                    one.suppressed.append((group.receiver, Suppressed(Kind(kind), by)))
                if group.acked_by:
                    one.acknowledged_by, one.acknowledged_ns = group.acked_by, group.acked_ns
        for receiver, member, why in kept:
            alerts.setdefault(member.alert_id, Alert()).suppressed.append((receiver, why))
        return cls(alerts, silences)

    def suppressed(self) -> Counter[tuple[str, str]]:
        """How many alerts are suppressed, by receiver and kind."""
        return Counter((receiver, why.kind.value) for one in self.alerts.values() for receiver, why in one.suppressed)

    @property
    def acknowledged(self) -> int:
        """How many alerts somebody has acknowledged."""
        return sum(bool(one.acknowledged_by) for one in self.alerts.values())

    def states(self) -> Counter[str]:
        """How many silences there are of each state."""
        counts = Counter(dict.fromkeys(STATES, 0))
        counts.update(state for _, state in self.silences)
        return counts


NOBODY = Audience({}, ())
