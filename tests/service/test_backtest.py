"""`tocsin backtest --series`: what it reads, what it refuses and where, and what it says."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from service.cli import main
from service.replay.backtest import Rows, SeriesError, backtest, gridded, read, time_of

MIDNIGHT_S = 1_767_225_600
NAN = float("nan")


def series(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "series.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def stream(weeks: int, step_s: int = 300) -> list[tuple[int, float, int]]:
    """A daily wave with noise, and a labelled hour 30 standard deviations up in the last week."""
    rng = np.random.default_rng(1)
    times = MIDNIGHT_S + np.arange(weeks * 604_800 // step_s) * step_s
    values = 100 + 30 * np.sin(2 * np.pi * times / 86_400) + rng.normal(0, 2, len(times))
    labels = (times >= times[-1] - 90_000) & (times < times[-1] - 86_400)
    values[labels] += 60
    return list(zip(times.tolist(), values.tolist(), labels.astype(int).tolist(), strict=True))


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(str(end.code))
    told = capsys.readouterr()
    return status, told.out, told.err


def test_json_is_pages_and_a_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One object a line and nothing else; exit 0 whatever it pages."""
    rows = stream(3)
    path = series(tmp_path, "timestamp,value,label\n" + "".join(f"{t},{v},{mark}\n" for t, v, mark in rows))
    status, out, err = outcome(capsys, "backtest", "--series", str(path), "--budget", "0.25/week", "--json")
    *pages, summary = map(json.loads, out.splitlines())
    assert (status, err) == (0, "")
    assert all(set(page) == {"event", "id", "time_s", "value", "expected"} for page in pages)
    start_s = next(t for t, _, mark in rows if mark)
    assert [page for page in pages if page["time_s"] == start_s and page["value"] > page["expected"] + 40]
    assert summary == {
        "event": "summary",
        "points": len(rows),
        "pages": len(pages),
        "weeks": 3.0,
        "pages_per_week": round(len(pages) / 3, 4),
        "windows": 1,
        "found": 1,
        "false_pages": len(pages) - 1,
    }
    assert len(pages) <= 3


def test_without_labels_nothing_is_said_of_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No windows, found or false pages; and for people a line a page."""
    path = series(tmp_path, "timestamp,value\n" + "".join(f"{t},{v}\n" for t, v, _ in stream(3)))
    status, out, _ = outcome(capsys, "backtest", "--series", str(path), "--budget", "1/week", "--json")
    assert status == 0 and not {"windows", "found", "false_pages"} & json.loads(out.splitlines()[-1]).keys()
    status, out, _ = outcome(capsys, "backtest", "--series", str(path), "--budget", "1/week")
    assert status == 0 and out.startswith("page ") and "pages per week: " in out.splitlines()[-1]


def test_order_and_repetition_change_nothing(tmp_path: Path) -> None:
    """Rows in any order, some of them twice, times as numbers or as ISO 8601: the same pages."""
    rows = stream(3)
    plain = series(tmp_path, "timestamp,value\n" + "".join(f"{t},{v}\n" for t, v, _ in rows))
    expected = backtest(read(plain), 1.0)
    mixed = [rows[i] for i in np.random.default_rng(2).permutation(len(rows))] + rows[100:200]
    stamps = [datetime.fromtimestamp(t, UTC).replace(tzinfo=None).isoformat(" ") for t, _, _ in mixed]
    lines = [f"{stamp},{v}\r\n" for stamp, (_, v, _) in zip(stamps, mixed, strict=True)]
    found = backtest(read(series(tmp_path, "\ufeffTimestamp,Value\r\n" + "".join(lines))), 1.0)
    assert found.pages == expected.pages and found.points == expected.points + 100


def test_rows_become_steps() -> None:
    """The median distance is the step; rows of one step are their mean; a step without a number is NaN."""
    rows = Rows(
        np.array([0.0, 60, 121, 122, 360, 180]), np.array([1.0, 2, 3, 5, NAN, 7]), np.array([1, 0, 0, 1, 0, 0]) > 0
    )
    grid = gridded(rows)
    assert grid.step_s == 60.0
    assert grid.step.tolist() == [0, 1, 2, 3, 6] and grid.times.tolist() == [0, 60, 121, 180, 360]
    np.testing.assert_array_equal(grid.values, [1, 2, 4, 7, NAN])
    assert grid.labels.tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: no column timestamp and value; the first line has nothing"),
        ("time,value\n1,2\n", ":1: no column timestamp; the first line has time, value"),
        ("timestamp,value\n", ": no rows below the first line"),
        ("timestamp,value\n60,1\nsoon,2\n", ":3: timestamp: 'soon' is neither Unix seconds nor ISO 8601"),
        ("timestamp,value\n1767225600000,2\n", ":2: timestamp: '1767225600000' is out of range; write seconds"),
        ("timestamp,value\nnan,2\n", ":2: timestamp: 'nan' is out of range"),
        ("timestamp,value\n60,1\n\n120,high\n", ":4: value: 'high' is no number"),
        ("timestamp,value\n60,1,2\n", ":2: 3 fields, where the first line has 2"),
        ("timestamp,value,label\n60,1,maybe\n", ":2: label: 'maybe' is neither 0 nor 1"),
        (b"timestamp,value\n60,\xff\n", ": not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_said_by_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | bytes, said: str
) -> None:
    """Exit status 2, nothing on stdout, and the file's name with the line."""
    path = series(tmp_path, text)
    status, out, err = outcome(capsys, "backtest", "--series", str(path), "--budget", "1/week", "--json")
    assert (status, out) == (2, "")
    assert err.startswith(f"{path}:") and said in err


