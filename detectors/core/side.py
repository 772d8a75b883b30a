"""One side of a comparison: of some series in one tick, how many units could be bad and how many were, by measure."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.core.columns import GOOD_ENDINGS, MODEL_ENDINGS, Arrays, Bools, Entries, Floats, Ids, Places, Tick

SHAPES = ("duration", "cost")
"""Histograms whose quantiles are compared."""
UNITS = ("s", "usd")
CUTS = (0.75, 0.95)


@dataclass(frozen=True)
class Measure:
    """What may be bad in a unit.

    said   in words, for a page
    shape  place in SHAPES of what is compared by a quantile; None where units are bad by themselves
    cut    place in CUTS of the old version's quantile that is its limit
    times  as often over that limit is less than values 1.5 times as large would be, if they are lognormal: durations
           with a sigma of 1 at most, costs with one of 1.5
    """

    name: str
    said: str
    shape: int | None = None
    cut: int = 0
    times: float = 1.5

    @property
    def unit(self) -> str:
        """Of its level: a ratio, or that of its histogram."""
        return "ratio" if self.shape is None else UNITS[self.shape]


MEASURES = (
    Measure("failed", "failures"),
    Measure("ended", "calls that ended badly"),
    Measure("slow", "p75 of durations", 0, 0),
    Measure("slowest", "p95 of durations", 0, 1, 2.0),
    Measure("outcome", "sessions that did not end well"),
    Measure("dear", "p75 of sessions' costs", 1, 0, 1.35),
    Measure("dearest", "p95 of sessions' costs", 1, 1, 1.65),
)
"""`slow` and `slowest` are units that took longer than the old version's p75 and p95 as the comparison began, `dear`
and `dearest` sessions that cost more."""
MEASURES_BEFORE = 4
"""How many of them a version before knew."""
LOWEST, WIDTH = -80, 140
"""Buckets of durations and dollars are OTLP's of scale 2 (19% wide): the first, and how many, from a millionth to
34,000: nine hours."""


class Sides(NamedTuple):
    """Of r series:

    units  (r, M)     that a measure can be told of
    bad    (r, M)     of them
    shape  (r, 2, W)  histograms of SHAPES
    spent  (r, 2)     dollars of calls, and calls whose price is known
    """

    units: Floats
    bad: Floats
    shape: Floats
    spent: Floats


def level_at(position: Floats) -> Floats:
    """Seconds, or dollars, at a position among the buckets."""
    found: Floats = np.exp2((position + LOWEST) / 4)
    return found


def sides(tick: Tick, weight: Floats, rows: Ids, cuts: Floats, goods: int, classes: int) -> Sides:
    """What series counted in a tick; what has sampling weights counts as many as it is worth.

    weight   (n,) what the counts of the tick's series are divided by (`worth.py`)
    rows     (r,) series ids, one may come twice and one that is not in the tick counts nothing
    cuts     (r, 4) buckets from which units are over CUTS, of each of SHAPES; NaN while they are not known
    goods    how many classes of outcomes are good, the first ones; `classes` are all, the last one those of no class
    """
    place = np.clip(np.searchsorted(tick.series, rows), 0, max(len(tick.series) - 1, 0))
    there = (tick.series[place] == rows) if len(tick.series) else np.zeros(len(rows), np.bool_)
    count, worth, failed, dollars, unpriced = (
        np.where(there, column[place], 0.0) if len(tick.series) else np.zeros(len(rows))
        for column in (tick.count, np.nan_to_num(1 / weight), tick.failed, tick.cost_usd, tick.unpriced)
    )
    endings = _mix(tick.ending, rows, len(MODEL_ENDINGS))
    outcomes = _mix(tick.outcome, rows, classes)
    shape = np.stack([histograms(getattr(tick, name), rows) for name in SHAPES], 1) * worth[:, None, None]
    cut = cuts.reshape(-1, len(SHAPES), len(CUTS), 1)
    told = np.where(np.isnan(cut[:, :, 0, 0]), 0.0, shape.sum(2))
    # Nothing is over a limit that is NaN.
    over = np.where(np.arange(WIDTH) >= cut, shape[:, :, None], 0.0).sum(3)
    units = (count * worth, endings.sum(1) * worth, outcomes.sum(1) * worth)
    bad = (failed * worth, endings[:, GOOD_ENDINGS:].sum(1) * worth, outcomes[:, goods : classes - 1].sum(1) * worth)
    return Sides(
        np.stack([*units[:2], told[:, 0], told[:, 0], units[2], told[:, 1], told[:, 1]], 1),
        np.stack([*bad[:2], over[:, 0, 0], over[:, 0, 1], bad[2], over[:, 1, 0], over[:, 1, 1]], 1),
        shape, np.stack([dollars, count - unpriced], 1),
    )  # fmt: skip


def told_of(tick: Tick) -> Bools:
    """(n, M) of the series of a tick, which measures it says anything of."""
    ending, outcome, duration, cost = (
        np.isin(tick.series, entries.cell) for entries in (tick.ending, tick.outcome, tick.duration, tick.cost)
    )
    return np.stack([tick.count > 0, ending, duration, duration, outcome, cost, cost], 1)


def histograms(entries: Entries, rows: Ids) -> Floats:
    """(r, WIDTH) values of these series."""
    bucket = np.clip((entries.bucket.astype(np.int64) >> 1) - LOWEST, 0, WIDTH - 1)
    return _dense(entries, rows, bucket, WIDTH)


def widened(arrays: Arrays, name: str, size: int, fill: float) -> dict[str, Floats]:
    """A saved array whose second axis is shorter than `size`, as a version before wrote it, with the fill behind."""
    array = np.asarray(arrays[name])
    missing = size - array.shape[1]
    if missing <= 0:
        return {}
    more = np.full((len(array), missing, *array.shape[2:]), fill, array.dtype)
    return {name: np.concatenate([array, more], 1)}


def _mix(entries: Entries, rows: Ids, classes: int) -> Floats:
    """(r, classes) counts; what has a larger number is left out."""
    known = entries.at(entries.bucket < classes)
    return _dense(known, rows, known.bucket.astype(np.int64), classes)


def _dense(entries: Entries, rows: Ids, bucket: Places, width: int) -> Floats:
    """(r, width) counts of the entries of these series."""
    found = np.zeros((len(rows), width))
    order = np.argsort(rows, kind="stable")
    first, stop = (np.searchsorted(rows[order], entries.cell, side) for side in ("left", "right"))
    for extra in range(int((stop - first).max(initial=0))):  # A series may stand for several rows.
        mine = first + extra < stop
        np.add.at(found, (order[(first + extra)[mine]], bucket[mine]), entries.count[mine])
    return found
