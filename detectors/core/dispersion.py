"""How clumped the null is: within-tick correlation (rho) and slow wobble by width of block (phi), hence eta.

A log-likelihood ratio assumes independence that real traffic does not have. Within a tick, failures clump: rho, the
intraclass correlation, says how little n calls really are. Over minutes to hours, levels wobble: the variance of a
block's residual is phi times what independence gives. An alternative that needs a block of b minutes to be seen is
tempered by eta = 1 / phi_b. All of it is refitted at midnight from residuals against a baseline that only knows
earlier days.
"""

from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Bools, Floats, Ids
from detectors.core.rows import column, resize

DAY_TICKS = 1440
BLOCK_TICKS = np.array([1, 2, 5, 10, 30, 60, 180, 360, 720, 1440])
"""Block widths in ticks of a minute; each divides the day, so every block ends at midnight."""
HOUR_BLOCK, DAY_BLOCK = 5, 9
"""Places of the hour and the day in it."""
WINSOR = 64.0
"""Squared residuals count for at most eight standard deviations, so that one incident is not the noise."""
RHO_START, PHI_START = 0.02, 4.0
RHO_MARGIN, RHO_MIN, RHO_MAX = 1.1, 1e-5, 0.5
POOL_BLOCKS = 3.0
"""Blocks of its own that a series needs before its phi weighs as much as the pool's."""


