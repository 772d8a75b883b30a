"""One engine for every count signal: learn, judge, and refit at midnight UTC.

A signal (errors, latency, cost, outcomes) says what a tick's counts mean (`count_signal.py`). The engine does the rest:
tempering, evidence, suspicion, warm-up, what may be learnt. Within a tick it learns first and judges second, always
against a baseline that only knows earlier days (or, for histograms, earlier hours).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core import budget
from detectors.core.columns import (
    SECOND_NS,
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
from detectors.core.descriptor import JUDGED, LEARNING, Gauge, Learns
from detectors.core.dispersion import DAY_TICKS, KEEP, Dispersion
from detectors.core.doubt import raised
from detectors.core.evidence import Evidence
from detectors.core.kin import Lending, lend
from detectors.core.life import WARM_REFITS, WARM_SESSIONS, Life
from detectors.core.misses import Misses
from detectors.core.rows import clear, column, resize, restore, snapshot
from detectors.core.tail import LEAST_NATS, Tail

PART_ROWS = 4096
"""Series that are worked on together: what they need fits into a processor's cache."""
HORIZONS = {"1h": 60.0, "24h": 1440.0}
"""Minutes within which a rule says what it can see."""
GAUGES = {
    "evidence": Gauge("tocsin_evidence_nats", "Log evidence of a change; absent while warming up."),
    "evidence_threshold": Gauge("tocsin_evidence_threshold_nats", "Log evidence that a page needs."),
    "suspicion": Gauge(
        "tocsin_suspicion_nats",
        "Log evidence of a change since it would have begun; absent where nothing shows the effect asked for.",
    ),
    **{
        f"visible_{horizon}": Gauge(
            "tocsin_visible_effect",
            "Smallest effect that would page in that time at usual traffic; absent if none.",
            ("within", horizon),
        )
        for horizon in HORIZONS
    },
    "wobble": Gauge(
        "tocsin_hourly_wobble",
        "How far it strays from hour to hour by itself, in its effect's kind: a factor or a share.",
    ),
    **LEARNING,
    "kin": Gauge(
        "tocsin_series_kin", "Series that lend it the baseline by which it is judged early; absent where it is its own."
    ),
    "warm": JUDGED,
}
"""Levels of every detector that this engine runs."""
LEARNS = Learns(WARM_REFITS, 0, WARM_SESSIONS)
LEFT_OUT_HOURS = 24
"""Hours in a row that may be kept out of the baseline; then it learns all the same, or it would never learn again."""


@dataclass(eq=False)
class Own:
    """(S,) evidence that follows from a budget of a series' own; NaN where the rule's holds."""

    threshold: Floats = column(fill=np.nan)

    def __post_init__(self) -> None:
        resize(self, 0)


