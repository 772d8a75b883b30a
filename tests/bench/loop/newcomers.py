"""Newcomers that are judged early: their false pages against their part of the budget, and how soon a fault is found.

    python -m tests.bench.loop newcomers

One rule of errors, with its fast lane. Kin run for ten days; newcomers are born at any minute of the eleventh. Levels
swing with the day, wobble and clump as in the null N1 of `tests/bench/nulls.py`, traffic follows a daily wave with
gamma-Poisson counts. Kin's levels, and newcomers' from the same law, are alike, as the nulls' are, or far apart; `two
kinds` are nine in ten agents that hardly fail and one in ten that fails often. False pages are those of newcomers from
their birth to their second midnight. Every series is judged at a budget of one false page a week for 1,000 series.

Faults come at a random minute of a newcomer's first day, from an hour after birth on, and of a week-old agent's eighth
day; all are at 1% before. Delays are minutes to the page, infinite where a day was not enough.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.core.columns import TICK_NS, Bools, Floats, Ids, Singles, Tick
from detectors.core.contract import Asked, Terms
from detectors.core.fast import FastEngine
from detectors.errors import LEAST_POINTS, LEAST_RATIO, build
from tests.bench.nulls import DAY, ERROR_LAWS, WEEK, clumped, error_shares, slots
from tests.detectors.ticks import MIDNIGHT, Numbers, Watching, tick

SEED, KIN, NEWCOMERS, SHARE = 1, 100, 1000, 1 / 1000
BORN, AFTER = 10 * DAY, 3 * DAY
RATES = (0.1, 1.0, 10.0)
EACH = 40
"""Newcomers, and week-old agents, of each rate in a row of delays."""
FAULTS = (3.0, 10.0, 50.0)
LEVELS = {"alike": 0.3, "usual": 0.8, "far apart": 1.2, "two kinds": math.nan}


def levels(rng: np.random.Generator, law: str, series: int) -> Floats:
    """(S,) mean failed shares."""
    if law == "two kinds":
        often = rng.random(series) < 0.1
        return np.where(often, 0.08, 0.005) * np.exp(rng.normal(0, 0.2, series))
    drawn: Floats = np.clip(np.exp(rng.normal(np.log(0.01), LEVELS[law], series)), 0.0005, 0.2)
    return drawn


@dataclass(eq=False)
class Agents:
    """Some agents: ids (S,), calls a second, minute of birth, failed share by minute from `first` on."""

    ids: Ids
    rate: Floats
    born: Numbers
    first: int
    level: Singles
    phase: Floats

    def at(self, rng: np.random.Generator, minute: int) -> tuple[Ids, Floats, Floats]:
        """(ids, calls, failed) of those that called."""
        wave = 1 + 0.7 * np.sin(2 * np.pi * minute / DAY + self.phase)
        mean = 60 * self.rate * wave * (minute >= self.born)
        calls = rng.poisson(mean * rng.gamma(4.0, 0.25, len(mean))).astype(float)
        there = np.flatnonzero(calls)
        share = self.level[there, minute - self.first]
        return self.ids[there], calls[there], clumped(rng, calls[there], share, ERROR_LAWS["N1"].clumping)


def agents(
    rng: np.random.Generator, ids: Ids, rate: Floats, base: Floats, born: Numbers, first: int, last: int
) -> Agents:
    """Agents of these rates and mean levels."""
    level = error_shares(rng, len(ids), last - first, base, ERROR_LAWS["N1"]).astype(np.float32)
    return Agents(ids, rate, born, first, level, rng.uniform(0, 2 * np.pi, len(ids)))


def one_tick(rng: np.random.Generator, minute: int, fleets: list[Agents]) -> Tick | None:
    parts = [fleet.at(rng, minute) for fleet in fleets]
    ids, calls, failed = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return tick(MIDNIGHT + minute, ids, calls, failed) if len(ids) else None


def play(detector: FastEngine, watching: Watching, fleets: list[Agents], minutes: range, seed: int, fast: bool) -> None:
    """Give these agents' calls to a detector."""
    rng = np.random.default_rng(seed)
    for minute in minutes:
        whole = one_tick(rng, minute, fleets)
        for slot in slots(rng, whole) if whole and fast else ():
            watching.judge_slot(detector, slot)
        watching.judge(detector, whole, MIDNIGHT + minute)


def asked(detector: FastEngine, series: int) -> None:
    """Hold each series to the evidence of one of a thousand."""
    for row in range(series):
        detector.ask(row, Asked(LEAST_RATIO, LEAST_POINTS, math.nan, math.nan, SHARE))


