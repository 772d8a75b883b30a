"""What else changed: what is new is told once, where it concerns the page, and never of an agent's first hour."""

import json

import numpy as np

from alertrules.changes import Change
from detectors.core.columns import CELL_LABELS, NO_FIRSTS, NOTHING, TICK_NS, Firsts, Slot
from detectors.core.series import SeriesTable
from service.causes.news import HOUR_NS, News

BEGIN_NS = 1_000_000 * TICK_NS
LABELS = {"agent": "support", "agent_version": "v2", "model": "gpt-4o", "tool": ""}


def slot(start_ns: int, cells: SeriesTable, firsts: Firsts = NO_FIRSTS, **labels: str) -> Slot:
    row = cells.id_of(tuple(labels.get(name, "") for name in CELL_LABELS), start_ns)
    cell, one, none = np.array([row], np.int32), np.ones(1), np.zeros(1)
    return Slot(start_ns, cell, one, one, none, none, none, none, none, none, none, NOTHING, NOTHING, NOTHING,
                firsts=firsts)  # fmt: skip


def news(hours: float) -> tuple[News, int]:
    """An agent whose second version, and an alias that moved, came so many hours after its first call."""
    one, cells = News(), SeriesTable(CELL_LABELS, 100)
    at_ns = BEGIN_NS + int(hours * HOUR_NS)
    old, new = Firsts((("gpt-4o", "a"),)), Firsts((("gpt-4o", "b"),))
    one.add(slot(BEGIN_NS, cells, old, agent="support", agent_version="v1", model="gpt-4o"), cells)
    one.add(slot(at_ns, cells, new, agent="support", agent_version="v2", model="gpt-4o"), cells)
    return one, at_ns


def told(one: News, since_ns: int, **labels: str) -> tuple[str, ...]:
    return one.before(since_ns, since_ns + TICK_NS, [LABELS | {"tenant": ""} | labels])


def test_first_sights_within_the_hour() -> None:
    """A version and the model behind a name, with how long before it was."""
    one, at_ns = news(5)
    assert told(one, at_ns + 6 * TICK_NS) == (
        "gpt-4o is answered by b (6 min before it began)", "version v2 is new (6 min before it began)",
    )  # fmt: skip
    assert told(one, at_ns + 2 * HOUR_NS) == ()
    assert told(one, at_ns - 2 * HOUR_NS) == ()


def test_a_prompt_and_a_policy() -> None:
    """A version of a prompt is news of its agent; other sampling of its service, or of all if that is no agent."""
    one, cells = News(), SeriesTable(CELL_LABELS, 100)
    for hours, prompt in ((0, "triage 3"), (5, "triage 4")):
        firsts = Firsts(prompts=(("support", prompt),), policies=(("gateway", f"sampling changed at {hours}"),))
        one.add(slot(BEGIN_NS + hours * HOUR_NS, cells, firsts, agent="support"), cells)
    one.add(slot(BEGIN_NS + 5 * HOUR_NS, cells, Firsts(policies=(("billing", "less"),)), agent="billing"), cells)
    at_ns = BEGIN_NS + 5 * HOUR_NS + 3 * TICK_NS
    said = ("prompt triage 4 is new (3 min before it began)", "sampling changed at 5 (3 min before it began)")
    assert told(one, at_ns) == said
    assert told(one, at_ns, agent="billing") == ("less (3 min before it began)", said[1])
    assert [sight.what for sight in one.sights() if sight.agent == "support"] == ["prompt triage 4"]
    again = News.resume(json.loads(json.dumps(one.state())))
    assert told(again, at_ns) == said and list(again.sights()) == list(one.sights())


def test_what_is_of_others_is_not_told() -> None:
    """Another agent's version, another model's alias."""
    one, at_ns = news(5)
    assert told(one, at_ns + TICK_NS, agent="other", model="opus") == ()


def test_the_first_hour_is_not_news() -> None:
    """All is new then."""
    one, at_ns = news(0.5)
    assert told(one, at_ns + TICK_NS) == ()


def test_changes_that_somebody_told_of() -> None:
    """Where their labels do not say that they concern others; told twice they are one."""
    one, at_ns = news(0.1)
    for _ in range(2):
        one.tell(Change(at_ns, "support v2.4", (("agent", "support"),)))
    one.tell(Change(at_ns, "billing v9", (("agent", "billing"),)))
    one.tell(Change(at_ns, "new cluster"))
    assert told(one, at_ns) == ("new cluster (at that time)", "support v2.4 (at that time)")


def test_saved_and_gone_on_from() -> None:
    """As JSON; a state of before that has none begins with none."""
    one, at_ns = news(5)
    one.tell(Change(at_ns, "new cluster"))
    again = News.resume(json.loads(json.dumps(one.state())))
    assert told(again, at_ns) == told(one, at_ns) and again.state() == one.state()
    assert News.resume(None).state() == News().state()
