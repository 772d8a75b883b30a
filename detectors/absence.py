"""Expected traffic that does not come. Judged against the watermark: a silent pipeline is nobody's absence.

A gap is measured in calls: those that this hour of the week would have brought since the last one. In these units gaps
of steady traffic are exponential with mean one, whatever the hour; those of clumped traffic are longer, and so the bar
comes from the series' own longest gaps of 28 days, two a day, by a generalised Pareto tail (`core/extremes.py`).
Calibration, no theorem. A series is judged after a whole week: many agents sleep at weekends.
"""

import math
from collections.abc import Mapping

import numpy as np

from detectors.core import extremes
from detectors.core.budget import rounded
from detectors.core.columns import SECOND_NS, TICK_NS, Arrays, Bools, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Asked, Detector, Judgement, Terms
from detectors.core.descriptor import JUDGED, LEARNING, Descriptor, Gauge, Learns
from detectors.core.dispersion import DAY_TICKS
from detectors.core.doubt import raised
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot
from detectors.core.schedule import Schedule

WEEK_HOURS, MONDAY = 168, 96
"""Hours of a week, and those from 1970's first, a Thursday, to a Monday."""
WEEK_KEEPS = 0.5
"""What a week leaves of the weeks before it."""
DAYS, A_DAY = 28, 2
WARM_DAYS, WARM_CALLS = 8, 200.0
LEARNS = Learns(WARM_DAYS, 0, WARM_CALLS)
SEEN = 1.25
"""No page for a gap that is not a quarter longer than any of the last weeks."""
LEAST_CALLS = 12.0
"""No page for fewer missing calls, however regular a series was."""


@dataclass(eq=False)
class Heard:
    """What is known of each series.

    calls, weeks  (S, 168)  by hour of the week: calls, and weeks in which the hour passed, both decayed
    rate          (S,)      calls a minute that this hour should bring
    missing       (S,)      calls that should have come since the last one
    last          (S,)      tick index of the last call, -1 before the first; `first` of the first
    gaps          (S, 56)   longest gaps of each of the last days, in calls, today's first
    bar           (S,)      missing calls that are a page; infinite while the series is not judged
    """

    calls: Floats = column(WEEK_HOURS)
    weeks: Floats = column(WEEK_HOURS)
    rate: Floats = column()
    missing: Floats = column()
    last: Ids = column(fill=-1, dtype=np.int64)
    first: Ids = column(fill=-1, dtype=np.int64)
    gaps: Floats = column(DAYS * A_DAY)
    bar: Floats = column(fill=math.inf)
    doubted: Ids = column(fill=-1, dtype=np.int32)

    def __post_init__(self) -> None:
        resize(self, 0)


