"""How long a real change takes to page, on streams that wobble as the nulls do.

    python -m tests.bench.delay --signal errors --arrivals FILE

One rule watches series of several rates for 28 days; in each series the change comes at the start of a random minute of
the next two days, and stays. Minutes count from there to the end of the tick (or slot) that paged, pages of before do
not count. The threshold is that of a budget of one false page a week over 1,000 series, however many there are here.

Others see the same streams of errors 1->3% at an equal realised budget: each has its limit raised, with hindsight and
for each rate by itself, until it sends one page (or as many as Tocsin) in three weeks of the null. Said is what share
of the changes it finds then.
"""

import argparse
import copy
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.core.columns import TICK_NS, Floats
from detectors.core.contract import Detector, Terms
from detectors.core.descriptor import build
from tests.bench.budget import EFFECTS, ahead, play
from tests.bench.nulls import DAY, WEEK, Stream
from tests.bench.rivals import Seen, calibrated, scores
from tests.detectors.ticks import MIDNIGHT, Numbers, Watching

WARM, WEEKS = 28 * DAY, 5
TRACKED = 1024
"""What 1,000 series are rounded up to in a threshold."""
NULLS = {"errors": "N1", "latency": "N0", "cost": "N0", "outcomes": "N0"}
"""The null whose laws the streams follow, if no other is asked for: that of the tables the goals came from."""


@dataclass(frozen=True)
class Change:
    """A change, its size in the signal's own terms, and the goal for the median by sessions a second (may be none).

    Errors: times the share. Latency, cost: times the value of every session. Outcomes: points that the good class
    loses, to all others in proportion, or to the first of them.
    """

    name: str
    size: float
    goals: dict[float, str | None]
    to_one: bool = False
    found: str | None = None  # The goal for the share within a day.
    against_rivals: bool = False


CHANGES = {
    "errors": (
        Change("1->3%", 3, {0.1: "<= 550", 1: "<= 110", 10: "<= 30"}, found=">= 0.9", against_rivals=True),
        Change("1->10%", 10, {0.1: "<= 60", 1: "<= 8", 10: "<= 5"}),
        Change("1->50%", 50, {0.1: None, 1: "< 1", 10: "< 1"}),
    ),
    "latency": (Change("p95 x2", 2, {0.3: "<= 8", 5: "<= 5"}), Change("p95 x1.5", 1.5, {0.3: "<= 45", 5: "<= 10"})),
    "cost": (Change("x3", 3, {0.3: "<= 8", 5: "<= 5"}), Change("x1.5", 1.5, {0.3: None, 5: None})),
    "outcomes": (
        Change("80->60% in proportion", 0.2, {0.3: "<= 30", 5: "<= 5"}),
        Change("80->70% to one class", 0.1, {0.3: "<= 70", 5: "<= 12"}, to_one=True),
        Change("80->70% in proportion", 0.1, {0.3: None, 5: None}),
    ),
}


def change_at(stream: Stream, change: Change, row: int, since: int) -> None:
    """From that minute on the series has changed for good."""
    after = slice(since, None)
    if stream.signal == "errors":
        stream.level[row, after] = np.minimum(0.9, change.size * stream.level[row, after])
    elif stream.signal != "outcomes":
        stream.level[row, after] += np.log(change.size)
    elif change.to_one:
        stream.moved[row, after] += change.size
    else:
        stream.level[row, after] = np.maximum(0.01, stream.level[row, after] - change.size)


def changed(stream: Stream, change: Change, since: Numbers, seed: int) -> Stream:
    """The same stream with the change in it, its draws from then on from `seed`."""
    other = copy.copy(stream)
    other.level, other.rng = stream.level.copy(), np.random.default_rng(seed)
    if stream.signal == "outcomes":
        other.moved = stream.moved.copy()
    for row, minute in enumerate(since.tolist()):
        change_at(other, change, row, minute)
    return other


def delays(
    detector: Detector, watching: Watching, stream: Stream, since: Numbers, seed: int, seen: Seen | None
) -> Floats:
    """(S,) minutes from the change to the first page after it, infinite where none came within a day."""
    detector, watching = copy.deepcopy((detector, watching))
    known = len(watching.pages)
    minutes = range(WARM, int(since.max()) + DAY)
    play(ahead(stream, minutes), detector, watching, minutes, np.random.default_rng([seed, 1]), seen)
    waited = np.full(len(since), np.inf)
    for (series, _), at_ns in zip(watching.pages[known:], watching.paged_ns[known:], strict=True):
        minutes = at_ns / TICK_NS - MIDNIGHT - since[series - 1]
        if 0 < minutes <= DAY:
            waited[series - 1] = min(waited[series - 1], minutes)
    return waited


