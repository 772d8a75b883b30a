"""`tocsin backtest --series`: the pages that a budget would have sent over a recorded series, from a CSV file."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detectors.core.columns import Bools, Floats
from detectors.core.extremes import Steps, episodes
from detectors.level import WEEK_S, Level

PROBLEMS_MAX = 10
STEP_S_MIN, POINTS_MAX = 1.0, 2_000_000
TIME_S_MAX = 1e11
"""The year 5138: larger ones are milliseconds."""
_YES, _NO = {"1", "1.0", "true", "yes", "anomaly"}, {"", "0", "0.0", "false", "no", "normal"}


class SeriesError(Exception):
    """A file that is no series, said line by line."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A file's rows, in its order.

    times   (n,) Unix seconds
    values  (n,) NaN where the file has none, or none that is finite
    labels  (n,) what happened then is an incident; None where the file has no such column
    """

    times: Floats
    values: Floats
    labels: Bools | None


@dataclass(frozen=True, eq=False)
class Grid:
    """The same in time order with one value a step: rows of one step are one, their mean value.

    at      (m,) middle of each step, for the detector; `step` (m,) is its number
    times   (m,) of the first row in the step, Unix seconds
    labels  (m,) True where any row of the step has the label
    """

    step_s: float
    step: Steps
    at: Floats
    times: Floats
    values: Floats
    labels: Bools


@dataclass(frozen=True)
class Page:
    """One page: times of its first step and of the last that belongs to the same episode."""

    time_s: float
    until_s: float
    value: float
    expected: float
    true: bool


@dataclass(frozen=True)
class Backtest:
    """What came of it; `windows` and `found` are None without labels."""

    points: int
    weeks: float
    pages: list[Page]
    windows: int | None
    found: int | None


def read(path: Path) -> Rows:
    """The rows of a CSV file with the columns `timestamp`, `value` and perhaps `label`.

    Raises SeriesError with line numbers, OSError.
    """
    problems: list[str] = []
    rows: list[tuple[float, float, bool]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            header = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in ("timestamp", "value") if name not in header]
            if missing:
                has = ", ".join(header) or "nothing"
                raise SeriesError(f"{path}:1: no column {' and '.join(missing)}; the first line has {has}")
            for cells in reader:
                if not cells:
                    continue
                try:
                    rows.append(_row(header, cells))
                except ValueError as error:
                    problems.append(f"{path}:{reader.line_num}: {error}")
                    if len(problems) == PROBLEMS_MAX:
                        break
        except UnicodeDecodeError:
            raise SeriesError(f"{path}:{reader.line_num + 1}: not UTF-8 text") from None
        except csv.Error as error:
            raise SeriesError(f"{path}:{reader.line_num}: not CSV: {error}") from None
    if problems:
        raise SeriesError("\n".join(problems))
    if not rows:
        raise SeriesError(f"{path}: no rows below the first line")
    times, values, labels = (np.array(column) for column in zip(*rows, strict=True))
    return Rows(times, values, labels if "label" in header else None)


def _row(header: list[str], fields: list[str]) -> tuple[float, float, bool]:
    """Time, value and label of a row; raises ValueError for people."""
    if len(fields) != len(header):
        raise ValueError(f"{len(fields)} fields, where the first line has {len(header)}")
    cells = {name: field.strip() for name, field in zip(header, fields, strict=True)}
    text = cells["value"]
    try:
        value = float(text or "nan")
    except ValueError:
        raise ValueError(f"value: {text[:40]!r} is no number; leave it empty where there is none") from None
    label = cells.get("label", "").lower()
    if label not in _YES | _NO:
        raise ValueError(f"label: {label[:40]!r} is neither 0 nor 1")
    return time_of(cells["timestamp"]), value if math.isfinite(value) else math.nan, label in _YES


def time_of(text: str) -> float:
    """Unix seconds of a timestamp; raises ValueError for people.

    >>> time_of("1970-01-01 00:01"), time_of("1970-01-01T01:00:00+01:00"), time_of("60.5")
    (60.0, 0.0, 60.5)
    """
    try:
        time_s = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            said = f"timestamp: {text[:40]!r} is neither Unix seconds nor ISO 8601, as 2026-11-22T10:00:00Z"
            raise ValueError(said) from None
        time_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not abs(time_s) < TIME_S_MAX:
        raise ValueError(f"timestamp: {text[:40]!r} is out of range; write seconds, not milliseconds")
    return time_s


def gridded(rows: Rows) -> Grid:
    """Rows in time order, one a step; a step is the median distance of rows, a second at least."""
    order = np.argsort(rows.times, kind="stable")
    times, values = rows.times[order], rows.values[order]
    labels = np.zeros(len(times), np.bool_) if rows.labels is None else rows.labels[order]
    apart = np.diff(np.unique(times))
    usual = float(np.median(apart)) if len(apart) else 60.0
    step_s = max(usual, STEP_S_MIN, (times[-1] - times[0]) / POINTS_MAX)
    number = np.floor((times - times[0]) / step_s + 0.5).astype(np.intp)
    step, first, owner = np.unique(number, return_index=True, return_inverse=True)
    known = np.isfinite(values)
    n = np.bincount(owner, known)
    # Halves and shares first, as two huge values have no finite sum.
    mean = np.bincount(owner, np.where(known, values, 0.0) / np.maximum(n, 1)[owner])
    at = (math.floor(times[0] / step_s) + step + 0.5) * step_s
    marked = np.bincount(owner, labels) > 0
    return Grid(step_s, step, at, times[first], np.where(n > 0, mean, np.nan), marked)


def backtest(rows: Rows, budget_per_week: float) -> Backtest:
    """Every page that a detector with that budget would have sent, each value judged by those before it."""
    grid = gridded(rows)
    level = Level(grid.step_s, budget_per_week)
    scores = level.scores(grid.at, grid.values)
    first, last = np.flatnonzero(scores.page), np.empty(0, np.intp)
    above = np.flatnonzero(scores.above)
    if len(first):
        last = above[np.searchsorted(above, np.append(first[1:], len(grid.times))) - 1]
    labelled = np.concatenate([[0], np.cumsum(grid.labels)])
    pages = [
        Page(
            float(grid.times[i]),
            float(grid.times[j]),
            float(grid.values[i]),
            float(scores.expected[i]),
            bool(labelled[j + 1] > labelled[i]),
        )
        for i, j in zip(first, last, strict=True)
    ]
    windows, found = (None, None) if rows.labels is None else _found(grid, pages)
    weeks = len(grid.times) and (grid.times[-1] - grid.times[0] + grid.step_s) / WEEK_S
    return Backtest(int(np.isfinite(rows.values).sum()), float(weeks), pages, windows, found)


def _found(grid: Grid, pages: list[Page]) -> tuple[int, int]:
    """Labelled windows, runs of labelled steps, and how many of them a page touches."""
    marked = np.flatnonzero(grid.labels)
    if not len(marked):
        return 0, 0
    first, last = episodes(marked, 1)
    touched = [
        any(page.time_s <= end and page.until_s >= start for page in pages)
        for start, end in zip(grid.times[first], grid.times[last], strict=True)
    ]
    return len(touched), sum(touched)


def lines(result: Backtest) -> Iterator[dict[str, object]]:
    """The objects of `--json`: pages in time order, then the summary."""
    for number, page in enumerate(result.pages, 1):
        yield {
            "event": "page",
            "id": number,
            "time_s": page.time_s,
            "value": page.value,
            "expected": page.expected,
        }
    summary: dict[str, object] = {
        "event": "summary",
        "points": result.points,
        "pages": len(result.pages),
        "weeks": round(result.weeks, 4),
        "pages_per_week": round(len(result.pages) / result.weeks, 4),
    }
    if result.windows is not None:
        false_pages = sum(not page.true for page in result.pages)
        summary |= {"windows": result.windows, "found": result.found, "false_pages": false_pages}
    yield summary


def worded(line: dict[str, object]) -> str:
    """One of `lines` for people."""
    if line["event"] == "page":
        when = datetime.fromtimestamp(float(str(line["time_s"])), UTC).isoformat(timespec="seconds")
        return f"page {line['id']:>4}  {when}  {line['value']:.6g}, expected {line['expected']:.6g}"
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in line.items() if name != "event")
