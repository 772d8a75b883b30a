"""Whether a service's sampling changed: told, so that nobody takes it for a change of the service.

A policy gives its spans few different weights, and the largest of them says how much of the ordinary traffic it keeps.
That one is compared from window to window, by service.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from detectors.core.columns import SECOND_NS

WINDOW_NS = 600 * SECOND_NS
RATIO = 1.5
"""Rates that adapt to load move by less from window to window."""
SPANS_MIN = 30
"""Spans that a window must have: of fewer the largest weight may be missing by chance."""
SERVICES_MAX = 2_000


class Policies:
    """The largest weight of each service: of the window before, and of this one so far with its count of spans."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._now: dict[str, tuple[int, float]] = {}
        self._window = -1

    def slot(self, start_ns: int, sampled: Iterable[tuple[str, int, float]]) -> Iterator[tuple[str, str]]:
        """A slot closes with so many spans of a service and so large a weight among them: each service whose policy is
        another since the last window, and a line that says so.
        """
        window = start_ns // WINDOW_NS
        if window != self._window:
            yield from self._changes()
            self._now, self._window = {}, window
        now = self._now
        for service, spans, weight in sampled:
            count, largest = now.get(service, (0, 0.0))
            if count or len(now) < SERVICES_MAX:
                now[service] = (count + spans, max(weight, largest))

    def _changes(self) -> Iterator[tuple[str, str]]:
        for service, (count, largest) in self._now.items():
            if count < SPANS_MIN:
                continue
            before = self._before.get(service)
            if before is not None and not 1 / RATIO < largest / before < RATIO:
                name = service or "a service without a name"
                line = f"sampling of {name} changed: one span in {before:.3g} was kept, now one in {largest:.3g}"
                yield service, line
            if before is not None or len(self._before) < SERVICES_MAX:
                self._before[service] = largest

    def state(self) -> dict[str, Any]:
        """What `resume` takes, fit for JSON."""
        return {"before": self._before, "now": self._now, "window": self._window}

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> "Policies":
        policies = cls()
        policies._before, policies._window = dict(state["before"]), state["window"]
        policies._now = {service: (count, largest) for service, (count, largest) in state["now"].items()}
        return policies
