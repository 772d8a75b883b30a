"""The smallest change worth a page: the rule's, and the exceptions it makes for some series."""

from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Floats, Ids
from detectors.core.rows import column, resize


@dataclass(eq=False)
class Gates:
    """Effects by series; NaN where the rule's own holds.

    >>> gates = Gates(rule_ratio=2.0, rule_points=0.0)
    >>> resize(gates, 3)
    >>> gates.set(1, 1.5, None)
    >>> gates.ratios(np.array([0, 1])).tolist(), gates.points_of(np.array([1])).tolist()
    ([2.0, 1.5], [0.0])
    """

    rule_ratio: float
    rule_points: float
    ratio: Floats = column(fill=np.nan)
    points: Floats = column(fill=np.nan)

    def __post_init__(self) -> None:
        resize(self, 0)

    def set(self, row: int, ratio: float | None, points: float | None) -> None:
        """Ask another effect of one series; what is None asks nothing."""
        self.ratio[row] = 1.0 if ratio is None else ratio
        self.points[row] = 0.0 if points is None else points

    def ratios(self, rows: Ids) -> Floats:
        own = self.ratio[rows]
        return np.where(np.isnan(own), self.rule_ratio, own)

    def points_of(self, rows: Ids) -> Floats:
        own = self.points[rows]
        return np.where(np.isnan(own), self.rule_points, own)
