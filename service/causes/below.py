"""What the calls below sessions (or an agent's runs) did as those changed: whose time they wait for, what failed more.

A session's duration is what its calls took, and the rest. The change of the mean is the sum of the changes of

    seconds of a call's kind, for each session

and of that rest. Calls that ran beside one another may explain more than all of it: then none is named.
"""

import numpy as np

from detectors.core.columns import Entries, Floats
from service.causes.levels import values_at
from service.causes.past import Counted
from service.causes.terms import EXPLAINS, NEW_BELOW, UNCHANGED

EXPLAINS_MOST = 1.33
"""Part of the change above which what explains it would be more than there is."""
FAILS_POINTS, FAILS_RATIO, FAILS_SDS, FAILS_UNITS = 0.05, 2.0, 5.0, 20.0
"""How far a kind's failed share must have risen to be told of (in points, as a factor, in standard deviations of so
many calls), and over how many calls."""


def seconds(of: Entries, groups: int) -> Floats:
    """(groups,) what the values of each group add up to, each taken for the middle of its bucket.

    >>> seconds(Entries(np.array([1]), np.array([3]), np.array([2.0])), 2).round(2)
    array([0.  , 3.67])
    """
    return np.bincount(of.cell, of.count * values_at(of.bucket.astype(float) + 0.5), groups).astype(float)


def waited_for(
    sessions: tuple[Counted, Counted], calls: tuple[Counted, Counted], told: float
) -> tuple[int, float] | None:  # fmt: skip
    """The kind of calls whose time explains the change of the mean duration, and its part of it; None if none does.

    sessions, calls  before and since · told  the change that the detector found, whose sign is what is explained
    """
    groups = len(calls[0].tick.series)
    units = [float(one.tick.duration.count.sum()) for one in sessions]
    if min(units) < NEW_BELOW:
        return None
    means = [seconds(one.tick.duration, len(one.tick.series)).sum() / n for one, n in zip(sessions, units, strict=True)]
    each = [seconds(one.tick.duration, groups) / n for one, n in zip(calls, units, strict=True)]
    change, parts = means[1] - means[0], each[1] - each[0]
    if not change * told > 0:
        return None
    best = int(np.argmax(parts * np.sign(change)))
    explains, rest = parts[best] / change, np.abs(np.delete(parts, best)).sum() / abs(change)
    if not (EXPLAINS <= explains <= EXPLAINS_MOST and rest <= UNCHANGED):
        return None
    # Where all calls take twice as long, those that took most of the time explain most, and are not the cause.
    others = [float(np.delete(one, best).sum()) for one in each]
    is_alike = others[0] > 0 and abs(others[1] / others[0] - 1) * each[0][best] > UNCHANGED * abs(parts[best])
    return None if is_alike else (best, float(explains))


def failing(calls: tuple[Counted, Counted]) -> tuple[int, float, float] | None:
    """The kind of calls whose failed share rose most, and that share before and now; None where none rose.

    A rise counts if it is not by chance, and worth a word.
    """
    before, now = (one.tick for one in calls)
    known = (before.count >= FAILS_UNITS) & (now.count >= FAILS_UNITS)
    with np.errstate(divide="ignore", invalid="ignore"):
        then, since = before.failed / before.count, now.failed / now.count
        usual = then + 2 * np.sqrt((then + 1 / before.count) / before.count)
        apart = FAILS_SDS * np.sqrt(usual / now.count)
    is_rise = known & (since - then >= np.fmax(FAILS_POINTS, apart)) & (since >= FAILS_RATIO * then)
    rose = np.where(is_rise, since - then, 0.0)
    most = int(np.argmax(rose)) if len(rose) else 0
    return (most, float(then[most]), float(since[most])) if rose.any() else None