def false_pages(law: str, seed: int) -> str:
    """One law of levels: false pages of newcomers while they borrow."""
    rng, last = np.random.default_rng(seed), BORN + AFTER
    base, rate = levels(rng, law, KIN), 10 ** rng.uniform(-2, 1, KIN)
    kin = agents(rng, np.arange(1, KIN + 1, dtype=np.int32), rate, base, np.zeros(KIN), 0, last)
    detector, watching = build(Terms(1.0, LEAST_RATIO, LEAST_POINTS)), Watching(KIN + NEWCOMERS + 1)
    asked(detector, KIN + NEWCOMERS + 1)
    play(detector, watching, [kin], range(BORN), seed, fast=False)
    ids = np.arange(KIN + 1, KIN + NEWCOMERS + 1, dtype=np.int32)
    base, rate = levels(rng, law, NEWCOMERS), 10 ** rng.uniform(-2, 1, NEWCOMERS)
    born = BORN + rng.integers(0, DAY, NEWCOMERS)
    new = agents(rng, ids, rate, base, born, BORN, last)
    known = len(watching.pages)
    play(detector, watching, [kin, new], range(BORN, BORN + 2 * DAY), seed, fast=True)
    early = detector.engine.life.kin[ids] > 0
    pages = [(row, index - MIDNIGHT - born[row - KIN - 1]) for row, index in watching.pages[known:] if row > KIN]
    allowed = SHARE * float((BORN + 2 * DAY - born).sum()) / WEEK
    return (
        f"{law:9}, seed {seed}: {len(pages)} false pages of {NEWCOMERS} newcomers before their second midnight "
        f"(budget {allowed:.2f}), {early.mean():.0%} judged by then; at minutes of age {[int(age) for _, age in pages]}"
    )


def delays(law: str, seed: int) -> Iterator[str]:
    """Delays of faults: newcomers on their first day beside agents of a week."""
    rng, last = np.random.default_rng(seed), BORN + AFTER
    base, rate = levels(rng, law, KIN), 10 ** rng.uniform(-2, 1, KIN)
    kin = agents(rng, np.arange(1, KIN + 1, dtype=np.int32), rate, base, np.zeros(KIN), 0, last)
    count = EACH * len(RATES)
    rate, first = np.tile(RATES, 2 * EACH), KIN + 1
    ids = np.arange(first, first + 2 * count, dtype=np.int32)
    is_new: Bools = np.arange(2 * count) >= count
    born = np.where(is_new, BORN + rng.integers(0, DAY, 2 * count), BORN - WEEK)
    both = agents(rng, ids, rate, np.full(2 * count, 0.01), born, BORN - WEEK, last)
    detector, watching = build(Terms(1.0, LEAST_RATIO, LEAST_POINTS)), Watching(first + 2 * count)
    asked(detector, first + 2 * count)
    play(detector, watching, [kin], range(BORN - WEEK), seed, fast=False)
    play(detector, watching, [kin, both], range(BORN - WEEK, BORN), seed, fast=False)
    age = rng.integers(60, DAY, 2 * count)
    since = np.where(is_new, born + age, BORN + age)
    for fault in FAULTS:
        yield from _fault(fault, copy.deepcopy((detector, watching)), [kin, both], since, is_new, seed)


def _fault(
    fault: float, state: tuple[FastEngine, Watching], fleets: list[Agents], since: Numbers, is_new: Bools, seed: int
) -> Iterator[str]:
    """One size of fault, from these minutes on."""
    (detector, watching), (kin, both) = state, fleets
    at = np.arange(both.first, both.first + both.level.shape[1])
    worse = np.where(at >= since[:, None], np.minimum(0.9, fault * both.level), both.level).astype(np.float32)
    faulty = Agents(both.ids, both.rate, both.born, both.first, worse, both.phase)
    known = len(watching.pages)
    play(detector, watching, [kin, faulty], range(BORN, BORN + AFTER), seed + 1, fast=True)
    waited = np.full(len(since), np.inf)
    for (row, _), at_ns in zip(watching.pages[known:], watching.paged_ns[known:], strict=True):
        place = row - int(both.ids[0])
        minutes = at_ns / TICK_NS - MIDNIGHT - since[place] if place >= 0 else -1
        if 0 < minutes <= DAY:
            waited[place] = min(waited[place], minutes)
    for rate in RATES:
        old, new = (waited[(both.rate == rate) & (is_new == which)] for which in (False, True))
        (old_half, old_late), (new_half, new_late) = (
            np.quantile(mine, [0.5, 0.9], method="inverted_cdf").tolist() for mine in (old, new)
        )
        yield (
            f"1->{fault:g}% at {rate:4g}/s: newcomers median {new_half:6.1f} min, p90 {new_late:6.1f}, found "
            f"{np.isfinite(new).mean():.0%}; week-old {old_half:6.1f}, {old_late:6.1f}, {np.isfinite(old).mean():.0%}; "
            f"ratio of medians {new_half / old_half:.2f}"
        )


def run() -> Iterator[str]:
    """False pages by law of levels, then delays."""
    for law in LEVELS:
        yield false_pages(law, SEED)
    yield from delays("usual", SEED)
