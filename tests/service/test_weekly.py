"""The weekly report: what it says, who takes it, and what happens where nobody does."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from alertrules.notice import Notice, Status
from service.delivery import weekly
from service.delivery.weekly import REPORT_TRIES, Weekly
from service.ledger.session_file import SESSIONS_FILE
from service.notifiers.destination import Destination
from service.notifiers.notifier import notifiers
from service.notifiers.pagerduty import Settings as PagerDuty
from service.notifiers.request import Delivered, Outcome, Reason, Refused, Retry
from service.reports.quality import quality
from service.reports.weekly_words import quality_notice, review_notice
from tests.service.running import running
from tests.service.test_marks import tocsin
from tests.service.test_sessions_daemon import QUICK, conversation, until

MONDAY_NS = 1_764_547_200 * 10**9
RULES = """
groups: [{name: one, rules: [{alert: Up, detector: errors, by: [agent], budget: 1/week, effect: 2x}]}]
route: {receiver: team}
receivers: [{name: team, terminal: {}}]
"""
KNOWN = {"known": 20, "share": 0.35, "low": 0.2, "high": 0.5}


def session(cause: str, agent: str, link: str = "") -> dict[str, Any]:
    return {"cause": cause, "agent": agent, "link": link, "signs": [cause], "bad": None}


def reviewed(*worst: dict[str, Any], sessions: int = 2310) -> dict[str, Any]:
    audit = {"known": 20, "share": 0.16, "low": 0.1, "high": 0.3}
    return {"sessions": sessions, "worst": worst, "worst_bad": KNOWN, "audit_bad": audit}


def test_the_review_in_words() -> None:
    """By cause, with the agents and a few links; the same Monday is the same report."""
    rows = [session("a tool failed", f"agent-{n}", f"https://t.example.com/{n}") for n in range(5)]
    notice = review_notice(reviewed(*rows, session("it was dear", "")), "team", MONDAY_NS)
    assert notice and notice.status is Status.REPORT
    assert notice.title == "6 of the week's 2,310 sessions are most worth a look"
    assert notice.lines == (
        "35% of them ended badly, of as many at random 16% (of 20 and 20 whose end is known)",
        "a tool failed: 5, of agent-0, agent-1, agent-2 and 2 more",
        "it was dear: 1, of (no agent)",
    )
    assert [name for name, _ in notice.links] == ["a tool failed 1", "a tool failed 2", "a tool failed 3"]
    again = review_notice(reviewed(*rows), "team", MONDAY_NS)
    assert again and again.notice_id == notice.notice_id
    assert review_notice(reviewed(sessions=0), "team", MONDAY_NS) is None


def test_quality_in_words() -> None:
    """What was said of the pages of the week; nothing where there are no rules."""
    verdicts = {"incident": 2, "noise": 1, "expected": 0, "acknowledged": 0, "never_looked_at": 0}
    group = {
        "name": "AgentErrorsUp", "pages": 3, "verdicts": verdicts, "precision": 2 / 3, "precision_from": 0.2,
        "precision_to": 0.9, "budget_per_week": 1.0, "false_pages_per_week": 1.0, "median_delay_s": 120.0,
    }  # fmt: skip
    found = {"weeks": 1.0, "by": "rule", "groups": [group], "never_fired": [], "noisiest": []}
    notice = quality_notice(found, "team", MONDAY_NS)
    assert notice and notice.title == "3 pages last week: 2 incident, 1 noise"
    assert notice.lines[0] == "AgentErrorsUp: 3 pages (2 incident, 1 noise)"
    assert quality_notice(quality((), MONDAY_NS, 1.0), "team", MONDAY_NS) is None


@pytest.mark.parametrize("kind", ["slack", "webhook", "terminal"])
def test_each_that_takes_one_can_render_it(kind: str) -> None:
    """Slack shows it as weekly, with its links and no buttons; a webhook's reader sees nothing that fires."""
    notice = review_notice(reviewed(session("a tool failed", "a<!channel>", "https://t.example.com/1")), "t", MONDAY_NS)
    assert notice
    notifier = notifiers()[kind]
    hook = {
        "slack": {"webhook_url": "https://hooks.slack.com/services/a"},
        "webhook": {"url": "https://w.example.com/hook"},
    }
    (target, *_) = notifier.every(notifier.settings(**hook[kind]) if kind in hook else None)
    rendered = notifier.render(notice, target)
    text = "\n".join(rendered) if isinstance(rendered, tuple) else rendered.body.decode()
    if kind == "webhook":
        assert {alert["status"] for alert in json.loads(text)["alerts"]} == {json.loads(text)["status"]} == {"resolved"}
    else:
        assert "weekly" in text.lower()
    if kind == "slack":
        assert "a&lt;!channel&gt;" in text and "<!channel>" not in text
        assert "<https://t.example.com/1|a tool failed 1>" in text and '"actions"' not in text


