"""What one tick of one rule costs, by signal and number of series, and what a series takes in memory.

    python -m tests.bench.tick

Every series is warm. `typical` draws rates from 0.001 to 10 sessions a second, so that about three in four count
something in a minute; `full` makes all of them active at 1 a second. CPU milliseconds of one core, median of the ticks.
"""

import argparse
import json
import math
import time
from dataclasses import replace

import numpy as np

from detectors.core.columns import OUTCOMES, TICK_NS, Floats, Tick
from detectors.core.contract import SlotJudge, Terms
from detectors.core.descriptor import build
from detectors.core.engine import Engine
from tests.bench.nulls import LOWEST, MIX, bucket_shares, sparse
from tests.detectors.ticks import MIDNIGHT, tick

TICKS = 7
GOAL_MS, GOAL_BYTES = 100.0, 2048
SIGNALS = ("errors", "latency", "cost", "outcomes")


def ticks(signal: str, rate: Floats, seed: int) -> list[Tick]:
    """Ticks of these rates: two days of them an hour apart, then some a minute apart.

    Hours repeat the first three: drawing takes longer than what is measured.
    """
    rng, made = np.random.default_rng(seed), list[Tick]()
    shares = bucket_shares(np.zeros(1), np.array([0.75]))[0]
    for i in range(TICKS + 2 * 24):
        index = MIDNIGHT + i * 60 if i < 48 else MIDNIGHT + 48 * 60 + i - 48
        if 3 <= i < 48:
            made.append(replace(made[i - 3], start_ns=index * TICK_NS))
            continue
        n = rng.poisson(rate * 60)
        rows = np.flatnonzero(n)
        n = n[rows]
        if signal == "errors":
            made.append(tick(index, rows + 1, n, rng.binomial(n, 0.01)))
        elif signal == "outcomes":
            made.append(tick(index, rows + 1, n, outcome=sparse(rows + 1, rng.multinomial(n, MIX), 0)))
        else:
            drawn = sparse(rows + 1, rng.multinomial(n, shares / shares.sum()), LOWEST)
            made.append(tick(index, rows + 1, n, duration=drawn, cost=drawn))
    assert len(OUTCOMES) == len(MIX)
    return made


def measure(signal: str, series: int, activity: str) -> tuple[float, float, float]:
    """(milliseconds a tick, a slot of the fast lane or NaN, bytes a series): two days of hourly ticks, then a few."""
    rng = np.random.default_rng(series)
    rate = np.full(series, 1.0) if activity == "full" else 10 ** rng.uniform(-3, 1, series)
    detector = build(signal, Terms(1.0, None if signal == "outcomes" else 1.5, 0.1))
    modes, took, slots = np.zeros(series + 1, np.int8), [], []
    engine = detector if isinstance(detector, Engine) else detector.engine  # type: ignore[attr-defined]
    for i, one in enumerate(ticks(signal, rate, 1)):
        if i == 48:
            engine.life.warm[:] = True
        begun = time.process_time()
        detector.tick(one, modes)
        if i > 48:
            took.append(time.process_time() - begun)
    if isinstance(detector, SlotJudge):
        for one in ticks(signal, rate / 6, 2)[49:]:
            begun = time.process_time()
            detector.slot(replace(one, start_ns=one.start_ns + TICKS * TICK_NS), modes)
            slots.append(time.process_time() - begun)
    slot_ms = float(np.median(slots)) * 1000 if slots else math.nan
    size = sum(np.asarray(array).nbytes for array in detector.snapshot().values())
    return float(np.median(took)) * 1000, slot_ms, size / series


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for series in given.series:
        for signal in SIGNALS:
            for activity in ("typical", "full"):
                ms, slot_ms, size = measure(signal, series, activity)
                case = f"{signal}, {series} series, {activity}"
                goal = GOAL_MS * series / 100_000
                rows = (("tick", ms, "ms", f"<= {goal:g}", ms <= goal),
                        ("slot", slot_ms, "ms", f"<= {goal:g}", slot_ms <= goal),
                        ("state", size, "bytes/series", f"<= {GOAL_BYTES}", size <= GOAL_BYTES))  # fmt: skip
                for metric, value, unit, asked, holds in rows:
                    if math.isnan(value):
                        continue
                    row = {"bench": "tick", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
                    if given.json:
                        print(json.dumps(row | {"goal": asked, "holds": holds}), flush=True)
                    else:
                        print(f"{case:36} {metric:6} {value:9.1f} {unit:13} goal {asked:9} {'' if holds else 'MISSED'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
