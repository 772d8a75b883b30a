"""How far sessions of many agents go, as far as a budget asks: a tail of pooled counts, and beyond what was seen.

Where the budget asks for what is rarer than all that was seen, the tail goes on as a power law whose exponent is Hill's
estimate (Hill 1975) from the longest. Of a law whose tail is lighter that asks for more than it would take. Lengths are
multiples of the level that the counts begin at: bucket d ends at 2 ** (d / 8) times that.
"""

import math

import numpy as np

from detectors.core.columns import Floats

TOP = 200.0
"""Sessions that the tail is fitted to, if there are so many."""
GUESS, GUESS_SESSIONS = 0.3, 3.0
"""The inverse exponent before any session is seen in the tail, and how many sessions that is worth."""


def reached(counts: Floats, sessions: float, share: float, step: float = 0.0) -> tuple[float, float]:
    """The multiple of the level that a share of the sessions should go beyond: as the tail looks, and as it may be.

    The second takes the inverse exponent for a standard error larger than it looks.

    counts    (w,) sessions in the buckets from that of the level on; `sessions` in all
    share     of all sessions, > 0
    step      how far apart lengths are, in multiples of the level, where they are whole numbers

    >>> ends = np.arange(81) / 8  # A power law of exponent 2.
    >>> looks, worst = reached(-np.diff(1e6 * 4.0**-ends, prepend=1e6), 1e6, 1e-8)
    >>> 8_000 < looks < 10_000 < worst < 13_000
    True
    """
    above = counts[::-1].cumsum()[::-1] - counts
    asked = share * sessions
    if above[0] <= asked:
        return 1.0, 1.0
    if asked >= TOP:
        place = float(np.exp2(np.argmax(above <= asked) / 8))
        return place, place
    level = int(np.flatnonzero(above >= TOP).max(initial=0))
    level = int(np.argmax(above <= above[level]))  # Buckets between two whole numbers are empty.
    start, top = float(np.exp2(level / 8)), float(above[level])
    ends = np.exp2(np.arange(level + 1, len(counts)) / 8)
    # The middle of a bucket stands for what is in it, or of the gap between two whole numbers.
    middle = np.maximum(np.minimum(ends * 2 ** (-1 / 16), ends - step / 2), start)
    logs = float((counts[level + 1 :] * np.log(middle / start)).sum())
    inverse = (logs + GUESS * GUESS_SESSIONS) / (top + GUESS_SESSIONS)
    far = math.log(max(top / asked, 1.0)) * inverse
    return start * math.exp(far), start * math.exp(far * (1 + 1 / math.sqrt(top + GUESS_SESSIONS)))
