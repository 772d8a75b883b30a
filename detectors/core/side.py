"""One side of a comparison: of some series in one tick, how many units could be bad and how many were, by measure."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.core.columns import GOOD_ENDINGS, MODEL_ENDINGS, Entries, Floats, Ids, Places, Tick


@dataclass(frozen=True)
class Measure:
    """What may be bad in a unit.

    said      in words, for a page
    quantile  whose limit it is about, of the old version's durations; None where units are bad by themselves
    times     as often over that limit is less than durations 1.5 times as long would be, if they are lognormal with a
              sigma of 1 at most
    """

    name: str
    said: str
    quantile: float | None = None
    times: float = 1.5


MEASURES = (
    Measure("failed", "failed calls"),
    Measure("ended", "calls that ended badly"),
    Measure("slow", "p75", 0.75),
    Measure("slowest", "p95", 0.95, 2.0),
)
"""`slow` and `slowest` are calls that took longer than the old version's p75 and p95 as the comparison began."""
CUTS = (0.75, 0.95)


LOWEST, WIDTH = -80, 140
"""Buckets of durations are OTLP's of scale 2 (19% wide): the first, and how many, from a microsecond to nine hours."""


class Sides(NamedTuple):
    """(r, M) units that a measure can be told of, bad ones of them; (r, WIDTH) durations."""

    units: Floats
    bad: Floats
    shape: Floats


def seconds(position: Floats) -> Floats:
    """Seconds at a position among the buckets."""
    found: Floats = np.exp2((position + LOWEST) / 4)
    return found


def sides(tick: Tick, rows: Ids, cuts: Floats) -> Sides:
    """What series counted in a tick; what has sampling weights counts as many as it is worth.

    rows  (r,) series ids, one may come twice and one that is not in the tick counts nothing
    cuts  (r, 2) buckets from which durations are slow and slowest; NaN: none is known yet, so no unit is told of
    """
    place = np.clip(np.searchsorted(tick.series, rows), 0, max(len(tick.series) - 1, 0))
    there = (tick.series[place] == rows) if len(tick.series) else np.zeros(len(rows), np.bool_)
    count, squares, failed = (np.where(there, column[place], 0.0) if len(tick.series) else np.zeros(len(rows))
                              for column in (tick.count, tick.squares, tick.failed))  # fmt: skip
    worth = np.divide(count, squares, out=np.zeros(len(rows)), where=squares > 0)
    ended = tick.ending.at(tick.ending.bucket < len(MODEL_ENDINGS))
    endings = _dense(ended, rows, np.zeros(len(ended.bucket), np.int64) + ended.bucket, len(MODEL_ENDINGS))
    bucket = np.clip((tick.duration.bucket.astype(np.int64) >> 1) - LOWEST, 0, WIDTH - 1)
    shape = _dense(tick.duration, rows, bucket, WIDTH) * worth[:, None]
    known = ~np.isnan(cuts[:, 0])
    timed = np.where(known, shape.sum(1), 0.0)
    over = [np.where(np.arange(WIDTH) >= np.nan_to_num(cuts[:, [i]]), shape, 0).sum(1) * known for i in (0, 1)]
    units = [count * worth, endings.sum(1) * worth, timed, timed]
    bad = [failed * worth, endings[:, GOOD_ENDINGS:].sum(1) * worth, *over]
    return Sides(np.stack(units, 1), np.stack(bad, 1), shape)


def _dense(entries: Entries, rows: Ids, bucket: Places, width: int) -> Floats:
    """(r, width) counts of the entries of these series."""
    found = np.zeros((len(rows), width))
    order = np.argsort(rows, kind="stable")
    first, stop = (np.searchsorted(rows[order], entries.cell, side) for side in ("left", "right"))
    for extra in range(int((stop - first).max(initial=0))):  # A series may stand for several rows.
        mine = first + extra < stop
        np.add.at(found, (order[(first + extra)[mine]], bucket[mine]), entries.count[mine])
    return found