class Absence:
    """All series of a rule. Ticks in which only others were heard come too, empty."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.heard = Heard()
        self.shares: dict[int, float] = {}  # False pages a week of series with a budget of their own.
        self.now = -1

    def excuse(self, rows: Ids) -> None:
        """What these series miss is expected."""
        self.heard.missing[rows[rows < len(self.heard.missing)]] = 0

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Count what came, and what did not."""
        heard = self.heard
        resize(heard, len(modes))
        now = tick.start_ns // TICK_NS
        self._pass_time(now)
        rows = tick.series[tick.count > 0]
        heard.missing += heard.rate  # A tick in which nobody was heard is no tick: the pipeline itself was silent.
        mode = np.zeros(len(heard.bar), np.int8)
        mode[: len(modes)] = modes
        self._hear(rows, tick.count[tick.count > 0], now, mode[rows] == Mode.WATCHED)
        back = {row: Judgement(Verdict.RECOVERED) for row in rows.tolist() if mode[row] in (Mode.PAGING, Mode.MUTED)}
        silent_ticks = max(1, self.terms.window_ns // TICK_NS)
        gone = (heard.missing >= self._bars()) & (heard.last >= 0) & (now - heard.last >= silent_ticks)
        gone &= (mode == Mode.WATCHED) | (mode == Mode.RECOVERING)
        return back | {row: self._judge(row, Mode(int(mode[row]))) for row in np.flatnonzero(gone).tolist()}

    def _hear(self, rows: Ids, count: Floats, now: int, learns: Bools) -> None:
        """Calls came; the gap before them is learnt unless it was a page."""
        heard = self.heard
        new = rows[heard.first[rows] < 0]
        heard.first[new] = now
        ended = heard.missing[rows]
        least = heard.gaps[rows, :A_DAY].argmin(1)
        longer = learns & (ended > heard.gaps[rows, least])
        heard.gaps[rows[longer], least[longer]] = ended[longer]
        heard.missing[rows], heard.last[rows] = 0, now
        heard.calls[rows, self._hour_of_week(now // 60)] += count

    def _bars(self) -> Floats:
        return self.heard.bar * raised(self.heard.doubted, max(self.now, 0) // DAY_TICKS)

    def _judge(self, row: int, mode: Mode) -> Judgement:
        heard = self.heard
        silent = self.now - int(heard.last[row])
        said = f"no call for {silent} minutes, in which {heard.missing[row]:,.0f} would have come"
        usual = float(heard.rate[row])
        since_ns = (int(heard.last[row]) + 1) * TICK_NS
        missing, bar = float(heard.missing[row]), float(self._bars()[row])
        found = Finding("per minute", usual, 0.0, since_ns, math.nan, missing, bar, said)
        return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, found)

    def _pass_time(self, now: int) -> None:
        """Bring hours and days up to `now`."""
        if self.now < 0:
            self.now = now
        midnight = (self.now // DAY_TICKS + 1) * DAY_TICKS
        hours = range(self.now // 60 + 1, now // 60 + 1)[-2 * WEEK_HOURS :]  # More would fade to nothing.
        for hour in hours:
            self._close_hour(hour - 1)
        self.now = now
        if now >= midnight:
            self._refit(now // DAY_TICKS - midnight // DAY_TICKS + 1)
        if hours or not self.heard.rate.any():
            self._expect()

    def _close_hour(self, hour: int) -> None:
        """The hour passed once more, for all series that were there when it began."""
        heard, place = self.heard, self._hour_of_week(hour)
        there = (heard.first >= 0) & (heard.first <= hour * 60 + 59)
        heard.weeks[there, place] += 1
        again = heard.weeks[:, place] > 1
        heard.weeks[again, place] *= WEEK_KEEPS
        heard.calls[again, place] *= WEEK_KEEPS

    def _expect(self) -> None:
        """Calls a minute of the hour that begins: of this hour of the week, of its neighbours too, or of the hour of
        the day, whichever is least."""
        heard, place = self.heard, self._hour_of_week(self.now // 60)
        near = [(place - 1) % WEEK_HOURS, place, (place + 1) % WEEK_HOURS]
        same = np.arange(place % 24, WEEK_HOURS, 24)
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = [heard.calls[:, hours].sum(1) / heard.weeks[:, hours].sum(1) for hours in ([place], near, same)]
        heard.rate = np.nan_to_num(np.fmin.reduce(rates), nan=0.0, posinf=0.0) / 60

    def _refit(self, days: int) -> None:
        """Midnight: a new day of gaps, and new bars."""
        heard = self.heard
        old = (self.now // DAY_TICKS - heard.first // DAY_TICKS >= WARM_DAYS) & (heard.first >= 0)
        warm = np.flatnonzero(old & (heard.calls.sum(1) >= WARM_CALLS))
        known = int((heard.first >= 0).sum())
        share = self.terms.budget_per_week / rounded(known)
        heard.bar[:] = math.inf
        for row in warm.tolist():
            gaps = heard.gaps[row][heard.gaps[row] > 0]
            weeks = min(DAYS, self.now // DAY_TICKS - int(heard.first[row]) // DAY_TICKS) / 7
            own = self.shares.get(row, share)
            reached = extremes.reached(gaps, float(gaps.min()), weeks, own) if len(gaps) > 1 else 0.0
            heard.bar[row] = max(LEAST_CALLS, reached, SEEN * float(gaps.max(initial=0.0)))
        moved = min(days, DAYS) * A_DAY
        heard.gaps[:, moved:] = heard.gaps[:, : DAYS * A_DAY - moved].copy()
        heard.gaps[:, :moved] = 0

    def _hour_of_week(self, hour: int) -> int:
        return (self.terms.calendar.local(hour) - MONDAY) % WEEK_HOURS

    def ask(self, row: int, asked: Asked) -> None:
        """Take a budget of this series' own from the next midnight on; silence has no effect size."""
        if asked.share is not None:
            self.shares[row] = asked.share

    def forget(self, rows: Ids) -> None:
        clear(self.heard, rows)
        for row in rows.tolist():
            self.shares.pop(row, None)

    def doubt(self, row: int) -> None:
        resize(self.heard, row + 1)
        self.heard.doubted[row] = max(self.now, 0) // DAY_TICKS

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """Calls that are missing now, and how many are a page."""
        bars, today = self._bars(), max(self.now, 0) // DAY_TICKS
        judged = np.isfinite(bars)
        young = ~judged & (self.heard.first >= 0)
        until_s = np.maximum(self.heard.first // DAY_TICKS + WARM_DAYS, today + 1) * DAY_TICKS * (TICK_NS / SECOND_NS)
        return {
            "missing_calls": np.where(self.heard.last >= 0, self.heard.missing, np.nan),
            "missing_calls_bar": np.where(judged, bars, np.nan),
            "learning_until": np.where(young, until_s, np.nan),
            "learning_known": np.where(young, np.minimum(self.heard.calls.sum(1), WARM_CALLS), np.nan),
            "warm": judged.astype(float),
        }

    def snapshot(self) -> Arrays:
        return {"absence": np.array([self.now]), **snapshot(self.heard, "heard")}

    def restore(self, arrays: Arrays) -> None:
        self.now = int(arrays["absence"][0])
        restore(self.heard, arrays, "heard")


def build(terms: Terms) -> Detector:
    """Learn when something should come, or be told."""
    return Schedule(terms) if terms.every_ns else Absence(terms)


GAUGES = {
    "missing_calls": Gauge(
        "tocsin_missing_calls", "Calls that should have come since the last one.", shows="calls missing"
    ),
    "missing_calls_bar": Gauge("tocsin_missing_calls_bar", "Missing calls that are a page; absent while it is learnt."),
    "silent": Gauge(
        "tocsin_schedule_silent_seconds", "For how long nothing came of what must come every so often.", shows="s"
    ),
    "silent_most": Gauge("tocsin_schedule_limit_seconds", "For how long nothing may come of it."),
    **LEARNING,
    "warm": JUDGED,
}
"""Levels of what judges silence."""
DETECTOR = Descriptor(
    build,
    GAUGES,
    subject="calls a minute",
    learns=LEARNS,
    takes_window=True,
    window_ticks_max=1440,
    takes_every=True,
    every_words=("silent for", "must come every"),
)
