"""Notices time in which nobody listened, and steps of the wall clock: neither is silence of those who send.

The two look alike from inside. A process that stood still (stopped, or starved) finds the monotonic clock far ahead of
its last look. A wall clock that was stepped, or a machine that was suspended, finds the two clocks apart.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from detectors.core.columns import SECOND_NS
from service.batch import NO_GAP, Gap

log = logging.getLogger("tocsin")

LOOK_EVERY_S = 1.0
"""How often somebody looks, at least, while the process runs as it should."""
STOOD_NS = 5 * SECOND_NS
"""Looks that are further apart mean that the process stood still."""
STEPPED_NS = 2 * SECOND_NS
"""Clocks that have moved apart by more since the last look mean a step; slewing moves them apart much slower."""


@dataclass
class ClockWatch:
    """The wall clock and the monotonic clock, in nanoseconds, compared at each look.

    gaps, seconds   how many gaps there were, and how long together, by kind: `stood_still`, `put_forward`, `put_back`
    """

    wall_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]
    gaps: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    _seen: tuple[int, int] | None = None
    _gap: Gap = NO_GAP

    def look(self) -> None:
        """Compare the clocks with the last look, and remember a gap until it is taken."""
        wall_ns, monotonic_ns = self.wall_ns(), self.monotonic_ns()
        before, self._seen = self._seen, (wall_ns, monotonic_ns)
        if before is None:
            return
        passed_ns = monotonic_ns - before[1]
        stepped_ns = wall_ns - before[0] - passed_ns
        stood_ns = passed_ns if passed_ns > STOOD_NS else 0
        if stood_ns:
            self._note("stood_still", stood_ns, "the process stood still for %.1f s: nothing was read or told")
        if abs(stepped_ns) > STEPPED_NS:
            kind, what = ("put_forward", "forward by %.1f s, or this machine was suspended for as long")
            if stepped_ns < 0:
                kind, what = "put_back", "back by %.1f s"
            self._note(kind, abs(stepped_ns), f"the wall clock was put {what}")
        else:
            stepped_ns = 0
        self._gap = Gap(self._gap.stood_ns + stood_ns, self._gap.stepped_ns + stepped_ns)

    def take(self) -> Gap:
        """The gaps since this was asked last, as one."""
        self.look()
        gap, self._gap = self._gap, NO_GAP
        return gap

    def _note(self, kind: str, gap_ns: int, what: str) -> None:
        self.gaps[kind] += 1
        self.seconds[kind] += gap_ns / SECOND_NS  # type: ignore[assignment]
        log.warning(what, gap_ns / SECOND_NS)


KINDS = ("stood_still", "put_forward", "put_back")
