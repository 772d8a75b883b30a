"""Two rates from counts: whether they differ, how much, and which of many differences to believe."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detectors.core.columns import Bools, Floats

Z95 = 1.959963984540054


class Two(NamedTuple):
    """Bad sessions among those with a sign, and among those without."""

    bad_with: int
    n_with: int
    bad_without: int
    n_without: int

    @property
    def rate_with(self) -> float:
        return self.bad_with / self.n_with

    @property
    def rate_without(self) -> float:
        return self.bad_without / self.n_without


def log_e_value(two: Two) -> float:
    """Log evidence that the two rates differ: its exponential is 1 on average, at most, where they do not.

    Given how many sessions are bad in all, and how many have the sign, the bad ones among those with it are
    hypergeometric where the rates are equal (the distribution of Fisher's exact test). The e-value is the probability
    of what was seen under another distribution over that under the hypergeometric one. The other one is uniform over
    all counts that are possible, which is what rates that are independent and uniform on [0, 1] give. The mean of the
    e-value under the null is the sum of that distribution: it is 1, whatever the common rate is.

    >>> two = Two(30, 100, 100, 900)
    >>> round(math.exp(log_e_value(two)))
    8607
    >>> round(math.exp(log_e_value(Two(11, 100, 100, 900))), 2)
    0.07
    """
    n, bad = two.n_with + two.n_without, two.bad_with + two.bad_without
    least, most = max(0, two.n_with - (n - bad)), min(two.n_with, bad)
    log_null = (
        _log_choose(bad, two.bad_with) + _log_choose(n - bad, two.n_with - two.bad_with) - _log_choose(n, two.n_with)
    )
    return -math.log(most - least + 1) - log_null


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class Interval(NamedTuple):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


def lift(two: Two) -> Interval:
    """How many times the rate without the sign the rate with it is.

    The interval is normal in the logarithm, with a half added to each count so that a count of 0 has one, too (Walter,
    "The distribution of Levin's measure of attributable risk", 1975). The value has the half as well.

    >>> [round(one, 2) for one in lift(Two(30, 100, 90, 900))]
    [3.02, 2.12, 4.31]
    """
    counts = [count + 0.5 for count in two]
    log_ratio = math.log(counts[0] / counts[1] * counts[3] / counts[2])
    wide = Z95 * math.sqrt(max(0.0, 1 / counts[0] - 1 / counts[1] + 1 / counts[2] - 1 / counts[3]))
    return Interval(math.exp(log_ratio), math.exp(log_ratio - wide), math.exp(log_ratio + wide))


def share(bad: int, n: int) -> Interval:
    """A share of so many, with Wilson's interval; NaN of none.

    >>> [round(one, 3) for one in share(0, 10)]
    [0.0, 0.0, 0.278]
    """
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    p, z2 = bad / n, Z95**2
    middle, wide = p + z2 / (2 * n), Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Interval(p, max(0.0, (middle - wide) / (1 + z2 / n)), min(1.0, (middle + wide) / (1 + z2 / n)))


def believed(log_e: Sequence[float] | Floats, false_share: float) -> Bools:
    """Which of many e-values to believe, so that of those believed at most that share is false on average.

    e-BH (Wang and Ramdas, "False discovery rate control with e-values", 2022): the k largest, for the largest k whose
    k-th e-value is at least m / (share * k). It holds however the e-values depend on one another.

    >>> believed(np.log([500.0, 30.0, 1.0, 0.1]), 0.1).tolist()
    [True, True, False, False]
    >>> believed(np.log([30.0, 25.0, 1.0, 0.1]), 0.1).tolist()
    [True, True, False, False]
    """
    values = np.asarray(log_e, np.float64)
    found = np.zeros(len(values), np.bool_)
    order = np.argsort(-values, kind="stable")
    needed = np.log(len(values) / (false_share * np.arange(1, len(values) + 1)))
    if len(passing := np.flatnonzero(values[order] >= needed)):
        found[order[: passing[-1] + 1]] = True
    return found
