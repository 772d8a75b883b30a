"""What telemetry shows of rules, by `tocsin check --at`: a daemon that has seen some of what they ask for."""

import json
from pathlib import Path

import httpx
import pytest

from alertrules.parse import combine, parse_rules
from service.cli import main
from service.reports.seen import seen
from service.rule_tests.play import play
from service.rule_tests.written import RuleTest
from service.sources.otlp_http import PROTOBUF
from tests.service.ingest.wire import body, chat
from tests.service.running import running

RULES = """
groups:
  - name: g
    rules:
      - {alert: Wobbly, detector: errors, budget: 1/week, effect: 1.2x, select: {operation: tool}, by: [agent]}
      - {alert: Unseen, detector: errors, budget: 1/week, select: {agent: other}}
      - alert: Calm
        detector: latency
        budget: 1/week
        select: {operation: tool}
        by: [agent, tenant]
        overrides: [{match: {agent: a}, effect: 2x}, {match: {agent: b}, effect: 3x}]
"""


def test_what_is_seen() -> None:
    """A selection that nothing matched, an override without series, and a label that is always empty."""
    rules = combine([parse_rules(RULES, "a.yaml")])
    calls = [{"operation": "tool", "tool": "t"}]
    test = {"name": "t", "for": "5m", "agents": [{"agent": "a", "sessions": "20/m", "calls": calls}], "pages": []}
    states = play(RuleTest.model_validate(test), rules, ()).states
    found = {(one.rule, one.field): one.message for one in seen(rules, lambda rule: states[rule])}
    assert found.pop(("Unseen", "select")).startswith("nothing has matched it so far in the daemon's telemetry")
    assert found == {
        ("Calm", "overrides.1.match"): "no series has matched it so far",
        ("Calm", "by"): "tenant: empty in all of its series; leave it out",
    }
    # As it stands once much is known: the budget is not kept, and many series move by more than was asked for.
    wide = {"labels": {"agent": "a"}, "warnings": ["it moves by 2x by itself"]}
    more = {"keeps_budget": False, "promise": "it cannot", "shown": [wide] * 5, "matching": 9}
    known = {**states["Wobbly"], **more}
    told = [str(one) for one in seen(rules, lambda rule: known) if one.rule == "Wobbly"]
    assert told == [
        'a.yaml:5: rule "Wobbly": budget: it cannot',
        *['a.yaml:5: rule "Wobbly": effect: agent a: it moves by 2x by itself'] * 3,
        'a.yaml:5: rule "Wobbly": effect: 2 more series move by themselves by more than it',
    ]


def test_a_running_daemon_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check --at` warns of what its telemetry shows, and with --strict the exit status is 1."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    with running(tmp_path, RULES=str(path)) as daemon:
        door, web = daemon.addresses()
        sent = body(*(chat(1 + number, 1, number, number + 1) for number in range(30)))
        headers = {"Content-Type": PROTOBUF}
        assert httpx.post(f"{door}/v1/traces", content=sent, headers=headers, trust_env=False).status_code == 200
        path.write_text(RULES + "      - {alert: New, detector: cost, budget: 1/week}\n")
        address = web.removeprefix("http://")
        assert main(["check", str(path), "--at", address, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["ok"], told["problems"]) == (True, [])
        unseen, new = told["warnings"][1], told["warnings"][-1]
        assert unseen.startswith(f'{path}:6: rule "Unseen": select: nothing has matched it so far')
        assert new == f'{path}:13: rule "New": alert: the daemon has no rule of this name yet; reload it'
        assert main(["check", str(path), "--at", address, "--strict"]) == 1
        assert f"warning: {unseen}\n" in capsys.readouterr().err
    assert main(["check", str(path), "--at", address]) == 2
    assert "no Tocsin answers at" in capsys.readouterr().err


def test_a_rule_that_can_never_page_is_told_by_the_daemon(tmp_path: Path) -> None:
    """It starts all the same, as it may have run with such a rule for long, and its log says so."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "groups: [{name: g, rules: [{alert: A, detector: cost, budget: 1/week, select: {operation: llm}}]}]"
    )
    with running(tmp_path, RULES=str(path)) as daemon:
        daemon.addresses()
        assert f'can never page: {path}:1: rule "A": detector: cost judges session, and the rule selects' in daemon.said
