"""Any numeric series, one value a step: how far it is from where it should be, and how far is worth a page.

The residual against the usual level of the time of day (or the last hour's, whichever has been the better guess) is
taken at two scales, the step itself and the mean of four, in units of its own usual size. The threshold comes from the
series' own history: see `detectors.core.extremes`. Only the past is used. The rule language does not offer it yet.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.core import extremes, seasonal
from detectors.core.columns import Bools, Floats

Ints = NDArray[np.int64]

HOUR_S, DAY_S, WEEK_S = 3600.0, 86_400.0, 604_800.0
HISTORY_DAYS = 28
GUESS_DAYS = 3
JUDGED_MIN = 100
"""Scores that must be known before any is judged."""
YOUNG_DAYS, YOUNG_REFITS = 3, 6
"""A young series is refitted six times a day, an older one at midnight UTC."""
SLOW = 4
"""Steps of the slower mean, and what it is worth against one step: less than sqrt(4), as neighbours go together."""
SLOW_WEIGHT = 1.2
SIZES_MIN = 30
"""Residuals that must be known before any is put in units of their size."""
TO_SD = 1.4826
FLOOR, TINY = 1e-3, 1e-30
"""A residual counts for nothing below this share of the usual value: no page for the last digit."""
HUGE = 1e100
"""Larger values are taken for this one: their differences stay finite."""
SCORE_MAX = 1e9


@dataclass(frozen=True)
class Score:
    """What one value is worth.

    score      >= 0, robust standard deviations, of the step or of the slower mean
    threshold  above which it is an episode; infinite while the series is not judged
    expected   what the value should have been
    page       true at the first step of an episode
    """

    time_s: float
    value: float
    score: float
    threshold: float
    expected: float
    page: bool

    @property
    def above(self) -> bool:
        """Whether this step is part of an episode."""
        return self.score > self.threshold


@dataclass(frozen=True, eq=False)
class Scores:
    """The same for many values, row for row; `score` and `expected` are NaN where `observe` answers None."""

    score: Floats
    threshold: Floats
    expected: Floats
    page: Bools

    @property
    def above(self) -> Bools:
        """Which rows are part of an episode."""
        above: Bools = self.score > self.threshold
        return above


@dataclass(frozen=True, eq=False)
class Fit:
    """What history says, frozen until the next refit; `season` and `spread` are by slot of the day."""

    season: Floats
    spread: Floats
    size: float
    floor: float
    seasonal: bool
    threshold: float


class Level:
    """The detector of one series, as its values come; `observe` and `scores` give the same answers in any mixture.

    step_s           seconds between values; each belongs to the step its time falls into
    budget_per_week  false pages a week that this series may cost, > 0
    """

    def __init__(self, step_s: float, budget_per_week: float) -> None:
        assert step_s > 0 and budget_per_week > 0
        self.step_s, self.budget_per_week = step_s, budget_per_week
        self.day = max(1, round(DAY_S / step_s))
        self.half_hour, self.hour, self.two_hours = (
            int(np.clip(round(seconds / step_s), *limits))
            for seconds, limits in ((HOUR_S / 2, (3, 30)), (HOUR_S, (5, 60)), (2 * HOUR_S, (12, 120)))
        )
        self.quiet = max(3, math.ceil(HOUR_S / 2 / step_s))
        self._start()

    def _start(self) -> None:
        self.history = History(max(HISTORY_DAYS * self.day, 4 * JUDGED_MIN))
        self.fit: Fit | None = None
        self.new_values = False
        self.last: int | None = None
        self.last_above: int | None = None

    def observe(self, time_s: float, value: float) -> Score | None:
        """Judge a value by those before it, then learn it.

        None where it cannot be compared yet, is no finite number, or its step has been judged already.
        """
        found = self.scores(np.array([time_s]), np.array([value]))
        if math.isnan(found.score[0]):
            return None
        score, threshold, expected = float(found.score[0]), float(found.threshold[0]), float(found.expected[0])
        return Score(time_s, value, score, threshold, expected, bool(found.page[0]))

    def scores(self, times: Floats, values: Floats) -> Scores:
        """Judge many values, each by those before it; times in seconds, rows out of order are not judged."""
        n = len(times)
        found = Scores(np.full(n, np.nan), np.full(n, np.inf), np.full(n, np.nan), np.zeros(n, np.bool_))
        steps = np.floor(np.where(np.isfinite(times), times, -np.inf) / self.step_s)
        before = np.maximum.accumulate(np.concatenate([[-np.inf if self.last is None else self.last], steps[:-1]]))
        rows = np.flatnonzero(steps > before)
        at = steps[rows].astype(np.int64)
        known = np.where(np.isfinite(values[rows]), np.clip(values[rows], -HUGE, HUGE), np.nan)
        done = 0
        while done < len(rows):
            if self.last is None or at[done] - self.last > self.history.most:
                self._start()
                self.last = int(at[done]) - 1
            stop = self._refit_after(self.last)
            upto = int(np.searchsorted(at, stop))
            end = stop if upto < len(rows) else int(at[-1]) + 1
            block = np.full(end - self.last - 1, np.nan)
            places = at[done:upto] - self.last - 1
            block[places] = known[done:upto]
            score, expected = self._judge(block)
            here = rows[done:upto]
            found.score[here], found.expected[here] = score[places], expected[places]
            found.threshold[here] = self.fit.threshold if self.fit else np.inf
            found.page[here] = self._pages(at[done:upto], found.above[here])
            self.last, done = end - 1, upto
            if end == stop:
                self._refit()
        return found

    def _refit_after(self, step: int) -> int:
        """The first step after `step` that must wait for a new fit."""
        young = self.history.used < YOUNG_DAYS * self.day
        period = max(1, self.day // YOUNG_REFITS) if young else self.day
        return ((step + 1) // period + 1) * period

    def _pages(self, at: Ints, above: Bools) -> Bools:
        """Which steps begin an episode."""
        pages = np.zeros(len(at), np.bool_)
        for row in np.flatnonzero(above):
            step = int(at[row])
            pages[row] = self.last_above is None or step - self.last_above > self.quiet
            self.last_above = step
        return pages

    def _judge(self, values: Floats) -> tuple[Floats, Floats]:
        """Score and expected value of the next steps, all before the next refit; both NaN where unknown."""
        history, n = self.history, len(values)
        own = history.extend(values)
        if not np.isfinite(values).any():
            return own["score"], own["expected"]
        self.new_values = True
        slots = (self.last + 1 + np.arange(n)) % self.day if self.last is not None else np.arange(n)
        fit = self.fit or Fit(np.full(self.day, np.nan), np.full(self.day, np.nan), np.nan, TINY, False, np.inf)
        own["deviation"][:] = values - fit.season[slots]
        by_hour = seasonal.trailing(history["value"], n, self.hour, 3)
        drift = seasonal.trailing(history["deviation"], n, self.hour, 3)
        by_day = fit.season[slots] + np.where(np.isfinite(drift), drift, 0.0)
        own["hourly"][:], own["daily"][:] = abs(values - by_hour), abs(values - by_day)
        own["expected"][:] = np.where(np.isfinite(by_day), by_day, by_hour) if fit.seasonal else by_hour
        error = values - own["expected"]
        own["size"][:] = abs(error)
        recent = seasonal.trailing(history["size"], n, self.two_hours, 5)
        usual = np.where(np.isfinite(fit.spread[slots]), fit.spread[slots], recent)
        local = (recent + usual) / 2
        unit = TO_SD * np.maximum(fit.size, np.where(np.isfinite(local), local, 0.0))
        own["step"][:] = np.clip(error / np.maximum(unit, fit.floor), -SCORE_MAX, SCORE_MAX)
        own["score"][:] = np.maximum(abs(own["step"]), SLOW_WEIGHT * abs(seasonal.mean(history["step"], n, SLOW)))
        return own["score"], own["expected"]

    def _refit(self) -> None:
        """Learn from all steps so far; nothing to do where no value came since."""
        if not self.new_values or self.last is None:
            return
        self.new_values = False
        history, end, day = self.history, self.last + 1, self.day
        recent, guess = max(seasonal.SEASON_DAYS * day, JUDGED_MIN), max(GUESS_DAYS * day, JUDGED_MIN)
        sizes, score = history["size"][-recent:], history["score"]
        sizes = sizes[np.isfinite(sizes)]
        usual = seasonal.median(abs(history["value"][-recent:]))
        judged = int(np.count_nonzero(np.isfinite(score)))
        weeks = judged * self.step_s / WEEK_S
        self.fit = Fit(
            seasonal.season(history["value"], end, day),
            seasonal.usual_spread(history["size"], end, day, self.half_hour),
            _usual_size(sizes),
            max(FLOOR * usual, TINY),
            _mean(history["daily"][-guess:]) <= _mean(history["hourly"][-guess:]),
            extremes.threshold(score, weeks, self.budget_per_week, self.quiet) if judged >= JUDGED_MIN else np.inf,
        )


def _mean(values: Floats) -> float:
    """Mean without NaN, NaN of nothing. Of guesses the mean error counts: a median never sees the steep hour."""
    known = values[np.isfinite(values)]
    return float(np.mean(known)) if len(known) else math.nan


def _usual_size(sizes: Floats) -> float:
    """Median residual, or the mean where most residuals are zero; NaN of too few."""
    if len(sizes) < SIZES_MIN:
        return math.nan
    return seasonal.median(sizes) or float(np.mean(sizes))


class History:
    """What is remembered of consecutive steps: columns of float64, the last `most` steps at least."""

    NAMES = ("value", "expected", "deviation", "hourly", "daily", "size", "step", "score")

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self._table = np.empty((len(self.NAMES), 256))

    def __getitem__(self, name: str) -> Floats:
        """The steps remembered, `most` of them at most."""
        column: Floats = self._table[self.NAMES.index(name), max(0, self.used - self.most) : self.used]
        return column

    def extend(self, values: Floats) -> dict[str, Floats]:
        """Add steps; returns their columns to be filled in, all but `value` NaN."""
        n = len(values)
        if self.used + n > self._table.shape[1]:
            kept = self._table[:, max(0, self.used - self.most) : self.used]
            self._table = np.empty((len(self.NAMES), 2 * (kept.shape[1] + n)))
            self.used = kept.shape[1]
            self._table[:, : self.used] = kept
        own = self._table[:, self.used : self.used + n]
        own[:] = np.nan
        own[0] = values
        self.used += n
        return dict(zip(self.NAMES, own, strict=True))
