"""Versions side by side: false alarms of releases that change nothing, and how soon a worse one is found.

    python -m tests.bench.loop versions

Agents of levels of their own (failures from 0.6% to 8%, drawn; durations lognormal) are busy by the hour of day, wobble
together in both versions (a standard deviation of a quarter, an hour long), and their failures clump within a minute
(beta-binomial, rho 0.01) and apart in each version. After a day of the old version the new one takes a share of the
calls for two days. Half of the agents are of 5 calls a minute, half of 60.

A session has five calls. It lasts five minutes in the median, one in a hundred over 51, and counts as it closes. Its
cost is lognormal (sigma 1). Three of five tell an outcome, of which as many are bad as 5 to 30% (drawn); short
sessions fail and end badly more often than long ones.

A release is one agent's, compared by its calls and by its sessions; its budget is the shipped rule's. Counted is how
many releases that change nothing ever page, and for one that is worse the delay. Each release brings a new prompt
version and another model that answers, too: two more rules compare its calls, of which those that fail do not tell who
answered. A release that any of the three pages for has paged.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from detectors.core.columns import Bytes, Entries, Floats, Places, Tick, Verdict, empty, without
from detectors.core.contract import Asked, Terms
from detectors.versions import ALPHA_MAX, LEAST_POINTS, LEAST_RATIO, Versions
from tests.detectors.ticks import MIDNIGHT, tick

DAY_MINUTES = 1440
RATES = (5.0, 60.0)
"""Calls a minute of an agent, in the mean of a day."""
FALSE_MAX = 0.05
SEED, RELEASES, WORSE = 1, 400, 60
RHO, WOBBLE, SIGMA = 0.01, 0.25, 0.6
CALLS, MEDIAN_MINUTES, TOLD, COST_SIGMA, SHORTER = 5.0, 5.0, 0.6, 1.0, 0.7
"""Of a session; one that is a standard deviation shorter fails and ends badly twice as often."""
RULES = ("version", "prompt", "answer")
"""What is new in a release, each compared by a rule of its own: the last two by calls alone."""
SERIES = 4
"""Of an agent: calls of the old and the new version, and sessions likewise. Those of agent 0 are 1 to 4."""


@dataclass(frozen=True)
class Change:
    """What is worse in the new version: times the failed share, each duration, each cost, the share of bad outcomes."""

    name: str
    failed: float = 1.0
    slower: float = 1.0
    dearer: float = 1.0
    bad: float = 1.0


NOTHING = Change("nothing")
CHANGES = (
    Change("failures x2", failed=2.0),
    Change("failures x5", failed=5.0),
    Change("latency x1.5", slower=1.5),
    Change("cost x1.5", dearer=1.5),
    Change("bad outcomes x2", bad=2.0),
)


class Sessions:
    """Sessions of both versions of all agents, which begin in one minute and count in a later one."""

    def __init__(self, agents: int, change: Change, rng: np.random.Generator) -> None:
        self.rng, self.change = rng, change
        self.failed, self.bad = (
            np.exp(rng.uniform(math.log(least), math.log(most), agents)) for least, most in ((0.006, 0.08), (0.05, 0.3))
        )
        self._open = np.empty((6, 0))

    def tick(self, minute: int, begun: Places, wobble: Floats) -> Tick:
        """(agents, 2) sessions begin; those that close are told."""
        rng, agents = self.rng, len(begun)
        of = np.repeat(np.arange(2 * agents), begun.ravel())
        agent, new = of // 2, of % 2 == 1
        z = rng.normal(size=len(of))
        common = np.exp(wobble[agent] - SHORTER * z - SHORTER**2 / 2)
        failed = rng.random(len(of)) < self.failed[agent] * common * np.where(new, self.change.failed, 1.0)
        bad = rng.random(len(of)) < np.minimum(0.9, self.bad[agent] * common * np.where(new, self.change.bad, 1.0))
        outcome = np.where(rng.random(len(of)) < TOLD, bad, -1)
        cost = rng.normal(0, COST_SIGMA, len(of)) + np.where(new, math.log(self.change.dearer), 0.0)
        ends = minute + MEDIAN_MINUTES * np.exp(z)
        rows = SERIES * agent + 3 + new
        begun_now = np.stack([ends, rows, failed, outcome, cost, z])
        every = np.concatenate([self._open, begun_now], 1)
        over = every[0] < minute + 1
        self._open = every[:, ~over]
        _, at, failed, outcome, cost, z = every[:, over]
        at, told = at.astype(np.int64), outcome >= 0
        series, count = np.unique(at, return_counts=True)
        failures = np.bincount(np.searchsorted(series, at), failed, len(series))
        costs = _entries(at, _buckets(cost))
        outcomes = _entries(at[told], outcome[told].astype(np.int64))
        lasted = _entries(at, _buckets(z + math.log(60 * MEDIAN_MINUTES)))
        return tick(MIDNIGHT + minute, series, count, failures, lasted, costs, outcomes)


def ticks(agents: int, canary: float, change: Change, days: int, seed: int) -> Iterator[Tick]:
    """Calls and sessions of both versions of all agents."""
    rng = np.random.default_rng(seed)
    rate = np.tile(RATES, agents)[:agents]
    level = np.exp(rng.uniform(np.log(0.006), np.log(0.08), agents))
    phase, wobble = rng.uniform(0, DAY_MINUTES, agents), np.zeros(agents)
    rows = (SERIES * np.arange(agents)[:, None] + np.array([1, 2])).ravel()
    sessions = Sessions(agents, change, rng)
    for minute in range((1 + days) * DAY_MINUTES):
        wobble = wobble * (1 - 1 / 60) + rng.normal(0, WOBBLE * math.sqrt(2 / 60), agents)
        busy = rate * (1 + 0.8 * np.sin(2 * np.pi * (minute + phase) / DAY_MINUTES))
        share = canary if minute >= DAY_MINUTES else 0.0
        each = np.stack([busy * (1 - share), busy * share], 1)
        calls = rng.poisson(each)
        p = np.minimum(0.9, level * np.exp(wobble - WOBBLE**2 / 2))[:, None] * np.array([1.0, change.failed])
        p = np.clip(p, 1e-6, 0.95)
        failed = rng.binomial(calls, rng.beta(p * (1 / RHO - 1), (1 - p) * (1 / RHO - 1)))
        at = np.repeat(rows, calls.ravel()).astype(np.int64)
        slower = np.where(at % 2 == 0, math.log(change.slower), 0.0) + 0.5 * np.repeat(wobble, calls.sum(1))
        seconds = rng.normal(0, SIGMA, len(at)) + slower
        there = calls.ravel() > 0
        durations = _entries(at, _buckets(seconds))
        of_calls = tick(MIDNIGHT + minute, rows[there], calls.ravel()[there], failed.ravel()[there], durations)
        yield _both(of_calls, sessions.tick(minute, rng.poisson(each / CALLS), wobble))


def _both(one: Tick, other: Tick) -> Tick:
    """Ticks of one minute whose series differ, together."""
    order = np.argsort(np.concatenate([one.series, other.series]), kind="stable")
    columns = {
        name: np.concatenate([column, getattr(other, name)])[order]
        for name, column in vars(one).items()
        if isinstance(column, np.ndarray)
    }
    cell, bucket, count = (
        np.concatenate([getattr(one.duration, name), getattr(other.duration, name)]) for name in vars(one.duration)
    )
    at = np.argsort(cell, kind="stable")
    durations = Entries(cell[at], bucket[at], count[at])
    return replace(one, duration=durations, cost=other.cost, outcome=other.outcome, **columns)  # type: ignore[arg-type]


def _buckets(logs: Floats) -> Places:
    """Buckets of values by their logarithms."""
    return np.ceil(logs / math.log(2) * 8).astype(np.int64) - 1


def _entries(at: Places, bucket: Places) -> Entries:
    found, counts = np.unique(at << 32 | bucket + 2**31, return_counts=True)
    rows, buckets = found >> 32, (found & 0xFFFFFFFF) - 2**31
    return Entries(rows.astype(np.int32), buckets.astype(np.int32), counts.astype(float))


def _met(agents: int) -> Versions:
    """A rule's detector, told of all series."""
    detector = Versions(Terms(1.0, None, None))
    # As if each were the only release of its week: the largest chance of a page without cause that the detector takes.
    alone = Asked(LEAST_RATIO, LEAST_POINTS, math.nan, math.nan, ALPHA_MAX)
    for row in range(1, SERIES * agents + 1):
        agent, place = divmod(row - 1, SERIES)
        detector.meet(row, (str(agent), ("llm", "session")[place // 2]), f"v{1 + place % 2} of {agent}")
        detector.ask(row, alone)
    return detector


def paged(agents: int, canary: float, change: Change, seed: int, days: int = 2) -> Floats:
    """(rules, agents) minutes from each release to its page by each of RULES; infinite where it never paged."""
    found = np.full((len(RULES), agents), np.inf)
    detectors = [_met(agents) for _ in RULES]
    modes: Bytes = np.zeros(SERIES * agents + 1, np.int8)
    of_sessions = np.array([row for row in range(1, SERIES * agents + 1) if (row - 1) % SERIES > 1], np.int32)
    for number, each in enumerate(ticks(agents, canary, change, days, seed)):
        calls = without(each, of_sessions) or empty(each.start_ns)
        # A call that failed does not tell who answered it.
        good = calls.count - calls.failed
        answered = replace(calls, count=good, squares=good, failed=np.zeros(len(good)))
        for rule, (detector, seen) in enumerate(zip(detectors, (each, calls, answered), strict=True)):
            for row, word in detector.tick(seen, modes).items():
                if word.verdict is Verdict.ANOMALOUS:
                    place = (row - 1) // SERIES
                    found[rule, place] = min(found[rule, place], number + 1 - DAY_MINUTES)
    return found


def run() -> Iterator[str]:
    """The table, and the share of false alarms."""
    worst = 0.0
    for canary in (0.05, 0.5):
        by_rule = np.isfinite(paged(RELEASES, canary, NOTHING, SEED))
        found = by_rule.any(0)
        false = float(found.mean())
        worst = max(worst, false)
        each = ", ".join(f"{name} {count}" for name, count in zip(RULES, by_rule.sum(1).tolist(), strict=True))
        yield f"{canary:4.0%} of the calls, nothing changed: {found.sum()} of {RELEASES} paged ({false:.1%}): {each}"
        for number, change in enumerate(CHANGES):
            waited = paged(WORSE, canary, change, 100 * SEED + number)
            for rule, place in product(range(len(RULES)), range(len(RATES))):
                mine = waited[rule, place :: len(RATES)]
                median, late = np.quantile(mine, [0.5, 0.9], method="inverted_cdf").tolist()
                share = float(np.isfinite(mine).mean())
                yield (
                    f"     {change.name:15} {RATES[place]:3.0f} calls/min, by {RULES[rule]:7}: median {median:6.0f} "
                    f"min, p90 {late:6.0f} min, found within two days {share:.0%}"
                )
    yield f"false alarms: at most {worst:.1%} of the releases (allowed {FALSE_MAX:.0%})"
