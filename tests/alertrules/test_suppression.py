"""Who hears of an alert, and when nobody does: routes, inhibition, time intervals, silences, acknowledgement."""

import json
from dataclasses import replace

import pytest

from alertrules.lifecycle import Labels, Transition
from alertrules.marks import WINDOW_MAX_NS
from alertrules.notice import Notice
from alertrules.parse import RuleSet, combine, parse_rules
from alertrules.routing import Router
from alertrules.silences import (
    SILENCES_MAX,
    Acknowledgement,
    End,
    Silence,
    acknowledge_command,
    silence_command,
    silence_from,
)
from alertrules.suppression import Kind
from alertrules.times import TimeInterval
from detectors.core.columns import SECOND_NS, TICK_NS
from tests.alertrules.test_routing import RULES, START_NS, labels, step

HOUR_NS = 3600 * SECOND_NS
TEAMS = """
receivers: [{name: oncall}, {name: boss}, {name: search}]
route:
  receiver: oncall
  group_by: [agent]
  routes:
    - {matchers: [tool=search], receiver: search, continue: true}
    - {matchers: [severity=warning], receiver: boss}
"""
INHIBITS = "inhibit_rules: [{source_matchers: [severity=page], target_matchers: [severity=warning], equal: [agent]}]\n"
ESCALATES = """
receivers: [{name: oncall}, {name: boss}, {name: director}]
route: {group_by: [agent], escalate: [{after: 15m, to: boss}, {after: 30m, to: director}]}
"""
VALUES = {"agent": {"support", "other"}, "tool": {"search", "a"}, "alertname": {"ToolErrorsUp"}, "severity": {"page"}}
TOLD = list[tuple[str, str]]


def rules(more: str) -> RuleSet:
    return combine([parse_rules(RULES + more, "rules.yaml")])


class Telling:
    """A router whose ticks are called by number; what it tells is (receiver, status)."""

    def __init__(self, more: str = "") -> None:
        self.rules = rules(more)
        self.router = Router(self.rules, HOUR_NS)
        self.notices: tuple[Notice, ...] = ()
        self.alone: tuple[Notice, ...] = ()
        self.at = 0

    def tick(self, at: int, *steps: Transition) -> TOLD:
        self.at = at
        now_ns = START_NS + at * TICK_NS
        told = self.router.step(steps, now_ns, now_ns)
        self.notices, self.alone = told.notices, told.alone
        return [(one.receiver, one.status.value) for one in self.notices]

    def hear(self, word: Silence | End | Acknowledgement) -> tuple[str, TOLD]:
        answer, told = self.router.hear(word, START_NS + self.at * TICK_NS)
        self.notices = told.notices
        return answer, [(one.receiver, one.status.value) for one in told.notices]

    def silence(self, *matchers: str, length: str = "2h") -> Silence:
        written = {"matchers": list(matchers), "for": length, "by": "anna", "why": "a deploy"}
        return silence_from(written, VALUES, START_NS + self.at * TICK_NS)

    def restart(self, more: str | None = None) -> None:
        saved = json.loads(json.dumps(self.router.snapshot()))
        self.rules = self.rules if more is None else rules(more)
        self.router = Router.restore(self.rules, HOUR_NS, saved)


def fires(at: int, who: Labels | None = None, rule: str = "ToolErrorsUp") -> Transition:
    return step(who or labels(), "firing", at, at, rule=rule)


def ends(at: int, fired: int, who: Labels | None = None, rule: str = "ToolErrorsUp") -> Transition:
    return step(who or labels(), "inactive", at, fired, "recovering", rule=rule)


def test_every_route_that_takes_an_alert_tells_its_receiver() -> None:
    """Each in a group of its own, from the page to the resolve."""
    told = Telling(TEAMS)
    slow = fires(0, labels(tool="a"), "Slow")
    assert sorted(told.tick(0, fires(0), slow)) == [("boss", "firing"), ("search", "firing")]
    assert len({one.group for one in told.notices}) == 2
    warned = fires(1, labels(tool="search"), "Slow")
    assert sorted(told.tick(1, warned)) == [("boss", "firing"), ("search", "firing")]
    assert sorted({one.receiver for one in told.alone}) == ["boss", "search"]
    told.restart()
    over = [ends(5, 0), ends(5, 0, labels(tool="a"), "Slow"), ends(5, 1, labels(tool="search"), "Slow")]
    assert sorted(told.tick(5, *over)) == [("boss", "resolved"), ("search", "resolved")]
    assert told.router.is_idle


