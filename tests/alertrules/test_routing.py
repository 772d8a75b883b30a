"""Who is told what: groups, joins, reminders, resolves, and pages that come too late."""

import json
from dataclasses import replace

from alertrules.groups import LINES_MAX
from alertrules.lifecycle import AlertState, Identity, Labels, Transition, alert_id
from alertrules.notice import Status, from_json, to_json
from alertrules.parse import RuleSet, combine, parse_rules
from alertrules.routing import Router
from detectors.core.columns import TICK_NS, Finding

RULES = """
groups:
  - name: agents
    rules:
      - alert: ToolErrorsUp
        detector: errors
        by: [tenant, agent, tool]
        budget: 1/week
        annotations:
          summary: >-
            {{ labels.agent }}: {{ labels.tool }} fails {{ before | percent }} to {{ now | percent }}
            ({{ now | ratio }})
          description: 'ask team {{ labels.team }} about {{ labels.tool }}'
          runbook: https://runbooks.example.com/tools
        labels: {team: agents}
      - alert: Slow
        detector: latency
        budget: 1/week
        severity: warning
"""
START_NS = 29_000_000 * TICK_NS
HOUR_NS = 60 * TICK_NS


def rules(route: str = "") -> RuleSet:
    return combine([parse_rules(RULES + route, "rules.yaml")])


def labels(agent: str = "support", tool: str = "search") -> Labels:
    return (("agent", agent), ("tenant", "acme"), ("tool", tool))


def step(
    who: Labels, after: str, at: int, fired: int, before: str = "inactive", rule: str = "ToolErrorsUp"
) -> Transition:
    """One transition, at tick `at`, of the alert that fired at tick `fired`."""
    at_ns, fired_ns = START_NS + at * TICK_NS, START_NS + fired * TICK_NS
    finding = Finding("ratio", 0.01, 0.093, fired_ns - 5 * TICK_NS, 412.0, 9.0, 8.0, "")
    identity = Identity(rule, who, "page" if rule == "ToolErrorsUp" else "warning")
    return Transition(
        rule, who, identity.severity, AlertState(before), AlertState(after), at_ns,
        alert_id(identity, fired_ns), fired_ns, finding,
    )  # fmt: skip


class Telling:
    """A router whose ticks are called by number, with the clock `lag` ticks ahead."""

    def __init__(self, route: str = "", max_page_age_ns: int = HOUR_NS) -> None:
        self.router = Router(rules(route), max_page_age_ns)
        self.digest: list[str] = []

    def tick(self, at: int, *steps: Transition, lag: int = 1) -> list[tuple[Status, int]]:
        """What is told: the status, and over how many alerts."""
        self.notices = self.router.step(steps, START_NS + at * TICK_NS, START_NS + (at + lag) * TICK_NS)
        self.digest += self.notices.digest
        return [(notice.status, len(notice.alert_ids)) for notice in self.notices.notices]


def test_a_page_and_its_resolve() -> None:
    """One notice each, of one group; nothing while it recovers or relapses."""
    told = Telling()
    assert told.tick(0, step(labels(), "firing", 0, 0)) == [(Status.FIRING, 1)]
    page = told.notices.notices[0]
    assert page.title == "support: search fails 1% to 9.3% (9.3x)"
    assert page.lines == (
        "agent support, tenant acme, tool search: failed 9.3% (from 1%) since 2025-02-19 21:15 UTC, over 412 calls"
        f"; alert {page.alert_ids[0][:8]}",
    )
    assert (page.rule, page.severity, page.runbook) == ("ToolErrorsUp", "page", "https://runbooks.example.com/tools")
    own = [("agent", "support"), ("severity", "page"), ("team", "agents"), ("tenant", "acme"), ("tool", "search")]
    assert page.description == page.alerts[0].description == "ask team agents about search"
    assert page.labels == tuple(own)
    assert page.began_ns == START_NS - 5 * TICK_NS
    assert told.tick(5, step(labels(), "recovering", 5, 0, "firing")) == []
    assert told.tick(6, step(labels(), "firing", 6, 0, "recovering")) == []
    assert told.tick(9, step(labels(), "inactive", 9, 0, "recovering")) == [(Status.RESOLVED, 1)]
    assert told.notices.notices[0].lines[0].endswith("; ended 2025-02-19 21:29 UTC, after 14 min")
    assert told.notices.notices[0].group == page.group
    assert told.router.is_idle


def test_one_call_and_group_is_one_notice() -> None:
    """Alerts of one tick are told together, those of another group apart."""
    told = Telling()
    steps = [step(labels(tool=tool), "firing", 0, 0) for tool in ("a", "b", "c")]
    assert sorted(told.tick(0, *steps, step(labels("other"), "firing", 0, 0))) == [
        (Status.FIRING, 1),
        (Status.FIRING, 3),
    ]
    assert any("(and 2 more)" in notice.title for notice in told.notices.notices)


