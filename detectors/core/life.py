"""The life of a series: how old it is, from when on it is judged, and what of today it must not learn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Bools, Ids
from detectors.core.rows import column, resize

WARM_REFITS, WARM_SESSIONS = 2, 200
"""Midnights, and calls or sessions of its own, after which a series is judged by its own baseline."""


@dataclass(eq=False)
class Life:
    """How old a series is, and what of today its baseline must not learn.

    days      (S,)     refits since it was first seen
    warm      (S,)     whether it is judged
    today     (S,)     whether it counted anything today
    excluded  (S, 3)   hours of today that held an open alert or suspicion, a bit each, the first hour's the highest
    left_out  (S,)     hours in a row that were kept out so far
    doubted   (S,)     day (since 1970) of the last page that a person called noise, -1 for none
    kin       (S,)     how many kin its baseline is lent by; 0 where it is its own, or it has none
    """

    days: NDArray[np.int16] = column(dtype=np.int16)
    warm: Bools = column(dtype=np.bool_)
    today: Bools = column(dtype=np.bool_)
    excluded: NDArray[np.uint8] = column(3, dtype=np.uint8)
    left_out: NDArray[np.int16] = column(dtype=np.int16)
    doubted: Ids = column(fill=-1, dtype=np.int32)
    kin: NDArray[np.int16] = column(dtype=np.int16, is_later=True)

    def __post_init__(self) -> None:
        resize(self, 0)

    def exclude(self, rows: Ids, first: int, last: int) -> None:
        """Today's hours from the first to the last, both included, are not to be learnt of these series."""
        hours = np.zeros(24, np.bool_)
        hours[first : last + 1] = True
        self.excluded[rows] |= np.packbits(hours)

    def excluded_hours(self) -> Bools:
        """(S, 24)"""
        return np.unpackbits(self.excluded, axis=1).view(np.bool_)
