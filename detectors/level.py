"""Any numeric series, one value a step: how far it is from where it should be, and how far is worth a page.

The residual against the usual level of the time of day (of the week, if the rule says so; or the last hour's, whichever
has been the better guess) is taken at two scales, the step itself and the mean of four, in units of its own usual size.
The threshold comes from the series' own history: see `detectors.core.extremes`. Only the past is used, and of it no
episode: from its first step until it was calm for half an hour the series is expected where it was, and what is above
the bar is remembered as what was expected. A level that has lasted a day is learnt.
"""

import math
from dataclasses import astuple, dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detectors.core import extremes, seasonal
from detectors.core.columns import Bools, Floats
from detectors.core.descriptor import Descriptor
from detectors.core.scored import GAUGES, JUDGED_MIN, LEARNS, Score, Scored, calm_steps

Ints = NDArray[np.int64]

HOUR_S, DAY_S, WEEK_S = 3600.0, 86_400.0, 604_800.0
HISTORY_DAYS = 28
GUESS_DAYS = 3
"""Scores that must be known before any is judged."""
WEEK = 7
"""Days of a season that knows each day of the week."""
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
BLOCK = 2048
"""Steps judged at once, at most: where an episode begins or ends, those after it are judged again."""


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
    """What history says, frozen until the next refit; `season` is by its slots, `spread` by those of the day."""

    season: Floats
    spread: Floats
    size: float
    floor: float
    seasonal: bool
    threshold: float


@dataclass(frozen=True)
class Hold:
    """What is expected while an episode lasts, as its first step found it; NaN where unknown.

    since   the first step
    value   last hour's median
    drift   last hour's median distance from the season
    size    last two hours' median residual
    """

    since: int
    value: float
    drift: float
    size: float


