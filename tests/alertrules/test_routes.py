"""The route tree: who is told of an alert, what a route inherits, and what cannot work."""

import random
from pathlib import Path

import pytest

from alertrules.checked import odd
from alertrules.inhibition import InhibitRule, Sources
from alertrules.matchers import matchers_of
from alertrules.parse import RuleErrors, RuleSet, combine, parse_rules
from alertrules.routes import Branch, Route, branch_of
from detectors.core.columns import SECOND_NS
from tests.alertmanager import need
from tests.routes import amtool, inhibited_by_alertmanager, inhibition, labels, told_by_alertmanager, tree

CI_CASES = 100
RULES = """
groups:
  - name: agents
    rules:
      - {alert: ToolErrorsUp, detector: errors, by: [agent, tool], budget: 1/week, labels: {team: payments}}
      - {alert: Slow, detector: latency, budget: 1/week, severity: warning, labels: {team: search}}
"""
RECEIVERS = """receivers:
  - name: oncall
  - name: payments
  - name: search-team
  - name: boss
"""


def read(routes: str) -> RuleSet:
    return combine([parse_rules(RULES + RECEIVERS + routes, "rules.yaml")])


def problems(routes: str) -> list[str]:
    """What is wrong, or what nothing comes to, without receivers that no route leads to."""
    try:
        found = read(routes).dead
    except RuleErrors as error:
        found = error.problems
    return [f"{one.line} {one.field}: {one.message}" for one in found if "no route leads" not in one.message]


def told(tree: Branch, **labels: str) -> list[str]:
    return [branch.receiver for branch in tree.taking(labels)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["team=a"], ['team="a"']),
        (['team="a", severity=~"page|critical"'], ['team="a"', 'severity=~"page|critical"']),
        (['{ team != "a,b" , x = y }'], ['team!="a,b"', 'x="y"']),
        (["team=", 'x=""'], ['team=""', 'x=""']),
        ('team = "say \\"a\\""', ['team="say \\"a\\""']),
        ({"team": "a", "tool": '!~"b.*"'}, ['team="a"', 'tool!~"b.*"']),
        ([], []),
    ],
)
def test_matchers_are_read_as_alertmanager_writes_them(written: object, read: list[str]) -> None:
    """A list of texts, each of one or more; also one text, and our mapping."""
    assert [str(one) for one in matchers_of(written)] == read


@pytest.mark.parametrize(
    "written", [["team"], ["team=a b=c,"], ['team="a'], [1], 5, ["=a"], ['team=~"("'], ['team=a"b']]
)
def test_what_is_not_a_matcher_is_refused(written: object) -> None:
    """With what was read."""
    if written == ["team=a b=c,"]:  # Without quotes a value ends at a comma, as Alertmanager has it.
        assert [str(one) for one in matchers_of(written)] == ['team="a b=c"']
        return
    with pytest.raises(ValueError, match=r"matcher|regular expression"):
        matchers_of(written)


def test_an_alert_goes_down_the_tree() -> None:
    """To the first child that matches, and with `continue` to the next ones too; to the route itself if none does."""
    route = read(
        """
route:
  receiver: oncall
  routes:
    - {matchers: [severity=page], receiver: boss, continue: true}
    - matchers: [team=payments]
      receiver: payments
      routes:
        - {matchers: ['tool=~"stripe.*"'], receiver: search-team}
    - {matchers: {team: search}, receiver: search-team}
"""
    ).route
    assert told(route) == ["oncall"]
    assert told(route, team="payments") == ["payments"]
    assert told(route, team="payments", severity="page", tool="stripe.pay") == ["boss", "search-team"]
    assert told(route, severity="page") == ["boss"]
    assert route.receivers() == ("oncall", "boss", "payments", "search-team")


def test_what_a_route_does_not_say_it_inherits() -> None:
    """Receiver, grouping, times and escalation; matchers, `continue` and time intervals are its own."""
    route = read(
        """
time_intervals: [{name: nights, time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}]}]}]
route:
  group_by: [agent]
  group_wait: 30s
  escalate: {after: 15m, to: boss}
  routes:
    - matchers: [team=payments]
      group_wait: 0s
      mute_time_intervals: [nights]
      receiver: payments
      routes: [{matchers: [severity=page], group_by: ['...'], escalate: []}]
    - {matchers: [team=search], receiver: search-team}
"""
    ).route
    child = route.routes[0]
    leaf = child.routes[0]
    assert (route.group_wait_ns, child.group_wait_ns, leaf.group_wait_ns) == (30 * SECOND_NS, 0, 0)
    assert (child.group_by, leaf.group_by, leaf.receiver) == (("agent",), ("...",), "payments")
    assert (child.mutes, leaf.mutes) == (("nights",), ())
    assert [step.to for step in child.escalate] == ["boss"] and leaf.escalate == ()
    assert len({branch.key for branch in route.all()}) == 4


