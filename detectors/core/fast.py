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

That bound is of failures as the null knows them. A provider that falters for a minute now and then is no null: half of
all calls fail, of every agent at once, and it is over before anybody could look. The engine does not page that, as it
asks for four minutes. So the lane pages on credit: what it told is a debt of one page until a minute that began four
after the outage still speaks for it, and while it is in debt it tells nothing more. A debt that was not made good is
paid off at the rule's budget: blips cost no more than the rule may cost anyway, and what comes meanwhile is the
engine's to tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from detectors.core import budget
from detectors.core.columns import (
    SLOT_NS,
    TICK_NS,
    Arrays,
    Bools,
    Bytes,
    Finding,
    Floats,
    Ids,
    Mode,
    Tick,
    Verdict,
    parts,
)
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.count_signal import Counted, CountSignal
from detectors.core.engine import PART_ROWS, Engine
from detectors.core.evidence import Evidence
from detectors.core.rows import clear, column, resize, restore, snapshot

BUDGET_SHARE = 0.1
"""False pages of the lane for each of the rule's: their promise together is 1.1 of the budget."""
HARDER = -float(np.log(BUDGET_SHARE))
"""Log evidence that an outage needs besides."""

LASTS_SLOTS = 4 * TICK_NS // SLOT_NS
"""What an outage must have lasted before a minute in which it goes on: as many minutes as the engine's cap asks for."""
WEEK_TICKS = 10_080


class OutageSignal(CountSignal, Protocol):
    """A signal some of whose alternatives are outages."""

    outages: Ids  # Which alternatives.

    def counted_of_slot(self, slot: Tick) -> Counted:
        """Take from a slot what `counted` will take of it again with its minute's tick. Nothing is learnt from it."""

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


@dataclass(eq=False)
class Unproven:
    """Pages that the lane told before the outage had lasted: since (S,) the slot in which it began, -1 for none."""

    since: Ids = column(fill=-1, dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)


class FastEngine:
    """A detector that judges slots as well: the engine, and the lane beside it.

    debt  pages that the lane told of outages that have not lasted (yet); paid off at the rule's budget
    """

    def __init__(self, signal: OutageSignal, terms: Terms) -> None:
        self.engine, self.signal = Engine(signal, terms), signal
        self.outages = Evidence(len(signal.outages), signal.sums, signal.precision)
        self.open = OpenMinute(len(signal.outages))
        self.unproven, self.debt = Unproven(), 0.0
        self._parts: dict[str, Any] = {"outages": self.outages, "open": self.open, "unproven": self.unproven}

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Judge as the engine does; note which of the lane's outages have lasted."""
        self._resize(len(modes))
        self._pay_off(tick.start_ns // TICK_NS)
        judged = self.engine.tick(tick, modes)
        evidence = self.engine.evidence
        told = tick.series[self.unproven.since[tick.series] >= 0]
        paging = evidence.mode[told] == Mode.PAGING
        old = tick.start_ns // SLOT_NS - self.unproven.since[told] >= LASTS_SLOTS
        lasts = paging & old & (evidence.reverse[told] == 0)  # No evidence that it is over: the minute has it.
        self.debt = max(0.0, self.debt - int(lasts.sum()))
        self.unproven.since[told[lasts | ~paging]] = -1
        return judged

    def slot(self, slot: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Judge which of the watched (recovering) series are in an outage (again)."""
        self._resize(len(modes))
        minute = slot.start_ns // TICK_NS
        self.engine.evidence.enter(modes)
        self.outages.enter(modes)
        self._pay_off(minute)
        crept = self.engine.pass_time(minute)
        for part in parts(slot, PART_ROWS):
            crept |= self._look(part, self.engine.calendar.hour(minute // 60))
        return crept

    def _pay_off(self, now: int) -> None:
        """Lower the debt by what the budget allows for the time that passed."""
        if self.engine.now >= 0:
            passed = now - self.engine.now
            self.debt = max(0.0, self.debt - self.engine.budget_per_week * passed / WEEK_TICKS)

    def _look(self, slot: Tick, hour: int) -> dict[int, Judgement]:
        """Judge the open minutes of some series with this slot in them."""
        engine, signal = self.engine, self.signal
        counted = signal.counted_of_slot(slot)
        gathering, _ = self.outages.modes(counted.rows)
        counted = counted.only(gathering & engine.life.warm[counted.rows])
        if not len(counted.rows):
            return {}
        rows = counted.rows
        so_far, begins = self.open.add(counted)
        cap = budget.tick_cap(engine.base(rows) + HARDER, len(signal.outages))[:, None]
        said = signal.outage_ratios(so_far, hour, engine.dispersion.rho[rows])
        before = self.open.credit[rows]
        credit = np.minimum(engine.dispersion.eta[rows][:, signal.outages] * said, before + cap)
        self.open.credit[rows] = credit
        self.outages.begin(rows[begins])
        self.outages.add(rows, credit - before, signal.run_sums(counted, hour), slot.start_ns // SLOT_NS)
        return self._in_outage(rows, hour)

    def _in_outage(self, rows: Ids, hour: int) -> dict[int, Judgement]:
        engine, signal, outages = self.engine, self.signal, self.outages
        leader, total = outages.leading(rows)
        run, relapsing = outages.run[rows, leader].astype(np.float64), outages.mode[rows] == Mode.RECOVERING
        asked = engine.thresholds(rows) + HARDER
        outage = signal.outages[leader]
        enough = total >= np.where(relapsing, asked / 2, asked)
        judged = {}
        for i in np.flatnonzero(enough & signal.shows_outage(rows, run)):
            row, since = int(rows[i]), int(outages.since[rows[i], leader[i]])
            if not relapsing[i]:
                if self.debt > 0:
                    continue
                self.debt += 1
                self.unproven.since[row] = since
            engine.evidence.reverse_of[row] = signal.weaker(outage[i : i + 1], rows[i : i + 1], run[i : i + 1])[0]
            unit, before, now, count = signal.finding(row, run[i], hour)
            found = Finding(unit, before, now, since * SLOT_NS, count, float(total[i]), float(asked[i]), "")
            if not relapsing[i]:
                engine.misses.note(rows[i : i + 1], np.array([np.inf]))
            judged[row] = Judgement(Verdict.RELAPSED if relapsing[i] else Verdict.ANOMALOUS, found)
        return judged

    def _resize(self, size: int) -> None:
        self.engine.resize(size)
        if len(self.open.at) < self.engine.size:
            for part in self._parts.values():
                resize(part, self.engine.size)

    def ask(self, row: int, asked: Asked) -> None:
        self.engine.ask(row, asked)

    def forget(self, rows: Ids) -> None:
        self.engine.forget(rows)
        for part in self._parts.values():
            clear(part, rows)

    def doubt(self, row: int) -> None:
        self.engine.doubt(row)

    def excess(self) -> float:
        return self.engine.excess()

    def gauges(self) -> Mapping[str, Floats]:
        return self.engine.gauges()

    def snapshot(self) -> Arrays:
        """All state: the engine's and the lane's."""
        self._resize(self.engine.size)
        lane = {key: array for name, part in self._parts.items() for key, array in snapshot(part, name).items()}
        return {**self.engine.snapshot(), **lane, "debt": np.array(self.debt)}

    def restore(self, arrays: Arrays) -> None:
        """Go on from a snapshot of the same signal; raises ValueError where it is another's."""
        self.engine.restore(arrays)
        for name, part in self._parts.items():
            restore(part, arrays, name)
        self.debt = float(arrays["debt"])
