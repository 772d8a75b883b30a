"""Many alerts at once, a cause that agents share, and alerts that come and go."""

import random
from dataclasses import replace

import pytest

from alertrules.cause import How, Known, Term
from alertrules.flapping import CALM_NS, Flaps
from alertrules.lifecycle import Labels
from alertrules.notice import Notice
from alertrules.storms import STORM_GROUPS_MAX, shared_cause
from detectors.core.columns import SLOT_NS, TICK_NS
from tests.alertrules.test_suppression import Telling, ends, fires

CALM_TICKS = CALM_NS // TICK_NS


def agent(number: int, **more: str) -> Labels:
    return tuple(sorted({"agent": f"agent-{number}", "tenant": "acme", **more}.items()))


def test_a_storm_is_a_few_messages() -> None:
    """500 alerts of as many agents at once: one page, which says how many, and one resolve."""
    told = Telling()
    said = told.tick(0, *(fires(0, agent(number)) for number in range(500)))
    assert said == [("oncall", "firing")]
    (page,) = told.notices
    assert page.title.startswith("500 alerts at once, of 500 agents: ") and page.severity == "page"
    assert page.lines[0].startswith("agents: agent-0, agent-1, agent-10, ") and page.lines[0].endswith("and 460 more")
    assert page.lines[-1] == "… and 400 more"
    told.restart()
    assert told.tick(9, *(ends(9, 0, agent(number)) for number in range(500))) == [("oncall", "resolved")]
    assert told.router.is_idle


@pytest.mark.parametrize("seed", range(5))
def test_a_storm_that_comes_in_slots_is_a_few_messages(seed: int) -> None:
    """However its alerts are spread over a minute, and though it goes on: the first are pages of their own."""
    rng = random.Random(seed)
    told = Telling()
    order = list(range(500))
    rng.shuffle(order)
    messages: list[Notice] = []
    for slot in range(6):
        moved = [fires(0, agent(number)) for number in order[slot::6]]
        now_ns = fires(0).at_ns + slot * SLOT_NS
        messages += told.router.step(moved, now_ns, now_ns).notices
    assert 0 < len(messages) <= 20
    for minute in range(1, 10):  # It goes on: once a minute.
        messages = [
            *told.router.step([fires(minute, agent(1000 + minute * 50 + n)) for n in range(50)], *now(minute)).notices
        ]
        assert len(messages) <= 1
    (page,) = told.router.step([fires(20, agent(9999))], *now(20)).notices
    assert page.title.startswith("agent-9999")  # The storm is over.


def now(minute: int) -> tuple[int, int]:
    at_ns = fires(minute).at_ns
    return at_ns, at_ns


def test_few_at_once_are_pages_of_their_own() -> None:
    """A storm is more than a person can read."""
    told = Telling()
    assert len(told.tick(0, *(fires(0, agent(number)) for number in range(STORM_GROUPS_MAX)))) == STORM_GROUPS_MAX
    assert told.tick(0, fires(0, agent(100))) == [("oncall", "firing")]
    assert told.notices[0].title == "agent-100: fails 1% to 9.3% (9.3x)"  # Alone in the storm's group.
    assert told.tick(2, fires(2, agent(101))) == [("oncall", "firing")]
    assert "at once" not in told.notices[0].title


def test_an_alert_of_an_open_group_joins_it_in_a_storm() -> None:
    """What is told already is not told as something new."""
    told = Telling()
    told.tick(0, fires(0, agent(0)))
    group = told.notices[0].group
    told.tick(1, *(fires(1, agent(number)) for number in range(1, 50)), fires(1, agent(0, tool="b")))
    assert {one.group for one in told.notices if len(one.alert_ids) == 1} == {group}


def test_a_shared_cause_is_one_page() -> None:
    """It names the cause and its victims; those that come later join it, once a minute."""
    told = Telling()
    three = [fires(0, agent(number, model="gpt-4o", tool="t")) for number in range(3)]
    other = fires(0, agent(7, model="o3"))
    assert told.tick(0, *three, other) == [("oncall", "firing")] * 4  # Three of four are not nearly all.
    told = Telling()
    assert told.tick(0, *three) == [("oncall", "firing")]
    page = told.notices[0]
    assert page.title.startswith("3 agents with model gpt-4o, tool t, 3 alerts: agent-0: t fails")
    assert page.lines[0] == "agents: agent-0, agent-1, agent-2"
    assert dict(page.labels)["model"] == "gpt-4o"
    later = fires(2, agent(9, model="gpt-4o", tool="t"))
    assert told.tick(2, later, fires(2, agent(10, model="o3"))) == [("oncall", "firing")] * 2
    assert {one.group == page.group for one in told.notices} == {True, False}