@pytest.mark.parametrize(
    ("routes", "problem"),
    [
        ("route: {matchers: [team=a]}", "12 route.matchers: the first route takes every alert"),
        ("route: {continue: true}", "12 route.continue: the first route takes every alert"),
        ("route:\n  routes:\n    - {receiver: nobody}", '14 route.routes.0.receiver: "nobody" is not a receiver'),
        ("route: {escalate: {after: 5m, to: nobody}}", '12 route.escalate: "nobody" is not a receiver'),
        ("route: {escalate: {after: 0, to: boss}}", "12 route.escalate.0.after: a step waits for somebody"),
        ("route: {escalate: [{after: 5m, to: boss}, {after: 5m, to: boss}]}", "each step comes later"),
        ("route: {routes: [{matchers: [teem=a]}]}", '12 route.routes.0.matchers: "teem" is not a label'),
        ("route: {routes: [{matchers: [team]}]}", '12 route.routes.0.matchers: "team" is not a matcher'),
        ("route: {routes: [{matchers: [team=nobody]}]}", "12 route.routes.0.matchers: no alert of any"),
        ("route: {routes: [{matchers: [severity=info]}]}", "12 route.routes.0.matchers: no alert of any"),
        ("route: {routes: [{matchers: [agent=a, agent=b]}]}", "12 route.routes.0.matchers: no alert of any"),
        ("route: {routes: [{matchers: ['agent=~\"a|b\"', agent=c]}]}", "12 route.routes.0.matchers: no alert of any"),
        ("route: {routes: [{matchers: [team=search, tool=x]}]}", "12 route.routes.0.matchers: no alert of any"),
        (
            "route:\n  routes:\n    - {matchers: ['team=~\".+\"']}\n    - {matchers: [team=search]}",
            "15 route.routes.1: the route on line 14 takes all that could match",
        ),
        ("route:\n  routes:\n    - {receiver: boss}\n    - {matchers: [agent=a]}", "15 route.routes.1: the route on"),
        (
            "route:\n  routes:\n    - {matchers: [team=payments]}\n    - {matchers: [team=search]}\n"
            "    - {matchers: [agent=a]}",
            "16 route.routes.2: the route on line 14 and those after it take all",
        ),
        (
            "route:\n  routes:\n    - matchers: [agent=a]\n      routes: [{matchers: [agent=b]}]",
            "15 route.routes.0.routes.0.matchers: no alert of any rule can match",
        ),
        ("route: {group_by: ['...', agent]}", '12 route.group_by: "..." means every label'),
        ("route: {mute_time_intervals: [nights]}", "12 route.mute_time_intervals: the first route takes every alert"),
        ("route: {routes: [{mute_time_intervals: [nights]}]}", '"nights" is not a time interval; there is none'),
        ("inhibit_rules: [{source_matchers: [severity=page], target_matchers: []}]", "names no alert"),
        (
            "inhibit_rules: [{source_matchers: [severity=page], target_matchers: [team=no]}]",
            "12 inhibit_rules.0.target_matchers: no alert of any rule can match",
        ),
        (
            "inhibit_rules: [{source_matchers: [severity=page], target_matchers: [team=search], equal: [agnt]}]",
            '12 inhibit_rules.0.equal: "agnt" is not a label',
        ),
        ("time_intervals: [{name: a, time_intervals: [{dayz: 1}]}]", "no such field; there are times, weekdays"),
        ("route: {routes: [{match: {team: a}}]}", "no such field; there are receiver, matchers, continue"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told(routes: str, problem: str) -> None:
    """Where it stands, and what to write instead."""
    found = problems(routes)
    assert any(problem in one for one in found), found


@pytest.mark.parametrize(
    "routes",
    [
        "route:\n  routes:\n    - {matchers: [team=search], continue: true}\n    - {matchers: [team=search]}",
        "route:\n  routes:\n    - {matchers: [agent=a]}\n    - {matchers: [team=search]}",
        "route:\n  routes:\n    - {matchers: ['agent!=\"a\"']}\n    - {matchers: [agent=a]}",
        "route: {routes: [{matchers: [alertname=Slow]}, {matchers: [severity=page]}]}",
    ],
)
def test_what_can_work_is_taken(routes: str) -> None:
    """Nothing is called dead that some alert could come to."""
    rules = combine([parse_rules(RULES + routes, "rules.yaml")])
    assert rules.route.routes and rules.dead == ()


def test_receivers_that_no_route_leads_to_are_told() -> None:
    """Each where it stands; escalation leads there, too. They are told, and the rules can be used."""
    rules = read("route: {receiver: payments, escalate: {after: 5m, to: boss}}")
    lines = {"oncall": 8, "search-team": 10}
    assert [str(one) for one in rules.dead] == [
        f'rules.yaml:{line}: receivers: no route leads to "{name}"; write one, or leave it out'
        for name, line in lines.items()
    ]
    assert [str(one) for one, never in odd(rules) if never] == [str(one) for one in rules.dead]


def differing_routes(directory: Path, count: int, seed: int) -> list[str]:
    """Random trees and label sets of which Alertmanager names other receivers than we do."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        written, alert = tree(rng), labels(rng)
        ours = [one.receiver for one in branch_of(Route.model_validate(written)).taking(alert)]
        theirs = told_by_alertmanager(directory, written, alert)
        if ours != theirs:
            found.append(f"{written} {alert}: {ours}, Alertmanager {theirs}")
    return found


def differing_inhibition(directory: Path, count: int, seed: int) -> list[str]:
    """Random rules and alerts of which Alertmanager inhibits others than we do."""
    rng = random.Random(seed)
    cases = [inhibition(rng) for _ in range(count)]
    theirs = inhibited_by_alertmanager(directory, cases)
    found = []
    for (rules, alerts), said in zip(cases, theirs, strict=True):
        firing = {str(i): alert for i, alert in enumerate(alerts)}
        sources = Sources([InhibitRule.model_validate(rule) for rule in rules], firing)
        ours = [bool(sources.inhibiting(alert)) for alert in alerts]
        if ours != said:
            found.append(f"{rules} {alerts}: {ours}, Alertmanager {said}")
    return found


def test_routes_are_alertmanager_s(tmp_path: Path) -> None:
    """Of random trees and label sets, the same receivers in the same order. `python -m tests.bench.routes`: 1,000."""
    need(amtool())
    assert differing_routes(tmp_path, CI_CASES, 15) == []


def test_inhibition_is_alertmanager_s(tmp_path: Path) -> None:
    """Of random rules and alerts, the same are inhibited, in one real server."""
    assert differing_inhibition(tmp_path, CI_CASES, 16) == []
