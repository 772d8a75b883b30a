"""`tocsin inspect` on files of any kind."""

import gzip
import json
from pathlib import Path

import pytest

from service.batch import Signal
from service.cli import main as command
from service.replay.inspect import bodies_in, inspect_bodies, inspect_points, main, read_body, render
from tests.service.ingest.test_metrics import counter, durations, points
from tests.service.ingest.wire import FIXTURES, agent, body, chat, json_body

HANDWRITTEN = str(FIXTURES / "handwritten-crm-agent-otel-sdk-1.45.2")


def test_the_object_has_the_promised_fields(tmp_path: Path) -> None:
    """The JSON object is the one that users were promised, field for field."""
    raw = body(
        agent(1, 1, 0, 9, tenant="acme", session__outcome="done", gen_ai__conversation__id="c"),
        chat(1, 2, 1, 2, parent=1),
        chat(1, 3, 1, 2, parent=1, operation__cost=0.5, error__type="timeout"),
        chat(1, 4, 1, 2, parent=1, gen_ai__request__model="unheard-of"),
        chat(2, 1, 20, 30, gen_ai__conversation__id="c"),
    )
    (tmp_path / "traces-001.binpb").write_bytes(raw)
    found = inspect_bodies(bodies_in([str(tmp_path)], "traces"))  # type: ignore[arg-type]
    assert found == {
        "spans": 5,
        "sessions": 1,
        "rejected": {"malformed": 0},
        "dialects": {"semconv": 5},
        "models": ["gpt-4o-mini", "unheard-of"],
        "groups": [
            {
                "tenant": "",
                "agent": "shop",
                "sessions": 0,
                "calls": {"llm": 1},
                "failed": {},
                "input_tokens": 100,
                "output_tokens": 10,
                "cache_read": 0,
                "cache_write": 0,
                "reasoning": 0,
                "cost_usd": pytest.approx(21e-6),
                "cost_source": {"priced": pytest.approx(21e-6)},
                "unpriced_calls": 0,
                "outcomes": {},
            },
            {
                "tenant": "acme",
                "agent": "helper",
                "sessions": 1,
                "calls": {"agent": 1, "llm": 3},
                "failed": {"llm": 1},
                "input_tokens": 300,
                "output_tokens": 30,
                "cache_read": 0,
                "cache_write": 0,
                "reasoning": 0,
                "cost_usd": pytest.approx(0.500021),
                "cost_source": {"priced": pytest.approx(21e-6), "span": 0.5},
                "unpriced_calls": 1,
                "unpriced_share": pytest.approx(1 / 3, abs=1e-6),
                "unpriced_models": {"unheard-of": 1},
                "outcomes": {"resolved": 1},
            },
        ],
    }


def test_legs_of_a_session_are_one_session(tmp_path: Path) -> None:
    """A conversation taken up again after an hour is one session, whatever its legs."""
    raw = body(*(chat(n, 1, 3600 * n, 3600 * n + 1, gen_ai__conversation__id="c") for n in (1, 2, 3)))
    (tmp_path / "a").write_bytes(raw)
    assert inspect_bodies([tmp_path / "a"])["sessions"] == 1


def test_kinds_of_files_are_told_by_content(tmp_path: Path) -> None:
    """Protobuf and JSON, packed or not, are told apart whatever their names."""
    spans = (agent(1, 1, 0, 9), chat(1, 2, 1, 2, parent=1))
    answers = []
    for raw in (body(*spans), json_body(*spans), gzip.compress(body(*spans)), gzip.compress(json_body(*spans))):
        (tmp_path / "body").write_bytes(raw)
        answers.append(inspect_bodies([tmp_path / "body"]))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["spans"] == 2


def test_a_file_may_hold_a_body_a_line(tmp_path: Path) -> None:
    """The Collector's file exporter appends. A bad line is counted, and an object over many lines is one."""
    first, second = agent(1, 1, 0, 9), chat(1, 2, 1, 2, parent=1)
    (tmp_path / "lines").write_bytes(json_body(second) + b"\n" + json_body(first) + b"\n")
    (tmp_path / "one").write_bytes(json_body(first, second))
    assert inspect_bodies([tmp_path / "lines"]) == inspect_bodies([tmp_path / "one"])
    (tmp_path / "wide").write_text(json.dumps(json.loads(json_body(first, second)), indent=2))
    assert inspect_bodies([tmp_path / "wide"]) == inspect_bodies([tmp_path / "one"])
    (tmp_path / "bad").write_bytes(json_body(first) + b'\n{"resourceSpans": [}\n')
    found = inspect_bodies([tmp_path / "bad"])
    assert (found["spans"], found["rejected"]) == (1, {"malformed": 1})


