"""Streams in which nothing happens that deserves a page, as hard as real traffic makes them.

Arrivals are real: 10-minute rates of LLM clients over two weeks (`rate`, `cv` of an npz file), resampled by week. What
the sessions do is drawn from laws whose level wobbles, swings with the day, steps and clumps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from detectors.core.columns import OUTCOMES, SLOT_NS, TICK_NS, Bools, Entries, Floats, Tick
from tests.detectors.ticks import MIDNIGHT, tick

DAY, WEEK = 1440, 10_080
CLASSES = len(OUTCOMES)
MIX = np.array([0.80, 0.08, 0.06, 0.04, 0.02])
FINE = 8 * 14
"""Scale-3 buckets of a drawn histogram: fourteen octaves about the median."""
LOWEST = -6 * 8


@dataclass(frozen=True)
class Law:
    """How a distribution moves: log-sd of its sessions (a range), wobble (OU, an hour), daily swing, slow share."""

    spread: tuple[float, float]
    wobble: float
    swing: float
    blips: float


LAWS = {
    ("latency", "N0"): Law((0.5, 1.0), 0.04, 0.12, 0.0),
    ("latency", "N1"): Law((0.5, 1.0), 0.12, 0.12, 0.0),
    ("latency", "N2"): Law((0.5, 1.0), 0.12, 0.50, 0.5),
    ("cost", "N0"): Law((1.3, 1.3), 0.06, 0.12, 0.0),
    ("cost", "N1"): Law((1.3, 1.3), 0.12, 0.12, 0.0),
    ("cost", "N2"): Law((1.3, 1.3), 0.12, 0.50, 0.5),
}


@dataclass(frozen=True)
class ErrorLaw:
    """How failed shares move, in log odds: wobble (OU, two hours), weekly step; failures' clumping within a minute
    (intraclass correlation), blips of one to three minutes and incidents (five times the share) a week."""

    wobble: float
    step: float
    clumping: float
    blips: float = 0.0
    incidents: float = 0.0


ERROR_LAWS = {
    "N0": ErrorLaw(0.0, 0.05, 0.0),
    "N1": ErrorLaw(0.15, 0.05, 0.003),
    "N2": ErrorLaw(0.15, 0.05, 0.003, blips=0.5),
    "N3": ErrorLaw(0.30, 0.20, 0.01),
    "N4": ErrorLaw(0.15, 0.05, 0.003, incidents=0.25),
}


@dataclass(frozen=True, eq=False)
class Traffic:
    """Sessions a minute, (S, T) int32, and the mean rate of each series in sessions a second."""

    counts: NDArray[np.int32]
    rate: Floats


def traffic(
    rng: np.random.Generator, series: int, weeks: int, arrivals: str, null: str, rate: Floats | None
) -> Traffic:
    """Negative binomial counts about real rates; Poisson in N0."""
    with np.load(arrivals) as file:
        rates, cvs = file["rate"].astype(float), file["cv"].astype(float)
    rate = 10 ** rng.uniform(-3, 1, series) if rate is None else rate
    counts = np.empty((series, weeks * WEEK), np.int32)
    minutes = np.arange(weeks * WEEK) / 10 - 0.5
    for s in range(series):
        client, weeks_of = rng.integers(len(rates)), rng.integers(0, 2, weeks)
        at = (weeks_of[:, None] * 1008 + np.arange(1008)).ravel()
        r = rates[client, at]
        r = np.minimum(r / r.mean(), 30)
        r *= np.repeat(np.exp(rng.normal(-(0.15**2) / 2, 0.15, weeks * 7)), 144) / r.mean()
        r *= np.exp(rng.normal(0, 0.01) * np.repeat(np.arange(weeks), 1008))
        mean = 60 * rate[s] * np.interp(minutes, np.arange(len(r)), r)
        cv = np.repeat(np.clip(np.where(cvs[client, at] > 0, cvs[client, at], 1), 1, 5), 10)
        excess = np.maximum((1.0 if null == "N0" else cv**2) - 1, 1e-3)
        counts[s] = rng.poisson(rng.gamma(np.maximum(mean / excess, 1e-6)) * excess)
    return Traffic(counts, rate)


def wobble(rng: np.random.Generator, series: int, minutes: int, sd: float, hours: float) -> Floats:
    """Ornstein-Uhlenbeck paths of that sd and time constant, in 5-minute steps, linear between; (S, minutes)."""
    keep = np.exp(-5 / (60 * hours))
    steps = rng.normal(0, sd * np.sqrt(1 - keep * keep), (series, minutes // 5 + 2))
    steps[:, 0] = rng.normal(0, sd, series)
    path = lfilter([1], [1, -keep], steps, axis=1)
    at, part = np.arange(minutes) // 5, np.arange(minutes) % 5 / 5
    between: Floats = path[:, at] * (1 - part) + path[:, at + 1] * part
    return between


def daily(rng: np.random.Generator, series: int, minutes: int, most: float) -> Floats:
    """A daily wave of each series' own size and phase; (S, minutes)."""
    size, phase = rng.uniform(0, most, (series, 1)), rng.uniform(0, 2 * np.pi, (series, 1))
    wave: Floats = size * np.sin(2 * np.pi * np.arange(minutes) / DAY + phase)
    return wave


