"""Alerts in a real Alertmanager: told each by itself, kept alive while they fire, ended when they end."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from alertrules.notice import Notice, Status
from service.delivery.again import ENDED_NS, Again
from service.notifiers import alertmanager
from service.notifiers.destination import Destination
from tests.alertmanager import Alertmanager, running
from tests.service.test_deliver import Rig, check, notice, until
from tests.service.test_notifiers import ALERT

TO = ("oncall/alertmanager",)


def told(number: int, tool: str, ended_ns: int = 0) -> Notice:
    """One alert by itself."""
    labels = (("agent", "support"), ("tool", tool))
    one = replace(ALERT, alert_id=f"{number:064d}", labels=labels, ended_ns=ended_ns)
    status = Status.RESOLVED if ended_ns else Status.FIRING
    return replace(notice(2 * number + (ended_ns > 0), number, status), alerts=(one,))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fires is told again every second, so that tests need not wait."""
    habit = replace(alertmanager.HABIT, again_s=1.0)
    monkeypatch.setattr(alertmanager, "NOTIFIER", replace(alertmanager.NOTIFIER, habit=habit))


def tools(one: Alertmanager) -> list[str]:
    return sorted(alert["labels"]["tool"] for alert in one.alerts())


@pytest.mark.usefixtures("quick")
def test_alerts_live_as_long_as_they_fire(tmp_path: Path) -> None:
    """Longer than Alertmanager's patience, over its restart and ours; an end is told, also to one that was away."""
    with running(tmp_path / "am", resolve_timeout="3s") as one:
        more = (Destination(*TO, alertmanager.Target(one.url)),)

        async def begin(rig: Rig) -> None:
            async with rig.running(more=more) as deliverer:
                rig.put(told(1, "search"), told(2, "crm"), to=TO)
                deliverer.wake()
                await until(lambda: tools(one) == ["crm", "search"])
                (alert,) = [alert for alert in one.alerts() if alert["labels"]["tool"] == "crm"]
                assert alert["labels"]["alertname"] == "ToolErrorsUp" and alert["labels"]["severity"] == "page"
                assert alert["annotations"]["began"] == "2025-02-19 21:15 UTC"
                await asyncio.sleep(4.0)
                assert tools(one) == ["crm", "search"]
                one.kill()
                await asyncio.sleep(1.5)
                one.start()
                await until(lambda: tools(one) == ["crm", "search"])

        check(tmp_path / "tocsin", begin)

        async def go_on(rig: Rig) -> None:
            async with rig.running(more=more) as deliverer:
                await asyncio.sleep(4.0)
                assert tools(one) == ["crm", "search"]
                rig.put(told(1, "search", rig.clock()), to=TO)
                deliverer.wake()
                await until(lambda: tools(one) == ["crm"])

        check(tmp_path / "tocsin", go_on)


def test_a_storm_is_few_requests(tmp_path: Path) -> None:
    """Five hundred alerts at once are all there, and are no five hundred requests."""
    with running(tmp_path / "am") as one:

        async def steps(rig: Rig) -> None:
            async with rig.running(more=(Destination(*TO, alertmanager.Target(one.url)),)) as deliverer:
                rig.put(*(told(number, f"tool-{number}") for number in range(500)), to=TO)
                deliverer.wake()
                await until(lambda: len(one.alerts()) == 500)
                assert deliverer.counts.attempts["oncall/alertmanager"] < 10

        check(tmp_path / "tocsin", steps)


def test_what_is_told_again() -> None:
    """All that fires, once every so often, and what has ended for a quarter of an hour; nothing that is under way."""
    again = Again(60, [told(1, "a")])
    again.took(told(2, "b"), 0)
    again.took(told(3, "c"), 0)
    again.took(told(3, "c", ended_ns=1), 5)
    found = again.take_due({told(2, "b").group}, 10)
    assert found is not None and found[1] == {told(1, "a").group, told(3, "c").group}
    assert [(dict(one.labels)["tool"], one.ended_ns) for one in found[0].alerts] == [("a", 0), ("c", 1)]
    assert again.take_due((), 69) is None
    found = again.take_due((), 10 + ENDED_NS)
    assert found is not None and [dict(one.labels)["tool"] for one in found[0].alerts] == ["a", "b"]
    assert Again(0, ()).take_due((), 10) is None