def test_open_groups_go_on_under_other_routes() -> None:
    """Where their receiver is told still; else their alerts go through the routes anew."""
    told = Telling(TEAMS)
    told.tick(0, fires(0))
    group = told.notices[0].group
    told.restart(
        "receivers: [{name: oncall}, {name: search}]\nroute: {routes: [{matchers: [tool=search], receiver: search}]}"
    )
    assert told.tick(1) == [] and told.tick(2, ends(2, 0)) == [("search", "resolved")]
    assert told.notices[0].group == group
    told = Telling(TEAMS)
    told.tick(0, fires(0))
    told.restart("receivers: [{name: oncall}]\nroute: {receiver: oncall}")
    assert told.tick(1) == [("oncall", "firing")] and told.tick(2, ends(2, 0)) == [("oncall", "resolved")]


def test_an_inhibited_alert_is_not_told() -> None:
    """Not while the one that explains it fires; then, if it still does, with its own beginning."""
    told = Telling(INHIBITS)
    assert told.tick(0, fires(0), fires(0, rule="Slow")) == [("oncall", "firing")]
    assert len(told.notices[0].alert_ids) == 1
    (one,) = [one for one in told.router.audience().alerts.values() if one.suppressed]
    assert one.suppressed[0][1].kind is Kind.INHIBITED and one.suppressed[0][1].by == told.notices[0].alert_ids[0]
    other = labels("other")
    assert told.tick(1, fires(1, other, "Slow")) == [("oncall", "firing")]  # Of another agent.
    told.restart()
    assert told.tick(9) == []
    assert told.tick(10, ends(10, 0)) == [("oncall", "resolved"), ("oncall", "firing")]
    assert told.notices[1].began_ns == START_NS - 5 * TICK_NS
    assert told.tick(11, fires(11)) == [("oncall", "firing")]
    assert told.tick(12, ends(12, 0, rule="Slow")) == [("oncall", "resolved")]  # What was told is ended.


def test_what_ends_while_it_is_suppressed_is_never_told() -> None:
    """Neither its page nor its resolve."""
    told = Telling(INHIBITS)
    told.tick(0, fires(0), fires(0, rule="Slow"))
    assert told.tick(1, ends(1, 0, rule="Slow")) == [] == told.tick(2)
    assert told.tick(3, ends(3, 0)) == [("oncall", "resolved")] and told.router.is_idle


