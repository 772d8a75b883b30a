"""Hour-of-day baselines of shares: decayed counts, shrunk to the series and then to the rule's pool."""

import numpy as np

from detectors.core.columns import Floats

HOUR_STRENGTH = 1500.0
"""Sessions with which a series' own mean weighs on each hour: at 1%, an hour needs 15 errors to speak for itself."""


def with_neighbours(hours: Floats) -> Floats:
    """Each hour of day plus half of the hour before and after it, around the clock; axis 1 is the hour.

    >>> with_neighbours(np.eye(1, 24))[0, [23, 0, 1, 2]].tolist()
    [0.5, 1.0, 0.5, 0.0]
    """
    return hours + 0.5 * (np.roll(hours, 1, 1) + np.roll(hours, -1, 1))


def shrunk(part: Floats, whole: Floats, mean: Floats) -> Floats:
    """Share by hour of day, drawn towards the series' mean: (S, 24) from counts (S, 24) and means (S, 1)."""
    share: Floats = (with_neighbours(part) + HOUR_STRENGTH * mean) / (with_neighbours(whole) + HOUR_STRENGTH)
    return share
