"""Sessions still open: false pages a week of fleets with a million live sessions, and how soon a runaway pages.

    python -m tests.bench.loop open

A fleet: agents whose sessions are so many as a power law says, a million live at a time, each half an hour long, so
336 million a week. Calls of a session are lognormal (medians from 3 to 30, sigma from 0.5 to 1), those of every tenth
agent have a power law's tail (exponent 2.5 to 4) instead; tokens and dollars are a multiple of calls with a scatter of
their own, times are lognormal. How often one tool is called with the same arguments is geometric (ratio from 0.05 to
0.35), and of every twentieth agent, which polls, lognormal (median 8). Counts in the buckets of an hour are Poisson by
these laws. Expected is what the laws say of the bars that the detector has each hour; a session that is beyond the bar
of several measures counts for each.

A runaway begins in the last week, in agents drawn from the same fleet. Its repeats and dollars are told when the slot
closes in which it went beyond the bar, by the time of events; and when the daemon knows of it, which waits a minute for
what may come late.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from detectors.core.columns import SLOT_NS, Entries, Floats, Places, Tick
from detectors.core.contract import Terms
from detectors.core.rows import resize
from detectors.core.runs import FIRST_BUCKET, MEASURES, PLACES, Running
from detectors.runaway import CALLS, DOLLARS, PARTS, SECONDS, TIMES, TOKENS, Runaway
from tests.detectors.ticks import MIDNIGHT, tick

LIVE, HOURS_OF_SESSION, AGENTS, WEEKS = 1_000_000, 0.5, 400, 4
BUDGET, REPEATS, DOLLARS_MOST = 1.0, 15.0, 4.0
REPEATS_GOAL, DOLLARS_GOAL = 20, 5.0
LATENESS_S = 60.0
FLEETS, RUNAWAYS = 8, 200
"""Fleets drawn by seeds from 1 on; runaways begin in the first of them."""
EDGES = np.exp2((np.arange(PLACES) + FIRST_BUCKET + 1) / 8)
"""Upper ends of a measure's buckets."""


@dataclass(frozen=True, eq=False)
class Fleet:
    """Laws of agents: sessions an hour (A,), and chances of a session to be longer than each edge (A, 5, P)."""

    rate: Floats
    beyond: Floats


def _lognormal(median: Floats, sigma: Floats) -> Floats:
    z = (np.log(EDGES) - np.log(median)[:, None]) / sigma[:, None]
    return np.array([[0.5 * math.erfc(one / math.sqrt(2)) for one in row] for row in z.tolist()])


def _geometric(ratio: Floats) -> Floats:
    """Of 1, 2, … with such a ratio."""
    at = np.maximum(np.floor(EDGES), 0.0)
    return np.where(EDGES < 1, 1.0, ratio[:, None] ** at)


def fleet(rng: np.random.Generator) -> Fleet:
    """Agents as the module says."""
    share = 1 / (1 + np.arange(AGENTS)) ** 0.8
    rate = LIVE / HOURS_OF_SESSION * rng.permutation(share / share.sum())
    median, sigma = np.exp(rng.uniform(math.log(3), math.log(30), AGENTS)), rng.uniform(0.5, 1.0, AGENTS)
    calls = _lognormal(median, sigma)
    power = np.minimum(1.0, (EDGES / median[:, None]) ** -rng.uniform(2.5, 4.0, AGENTS)[:, None])
    heavy = np.arange(AGENTS) % 10 == 0
    calls[heavy] = power[heavy]
    wide = np.sqrt(sigma**2 + 0.3**2)
    dear = _lognormal(median * np.exp(rng.uniform(math.log(0.001), math.log(0.01), AGENTS)), wide)
    tokens = _lognormal(median * np.exp(rng.uniform(math.log(500), math.log(4000), AGENTS)), wide)
    seconds = _lognormal(np.full(AGENTS, 900.0) * np.exp(rng.uniform(-1, 1, AGENTS)), rng.uniform(0.4, 0.8, AGENTS))
    times = _geometric(rng.uniform(0.05, 0.35, AGENTS))
    polls = np.arange(AGENTS) % 20 == 7
    times[polls] = _lognormal(np.full(AGENTS, 8.0), np.full(AGENTS, 0.6))[polls]
    return Fleet(rate, np.stack([times, calls, tokens, dear, seconds], 1))


