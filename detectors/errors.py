"""Error spikes: failed calls (or sessions) among all, beta-binomial against the upper end of the hour's baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammainccinv, gammaln, softmax

from detectors.core.anchor import Anchor
from detectors.core.columns import TICK_NS, Bools, Floats, Ids, Precision, Singles, Tick
from detectors.core.contract import Terms
from detectors.core.count_signal import Counted
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.dispersion import DAY_BLOCK, KEEP, Dispersion
from detectors.core.engine import GAUGES, LEARNS
from detectors.core.fast import FastEngine
from detectors.core.gates import Gates
from detectors.core.hours import shrunk
from detectors.core.kin import Kin, swing
from detectors.core.recent import Recent
from detectors.core.rows import column, resize
from detectors.core.worth import Worth

RATIOS = np.array([1.5, 2.0, 3.0, 5.0, 10.0, 30.0])
"""Alternatives: the failed share is this many times the upper null, at most CEILING."""
OUTAGE, OUTAGE_SHARE = len(RATIOS), 0.5
"""The alternative of an outage, the largest and at least half of all: only ends are tested against it. Thirty times a
share of one in a thousand is no outage, and hundreds of calls would be needed to believe in its end."""
CEILING = 0.95
SLACK = 0.10
"""How far above its estimate the null may lie, besides the estimate's own error: weekly steps are no incident."""
KIN_APART = 0.3
"""Standard deviation of the levels of kin, of their mean, that is believed in at least."""
UNLIKE = 0.3
"""Shape of the prior of a newcomer that is unlike all its kin: its level may well be ten times theirs."""
GROWS = float((RATIOS[0] - 1) / np.log(RATIOS[0]))
"""Times the null from which evidence for the smallest alternative grows in the mean: where r log 1.5 passes r - 1."""
LEAST_RATIO, LEAST_POINTS = 1.5, 0.005
OUTAGE_RATIO, OUTAGE_POINTS = 10.0, 0.20
"""What the fast lane calls an outage, where the rule does not ask for more."""


