"""What others page on the same streams: small implementations of rules as they are published.

Each looks at one level a minute: the failed share of the last five minutes (errors, bad outcomes) or their p95
(latency, cost), of at least twenty calls: less says nothing. A rule gives a score, and flags where the score is above
1; only rises count. Flags within half an hour of one another are one page, as an alert of ours is held so long.

z-score         a week's mean and standard deviation, limit three, held for five minutes (GitLab, "How to use
                Prometheus for anomaly detection")
adaptive bands  grafana/promql-anomaly-detection, rules/adaptive.yml: an hour's mean, twice a smoothed deviation, bands
                of a day and a week ago, held for five minutes
robust bands    the same, rules/robust.yml: a day's median, twice its absolute deviation; evaluated every five minutes
burn rate       Google, "The Site Reliability Workbook", chapter 5: 14.4 times over an hour and five minutes, or six
                times over six hours and half an hour; an objective of 99%
static          a limit held for five minutes: 5% failed, 40% bad outcomes, twice the first week's median p95
River           its drift detectors ADWIN and Page-Hinkley, on each minute's level
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN, PageHinkley

from detectors.core.columns import Bools, Floats, Tick
from detectors.core.seasonal import medians
from tests.bench.nulls import DAY, FINE, LOWEST, WEEK

HOLD, GAP, COARSE = 5, 30, 5
LEAST = 20
"""Calls that a window must hold, or a single failure in the night would be a share of one."""
OBJECTIVE = 0.99
LIMITS = {"errors": 0.05, "outcomes": 0.40}
RIVER_SERIES = 6


@dataclass(eq=False)
class Seen:
    """The minutes of some series: units and, for shares, how many of them were bad; else the five minutes' p95.

    count, bad  (S, T) float32 · p95 (S, T) float32, NaN where nothing was seen
    """

    signal: str
    series: int
    minutes: int

    def __post_init__(self) -> None:
        shape = self.series, self.minutes
        self.count, self.bad = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.p95 = np.full(shape, np.nan, np.float32)
        self._last: Floats = np.zeros((HOLD, self.series, FINE))

    def add(self, minute: int, tick: Tick | None) -> None:
        """One minute of a stream whose series ids begin at 1."""
        distribution = self.signal in ("latency", "cost")
        if distribution:
            self._last[minute % HOLD] = 0
        if tick is None:
            return
        mine = tick.series <= self.series
        rows = tick.series[mine] - 1
        self.count[rows, minute] = tick.count[mine]
        if self.signal == "errors":
            self.bad[rows, minute] = tick.failed[mine]
        entries = tick.outcome if self.signal == "outcomes" else tick.duration
        kept = entries.cell <= self.series
        row, bucket, count = entries.cell[kept] - 1, entries.bucket[kept], entries.count[kept]
        if self.signal == "outcomes":
            self.bad[:, minute] = np.bincount(row[bucket > 0], count[bucket > 0], self.series)
        elif distribution:
            self._last[minute % HOLD, row, bucket - LOWEST] = count
            below = np.cumsum(self._last.sum(0), 1)
            some = below[:, -1] > 0
            at = (below[some] >= 0.95 * below[some, -1:]).argmax(1)
            self.p95[some, minute] = np.exp2((at + LOWEST + 0.5) / 8)

    def level(self) -> Floats:
        """(S, T) what every rule but the burn rate looks at; NaN where nothing was seen."""
        if self.signal in ("latency", "cost"):
            return np.where(total(self.count, HOLD) >= LEAST, self.p95.astype(float), np.nan)
        return self.share(HOLD)

    def share(self, minutes: int) -> Floats:
        """(S, T) bad share over so many minutes."""
        count = total(self.count, minutes)
        with np.errstate(invalid="ignore", divide="ignore"):
            share: Floats = np.where(count >= LEAST, total(self.bad, minutes) / count, np.nan)
        return share


def total(values: NDArray[np.floating[Any]], window: int) -> Floats:
    """(S, T) sums of the last `window` minutes, the minute itself included."""
    sums = np.cumsum(values, 1, dtype=float)
    sums[:, window:] = sums[:, window:] - sums[:, :-window]
    return sums


def spread(level: Floats, window: int) -> tuple[Floats, Floats]:
    """(mean, standard deviation) of the last `window` minutes, NaN left out; NaN where none were seen."""
    known = np.isfinite(level)
    value = np.where(known, level, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = total(known.astype(float), window)
        mean = total(value, window) / n
        deviation: Floats = np.sqrt(np.maximum(total(value * value, window) / n - mean * mean, 0))
    return np.where(n > 0, mean, np.nan), np.where(n > 0, deviation, np.nan)


def before(values: Floats, minutes: int) -> Floats:
    """The values of so many minutes ago; NaN where there were none."""
    earlier = np.full_like(values, np.nan)
    earlier[:, minutes:] = values[:, :-minutes]
    return earlier


def z_score(seen: Seen) -> Floats:
    level = seen.level()
    mean, deviation = (before(each, 1) for each in spread(level, WEEK))
    return held((level - mean) / (3 * np.maximum(deviation, 1e-6)))


def adaptive(seen: Seen) -> Floats:
    level = np.where(seen.level() > 0, seen.level(), np.nan)
    mean, deviation = spread(level, 60)
    smooth, _ = spread(np.where(deviation > 0.5 * mean, deviation, np.nan), 26 * 60)
    return held(above_all(level, mean, [2 * smooth, 0.5 * mean], [(mean, 2 * deviation)]))


def robust(seen: Seen) -> Floats:
    """Every fifth minute stands for five."""
    fine = np.where(seen.level() > 0, seen.level(), np.nan)
    level = fine[:, COARSE - 1 :: COARSE]
    hour, day = 60 // COARSE, DAY // COARSE
    middle = rolling_median(level, day)
    apart = rolling_median(abs(level - middle), day)
    now = rolling_median(level, hour)
    now_apart = rolling_median(abs(level - now), hour)
    score = above_all(now, middle, [2 * apart, 0.5 * middle], [(now, 2 * now_apart)], COARSE)
    full = np.full(fine.shape, np.nan)
    full[:, COARSE - 1 :] = np.repeat(score, COARSE, 1)[:, : fine.shape[1] - COARSE + 1]
    return held(full)


def above_all(
    level: Floats, middle: Floats, widths: list[Floats], seasonal: list[tuple[Floats, Floats]], step: int = 1
) -> Floats:
    """By how many widths a level lies above the highest of its bands, those of a day and a week ago among them."""
    bands = [(middle, width) for width in widths]
    bands += [(before(m, ago // step), before(w, ago // step)) for m, w in seasonal for ago in (DAY - 30, WEEK - 30)]
    least = np.full(level.shape, np.inf)
    for mid, width in bands:  # A band that is not known bounds nothing.
        least = np.fmin(least, np.where(np.isfinite(width), (level - mid) / np.maximum(width, 1e-9), np.inf))
    return np.where(np.isfinite(least), least, np.nan)


def rolling_median(level: Floats, window: int) -> Floats:
    """(S, T) medians of the last `window` steps, NaN left out."""
    padded = np.concatenate([np.full((len(level), window - 1), np.nan), level], 1)
    return np.stack([medians(np.lib.stride_tricks.sliding_window_view(row, window), 1) for row in padded])


def burn_rate(seen: Seen) -> Floats:
    """Nothing but errors has an objective here."""
    budget = 1 - OBJECTIVE
    fast = np.fmin(seen.share(60), seen.share(5)) / (14.4 * budget)
    slow = np.fmin(seen.share(360), seen.share(30)) / (6 * budget)
    score: Floats = np.fmax(fast, slow)
    return score


def static(seen: Seen) -> Floats:
    level = seen.level()
    usual = medians(level[:, :WEEK], 1)[:, None]
    return held(level / LIMITS[seen.signal] if seen.signal in LIMITS else level / (2 * usual))


def held(score: Floats) -> Floats:
    """The score that all of the last five minutes (and this one) reached: `for: 5m`."""
    least = score.copy()
    for ago in range(1, HOLD + 1):
        least = np.minimum(least, before(score, ago))
    return least


SCORES: Mapping[str, Callable[[Seen], Floats]] = {
    "z-score": z_score,
    "adaptive bands": adaptive,
    "robust bands": robust,
    "burn rate": burn_rate,
    "static": static,
}
RIVER: Mapping[str, Callable[[], ADWIN | PageHinkley]] = {"River ADWIN": ADWIN, "River Page-Hinkley": PageHinkley}


def scores(seen: Seen) -> dict[str, Floats]:
    """(S, T) score of every rule that has one for the signal."""
    return {name: score(seen) for name, score in SCORES.items() if name != "burn rate" or seen.signal == "errors"}


def river_flags(seen: Seen, detector: Callable[[], ADWIN | PageHinkley]) -> Bools:
    """Where a drift detector of River saw one, on the first few series."""
    level = seen.level()[:RIVER_SERIES]
    flags = np.zeros(level.shape, np.bool_)
    for row, values in enumerate(level.tolist()):
        one = detector()
        for minute, value in enumerate(values):
            if value == value:
                one.update(value)  # type: ignore[no-untyped-call]
                flags[row, minute] = one.drift_detected
    return flags


def pages(flags: Bools) -> tuple[NDArray[np.intp], ...]:
    """(series, minute) of each page: a flag with none in the half hour before."""
    recent = np.zeros(flags.shape, np.bool_)
    recent[:, 1:] = total(flags.astype(float), GAP)[:, :-1] > 0
    return np.nonzero(flags & ~recent)


def calibrated(score: Floats, most: int) -> float:
    """The least limit at which a rule sends no more than so many pages on this null: tuned with hindsight."""
    low, high = 1e-3, float(np.nanmax(score, initial=1.0)) * 1.001
    for _ in range(25):
        middle = float(np.sqrt(low * high))
        if len(pages(score > middle)[0]) > most:
            low = middle
        else:
            high = middle
    return high