def learnt(detector: Runaway, laws: Fleet, rng: np.random.Generator) -> Iterator[tuple[int, Floats, Floats]]:
    """Hour by hour, by measure: the sessions beyond the detector's bars, as drawn and as the laws say."""
    chance = np.maximum(-np.diff(laws.beyond, axis=2, prepend=1.0), 0.0)
    modes = np.zeros(AGENTS + 1_000, np.int8)
    resize(detector.known, AGENTS)
    code = (np.arange(len(MEASURES))[:, None] * PLACES + np.arange(PLACES)).ravel()
    for hour in range(WEEKS * 168):
        expected = laws.rate[:, None, None] * chance
        drawn = rng.poisson(expected)
        bars = detector._bars(np.arange(AGENTS, dtype=np.int32))
        # A bar is the end of a bucket, or lies within one, all of which counts then.
        is_beyond = bars[:, :, None] * (1 + 1e-9) < EDGES
        if not hour:
            yield hour, *_cold(detector, drawn, rng)
        else:
            yield hour, (drawn * is_beyond).sum((0, 2)), (expected * is_beyond).sum((0, 2))
        agent, place = np.nonzero(drawn.reshape(AGENTS, -1))
        counts = drawn.reshape(AGENTS, -1)[agent, place].astype(float)
        lengths = Entries(agent.astype(np.int32), code[place].astype(np.int32), counts)
        at = tick(MIDNIGHT + hour * 60, np.arange(AGENTS), np.ones(AGENTS))
        detector.tick(replace(at, lengths=lengths), modes)