@dataclass(eq=False)
class ErrorBaseline:
    """Failed and all sessions by hour of day: decayed, and today's; from them the expected share and its upper end.

    share  (S, 24)  expected failed share
    upper  (S, 24)  the null: the share no smaller than which the truth may lie
    """

    count: Floats = column(24)
    failed: Floats = column(24)
    count_today: Singles = column(24, dtype=np.float32)
    failed_today: Singles = column(24, dtype=np.float32)
    share: Floats = column(24, fill=0.01)
    upper: Floats = column(24, fill=0.02)

    def __post_init__(self) -> None:
        resize(self, 0)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of (r,) series that counted: sum w of their failed units and of the others, and sum w^2 of both."""

    rows: Ids
    failed: Floats
    of_failed: Floats
    others: Floats
    of_others: Floats


class Errors:
    """The signal of failed shares. A run's sums are failed, all, and expected failed."""

    alternatives = len(RATIOS)
    sums = 3
    precision: Precision = np.float64
    residual_of = np.zeros(len(RATIOS), np.int32)
    effects = RATIOS
    outages = np.flatnonzero(RATIOS >= OUTAGE_RATIO).astype(np.int32)

    def __init__(self, ratio: float, points: float) -> None:
        self.gates = Gates(ratio, points)
        self.baseline = ErrorBaseline()
        self.recent = Recent(2)
        self.anchor = Anchor()
        self.worth_failed, self.worth_others = Worth(), Worth()
        self.parts: Mapping[str, Any] = {
            "baseline": self.baseline, "recent": self.recent, "anchor": self.anchor,
            "worth_failed": self.worth_failed, "worth_others": self.worth_others,
        }  # fmt: skip

    def counted(self, tick: Tick) -> Counted:
        """What was seen: failed units, and others, each worth their effective number.

        Where sampling keeps failures and thins out the rest, failures are as many as they were, among fewer others. So
        their share is another; by how much tell the odds, see `_seen`. Shares of the baseline are those of the whole.
        """
        sums = _sums(tick)
        self.worth_failed.add(sums.rows, sums.failed, sums.of_failed)
        self.worth_others.add(sums.rows, sums.others, sums.of_others)
        return self._worth(tick.start_ns // TICK_NS, sums)

    def counted_of_slot(self, slot: Tick) -> Counted:
        """The same, by what units of the ticks before are worth."""
        return self._worth(slot.start_ns // TICK_NS, _sums(slot))

    def _worth(self, index: int, sums: _Sums) -> Counted:
        told = self.worth_failed.weight(sums.rows, sums.failed, sums.of_failed)
        of_rest = self.worth_others.weight(sums.rows, sums.others, sums.of_others)
        # What was never seen is sampled as the others are, as far as anybody knows.
        one, other = np.where(np.isnan(told), of_rest, told), np.where(np.isnan(of_rest), told, of_rest)
        k, m = sums.failed / one, sums.others / other
        return Counted(index, sums.rows, k + m, k, np.empty((len(sums.rows), 0)), other / one)

    def learn(self, counted: Counted, hour: int) -> None:
        whole = _whole(counted)
        self.recent.add(counted.rows, np.stack([counted.values, whole], 1))
        self.baseline.count_today[counted.rows, hour] += whole
        self.baseline.failed_today[counted.rows, hour] += counted.values

    def residuals(self, counted: Counted, hour: int) -> tuple[Floats, Floats]:
        share = _seen(self.baseline.share[counted.rows, hour], counted)
        residual = counted.values - counted.count * share
        return residual[:, None], (counted.count * share * (1 - share))[:, None]

    def ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats:
        """(r, J) beta-binomial log-likelihood ratios of the alternatives against the upper null."""
        return self._against_upper(_raised(self._upper(counted, hour), RATIOS), counted, hour, rho)

    def outage_ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats:
        """The same of the outages alone."""
        return self._against_upper(_raised(self._upper(counted, hour), RATIOS[self.outages]), counted, hour, rho)

    def of_ends(self, counted: Counted, hour: int, rho: Floats, ratios: Floats) -> Floats:
        """(r, J + 1) the same, and that of an outage."""
        outage = self._against_upper(_outage(self._upper(counted, hour)), counted, hour, rho)
        return np.concatenate([ratios, outage], 1)

    def _upper(self, counted: Counted, hour: int) -> Floats:
        upper: Floats = self.baseline.upper[counted.rows, hour, None]
        return upper

    def _against_upper(self, raised: Floats, counted: Counted, hour: int, rho: Floats) -> Floats:
        n, k, m = counted.count[:, None], counted.values[:, None], 1 / rho - 1
        upper = _seen(self._upper(counted, hour), counted)
        return _log_beta_binomial(n, k, _seen(raised, counted), m) - _log_beta_binomial(n, k, upper, m)

    def tempering(self, rows: Ids, eta: Floats) -> Floats:
        return eta

    def run_sums(self, counted: Counted, hour: int) -> Floats:
        whole = _whole(counted)
        return np.stack([counted.values, whole, whole * self.baseline.share[counted.rows, hour]], 1)

    def shows_effect(self, rows: Ids, run: Floats) -> Bools:
        """The run's failed share against the expected one, not against the upper null."""
        return _beyond(run, self.gates.ratios(rows), self.gates.points_of(rows))

    def asked(self) -> Floats:
        """Points are so many times the usual share: 5 of them are 6x where 1% fails."""
        usual = self.baseline.share.mean(1)
        rows = np.arange(len(usual), dtype=np.int32)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_points = np.nan_to_num(self.gates.points_of(rows) / usual, nan=0.0)
        asked: Floats = np.maximum(self.gates.ratios(rows), 1 + of_points)
        return asked

    def shows_outage(self, rows: Ids, run: Floats) -> Bools:
        ratios, points = self.gates.ratios(rows), self.gates.points_of(rows)
        return _beyond(run, np.maximum(OUTAGE_RATIO, ratios), np.maximum(OUTAGE_POINTS, points))

    def weaker(self, alternatives: Ids, rows: Ids, run: Floats) -> Ids:
        """At most twice the null: recovery is coming under about 1.6 times. A run that an outage fits best is held
        against an outage, whose end shows in few calls; what of it stays then is a change of its own."""
        share, upper = (run[:, 0] / run[:, 1])[:, None], self.baseline.upper[rows].mean(1)[:, None]
        p = np.concatenate([_raised(upper, RATIOS), _outage(upper)], 1)
        fit = share * np.log(p) + (1 - share) * np.log(1 - p)
        return np.where(fit[:, OUTAGE] >= fit.max(1), OUTAGE, np.clip(alternatives - 1, 0, 1)).astype(np.int32)

    def rho(self, dispersion: Dispersion) -> Floats:
        return dispersion.pooled_rho()

    def drift(self) -> Floats:
        """(S, J) Kullback-Leibler distance of each alternative from the upper null, a unit as it is counted: of shares
        as sampling leaves them, of which a unit tells more where failures alone are kept."""
        upper = self.baseline.upper.mean(1)[:, None]
        rows = np.arange(len(upper), dtype=np.int32)
        odds = np.nan_to_num(self.worth_others.usual(rows) / self.worth_failed.usual(rows), nan=1.0)
        u, p = _among_kept(upper, odds), _among_kept(_raised(upper, RATIOS), odds)
        drift: Floats = p * np.log(p / u) + (1 - p) * np.log((1 - p) / (1 - u))
        return drift

    def enter_hour(self, closing: int | None, opening: int, excluded: Bools) -> None:
        """Nothing: shares are refitted at midnight only."""

    def refit(self, excluded: Bools, judgeable: Bools) -> Bools:
        """Midnight: decay, add today without the hours of alerts and past incidents, and say which those were."""
        b, count_today, failed_today = self.baseline, *self._today()
        expected = count_today * b.share
        incident = (failed_today > 3 * expected) & (failed_today - expected > 6 * np.sqrt(expected + 1))
        excluded = excluded | (incident & judgeable[:, None])
        b.count = KEEP * b.count + np.where(excluded, 0, count_today)
        b.failed = KEEP * b.failed + np.where(excluded, 0, failed_today)
        count, failed = b.count.sum(1), b.failed.sum(1)
        pool = (failed.sum() + 1) / (count.sum() + 100)
        mean = (failed + 1) / (count + 1 / pool)  # A gamma prior of the pool's mean and the strength of one error.
        b.share = np.clip(shrunk(b.failed, b.count, mean[:, None]), 1e-6, 0.8)
        b.upper = np.clip(b.share * (1 + SLACK + 1 / np.sqrt(failed + 1))[:, None], 2e-6, 0.85)
        self.anchor.add(np.where(excluded, 0, count_today).sum(1), np.where(excluded, 0, failed_today).sum(1))
        b.count_today[:] = 0
        b.failed_today[:] = 0
        return excluded

    def learnt(self, excluded: Bools) -> tuple[Floats, Floats]:
        """(S,) calls that are known, today's with them, and in how many hours they came."""
        b = self.baseline
        today = np.where(excluded, 0, b.count_today)
        return b.count.sum(1) + today.sum(1), ((b.count > 0).sum(1) + (today > 0).sum(1)).astype(np.float64)

    def variance(self, rows: Ids, lenders: Ids) -> Floats:
        """Of the newcomers' own shares, drawn towards the kin's by the strength of one error."""
        b = self.baseline
        count = b.count[rows].sum(1) + b.count_today[rows].sum(1, dtype=np.float64)
        failed = b.failed[rows].sum(1) + b.failed_today[rows].sum(1, dtype=np.float64)
        pool = (b.failed[lenders].sum() + 1) / (b.count[lenders].sum() + 100)
        share: Floats = np.minimum((failed + 1) / (count + 1 / pool), 0.5)
        return share * (1 - share)

    def lend(self, kin: Kin, excluded: Bools, hour: int) -> None:
        """What is expected, and the null, from how the kin's shares lie and from the newcomer's own calls.

        The prior is a gamma of the kin's mean and spread; or else, with the chance that one more is unlike all of them,
        a vague one. The null is the largest quantile of the two; and what hours differ by among kin makes both wider.
        """
        b, rows = self.baseline, kin.rows
        count, failed = b.count[kin.lenders].sum(1), b.failed[kin.lenders].sum(1)
        share, few = failed / count, 1 + np.sqrt(2 / len(count))
        mean = max(float(share.mean()), 1 / float(count.sum()))
        apart = max(few * float(share.var() - (share / count).mean()), (KIN_APART * mean) ** 2)
        hours = b.share[kin.lenders]
        swings = swing(hours / hours.mean(1, keepdims=True) - 1)
        failures = b.failed[rows].sum(1) + np.where(excluded[rows], 0, b.failed_today[rows]).sum(1)
        prior = np.array([[mean * mean / apart], [UNLIKE]])
        shape, rate = prior + failures * kin.units / kin.whole, prior / mean + kin.units
        fits = gammaln(shape) - gammaln(prior) + prior * np.log(prior / mean) - shape * np.log(rate)
        weight = softmax(fits + np.log(np.array([[float(len(count))], [1.0]])), axis=0)
        level, wide = (weight * shape / rate).sum(0), 1 / (1 / shape + swings)
        beyond = np.minimum(kin.chance / (2 * np.maximum(weight, 1e-12)), 0.5)
        upper = (shape / rate * gammainccinv(wide, beyond) / wide).max(0) / GROWS
        b.share[rows] = np.clip(level, 1e-6, 0.8)[:, None]
        b.upper[rows] = np.clip(np.maximum(upper, level * (1 + SLACK)), 2e-6, 0.85)[:, None]

    def _today(self) -> tuple[Floats, Floats]:
        return self.baseline.count_today.astype(np.float64), self.baseline.failed_today.astype(np.float64)

    def mass(self) -> Floats:
        mass: Floats = self.baseline.count.sum(1)
        return mass

    def finding(self, row: int, run: Floats, hour: int) -> tuple[str, float, float, float]:
        return "ratio", float(run[2] / run[1]), float(run[0] / run[1]), float(run[1])

    def said(self, row: int, run: Floats) -> str:
        """Nothing more: the level says it all."""
        return ""

    def wobble(self, dispersion: Dispersion) -> Floats:
        """(S,) by how much, as a factor, an hour's share lies off its expectation: one standard deviation."""
        failures = dispersion.sessions_an_hour()[:, 0] * self.baseline.share.mean(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            wobble: Floats = 1 + dispersion.hourly_wobble() / failures
        return wobble

    def crept(self, day: int, dispersion: Dispersion) -> Mapping[int, tuple[str, float, float, float]]:
        b = self.baseline
        found = self.anchor.crept(b.count.sum(1), b.failed.sum(1), dispersion.inflation()[:, DAY_BLOCK, 0])
        return {row: ("ratio", *levels) for row, levels in found.items()}

    def gauges(self, hour: int) -> dict[str, Floats]:
        """Failed share now, expected, and the share from which the rule would speak of an effect."""
        failed, count = self.recent.sums.T
        with np.errstate(invalid="ignore", divide="ignore"):
            now = failed / count
        before = self.baseline.share[:, hour]
        known = self.mass() > 0
        rows = np.arange(len(before), dtype=np.int32)
        least = np.maximum(before * self.gates.ratios(rows), before + self.gates.points_of(rows))
        return {
            "error_ratio": now,
            "error_ratio_baseline": np.where(known, before, np.nan),
            "error_ratio_effect": np.where(known, least, np.nan),
        }


def _sums(tick: Tick) -> _Sums:
    at = np.flatnonzero(tick.count > 0)
    rows, count, failed, squares = tick.series[at], tick.count[at], tick.failed[at], tick.squares[at]
    of_failed = failed * squares / count  # What does not tell its failures' squares has all of one weight.
    _, here, there = np.intersect1d(rows, tick.failed_squares.cell, return_indices=True)
    of_failed[here] = tick.failed_squares.count[there]
    return _Sums(rows, failed, of_failed, count - failed, squares - of_failed)


def _seen(share: Floats, counted: Counted) -> Floats:
    """Failed shares (r,) or (r, J) of the whole as they are among what sampling left of this tick."""
    if counted.odds is None or (counted.odds == 1).all():
        return share
    return _among_kept(share, counted.odds)


def _among_kept(share: Floats, odds: Floats) -> Floats:
    """The same, where the odds of a failure grow by `odds` (r,)."""
    grown = share * odds.reshape(-1, *(1,) * (share.ndim - 1))
    kept: Floats = grown / (1 - share + grown)
    return kept


def _whole(counted: Counted) -> Floats:
    """(r,) all units, those that sampling left out too, as many as failed units are worth."""
    if counted.odds is None or (counted.odds == 1).all():
        return counted.count
    return counted.values + (counted.count - counted.values) * counted.odds


def _raised(upper: Floats, times: Floats) -> Floats:
    """(r, J) failed shares so many times upper nulls (r, 1)."""
    raised: Floats = np.minimum(CEILING, upper * times)
    return raised


def _outage(upper: Floats) -> Floats:
    """(r, 1) failed share of an outage."""
    outage: Floats = np.maximum(OUTAGE_SHARE, _raised(upper, RATIOS[-1:]))
    return outage


def _beyond(run: Floats, ratio: Floats, points: Floats) -> Bools:
    """Whether the failed shares of these runs lie so many times and so many points above the expected."""
    now, before = run[:, 0] / run[:, 1], run[:, 2] / run[:, 1]
    beyond: Bools = (now >= ratio * before) & (now - before >= points)
    return beyond


def _log_beta_binomial(n: Floats, k: Floats, p: Floats, m: Floats) -> Floats:
    """log-likelihood of k failed of n, mean p, concentration m, without the terms that do not depend on p."""
    a, b = p * m, (1 - p) * m
    log: Floats = gammaln(k + a) - gammaln(a) + gammaln(n - k + b) - gammaln(b)
    return log


def build(terms: Terms) -> FastEngine:
    """Make the detector of a rule with `detector: errors`."""
    ratio, points = terms.ratio, terms.points
    if ratio is None and points is None:
        ratio, points = LEAST_RATIO, LEAST_POINTS
    return FastEngine(Errors(ratio or 1.0, points or 0.0), terms)


DETECTOR = Descriptor(
    build,
    {
        "error_ratio": Gauge(
            "tocsin_error_ratio",
            "Failed share of the last active minutes.",
            shows="ratio",
            usual="error_ratio_baseline",
        ),
        "error_ratio_baseline": Gauge("tocsin_error_baseline_ratio", "Failed share that the baseline expects."),
        "error_ratio_effect": Gauge("tocsin_error_threshold_ratio", "Failed share that is the rule's smallest effect."),
        **GAUGES,
    },
    subject="failed",
    signal="error_ratio",
    effects=Effects(LEAST_RATIO, LEAST_POINTS, "1.5x, +0.5pp or 1.5x and +0.5pp"),
    learns=LEARNS,
    of_points=False,
)
