"""The level of the last few minutes: what gauges show beside the baseline."""

from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Floats, Ids, Singles
from detectors.core.rows import column, resize

DECAY = 2 ** (-1 / 2)
"""A half-life of two ticks that counted something: a quiet series shows its last activity, not zero."""


@dataclass(eq=False)
class Recent:
    """Decayed sums of each series' own ticks; `width` numbers a series.

    >>> recent = Recent(width=1)
    >>> resize(recent, 2)
    >>> for _ in range(200):
    ...     recent.add([1], [[3.0]])
    >>> (recent.sums[1] * (1 - DECAY)).round(6).tolist(), recent.sums[0].tolist()
    ([3.0], [0.0])
    """

    width: int
    sums: Singles = column("width", dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)

    def add(self, rows: Ids, values: Floats) -> None:
        """One tick: rows (r,) unique ids, values (r, width)."""
        self.sums[rows] = DECAY * self.sums[rows] + values
