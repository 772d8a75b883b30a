"""What series are compared with: the rule's limit, and the exceptions that it makes for some series."""

import numpy as np

from detectors.core.columns import Floats, Ids
from detectors.core.rows import column, dataclass, resize


@dataclass(eq=False)
class Limits:
    """(S,) the limit of each series; NaN where the rule's holds."""

    rule: float
    own: Floats = column(fill=np.nan)

    def __post_init__(self) -> None:
        resize(self, 0)

    def of(self, rows: Ids) -> Floats:
        """(r,) what they are compared with."""
        own = self.own[rows]
        return np.where(np.isnan(own), self.rule, own)
