"""Versions side by side: false alarms of releases that change nothing, and how soon a worse one is found.

    python -m tests.bench.loop versions

Agents of levels of their own (failures from 0.6% to 8%, drawn; durations lognormal) are busy by the hour of day, wobble
together in both versions (a standard deviation of a quarter, an hour long), and their failures clump within a minute
(beta-binomial, rho 0.01) and apart in each version. After a day of the old version the new one takes a share of the
calls for two days. Half of the agents are of 5 calls a minute, half of 60. A release is one agent's; its budget is the
shipped rule's. Counted is how many releases that change nothing ever page, and for one that is worse the delay.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.core.columns import Bytes, Entries, Floats, Places, Tick, Verdict
from detectors.core.contract import Asked, Terms
from detectors.versions import ALPHA_MAX, LEAST_POINTS, LEAST_RATIO, Versions
from tests.detectors.ticks import MIDNIGHT, tick

DAY_MINUTES = 1440
RATES = (5.0, 60.0)
"""Calls a minute of an agent, in the mean of a day."""
FALSE_MAX = 0.05
SEED, RELEASES, WORSE = 1, 400, 60
RHO, WOBBLE, SIGMA = 0.01, 0.25, 0.6


@dataclass(frozen=True)
class Change:
    """What is worse in the new version: times the failed share, times each duration."""

    name: str
    failed: float = 1.0
    slower: float = 1.0


NOTHING = Change("nothing")
CHANGES = (Change("failures x2", failed=2.0), Change("failures x5", failed=5.0), Change("latency x1.5", slower=1.5))


def ticks(agents: int, canary: float, change: Change, days: int, seed: int) -> Iterator[Tick]:
    """Both versions of all agents: series 2 i + 1 is the old version of agent i, 2 i + 2 its new one."""
    rng = np.random.default_rng(seed)
    rate = np.tile(RATES, agents)[:agents]
    level = np.exp(rng.uniform(np.log(0.006), np.log(0.08), agents))
    phase, wobble = rng.uniform(0, DAY_MINUTES, agents), np.zeros(agents)
    rows = np.arange(1, 2 * agents + 1)
    for minute in range((1 + days) * DAY_MINUTES):
        wobble = wobble * (1 - 1 / 60) + rng.normal(0, WOBBLE * math.sqrt(2 / 60), agents)
        busy = rate * (1 + 0.8 * np.sin(2 * np.pi * (minute + phase) / DAY_MINUTES))
        share = canary if minute >= DAY_MINUTES else 0.0
        calls = rng.poisson(np.stack([busy * (1 - share), busy * share], 1))
        p = np.minimum(0.9, level * np.exp(wobble - WOBBLE**2 / 2))[:, None] * np.array([1.0, change.failed])
        p = np.clip(p, 1e-6, 0.95)
        failed = rng.binomial(calls, rng.beta(p * (1 / RHO - 1), (1 - p) * (1 / RHO - 1)))
        at = np.repeat(rows, calls.ravel()).astype(np.int64)
        slower = np.where(at % 2 == 0, math.log(change.slower), 0.0) + 0.5 * np.repeat(wobble, calls.sum(1))
        seconds = rng.normal(0, SIGMA, len(at)) + slower
        there = calls.ravel() > 0
        durations = _entries(at, np.ceil(seconds / math.log(2) * 8).astype(np.int64) - 1)
        yield tick(MIDNIGHT + minute, rows[there], calls.ravel()[there], failed.ravel()[there], durations)


def _entries(at: Places, bucket: Places) -> Entries:
    pairs, counts = np.unique(np.stack([at, bucket], 1), axis=0, return_counts=True)
    return Entries(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), counts.astype(float))


def paged(agents: int, canary: float, change: Change, seed: int, days: int = 2) -> Floats:
    """(agents,) minutes from each release to its page; infinite where it never paged."""
    found = np.full(agents, np.inf)
    detector = Versions(Terms(1.0, None, None))
    # As if each were the only release of its week: the largest chance of a page without cause that the detector takes.
    alone = Asked(LEAST_RATIO, LEAST_POINTS, math.nan, math.nan, ALPHA_MAX)
    for row in range(1, 2 * agents + 1):
        detector.meet(row, (str((row - 1) // 2),), f"v{2 - row % 2}")
        detector.ask(row, alone)
    modes: Bytes = np.zeros(2 * agents + 1, np.int8)
    for number, each in enumerate(ticks(agents, canary, change, days, seed)):
        for row, word in detector.tick(each, modes).items():
            if word.verdict is Verdict.ANOMALOUS:
                place = (row - 1) // 2
                found[place] = min(found[place], number + 1 - DAY_MINUTES)
    return found


def run() -> Iterator[str]:
    """The table, and the share of false alarms."""
    worst = 0.0
    for canary in (0.05, 0.5):
        found = paged(RELEASES, canary, NOTHING, SEED)
        false = float(np.isfinite(found).mean())
        worst = max(worst, false)
        pages = np.isfinite(found).sum()
        yield f"{canary:4.0%} of the calls, nothing changed: {pages} of {RELEASES} paged ({false:.1%})"
        for number, change in enumerate(CHANGES):
            waited = paged(WORSE, canary, change, 100 * SEED + number)
            for place, rate in enumerate(RATES):
                mine = waited[place :: len(RATES)]
                median, late = np.quantile(mine, [0.5, 0.9], method="inverted_cdf").tolist()
                share = float(np.isfinite(mine).mean())
                yield (
                    f"     {change.name:14} {rate:3.0f} calls/min: median {median:6.0f} min, p90 {late:6.0f} min, "
                    f"found within two days {share:.0%}"
                )
    yield f"false alarms: at most {worst:.1%} of the releases (allowed {FALSE_MAX:.0%})"
