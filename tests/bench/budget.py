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

from alertrules.lifecycle import Alert, Holds, Identity, advance, mode_of
from alertrules.lifecycle import AlertState as State
from detectors.core import contract
from detectors.core.columns import TICK_NS, Verdict
from detectors.core.contract import Judgement, Terms
from tests.bench.nulls import WEEK, Stream
from tests.detectors.ticks import MIDNIGHT

WARM_WEEKS = 4
EFFECTS: dict[str, tuple[float | None, float | None]] = {
    "errors": (1.5, 0.005),
    "latency": (1.5, None),
    "cost": (1.5, None),
    "outcomes": (None, 0.10),
}
HOLDS = Holds(0, 30 * TICK_NS)


def poisson95(count: int) -> tuple[float, float]:
    """Interval of the mean that a count speaks for."""
    low = float(chi2.ppf(0.025, 2 * count) / 2) if count else 0.0
    return low, float(chi2.ppf(0.975, 2 * count + 2) / 2)


class Rule:
    """A detector and the alerts of its series, as `service/detect.py` keeps them; `pages` are (series, minute)."""

    def __init__(self, signal: str, budget: float, series: int) -> None:
        ratio, points = EFFECTS[signal]
        self.detector = contract.build(signal, Terms(budget, ratio, points))
        self.modes = np.zeros(series + 1, np.int8)
        self.alerts: dict[int, Alert] = {}
        self.pages: list[tuple[int, int]] = []

    def minute(self, stream: Stream, minute: int) -> None:
        """Judge one minute of the stream and move the alerts."""
        ticked = stream.at(minute)
        judged = self.detector.tick(ticked, self.modes) if ticked else {}
        for row in sorted(judged.keys() | self.alerts.keys()):
            word = judged.get(row, Judgement(Verdict.QUIET))
            end_ns = (MIDNIGHT + minute + 1) * TICK_NS
            alert, moved = advance(
                self.alerts.get(row),
                word.verdict,
                word.finding,
                end_ns,
                HOLDS,
                Identity("rule", (("s", str(row)),), ""),
            )
            self.pages += [(row, minute) for t in moved if t.after is State.FIRING and t.before is not State.RECOVERING]
            self.alerts.pop(row, None)
            if alert:
                self.alerts[row] = alert
            self.modes[row] = mode_of(alert)


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
    rule = Rule(given.signal, given.budget, given.series)
    for minute in range(stream.minutes):
        rule.minute(stream, minute)
        if sys.stderr.isatty() and minute % 1440 == 0:
            print(f"\rday {minute // 1440} of {weeks * 7}", end="", file=sys.stderr)
    by_week = np.bincount([minute // WEEK for _, minute in rule.pages], minlength=weeks)
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
