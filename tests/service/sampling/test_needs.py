"""What is worth keeping now: told by levels, first sights and changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from alertrules.changes import Change
from alertrules.lifecycle import Alert, AlertState
from alertrules.parse import load
from detectors.core.columns import CELL_LABELS, NOTHING, SECOND_NS, Firsts, Slot
from detectors.core.series import SeriesTable
from service.causes.news import News, Sight
from service.config.settings import load as load_settings
from service.notifiers.notifier import words
from service.sampling.needs import NEEDS_MAX, SUSPECTED_FROM, Need, Needs, Reason, needs
from service.sampling.policy import HOUR_NS, SHIPPED
from service.wiring import pipeline
from tests.service.running import ROOT

NOW_NS = 1_790_000_000 * SECOND_NS


def slot(start_ns: int, table: SeriesTable, *answers: tuple[str, str], **labels: str) -> Slot:
    """A slot in which one cell counted."""
    cell = np.array([table.id_of(tuple(labels.get(name, "") for name in CELL_LABELS), start_ns)], np.int32)
    one, none = np.ones(1), np.zeros(1)
    return Slot(start_ns, cell, one, one, none, none, none, none, none, none, none, NOTHING, NOTHING, NOTHING,
                firsts=Firsts(answers))  # fmt: skip


def test_first_sights() -> None:
    """What was there in the first hour is not news; a new version, model or agent is, and an answer behind a name."""
    news, table = News(), SeriesTable(CELL_LABELS, 100)
    news.add(slot(NOW_NS, table, ("gpt", "gpt-1"), agent="support", agent_version="v1", model="gpt"), table)
    later_ns = NOW_NS + 2 * HOUR_NS
    news.add(slot(later_ns, table, ("gpt", "gpt-2"), agent="support", agent_version="v2", model="gpt"), table)
    news.add(slot(later_ns, table, agent="new", model="haiku"), table)
    news.add(slot(later_ns, table, agent="support", tool="search"), table)
    assert set(news.sights()) == {
        Sight("support", "version v2", later_ns),
        Sight("new", "model haiku", later_ns),
        Sight("support", "gpt answered by gpt-2", later_ns),
    }


def test_needs_end_by_themselves() -> None:
    """A sight after 24 hours, a deploy after one; a change that is to come is none yet."""
    sights = [Sight("a", "version v2", NOW_NS - 23 * HOUR_NS), Sight("b", "version v3", NOW_NS - 24 * HOUR_NS)]
    changes = [
        Change(NOW_NS - HOUR_NS // 2, "support v2", (("agent", "support"),)),
        Change(NOW_NS, "all"),
        Change(NOW_NS - HOUR_NS, "over"),
        Change(NOW_NS + 1, "to come"),
    ]
    assert needs([], sights, changes, SHIPPED, NOW_NS).all == (
        Need("", Reason.DEPLOY, "all", NOW_NS + HOUR_NS),
        Need("a", Reason.FRESH, "version v2", NOW_NS + HOUR_NS),
        Need("support", Reason.DEPLOY, "support v2", NOW_NS + HOUR_NS // 2),
    )


def test_too_many_agents_are_all() -> None:
    sights = [Sight(f"a{number}", "version v2", NOW_NS) for number in range(NEEDS_MAX + 1)]
    found = needs([], sights, [], SHIPPED, NOW_NS)
    assert found.are_of_all(Reason.FRESH) and found.count(Reason.FRESH) == 1
    assert needs([], sights[1:], [], SHIPPED, NOW_NS).count(Reason.FRESH) == NEEDS_MAX
    assert not Needs().are_of_all(Reason.FRESH)


def test_what_is_suspected(tmp_path: Path) -> None:
    """An agent with a series on the way to a page, while there is no alert of that series; others are no need."""
    rules = load([ROOT / "alertrules" / "packs"], words())
    levels = pipeline(load_settings({"TOCSIN_DATA_DIR": str(tmp_path)}), rules).levels()
    (level,) = (one for one in levels if one.rule.name == "AgentErrorsUp")
    names = ("calm", "nearly", "suspected", "told", "muted", "")
    labels = tuple(tuple({"agent": name}.get(label, "") for label in level.rule.by) for name in names)
    suspicion = np.array([np.nan, SUSPECTED_FROM - 0.1, SUSPECTED_FROM, 9.0, 9.0, 9.0])
    states = {labels[3]: AlertState.FIRING, labels[4]: AlertState.MUTED}
    alerts = {key: Alert(state, "a1", NOW_NS, NOW_NS, None) for key, state in states.items()}
    found = needs([replace(level, labels=labels, gauges={"suspicion": suspicion}, alerts=alerts)], [], [], SHIPPED, 0)
    assert found.all == (
        Need("suspected", Reason.SUSPECTED, "AgentErrorsUp"), Need("told", Reason.ALERT, "AgentErrorsUp"),
    )  # fmt: skip
    assert needs([replace(level, labels=labels, gauges={}, alerts={})], [], [], SHIPPED, 0) == Needs()
