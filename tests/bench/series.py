"""False pages on labelled series against the budget: the Numenta Anomaly Benchmark, all 58 files, beside three rivals.

    python -m tests.bench.series --data nab.tar.gz [--json]

The first 15% of each file is learnt from and not scored. Flags of one detector that are closer than half an hour or
three steps are one page; a page is false if no flag of it lies in a labelled window. One setting for all files.
"""

import argparse
import csv
import io
import json
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from detectors.core.columns import Bools, Floats
from detectors.core.extremes import episodes
from detectors.level import Level
from service.replay.backtest import Rows, gridded, time_of

BUDGETS = (0.25, 1.0, 4.0)
PROMISED = (0.25, 1.0)
"""Budgets that realised false pages are to keep within a factor of 0.5 to 1.5."""
WEEK_S, HALF_HOUR_S, DAY_S = 604_800.0, 1800.0, 86_400.0
LEARNT = 0.15


@dataclass(frozen=True, eq=False)
class Series:
    """One file: seconds (n,), values (n,), one value a step, and its labelled windows in seconds, ends included."""

    name: str
    step_s: float
    times: Floats
    values: Floats
    windows: list[tuple[float, float]]

    @property
    def learnt(self) -> int:
        """Rows that are not scored."""
        return int(LEARNT * len(self.times))


@dataclass
class Count:
    """What a detector did on all files."""

    false_pages: int = 0
    pages: int = 0
    found: int = 0
    windows: int = 0
    weeks: float = 0.0
    points: int = 0
    seconds: float = 0.0


Flags = Callable[[Series], Bools]


def read(archive: Path) -> Iterator[Series]:
    """The files of the archive, in the order of their names."""
    with tarfile.open(archive) as tar:
        texts = {
            member.name.removeprefix("./"): file.read().decode()
            for member in tar
            if member.name.endswith((".csv", ".json")) and (file := tar.extractfile(member)) is not None
        }
    labels = json.loads(texts["labels/combined_windows.json"])
    for name in sorted(name for name in texts if name.endswith(".csv")):
        rows = list(csv.DictReader(io.StringIO(texts[name])))
        times, values = (
            np.array([time_of(row["timestamp"]) for row in rows]),
            np.array([float(r["value"]) for r in rows]),
        )
        grid = gridded(Rows(times, values, None))
        windows = [(time_of(start), time_of(end)) for start, end in labels[name.removeprefix("data/")]]
        yield Series(name, grid.step_s, grid.at, grid.values, windows)


def level(budget_per_week: float) -> Flags:
    """Ours, at a budget."""
    return lambda series: Level(series.step_s, budget_per_week).scores(series.times, series.values).above


def three_sigma(series: Series) -> Bools:
    """More than three standard deviations from the mean of the last 24 hours."""
    before = _before(series.values, max(10, round(DAY_S / series.step_s)))
    mean, sd = np.nanmean(before, 1), np.nanstd(before, 1)
    flags: Bools = abs(series.values - mean) > 3 * np.maximum(sd, 1e-12)
    return flags


def moving_average(series: Series) -> Bools:
    """An EWMA control chart, weight 0.1, limits three sigma, mean and sigma of the last 24 hours."""
    weight = 0.1
    before = _before(series.values, max(10, round(DAY_S / series.step_s)))
    z = (series.values - np.nanmean(before, 1)) / np.maximum(np.nanstd(before, 1), 1e-12)
    chart = lfilter([weight], [1, weight - 1], np.nan_to_num(np.clip(z, -1e6, 1e6)))
    flags: Bools = abs(chart) > 3 * np.sqrt(weight / (2 - weight))
    return flags


def adaptive_bands(series: Series) -> Bools:
    """After Grafana's robust adaptive bands: median of a day, three MADs wide, as the last hour's mean leaves them."""
    before = _before(series.values, max(10, round(DAY_S / series.step_s)))
    middle = np.nanmedian(before, 1)
    apart = 1.4826 * np.nanmedian(abs(before - middle[:, None]), 1)
    hour = max(1, round(2 * HALF_HOUR_S / series.step_s))
    smooth = np.nanmean(_before(np.append(series.values, np.nan), hour)[1:], 1)
    flags: Bools = abs(smooth - middle) > 3 * np.maximum(apart, 1e-12)
    return flags


def _before(values: Floats, window: int) -> Floats:
    """The `window` values before each value; (n, window), NaN where there were none."""
    padded = np.concatenate([np.full(window, np.nan), values[:-1]])
    rows: Floats = sliding_window_view(padded, window).copy()
    rows[0, -1] = values[0]
    return rows


def add(count: Count, series: Series, flags: Bools) -> None:
    """Count the pages of one file."""
    scored = slice(series.learnt, None)
    times = series.times[scored]
    windows = [window for window in series.windows if window[1] >= times[0]]
    flagged = times[flags[scored]]
    hits = [(flagged >= start) & (flagged <= end) for start, end in windows]
    count.windows += len(windows)
    count.found += sum(bool(hit.any()) for hit in hits)
    count.weeks += float(times[-1] - times[0]) / WEEK_S
    count.points += len(series.times)
    if not len(flagged):
        return
    steps = np.floor(flagged / series.step_s).astype(np.intp)
    first, last = episodes(steps, max(3, int(np.ceil(HALF_HOUR_S / series.step_s))))
    inside = steps[np.any(hits, axis=0)] if hits else steps[:0]
    count.pages += len(first)
    count.false_pages += int(np.sum(np.searchsorted(inside, first) == np.searchsorted(inside, last, side="right")))


def measure(series: list[Series], flags: Flags) -> Count:
    """One detector over all files."""
    count, began = Count(), time.perf_counter()
    for each in series:
        add(count, each, flags(each))
    count.seconds = time.perf_counter() - began
    return count


def results(archive: Path) -> Iterator[dict[str, object]]:
    """The bench's lines, ours and the rivals' on the same files."""
    series = list(read(archive))
    ours = {f"level, budget {budget:g}": (level(budget), budget) for budget in BUDGETS}
    rivals = {
        "z-score 3 sigma over 24 h": (three_sigma, None),
        "EWMA chart": (moving_average, None),
        "robust bands after Grafana": (adaptive_bands, None),
    }
    for case, (flags, budget) in (ours | rivals).items():
        count = measure(series, flags)
        rate = count.false_pages / count.weeks
        goal = f">= {0.5 * budget:g}, <= {1.5 * budget:g}" if budget in PROMISED else None
        holds = None if goal is None or budget is None else 0.5 * budget <= rate <= 1.5 * budget
        yield line(case, "false pages", rate, "per series-week", goal, holds)
        yield line(case, "windows found", count.found, f"of {count.windows} windows")
        yield line(case, "pages", count.pages, f"in {count.weeks:.0f} series-weeks")
        yield line(case, "time", 1e6 * count.seconds / count.points, "us/point")


def line(
    case: str, what: str, value: float, unit: str, goal: str | None = None, holds: bool | None = None
) -> dict[str, object]:
    """One measurement."""
    return {
        "bench": "series",
        "case": case,
        "metric": what.replace(" ", "_"),
        "value": round(value, 4),
        "unit": unit,
        "goal": goal,
        "holds": holds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="nab.tar.gz: data/*/*.csv and labels/")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    for each in results(given.data):
        goal = "" if each["goal"] is None else f"  goal {each['goal']}: {'holds' if each['holds'] else 'missed'}"
        told = f"{each['case']:<28}{each['metric']:<16}{each['value']:>10}  {each['unit']}{goal}"
        print(json.dumps(each) if given.json else told)
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