def test_a_new_alert_joins_its_group() -> None:
    """It is told, first in the lines, as the same incident; the resolve waits for the last."""
    told = Telling()
    told.tick(0, step(labels(tool="a"), "firing", 0, 0))
    group = told.notices.notices[0].group
    assert told.tick(3, step(labels(tool="b"), "firing", 3, 3)) == [(Status.FIRING, 1)]
    joined = told.notices.notices[0]
    assert joined.group == group
    assert ["tool b" in line for line in joined.lines] == [True, False]
    assert told.tick(5, step(labels(tool="a"), "inactive", 5, 0, "recovering")) == []
    assert told.tick(6, step(labels(tool="b"), "inactive", 6, 3, "recovering")) == [(Status.RESOLVED, 2)]


def test_a_group_takes_in_what_begins_within_its_window() -> None:
    """Half an hour; what comes later is another incident, however long the first one stays open."""
    told = Telling()
    told.tick(0, step(labels(tool="a"), "firing", 0, 0))
    first = told.notices.notices[0].group
    told.tick(30, step(labels(tool="b"), "firing", 30, 30))
    assert told.notices.notices[0].group == first
    told.tick(31, step(labels(tool="c"), "firing", 31, 31))
    later = told.notices.notices[0]
    assert later.group != first and len(later.lines) == 1
    told.router = Router.restore(rules(), HOUR_NS, json.loads(json.dumps(told.router.snapshot())))
    told.tick(40, step(labels(tool="d"), "firing", 40, 40))
    assert told.notices.notices[0].group == later.group
    assert told.tick(
        41, *(step(labels(tool=tool), "inactive", 41, at, "recovering") for tool, at in (("a", 0), ("b", 30)))
    ) == [(Status.RESOLVED, 2)]
    assert told.notices.notices[0].group == first


def test_a_notice_bears_what_its_alerts_have_in_common() -> None:
    """Of one tenant's tools, the tenant; of two tenants, the agent alone."""
    told = Telling()
    told.tick(0, *(step(labels(tool=tool), "firing", 0, 0) for tool in ("a", "b")))
    common = {"agent": "support", "severity": "page", "team": "agents"}
    assert dict(told.notices.notices[0].labels) == common | {"tenant": "acme"}
    told.tick(1, step((("agent", "support"), ("tenant", "globex"), ("tool", "a")), "firing", 1, 1))
    assert dict(told.notices.notices[0].labels) == common


def test_an_alert_with_no_label_of_the_route_s_is_told_by_itself() -> None:
    """Two tenants' alerts that know no agent share no cause; where only rules are grouped by, they are together."""
    steps = [step((("tenant", tenant),), "firing", 0, 0) for tenant in ("acme", "globex")]
    assert Telling().tick(0, *steps) == [(Status.FIRING, 1)] * 2
    assert Telling("route: {group_by: [alert]}\n").tick(0, *steps) == [(Status.FIRING, 2)]


def test_another_episode_is_another_incident() -> None:
    """Its dedup key is not that of the last, which is resolved."""
    told = Telling()
    told.tick(0, step(labels(), "firing", 0, 0))
    first = told.notices.notices[0]
    told.tick(2, step(labels(), "inactive", 2, 0, "recovering"))
    told.tick(3, step(labels(), "firing", 3, 3))
    assert told.notices.notices[0].group != first.group


def test_after_a_day_it_is_told_once_more() -> None:
    """Muted, and closed by its own resolve."""
    told = Telling()
    told.tick(0, step(labels(), "firing", 0, 0))
    assert told.tick(1440, step(labels(), "muted", 1440, 0, "firing")) == [(Status.STILL_FIRING, 1)]
    assert told.tick(1500, step(labels(), "inactive", 1500, 0, "muted")) == [(Status.RESOLVED, 1)]


def test_the_same_facts_have_the_same_id() -> None:
    """Whenever they are told: a replay after a crash is recognised."""
    first, again = Telling(), Telling()
    first.tick(0, step(labels(), "firing", 0, 0), lag=1)
    again.tick(0, step(labels(), "firing", 0, 0), lag=50)
    assert first.notices == again.notices


def test_an_old_page_waits_until_caught_up() -> None:
    """It pages once, with its true beginning, if it still fires by then."""
    told = Telling()
    assert told.tick(0, step(labels(), "firing", 0, 0), lag=180) == []
    assert told.tick(60, lag=120) == []
    assert told.tick(119, lag=61) == []
    assert told.tick(120, lag=60) == [(Status.FIRING, 1)]
    assert told.notices.notices[0].began_ns == START_NS - 5 * TICK_NS
    assert told.tick(121, lag=59) == []