class Level:
    """The detector of one series, as its values come; `observe` and `scores` give the same answers in any mixture.

    step_s           seconds between values; each belongs to the step its time falls into
    budget_per_week  false pages a week that this series may cost, > 0
    season_days      1, where each day is like the one before; WEEK, where each is like that of a week ago
    """

    def __init__(self, step_s: float, budget_per_week: float, season_days: int = 1) -> None:
        assert step_s > 0 and budget_per_week > 0
        self.step_s, self.budget_per_week = step_s, budget_per_week
        self.day = max(1, round(DAY_S / step_s))
        self.season = season_days * self.day
        self.season_days, self.guess_days = season_days, max(GUESS_DAYS, season_days)
        self.seasons = seasonal.SEASON_DAYS if season_days == 1 else seasonal.SEASON_WEEKS
        self.half_hour, self.hour, self.two_hours = (
            int(np.clip(round(seconds / step_s), *limits))
            for seconds, limits in ((HOUR_S / 2, (3, 30)), (HOUR_S, (5, 60)), (2 * HOUR_S, (12, 120)))
        )
        self.quiet = calm_steps(step_s)
        self._start()

    def _start(self) -> None:
        self.history = History(self.day, self.seasons * self.season_days, self.guess_days)
        self.fit: Fit | None = None
        self.new_values = False
        self.last: int | None = None
        self.last_above: int | None = None
        self.hold: Hold | None = None

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
            until = min(stop, self.last + 1 + BLOCK, int(at[-1]) + 1)
            block = np.full(until - self.last - 1, np.nan)
            upto = int(np.searchsorted(at, until))
            block[at[done:upto] - self.last - 1] = known[done:upto]
            threshold = self.fit.threshold if self.fit else np.inf
            score, expected, page = self._judge(block, threshold)
            end = self.last + 1 + len(score)
            upto = int(np.searchsorted(at, end))
            here, places = rows[done:upto], at[done:upto] - self.last - 1
            found.score[here], found.expected[here] = score[places], expected[places]
            found.threshold[here], found.page[here] = threshold, page[places]
            self.last, done = end - 1, upto
            if end == stop:
                self._refit()
        return found

    def state(self) -> Floats:
        """Everything, as one row of numbers."""
        marks = [math.nan if one is None else one for one in (self.last, self.last_above)]
        hold = astuple(self.hold) if self.hold else (math.nan,) * 4
        fit = self.fit
        facts = [fit.size, fit.floor, float(fit.seasonal), fit.threshold] if fit else []
        shapes = [fit.season, fit.spread] if fit else []
        return np.concatenate(
            [[*marks, *hold, float(self.new_values), float(fit is not None), *facts], *shapes, self.history.state()]
        )

    def resume(self, state: Floats) -> None:
        """Go on from what `state` gave of a detector with the same step."""
        last, last_above, since, value, drift, held_size, new_values, has_fit = state[:8].tolist()
        self.last = None if math.isnan(last) else int(last)
        self.last_above = None if math.isnan(last_above) else int(last_above)
        self.hold = None if math.isnan(since) else Hold(int(since), value, drift, held_size)
        self.new_values, at = bool(new_values), 8
        if has_fit:
            size, floor, is_seasonal, threshold = state[8:12].tolist()
            ends = np.cumsum([12, self.season, self.day])
            season, spread = (state[begin:end].copy() for begin, end in pairwise(ends))
            self.fit, at = Fit(season, spread, size, floor, bool(is_seasonal), threshold), int(ends[-1])
        self.history.resume(state[at:])

    def _refit_after(self, step: int) -> int:
        """The first step after `step` that must wait for a new fit."""
        young = self.history.used < YOUNG_DAYS * self.day
        period = max(1, self.day // YOUNG_REFITS) if young else self.day
        return ((step + 1) // period + 1) * period

    def said(self, score: float, bar: float) -> str:
        """A score above its bar in words, for a page."""
        return f"{score:.1f} times its usual stray, where {bar:.1f} is its bar"

    def known(self) -> int:
        """How many values were scored."""
        return int(np.count_nonzero(np.isfinite(self.history["score"])))

    def release(self) -> None:
        """Learn from the next step on, though the episode is not over."""
        self.hold = None

    def _judge(self, values: Floats, threshold: float) -> tuple[Floats, Floats, Bools]:
        """Score, expected value and whether a page begins, of the next steps, all before the next refit.

        Ends with a step at which an episode begins or ends: those after it expect something else. NaN where unknown.
        """
        first = 0 if self.last is None else self.last + 1
        own = self.history.extend(values)
        usual = self._score(own, (first + np.arange(len(values))) % self.season)
        upto, begins = self._turn(first, own["score"], threshold)
        self.history.drop(len(values) - upto)
        score, expected, page = own["score"][:upto].copy(), own["expected"][:upto].copy(), np.zeros(upto, np.bool_)
        if begins:
            value, drift, size = (float(column[upto - 1]) for column in usual)
            self.hold = Hold(first + upto - 1, float(expected[-1]) if math.isnan(value) else value, drift, size)
            page[-1] = True
        if self.hold:
            kept = {name: column[:upto] for name, column in own.items()}
            self._hold_back(self.hold, kept, (score > threshold) & (first + np.arange(upto) >= self.hold.since), first)
            if not begins and self._over(self.hold, first + upto - 1, score[-1]):
                self.hold = None
        return score, expected, page

    def _score(self, own: dict[str, Floats], slots: Ints) -> tuple[Floats, Floats, Floats]:
        """Fill in the columns of the next steps; returns the last hour's median, its drift, and the usual residual."""
        history, values, n, hold = self.history, own["value"], len(slots), self.hold
        fit = self.fit or Fit(np.full(self.season, np.nan), np.full(self.day, np.nan), np.nan, TINY, False, np.inf)
        own["deviation"][:] = values - fit.season[slots]
        by_hour = np.full(n, hold.value) if hold else seasonal.trailing(history["value"], n, self.hour, 3)
        drift = np.full(n, hold.drift) if hold else seasonal.trailing(history["deviation"], n, self.hour, 3)
        by_day = fit.season[slots] + np.where(np.isfinite(drift), drift, 0.0)
        own["hourly"][:], own["daily"][:] = abs(values - by_hour), abs(values - by_day)
        own["expected"][:] = np.where(np.isfinite(by_day), by_day, by_hour) if fit.seasonal else by_hour
        error = values - own["expected"]
        own["size"][:] = abs(error)
        recent = np.full(n, hold.size) if hold else seasonal.trailing(history["size"], n, self.two_hours, 5)
        spread = fit.spread[slots % self.day]
        usual = np.where(np.isfinite(spread), spread, recent)
        local = (recent + usual) / 2
        unit = TO_SD * np.maximum(fit.size, np.where(np.isfinite(local), local, 0.0))
        own["step"][:] = np.clip(error / np.maximum(unit, fit.floor), -SCORE_MAX, SCORE_MAX)
        own["score"][:] = np.maximum(abs(own["step"]), SLOW_WEIGHT * abs(seasonal.mean(history["step"], n, SLOW)))
        self.new_values |= bool(np.isfinite(values).any())
        return by_hour, drift, recent

    def _turn(self, first: int, score: Floats, threshold: float) -> tuple[int, bool]:
        """How many of the steps stand, and whether an episode begins with the last of them."""
        above = np.flatnonzero(score > threshold)
        if self.hold is None:
            for row in above.tolist():
                before, self.last_above = self.last_above, first + row
                if before is None or first + row - before > self.quiet:
                    return row + 1, True
            return len(score), False
        for row in range(len(score)):
            if score[row] > threshold:
                self.last_above = first + row
            if self._over(self.hold, first + row, score[row]):
                return row + 1, False
        return len(score), False

    def _over(self, hold: Hold, step: int, score: float) -> bool:
        """Whether an episode has lasted a day, or been calm for long enough; silence is no calm."""
        calm = self.last_above is not None and step - self.last_above >= self.quiet
        return step - hold.since >= self.day or (calm and not math.isnan(score))

    def _hold_back(self, hold: Hold, own: dict[str, Floats], above: Bools, first: int) -> None:
        """Keep what is above the bar out of what is learnt. Of its scores the highest of half an hour counts, once."""
        own["value"][above], own["deviation"][above], own["size"][above] = own["expected"][above], hold.drift, hold.size
        own["hourly"][above] = own["daily"][above] = np.nan
        early = above & (first + np.arange(len(above)) - hold.since <= self.half_hour)
        highest = np.max(own["score"][early], initial=0.0)
        own["score"][above] = np.nan
        scores, place = self.history["score"], hold.since - first - len(above)
        scores[place] = np.fmax(scores[place], highest)

    def _refit(self) -> None:
        """Learn from all steps so far; nothing to do where no value came since."""
        if not self.new_values or self.last is None:
            return
        self.new_values = False
        history, end, day = self.history, self.last + 1, self.day
        recent = max(seasonal.SEASON_DAYS * day, JUDGED_MIN)
        guess = max(self.guess_days * day, JUDGED_MIN)
        sizes, score = history["size"][-recent:], history["score"]
        sizes = sizes[np.isfinite(sizes)]
        usual = seasonal.median(abs(history["value"][-recent:]))
        judged = int(np.count_nonzero(np.isfinite(score)))
        weeks = judged * self.step_s / WEEK_S
        self.fit = Fit(
            seasonal.season(history["value"], end, self.season, self.seasons),
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
    """What is remembered of consecutive steps: columns of float64, each for as long as it is looked at.

    Two days are more than nothing, as a whole day is judged at once and looks two hours back.

    season_days, guess_days  that the season is made of, and over which it is held against the last hour
    """

    NAMES = ("value", "expected", "deviation", "hourly", "daily", "size", "step", "score")

    def __init__(self, day: int, season_days: int, guess_days: int) -> None:
        days = dict.fromkeys(self.NAMES, 2) | {"value": season_days + 1, "size": seasonal.SEASON_DAYS + 1}
        days |= {"hourly": guess_days + 1, "daily": guess_days + 1, "score": HISTORY_DAYS}
        self.most = max(HISTORY_DAYS * day, 4 * JUDGED_MIN)
        self.used = 0
        self._most = {name: max(many * day, 4 * JUDGED_MIN) for name, many in days.items()}
        self._columns = {name: np.empty(64) for name in self.NAMES}
        self._used = dict.fromkeys(self.NAMES, 0)

    def __getitem__(self, name: str) -> Floats:
        """The steps remembered."""
        used = self._used[name]
        return self._columns[name][max(0, used - self._most[name]) : used]

    def extend(self, values: Floats) -> dict[str, Floats]:
        """Add steps; returns their columns to be filled in, all but `value` NaN."""
        own = {name: self._more(name, len(values)) for name in self.NAMES}
        own["value"][:] = values
        self.used += len(values)
        return own

    def drop(self, n: int) -> None:
        """Take the last `n` steps back."""
        self.used -= n
        for name in self.NAMES:
            self._used[name] -= n

    def _more(self, name: str, n: int) -> Floats:
        if self._used[name] + n > len(self._columns[name]):
            self._put(name, self[name], n)
        used = self._used[name]
        self._used[name] = used + n
        self._columns[name][used : used + n] = np.nan
        return self._columns[name][used : used + n]

    def _put(self, name: str, kept: Floats, room: int) -> None:
        column = np.empty(len(kept) + max(room, len(kept) // 4, 64))
        column[: len(kept)] = kept
        self._columns[name], self._used[name] = column, len(kept)

    def state(self) -> Floats:
        """The columns one after another, their lengths first."""
        kept = [self[name] for name in self.NAMES]
        return np.concatenate([[self.used], [float(len(column)) for column in kept], *kept])

    def resume(self, state: Floats) -> None:
        """What `state` gave."""
        count = len(self.NAMES)
        self.used = int(state[0])
        ends = np.cumsum(state[1 : count + 1].astype(np.int64))[:-1]
        for name, column in zip(self.NAMES, np.split(state[count + 1 :], ends), strict=True):
            self._put(name, column, 0)


DETECTOR = Descriptor(
    lambda terms: Scored(terms, partial(Level, season_days=WEEK if terms.of_week else 1)),
    GAUGES,
    arrow="expected",
    learns=LEARNS,
    takes_signal=True,
    takes_window=True,
    takes_season=True,
    series_usual=200,
)