def test_a_shared_cause_is_found_when_the_third_agent_comes() -> None:
    """Those before were told by themselves; what comes more than five minutes later is another cause."""
    told = Telling()
    assert told.tick(0, fires(0, agent(0, provider="openai"))) == [("oncall", "firing")]
    assert told.tick(2, fires(2, agent(1, provider="openai"))) == [("oncall", "firing")]
    assert told.tick(4, fires(4, agent(2, provider="openai"))) == [("oncall", "firing")]
    assert told.notices[0].title.startswith("3 agents with provider openai, 3 alerts: agent-2")
    assert told.notices[0].lines[0] == "agents: agent-0, agent-1, agent-2"
    assert told.tick(20, fires(20, agent(3, provider="openai"))) == [("oncall", "firing")]
    assert told.notices[0].title.startswith("agent-3")


@pytest.mark.parametrize(
    ("alerts", "cause"),
    [
        ([agent(n, model="m") for n in range(3)], (("model", "m"),)),
        ([agent(n, model="m") for n in range(2)], ()),
        ([agent(0, model="m", tool=str(n)) for n in range(9)], ()),
        ([agent(n) for n in range(9)], ()),
        ([agent(n, model="m" if n < 8 else "") for n in range(10)], (("model", "m"),)),
        ([agent(n, model="m" if n < 7 else "o") for n in range(10)], ()),
        ([agent(n, model="m", provider="p" if n else "q") for n in range(9)], (("model", "m"), ("provider", "p"))),
        ([], ()),
    ],
)
def test_what_is_a_shared_cause(alerts: list[Labels], cause: Labels) -> None:
    """One value of a label that agents depend on, in four of five alerts, of three agents or more."""
    assert shared_cause(alerts) == cause


def test_flapping_is_told_once() -> None:
    """The fourth time within hours says so and stays open, whatever it does, until it is calm; then with its count."""
    told = Telling()
    for at in (0, 20, 40):
        assert told.tick(at, fires(at)) == [("oncall", "firing")]
        assert told.tick(at + 5, ends(at + 5, at)) == [("oncall", "resolved")]
    assert told.tick(60, fires(60)) == [("oncall", "firing")]
    assert told.notices[0].title.endswith("(flapping: fired 4 times in 1 h)")
    assert told.tick(65, ends(65, 60)) == []
    for at in (80, 100):
        assert told.tick(at, fires(at)) == [] == told.tick(at + 5, ends(at + 5, at))
        told.restart()
    assert all(told.tick(at) == [] for at in range(106, 105 + CALM_TICKS))
    assert told.tick(105 + CALM_TICKS) == [("oncall", "resolved")]
    assert told.notices[0].lines[0].endswith("; ended 2025-02-19 23:05 UTC, after 50 min, fired 6 times")
    assert told.router.is_idle


def test_a_flapping_alert_that_goes_on_firing_stays_open() -> None:
    """It is told again with the day's reminder, as every other."""
    told = Telling()
    for at in (0, 20, 40, 60):
        told.tick(at, fires(at))
        told.tick(at + 5, ends(at + 5, at))
    told.tick(80, fires(80))
    assert all(told.tick(at) == [] for at in range(81, 81 + 2 * CALM_TICKS))
    assert told.tick(300, ends(300, 80)) == []
    assert told.tick(300 + CALM_TICKS) == [("oncall", "resolved")]


def test_flaps_are_bounded() -> None:
    """What fired long ago is forgotten, and of very many series the oldest."""
    flaps = Flaps()
    for at in range(20_000):
        flaps.fired("R", (("agent", str(at)),), at)
    assert len(flaps.snapshot()) == 10_000
    assert flaps.fired("R", (), 10**18) == (1, 0) and len(flaps.snapshot()) == 1


def test_a_cause_that_pages_name_is_shared() -> None:
    """Series of agents have no provider; their causes do: agents that one provider fails are one page."""
    told = Telling()
    cause = (Term(How.RATE, "provider", "openai", 0.01, 0.5, "ratio", 0.98),)
    told.tick(0, *(replace(fires(0, agent(number)), known=Known(cause)) for number in range(4)))
    (page,) = told.notices
    assert page.title.startswith("4 agents with provider openai, 4 alerts: ")
