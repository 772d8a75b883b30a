"""No telemetry at all: nothing of any agent comes, judged by the wall clock, as event time stands still then.

The minutes in which anything came are calls of one series, and `absence.py` judges those: what this hour of the week
should bring, or what must come `every` so often. A minute in which nobody listened is not counted: after a stop, or
where the process stood still, silence begins with the first minute that was listened to.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detectors.absence import GAUGES, LEARNS, build
from detectors.core.columns import TICK_NS, Arrays, Bytes, Floats, Ids, Tick, empty
from detectors.core.contract import Asked, Detector, Judgement, Terms
from detectors.core.descriptor import Descriptor


class Telemetry:
    """One series, of all telemetry.

    minute  minutes since 1970 of the one that is open; -1 before the first telemetry
    came    whether anything came in it
    """

    def __init__(self, terms: Terms) -> None:
        self.absence: Detector = build(terms)
        self.minute, self.came = -1, False

    def look(self, row: int, now_ns: int, came: bool, modes: Bytes) -> Mapping[int, Judgement]:
        """Say that somebody listened at that time of the wall clock, and whether anything came since the last look."""
        now = now_ns // TICK_NS
        if self.minute < 0 and not came:
            return {}
        if self.minute in (-1, now):
            self.minute, self.came = now, self.came or came
            return {}
        if now < self.minute:  # The clock was put back.
            self.minute = now
            return {}
        start_ns = self.minute * TICK_NS
        closed = _one(row, start_ns) if self.came else empty(start_ns)
        self.minute, self.came = now, came
        return self.absence.tick(closed, modes)

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Nothing: event time says nothing of silence."""
        return {}

    def ask(self, row: int, asked: Asked) -> None:
        """Nothing: there is one series."""

    def forget(self, rows: Ids) -> None:
        self.absence.forget(rows)

    def doubt(self, row: int) -> None:
        self.absence.doubt(row)

    def excess(self) -> float:
        return self.absence.excess()

    def gauges(self) -> Mapping[str, Floats]:
        """Those of absence."""
        return self.absence.gauges()

    def snapshot(self) -> Arrays:
        return {**self.absence.snapshot(), "telemetry": np.array([self.minute, self.came])}

    def restore(self, arrays: Arrays) -> None:
        self.absence.restore(arrays)
        self.minute, self.came = int(arrays["telemetry"][0]), bool(arrays["telemetry"][1])


def _one(row: int, start_ns: int) -> Tick:
    """A tick in which the one series counted one."""
    one, none = np.ones(1), np.zeros(1)
    return replace(
        empty(start_ns), series=np.array([row], np.int32), count=one, squares=one, failed=none, cost_usd=none,
        unpriced=none, free=none, amount=none,
    )  # fmt: skip


DETECTOR = Descriptor(
    Telemetry,
    GAUGES,
    subject="telemetry a minute",
    arrow="usually",
    learns=LEARNS,
    takes_window=True,
    window_ticks_max=1440,
    takes_every=True,
    of_pipeline=True,
    every_words=("no telemetry for", "must come every"),
)