def test_a_route_tells_nobody_in_the_hours_that_it_is_mute() -> None:
    """Of what fires then it tells at their end, in event time; others are told."""
    told = Telling(
        """
receivers: [{name: oncall}, {name: search}]
time_intervals:
  - {name: this hour, time_intervals: [{times: [{start_time: '21:00', end_time: '22:00'}]}]}
route:
  routes: [{matchers: [tool=search], receiver: search, mute_time_intervals: [this hour]}]
"""
    )  # It is 21:20.
    assert told.tick(0, fires(0), fires(0, labels(tool="a"))) == [("oncall", "firing")]
    (one,) = [one for one in told.router.audience().alerts.values() if one.suppressed]
    assert one.suppressed == [("search", (Kind.MUTED, "this hour"))]
    assert told.router.audience().suppressed() == {("search", "muted"): 1}
    at_22 = next(at for at in range(60) if (START_NS // TICK_NS + at) % 60 == 0)
    assert all(told.tick(at) == [] for at in range(1, at_22))
    assert told.tick(at_22) == [("search", "firing")]


def test_a_route_tells_in_the_hours_that_it_is_active_alone() -> None:
    """Outside of them it is mute."""
    told = Telling(
        """
receivers: [{name: oncall}, {name: search}]
time_intervals: [{name: day, time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]}]
route: {routes: [{matchers: [tool=search], receiver: search, active_time_intervals: [day]}]}
"""
    )
    assert told.tick(0, fires(0)) == [] and told.tick(5, ends(5, 0)) == []
    at_22 = next(at for at in range(60) if (START_NS // TICK_NS + at) % 60 == 0)
    assert told.tick(at_22, fires(at_22)) == [("search", "firing")]


def test_a_silenced_alert_is_not_told() -> None:
    """Nor its resolve; what was told before is ended all the same, and what fires as the silence ends is told."""
    told = Telling()
    told.tick(0, fires(0, labels(tool="a")))
    answer, _ = told.hear(told.silence("agent=support", length="1h"))
    assert answer.startswith("silence ") and '{agent="support"}' in answer and "anna: a deploy" in answer
    told.restart()
    assert told.tick(1, fires(1)) == [] == told.tick(2, fires(2, labels(tool="b")))
    assert told.alone == ()
    assert told.tick(3, ends(3, 2, labels(tool="b"))) == []
    assert told.tick(4, fires(4, labels("other"))) == [("oncall", "firing")]
    assert told.tick(5, ends(5, 0, labels(tool="a"))) == [("oncall", "resolved")]
    assert all(told.tick(at) == [] for at in range(6, 60))
    assert told.tick(60) == [("oncall", "firing")]
    assert told.notices[0].began_ns == START_NS - 4 * TICK_NS and len(told.alone) == 1
    assert told.tick(61, ends(61, 1)) == [("oncall", "resolved")]


def test_a_silence_that_is_ended_early_lets_go_at_once() -> None:
    """What fires is told then, and what came while a group waited was silenced too."""
    told = Telling("route: {group_wait: 5m}")
    told.tick(0, fires(0))
    silence = told.silence("agent=support")
    answer, _ = told.hear(silence)
    assert answer.endswith("1 that wait to be told are silenced")
    assert all(told.tick(at) == [] for at in range(1, 20))
    told.hear(End(silence.silence_id[:8]))
    assert [told.tick(at) for at in (21, 23, 24)] == [[], [], [("oncall", "firing")]]
    with pytest.raises(ValueError, match="no silences begin with"):
        told.hear(End(silence.silence_id))


def test_a_silence_that_is_to_come_holds_from_then_on() -> None:
    """And not before."""
    told = Telling()
    later = replace(told.silence("agent=support"), from_ns=START_NS + 5 * TICK_NS, said_ns=START_NS)
    told.hear(later)
    assert told.router.audience().silences[0][1] == "pending"
    assert told.tick(4, fires(4)) == [("oncall", "firing")]
    assert told.tick(5, ends(5, 4)) == [("oncall", "resolved")] and told.tick(6, fires(6)) == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "would silence everything"),
        ({"matchers": ["agent=~.*"]}, "would silence everything"),
        ({"matchers": ["agent!=support"]}, "would silence everything"),
        ({"matchers": ["agnt=support"]}, '"agnt" is not a label; there are agent'),
        ({"matchers": ["agent=suport"]}, 'no agent that was seen matches agent="suport"; there are other, support'),
        ({"matchers": ['agent=~"x.*"']}, "no agent that was seen matches"),
        ({"matchers": ["agent"]}, '"agent" is not a matcher'),
        ({"matchers": ["agent=support"], "for": None}, "is not a duration"),
        ({"matchers": ["agent=support"], "for": "0s"}, "at most 30d"),
        ({"matchers": ["agent=support"], "for": "31d"}, "at most 30d"),
        ({"matchers": ["agent=support"], "from": "2020-01-01T00:00Z"}, "this window ended at 2020-01-01 02:00 UTC"),
        ({"matchers": ["agent=support"], "from": "2020-01-01T00:00"}, "has no zone"),
        ({"matchers": ["agent=support"], "note": "x"}, '"note" is not a field of a silence; there are matchers'),
        ({"matchers": [["agent", "support"]]}, "are not matchers"),
        (7, "a silence is an object"),
    ],
)
def test_a_silence_that_means_nothing_is_refused(written: object, said: str) -> None:
    """With what to write instead."""
    if isinstance(written, dict):
        written = {"for": "2h", **written}
    with pytest.raises(ValueError) as caught:
        silence_from(written, VALUES, START_NS)
    assert said in str(caught.value)


def test_silences_are_bounded() -> None:
    """In number and length; those that are over are forgotten in the end."""
    told = Telling()
    for number in range(SILENCES_MAX):
        told.hear(replace(told.silence("agent=support"), silence_id=f"{number:012x}"))
    with pytest.raises(ValueError, match="end one first"):
        told.hear(told.silence("agent=other"))
    told.at = (WINDOW_MAX_NS + 6 * 24 * HOUR_NS) // TICK_NS
    told.tick(told.at)
    told.hear(told.silence("agent=other"))
    assert len(told.router.audience().silences) == 1


def test_nobody_acknowledges_and_the_next_is_told() -> None:
    """Each step once, by people's clock; they are told of all that follows, the resolve among it."""
    told = Telling(ESCALATES)
    assert told.tick(0, fires(0)) == [("oncall", "firing")]
    assert told.tick(14) == [] and told.tick(15) == [("boss", "firing")]
    assert told.notices[0].title.startswith("Not acknowledged for 15 min: support: search fails")
    told.restart()
    assert told.tick(16, fires(16, labels(tool="b"))) == [("oncall", "firing"), ("boss", "firing")]
    assert told.tick(30) == [("director", "firing")] and told.tick(99) == []
    over = [ends(100, 0), ends(100, 16, labels(tool="b"))]
    assert told.tick(100, *over) == [(who, "resolved") for who in ("oncall", "boss", "director")]
    assert len({one.notice_id for one in told.notices}) == 1  # Of one place that several lead to, one is enough.


def test_who_acknowledges_ends_the_escalation() -> None:
    """Who and when is told in the next notice, and can be asked; it can be taken back."""
    told = Telling(ESCALATES)
    told.tick(0, fires(0))
    alert_id, group = told.notices[0].alert_ids[0], told.notices[0].group
    word = Acknowledgement((alert_id[:8],), "anna", START_NS + TICK_NS)
    assert told.hear(word)[0].startswith("acknowledged by anna: support: search fails")
    told.restart()
    assert told.router.audience().alerts[alert_id].acknowledged_by == "anna"
    assert told.tick(19) == [] and told.tick(20, fires(20, labels(tool="b"))) == [("oncall", "firing")]
    assert told.notices[0].lines[-1] == "acknowledged by anna, 2025-02-19 21:21 UTC"
    assert told.tick(99) == []
    told.hear(Acknowledgement((group,), "PagerDuty", 0, is_taken_back=True))
    assert told.tick(100) == [("boss", "firing"), ("director", "firing")]
    for target, said in (("0" * 8, "no open alert begins with"), ("", "alerts begin with")):
        with pytest.raises(ValueError, match=said):
            told.hear(Acknowledgement((target,), "anna", 0))


def test_what_is_silenced_or_old_does_not_escalate() -> None:
    """Escalation wakes people: not for what nobody is to hear of, nor for a level that has lasted a day."""
    told = Telling(ESCALATES)
    told.tick(0, fires(0))
    told.hear(told.silence("agent=support", length="1h"))
    assert told.tick(59) == [] and told.tick(60) == [("boss", "firing"), ("director", "firing")]


def test_commands_for_a_page_can_be_pasted() -> None:
    """The labels that its alerts share, quoted for a shell where they need it."""
    told = Telling()
    told.tick(0, fires(0, labels(tool="say 'hi'")))
    page = told.notices[0]
    assert silence_command(page).startswith(
        "tocsin silence agent=support team=agents tenant=acme 'tool=\"say '\"'\"'hi'"
    )
    assert silence_command(page).endswith("--for 2h --why '…'")
    assert acknowledge_command(page) == f"tocsin ack {page.alert_ids[0][:8]}"
    assert "alertname=ToolErrorsUp" in silence_command(replace(page, labels=(("severity", "page"),)))


EVENING = {"times": [{"start_time": "22:00", "end_time": "24:00"}]}
NEW_YORK = {"times": [{"start_time": "09:00", "end_time": "17:00"}], "location": "America/New_York"}


@pytest.mark.parametrize(
    ("entry", "moments"),
    [
        (EVENING, {"2026-01-05T22:00Z": True, "2026-01-05T21:59Z": False}),
        (NEW_YORK, {"2026-01-05T14:00Z": True, "2026-01-05T13:59Z": False, "2026-07-06T13:00Z": True}),
        ({"weekdays": ["monday:friday"]}, {"2026-01-05T00:00Z": True, "2026-01-04T23:59Z": False}),
        ({"weekdays": ["Sunday", "saturday"]}, {"2026-01-03T00:00Z": True, "2026-01-05T00:00Z": False}),
        ({"days_of_month": ["-1"]}, {"2026-02-28T00:00Z": True, "2026-02-27T00:00Z": False, "2028-02-29T12:00Z": True}),
        ({"days_of_month": ["31", "1:2"]}, {"2026-02-28T00:00Z": False, "2026-03-31T00:00Z": True}),
        ({"days_of_month": ["30:-1"]}, {"2026-02-28T00:00Z": False, "2026-03-31T00:00Z": True}),
        ({"months": ["december", "1:2"], "years": [2026]}, {"2026-02-01T00:00Z": True, "2027-02-01T00:00Z": False}),
        ({"weekdays": ["monday"], "location": "Asia/Tokyo"}, {"2026-01-04T15:00Z": True, "2026-01-05T15:00Z": False}),
    ],
)  # fmt: skip
def test_time_intervals_are_alertmanager_s(entry: dict[str, object], moments: dict[str, bool]) -> None:
    """All fields hold together, any of a field's ranges is enough, in the hours of the location."""
    from datetime import datetime

    one = TimeInterval.model_validate({"name": "it", "time_intervals": [entry]})
    for text, holds in moments.items():
        assert one.holds(int(datetime.fromisoformat(text).timestamp()) * SECOND_NS) is holds, text


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("times: [{start_time: '9:00', end_time: '17:00'}]", "is not a time of day"),
        ("times: [{start_time: '22:00', end_time: '06:00'}]", "a night is two"),
        ("weekdays: [mon]", "is not taken; write 'monday:friday'"),
        ("weekdays: [1]", "is not taken"),
        ("weekdays: ['friday:monday']", "ends before it begins"),
        ("weekdays: monday", "is not a list"),
        ("days_of_month: [0]", "is not taken"),
        ("days_of_month: ['-1:5']", "ends before it begins"),
        ("days_of_month: ['32']", "is not taken"),
        ("months: [13]", "is not taken"),
        ("years: ['2027:2026']", "ends before it begins"),
        ("location: Berlin", "is not a time zone"),
        ("hours: 9", "no such field; there are times"),
    ],
)
def test_what_is_not_a_time_is_refused(entry: str, said: str) -> None:
    """With what to write instead, and where it stands."""
    with pytest.raises(Exception) as caught:
        rules(f"time_intervals:\n  - name: it\n    time_intervals:\n      - {entry}\n")
    assert said in str(caught.value) and "time_intervals.0.time_intervals.0" in str(caught.value)


def test_what_was_told_and_is_suppressed_now_is_said() -> None:
    """By what; it is not told again while it is, and is once it is not any more."""
    told = Telling("route: {repeat_interval: 10m}")
    assert told.tick(0, fires(0)) == [("oncall", "firing")]
    silence = told.silence("agent=support", length="1h")
    told.hear(silence)
    told.restart()
    (one,) = told.router.audience().alerts.values()
    assert one.suppressed == [("oncall", (Kind.SILENCED, silence.silence_id))] and one.told == ["oncall"]
    assert all(told.tick(at) == [] for at in range(1, 60))
    assert told.tick(60) == [("oncall", "firing")] and told.router.audience().suppressed() == {}
