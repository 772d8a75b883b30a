"""What a file of tests may say, and what is told of one that is wrong: where, what was read, what to write instead."""

from pathlib import Path

import pytest

from service.cli import main

GOOD = """tests:
  - name: one
    agents:
      - {agent: a, sessions: 1/s, calls: [{operation: tool, tool: t, errors: 1%}]}
    pages: []
"""
PROBLEMS = [
    ("sessions: 1/s", "sessions: 1", ':4: test "one": agents.0.sessions: 1 is not a rate; write 2/s, 30/m, 5/h or 4/d'),
    ("errors: 1%", "errors: 200%", 'agents.0.calls.0.errors: "200%" is not a share; write 5% or 0.05'),
    ("errors: 1%", "error: 1%", "agents.0.calls.0.error: no such field; there are each, errors, error_type, "),
    ("errors: 1%", "latency: fast", '"fast" is not a level of this signal; write 5s or 800ms'),
    ("errors: 1%", "spread: 2", "2 is not a factor of at least 1; write 2x"),
    ("operation: tool,", "operation: tools,", "'tools' is not one of agent, classification, embedding, "),
    ("operation: tool,", "operation: llm,", "an operation llm has no tool; leave it out, or write operation: tool"),
    ("agent: a, sessions: 1/s", "agent: a", "sessions is missing; write how many there are: 1/s"),
    ("agent: a, sessions: 1/s", "sessions: 1/s", "agents.0.agent: is missing"),
    ("agent: a,", "agent: a, outcomes: {resolved: 80%, failed: 30%},", "the shares are 110% together; write at most"),
    ("errors: 1%", "errors: 1%, changes: [{at: 20m, until: 10m}]", "until is not after at; write at: 20m and"),
    ("    pages: []\n", "", 'test "one": pages: is missing'),
    ("pages: []", "pages: [{alert: X, after: 5m, before: 4m}]", "before is not later than after; write after: 20m"),
    ("name: one", "name: one\n    start: yesterday", "'yesterday' is not a time; write 2026-03-02T10:00Z"),
    ("name: one", "name: one\n    learn: 32d", "it is longer than 31d with its learning; write less"),
    ("sessions: 1/s", "sessions: 9999/s", "spans; write lower rates or a shorter learn, at most 20,000,000"),
    ("name: one", "name: one\n    rules: [Nobody]", 'test "one": "Nobody" is not a rule of the files; there are '),
    ("name: one", "name: one\n    said: [{at: 1m, rule: A, series: {tool: x}, for: 1h}]", '"tool" is not a label of'),
    ("name: one", "name: one\n    metrics: [{metric: m}]", "value is missing; write value: 10"),
    ("    pages: []\n", "    pages: []\n  - {name: one, pages: []}\n", ':6: test "one": name: stands already above'),
    ("tests:", "rule_files: [other.yaml]\ntests:", "cannot be read: No such file or directory"),
    (GOOD, "- a", "is not a mapping; write tests:"),
    (GOOD, "tests: []", "a.test.yaml:1: there is no test in it; write one"),
]


@pytest.mark.parametrize(("good", "bad", "said"), PROBLEMS)
def test_problems_are_told(tmp_path: Path, good: str, bad: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem has its file, line and test, and the command ends with 2: nothing was tested."""
    rule = "groups: [{name: g, rules: [{alert: A, detector: static, signal: error_ratio, above: 5%}]}]"
    (tmp_path / "a.yaml").write_text(rule)
    assert good in GOOD
    (tmp_path / "a.test.yaml").write_text(GOOD.replace(good, bad))
    assert main(["test", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_files_that_are_not_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without tests, a rule file in their place, and a path that leads nowhere are told."""
    rules = tmp_path / "a.yaml"
    rules.write_text("groups: []")
    for path, said in [
        (tmp_path, "has no tests; name files of them like agents.test.yaml"),
        (rules, "is not a file of tests; name those like agents.test.yaml"),
        (tmp_path / "b.test.yaml", "cannot be read: No such file or directory"),
    ]:
        assert main(["test", str(path)]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "a.test.yaml").write_text(GOOD)
    assert main(["test", str(tmp_path)]) == 2
    assert "a.test.yaml:1: rule_files: there is no rule in " in capsys.readouterr().err


def test_tests_are_not_rules(tmp_path: Path) -> None:
    """A directory of rules may have the tests beside them: they are not read as rules."""
    (tmp_path / "a.yaml").write_text("groups: []")
    (tmp_path / "a.test.yaml").write_text(GOOD)
    assert main(["check", str(tmp_path)]) in (0, 1)
    from alertrules.parse import load

    assert load([tmp_path]).rules == ()
