"""Realised false pages a week against the budget, on streams in which nothing happens.

    python -m tests.bench.budget --signal errors --null N1 --series 1000 --weeks 4 --arrivals FILE

Every series is new on day 0; weeks 1 to 4 are warm-up, and the weeks after them are counted. `holds` is false only
where the 95% Poisson interval of the realised rate lies above the budget.
"""

import argparse
import json
import sys
import time

import numpy as np
from scipy.stats import chi2

from detectors.core import contract
from detectors.core.columns import SLOT_NS, TICK_NS
from detectors.core.contract import Detector, SlotJudge, Terms
from tests.bench.nulls import WEEK, Stream, slots
from tests.detectors.ticks import Watching

WARM_WEEKS = 4
EFFECTS: dict[str, tuple[float | None, float | None]] = {
    "errors": (1.5, 0.005),
    "latency": (1.5, None),
    "cost": (1.5, None),
    "outcomes": (None, 0.10),
}


def poisson95(count: int) -> tuple[float, float]:
    """Interval of the mean that a count speaks for."""
    low = float(chi2.ppf(0.025, 2 * count) / 2) if count else 0.0
    return low, float(chi2.ppf(0.975, 2 * count + 2) / 2)


def play(stream: Stream, detector: Detector, watching: Watching, minutes: range, split: np.random.Generator) -> None:
    """Give these minutes to a detector as the daemon does: slots first if it has a fast lane (`split` deals them out)."""
    for minute in minutes:
        whole = stream.at(minute)
        if whole is not None and isinstance(detector, SlotJudge):
            for slot in slots(split, whole):
                watching.judge_slot(detector, slot)
        watching.judge(detector, whole, whole.start_ns // TICK_NS if whole else MIDNIGHT + minute)
        if sys.stderr.isatty() and minute % 1440 == 0:
            print(f"\rday {minute // 1440}", end="", file=sys.stderr)


def main() -> int:
    """Measure one combination and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signal", choices=sorted(EFFECTS), default="errors")
    parser.add_argument("--null", choices=("N0", "N1", "N2"), default="N1")
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--weeks", type=int, default=4, help="counted weeks, after the warm-up")
    parser.add_argument("--budget", type=float, default=1.0, help="false pages a week, over all series")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arrivals", required=True, help="npz with `rate` and `cv` (clients, 2016)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    weeks, begun = WARM_WEEKS + given.weeks, time.monotonic()
    stream = Stream(given.signal, given.null, given.series, weeks, given.seed, given.arrivals)
    ratio, points = EFFECTS[given.signal]
    detector = contract.build(given.signal, Terms(given.budget, ratio, points))
    watching = Watching(given.series + 1)
    for minute in range(stream.minutes):
        watching.judge(detector, stream.at(minute), minute)
        if sys.stderr.isatty() and minute % 1440 == 0:
            print(f"\rday {minute // 1440} of {weeks * 7}", end="", file=sys.stderr)
    by_week = np.bincount([minute // WEEK for _, minute in watching.pages], minlength=weeks)
    count = int(by_week[WARM_WEEKS:].sum())
    low, high = (bound / given.weeks for bound in poisson95(count))
    case = f"{given.signal} {given.null} {given.series} series, {given.weeks} weeks, seed {given.seed}"
    if given.json:
        row = {"bench": "budget", "case": case, "metric": "false pages a week", "value": count / given.weeks}
        print(json.dumps(row | {"unit": "1/week", "goal": f"<= {given.budget:g}", "holds": low <= given.budget}))
    else:
        print(
            f"{case}: {count / given.weeks:g} false pages a week, 95% [{low:.2f}, {high:.2f}], budget {given.budget:g}"
        )
        seconds = time.monotonic() - begun
        print(f"pages by week, of which the first {WARM_WEEKS} are warm-up: {by_week.tolist()}; {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
