"""How far sessions of many agents go, as far as a budget asks: a tail of pooled counts, and beyond what was seen.

Where the budget asks for what is rarer than all that was seen, the tail goes on as a power law whose exponent is Hill's
estimate (Hill 1975). Of a law whose tail is lighter that asks for more than it would take.
"""

import math

import numpy as np

from detectors.core.columns import Floats

STEP = math.log(2) / 8
"""Width of a bucket, in natural log."""
TOP = 200.0
"""Sessions that the tail is fitted to, if there are so many."""
GUESS, GUESS_SESSIONS = 0.3, 10.0
"""The inverse exponent before any session is seen in the tail, and how many sessions that is worth."""
DEVIATIONS = 2.0
"""How many standard errors the exponent is taken to be worse than it looks."""


def reached(counts: Floats, sessions: float, share: float) -> tuple[float, float]:
    """The bucket that a share of the sessions should go beyond: as the tail looks, and as it may be at worst.

    counts    (w,) sessions in the buckets from some level on; `sessions` in all
    share     of all sessions, > 0

    >>> counts = np.diff(1e6 * 2.0 ** (-np.arange(0, 60) / 8)) * -1
    >>> looks, worst = reached(counts, 1e6, 1e-6)
    >>> 155 < looks < 175 < worst < 190
    True
    """
    above = counts[::-1].cumsum()[::-1] - counts
    asked = share * sessions
    if above[0] <= asked:
        return 0.0, 0.0
    if asked >= TOP:
        place = float(np.argmax(above <= asked))
        return place, place
    level = int(np.flatnonzero(above >= TOP).max(initial=0))
    top, beyond = float(above[level]), np.arange(len(counts)) - level
    logs = float((counts * np.maximum(beyond, 0)).sum()) * STEP
    seen = top + GUESS_SESSIONS
    inverse = (logs + GUESS * GUESS_SESSIONS) / seen
    steps = math.log(max(top / asked, 1.0)) * inverse / STEP
    return level + steps, level + steps * (1 + DEVIATIONS / math.sqrt(seen))
