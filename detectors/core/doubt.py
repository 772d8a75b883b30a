"""How much more is asked of a series one of whose pages a person called noise."""

import numpy as np

from detectors.core.columns import Floats, Ids

MORE, DAY_KEEPS = 0.5, 0.965
"""Half as much again at first; a day leaves so much of that, so that half is gone in 20 days."""


def raised(doubted: Ids, day: int) -> Floats:
    """(r,) factors on the threshold, by the day (since 1970) of the last mark, -1 for none.

    >>> raised(np.array([-1, 100, 80], np.int32), 100).round(2).tolist()
    [1.0, 1.5, 1.25]
    """
    factors, marked = np.ones(len(doubted)), doubted >= 0
    factors[marked] += MORE * DAY_KEEPS ** np.maximum(day - doubted[marked], 0)
    return factors