def test_files_may_come_in_any_order() -> None:
    """Nothing is late and nothing in the future, so the order of the files does not matter."""
    files = bodies_in([str(FIXTURES / "google-adk-2.13.0")], Signal.TRACES)
    assert inspect_bodies(files) == inspect_bodies(reversed(files))


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A file that unpacks to more than any body may be is refused after that much, and counted."""
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        for _ in range(80):
            file.write(bytes(2**20))
    assert read_body(bomb) is None
    assert inspect_bodies([bomb])["rejected"] == {"malformed": 0, "too_large": 1}


def test_a_broken_file_is_counted(tmp_path: Path) -> None:
    """What cannot be read is counted beside what can."""
    (tmp_path / "bad").write_bytes(b"{nonsense")
    (tmp_path / "cut").write_bytes(gzip.compress(body(chat(1, 1, 0, 1)))[:-20])
    (tmp_path / "good").write_bytes(body(chat(1, 1, 0, 1), chat(0, 1, 0, 1)))
    found = inspect_bodies([tmp_path / "bad", tmp_path / "cut", tmp_path / "good"])
    assert found["spans"] == 1
    assert found["rejected"] == {"malformed": 2, "bad_id": 1}


def test_metrics_and_logs_have_objects_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Points are never added to spans: another signal is another object."""
    assert main([HANDWRITTEN], as_json=True, signal="metrics") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["signal"] == "metrics"
    assert found["points"] > 0
    assert "spans" not in found


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, standard output is one JSON object."""
    assert main([HANDWRITTEN], as_json=True, signal="traces") == 0
    assert json.loads(capsys.readouterr().out)["spans"] == 8


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json, totals and a line a group are printed."""
    assert main([HANDWRITTEN], as_json=False, signal="traces") == 0
    shown = capsys.readouterr().out
    assert "spans: 8" in shown
    assert "crm-agent" in shown
    assert render({"spans": 0, "groups": []}) == "spans: 0"


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 if something could be read, 1 if nothing could, 2 for wrong use."""
    (tmp_path / "bad").write_bytes(b"{nonsense")
    assert main([str(tmp_path / "bad")], as_json=True, signal="traces") == 1
    assert main([str(tmp_path / "empty-handed")], as_json=True, signal="traces") == 2
    assert main([HANDWRITTEN], as_json=True, signal="pictures") == 2
    assert "pictures" in capsys.readouterr().err


CASES = FIXTURES / "cases"


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("11-json-snake-case/traces.json", 0, ["spans: 2", "snake_case=1", "resourceSpans, not resource_spans"]),
        ("23-tempo-batches/answer.json", 1, ["spans: 0", "tempo=1", "a trace from Tempo's API"]),
        ("23-tempo-batches/base64-ids.json", 1, ["spans: 0", "bad_id=2", "32 and 16 hex digits"]),
    ],
)
def test_what_is_no_otlp_is_named(name: str, status: int, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was found, what it looks like, and what to write instead."""
    assert main([str(CASES / name)], as_json=False, signal="traces") == status
    shown = capsys.readouterr().out
    assert all(text in shown for text in said), shown


def test_another_signal_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics that are inspected as traces are neither: who asked forgot --signal."""
    assert main([str(CASES / "04-two-writers" / "0-gateway.json")], as_json=True, signal="traces") == 1
    assert json.loads(capsys.readouterr().out)["foreign"] == {"other_signal": 1}


def test_words_that_are_not_known_are_named(tmp_path: Path) -> None:
    """A unit and a type of tokens, with how often they came."""
    raw = points(
        durations([1, 0, 0, 0], 60) | {"unit": "jiffies"},
        counter("gen_ai.client.token.usage", 5, 60, type="thought"),
    )
    (tmp_path / "metrics-1.binpb").write_bytes(raw)
    found = inspect_points([tmp_path / "metrics-1.binpb"], Signal.METRICS)
    assert found["unknown"] == {"token_type": {"thought": 1}, "unit": {"jiffies": 1}}
    assert found["dropped"] == {"unknown_token_type": 1, "unknown_unit": 1}


RULES = """\
outcomes:
  - class: handed_over
    good: false
    words: [handed_back]
"""


@pytest.mark.parametrize("by_setting", [False, True])
def test_classes_of_outcomes_are_the_operators(
    by_setting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule file's classes hold, be it named on the command line or in TOCSIN_RULES."""
    rules, traces = tmp_path / "rules.yaml", tmp_path / "traces-001.binpb"
    rules.write_text(RULES)
    traces.write_bytes(body(agent(1, 1, 0, 9, session__outcome="handed_back")))
    monkeypatch.setenv("TOCSIN_RULES", str(rules) if by_setting else "")
    assert command(["inspect", "--json", *([] if by_setting else ["--rules", str(rules)]), str(traces)]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["outcomes"] == {"handed_over": 1}


def test_rules_that_cannot_be_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is wrong use, and says which file."""
    assert command(["inspect", "--rules", str(tmp_path / "none.yaml"), str(tmp_path)]) == 2
    assert "none.yaml" in capsys.readouterr().err
