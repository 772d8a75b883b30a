"""`tocsin backtest` over recorded telemetry: which pages rules would have sent, and what a change of rules changes."""

import asyncio
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from detectors.core.columns import SECOND_NS
from service.cli import main
from service.replay.rehearsal import monday
from tests.broker import make_topics
from tests.service.ingest.test_neighbours import TOOL, body, span
from tests.service.test_kafka import write

RULES = """
groups:
  - name: test
    rules:
      - {alert: ToolsFail, detector: static, signal: error_ratio, above: 20%, window: 2m, at_least: 5,
         select: {operation: tool}, by: [agent], keep_firing_for: 2m}
"""
MINUTES, FAILS = 40, range(10, 15)


def lines(minutes: int = MINUTES, at_s: float = 0.0) -> list[bytes]:
    """A body a minute: ten calls of a tool, all of which fail from minute 10 to 14."""
    found = []
    for minute in range(minutes):
        status: dict[str, Any] = {"status": {"code": 2}} if minute in FAILS else {}
        calls = [
            span(number, TOOL | {"gen_ai.agent.name": "support"}, trace=100 * minute + number,
                 at_s=at_s + 60 * minute + number, **status)
            for number in range(1, 11)
        ]  # fmt: skip
        found.append(body(*calls))
    return found


@pytest.fixture(autouse=True)
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path / "data"))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        status = main(["backtest", *map(str, arguments)])
    except SystemExit as end:
        status = int(str(end.code))
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize("packed", [False, True])
def test_pages_of_a_file_of_lines(
    tmp_path: Path, rules: Path, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the Collector's file exporter writes it, packed or not: the page, when it began and ended, and by the week."""
    raw, path = b"\n".join(lines()) + b"\n", tmp_path / "spans.jsonl"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    status, out, _ = run(capsys, "--otlp", path, "--rules", rules, "--json")
    told = json.loads(out)
    (page,) = told["pages"]
    assert status == 0 and (page["alert"], page["labels"]) == ("ToolsFail", {"agent": "support"})
    assert 60 <= page["ended_s"] - page["at_s"] <= 600 and told["spans"] == 10 * MINUTES
    (rule,) = told["rules"]
    assert rule["pages"] == sum(rule["weeks"].values()) == 1 and rule["series"] == 1
    assert not (tmp_path / "data").exists()


def test_files_are_read_in_the_order_of_their_times(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the order in which they are named: nothing is late, and nothing is paged twice."""
    made = lines()
    for number, part in enumerate((made[:20], made[20:])):
        (tmp_path / f"{number}.jsonl").write_bytes(b"\n".join(part))
    found = [
        run(capsys, "--otlp", *[tmp_path / f"{number}.jsonl" for number in order], "--rules", rules)[1]
        for order in ((0, 1), (1, 0))
    ]
    assert found[0] == found[1] and "1 pages" in found[0] and "late" not in found[0]


def test_what_a_change_of_rules_changes(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pages that only one set of rules sends, as Markdown for a pull request."""
    path, other = tmp_path / "spans.jsonl", tmp_path / "other.yaml"
    path.write_bytes(b"\n".join(lines()))
    other.write_text(RULES.replace("at_least: 5", "at_least: 5000").replace("ToolsFail", "NeverFails"))
    status, out, _ = run(capsys, "--otlp", path, "--rules", rules, "--against", other)
    assert status == 0 and "#### New pages: 1" in out and "#### Pages that are gone: 0" in out
    assert "| NeverFails (gone) |" in out
    status, out, _ = run(capsys, "--otlp", path, "--rules", rules, "--against", rules)
    assert "1 pages are sent by both" in out and "#### New pages: 0" in out


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"spans": []}\n', 'begins with "spans", which is not OTLP; expected resourceSpans'),
        (b"not otlp at all", "is neither OTLP/JSON nor an OTLP body of traces"),
    ],
)  # fmt: skip
def test_what_is_no_otlp(
    tmp_path: Path, rules: Path, raw: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said with the file's name, and nothing else is: an empty report would look like good news."""
    path = tmp_path / "some.bin"
    path.write_bytes(raw)
    status, out, err = run(capsys, "--otlp", path, "--rules", rules)
    assert status == 2 and out == "" and "some.bin" in err and said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--series", "x.csv"], "--series needs a budget; write --budget 1/week"),
        (["--otlp", "x", "--budget", "1/week"], "--budget is for --series"),
        (["--kafka"], "--kafka needs a time to begin with"),
        (["--otlp", "x", "--from", "2026-03-02"], "--from and --to are for --kafka"),
        (["--otlp", "x", "--from", "noon"], '"noon" is not a time; write 2026-03-02T00:00Z'),
        (["--otlp", "nowhere.jsonl"], "No such file or directory: nowhere.jsonl"),
        ([], "one of the arguments --otlp --kafka --series is required"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and said in err


def test_a_range_of_kafka(
    kafka: str, rules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a real broker has of a time is read once, and no offset is committed: the page is the one of the file."""
    topic = "rehearsed_spans"
    make_topics(kafka, {topic: 2})
    asyncio.run(write(kafka, topic, lines()))
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TOCSIN_KAFKA__TOPICS", topic)
    begins = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    status, out, err = run(capsys, "--kafka", "--from", begins, "--rules", rules, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert [page["alert"] for page in told["pages"]] == ["ToolsFail"] and told["spans"] == 10 * MINUTES
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    status, out, err = run(capsys, "--kafka", "--from", begins, "--to", "2020-01-01T00:00Z", "--rules", rules)
    assert status == 2 and "--from is not before --to" in err
    monkeypatch.setenv("TOCSIN_KAFKA__TOPICS", "nobodys_spans")
    status, out, err = run(capsys, "--kafka", "--from", begins, "--to", later, "--rules", rules)
    assert status == 2 and "Kafka has no topic nobodys_spans" in err


def test_weeks_begin_on_monday() -> None:
    assert monday(1_772_409_599 * SECOND_NS) == "2026-02-23" and monday(1_772_409_600 * SECOND_NS) == "2026-03-02"
