"""Ticks for detectors, made from plain counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertrules.lifecycle import Alert, AlertState, Holds, Identity, advance, mode_of
from detectors.core.columns import SLOT_NS, TICK_NS, Bytes, Entries, Tick, Verdict
from detectors.core.contract import Detector, Judgement, SlotJudge

EMPTY = Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
MIDNIGHT = 20_000 * 1440
"""Tick index of a UTC midnight."""


Numbers = NDArray[Any]


def entries(rows: Numbers, dense: Numbers, lowest: int = 0) -> Entries:
    """Dense counts (r, B) as entries; column 0 is bucket `lowest`."""
    at, bucket = np.nonzero(dense)
    return Entries(rows[at].astype(np.int32), (bucket + lowest).astype(np.int32), dense[at, bucket].astype(float))


def tick(
    index: int,
    rows: Numbers,
    count: Numbers,
    failed: Numbers | None = None,
    duration: Entries = EMPTY,
    cost: Entries = EMPTY,
    outcome: Entries = EMPTY,
    unpriced: Numbers | None = None,
    usd: Numbers | None = None,
) -> Tick:
    """One tick, unweighted."""
    none = np.zeros(len(rows))
    return Tick(
        index * TICK_NS, rows.astype(np.int32), count.astype(float), count.astype(float),
        none if failed is None else failed.astype(float), none if usd is None else usd,
        none if unpriced is None else unpriced, none, none, duration, cost, outcome,
    )  # fmt: skip


HOLDS = Holds(for_ns=0, keep_firing_for_ns=30 * TICK_NS)


class Watching:
    """A detector's series and their alerts, as a rule keeps them.

    `pages` and `closed` are (series, tick index), `paged_ns` when each page was sent: the end of its tick or slot,
    and `fast` those pages that a slot sent.
    """

    def __init__(self, series: int) -> None:
        self.modes: Bytes = np.zeros(series, np.int8)
        self.alerts: dict[int, Alert] = {}
        self.pages: list[tuple[int, int]] = []
        self.paged_ns: list[int] = []
        self.fast: list[tuple[int, int]] = []
        self.closed: list[tuple[int, int]] = []

    def judge(self, detector: Detector, ticked: Tick | None, index: int) -> None:
        """Give the tick to the detector and let its verdicts move the alerts."""
        judged = {} if ticked is None else detector.tick(ticked, self.modes.copy())
        for row in sorted(judged.keys() | self.alerts.keys()):
            self._move(row, judged.get(row, Judgement(Verdict.QUIET)), (index + 1) * TICK_NS)

    def judge_slot(self, detector: SlotJudge, slot: Tick) -> None:
        """Give one slot of the tick to come to the fast lane."""
        before = len(self.pages)
        for row, word in detector.slot(slot, self.modes.copy()).items():
            self._move(row, word, slot.start_ns + SLOT_NS)
        self.fast += self.pages[before:]

    def _move(self, row: int, word: Judgement, at_ns: int) -> None:
        whose = Identity("rule", (("series", str(row)),), "page")
        alert, moved = advance(self.alerts.pop(row, None), word.verdict, word.finding, at_ns, HOLDS, whose)
        self.modes[row] = mode_of(alert)
        if alert:
            self.alerts[row] = alert
        index = (at_ns - 1) // TICK_NS
        for step in moved:
            if step.after is AlertState.FIRING and step.before is not AlertState.RECOVERING:
                self.pages.append((row, index))
                self.paged_ns.append(at_ns)
            elif step.after is AlertState.INACTIVE:
                self.closed.append((row, index))
