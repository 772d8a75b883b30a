"""What series are compared with: the rule's limit, and the exceptions that it makes for some; and what follows."""

import numpy as np

from detectors.core.columns import Finding, Floats, Ids, Mode, Verdict
from detectors.core.contract import Judgement
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


def compared(beyond: Finding | None, mode: int) -> Judgement:
    """What is said of a series that is beyond its limit, or not beyond it (None), in this mode."""
    alerts = mode in (Mode.PAGING, Mode.MUTED)
    if beyond is None:
        return Judgement(Verdict.RECOVERED if alerts else Verdict.QUIET)
    if alerts:
        return Judgement(Verdict.QUIET)
    return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, beyond)
