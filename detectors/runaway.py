"""Open sessions that go on far beyond how sessions of their agent go: by repeats of one tool with the same arguments,
by calls, tokens, dollars and time. Each session that pages is a series of its own, with the label `trace`.

Sessions that ended make a histogram of each measure for each series; a week halves what it holds. Series whose longest
hundredth is about as long are kin, and their sessions beyond that level are put together, in multiples of it. The bar
is the multiple that only the budget's share of all the rule's sessions of a week go beyond (`core/farthest.py`): the
budget is kept over all of them together, as long as the weeks to come are like the weeks seen. Calibration, no theorem.

A session that goes beyond the bar counts as if it had come to it. In the rule's first hour, in which nothing is known
of anybody, no session pages. Later, before a series has ended WARM sessions, and kin KIN of them, it pages by the
rule's own limits alone, `repeats` and `cost`; each page makes those four times as large for it, and for a day or two
for all that are not known. A series that is known pages at these limits too where the tail,
as it looks, allows it, though it might be worse.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from detectors.core.columns import (
    SECOND_NS,
    TICK_NS,
    Arrays,
    Bools,
    Bytes,
    Entries,
    Finding,
    Floats,
    Ids,
    Mode,
    Tick,
    Verdict,
)
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.descriptor import JUDGED, LEARNING, Descriptor, Gauge, Learns
from detectors.core.dispersion import DAY_TICKS
from detectors.core.doubt import raised
from detectors.core.farthest import reached
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot
from detectors.core.runs import FIRST_BUCKET, MEASURES, PLACES, Running, trace_id

TIMES, CALLS, TOKENS, DOLLARS, SECONDS = range(len(MEASURES))
UNITS = ("times", "calls", "tokens", "usd", "s")
PARTS = (0.4, 0.1, 0.1, 0.3, 0.1)
"""Of the budget, by measure: most for what tells a runaway best."""
WIDTH, OCTAVE = 128, 8
LOWEST = np.array([0, 0, 10, -9, 2])
"""Of each measure the power of two at which its window begins; what is shorter counts in the first bucket."""
WARM, KIN = 300.0, 1_000.0
LEARNS = Learns(0, 0, WARM)
LONG = 0.01
"""Sessions beyond the level of a series: the longest hundredth."""
TWICE = 2.0
"""No page for less than twice that level."""
MORE = 4.0
"""Times the rule's limits are raised by a page of a series that is not known."""
DAY_KEEPS = 2 ** (-1 / 7)
WEEK_TICKS = 7 * DAY_TICKS
LEAST_WEEKS = 1 / 168
"""Time over which sessions are counted at least before they are so many a week, and before any of them pages."""
YOUNG_WEEKS, YOUNG_SPENDS = 0.7, 0.5
"""Up to which time, decayed as the counts are (0.7 is the seventh day), what share of the budget is spent."""
RESTS = 10
"""Ticks without a call after which a session that paged is over."""
OPEN_MAX = 1_000
"""Sessions that have a series of their own at a time; with more of them the storm is told already."""


@dataclass(eq=False)
class Known:
    """What is known of each series.

    counts   (S, 5, 128)  sessions that ended, by measure and bucket, decayed
    level    (S, 5)       how long the longest hundredth is at least, NaN while that is not known
    bars     (S, 5)       what pages, infinite where nothing does; of a session, when it paged
    pages    (S,)         sessions that paged while the series was not known
    doubted  (S,)         day of the last page that was called noise, -1 for none

    Of a session's own series:

    of       (S,)         series of its agent, -1 for one that is no session's
    first    (S, 2)       its first trace
    seen     (S,)         tick in which it went on last
    """

    counts: Floats = column(len(MEASURES), WIDTH, dtype=np.float32)
    level: Floats = column(len(MEASURES), fill=math.nan)
    bars: Floats = column(len(MEASURES), fill=math.inf)
    pages: Floats = column()
    doubted: Ids = column(fill=-1, dtype=np.int32)
    of: Ids = column(fill=-1, dtype=np.int32)
    first: Ids = column(2, dtype=np.uint64)
    seen: Ids = column(fill=-1, dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)


