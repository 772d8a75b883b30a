"""Realised false pages a week against the budget, on streams in which nothing happens.

    python -m tests.bench.budget --signal errors --null N1 --series 1000 --weeks 4 --arrivals FILE
    python -m tests.bench.budget --null real --series 100 --budget 0.1 --requests FILE

Every series is new on day 0; weeks 1 to 4 are warm-up, and the weeks after them are counted. `holds` is false only
where the 95% Poisson interval of the realised rate lies above the goal: the budget, and twice the budget on `real`.
A page within an incident (N4) is not false.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Protocol

import numpy as np
from scipy.stats import chi2

from detectors.core.columns import TICK_NS, Bools, Tick
from detectors.core.contract import Detector, SlotJudge, Terms
from detectors.core.descriptor import build
from tests.bench.nulls import WEEK, Stream, slots
from tests.bench.requests import SUPERPOSED, RealStream
from tests.bench.rivals import RIVER, Seen, pages, river_flags, scores
from tests.detectors.ticks import MIDNIGHT, Watching

WARM_WEEKS = 4
HOURS_AHEAD = 6
LATE = 10
"""Minutes after its end in which a page still tells of an incident."""
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


class Ticks(Protocol):
    """A stream of ticks by minute; `incident` (S, minutes) says where a page would be true."""

    minutes: int
    incident: Bools

    def at(self, minute: int) -> Tick | None: ...


def ahead(stream: Ticks, minutes: range) -> Iterator[Tick | None]:
    """The ticks of these minutes, made by a process of its own while those before them are judged."""
    processes = get_context("fork")  # It has the stream without being sent it.
    made = processes.Queue(HOURS_AHEAD)
    process = processes.Process(target=_make, args=(stream, minutes, made), daemon=True)
    process.start()
    for _ in minutes[::60]:
        yield from made.get()
    process.join()


def _make(stream: Ticks, minutes: range, made: "Queue[list[Tick | None]]") -> None:
    for first in minutes[::60]:
        made.put([stream.at(minute) for minute in range(first, min(first + 60, minutes.stop))])


def play(
    ticks: Iterable[Tick | None],
    detector: Detector,
    watching: Watching,
    minutes: range,
    split: np.random.Generator,
    seen: Seen | None = None,
) -> None:
    """Give the ticks of these minutes to a detector as the daemon does: a fast lane gets slots first, dealt by `split`.

    `seen` writes them down for the rivals.
    """
    for minute, whole in zip(minutes, ticks, strict=True):
        if whole is not None and isinstance(detector, SlotJudge):
            for slot in slots(split, whole):
                watching.judge_slot(detector, slot)
        watching.judge(detector, whole, whole.start_ns // TICK_NS if whole else MIDNIGHT + minute)
        if seen:
            seen.add(minute, whole)
        if sys.stderr.isatty() and minute % 1440 == 0:
            print(f"\rday {minute // 1440}", end="", file=sys.stderr)


def false_pages(stream: Ticks, pages: list[tuple[int, int]]) -> list[int]:
    """The minutes of those pages that tell of no incident."""
    at = [(row - 1, index - MIDNIGHT) for row, index in pages]
    return [minute for row, minute in at if not stream.incident[row, max(0, minute - LATE) : minute + 1].any()]


def incidents_found(stream: Ticks, pages: list[tuple[int, int]]) -> tuple[int, int]:
    """(found, all) incidents that began in the counted weeks."""
    padded = np.pad(stream.incident, ((0, 0), (1, 1)))
    rows, begins = np.nonzero(padded[:, 1:-1] & ~padded[:, :-2])
    _, ends = np.nonzero(padded[:, 1:-1] & ~padded[:, 2:])
    at = {(row - 1, index - MIDNIGHT) for row, index in pages}
    counted = [each for each in zip(rows.tolist(), begins.tolist(), ends.tolist(), strict=True)
               if each[1] >= WARM_WEEKS * WEEK]  # fmt: skip
    found = sum(any((row, minute) in at for minute in range(begin, end + LATE)) for row, begin, end in counted)
    return found, len(counted)


def measure(given: argparse.Namespace, null: str, stream: Ticks) -> Iterator[dict[str, object]]:
    """The bench's lines on one stream."""
    weeks = WARM_WEEKS + given.weeks
    ratio, points = EFFECTS[given.signal]
    detector = build(given.signal, Terms(given.budget, ratio, points))
    watching = Watching(given.series + 1)
    seen = Seen(given.signal, min(given.rivals, given.series), stream.minutes) if given.rivals else None
    minutes = range(stream.minutes)
    play(ahead(stream, minutes), detector, watching, minutes, np.random.default_rng([given.seed, 1]), seen)
    by_week = np.bincount([minute // WEEK for minute in false_pages(stream, watching.pages)], minlength=weeks)
    fast = sum(minute >= WARM_WEEKS * WEEK for minute in false_pages(stream, watching.fast))
    count, most = int(by_week[WARM_WEEKS:].sum()), given.budget * (2 if null == "real" else 1)
    low, high = (bound / given.weeks for bound in poisson95(count))
    yield {
        "bench": "budget", "metric": "false pages a week", "value": count / given.weeks, "unit": "1/week",
        "goal": f"<= {most:g}", "holds": low <= most, "low": round(low, 3), "high": round(high, 3),
        "fast_lane": fast / given.weeks, "by_week": by_week.tolist(),
    }  # fmt: skip
    told, incidents = incidents_found(stream, watching.pages)
    if incidents:
        yield {
            "bench": "budget", "metric": f"incidents found, of {incidents}", "value": told / incidents,
            "unit": "share", "goal": None, "holds": None,
        }  # fmt: skip
    for name, flags in rivals(seen) if seen else ():
        found = [(row + 1, minute + MIDNIGHT) for row, minute in zip(*pages(flags), strict=True)]
        late = [minute for minute in false_pages(stream, found) if minute >= WARM_WEEKS * WEEK]
        yield {
            "bench": "budget", "metric": f"false pages a week, {name}", "unit": "1/week", "goal": None, "holds": None,
            "value": len(late) / given.weeks * given.series / len(flags),
        }  # fmt: skip


def rivals(seen: Seen) -> Iterator[tuple[str, Bools]]:
    """Where each rival flags the streams it has seen."""
    for name, score in scores(seen).items():
        yield name, score > 1
    for name, detector in RIVER.items():
        yield name, river_flags(seen, detector)


def streams(given: argparse.Namespace) -> Iterator[tuple[str, Ticks]]:
    """The streams to measure on, by name: one, or the three rates of the real requests."""
    weeks = WARM_WEEKS + given.weeks
    if given.null != "real":
        yield given.null, Stream(given.signal, given.null, given.series, weeks, given.seed, given.arrivals)
        return
    for superposed in SUPERPOSED:
        stream = RealStream(given.requests, given.series, weeks, given.seed, superposed)
        yield f"real {stream.counts.mean() / 60:.2g}/s", stream


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signal", choices=sorted(EFFECTS), default="errors")
    parser.add_argument("--null", choices=("N0", "N1", "N2", "N3", "N4", "real"), default="N1")
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--weeks", type=int, default=4, help="counted weeks, after the warm-up")
    parser.add_argument("--budget", type=float, default=1.0, help="false pages a week, over all series")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arrivals", help="npz with `rate` and `cv` (clients, 2016)")
    parser.add_argument("--requests", help="gzipped CSV with `gmt_create` and `predict_status`, for --null real")
    parser.add_argument("--rivals", type=int, default=20, help="series that the rivals see, scaled up to all; 0: none")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if (given.requests if given.null == "real" else given.arrivals) is None:
        parser.error("--null real reads --requests FILE; the others read --arrivals FILE")
    if given.signal != "errors" and given.null in ("N3", "N4", "real"):
        parser.error(f"--null {given.null} is of errors alone")
    return given


def main() -> int:
    """Measure one combination and print it."""
    given = arguments()
    for name, stream in streams(given):
        begun = time.monotonic()
        case = f"{given.signal} {name}, {given.series} series, {given.weeks} weeks, seed {given.seed}"
        for row in measure(given, given.null, stream):
            if given.json:
                print(json.dumps({"case": case} | row), flush=True)
                continue
            if row["goal"] is None:
                print(f"  {str(row['metric']).removeprefix('false pages a week, '):24} {row['value']:.4g}")
                continue
            said = "" if row["holds"] else "  MISSED"
            print(f"{case}: {row['value']:.3g} false pages a week, 95% [{row['low']:.2f}, {row['high']:.2f}], "
                  f"goal {row['goal']}{said}; of the fast lane {row['fast_lane']:.3g}")  # fmt: skip
            print(f"  pages by week, of which the first {WARM_WEEKS} are warm-up: {row['by_week']}; "
                  f"{time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
