"""The language's document says what is built."""

import re
from pathlib import Path

import pytest

import alertrules
from alertrules.parse import RuleErrors, combine, parse_rules
from alertrules.routes import Route
from alertrules.rules import Annotations, Rule, Severity
from detectors.core.signals import SIGNALS
from service.notifiers.notifier import words

README = (Path(alertrules.__file__).parent / "README.md").read_text()


def test_every_field_is_documented() -> None:
    """Each key that a file may have stands in a table, in code."""
    names = {field.alias or name for model in (Rule, Annotations) for name, field in model.model_fields.items()}
    names |= {f"receivers[].{name}" for name in ("name", *words())}
    names |= {f"route.{field.alias or name}" for name, field in Route.model_fields.items()}
    names |= {"inhibit_rules", "time_intervals"}
    names |= {*Severity, *SIGNALS}
    assert [name for name in sorted(names) if f"`{name}`" not in README] == []


def test_the_example_is_read() -> None:
    """The file in the document is one."""
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(combine([parse_rules(example, "README.md", words())]).rules) == 2


def test_the_problems_are_told_so() -> None:
    """What the document quotes is what is said, for the lines that it quotes."""
    quoted = {
        line.split(": ", 2)[2] for line in README.splitlines() if line.startswith("rules/tools.yaml") and "rule" in line
    }
    text = """groups:
  - name: agents
    rules:
      - alert: ToolErrorsUp
        detector: errrors
        select: {operaton: tool}
        budget: 1 a week
        for: 5 m
"""
    with pytest.raises(RuleErrors) as caught:
        parse_rules(text, "rules/tools.yaml")
    assert {str(problem).split(": ", 2)[2] for problem in caught.value.problems} <= quoted


def test_the_teams_are_read() -> None:
    """The routes in the document lead where it says; rules of these labels are all that is missing."""
    text = next(text for text in re.findall(r"```yml\n(.*?)```", README, re.DOTALL) if "route:" in text)
    rules = "groups: [{name: all, rules: ["
    for name, team in (("Paid", "payments"), ("Found", "search"), ("ProviderDown", "platform")):
        for severity in ("page", "warning"):
            more = f"labels: {{team: {team}}}, severity: {severity}, by: [agent, tool, provider]"
            alert = name if name == "ProviderDown" and severity == "page" else f"{name}{severity}"
            rules += f"{{alert: {alert}, detector: errors, budget: 1/week, {more}}}, "
    tree = combine([parse_rules(rules + "]}]\n" + text, "README.md", words())]).route
    page = {"team": "payments", "severity": "page", "alertname": "Paid"}
    assert [branch.receiver for branch in tree.taking(page)] == ["audit", "payments"]
    warning = {"team": "search", "severity": "warning"}
    assert [(branch.receiver, branch.actives) for branch in tree.taking(warning)] == [("search", ("office-hours",))]
    assert [branch.receiver for branch in tree.taking({"team": "platform", "tool": "cache"})] == ["oncall"]
