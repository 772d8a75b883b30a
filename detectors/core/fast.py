"""The fast lane: a second evidence beside the engine's, that pages outages from slots between its ticks.

Only the largest alternatives take part, behind a gate that only an outage passes, with a tenth of the budget on top of
the rule's. Everything else is the engine's: baseline, warmth, dispersion, what is learnt, and when the alert is over.

The ticks are the engine's minutes too; the lane only looks into the open one, slot by slot. Calls of one minute fail
together (rho) whichever slot they fall into, so it never takes a slot for itself, but the minute as far as it has come:
l(t), the log-likelihood ratio of its counts up to slot t. Of that it credits at most a cap a slot,

    c(t)  =  min( eta l(t),  c(t-1) + cap )            c = 0 when the minute begins
    R(t)  =  (1 + R at the end of the last minute) e^c(t)

Given all before it, l(t) is the logarithm of a martingale of mean 1 under the null, so R - minutes is a supermartingale
at every slot, and the engine's theorem holds with its own h for pages sent in the middle of a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from detectors.core import budget
from detectors.core.columns import SLOT_NS, TICK_NS, Bools, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict, parts
from detectors.core.contract import Judgement, Terms
from detectors.core.engine import PART_ROWS, Counted, CountSignal, Engine
from detectors.core.evidence import Evidence
from detectors.core.rows import column, resize

BUDGET_SHARE = 0.1
"""False pages of the lane for each of the rule's: their promise together is 1.1 of the budget."""
HARDER = -float(np.log(BUDGET_SHARE))
"""Log evidence that an outage needs besides."""


class OutageSignal(CountSignal, Protocol):
    """A signal some of whose alternatives are outages."""

    outages: Ids  # Which alternatives.
    over: int  # The alternative that the end of an outage is tested against.

    def outage_ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats: ...
    def shows_outage(self, rows: Ids, run: Floats) -> Bools: ...


@dataclass(eq=False)
class OpenMinute:
    """What the slots of a series' latest minute have counted so far, and what was credited for it.

    at (S,) minutes since 1970 · count, values (S,) as in Counted · credit (S, J) nats
    """

    alternatives: int
    at: Ids = column(dtype=np.int64)
    count: Floats = column()
    values: Floats = column()
    credit: Floats = column("alternatives")

    def __post_init__(self) -> None:
        resize(self, 0)

    def add(self, counted: Counted) -> tuple[Counted, Bools]:
        """(the minute with this slot, for which series it begins with it)."""
        rows = counted.rows
        begins = self.at[rows] != counted.index
        self.at[rows[begins]] = counted.index
        for kept in (self.count, self.values, self.credit):
            kept[rows[begins]] = 0
        self.count[rows] += counted.count
        self.values[rows] += counted.values
        return replace(counted, count=self.count[rows], values=self.values[rows]), begins


class FastEngine(Engine):
    """An engine that also judges slots."""

    def __init__(self, signal: OutageSignal, terms: Terms) -> None:
        super().__init__(signal, terms)
        self.outage_signal = signal
        self.outages = Evidence(len(signal.outages), signal.sums, signal.precision)
        self.open = OpenMinute(len(signal.outages))
        self._saved |= {"outages": self.outages, "open": self.open}
        self._parts = (*self._parts, self.outages, self.open)

    def slot(self, slot: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Which of the watched (recovering) series are in an outage (again)."""
        self._resize(len(modes))
        minute = slot.start_ns // TICK_NS
        self.evidence.enter(modes)
        self.outages.enter(modes)
        crept = self._pass_time(minute)
        for part in parts(slot, PART_ROWS):
            crept |= self._look(part, minute // 60 % 24)
        return crept

    def _look(self, slot: Tick, hour: int) -> dict[int, Judgement]:
        """Judge the open minutes of some series with this slot in them."""
        counted = self.signal.counted(slot)
        gathering, _ = self.outages.modes(counted.rows)
        counted = counted.only(gathering & self.life.warm[counted.rows])
        if not len(counted.rows):
            return {}
        rows, signal = counted.rows, self.outage_signal
        so_far, begins = self.open.add(counted)
        cap = budget.tick_cap(self.threshold + HARDER, len(signal.outages))
        said = signal.outage_ratios(so_far, hour, self.dispersion.rho[rows])
        before = self.open.credit[rows]
        credit = np.minimum(self.dispersion.eta[rows][:, signal.outages] * said, before + cap)
        self.open.credit[rows] = credit
        self.outages.begin(rows[begins])
        self.outages.add(rows, credit - before, self.signal.run_sums(counted, hour), slot.start_ns // SLOT_NS)
        return self._in_outage(rows, hour)

    def _in_outage(self, rows: Ids, hour: int) -> dict[int, Judgement]:
        outages = self.outages
        total, leader = outages.total(rows), outages.log_r[rows].argmax(1)
        run, relapsing = outages.run[rows, leader].astype(np.float64), outages.mode[rows] == Mode.RECOVERING
        asked = self.thresholds(rows) + HARDER
        enough = total >= np.where(relapsing, asked / 2, asked)
        judged = {}
        for i in np.flatnonzero(enough & self.outage_signal.shows_outage(rows, run)):
            row, since = int(rows[i]), int(outages.since[rows[i], leader[i]])
            self.evidence.reverse_of[row] = self.outage_signal.over
            unit, before, now, count = self.signal.finding(row, run[i], hour)
            found = Finding(unit, before, now, since * SLOT_NS, count, float(total[i]), float(asked[i]), "")
            if not relapsing[i]:
                self.misses.note(rows[i : i + 1], np.array([np.inf]))
            judged[row] = Judgement(Verdict.RELAPSED if relapsing[i] else Verdict.ANOMALOUS, found)
        return judged