class Engine:
    """A detector of one count signal, over all series of a rule."""

    def __init__(self, signal: CountSignal, terms: Terms) -> None:
        self.signal = signal
        self.budget_per_week = terms.budget_per_week
        self.calendar = terms.calendar
        self.threshold = budget.threshold(terms.budget_per_week, 1)
        self.life = Life()
        self.evidence = Evidence(signal.alternatives, signal.sums, signal.precision)
        self.dispersion = Dispersion(int(signal.residual_of.max()) + 1, signal.alternatives, signal.precision)
        self.tail, self.misses = Tail(), Misses()
        own = {
            "life": self.life,
            "evidence": self.evidence,
            "dispersion": self.dispersion,
            "misses": self.misses,
            "highest": self.tail.highest,
        }
        self._saved: dict[str, Any] = own | dict(signal.parts)
        # What is asked of a series follows from the rule, and is asked again after a restart: it is not saved.
        self.own, self.has_own = Own(), False
        self._parts = (*self._saved.values(), signal.gates, self.own)
        self.size = 0
        self.now = -1  # Tick index (minutes since 1970) of the last tick, -1 before the first.

    def base(self, rows: Ids) -> Floats:
        """(r,) log evidence that the budget asks of these series; (1,) where it is the same for all."""
        own = self.own.threshold[rows] if self.has_own else np.full(1, np.nan)
        return np.where(np.isnan(own), self.threshold, own)

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Learn from and judge one tick; the gap since the last one held nothing."""
        self.resize(len(modes))
        now = tick.start_ns // TICK_NS
        self.evidence.enter(modes)
        crept = self.pass_time(now)
        hour = self.calendar.hour(now // 60)
        for part in parts(tick, PART_ROWS):
            counted = self.signal.counted(part)
            if len(counted.rows):
                self._learn(counted, hour)
                crept |= self._judge(counted, hour)
        return crept

    def pass_time(self, now: int) -> dict[int, Judgement]:
        """Bring blocks, hours and days up to the tick index `now`; which series a midnight found to have crept up."""
        crept: dict[int, Judgement] = {}
        if self.now < 0:
            self.now = now
            self._enter_hour(None, now // 60)
        while self.now // DAY_TICKS < now // DAY_TICKS:
            midnight = (self.now // DAY_TICKS + 1) * DAY_TICKS
            self._enter_hour(self.now // 60, midnight // 60)
            self.dispersion.close_blocks(self.now, midnight)
            self._refit(self.calendar.hour(midnight // 60))
            crept_up = self.signal.crept(midnight // DAY_TICKS, self.dispersion)
            for row, (unit, before, level, count) in crept_up.items():
                since_ns = (midnight - 7 * DAY_TICKS) * TICK_NS
                found = Finding(unit, before, level, since_ns, count, math.nan, math.nan, "")
                crept[row] = Judgement(Verdict.CREPT, found)
            self.now = midnight
            if now - midnight > 60 * DAY_TICKS:  # A gap in which a baseline fades to nothing: skip its middle.
                self.now += (now - midnight) // DAY_TICKS * DAY_TICKS - 30 * DAY_TICKS
        if self.now // 60 < now // 60:
            self._enter_hour(self.now // 60, now // 60)
            self._lend(self.calendar.hour(now // 60))
        self.dispersion.close_blocks(self.now, now)
        self.now = now
        return crept

    def _enter_hour(self, closing: int | None, opening: int) -> None:
        """Close an hour since 1970, if one is open, and open another. The signals know hours by local clocks alone."""
        local = self.calendar.local
        self.signal.enter_hour(None if closing is None else local(closing), local(opening), self._excluded())

    def _learn(self, counted: Counted, hour: int) -> None:
        rows, life = counted.rows, self.life
        mode = self.evidence.mode[rows]
        suspicious = self.evidence.suspicious[rows] & (life.left_out[rows] < LEFT_OUT_HOURS)
        shut = (mode == Mode.PAGING) | (mode == Mode.RECOVERING) | suspicious
        life.today[rows] = True
        if shut.any():
            life.exclude(rows[shut], self.now // 60 % 24, self.now // 60 % 24)
        self.signal.learn(counted, hour)
        counted = counted.only(~shut & (life.days[rows] > 0))
        if len(counted.rows):
            self.dispersion.learn(counted.rows, counted.count, *self.signal.residuals(counted, hour))

    def _judge(self, counted: Counted, hour: int) -> dict[int, Judgement]:
        warm = self.life.warm[counted.rows]
        if not warm.any():
            return {}
        whole = counted = counted.only(warm)
        rows, evidence = counted.rows, self.evidence
        plain = self.signal.ratios(counted, hour, self.dispersion.rho[rows])
        gathering, turned = evidence.modes(rows)
        judged: dict[int, Judgement] = {}
        if gathering.any():
            counted, told = counted.only(gathering), plain if gathering.all() else plain[gathering]
            gain = self.signal.tempering(counted.rows, self.dispersion.eta[counted.rows]) * told
            evidence.begin(counted.rows)
            sums = self.signal.run_sums(counted, hour)
            cap = budget.tick_cap(self.base(counted.rows), self.signal.alternatives)
            top = evidence.add(counted.rows, np.minimum(gain, cap[:, None]), sums, self.now)
            judged |= self._changed(counted.rows, top, hour)
        if turned.any():
            rows = rows[turned]
            ends = self.signal.of_ends(whole.only(turned), hour, self.dispersion.rho[rows], plain[turned])
            evidence.turn_round(rows, -ends)
            for row in rows[evidence.recovered(rows)].tolist():
                judged[row] = Judgement(Verdict.RECOVERED)
        return judged

    def _changed(self, rows: Ids, top: Floats, hour: int) -> dict[int, Judgement]:
        """Which of these series, `top` (r,) their largest log R, have the evidence and the effect; others are quiet."""
        evidence = self.evidence
        suspicious = top >= self.base(rows) / 2
        evidence.suspicious[rows] = suspicious
        rows = rows[suspicious | (top >= np.maximum(LEAST_NATS, self.tail.highest.nats[rows]))]
        if not len(rows):
            return {}
        leader, total = evidence.leading(rows)
        run = evidence.run[rows, leader].astype(np.float64)
        relapsing, shows = evidence.mode[rows] == Mode.RECOVERING, self.signal.shows_effect(rows, run)
        self.tail.saw(rows[shows & ~relapsing], total[shows & ~relapsing])
        asked = self.thresholds(rows)
        enough = (total >= np.where(relapsing, asked / 2, asked)) & shows
        near = shows & ~relapsing & (total >= self.base(rows) / 2)
        self.misses.note(rows[near], np.where(enough, np.inf, total)[near])
        judged = {}
        for i in np.flatnonzero(enough):
            row, since = int(rows[i]), int(evidence.since[rows[i], leader[i]])
            evidence.reverse_of[row] = self.signal.weaker(leader[i : i + 1], rows[i : i + 1], run[i : i + 1])[0]
            unit, before, now, count = self.signal.finding(row, run[i], hour)
            said = self.signal.said(row, run[i])
            found = Finding(unit, before, now, since * TICK_NS, count, float(total[i]), float(asked[i]), said)
            if not relapsing[i]:  # Today's hours since the run began are not learnt.
                first = max(since, self.now - self.now % DAY_TICKS) // 60 % 24
                self.life.exclude(rows[i : i + 1], first, self.now // 60 % 24)
            judged[row] = Judgement(Verdict.RELAPSED if relapsing[i] else Verdict.ANOMALOUS, found)
        return judged

    def thresholds(self, rows: Ids) -> Floats:
        """(r,) log evidence that a page of these series needs: more after near misses, or a page called noise."""
        return self.base(rows) * self.misses.asked[rows] * raised(self.life.doubted[rows], self.now // DAY_TICKS)

    def doubt(self, row: int) -> None:
        """A page of this series was noise: ask for more evidence for a while, and learn from today after all."""
        self.resize(row + 1)
        self.life.doubted[row] = max(self.now, 0) // DAY_TICKS
        self.life.excluded[row] = 0

    def _may_leave_out(self) -> Bools:
        """(S,): at most about a day in a row is left out, and nothing while muted: then the new level is learnt."""
        may: Bools = (self.life.left_out < LEFT_OUT_HOURS) & (self.evidence.mode != Mode.MUTED)
        return may

    def _excluded(self) -> Bools:
        today: Bools = np.roll(self.life.excluded_hours(), self.calendar.ahead(max(self.now, 0) // 60), axis=1)
        return today & self._may_leave_out()[:, None]

    def _refit(self, hour: int) -> None:
        """Midnight, with which this hour of the calendar's day begins."""
        life = self.life
        excluded = self.signal.refit(self._excluded(), (life.days > 0) & self._may_leave_out())
        left_out = excluded.sum(1)
        life.left_out = np.where(left_out > 0, life.left_out + left_out, 0).astype(np.int16)
        life.days += (life.today | (life.days > 0)).astype(np.int16)
        tracked, everyone = int((life.days > 0).sum()), np.arange(self.size, dtype=np.int32)
        self.misses.refit(KEEP, life.warm & life.today, self.evidence.suspicious, self.base(everyone))
        self._stand()
        self.threshold = budget.threshold(self.budget_per_week, tracked)
        self.dispersion.refit(life.days > 1)
        if self.dispersion.known().any():
            self.dispersion.rho[:] = self.signal.rho(self.dispersion)
            self.dispersion.temper(self.signal.drift(), self.signal.residual_of, self.threshold)
        self.tail.end_day(np.flatnonzero(life.warm & life.today).astype(np.int32))
        grown = (life.days >= WARM_REFITS) & (self.signal.mass() >= WARM_SESSIONS)
        life.warm |= grown
        life.kin[grown] = 0
        life.excluded[:] = 0
        life.today[:] = False
        self._lend(hour)

    def _lend(self, hour: int) -> None:
        """What series are too young to know of themselves, they have of their kin: at midnight, and as hours close."""
        if isinstance(self.signal, Lending) and (~self.life.warm | (self.life.kin > 0)).any():
            asked = np.broadcast_to(self.base(np.arange(self.size, dtype=np.int32)), (self.size,))
            lend(self.signal, self.life, self.dispersion, asked, self.signal.drift(), self._excluded(), hour)

    def _stand(self) -> None:
        """Leave out, until the next midnight, the alternatives that would page but for want of an effect."""
        evidence = self.evidence
        rows = np.flatnonzero(evidence.suspicious & (evidence.mode == Mode.WATCHED)).astype(np.int32)
        run = evidence.run[rows].astype(np.float64)
        shows = [self.signal.shows_effect(rows, run[:, j]) for j in range(self.signal.alternatives)]
        evidence.stand(rows, (evidence.log_r[rows] >= self.base(rows)[:, None]) & ~np.stack(shows, 1))

    def resize(self, size: int) -> None:
        """Make room for series ids below `size`."""
        if size > self.size:
            for part in self._parts:
                resize(part, size)
            self.size = len(self.life.days)

    def ask(self, row: int, asked: Asked) -> None:
        """Ask another effect, or evidence for another budget, of one series than of the rule's others."""
        self.resize(row + 1)
        self.signal.gates.set(row, asked.ratio, asked.points)
        if asked.share is not None:
            self.own.threshold[row], self.has_own = budget.threshold(asked.share, 1), True

    def forget(self, rows: Ids) -> None:
        """Drop these series, so that their ids may be used again."""
        for part in self._parts:
            clear(part, rows)

    def gauges(self) -> dict[str, Floats]:
        """The signal's levels, and the evidence (NaN while warming up) with what it must reach."""
        rows = np.arange(self.size, dtype=np.int32)
        if not self.size:
            return {}
        levels = self.signal.gauges(self.calendar.hour(max(self.now, 0) // 60))
        levels["evidence"] = np.where(self.life.warm, np.maximum(self.evidence.total(rows), 0), np.nan)
        levels["evidence_threshold"] = np.where(self.life.warm, self.thresholds(rows), np.nan)
        levels["suspicion"] = self._suspicion()
        levels["wobble"] = np.where(self.life.warm, self.signal.wobble(self.dispersion), np.nan)
        levels |= {f"visible_{name}": self._visible(minutes) for name, minutes in HORIZONS.items()}
        levels |= self._learning()
        levels["warm"] = self.life.warm.astype(float)
        return levels

    def _suspicion(self) -> Floats:
        """(S,) the largest CUSUM among the alternatives whose run shows the effect that the rule asks for, else NaN.

        M is no measure of it: R grows by one a tick, so that M is far from zero where nothing has happened for days.
        """
        rows = np.flatnonzero(self.life.warm & (self.evidence.cusum > 0).any(1)).astype(np.int32)
        run, cusum = self.evidence.run[rows].astype(np.float64), self.evidence.cusum[rows].astype(np.float64)
        shows = [self.signal.shows_effect(rows, run[:, j]) for j in range(self.signal.alternatives)]
        largest = np.where(np.stack(shows, 1), cusum, 0.0).max(1)
        suspicion = np.full(self.size, np.nan)
        suspicion[rows] = np.where(largest > 0, largest, np.nan)
        return suspicion

    def _learning(self) -> dict[str, Floats]:
        """When those that have no baseline of their own yet are judged by it at the earliest, how many of the units for
        it are known, and how many kin lend them one until then."""
        kin = self.life.kin
        young = (~self.life.warm | (kin > 0)) & ((self.life.days > 0) | self.life.today)
        midnights = np.maximum(WARM_REFITS - self.life.days, 1)
        until_s = (max(self.now, 0) // DAY_TICKS + midnights) * DAY_TICKS * (TICK_NS / SECOND_NS)
        known = np.minimum(self.signal.mass(), WARM_SESSIONS)
        told = {"learning_until": np.where(young, until_s, np.nan), "learning_known": np.where(young, known, np.nan)}
        return told | {"kin": np.where(kin > 0, kin, np.nan)}

    def _visible(self, minutes: float) -> Floats:
        """(S,) smallest effect whose evidence, at usual traffic, reaches a page within so many minutes; NaN if none.

        A mean: `(h + log J) / (eta d)` minutes, d the drift a tick; with luck it is sooner, in a quiet hour later. A
        smaller one than the rule asks for is never paged, whatever its evidence.
        """
        spread = self.dispersion
        a_tick = spread.effective_sum / np.maximum(spread.ticks_sum, 1)[:, None]
        drift = spread.eta * self.signal.drift() * a_tick[:, self.signal.residual_of]
        enough = (self.thresholds(np.arange(self.size, dtype=np.int32)) + np.log(self.signal.alternatives))[:, None]
        seen = (drift * minutes >= enough) & self.life.warm[:, None] & np.isfinite(self.signal.effects)
        smallest = np.where(seen, self.signal.effects, np.inf).min(1)
        return np.where(np.isfinite(smallest), np.maximum(smallest, self.signal.asked()), np.nan)

    def excess(self) -> float:
        """The tail's mean excess (see `tail.py`); NaN while too few days are known."""
        return self.tail.excess()

    def snapshot(self) -> Arrays:
        """All state: the engine's numbers, then every part's columns."""
        arrays: dict[str, NDArray[Any]] = {"engine": np.array([self.threshold, self.now, self.size])}
        arrays["tail"] = self.tail.days.copy()
        for name, part in self._saved.items():
            arrays |= snapshot(part, name)
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Go on from a snapshot of the same signal; raises ValueError where it is another's."""
        threshold, now, size = arrays["engine"].tolist()
        self.threshold, self.now, self.size = threshold, int(now), int(size)
        self.tail.days = np.array(arrays["tail"])
        for name, part in self._saved.items():
            restore(part, arrays, name)
        resize(self.signal.gates, self.size)
        resize(self.own, self.size)
