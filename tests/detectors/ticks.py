"""Ticks for detectors, made from plain counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import TICK_NS, Bytes, Entries, Mode, Tick, Verdict
from detectors.core.contract import Detector, Judgement

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
) -> Tick:
    """One tick, unweighted."""
    none = np.zeros(len(rows))
    return Tick(
        index * TICK_NS, rows.astype(np.int32), count.astype(float), count.astype(float),
        none if failed is None else failed.astype(float), none, none if unpriced is None else unpriced, none,
        duration, cost, outcome,
    )  # fmt: skip


class Watching:
    """The alerts that a rule would keep, as engine.md's states: what `alertrules.lifecycle` does, in a dozen lines."""

    def __init__(self, series: int) -> None:
        self.modes: Bytes = np.zeros(series, np.int8)
        self.paged = np.zeros(series, np.int64)
        self.kept = np.zeros(series, np.int64)
        self.pages: list[tuple[int, int]] = []
        self.closed: list[tuple[int, int]] = []

    def judge(self, detector: Detector, ticked: Tick | None, index: int) -> None:
        """Give the tick to the detector and follow its verdicts."""
        judged = {} if ticked is None else detector.tick(ticked, self.modes.copy())
        for row in range(len(self.modes)):
            self._follow(row, judged.get(row, Judgement(Verdict.QUIET)).verdict, index)

    def _follow(self, row: int, verdict: Verdict, index: int) -> None:
        mode = Mode(int(self.modes[row]))
        if mode is Mode.WATCHED and verdict is Verdict.ANOMALOUS:
            self.modes[row], self.paged[row] = Mode.PAGING, index
            self.pages.append((row, index))
        elif mode is Mode.RECOVERING and verdict is Verdict.RELAPSED:
            self.modes[row] = Mode.PAGING
        elif mode is Mode.PAGING and verdict is Verdict.RECOVERED:
            self.modes[row], self.kept[row] = Mode.RECOVERING, index
        elif (mode is Mode.RECOVERING and index - self.kept[row] >= 30) or (
            mode is Mode.MUTED and verdict is Verdict.RECOVERED
        ):
            self.modes[row] = Mode.WATCHED
            self.closed.append((row, index))
        if self.modes[row] in (Mode.PAGING, Mode.RECOVERING) and index - self.paged[row] >= 1440:
            self.modes[row] = Mode.MUTED
