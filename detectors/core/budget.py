"""From false pages a week to the evidence a page needs."""

import math

from detectors.core.columns import TICK_NS, Floats

WEEK_TICKS = 7 * 86_400_000_000_000 // TICK_NS
TICKS_TO_PAGE = 4


def threshold(budget_per_week: float, series: int) -> float:
    """Log evidence a series must reach, so that the rule's expected false pages a week stay within the budget.

    `log(S' * 10080 / B)` with S' the series rounded up to a power of two: the expected pages of one series are at
    most exp(-threshold) a tick it is judged in (a supermartingale bound, any dependence between series), and the
    rounding keeps the threshold still while a fleet grows.

    >>> round(threshold(1.0, 1_000), 2), round(threshold(4.0, 1_000), 2), round(threshold(1.0, 1), 2)
    (16.15, 14.76, 9.22)
    """
    assert budget_per_week > 0
    return math.log(rounded(series) * WEEK_TICKS / budget_per_week)


def rounded(series: int) -> float:
    """The number of series that a budget is shared by: the next power of two, at least one.

    >>> rounded(0), rounded(5), rounded(8)
    (1.0, 8.0, 8.0)
    """
    return float(2.0 ** math.ceil(math.log2(max(series, 1))))


def tick_cap(threshold: Floats, alternatives: int) -> Floats:
    """Most that one tick may add to an alternative's log evidence: four ticks at the cap page, three never do.

    >>> import numpy as np
    >>> tick_cap(np.array([16.15]), 6).round(2)
    array([4.49])
    """
    return (threshold + math.log(alternatives)) / TICKS_TO_PAGE