@dataclass(eq=False)
class Dispersion:
    """The sums of all series of a rule; A residuals a series (`residuals`), J alternatives (`alternatives`).

    icc_*       (S, A)     residual variance beyond independence, and what full correlation would give
    effective   (S, A)     sessions of today after the discount by rho; `ticks` the minutes they came in
    at_*        (S, A)     running residual and variance since midnight; `from_*` their values at the block's start
    block_*     (S, W, A)  squares, variances and number of blocks
    Names that end in `_sum` are decayed over past days. `raw` is the last refit's variance ratio by width.
    """

    residuals: int
    alternatives: int
    icc_over: Floats = column("residuals")
    icc_full: Floats = column("residuals")
    effective: Floats = column("residuals")
    at_residual: Floats = column("residuals")
    at_variance: Floats = column("residuals")
    from_residual: Floats = column(len(BLOCK_TICKS), "residuals")
    from_variance: Floats = column(len(BLOCK_TICKS), "residuals")
    block_square: Floats = column(len(BLOCK_TICKS), "residuals")
    block_variance: Floats = column(len(BLOCK_TICKS), "residuals")
    block_count: Floats = column(len(BLOCK_TICKS), "residuals")
    icc_over_sum: Floats = column("residuals")
    icc_full_sum: Floats = column("residuals")
    effective_sum: Floats = column("residuals")
    ticks_sum: Floats = column()
    block_square_sum: Floats = column(len(BLOCK_TICKS), "residuals")
    block_variance_sum: Floats = column(len(BLOCK_TICKS), "residuals")
    block_count_sum: Floats = column(len(BLOCK_TICKS), "residuals")
    raw: Floats = column(len(BLOCK_TICKS), "residuals", fill=PHI_START)
    rho: Floats = column("residuals", fill=RHO_START)
    eta: Floats = column("alternatives", fill=1.0)

    def __post_init__(self) -> None:
        resize(self, 0)

    def learn(self, rows: Ids, count: Floats, residual: Floats, variance: Floats) -> None:
        """One tick: `count` (r,) sessions, `residual` and `variance` (r, A) under independence, > 0 where it can be."""
        n = count[:, None]
        weight = 1 / (1 + np.maximum(n - 1, 0) * self.rho[rows])
        with np.errstate(invalid="ignore"):
            square = np.minimum(residual * residual, WINSOR * variance / weight)
        self.icc_over[rows] += np.where(n > 1, weight * weight * (square - variance), 0)
        self.icc_full[rows] += weight * weight * variance * np.maximum(n - 1, 0)
        self.effective[rows] += n * weight
        self.at_residual[rows] += residual * weight
        self.at_variance[rows] += variance * weight

    def close_blocks(self, previous: int, tick: int) -> None:
        """End the blocks that lie between two tick indices, the earlier of which was the last to count anything."""
        for b in np.flatnonzero(previous // BLOCK_TICKS != tick // BLOCK_TICKS):
            residual = self.at_residual - self.from_residual[:, b]
            variance = self.at_variance - self.from_variance[:, b]
            limit = WINSOR * variance * np.maximum(1, self.raw[:, b])
            self.block_square[:, b] += np.minimum(residual * residual, limit)
            self.block_variance[:, b] += variance
            self.block_count[:, b] += variance > 0
            self.from_residual[:, b], self.from_variance[:, b] = self.at_residual, self.at_variance

    def refit(self, keep: float, learning: Bools) -> None:
        """Midnight: decay by `keep`, add today's sums, and start a new day. `learning` (S,) counts today's minutes."""
        self.icc_over_sum = keep * self.icc_over_sum + self.icc_over
        self.icc_full_sum = keep * self.icc_full_sum + self.icc_full
        self.effective_sum = keep * self.effective_sum + self.effective
        self.ticks_sum = keep * self.ticks_sum + learning * DAY_TICKS
        self.block_square_sum = keep * self.block_square_sum + self.block_square
        self.block_variance_sum = keep * self.block_variance_sum + self.block_variance
        self.block_count_sum = keep * self.block_count_sum + self.block_count
        for today in (self.icc_over, self.icc_full, self.effective, self.at_residual, self.at_variance):
            today[:] = 0
        for blocks in (self.from_residual, self.from_variance):
            blocks[:] = 0
        for blocks in (self.block_square, self.block_variance, self.block_count):
            blocks[:] = 0

    def known(self) -> Bools:
        """(S, A): where the intraclass correlation has any information."""
        known: Bools = self.icc_full_sum > 0
        return known

    def own_rho(self) -> Floats:
        """(S, A) moment estimate of the intraclass correlation, 0 where unknown."""
        own: Floats = np.maximum(0, self.icc_over_sum / np.maximum(self.icc_full_sum, 1e-12))
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
            mass = np.cumsum(self.icc_full_sum[ok, a][order])
            pool = min(0.2, own[ok, a][order][np.searchsorted(mass, 0.9 * mass[-1])])
            prior = 0.1 * np.median(self.icc_full_sum[ok, a])
            information = self.icc_full_sum[:, a]
            rho[:, a] = RHO_MARGIN * (own[:, a] * information + pool * prior) / (information + prior)
        return np.clip(rho, RHO_MIN, RHO_MAX)

    def inflation(self) -> Floats:
        """(S, W, A) variance of a block over what independence gives, at its upper end while blocks are few; >= 1."""
        phi: Floats = np.maximum(1, self.raw * (1 + np.sqrt(2 / np.maximum(self.block_count_sum, 1))))
        return phi

    def sessions_an_hour(self) -> Floats:
        """(S, A) usual effective sessions an hour; 0 while nothing was learnt."""
        sessions: Floats = 60 * self.effective_sum / np.maximum(self.ticks_sum, 1)[:, None]
        return sessions

    def hourly_wobble(self) -> Floats:
        """(S, A) standard deviation of an hour's residual beyond what chance gives, NaN while no hour is known."""
        square, variance = self.block_square_sum[:, HOUR_BLOCK], self.block_variance_sum[:, HOUR_BLOCK]
        with np.errstate(invalid="ignore", divide="ignore"):
            wobble: Floats = np.sqrt(np.maximum(square - variance, 0) / self.block_count_sum[:, HOUR_BLOCK])
        return wobble

    def temper(self, drift: Floats, residual_of: Ids, threshold: float) -> None:
        """Set eta from the blocks: 1 / phi of the shortest block in which an alternative can reach the threshold.

        drift (S, J) log-likelihood ratio that one effective session gives under its own alternative ·
        residual_of (J,) which residual tells the wobble of each alternative
        """
        has = self.block_variance_sum > 0
        self.raw = np.where(has, self.block_square_sum / np.maximum(self.block_variance_sum, 1e-12), PHI_START)
        phi = self.inflation()
        pooled = np.full(phi.shape[1:], PHI_START)
        for b, a in np.ndindex(*pooled.shape):
            if has[:, b, a].any():
                pooled[b, a] = np.quantile(phi[has[:, b, a], b, a], 0.75)
        own = self.block_count_sum / (self.block_count_sum + POOL_BLOCKS)
        phi = np.maximum.accumulate(np.exp(own * np.log(phi) + (1 - own) * np.log(pooled)), 1)
        a_tick = self.effective_sum / np.maximum(self.ticks_sum, 1)[:, None]
        for j in range(self.alternatives):
            a = int(residual_of[j])
            reach = BLOCK_TICKS * (a_tick[:, a] * drift[:, j])[:, None] / phi[:, :, a] >= threshold
            block = np.where(reach.any(1), reach.argmax(1), len(BLOCK_TICKS) - 1)
            self.eta[:, j] = 1 / phi[np.arange(len(phi)), block, a]
