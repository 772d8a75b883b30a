"""When a group is told: `group_wait`, `group_interval` and `repeat_interval`, as Alertmanager has them."""

import json
import random
from dataclasses import replace

import pytest

from alertrules.lifecycle import Transition
from alertrules.notice import Notice, Status
from alertrules.routing import Router
from detectors.core.columns import SECOND_NS, TICK_NS
from tests.alertrules.test_routing import HOUR_NS, START_NS, Telling, labels, rules, step

WAIT = "route: {group_wait: 2m}\n"
INTERVAL = "route: {group_interval: 5m}\n"
ALL_THREE = "route: {group_by: [agent], group_wait: 150s, group_interval: 4m, repeat_interval: 20m}\n"
TREE = """
receivers: [{name: oncall}, {name: boss}, {name: of-a}]
route:
  group_by: [agent]
  escalate: [{after: 15m, to: boss}]
  routes:
    - {matchers: [tool=a], receiver: of-a, group_wait: 90s, continue: true}
    - {matchers: ['tool=~"a|b"'], group_by: ['...'], group_interval: 3m, repeat_interval: 15m}
"""
FIRING, RESOLVED = Status.FIRING, Status.RESOLVED


def fires(tool: str, at: int) -> Transition:
    return step(labels(tool=tool), "firing", at, at)


def closes(tool: str, at: int, fired: int) -> Transition:
    return step(labels(tool=tool), "inactive", at, fired, "recovering")


def quiet(told: Telling, first: int, last: int) -> bool:
    """Whether nothing is told at these ticks."""
    return all(told.tick(at) == [] for at in range(first, last + 1))


def test_a_new_group_waits_for_others() -> None:
    """All that fired by then is one notice, of the moment when the wait was over; the resolve waits for nothing."""
    told = Telling(WAIT)
    assert told.tick(0, fires("a", 0)) == [] == told.tick(1, fires("b", 1))
    assert told.tick(2, fires("c", 2)) == [(FIRING, 3)]
    (notice,) = told.notices.notices
    assert notice.at_ns == START_NS + 2 * TICK_NS and len(notice.lines) == 3
    assert told.tick(3, fires("d", 3)) == [(FIRING, 1)]
    assert told.tick(4, *(closes(tool, 4, at) for at, tool in enumerate("abcd"))) == [(RESOLVED, 4)]


def test_a_wait_ends_between_two_ticks() -> None:
    """When event time has passed it, and not before."""
    told = Telling("route: {group_wait: 90s}\n")
    assert told.tick(0, fires("a", 0)) == [] == told.tick(1)
    over_ns = START_NS + 3 * TICK_NS // 2
    assert told.router.elapse(over_ns - 1, over_ns).notices == ()
    (notice,) = told.router.elapse(over_ns, over_ns).notices
    assert (notice.status, notice.at_ns) == (FIRING, over_ns)
    assert told.tick(2) == []


def test_what_closes_while_it_waits_is_not_told() -> None:
    """Neither its page nor its resolve; of two, the other alone is."""
    told = Telling(WAIT)
    told.tick(0, fires("a", 0))
    assert told.tick(1, closes("a", 1, 0)) == []
    assert quiet(told, 2, 9) and told.router.is_idle
    told.tick(10, fires("a", 10), fires("b", 10))
    assert told.tick(11, closes("a", 11, 10)) == []
    assert told.tick(12) == [(FIRING, 1)]
    assert "tool b" in told.notices.notices[0].lines[0]
    assert told.tick(13, closes("b", 13, 10)) == [(RESOLVED, 1)]


def test_news_of_a_group_are_told_at_its_looks() -> None:
    """Every interval from its first notice, however long ago that is: joins, and that the last has closed."""
    told = Telling(INTERVAL)
    assert told.tick(0, fires("a", 0)) == [(FIRING, 1)]
    assert told.tick(1, fires("b", 1)) == [] == told.tick(3, fires("c", 3))
    assert told.tick(4) == [] and told.tick(5) == [(FIRING, 2)]
    assert quiet(told, 6, 21)
    assert told.tick(22, fires("d", 22)) == [] and quiet(told, 23, 24) and told.tick(25) == [(FIRING, 1)]
    assert told.tick(26, *(closes(tool, 26, at) for tool, at in zip("abcd", (0, 1, 3, 22), strict=True))) == []
    assert quiet(told, 27, 29) and told.tick(30) == [(RESOLVED, 4)]


def test_what_comes_and_goes_between_two_looks() -> None:
    """It is not told, and neither is that a group closed which is open again."""
    told = Telling(INTERVAL)
    told.tick(0, fires("a", 0))
    first = told.notices.notices[0]
    told.tick(1, fires("b", 1))
    told.tick(2, closes("b", 2, 1))
    assert quiet(told, 3, 9)
    assert told.tick(11, closes("a", 11, 0)) == [] == told.tick(13, fires("c", 13))
    assert told.tick(15) == [(FIRING, 1)]
    assert told.notices.notices[0].group == first.group
    assert told.tick(16, closes("c", 16, 13)) == [] and quiet(told, 17, 19) and told.tick(20) == [(RESOLVED, 2)]


