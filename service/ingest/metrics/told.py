"""What is told of late, and by whom: one source a signal."""

from collections.abc import Iterator
from typing import Any

from service.ingest.metrics.meanings import Meaning
from service.ingest.metrics.measures import Measure
from service.ingest.prices import DAY_NS

SIGNALS_TOLD_MAX = 20_000
"""Services and agents, by signal, of which it is remembered that their spans tell it."""
STATED = "stated"
"""The signal of cost that a metric states."""
LEAF = "leaf {}"
"""The signal of calls of models themselves, by what is told of them."""
FAMILY = "{} {}"
"""The signal of a family of metrics, by its rank and what it tells."""
SESSIONS = "sessions"
"""The signal of closed sessions, by tenant and agent."""
Spoken = tuple[str, str, int]
"""A service or an agent, what it told, and until when."""


class Told:
    """Which signals the spans of each service, and of each agent, told of late: metrics are silent there. And whose
    metrics state cost: their tokens are not priced. And which family of metrics tells a signal, where several do.
    """

    def __init__(self) -> None:
        self._last_ns: dict[tuple[str, str], int] = {}

    def hear(self, name: str, signal: str, last_ns: int) -> None:
        """A service or an agent told a signal until then. Who was silent longest gives up its place."""
        if len(self._last_ns) > SIGNALS_TOLD_MAX:
            latest = sorted(self._last_ns.items(), key=lambda told: told[1])[-SIGNALS_TOLD_MAX // 2 :]
            self._last_ns = dict(latest)
        self._last_ns[name, signal] = max(last_ns, self._last_ns.get((name, signal), 0))

    def knows(self, signal: str, meant: Meaning, time_ns: int) -> bool:
        """Whether it is told already."""
        return any(self.has(name, signal, time_ns) for name in (meant.service, meant.labels[1]))

    def has(self, name: str, signal: str, time_ns: int) -> bool:
        """Whether a service or an agent told a signal within the day before."""
        return time_ns - self._last_ns.get((name, signal), 0) < DAY_NS

    def tells(self, meant: Meaning, measure: Measure, last_ns: int) -> None:
        """A family of metrics told its signal until then."""
        self.hear(meant.service or meant.labels[1], FAMILY.format(measure.rank, measure.signal(meant)), last_ns)

    def is_teller(self, meant: Meaning, measure: Measure, time_ns: int) -> bool:
        """Whether no family that comes before this one tells the same."""
        name, signal = meant.service or meant.labels[1], measure.signal(meant)
        return not any(self.has(name, FAMILY.format(rank, signal), time_ns) for rank in range(measure.rank))

    def spoken(self) -> Iterator[Spoken]:
        """All that is remembered."""
        return ((name, signal, last_ns) for (name, signal), last_ns in self._last_ns.items())

    def state(self) -> list[Any]:
        """What `resume` takes, fit for JSON."""
        return [[*key, last_ns] for key, last_ns in self._last_ns.items()]

    @classmethod
    def resume(cls, state: list[Any]) -> "Told":
        told = cls()
        told._last_ns = {(agent, signal): last_ns for agent, signal, last_ns in state}
        return told


def pair(tenant: str, agent: str) -> str:
    """The name of an agent of one tenant."""
    return f"{tenant}\x1f{agent}"