def rivals_found(null: Seen, seen: Seen, since: Numbers, rate: Floats, most: int) -> Iterator[tuple[str, Floats]]:
    """(name, (s,) 1 where found within a day) of each rival, its limit set on the null's weeks 2 to 4."""
    changed_scores = scores(seen)
    for name, score in scores(null).items():
        limit = np.empty(len(score))
        for at in np.unique(rate):
            mine = rate[: len(score)] == at
            limit[mine] = calibrated(score[mine, WEEK:WARM], most)
        over = changed_scores[name] > limit[:, None]
        yield name, np.array([over[row, at : at + DAY].any() for row, at in enumerate(since[: len(over)].tolist())])


@dataclass(frozen=True)
class Cell:
    """What one change took at one rate; minutes are infinite where a day was not enough."""

    case: str
    goal: str | None
    median: float
    p90: float
    found: float
    found_goal: str | None
    rivals: dict[str, float]

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps its goal; None where there is none."""
        return kept(self.median, self.goal)

    def lines(self) -> Iterator[dict[str, object]]:
        """The cell as the bench's JSON lines."""
        rows = [("median", self.median, "min", self.goal), ("p90", self.p90, "min", None)]
        rows += [("within 24 h", self.found, "share", self.found_goal)]
        rows += [(f"within 24 h, {name}", share, "share", None) for name, share in self.rivals.items()]
        for metric, value, unit, goal in rows:
            yield {
                "bench": "delay", "case": self.case, "metric": metric, "unit": unit,
                "value": round(value, 3) if math.isfinite(value) else None,
                "goal": goal, "holds": kept(value, goal),
            }  # fmt: skip

    def __str__(self) -> str:
        median, late = (f"{m:.3g}" if math.isfinite(m) else "-" for m in (self.median, self.p90))
        missed = "MISSED" if self.holds is False else ""
        few = f"goal {self.found_goal} MISSED" if kept(self.found, self.found_goal) is False else ""
        others = "".join(f"\n{name:>91} {share:8.2f}" for name, share in self.rivals.items())
        return f"{self.case:64} {median:>7} {self.goal or '':>8} {missed:6} {late:>7} {self.found:6.2f} {few}{others}"


def kept(value: float, goal: str | None) -> bool | None:
    """Whether a value keeps a goal such as `<= 30`; None where there is none."""
    if goal is None:
        return None
    sign, bound = goal.split()
    return {"<": value < float(bound), "<=": value <= float(bound), ">=": value >= float(bound)}[sign]


def measure(given: argparse.Namespace) -> Iterator[Cell]:
    """The bench's cells of one signal."""
    signal, null = given.signal, given.null or NULLS[given.signal]
    rates = np.array(list(CHANGES[signal][0].goals))
    rate = np.tile(rates, given.series)
    base = np.full(len(rate), 0.01)
    stream = Stream(signal, null, len(rate), WEEKS, given.seed, given.arrivals, rate, base)
    ratio, points = EFFECTS[signal]
    budget = 2.0 ** math.ceil(math.log2(len(rate))) / TRACKED
    detector, watching = build(signal, Terms(budget, ratio, points)), Watching(len(rate) + 1)
    seen = Seen(signal, min(given.rivals, given.series) * len(rates), stream.minutes) if given.rivals else None
    play(ahead(stream, range(WARM)), detector, watching, range(WARM), np.random.default_rng([given.seed, 0]), seen)
    most = max(
        1, sum(index - MIDNIGHT >= WEEK and row <= (seen.series if seen else 0) for row, index in watching.pages)
    )
    for number, change in enumerate(CHANGES[signal]):
        since = np.random.default_rng([given.seed, number]).integers(WARM, WARM + 2 * DAY, len(rate))
        seed = 1000 * given.seed + number
        after = copy.deepcopy(seen) if change.against_rivals else None
        waited = delays(detector, watching, changed(stream, change, since, seed), since, seed, after)
        others = dict(rivals_found(seen, after, since, rate, most)) if seen and after else {}
        for at in rates:
            case = f"{signal} {change.name} at {at:g}/s, {null}, {given.series} series, seed {given.seed}"
            mine = waited[rate == at]
            median, late = np.quantile(mine, [0.5, 0.9], method="inverted_cdf").tolist()
            shares = {name: float(found[rate[: len(found)] == at].mean()) for name, found in others.items()}
            yield Cell(case, change.goals[at], median, late, float(np.isfinite(mine).mean()), change.found, shares)


def main() -> int:
    """Measure one signal and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signal", choices=sorted(CHANGES), default="errors")
    parser.add_argument("--null", choices=("N0", "N1", "N2"), help="laws of the streams; by default the goals' own")
    parser.add_argument("--series", type=int, default=60, help="series at each rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arrivals", required=True, help="npz with `rate` and `cv` (clients, 2016)")
    parser.add_argument("--rivals", type=int, default=20, help="series at each rate that the rivals see; 0: none")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.json:
        print(f"{'minutes':64} {'median':>7} {'goal':>8} {'':6} {'p90':>7} {'in 24 h':>7}")
    for cell in measure(given):
        if given.json:
            print(*(json.dumps(line) for line in cell.lines()), sep="\n", flush=True)
        else:
            print(cell, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
