"""Kin: what series of like traffic lend to one that is too young for a baseline of its own.

The kin of a rule are its series that are judged by what they learnt themselves. A newcomer with BORROWS_AT units gets
a baseline from its own few data and from how its kin's levels lie (empirical Bayes), and a null that its level lies
above with a chance of no more than the page budget of the time that it borrows for. How clumped its counts are, and
how much they wobble, is what it is of the kin's upper part. Each hour it is lent anew, from what it has learnt since,
until it knows enough by itself. Everything here follows from saved state: after a restart the same is lent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from detectors.core.columns import Bools, Floats, Ids, Places
from detectors.core.dispersion import BLOCK_TICKS, DAY_TICKS, Dispersion, alike
from detectors.core.life import WARM_REFITS, Life

BORROWS_AT = 50.0
"""Calls or sessions of its own from which a series may borrow."""
KIN_LEAST = 12
"""Kin without whom nothing is lent: how far their levels lie apart is not known of fewer."""
BUSIER = 4.0
"""Times the traffic of its busiest kin that a newcomer may have: what wobble does grows with traffic."""
CHANCE_MAX = 0.25
"""Chance that a level may lie above its null, where a budget is so large that it would allow more."""
CLUMPED, WOBBLES = 0.9, 0.75
"""Quantiles that are lent of the kin's rho and wobble, as those that a young series leans on."""


@dataclass(frozen=True, eq=False)
class Kin:
    """One pool of lenders, and who borrows of it.

    lenders  (k,) ids
    rows     (r,) ids of the newcomers
    units    (r,) effective units that each has learnt, after what wobble takes of them
    whole    (r,) the same as counted
    chance   (r,) that the newcomer's level may lie above its null
    """

    lenders: Ids
    rows: Ids
    units: Floats
    whole: Floats
    chance: Floats


@runtime_checkable
class Lending(Protocol):
    """A count signal whose series can lend each other baselines."""

    def learnt(self, excluded: Bools) -> tuple[Floats, Floats]:
        """(S,) units that each series knows, today's without the (S, 24) excluded hours with them, and in how many
        hours they came."""

    def variance(self, rows: Ids, lenders: Ids) -> Floats:
        """(r,) variance that chance gives the first residual of one unit of these newcomers."""

    def lend(self, kin: Kin, excluded: Bools, hour: int) -> None:
        """Give these newcomers a baseline and a null until it is said again, at the latest as the next hour of the day
        begins or a midnight passes."""


def lend(
    signal: Lending, life: Life, dispersion: Dispersion, asked: Floats, drift: Floats, excluded: Bools, hour: int
) -> None:
    """Lend to every series that may borrow, which is judged from then on.

    asked     (S,) log evidence that the budget asks of each series
    drift     (S, J) mean log ratio of one unit under each alternative
    excluded  (S, 24) hours of today that must not be learnt
    """
    newcomers = (~life.warm | (life.kin > 0)) & (life.today | (life.days > 0))
    lenders = np.flatnonzero(life.warm & (life.kin == 0)).astype(np.int32)
    if len(lenders) < KIN_LEAST or not newcomers.any():
        return
    units, hours = signal.learnt(excluded)
    rows = np.flatnonzero(newcomers & (units >= BORROWS_AT)).astype(np.int32)
    if not len(rows):
        return
    of_kin = units[lenders] / np.maximum(dispersion.ticks_sum[lenders], 1)
    of_rows = units[rows] / (60 * np.maximum(hours[rows] - 1, 0.5))  # The first hour may have been of few minutes.
    for places, mine in _pools(of_kin, of_rows):
        some, pool = rows[mine], lenders[places]
        rho = np.quantile(dispersion.rho[pool], CLUMPED, axis=0)
        apart = 1 / (1 + np.maximum(of_rows[mine] - 1, 0) * rho.max())  # What clumps leave of one unit.
        effective = of_rows[mine] * apart
        phi = 1 + _wobble(dispersion, pool) * (effective * signal.variance(some, pool))[:, None]
        span = np.searchsorted(BLOCK_TICKS, np.minimum(60 * hours[some], DAY_TICKS))
        own = units[some] * apart / phi[np.arange(len(some)), span]
        chance = np.minimum(np.exp(-asked[some]) * DAY_TICKS * WARM_REFITS, CHANCE_MAX)
        signal.lend(Kin(pool, some, own, units[some], chance), excluded, hour)
        dispersion.borrow(some, rho, phi, effective, drift[some], asked[some])
        life.kin[some], life.warm[some] = min(len(pool), np.iinfo(np.int16).max), True


def _pools(of_kin: Floats, of_rows: Floats) -> Iterator[tuple[Places, Places]]:
    """Places of the kin of one pool, and of the newcomers among them, by units a tick of each.

    >>> kin = np.array([1.0] * 20 + [100.0] * 20)
    >>> [(len(pool), mine.tolist()) for pool, mine in _pools(kin, np.array([0.5, 110.0, 1.2, 350.0, 20.0]))]
    [(20, [0, 2]), (20, [1, 3, 4])]
    """
    left = np.ones(len(of_rows), np.bool_)
    for pool in alike(of_kin):
        mine = np.flatnonzero(left & (of_rows <= BUSIER * of_kin[pool].max()))
        left[mine] = False
        if len(pool) >= KIN_LEAST and len(mine):
            yield pool, mine


def swing(hours: Floats) -> float:
    """Variance of a level by the hour of day, of kin's levels by hour (k, 24) off their means; NaN where none is known.

    >>> round(swing(np.array([[0.1, -0.1, np.nan], [0.2, -0.2, np.nan], [np.nan, np.nan, np.nan]])), 3)
    0.025
    """
    known = hours[np.isfinite(hours).any(1)]
    return float(np.nanmean(known**2, axis=1).mean()) if len(known) else 0.0


def _wobble(dispersion: Dispersion, pool: Ids) -> Floats:
    """(W,) by width of block, how far the level strays: phi - 1 at its upper end for each unit of the variance that
    chance gives in a tick, as what fails more, or is busier, has as much more phi. The upper quartile of the pool, in
    which each counts by that variance: of those that hardly fail nobody knows how far they stray."""
    few = 1 + np.sqrt(2 / np.maximum(dispersion.block_count[pool], 1))
    chance = dispersion.variance_sum[pool, 0] / np.maximum(dispersion.ticks_sum[pool], 1)
    strays = (np.maximum(1, dispersion.raw[pool] * few) - 1) / np.maximum(chance, 1e-12)[:, None]
    order = np.argsort(strays, axis=0, kind="stable")
    weight = np.cumsum(chance[order], axis=0)
    place = (weight >= WOBBLES * weight[-1]).argmax(0)
    return np.maximum.accumulate(np.take_along_axis(strays, np.take_along_axis(order, place[None], 0), 0)[0])