def test_what_ended_in_the_backlog_is_only_in_the_digest() -> None:
    """Nobody is woken for it, and a resolve without a page is not sent."""
    told = Telling()
    told.tick(0, step(labels(), "firing", 0, 0), lag=300)
    told.tick(5, step(labels(), "recovering", 5, 0, "firing"), lag=295)
    assert told.tick(35, step(labels(), "inactive", 35, 0, "recovering"), lag=265) == []
    assert told.tick(300, lag=1) == []
    assert len(told.digest) == 1 and "ToolErrorsUp: agent support" in told.digest[0]


def test_what_recovers_while_catching_up_pages_only_if_it_relapses() -> None:
    """Gone back before anyone heard of it is not yet news."""
    told = Telling()
    told.tick(0, step(labels(), "firing", 0, 0), lag=300)
    told.tick(5, step(labels(), "recovering", 5, 0, "firing"), lag=295)
    assert told.tick(20, lag=1) == []
    assert told.tick(21, step(labels(), "firing", 21, 0, "recovering"), lag=1) == [(Status.FIRING, 1)]


def test_no_limit_of_age() -> None:
    """Zero pages whatever its age."""
    told = Telling(max_page_age_ns=0)
    assert told.tick(0, step(labels(), "firing", 0, 0), lag=100_000) == [(Status.FIRING, 1)]


def test_a_resolve_is_told_however_late() -> None:
    """The page was; without its resolve an incident stays open."""
    told = Telling()
    told.tick(0, step(labels(), "firing", 0, 0))
    assert told.tick(9, step(labels(), "inactive", 9, 0, "recovering"), lag=500) == [(Status.RESOLVED, 1)]


def test_state_survives_json() -> None:
    """A restored router goes on: groups, those held back, and the ids of both."""
    told = Telling()
    told.tick(0, step(labels(tool="a"), "firing", 0, 0))
    told.tick(1, step(labels("late"), "firing", 1, 1), lag=300)
    saved = json.loads(json.dumps(told.router.snapshot(), allow_nan=False))
    restored = Telling()
    restored.router = Router.restore(rules(), HOUR_NS, saved)
    for one in (told, restored):
        one.tick(2, step(labels(tool="a"), "inactive", 2, 0, "recovering"))
    assert told.notices == restored.notices
    assert len(told.notices.notices) == 2


def test_rules_may_change_while_a_group_is_open() -> None:
    """Its alerts are closed where they were opened, though the rule is gone and the grouping another."""
    told = Telling()
    told.tick(0, step(labels(), "firing", 0, 0))
    page = told.notices.notices[0]
    other = combine([parse_rules("route: {group_by: [tenant]}\n", "rules.yaml")])
    told.router = Router.restore(other, HOUR_NS, told.router.snapshot())
    assert told.tick(1, step(labels(), "inactive", 1, 0, "firing")) == [(Status.RESOLVED, 1)]
    assert told.notices.notices[0].group == page.group


def test_rules_in_one_group() -> None:
    """Grouped by agent alone: the most severe alert names the group."""
    told = Telling("route: {group_by: [agent]}\n")
    told.tick(0, step(labels(), "firing", 0, 0, rule="Slow"), step(labels(), "firing", 0, 0))
    (notice,) = told.notices.notices
    assert (notice.rule, notice.severity, len(notice.lines)) == ("ToolErrorsUp", "page", 2)


def test_a_thousand_alerts_are_one_bounded_notice() -> None:
    """What is not named is counted."""
    told = Telling("route: {group_by: [alert]}\n")
    told.tick(0, *(step(labels(f"agent{i}"), "firing", 0, 0) for i in range(1000)))
    (notice,) = told.notices.notices
    assert len(notice.lines) == LINES_MAX + 1
    assert notice.lines[-1] == "… and 900 more"


def test_telemetry_is_made_harmless() -> None:
    """Control characters, lone surrogates and text turned round do not reach a notice."""
    told = Telling()
    told.tick(0, step(labels("a\nb\x1b[31m\ud800\u202ec", "x" * 5000), "firing", 0, 0))
    (notice,) = told.notices.notices
    assert notice.title.startswith("a b [31m\ufffdc: xxx")
    assert max(map(len, (notice.title, *notice.lines))) < 700
    assert "{{" not in notice.title
    assert from_json(to_json(notice)) == notice
    assert from_json(to_json(replace(notice, status=Status.RESOLVED))).status is Status.RESOLVED


def test_a_label_is_never_a_template() -> None:
    """What stands in telemetry is shown as it is."""
    told = Telling()
    told.tick(0, step(labels("{{ labels.tool }}"), "firing", 0, 0))
    assert told.notices.notices[0].title.startswith("{{ labels.tool }}: search")
