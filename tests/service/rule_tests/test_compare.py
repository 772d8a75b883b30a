"""What a test expects and what was told: every way in which the two can differ is said."""

import json
from pathlib import Path

import pytest

from service.cli import main

RULES = """
groups:
  - name: limits
    rules:
      - alert: ToolFails
        detector: static
        signal: error_ratio
        above: 20%
        window: 5m
        select: {operation: tool}
        by: [tenant, agent]
        severity: warning
        keep_firing_for: 5m
        annotations: {summary: 'tools of {{ labels.agent }} fail', description: 'look at {{ labels.agent }}'}
      - alert: Unpriced
        detector: static
        signal: unpriced_share
        above: 5%
        select: {operation: llm}
        by: [agent]
        severity: ticket
      - alert: Learns
        detector: errors
        budget: 1/week
        select: {operation: tool}
"""
TRAFFIC = """
    agents:
      - tenant: acme
        agent: support
        sessions: 60/m
        calls:
          - {operation: tool, tool: search, errors: 1%, changes: [{at: 10m, until: 20m, errors: 50%}]}
          - {operation: llm, provider: acme, model: acme-9, input_tokens: 100}
"""
PAGE = "alert: ToolFails, labels: {agent: support}"
PAGES = f"[{{{PAGE}}}]"


def run(directory: Path, test: str, capsys: pytest.CaptureFixture[str], rules: str = "[ToolFails]") -> str:
    """What one test with this traffic says; its exit status is checked against it."""
    (directory / "limits.yaml").write_text(RULES)
    text = f"tests:\n  - name: a test\n    rules: {rules}\n    for: 40m{TRAFFIC}    {test}\n"
    (directory / "limits.test.yaml").write_text(text)
    status = main(["test", str(directory)])
    said = capsys.readouterr()
    assert status == (0 if "1 of 1 tests hold" in said.out else 1), said.err
    return said.out


HOLDS = [
    "pages: [{%s, after: 10m, before: 15m}]",
    "pages: [{%s, severity: warning, receiver: oncall, title: 'tools of support fail', text: look at support}]",
    "pages: [{%s, ends: {after: 20m, before: 35m}}]",
]


@pytest.mark.parametrize("test", HOLDS)
def test_what_holds(tmp_path: Path, test: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A page at its time, with its words, told to whom it should be, that ends when it should."""
    assert "ok  " in run(tmp_path, test % PAGE, capsys)


FAILS = [
    ("pages: []", "not expected: ToolFails for agent support, tenant acme at "),
    ("pages: [{%s, before: 5m}]", "expected: ToolFails before 5 min; ToolFails for agent support, tenant acme at "),
    ("pages: [{%s, after: 15m}]", "expected: ToolFails after 15 min; "),
    ("pages: [{%s, severity: page}]", "expected: severity page; "),
    ("pages: [{%s, receiver: nobody}]", "expected: receiver nobody; "),
    ("pages: [{%s, title: models}]", 'expected: a title with "models"; it is "tools of support fail"'),
    ("pages: [{%s, text: [models]}]", 'expected: a text with "models"; it is "agent support, tenant acme: failed '),
    ("pages: [{%s, ends: {before: 20m}}]", "expected: its end before 20 min; "),
    ("pages: [{%s}, {alert: Learns}]", "expected: Learns for everything; it was not told"),
    ("pages: [{alert: ToolFails, labels: {agent: other}}]", "expected: ToolFails for agent other; it was not told"),
]


@pytest.mark.parametrize(("test", "said"), FAILS)
def test_what_fails(tmp_path: Path, test: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was expected, what was told instead, and when."""
    found = run(tmp_path, test % PAGE if "%s" in test else test, capsys, "[]")
    assert "FAIL" in found
    assert said in found


def test_tickets_are_compared_where_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ticket that is expected and not written fails, as does one that is written and not expected."""
    page, rules = f"pages: {PAGES}\n    tickets: ", "[ToolFails, Unpriced]"
    assert "ok  " in run(tmp_path, page + "[{alert: Unpriced, text: 'agent support'}]", capsys, rules)
    assert "not expected: a ticket of Unpriced at " in run(tmp_path, page + "[]", capsys, rules)
    found = run(tmp_path, page + "[{alert: Unpriced, text: other}]", capsys, rules)
    assert "expected: a ticket of Unpriced; it was not written" in found


def test_a_rule_that_could_not_page_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Silence of a rule that still learns, or that looks at nothing of the traffic, is a failure of its test."""
    assert "Learns was still learning at the end" in run(tmp_path, "pages: []", capsys, "[Learns]")
    (tmp_path / "x").mkdir()
    other = RULES.replace("select: {operation: tool}\n        by: [tenant, agent]", "select: {operation: guardrail}")
    (tmp_path / "x" / "limits.yaml").write_text(other)
    text = f"tests:\n  - name: a test\n    rules: [ToolFails]{TRAFFIC}    pages: []\n"
    (tmp_path / "x" / "limits.test.yaml").write_text(text)
    assert main(["test", str(tmp_path / "x")]) == 1
    assert "ToolFails looked at nothing of this traffic" in capsys.readouterr().out


def test_a_maintenance_window_keeps_it_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said in a test is said at its time; of a series that there is not it is refused, as everywhere."""
    said = "said: [{at: 5m, rule: ToolFails, series: {agent: %s}, for: 25m}]\n    pages: %s"
    assert "ok  " in run(tmp_path, said % ("support", "[]"), capsys)
    assert "no series of ToolFails has agent=other" in run(tmp_path, said % ("other", PAGES), capsys)


def test_the_same_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has the pages with their times, and a second run says the same."""
    run(tmp_path, f"pages: {PAGES}", capsys)
    told = []
    for _ in range(2):
        assert main(["test", str(tmp_path), "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    (test,) = told[0]["tests"]
    assert (told[0]["ok"], test["ok"], test["problems"], test["line"]) == (True, True, [], 2)
    (page,) = test["pages"]
    assert page["labels"] == {"agent": "support", "tenant": "acme"}
    assert 600 < page["at_s"] < 900 < 1200 < page["ended_s"]
    assert [one["tests"][0]["pages"] for one in told] == [[page], [page]]


def test_tests_run_side_by_side_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Processes change neither results nor their order."""
    run(tmp_path, f"pages: {PAGES}", capsys)
    test = (tmp_path / "limits.test.yaml").read_text().removeprefix("tests:\n")
    (tmp_path / "limits.test.yaml").write_text("tests:\n" + test + test.replace("a test", "b test"))
    assert main(["test", str(tmp_path), "--jobs", "2"]) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert ": a test (" in first and ": b test (" in second
    assert main(["test", str(tmp_path), "--name", "b t"]) == 0
    assert "1 of 1 tests hold" in capsys.readouterr().out