def blip_minutes(rng: np.random.Generator, minutes: int, a_week: float) -> Iterator[slice]:
    """One to three whole minutes, `a_week` times a week."""
    for at in rng.integers(0, minutes - 5, rng.poisson(a_week * minutes / WEEK)):
        yield slice(int(at), int(at + rng.integers(1, 4)))


def error_shares(rng: np.random.Generator, series: int, minutes: int, base: Floats, law: ErrorLaw) -> Floats:
    """The true failed share by minute, (S, minutes): a wave, wobble, a step a week, blips."""
    logit = np.log(base / (1 - base))[:, None] + daily(rng, series, minutes, 0.3)
    if law.wobble:
        logit += wobble(rng, series, minutes, law.wobble, 2)
    for s in range(series):
        for week in range(minutes // WEEK):
            logit[s, week * WEEK + rng.integers(WEEK) :] += rng.normal(0, law.step)
        for blip in blip_minutes(rng, minutes, law.blips):
            logit[s, blip] += np.log(rng.uniform(3, 8))
    shares: Floats = 1 / (1 + np.exp(-logit))
    return shares


def incidents(rng: np.random.Generator, series: int, minutes: int, a_week: float) -> Bools:
    """Whole incidents of one to six hours, `a_week` times a week, (S, minutes)."""
    inside = np.zeros((series, minutes), np.bool_)
    for s in range(series):
        for at in rng.integers(0, minutes - 360, rng.poisson(a_week * minutes / WEEK)):
            inside[s, at : at + rng.integers(60, 361)] = True
    return inside


def clumped(rng: np.random.Generator, n: Floats, share: Floats, icc: float) -> Floats:
    """Failures of n, whose chance moves from minute to minute."""
    if icc:
        m = 1 / icc - 1
        share = rng.beta(np.maximum(share * m, 1e-4), np.maximum((1 - share) * m, 1e-4))
    failed: Floats = rng.binomial(n.astype(int), share).astype(float)
    return failed


def mixes(rng: np.random.Generator, series: int, minutes: int, null: str) -> Floats:
    """The true good share by minute, (S, minutes): fixed, or with a daily swing and wobble, and weekly steps in N2."""
    good = np.full((series, minutes), MIX[0])
    if null != "N0":
        good += daily(rng, series, minutes, 0.03) + wobble(rng, series, minutes, 0.02, 2)
    if null == "N2":
        for s in range(series):
            for week in range(minutes // WEEK):
                good[s, week * WEEK + rng.integers(WEEK) :] += rng.normal(0, 0.01)
    clipped: Floats = np.clip(good, 0.3, 0.97)
    return clipped


def bucket_shares(level: Floats, spread: Floats) -> Floats:
    """(r, FINE) chance of each bucket: lognormal with 3% of sessions four times as slow; `level` (r,) log shift."""
    edges = (np.arange(1, FINE) + LOWEST) * np.log(2) / 8
    z = (edges - level[:, None]) / spread[:, None]
    cdf = 0.97 * ndtr(z) + 0.03 * ndtr(z - np.log(4) / spread[:, None])
    full = np.concatenate([np.zeros((len(level), 1)), cdf, np.ones((len(level), 1))], 1)
    shares: Floats = np.diff(full, axis=1)
    return shares


def sparse(rows: NDArray[Any], dense: NDArray[Any], lowest: int) -> Entries:
    """Dense counts (r, B) as entries, column 0 being bucket `lowest`."""
    at, bucket = np.nonzero(dense)
    return Entries(rows[at].astype(np.int32), (bucket + lowest).astype(np.int32), dense[at, bucket].astype(float))


def slots(rng: np.random.Generator, whole: Tick) -> Iterator[Tick]:
    """The six slots of a minute of errors: its calls spread evenly, so that failures stay clumped by the minute."""
    failed, passed = whole.failed.astype(int), (whole.count - whole.failed).astype(int)
    places = TICK_NS // SLOT_NS
    for place in range(places):
        share = 1 / (places - place)
        failing, passing = rng.binomial(failed, share), rng.binomial(passed, share)
        failed, passed = failed - failing, passed - passing
        at = np.flatnonzero(failing + passing)
        if len(at):
            part = tick(0, whole.series[at], (failing + passing)[at], failing[at])
            yield replace(part, start_ns=whole.start_ns + place * SLOT_NS)


class Stream:
    """Ticks of one signal and null, minute by minute, all draws from one generator. Series ids begin at 1."""

    def __init__(
        self,
        signal: str,
        null: str,
        series: int,
        weeks: int,
        seed: int,
        arrivals: str,
        rate: Floats | None = None,
        base: Floats | None = None,
    ) -> None:
        self.signal, self.null, self.rng = signal, null, np.random.default_rng(seed)
        rng, minutes = self.rng, weeks * WEEK
        self.traffic = traffic(rng, series, weeks, arrivals, null, rate)
        self.minutes = minutes
        self.incident = np.zeros((series, minutes), np.bool_)
        if signal == "errors":
            if base is None:
                base = np.clip(np.exp(rng.normal(np.log(0.01), 0.8, series)), 0.001, 0.05)
            law = ERROR_LAWS[null]
            self.level = error_shares(rng, series, minutes, base, law).astype(np.float32)
            self.incident = incidents(rng, series, minutes, law.incidents)
            self.level = np.where(self.incident, np.minimum(0.9, 5 * self.level), self.level)
        elif signal == "outcomes":
            self.level = mixes(rng, series, minutes, null).astype(np.float32)
            self.moved = np.zeros_like(self.level)  # What the first bad class has taken from the good one besides.
        else:
            moves = LAWS[signal, null]
            self.spread = rng.uniform(*moves.spread, series)
            level = daily(rng, series, minutes, moves.swing) + wobble(rng, series, minutes, moves.wobble, 1)
            self.level = level.astype(np.float32)
            self.blips = np.zeros((series, minutes), np.bool_)
            for s in range(series):
                for blip in blip_minutes(rng, minutes, moves.blips):
                    self.blips[s, blip] = True

    def at(self, minute: int) -> Tick | None:
        """The tick of a minute, None if it counted nothing."""
        rows = np.flatnonzero(self.traffic.counts[:, minute])
        if not len(rows):
            return None
        n, level = self.traffic.counts[rows, minute].astype(float), self.level[rows, minute].astype(float)
        index, ids = MIDNIGHT + minute, rows + 1
        if self.signal == "errors":
            return tick(index, ids, n, clumped(self.rng, n, level, ERROR_LAWS[self.null].clumping))
        if self.signal == "outcomes":
            others = MIX[1:] / MIX[1:].sum() * (1 - level[:, None])
            mix = np.concatenate([level[:, None], others], 1)
            moved = self.moved[rows, minute]
            mix[:, 0] -= moved
            mix[:, 1] += moved
            if self.null != "N0":
                mix = self.rng.standard_gamma(np.maximum(mix * (1 / 0.003 - 1), 1e-3))
                mix /= mix.sum(1, keepdims=True)
            return tick(index, ids, n, outcome=sparse(ids, self.rng.multinomial(n.astype(int), mix), 0))
        shares = bucket_shares(level, self.spread[rows])
        blip = self.blips[rows, minute]
        if blip.any():
            slower = bucket_shares(level[blip] + np.log(3), self.spread[rows][blip])
            shares[blip] = 0.9 * shares[blip] + 0.1 * slower
        drawn = sparse(ids, self.rng.multinomial(n.astype(int), shares / shares.sum(1, keepdims=True)), LOWEST)
        return tick(index, ids, n, duration=drawn, cost=drawn)
