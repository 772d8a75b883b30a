"""Two streams beside each other: evidence that one has more bad units than the other, whatever both go through.

In a block of time the new stream had n1 units, k1 of them bad, the old one n2 and k2. Given how many were bad in all,
K = k1 + k2, the level of that block does not matter any more: hours, incidents and a provider's bad minute are the same
for both. If the new stream's rate is x times the old one's, k1 is binomial,

    k1 | K  ~  Bin(K, p_x)            p_x = x s / (1 - s + x s),    s = n1 / (n1 + n2)

That is exact where bad units come as Poisson streams. Where they are shares of few units it is hypergeometric, which
has less spread: a binomial expects more of every convex function (Hoeffding 1963, theorem 4), so evidence is
understated.
The likelihood ratio of x = 1.5, 2, 3, 6 or 20 against 1.1 has mean one at most while the new stream is no more than a
tenth worse, whenever one looks: products of them over blocks are e-processes, so is their mean, and one that reaches
1 / alpha does so with a chance of at most alpha, ever (Ville 1939; Ramdas et al. 2023, arXiv 2210.01948).

Half of the stake is put down as a comparison begins, the other half hour by hour over a week, so that what begins later
is found, too. `temper` below one pays for bad units that come in clumps; a power keeps the mean at most one (Jensen).
"""

import numpy as np

from detectors.core.columns import Floats

RATIOS = np.array([1.5, 2.0, 3.0, 6.0, 20.0])
"""Alternatives: so many times the old stream's rate."""
NULL_RATIO = 1.1
"""Two versions differ a little in what they are asked: a tenth is no regression."""
HOURS = 168
"""How long a comparison lasts, hours: over these the second half of the stake is spread."""
FIRST_STAKE = np.log(0.5)
LATER_STAKE = np.log(0.5 / HOURS)
ALPHA, TUNED = 0.05, 0.088
"""Of the interval: (-2 log a + log(-2 log a) + 1) / 100 for a = ALPHA, where it is tightest."""
PRIOR_VARIANCE, PRIOR_SPREAD = 8.0, 1.25
"""What is believed of clumps before anything was seen: so much variance was seen, a quarter more than by chance."""


def ratios(bad_new: Floats, bad_all: Floats, share: Floats) -> Floats:
    """Log-likelihood ratios of RATIOS against NULL_RATIO, a further axis; zero where only one stream counted.

    bad_new, bad_all  k1 and K of blocks, any shape; need not be whole
    share             n1 / (n1 + n2)

    >>> one = np.array([8.0]), np.array([10.0]), np.array([0.5])
    >>> ratios(*one).round(2).tolist()
    [[0.74, 1.22, 1.58, 1.53, 0.18]]
    """
    s = np.clip(share, 0, 1)[..., None]
    worse, null = (s * x / (1 - s + s * x) for x in (RATIOS, NULL_RATIO))
    known = (s > 0) & (s < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = bad_new[..., None] * np.log(worse / null)
        found += (bad_all - bad_new)[..., None] * np.log((1 - worse) / (1 - null))
    return np.where(known, found, 0.0)


def temper(squares: Floats, variance: Floats, blocks: Floats) -> Floats:
    """The power that evidence is raised to: one over how much more blocks differ from each other than by chance.

    squares   sum of squared differences of neighbouring blocks' k1 - K s: a lasting difference cancels in them
    variance  sum of their variances by chance, K s (1 - s) of both
    blocks    how many differences that were
    """
    spread = (PRIOR_SPREAD * PRIOR_VARIANCE + squares) / (PRIOR_VARIANCE + variance)
    upper = spread * (1 + 1 / np.sqrt(blocks + 4))
    power: Floats = 1 / np.maximum(1.0, upper)
    return power


def mean_evidence(logs: Floats) -> Floats:
    """Log of the mean over the last axis.

    >>> mean_evidence(np.log(np.array([[1.0, 3.0]]))).round(3).tolist()
    [0.693]
    """
    found: Floats = np.logaddexp.reduce(logs, -1) - np.log(logs.shape[-1])
    return found


def times(sums: Floats, power: Floats) -> tuple[Floats, Floats, Floats]:
    """How many times as often the new stream's units are bad, and the ends of a 95% interval that holds at any time.

    sums   (r, 7)  k1, n1, k2, n2, and sum k1 n2/N, k2 n1/N, n1 n2/N of blocks
    power  (r,)    see `temper`: the variance is one over that of the ratio's

    The ratio is Mantel and Haenszel's. The interval is the asymptotic confidence sequence of Waudby-Smith et al. (2021,
    arXiv 2103.06476), tightest at a hundred bad units. NaN where nothing was bad on one side.
    """
    k1, n1, k2, n2, new, old, _ = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((k1 > 0) & (k2 > 0), new / old, np.nan)
        error = np.sqrt((1 / k1 - 1 / n1 + 1 / k2 - 1 / n2) / power)
        told = (k1 + k2) * TUNED
        half = error * np.sqrt((told + 1) / told * 2 * np.log(np.sqrt(told + 1) / ALPHA))
    return ratio, ratio * np.exp(-half), ratio * np.exp(half)
