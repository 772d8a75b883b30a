"""A signal of some cells, before and since, as parts and units: what `terms.py` takes apart."""

import numpy as np

from detectors.core.columns import Entries, Floats, added_up
from detectors.core.signals import Mean, Quantile, Rate, Signal
from service.causes.past import Counted
from service.causes.terms import Shares

EDGES_AN_OCTAVE = 4
"""Of the past's histograms."""
ALMOST_NONE = 1e-3
"""Units that stand for those of a group of which there was nothing before."""
OWN_QUANTILE, KNOWN = 0.8, 20.0
"""What a group is measured by where it is by itself, and the units from which it knows its own."""


def shares(signal: Signal, before: Counted, now: Counted) -> Shares | None:
    """The signal's parts and units by group; None for a rate of which one of the times knows nothing.

    Of a quantile the part is what lies above the level that it had before: 5% of the units, for a p95. A rate has no
    units: each group's are what it amounts to in both times, so that its mix never changes.
    """
    match signal.of:
        case Mean(part, units):
            return Shares(part(before.tick), units(before.tick), part(now.tick), units(now.tick))
        case Quantile(share, histogram):
            groups = len(before.tick.series)
            then, since = histogram(before.tick), histogram(now.tick)
            position = quantile_at(then, share)
            return Shares(
                above(then, position, groups), counted(then, groups), above(since, position, groups),
                counted(since, groups),
            )  # fmt: skip
        case rate:
            if (amounts := _amounts(rate, before, now)) is None:
                return None
            came0, came1 = amounts
            return Shares(came0, came0 + came1, came1, came0 + came1)


def _amounts(rate: Rate, before: Counted, now: Counted) -> tuple[Floats, Floats] | None:
    """(groups,) what came in the time of now, and what would have come in it at the rate of before.

    Both are told in units, as calls of the mean price, so that they may be held against chance.
    """
    counted = [float(rate.units(one.tick).sum()) for one in (before, now)]
    amounts = [rate.amount(one.tick) for one in (before, now)]
    total = sum(float(one.sum()) for one in amounts)
    if not (before.seconds and now.seconds and total > 0 and sum(counted) > 0):
        return None
    worth = total / sum(counted)
    return amounts[0] / worth * (now.seconds / before.seconds), amounts[1] / worth


def own_shares(signal: Signal, before: Counted, now: Counted, together: Shares) -> Shares:
    """The same by each group's own level before: of a quantile, whether a group got slower than itself.

    A fast group that got slower may still be faster than most; `together` would not tell. Of a rate, how many times as
    much as before came.
    """
    if isinstance(signal.of, Rate):
        return Shares(together.part0, together.part0, together.part1, np.maximum(together.part0, ALMOST_NONE))
    if not isinstance(signal.of, Quantile):
        return together
    groups = len(before.tick.series)
    then, since = signal.of.histogram(before.tick), signal.of.histogram(now.tick)
    knows_own = counted(then, groups) >= KNOWN
    position = np.where(knows_own, quantiles(then, OWN_QUANTILE, groups), quantile_at(then, OWN_QUANTILE))
    return Shares(
        above(then, position[then.cell], groups), counted(then, groups),
        above(since, position[since.cell], groups), counted(since, groups),
    )  # fmt: skip


def quantile_at(entries: Entries, share: float) -> float:
    """The quantile of all groups together, in buckets and a fraction; NaN where nothing was counted."""
    together = added_up(np.zeros_like(entries.cell), entries.bucket, entries.count)
    return float(quantiles(together, share, 1)[0])


def quantiles(entries: Entries, share: float, groups: int) -> Floats:
    """(groups,) the quantile of each, in buckets and a fraction; NaN where nothing was counted.

    entries  ascending by cell, and by bucket within a cell · share  above 0 and below 1

    >>> quantiles(Entries(np.array([0, 0, 2]), np.array([3, 4, 9]), np.array([6.0, 2.0, 1.0])), 0.5, 3).round(2)
    array([3.67,  nan, 9.5 ])
    """
    found = np.full(groups, np.nan)
    cells, first, size = np.unique(entries.cell, return_index=True, return_counts=True)
    upto = np.cumsum(entries.count)
    target = upto[first] - entries.count[first] + share * counted(entries, groups)[cells]
    # Within the group, whatever a huge weight of another one costs in digits.
    at = np.clip(np.searchsorted(upto, target), first, first + size - 1)
    found[cells] = entries.bucket[at] + 1 - (upto[at] - target) / entries.count[at]
    return found


def above(entries: Entries, position: float | Floats, groups: int) -> Floats:
    """(groups,) how many lie above a position, which may be another for each entry; linear inside its bucket."""
    part = np.clip(entries.bucket + 1 - position, 0.0, 1.0)
    return np.bincount(entries.cell, entries.count * part, groups).astype(float)


def counted(entries: Entries, groups: int) -> Floats:
    """(groups,) how many there are."""
    return np.bincount(entries.cell, entries.count, groups).astype(float)


def values_at(positions: Floats) -> Floats:
    """Seconds or dollars at positions.

    >>> values_at(np.array([4.0, 0.0]))
    array([2., 1.])
    """
    values: Floats = 2.0 ** (positions / EDGES_AN_OCTAVE)
    return values


def level(signal: Signal, of: Counted) -> float:
    """The signal's level of all groups together; NaN where there is nothing to tell it from."""
    match signal.of:
        case Mean(part, units):
            total = float(units(of.tick).sum())
            return float(part(of.tick).sum()) / total if total else float("nan")
        case Quantile(share, histogram):
            return float(values_at(np.array(quantile_at(histogram(of.tick), share))))
        case rate:
            return float(rate.amount(of.tick).sum()) / of.seconds * 60 * rate.minutes if of.seconds else float("nan")
