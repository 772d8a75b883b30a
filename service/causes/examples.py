"""Traces that stand for their cells of late: the slowest call, the last failed one, the dearest."""

import math
from collections.abc import Iterable

import numpy as np

from alertrules.cause import Example
from detectors.core.columns import (
    DEAREST,
    FAILED,
    NO_EXAMPLES,
    SLOWEST,
    TICK_NS,
    Arrays,
    Examples,
    Ids,
    Slot,
    best_of,
)

LIFE_NS = 15 * TICK_NS
"""Examples are kept for as long as this, and for twice that at most."""
WORDS = {SLOWEST: "slowest", FAILED: "failed", DEAREST: "dearest"}


class Kept:
    """The best example of each cell and kind, of the present life and the one before. One owner."""

    def __init__(self) -> None:
        self._now, self._before = NO_EXAMPLES, NO_EXAMPLES
        self._since_ns = 0
        self._met: list[Examples] = []
        self._met_ns = 0

    def add(self, slot: Slot) -> None:
        """Take in a slot that closed."""
        if slot.start_ns - self._since_ns >= LIFE_NS:
            self._gather()
            is_next = slot.start_ns - self._since_ns < 2 * LIFE_NS
            self._before, self._now = self._now if is_next else NO_EXAMPLES, NO_EXAMPLES
            self._since_ns = slot.start_ns - slot.start_ns % LIFE_NS
        if slot.start_ns - self._met_ns >= TICK_NS:
            self._gather()
            self._met_ns = slot.start_ns
        if len(slot.examples.cell):
            self._met.append(slot.examples)

    def _gather(self) -> None:
        if self._met:
            self._now, self._met = best_of([self._now, *self._met]), []

    def forget(self, cells: Ids) -> None:
        """Drop those of cells that are in use by others now."""
        self._gather()
        self._now, self._before = _without(self._now, cells), _without(self._before, cells)

    def of(self, cells: Ids, kinds: Iterable[int]) -> tuple[Example, ...]:
        """The best of these kinds among some cells, in their order, each trace once; the present life's first."""
        self._gather()
        found: list[Example] = []
        for kind in kinds:
            for kept in (self._now, self._before):
                mine = np.flatnonzero(np.isin(kept.cell, cells) & (kept.kind == kind))
                if len(mine):
                    best = mine[np.argmax(kept.value[mine])]
                    trace = b"".join(int(half).to_bytes(8, "little") for half in kept.trace[best]).hex()
                    if trace not in [one.trace for one in found]:
                        found.append(Example(WORDS[kind], trace))
                    break
        return tuple(found)

    def largest(self, cells: Ids, kind: int, since_ns: int) -> float:
        """The largest value of a kind among some cells since then; NaN where examples are not kept for so long."""
        self._gather()
        parts = [self._now] if since_ns >= self._since_ns else [self._now, self._before]
        if since_ns < self._since_ns - LIFE_NS:
            return math.nan
        values = [part.value[np.isin(part.cell, cells) & (part.kind == kind)] for part in parts]
        return float(np.concatenate(values).max(initial=-math.inf)) if any(map(len, values)) else math.nan

    def snapshot(self) -> Arrays:
        """All state, as arrays."""
        self._gather()
        parts = {"now": self._now, "before": self._before}
        arrays = {f"{name}_{column}": array for name, part in parts.items() for column, array in vars(part).items()}
        return {**arrays, "times": np.array([self._since_ns, self._met_ns])}

    @classmethod
    def restore(cls, arrays: Arrays) -> "Kept":
        """What `snapshot` was taken of; without any where a state has none."""
        kept = cls()
        if "times" not in arrays:
            return kept
        kept._now, kept._before = (
            Examples(
                arrays[f"{name}_cell"].astype(np.int32), arrays[f"{name}_kind"].astype(np.int8),
                arrays[f"{name}_value"].astype(float), arrays[f"{name}_trace"].astype(np.uint64),
            )
            for name in ("now", "before")
        )  # fmt: skip
        kept._since_ns, kept._met_ns = (int(time_ns) for time_ns in arrays["times"])
        return kept


def _without(kept: Examples, cells: Ids) -> Examples:
    left = ~np.isin(kept.cell, cells)
    return Examples(kept.cell[left], kept.kind[left], kept.value[left], kept.trace[left])
