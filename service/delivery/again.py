"""What a destination forgets unless it hears it again: alerts that fire, and for a while those that have ended."""

from collections.abc import Collection

from alertrules.notice import Notice, Status
from alertrules.together import together
from detectors.core.columns import SECOND_NS

ENDED_NS = 15 * 60 * SECOND_NS
"""For how long an end is told again: as long as Prometheus does, so that an Alertmanager that was away hears it."""


class Again:
    """One destination's. Times are monotonic.

    every_ns  how often all is told again; 0: never
    fires     notices that were told of groups that still fire
    """

    def __init__(self, every_ns: int, fires: Collection[Notice]) -> None:
        self._every_ns = every_ns
        self._fires = {notice.group: notice for notice in fires}
        self._ended: dict[str, tuple[Notice, int]] = {}
        self._due_ns = 0

    def took(self, notice: Notice, now_ns: int) -> None:
        """The destination was told this."""
        if not self._every_ns:
            return
        if notice.status in (Status.RESOLVED, Status.OVER):
            self._fires.pop(notice.group, None)
            self._ended[notice.group] = (notice, now_ns + ENDED_NS)
        else:
            self._ended.pop(notice.group, None)
            self._fires[notice.group] = notice

    def is_due(self, now_ns: int) -> bool:
        """Whether it is time to tell all of it again."""
        return bool(self._every_ns) and now_ns >= self._due_ns

    def take_due(self, busy: Collection[str], now_ns: int) -> tuple[Notice, frozenset[str]] | None:
        """Return (all that is to be told again as one notice, its groups), without those of which something is sent."""
        if not self.is_due(now_ns):
            return None
        self._due_ns = now_ns + self._every_ns
        self._ended = {group: (one, until_ns) for group, (one, until_ns) in self._ended.items() if until_ns > now_ns}
        told = [*self._fires.values(), *(notice for notice, _ in self._ended.values())]
        told = [notice for notice in told if notice.group not in busy]
        if not told:
            return None
        return together(told, Status.FIRING), frozenset(notice.group for notice in told)
