"""The fast lane: a second evidence beside the engine's, that pages outages from slots between its ticks.

Only the largest alternatives take part, behind a gate that only an outage passes, with a tenth of the budget on top of
the rule's. Everything else is the engine's: baseline, warmth, dispersion, what is learnt, and when the alert is over.

The lane needs no dispersion of its own. Calls of one minute fail together (rho) whichever slot they fall into, so six
slots are no six witnesses: a slot's evidence is tempered by how much more a whole minute is clumped than the slot.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from detectors.core import budget
from detectors.core.columns import SLOT_NS, TICK_NS, Bools, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Judgement, Terms
from detectors.core.engine import Counted, CountSignal, Engine
from detectors.core.evidence import Evidence

SLOTS = TICK_NS // SLOT_NS
BUDGET_SHARE = 0.1
"""False pages of the lane for each of the rule's: their promise together is 1.1 of the budget."""


class OutageSignal(CountSignal, Protocol):
    """A signal some of whose alternatives are outages."""

    outages: Ids  # Which alternatives.
    over: int  # The alternative that the end of an outage is tested against.

    def outage_ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats: ...
    def shows_outage(self, rows: Ids, run: Floats) -> Bools: ...


class FastEngine(Engine):
    """An engine that also judges slots."""

    def __init__(self, signal: OutageSignal, terms: Terms) -> None:
        super().__init__(signal, terms)
        self.outage_signal = signal
        self.outages = Evidence(len(signal.outages), signal.sums)
        self._saved["outages"] = self.outages
        self._parts = (*self._parts, self.outages)

    @property
    def outage_threshold(self) -> float:
        """Log evidence an outage must reach: six times the ticks, a tenth of the budget."""
        return self.threshold + float(np.log(SLOTS / BUDGET_SHARE))

    def slot(self, slot: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Which of the watched (recovering) series are in an outage (again)."""
        self._resize(len(modes))
        minute = slot.start_ns // TICK_NS
        self.evidence.enter(modes)
        self.outages.enter(modes)
        self._pass_time(minute)
        hour = minute // 60 % 24
        counted = self.signal.counted(slot)
        gathering, _ = self.outages.modes(counted.rows)
        counted = counted.only(gathering & self.life.warm[counted.rows])
        if not len(counted.rows):
            return {}
        rows, signal = counted.rows, self.outage_signal
        rho = self.dispersion.rho[rows]
        slower = (1 + np.maximum(counted.count[:, None] - 1, 0) * rho) / (
            1 + np.maximum(SLOTS * counted.count[:, None] - 1, 0) * rho
        )
        gain = slower * self.dispersion.eta[rows][:, signal.outages] * signal.outage_ratios(counted, hour, rho)
        cap = budget.tick_cap(self.outage_threshold, len(signal.outages))
        sums = self.signal.run_sums(counted, hour)
        self.outages.add(rows, np.minimum(gain, cap), sums, slot.start_ns // SLOT_NS)
        return self._in_outage(rows, hour)

    def _in_outage(self, rows: Ids, hour: int) -> dict[int, Judgement]:
        outages = self.outages
        total, leader = outages.total(rows), outages.log_r[rows].argmax(1)
        run, relapsing = outages.run[rows, leader], outages.mode[rows] == Mode.RECOVERING
        asked = np.where(relapsing, 0.5, 1.0) * self.outage_threshold
        judged = {}
        for i in np.flatnonzero((total >= asked) & self.outage_signal.shows_outage(rows, run)):
            row, since = int(rows[i]), int(outages.since[rows[i], leader[i]])
            self.evidence.reverse_of[row] = self.outage_signal.over
            unit, before, now, count = self.signal.finding(row, run[i], hour)
            found = Finding(unit, before, now, since * SLOT_NS, count, float(total[i]), self.outage_threshold, "")
            judged[row] = Judgement(Verdict.RELAPSED if relapsing[i] else Verdict.ANOMALOUS, found)
        return judged
