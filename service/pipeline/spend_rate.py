"""What each agent of each tenant spends an hour, and of what share of its calls of models no price is known.

Shown, never judged, as volume is too wild to page on.
"""

import numpy as np

from alertrules.select import parse_matchers
from alertrules.view import View
from detectors.core.columns import TICK_NS, Arrays, Slot
from detectors.core.rows import clear, resize, restore, snapshot, under
from detectors.core.series import SeriesTable
from detectors.core.traffic import HOUR_DECAY, Traffic
from detectors.cost import Priced

MODEL_CALLS = {"operation": '=~"llm|embedding"', "metric": ""}
SPEND_SERIES_MAX = 10_000


class Spend:
    """Dollars of priced calls by (tenant, agent), as a moving average of 60 minutes of event time."""

    def __init__(self) -> None:
        self.view = View((), ("tenant", "agent"), SPEND_SERIES_MAX)
        self.rate = Traffic()
        self.calls = View(parse_matchers(MODEL_CALLS), ("tenant", "agent"), SPEND_SERIES_MAX)
        self.priced = Priced()
        self.index = 0

    def add(self, slot: Slot, cells: SeriesTable) -> None:
        self.view.add(slot, cells)
        self.calls.add(slot, cells)

    def tick(self, start_ns: int) -> None:
        """Close the open tick."""
        self.index = start_ns // TICK_NS
        tick = self.view.close(start_ns)
        if tick is not None:
            resize(self.rate, self.view.series.size)
            self.rate.add(tick.series, tick.cost_usd, self.index)
        if (tick := self.calls.close(start_ns)) is not None:
            resize(self.priced, self.calls.series.size)
            self.priced.add(tick)

    def expire(self, before_ns: int) -> None:
        clear(self.rate, self.view.expire(before_ns, np.empty(0, np.int32)))
        clear(self.priced, self.calls.expire(before_ns, np.empty(0, np.int32)))

    def usd_per_hour(self) -> dict[tuple[str, ...], float]:
        """By (tenant, agent), as of the last tick that was closed."""
        rows = self.view.series.rows()
        rows = rows[rows < len(self.rate.now)]
        usd = self.rate.now[rows] * HOUR_DECAY ** (self.index - self.rate.at[rows]) * 60
        return {self.view.series.values(row): dollars for row, dollars in zip(rows.tolist(), usd.tolist(), strict=True)}

    def unpriced_share(self) -> dict[tuple[str, ...], float]:
        """Of the calls of models of about the last hour, by (tenant, agent)."""
        rows = self.calls.series.rows()
        rows = rows[rows < len(self.priced.at)]
        shares = zip(rows.tolist(), self.priced.unpriced_share(rows).tolist(), strict=True)
        return {self.calls.series.values(row): share for row, share in shares}

    def snapshot(self) -> Arrays:
        return {
            **self.view.snapshot(), **snapshot(self.rate, "rate"), "index": np.array([self.index]),
            **{f"calls/{name}": array for name, array in self.calls.snapshot().items()},
            **snapshot(self.priced, "priced"),
        }  # fmt: skip

    def restore(self, arrays: Arrays) -> None:
        self.view.restore(arrays)
        restore(self.rate, arrays, "rate")
        if calls := under(arrays, "calls/"):  # Format 9 had none.
            self.calls.restore(calls)
            restore(self.priced, arrays, "priced")
        self.index = int(arrays["index"][0])
