"""How clumped the null is: within-tick correlation (rho) and slow wobble by width of block (phi), hence eta.

A log-likelihood ratio assumes independence that real traffic does not have. Within a tick, failures clump: rho, the
intraclass correlation, says how little n calls really are. Over minutes to hours, levels wobble: the variance of a
block's residual is phi times what independence gives. An alternative that needs a block of b minutes to be seen is
tempered by eta = 1 / phi_b. All of it is refitted at midnight from residuals against a baseline that only knows
earlier days.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Bools, Floats, Ids, Places, Precision
from detectors.core.loops import close_blocks, learn_tick
from detectors.core.rows import PRECISION, column, resize

DAY_TICKS = 1440
BLOCK_TICKS = np.array([1, 2, 5, 10, 30, 60, 180, 360, 720, 1440])
"""Block widths in ticks of a minute; each divides the day, so every block ends at midnight."""
INNER = len(BLOCK_TICKS) - 2
"""How many of them are longer than a tick and shorter than the day."""
KEEP = 2 ** (-1 / 7)
"""What a day leaves of the past: a half-life of seven days, so a whole week always counts."""
HOUR_BLOCK, DAY_BLOCK = 5, 9
"""Places of the hour and the day in it."""
WINSOR = 64.0
"""Squared residuals count for at most eight standard deviations, so that one incident is not the noise."""
RHO_START, PHI_START = 0.02, 4.0
RHO_MARGIN, RHO_MIN, RHO_MAX = 1.1, 1e-5, 0.5
POOL_BLOCKS = 3.0
"""Blocks of its own that a series needs before its phi weighs as much as the pool's."""
ALIKE, ALIKE_SERIES = 4.0, 20
"""Pools: the rule's series from quiet to busy, cut where traffic is this factor of a pool's quietest, or further on, so
that each pool holds so many."""