class Answers:
    """Destinations that answer in turn; the last answer for good."""

    def __init__(self, *answers: Outcome) -> None:
        self.left, self.asked = list(answers), 0

    async def __call__(self, client: object, one: Destination, notice: Notice) -> Outcome:
        self.asked += 1
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def told(
    monkeypatch: pytest.MonkeyPatch, answers: Answers, kinds: Sequence[str] = ("terminal",), leads: Sequence[bool] = ()
) -> Counter[str]:  # fmt: skip
    """What became of one report to destinations of these kinds, with no time between tries.

    `leads` says of the first tries whether this instance leads; in later ones it does."""
    may = iter(leads)
    pagerduty = PagerDuty(routing_key="0123456789abcdef0123456789abcdef")
    targets = {"terminal": notifiers()["terminal"].every(None), "pagerduty": notifiers()["pagerduty"].every(pagerduty)}
    of = [Destination(f"team/{kind}", targets[kind][0]) for kind in kinds]
    notice = review_notice(reviewed(session("a tool failed", "a")), "team", MONDAY_NS)
    assert notice

    async def notices(monday_ns: int) -> list[Notice]:
        return [notice]

    one = Weekly("team", lambda receiver: of if receiver == "team" else [], notices, lambda: next(may, True))
    monkeypatch.setattr(weekly, "told_once", answers)
    monkeypatch.setattr(weekly, "REPORT_AGAIN_S", 0.0)
    asyncio.run(one._tell(MONDAY_NS))
    return Counter({result: count for (_, result), count in one.told.items()})


def test_it_is_tried_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is taken; what a destination will never take is given up at once, and said. While another instance
    leads, nothing is sent."""
    away, taken = Retry(None, Reason.UNREACHABLE, "away"), Delivered()
    answers = Answers(away, Refused(Reason.CREDENTIAL, "key"), taken)
    assert told(monkeypatch, answers) == {"delivered": 1} and answers.asked == 3
    answers = Answers(taken)
    assert told(monkeypatch, answers, leads=[False, False]) == {"delivered": 1} and answers.asked == 1
    answers = Answers(Refused(Reason.MALFORMED, "blocks"))
    assert told(monkeypatch, answers) == {"failed": 1} and answers.asked == 1
    answers = Answers(away)
    assert told(monkeypatch, answers) == {"failed": 1} and answers.asked == REPORT_TRIES


def test_who_keeps_incidents_takes_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A report would be an incident that nobody closes; where there is nobody else that is said."""
    answers = Answers(Delivered())
    assert told(monkeypatch, answers, ("pagerduty", "terminal")) == {"delivered": 1} and answers.asked == 1
    assert told(monkeypatch, answers, ("pagerduty",)) == {} and answers.asked == 1
    assert "receiver team has no destination that takes a report" in caplog.text


def test_a_daemon_tells_it(tmp_path: Path) -> None:
    """On the first Monday after the one that it knows, once; a receiver that is misspelt is told in `/-/ready`."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    settings = {**QUICK, "WEEKLY__RECEIVER": "team", "RULES": str(rules)}
    with running(tmp_path, **settings) as daemon:
        conversation(daemon.addresses()[0], 10, "one")
        until(lambda: tocsin(daemon.addresses()[1], "session", "one")[0] == 0)
        assert daemon.stop() == 0 and "WEEKLY" not in daemon.said
    with closing(sqlite3.connect(tmp_path / "state" / SESSIONS_FILE)) as database:
        database.execute("UPDATE week SET monday_ns = monday_ns - 604800000000000")
        database.execute("UPDATE leg SET last_ns = last_ns - 604800000000000")
        database.commit()
    with running(tmp_path, **settings) as daemon:
        conversation(daemon.addresses()[0], 20, "two")
        until(lambda: daemon.said.count("WEEKLY  [info]") == 2)
        assert "0 of the week's 1 sessions are most worth a look" in daemon.said
        assert "0 pages last week" in daemon.said
        page = httpx.get(daemon.addresses()[1] + "/metrics", trust_env=False).text
        assert 'tocsin_weekly_reports_total{destination="team/terminal",result="delivered"} 2.0' in page
        assert daemon.stop() == 0
    with running(tmp_path, **{**settings, "WEEKLY__RECEIVER": "tema"}) as daemon:
        text = httpx.get(daemon.addresses()[1] + "/-/ready", trust_env=False).text
        assert "TOCSIN_WEEKLY__RECEIVER: receiver tema has no place in the rule files" in text