class Runaway:
    """All series of a rule: those of agents, and those of sessions that paged."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.known = Known()
        self.now, self.weeks = -1, 0.0  # Weeks that the counts are of, decayed as they are.
        self.cold = 0.0  # Pages of series that were not known; a day halves them.
        self.shares: dict[int, float] = {}  # False pages a week of series with a budget of their own.
        self._open: dict[bytes, int] = {}  # Series of sessions, by their first trace.

    # Sessions that run.

    def beyond(self, slot: Tick) -> Sequence[tuple[int, str]]:
        """Sessions that are beyond the bar of their series and have none of their own: the series, and a trace."""
        running = slot.running
        if not len(running.cell):
            return ()
        resize(self.known, int(running.cell.max()) + 1)
        bars = self._bars(running.cell)
        far = (running.values / bars).max(1)
        new = [i for i in np.flatnonzero(far > 1).tolist() if running.first[i].tobytes() not in self._open]
        # Of series that are not known one at a time, the longest: its page says what the next one must go beyond.
        cold = [i for i in new if not math.isfinite(self.known.level[running.cell[i], CALLS])]
        new = [i for i in new if i not in cold] + sorted(cold, key=lambda i: -far[i])[:1]
        new = new[: max(0, OPEN_MAX - len(self._open))]
        return tuple((int(running.cell[i]), trace_id(running.trace[i])) for i in new)

    def begin(self, row: int, series: int, slot: Tick, trace: str) -> None:
        """Give the session of this trace a series of its own."""
        resize(self.known, row + 1)
        running = slot.running
        (at, *_) = [i for i, each in enumerate(running.trace) if trace_id(each) == trace]
        if self.known.of[row] >= 0:
            self._open.pop(self.known.first[row].tobytes(), None)
        self.known.of[row], self.known.first[row] = series, running.first[at]
        self.known.bars[row] = self._bars(running.cell[at : at + 1])[0]
        if not math.isfinite(self.known.level[series, CALLS]):
            self.known.pages[series] += 1
            self.cold += 1
        self._open[running.first[at].tobytes()] = row

    def slot(self, slot: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Judge the sessions that went on in a slot."""
        return dict(self._judged(slot.running, slot.start_ns // TICK_NS, modes))

    def _judged(self, running: Running, now: int, modes: Bytes) -> Iterator[tuple[int, Judgement]]:
        for i, first in enumerate(running.first):
            row = self._open.get(first.tobytes(), -1)
            if row < 0 or row >= len(modes):
                continue
            bars = self.known.bars[row]
            self.known.seen[row] = now
            if modes[row] in (Mode.PAGING, Mode.MUTED) or not (running.values[i] > bars).any():
                continue
            verdict = Verdict.RELAPSED if modes[row] == Mode.RECOVERING else Verdict.ANOMALOUS
            yield row, Judgement(verdict, self._finding(running, i, bars, now))

    def _finding(self, running: Running, i: int, bars: Floats, now: int) -> Finding:
        values, level = running.values[i], self.known.level[running.cell[i]]
        measure = int(np.argmax(values / bars))
        times, calls, tokens, dollars, seconds = values.tolist()
        tool = running.tool[i] or "a tool"
        said = f"{tool} was called {times:.0f} times with the same arguments; " if times > 1 else ""
        said += f"so far {calls:,.0f} calls, {tokens:,.0f} tokens, ${dollars:.2f}, {seconds:,.0f} s"
        began_ns = max(0, now * TICK_NS - round(seconds) * SECOND_NS)
        before = float(level[measure]) if math.isfinite(level[measure]) else float(bars[measure])
        reached_now, bar = float(values[measure]), float(bars[measure])
        return Finding(UNITS[measure], before, reached_now, began_ns, math.nan, reached_now, bar, said)

    def _bars(self, rows: Ids) -> Floats:
        """(r, 5) what each of these series pages beyond."""
        known = self.known
        limits = np.full(len(MEASURES), math.inf)
        limits[TIMES], limits[DOLLARS] = self.terms.repeats, self.terms.dollars
        cold = limits * MORE ** np.clip(known.pages[rows], self.cold, 30.0)[:, None]
        # The rule has no such limit, or has not listened for an hour yet.
        cold[np.isnan(cold) | (self.weeks < LEAST_WEEKS)] = math.inf
        bars = np.where(np.isfinite(known.level[rows]), known.bars[rows], cold)
        more: Floats = bars * raised(known.doubted[rows], max(self.now, 0) // DAY_TICKS)[:, None]
        return more

    # Sessions that ended.

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Learn from the sessions that ended, and say which of those that paged went on no more."""
        now = tick.start_ns // TICK_NS
        resize(self.known, len(modes))
        self._pass_time(now)
        self._learn(tick.lengths)
        over = {}
        for first, row in list(self._open.items()):
            if now - self.known.seen[row] < RESTS:
                continue
            if modes[row] in (Mode.PAGING, Mode.MUTED):
                over[row] = Judgement(Verdict.RECOVERED)
            elif modes[row] == Mode.WATCHED:
                self._drop(first, row)
        return over

    def _drop(self, first: bytes, row: int) -> None:
        del self._open[first]
        clear(self.known, np.array([row], np.int32))

    def _learn(self, lengths: Entries) -> None:
        known = self.known
        if not len(lengths.cell):
            return
        resize(known, int(lengths.cell.max()) + 1)
        measure, place = np.divmod(lengths.bucket, PLACES)
        bucket = np.clip(place + FIRST_BUCKET - LOWEST[measure] * OCTAVE, 0, WIDTH - 1)
        # One that paged counts as if it had come to the bar: what made it go on further is not how sessions go.
        bars = np.where(np.isfinite(known.level[lengths.cell, measure]), known.bars[lengths.cell, measure], math.inf)
        bucket = np.minimum(bucket, _bucket(bars, measure))
        at = np.ravel_multi_index((lengths.cell, measure, bucket), known.counts.shape)
        np.add.at(known.counts.reshape(-1), at, lengths.count.astype(np.float32))

    def _pass_time(self, now: int) -> None:
        """Bring counts up to `now`, and the bars once an hour."""
        if self.now < 0:
            self.now = now
        days, hours = now // DAY_TICKS - self.now // DAY_TICKS, now // 60 - self.now // 60
        self.weeks += (now - self.now) / WEEK_TICKS
        self.now = now
        if days:
            self.weeks *= DAY_KEEPS**days
            self.cold *= 0.5**days
            self.known.counts *= np.float32(DAY_KEEPS**days)
        if hours:
            self._refit()

    def _refit(self) -> None:
        """New levels and bars, of all series that are known well enough."""
        known = self.known
        sessions = known.counts.sum(2, dtype=np.float64)
        above = known.counts[:, :, ::-1].cumsum(2, dtype=np.float64)[:, :, ::-1] - known.counts
        level = (above > LONG * sessions[:, :, None]).sum(2)
        known.level[known.of < 0], known.bars[known.of < 0] = math.nan, math.inf
        warm = np.flatnonzero(sessions.min(1) >= WARM)
        a_week = sessions[:, CALLS].sum() / max(self.weeks, LEAST_WEEKS)
        for measure in range(len(MEASURES)):
            kinds = level[warm, measure] // OCTAVE
            for kind in np.unique(kinds).tolist():
                rows = warm[kinds == kind]
                self._fit(rows, measure, level[rows, measure], sessions[rows, measure], a_week)

    def _fit(self, rows: Ids, measure: int, level: Ids, sessions: Floats, a_week: float) -> None:
        """The bars of kin by one measure."""
        if sessions.sum() < KIN:
            return
        at = level[:, None] + np.arange(WIDTH)
        beyond = np.where(at < WIDTH, self.known.counts[rows[:, None], measure, np.minimum(at, WIDTH - 1)], 0.0)
        pooled, n = beyond.sum(0, dtype=np.float64), float(sessions.sum())
        usual_most = _value(level, measure)
        step = 1 / float(usual_most.min()) if measure in (TIMES, CALLS) else 0.0
        # The tail of a first week is a guess from few sessions: half of the budget is kept for what it misses.
        kept = PARTS[measure] * (YOUNG_SPENDS if self.weeks < YOUNG_WEEKS else 1.0)
        usual = self.terms.budget_per_week * kept / max(a_week, 1.0)
        looks, worst = reached(pooled, n, usual, step)
        far = np.full((2, len(rows)), [[looks], [worst]])
        for i, row in enumerate(rows.tolist()):
            if row in self.shares:
                own = self.shares[row] * PARTS[measure] / max(float(sessions[i]) / max(self.weeks, LEAST_WEEKS), 1.0)
                far[:, i] = reached(pooled, n, own, step)
        limit = {TIMES: self.terms.repeats, DOLLARS: self.terms.dollars}.get(measure, math.nan)
        # NaN where the rule has no limit.
        bar = np.fmin(far[1] * usual_most, np.maximum(far[0] * usual_most, limit))
        self.known.level[rows, measure] = usual_most
        self.known.bars[rows, measure] = np.maximum(bar, TWICE * usual_most)

    # What all detectors do.

    def ask(self, row: int, asked: Asked) -> None:
        """Take a budget of this series' own, from the next hour on; a length has no effect size."""
        if asked.share is not None:
            self.shares[row] = asked.share

    def forget(self, rows: Ids) -> None:
        for row in rows[rows < len(self.known.of)].tolist():
            self._open.pop(self.known.first[row].tobytes(), None)
            self.shares.pop(row, None)
        clear(self.known, rows)

    def doubt(self, row: int) -> None:
        """Ask more of the series of the session."""
        resize(self.known, row + 1)
        of = int(self.known.of[row])
        self.known.doubted[of if of >= 0 else row] = max(self.now, 0) // DAY_TICKS

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """Levels and bars of agents by measure."""
        known = self.known
        rows: Ids = np.arange(len(known.of), dtype=np.int32)
        sessions = known.counts[:, CALLS].sum(1, dtype=np.float64)
        is_series: Bools = (known.of < 0) & (sessions > 0)
        judged = np.isfinite(known.level).any(1)
        bars = np.where(is_series[:, None], self._bars(rows), np.nan)
        found = {f"bar_{name}": bars[:, place] for place, name in enumerate(MEASURES)}
        found |= {f"level_{name}": known.level[:, place] for place, name in enumerate(MEASURES)}
        found["learning_known"] = np.where(is_series & ~judged, np.minimum(sessions, WARM), np.nan)
        return found | {"warm": np.where(is_series, judged.astype(float), np.nan)}

    def snapshot(self) -> Arrays:
        return {
            "runaway": np.array([self.now]),
            "weeks": np.array([self.weeks, self.cold]),
            **snapshot(self.known, "known"),
        }

    def restore(self, arrays: Arrays) -> None:
        self.now = int(arrays["runaway"][0])
        self.weeks, self.cold = arrays["weeks"].tolist()
        restore(self.known, arrays, "known")
        self._open = {self.known.first[row].tobytes(): row for row in np.flatnonzero(self.known.of >= 0).tolist()}


def _value(bucket: Floats | Ids, measure: Ids | int) -> Floats:
    """The upper end of a bucket of a measure's window."""
    value: Floats = np.exp2((bucket + 1.0) / OCTAVE + LOWEST[measure])
    return value


def _bucket(value: Floats, measure: Ids) -> Ids:
    """The bucket of a measure's window that a value lies in, the last one for what is beyond."""
    place = np.ceil((np.log2(value) - LOWEST[measure]) * OCTAVE - 1e-9) - 1
    bucket: Ids = np.clip(place, 0, WIDTH - 1).astype(np.int64)
    return bucket


def build(terms: Terms) -> Runaway:
    """Make the detector of a rule with `detector: runaway`."""
    return Runaway(terms)


_BAR = "What an open session of the series must go beyond to page."
_LEVEL = "How long 99 of 100 sessions of the series are at most."
DETECTOR = Descriptor(
    build,
    {
        **{f"bar_{name}": Gauge("tocsin_session_bar", _BAR, ("measure", name)) for name in MEASURES},
        **{f"level_{name}": Gauge("tocsin_session_usual", _LEVEL, ("measure", name)) for name in MEASURES},
        "learning_known": LEARNING["learning_known"],
        "warm": JUDGED,
    },
    subject="a session that runs has come to",
    arrow="usually below",
    learns=LEARNS,
    of_points=False,
    of_sessions=True,
    of_running=True,
)