@dataclass(eq=False)
class Dispersion:
    """The sums of all series of a rule; A residuals a series (`residuals`), J alternatives (`alternatives`).

    icc_*         (S, A)     residual variance beyond independence, and what full correlation would give
    effective     (S, A)     sessions of today after the discount by rho; `effective_sum` those of past days, and
                             `ticks_sum` (S,) the minutes they came in
    at_*          (S, A)     running residual and variance since midnight
    from_*        (S, V, A)  their values where the open block of each width between a tick and a day began; of the
                             variance (S, V) the first residual's, as the others' follow it but for the limit of a block
    variance_sum  (S, A)     variance of past days: the same for all widths, as each of them divides the day
    block_square  (S, W, A)  squares of blocks, `block_count` (S, W) how many
    raw           (S, W)     the last refit's variance ratio by width, of the residual that wobbles most
    icc and blocks are decayed over days, today's with them: they are added divided by what midnight will leave of them.
    """

    residuals: int
    alternatives: int
    precision: Precision
    icc_over: Floats = column("residuals", dtype=PRECISION)
    icc_full: Floats = column("residuals", dtype=PRECISION)
    effective: Floats = column("residuals", dtype=PRECISION)
    effective_sum: Floats = column("residuals", dtype=PRECISION)
    ticks_sum: Floats = column(dtype=PRECISION)
    at_residual: Floats = column("residuals", dtype=PRECISION)
    at_variance: Floats = column("residuals", dtype=PRECISION)
    from_residual: Floats = column(INNER, "residuals", dtype=PRECISION)
    from_variance: Floats = column(INNER, dtype=PRECISION)
    variance_sum: Floats = column("residuals", dtype=PRECISION)
    block_square: Floats = column(len(BLOCK_TICKS), "residuals", dtype=PRECISION)
    block_count: Floats = column(len(BLOCK_TICKS), dtype=PRECISION)
    raw: Floats = column(len(BLOCK_TICKS), fill=PHI_START, dtype=PRECISION)
    rho: Floats = column("residuals", fill=RHO_START, dtype=PRECISION)
    eta: Floats = column("alternatives", fill=1.0, dtype=PRECISION)

    def __post_init__(self) -> None:
        resize(self, 0)

    def learn(self, rows: Ids, count: Floats, residual: Floats, variance: Floats) -> None:
        """One tick: `count` (r,) sessions, `residual` and `variance` (r, A) under independence, > 0 where it can be."""
        sums = self.icc_over, self.icc_full, self.effective, self.at_residual, self.at_variance
        blocks = self.raw, self.block_square, self.block_count
        learn_tick(rows.astype(np.int64), count, residual, variance, self.rho, *sums, *blocks, WINSOR, KEEP)

    def close_blocks(self, previous: int, tick: int) -> None:
        """End the blocks that lie between two tick indices, the earlier of which was the last to count anything."""
        due = np.flatnonzero(previous // BLOCK_TICKS != tick // BLOCK_TICKS)
        due = due[(due > 0) & (due <= INNER)]
        if len(due):
            at, since = (self.at_residual, self.at_variance), (self.from_residual, self.from_variance)
            close_blocks(due, *at, *since, self.raw, self.block_square, self.block_count, WINSOR, KEEP)

    def refit(self, learning: Bools) -> None:
        """Midnight: end the day's block, decay, and start a new day. `learning` (S,) counts today's minutes."""
        limit = WINSOR * self.at_variance * np.maximum(1, self.raw[:, DAY_BLOCK])[:, None]
        self.block_square[:, DAY_BLOCK] += np.minimum(self.at_residual**2, limit) / KEEP
        self.block_count[:, DAY_BLOCK] += (self.at_variance[:, 0] > 0) / KEEP
        self.variance_sum += self.at_variance / KEEP
        self.effective_sum += self.effective / KEEP
        self.ticks_sum += learning * DAY_TICKS / KEEP
        sums = self.icc_over, self.icc_full, self.effective_sum, self.ticks_sum, self.variance_sum
        for past in (*sums, self.block_square, self.block_count):
            past *= KEEP
        at, since = (self.at_residual, self.at_variance), (self.from_residual, self.from_variance)
        for today in (self.effective, *at, *since):
            today[:] = 0

    def known(self) -> Bools:
        """(S, A): where the intraclass correlation has any information."""
        known: Bools = self.icc_full > 0
        return known

    def own_rho(self) -> Floats:
        """(S, A) moment estimate of the intraclass correlation, 0 where unknown."""
        own: Floats = np.maximum(0, self.icc_over / np.maximum(self.icc_full, 1e-12))
        return own

    def unpooled_rho(self) -> Floats:
        """(S, A) each series' own estimate at its upper end, RHO_START where it has none."""
        own = np.clip(RHO_MARGIN * self.own_rho(), RHO_MIN, RHO_MAX)
        return np.where(self.known(), own, RHO_START)

    def pooled_rho(self) -> Floats:
        """(S, A) correlations that lean on the pool's 90% quantile until a series has information of its own."""
        known, own = self.known(), self.own_rho()
        rho = np.full_like(own, RHO_START)
        for a in range(self.residuals):
            ok = known[:, a]
            if not ok.any():
                continue
            order = np.argsort(own[ok, a])
            mass = np.cumsum(self.icc_full[ok, a][order])
            pool = min(0.2, own[ok, a][order][np.searchsorted(mass, 0.9 * mass[-1])])
            prior = 0.1 * np.median(self.icc_full[ok, a])
            information = self.icc_full[:, a]
            rho[:, a] = RHO_MARGIN * (own[:, a] * information + pool * prior) / (information + prior)
        return np.clip(rho, RHO_MIN, RHO_MAX)

    def ratios(self) -> Floats:
        """(S, W, A) variance of a block over what independence gives, PHI_START where nothing is known. At midnight."""
        known, variance = (self.variance_sum > 0)[:, None], np.maximum(self.variance_sum, 1e-12)[:, None]
        return np.where(known, self.block_square / variance, PHI_START)

    def inflation(self) -> Floats:
        """(S, W, A) the same at its upper end while blocks are few; >= 1."""
        phi: Floats = np.maximum(1, self.ratios() * (1 + np.sqrt(2 / np.maximum(self.block_count, 1)))[:, :, None])
        return phi

    def sessions_an_hour(self) -> Floats:
        """(S, A) usual effective sessions an hour; 0 while nothing was learnt."""
        sessions: Floats = 60 * self.effective_sum / np.maximum(self.ticks_sum, 1)[:, None]
        return sessions

    def hourly_wobble(self) -> Floats:
        """(S,) standard deviation of an hour's first residual beyond what chance gives, NaN while no hour is known."""
        square, hours = self.block_square[:, HOUR_BLOCK, 0], self.block_count[:, HOUR_BLOCK]
        variance = self.variance_sum[:, 0] + self.from_variance[:, HOUR_BLOCK - 1] / KEEP
        with np.errstate(invalid="ignore", divide="ignore"):
            wobble: Floats = np.sqrt(np.maximum(square - variance, 0) / hours)
        return wobble

    def _pooled(self, phi: Floats) -> Floats:
        """(S, W, A) upper quartile of phi over each series' pool, PHI_START while nothing is known.

        What wobble adds to chance grows with the variance that chance gives: a busy series' phi is tens of times a
        quiet one's of equal wobble, and no prior for it.
        """
        pooled, a_tick = np.full(phi.shape, PHI_START), self.variance_sum / np.maximum(self.ticks_sum, 1)[:, None]
        for a in range(self.residuals):
            for pool in alike(a_tick[:, a]):
                pooled[pool, :, a] = np.quantile(phi[pool, :, a], 0.75, axis=0)
        return pooled

    def temper(self, drift: Floats, residual_of: Ids, threshold: float) -> None:
        """Set eta from the blocks: 1 / phi of the shortest block in which an alternative can reach the threshold.

        drift (S, J) log-likelihood ratio that one effective session gives under its own alternative ·
        residual_of (J,) which residual tells the wobble of each alternative
        """
        self.raw[:] = self.ratios().max(2)
        phi = self.inflation()
        pooled = self._pooled(phi)
        own = (self.block_count / (self.block_count + POOL_BLOCKS))[:, :, None]
        phi = np.maximum.accumulate(np.exp(own * np.log(phi) + (1 - own) * np.log(pooled)), 1)
        a_tick = self.effective_sum / np.maximum(self.ticks_sum, 1)[:, None]
        for j in range(self.alternatives):
            a = int(residual_of[j])
            reach = BLOCK_TICKS * (a_tick[:, a] * drift[:, j])[:, None] / phi[:, :, a] >= threshold
            block = np.where(reach.any(1), reach.argmax(1), len(BLOCK_TICKS) - 1)
            self.eta[:, j] = 1 / phi[np.arange(len(phi)), block, a]

    def borrow(self, rows: Ids, rho: Floats, phi: Floats, a_tick: Floats, drift: Floats, threshold: Floats) -> None:
        """Give series without a history this rho (A,), and the eta that this phi (r, W) leaves them.

        a_tick (r,) effective units a tick · drift (r, J) as in `temper` · threshold (r,) log evidence that a page needs
        """
        self.rho[rows] = rho
        reach = (BLOCK_TICKS / phi)[:, :, None] * (a_tick[:, None] * drift)[:, None, :]
        enough = reach >= threshold[:, None, None]
        block = np.where(enough.any(1), enough.argmax(1), len(BLOCK_TICKS) - 1)
        self.eta[rows] = 1 / np.take_along_axis(phi, block, 1)


def alike(traffic: Floats) -> Iterator[Places]:
    """The series that have any traffic (S,), pool by pool.

    >>> [pool.tolist() for pool in alike(np.array([9.0] * 3 + [0.0] + [1.0] * 25))]
    [[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 0, 1, 2]]
    >>> [len(pool) for pool in alike(np.array([9.0] * 30 + [0.0] + [1.0] * 25))]
    [25, 30]
    """
    known = np.flatnonzero(traffic > 0)
    order = known[np.argsort(traffic[known], kind="stable")]
    begin = 0
    while begin < len(order):
        end = int(np.searchsorted(traffic[order], ALIKE * traffic[order[begin]], "right"))
        end = max(end, begin + ALIKE_SERIES)
        if len(order) - end < ALIKE_SERIES:
            end = len(order)
        yield order[begin:end]
        begin = end