def test_problems_are_said_together(tmp_path: Path) -> None:
    """All of them up to ten, as each is likely to be of one kind."""
    with pytest.raises(SeriesError) as error:
        read(series(tmp_path, "timestamp,value\n" + "x,1\n" * 50))
    assert str(error.value).count("\n") == 9


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--series", "a.csv"),
        ("--series", "a.csv", "--budget", "one"),
        ("--series", "a.csv", "--budget", "0/week"),
        ("--series", "no-such-file.csv", "--budget", "1/week"),
        ("--series", ".", "--budget", "1/week"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Exit status 2 and a word on stderr."""
    status, out, err = outcome(capsys, "backtest", *arguments)
    assert (status, out) == (2, "") and err


@pytest.mark.parametrize("values", [[""], ["1"], ["nan"] * 50, ["1e308", "-1e308"] * 300, ["inf", "", "5"] * 400])
def test_any_numbers_get_an_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path, values: list[str]) -> None:
    """One row, no number at all, or huge ones: a summary that counts the numbers, as JSON without NaN."""
    text = "timestamp,value,label\n" + "".join(f"{60 * i},{value},0\n" for i, value in enumerate(values))
    path = series(tmp_path, text)
    status, out, err = outcome(capsys, "backtest", "--series", str(path), "--budget", "4/week", "--json")
    summary = json.loads(out.splitlines()[-1])
    assert (status, err) == (0, "") and "NaN" not in out and "Infinity" not in out
    assert summary["points"] == sum(value not in ("", "nan", "inf") for value in values)


@pytest.mark.parametrize("apart_s", [1, 60, 3600])
def test_forty_thousand_points_take_seconds(tmp_path: Path, apart_s: int) -> None:
    """Under 20 s at any step width, a file with holes of weeks included."""
    rng = np.random.default_rng(4)
    times = MIDNIGHT_S + np.cumsum(np.where(rng.random(40_000) < 0.001, 2_000_000, apart_s))
    values = rng.lognormal(0, 1, 40_000)
    path = series(tmp_path, "timestamp,value\n" + "".join(f"{t},{v}\n" for t, v in zip(times, values, strict=True)))
    began = time.monotonic()
    assert backtest(read(path), 1.0).points == 40_000
    assert time.monotonic() - began < 20


def test_time_of_zones() -> None:
    """A time without a zone is UTC."""
    assert time_of("2026-01-01 00:00:00") == time_of("2026-01-01T01:00:00+01:00") == time_of("1767225600")