@pytest.mark.parametrize(
    ("route", "at"),
    [
        ("repeat_interval: 1h", [60, 120, 180]),
        ("repeat_interval: 1h, group_interval: 25m", [75, 150]),
        ("repeat_interval: 0s", []),
        ("repeat_interval: 30h", []),
    ],
)
def test_an_open_group_is_told_again(route: str, at: list[int]) -> None:
    """Each time a notice of its own, rounded up to the next look; until it is muted."""
    told = Telling("route: {" + route + "}\n")
    told.tick(0, fires("a", 0))
    again: list[Notice] = []
    for minute in range(1, 200):
        told.tick(minute)
        again += told.notices.notices
    assert [(notice.at_ns - START_NS) // TICK_NS for notice in again] == at
    assert {notice.status for notice in again} <= {FIRING}
    assert len({notice.notice_id for notice in again}) == len(at)
    told.tick(1440, step(labels(tool="a"), "muted", 1440, 0, "firing"))
    told.tick(1600)
    assert quiet(told, 1601, 3600)


def test_by_default_nothing_waits_and_nothing_is_repeated() -> None:
    """But for the day's reminder, which is the alert's own."""
    told = Telling()
    assert told.tick(0, fires("a", 0)) == [(FIRING, 1)]
    assert quiet(told, 1, 1439)
    assert told.tick(1440, step(labels(tool="a"), "muted", 1440, 0, "firing")) == [(Status.STILL_FIRING, 1)]
    assert quiet(told, 1441, 4400)


@pytest.mark.parametrize("repeat", ["24h", "12h", "8h", "1h"])
@pytest.mark.parametrize("second", [0, 10, 20, 50])
def test_the_days_reminder_is_told_once(repeat: str, second: int) -> None:
    """A repeat that falls on it, or a slot before it, gives way: a page from a slot is a day old within a minute."""
    told = Telling("route: {repeat_interval: " + repeat + "}\n")
    fired = step(labels(tool="a"), "firing", 0, 0)
    fired_ns = START_NS + second * SECOND_NS
    told.router.step([replace(fired, at_ns=fired_ns, fired_ns=fired_ns)], fired_ns, fired_ns)
    late: list[Notice] = []
    for minute in range(1, 1500):
        due = -(-(second * SECOND_NS + 86_400 * SECOND_NS) // TICK_NS)
        told.tick(minute, *([step(labels(tool="a"), "muted", minute, 0, "firing")] if minute == due else []))
        late += [notice for notice in told.notices.notices if minute >= 1435]
    assert [notice.status for notice in late] == [Status.STILL_FIRING]


def test_a_page_that_has_become_too_old_while_it_waited() -> None:
    """It goes out once Tocsin has caught up; a resolve goes out however late."""
    told = Telling(WAIT)
    told.tick(0, fires("a", 0))
    assert told.tick(2, lag=300) == [] == told.tick(200, lag=100)
    assert told.tick(270, lag=30) == [(FIRING, 1)]
    assert told.tick(271, closes("a", 271, 0), lag=300) == [(RESOLVED, 1)]


def moves(rng: random.Random, minutes: int) -> dict[int, list[Transition]]:
    """Alerts of two agents that fire and close at random, by minute."""
    found: dict[int, list[Transition]] = {}
    fired: dict[tuple[str, str], int] = {}
    for minute in range(minutes):
        for who in [(agent, tool) for agent in ("x", "y") for tool in ("a", "b", "c")]:
            if rng.random() < 0.06:
                since = fired.pop(who, None)
                if since is None:
                    fired[who] = since = minute
                    found.setdefault(minute, []).append(step(labels(*who), "firing", minute, minute))
                else:
                    closed = step(labels(*who), "inactive", minute, since, "recovering")
                    found.setdefault(minute, []).append(closed)
    return found


def run(
    rng: random.Random, stream: dict[int, list[Transition]], share: float, restored: bool, route: str
) -> list[Notice]:
    """All notices, if the ticks that moved nothing are called with that chance, and elapsed moments as often."""
    known = rules(route)
    told: list[Notice] = []
    router = Router(known, 0)
    for minute in range(400):
        at_ns = START_NS + minute * TICK_NS
        if minute in stream or rng.random() < share:
            told += router.step(stream.get(minute, []), at_ns, 0).notices
        if rng.random() < share:
            told += router.elapse(at_ns + rng.randrange(TICK_NS), 0).notices
        if restored:
            router = Router.restore(known, 0, json.loads(json.dumps(router.snapshot())))
    return sorted(
        [*told, *router.elapse(START_NS + 500 * TICK_NS, 0).notices],
        key=lambda one: (one.at_ns, one.notice_id, one.receiver),
    )


@pytest.mark.parametrize("route", [ALL_THREE, TREE], ids=["one", "tree"])
@pytest.mark.parametrize("seed", range(3))
def test_when_it_is_asked_changes_nothing(seed: int, route: str) -> None:
    """At every tick, at few, or in between, saved and restored after each: the same notices of the same times."""
    rng = random.Random(seed)
    stream = moves(rng, 300)
    expected = run(rng, stream, 1.0, False, route)
    assert len(expected) > 20 and {one.status for one in expected} == {FIRING, RESOLVED}
    assert len({(one.notice_id, one.receiver) for one in expected}) == len(expected)
    for share, restored in ((0.0, False), (0.3, False), (0.3, True)):
        assert run(rng, stream, share, restored, route) == expected


def test_groups_saved_before_there_were_times() -> None:
    """They were told at once: they are not told again, and are resolved."""
    told = Telling()
    told.tick(0, fires("a", 0))
    saved = told.router.snapshot()
    for name in ("news", "still", "is_new", "changed_ns", "looked_ns", "told_ns"):
        del saved["groups"][0][name]
    told.router = Router.restore(rules("route: {repeat_interval: 1h, group_interval: 5m}\n"), HOUR_NS, saved)
    assert quiet(told, 1, 100)
    assert told.tick(101, closes("a", 101, 0)) == []
    assert [status for at in range(102, 107) for status, _ in told.tick(at)] == [RESOLVED]
