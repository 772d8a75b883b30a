"""What closed slots told that metrics may tell, too: cost, outcomes and sessions, by agent."""

import numpy as np

from detectors.core.columns import Ids, Slot
from detectors.core.series import SeriesTable
from service.ingest.metrics.measures import Tells
from service.ingest.metrics.told import SESSIONS, Told, pair

SIGNALS = (Tells.COST, Tells.OUTCOMES, SESSIONS)


class SlotsTold:
    """Noted by cell as slots close, and told by name when somebody asks: few do."""

    def __init__(self, cells_max: int) -> None:
        self._last_ns = np.zeros((cells_max + 1, len(SIGNALS)), np.int64)

    def note(self, slot: Slot, of_sessions: Ids) -> None:
        """A slot closed; these of its cells are of sessions."""
        self._last_ns[slot.cell[slot.cost_usd > 0], 0] = slot.start_ns
        self._last_ns[slot.outcome.cell, 1] = slot.start_ns
        self._last_ns[of_sessions, 2] = slot.start_ns

    def tell(self, told: Told, cells: SeriesTable) -> None:
        """Tell what was noted since this was done last."""
        last_ns = self._last_ns[: cells.size]
        for cell, signal in np.argwhere(last_ns > 0).tolist():
            tenant, agent = cells.values(cell)[:2]
            name = pair(tenant, agent) if SIGNALS[signal] == SESSIONS else agent
            told.hear(name, SIGNALS[signal], int(last_ns[cell, signal]))
        last_ns[:] = 0