def _cold(detector: Runaway, drawn: Places, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Pages of the first hour, by measure, when only the rule's limits are known: its sessions in any order."""
    pages = np.zeros(len(MEASURES))
    limits = np.array([REPEATS, np.inf, np.inf, DOLLARS_MOST, np.inf])
    agent, measure, place = np.nonzero(drawn * (limits[:, None] < EDGES))
    for i in rng.permutation(np.repeat(np.arange(len(agent)), drawn[agent, measure, place])).tolist():
        values = np.zeros((1, 5))
        values[0, measure[i]] = EDGES[place[i]]
        slot = _slot(MIDNIGHT, int(agent[i]), values, rng)
        for series, trace in detector.beyond(slot):
            detector.begin(AGENTS + int(pages.sum()), series, slot, trace)
            pages[measure[i]] += 1
    detector._open.clear()
    detector.known.of[:] = -1
    return pages, pages


def _slot(index: int, agent: int, values: Floats, rng: np.random.Generator) -> Tick:
    """A slot with one open session."""
    halves = rng.integers(1, 2**63, (1, 2)).astype(np.uint64)
    running = Running(np.array([agent], np.int32), halves, halves, values, ("look_up",))
    return replace(tick(index, np.array([agent]), np.zeros(1)), running=running)


@dataclass(frozen=True)
class Loop:
    """A runaway: what it does every so many seconds."""

    name: str
    every_s: float
    repeats: bool
    dollars: float
    tokens: float


LOOPS = (
    Loop("one tool, same arguments, every 3 s", 3, True, 0.01, 3_000),
    Loop("one tool, same arguments, every 10 s", 10, True, 0.03, 8_000),
    Loop("a model alone, every 5 s, $0.05 a call", 5, False, 0.05, 12_000),
    Loop("a model alone, every 20 s, $0.25 a call", 20, False, 0.25, 60_000),
)


def paged(detector: Runaway, agent: int, loop: Loop, rng: np.random.Generator) -> tuple[float, str]:
    """Seconds from the loop's first call to the end of the slot that pages, and by which measure."""
    slot_s, number, start_s = SLOT_NS / 1e9, 0, float(rng.uniform(0, 10))
    begun = int(start_s // slot_s)
    while number < 100_000:
        number += 1
        at_s = (begun + number) * slot_s
        calls = math.floor((at_s - start_s) / loop.every_s) + 1
        values = np.ones((1, 5))
        values[0, TIMES] = calls if loop.repeats else 1
        values[0, CALLS] = calls * (2 if loop.repeats else 1)
        values[0, TOKENS], values[0, DOLLARS] = calls * loop.tokens, calls * loop.dollars
        values[0, SECONDS] = (calls - 1) * loop.every_s
        if detector.beyond(_slot(MIDNIGHT + WEEKS * 10_080, agent, values, rng)):
            bars = detector._bars(np.array([agent], np.int32))[0]
            return at_s - start_s, MEASURES[int(np.argmax(values[0] / bars))]
    return math.inf, ""


def run() -> Iterator[str]:
    """The lines of the report."""
    a_week = LIVE / HOURS_OF_SESSION * 168
    yield f"{AGENTS} agents, {LIVE:,} live sessions, {a_week / 1e6:,.0f} million a week, budget {BUDGET:g} a week"
    drawn, expected = np.zeros((FLEETS, WEEKS, 5)), np.zeros((FLEETS, WEEKS, 5))
    kept: list[tuple[Runaway, Fleet, np.random.Generator]] = []
    for number in range(FLEETS):
        rng = np.random.default_rng(1 + number)
        laws, detector = fleet(rng), Runaway(Terms(BUDGET, None, None, repeats=REPEATS, dollars=DOLLARS_MOST))
        for hour, pages, law in learnt(detector, laws, rng):
            drawn[number, hour // 168] += pages
            expected[number, hour // 168] += law
        kept = kept or [(detector, laws, rng)]
        pages, by_laws = drawn[number].sum(1), expected[number].sum(1)
        told = ", ".join(f"{n:.0f} ({one:.2f})" for n, one in zip(pages.tolist(), by_laws.tolist(), strict=True))
        yield f"fleet {number + 1}: false pages in weeks 1 to {WEEKS}, and as many as the laws expect: {told}"
    for week in range(WEEKS):
        means = zip(MEASURES, expected[:, week].mean(0).tolist(), strict=True)
        by = ", ".join(f"{name} {one:.2f}" for name, one in means)
        pages, law = drawn[:, week].sum() / FLEETS, expected[:, week].sum() / FLEETS
        yield f"week {week + 1}: {pages:.2f} false pages a fleet, {law:.2f} expected ({by})"
    ((detector, laws, rng),) = kept
    bars = detector._bars(np.arange(AGENTS, dtype=np.int32))
    for place, name in enumerate(MEASURES):
        low, middle, high = np.quantile(bars[:, place], (0.1, 0.5, 0.9))
        yield f"bars of {name}: tenth of agents {low:,.3g}, half {middle:,.3g}, nine tenths {high:,.3g}"
    for place, name in ((TIMES, "times"), (DOLLARS, "dollars")):
        # The same chance for every session, as if the laws were known.
        known = EDGES[(laws.beyond[:, place] > BUDGET * PARTS[place] / a_week).sum(1)]
        low, middle, high = np.quantile(known, (0.1, 0.5, 0.9))
        yield f"by the laws, bars of {name} would be {low:,.3g}, {middle:,.3g} and {high:,.3g}"
    agents = rng.integers(0, AGENTS, RUNAWAYS)
    for loop in LOOPS:
        yield from _told(detector, loop, agents.tolist(), rng)


def _told(detector: Runaway, loop: Loop, agents: list[int], rng: np.random.Generator) -> Iterator[str]:
    found = [paged(detector, agent, loop, rng) for agent in agents]
    for what, more in (("by events", 0.0), ("when it is known", LATENESS_S)):
        calls = np.floor((np.array([after for after, _ in found]) + more) / loop.every_s) + 1
        repeats, dollars = calls - 1 if loop.repeats else np.zeros(len(calls)), calls * loop.dollars
        within = (repeats < REPEATS_GOAL) & (dollars < DOLLARS_GOAL)
        most = ", ".join(f"{np.quantile(repeats, q):.0f}" for q in (0.5, 0.9)) if loop.repeats else "none"
        spent = ", ".join(f"${np.quantile(dollars, q):.2f}" for q in (0.5, 0.9))
        yield (
            f"{loop.name}: {what} repeats {most}, spent {spent} (half, nine tenths of runaways); "
            f"before {REPEATS_GOAL} repeats and ${DOLLARS_GOAL:g}: {within.mean():.0%}"
        )


if __name__ == "__main__":
    for line in run():
        print(line)
