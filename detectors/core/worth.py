"""What units with sampling weights are worth: how many units without weights know as much of a share or a mean.

n units of weights w know as much as (sum w)^2 / sum w^2 without (Kish 1965). Of a tick that is known of its own units
alone: one that kept a failure of weight 1 and one that kept another of weight 10 would be worth a unit each, and the
failure would count ten times too much, the more often the fewer units a tick has. So all ticks of a series are divided
by one weight, sum w^2 / sum w of its last units. Sums of what was divided so are unbiased, whatever came in which tick.
"""

import numpy as np

from detectors.core.columns import Floats, Ids, Singles
from detectors.core.rows import column, dataclass, resize

LAST_UNITS = 30.0
"""Over how many units sums are taken, about."""
JUMP = 2.0
"""How many units one is counted for at most, where all at once less is kept: until the sums know, it is that many."""


@dataclass(eq=False)
class Worth:
    """(S,) decayed sums over a series' last units, zeros before the first: of weights, and of their squares."""

    weights: Singles = column(dtype=np.float32, is_later=True)
    squares: Singles = column(dtype=np.float32, is_later=True)

    def __post_init__(self) -> None:
        resize(self, 0)

    def add(self, rows: Ids, weights: Floats, squares: Floats) -> None:
        """Take in a tick.

        rows  (r,) series ids, each once · weights, squares (r,) sum w and sum w^2 of its units, 0.0 where it has none
        """
        resize(self, int(rows.max(initial=-1)) + 1)
        own = np.divide(squares, weights, out=np.zeros(len(rows)), where=weights > 0)
        has = own > 0
        at = rows[has]
        keeps = np.exp(-weights[has] / own[has] / LAST_UNITS)
        self.weights[at] = self.weights[at] * keeps + weights[has]
        self.squares[at] = self.squares[at] * keeps + squares[has]

    def weight(self, rows: Ids, weights: Floats, squares: Floats) -> Floats:
        """(r,) what these sums of a tick, taken in or not, are to be divided by: 1.0 where nothing is sampled.

        Where no tick of a series was taken in it is the sums' own; NaN where they have no unit either.

        >>> worth, row = Worth(), np.array([0])
        >>> for w in (1.0, 10.0, 10.0, 10.0):
        ...     worth.add(row, np.array([w]), np.array([w * w]))
        ...     print(round(float(worth.weight(row, np.array([w]), np.array([w * w]))[0]), 1))
        1.0
        9.2
        9.6
        9.7
        """
        resize(self, int(rows.max(initial=-1)) + 1)
        own = np.divide(squares, weights, out=np.full(len(rows), np.nan), where=weights > 0)
        usual = self.usual(rows)
        weight: Floats = np.fmax(np.where(np.isnan(usual), own, usual), own / JUMP)
        return weight

    def usual(self, rows: Ids) -> Floats:
        """(r,) what sums of these series' last units are divided by, NaN where none was taken in."""
        sums = self.weights[rows].astype(np.float64)
        usual: Floats = np.divide(self.squares[rows], sums, out=np.full(len(rows), np.nan), where=sums > 0)
        return usual
