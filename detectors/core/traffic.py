"""How busy a series is against its own history: slow wobble weighs more on a busy day, so tempering follows."""

from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Floats, Ids, Singles
from detectors.core.rows import column, resize

HOUR_DECAY = np.exp(-1 / 60)


@dataclass(eq=False)
class Traffic:
    """Sessions a tick: now (a moving average of 60 minutes) and in history (its session-weighted mean by hours).

    The variance that slow wobble adds to a block grows with the sessions in it. A phi that was learnt on quiet days is
    therefore too small on a day of tenfold traffic, by about the ratio of the two.
    """

    now: Singles = column(dtype=np.float32)
    at: Ids = column(dtype=np.int32)
    hour: Singles = column(dtype=np.float32)
    sessions: Singles = column(dtype=np.float32)
    squares: Singles = column(dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)

    def add(self, rows: Ids, count: Floats, index: int) -> None:
        """One tick of these series; what they did not count since their last one is decayed away."""
        gap = np.maximum(index - self.at[rows], 1)
        self.now[rows] = self.now[rows] * HOUR_DECAY**gap + (1 - HOUR_DECAY) * count
        self.at[rows] = index
        self.hour[rows] += count

    def close_hour(self) -> None:
        self.sessions += self.hour
        self.squares += self.hour * self.hour
        self.hour[:] = 0

    def decay(self, keep: float) -> None:
        self.sessions *= keep
        self.squares *= keep

    def tempered(self, rows: Ids, eta: Floats) -> Floats:
        """eta (r, J) for the traffic of now: `1 / (1 + (1/eta - 1) max(1, now / history))`."""
        known = self.sessions[rows] > 0
        usual = self.squares[rows] / np.where(known, self.sessions[rows], 1) / 60
        busy = np.where(known, np.maximum(1, self.now[rows] / np.maximum(usual, 1e-12)), 1)[:, None]
        tempered: Floats = 1 / (1 + (1 / eta - 1) * busy)
        return tempered
