"""Destinations that fail for a while: what is said of it, and what on-call gets once they are back."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alertrules.notice import Status
from service.demo.standins import Answer, Fault
from service.notifiers.request import Reason
from tests.service.test_deliver import Rig, check, notice, until

LOGIN = Answer(200, "<html>Sign in to the corporate proxy</html>", "text/html")


async def settled(count: Callable[[], int], seconds: float = 0.5) -> int:
    """Wait until a number has not changed for so long: what was under way has come to its end."""
    found, since_s = count(), time.monotonic()
    while time.monotonic() - since_s < seconds:
        await asyncio.sleep(0.02)
        if count() != found:
            found, since_s = count(), time.monotonic()
    return found


@pytest.mark.parametrize(
    "fault", [LOGIN, Answer(200, ""), Answer(202, "{}"), Answer(409, "conflict"), Answer(400, "<html>")]
)
def test_what_is_no_delivery_is_tried_until_it_is(tmp_path: Path, fault: Answer) -> None:
    """Whatever stands between us and the vendor; the log says so once, and once when it is over."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([fault] * 6)
        rig.pagerduty.script.extend([fault] * 6)
        rig.put(notice(1, 1), to=("oncall/slack", "oncall/pagerduty"))
        async with rig.running() as deliverer:
            await until(lambda: len(rig.slack.posts) == 1 and len(rig.pagerduty.open()) == 1)
            assert deliverer.counts.failed["oncall/slack", Reason.UNEXPECTED] >= 3
            assert not deliverer.counts.dead

    check(tmp_path, steps)


def test_a_failure_is_said_once_and_its_end_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts it takes."""
    caplog.set_level("INFO")

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([Fault.RESET, LOGIN] * 4)
        rig.put(*(notice(number, number) for number in range(3)))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.failing_s()["oncall/slack"] > 0)
            await until(lambda: len(rig.slack.posts) == 3)
            await until(lambda: not deliverer.failing_s()["oncall/slack"])

    check(tmp_path, steps)
    said = [record.getMessage() for record in caplog.records if record.name == "service.delivery.destination_health"]
    assert said[0].startswith("oncall/slack takes nothing (un") and said[1].startswith("oncall/slack takes what it is")
    assert len(said) == 2


def test_a_deleted_integration_is_a_credential(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PagerDuty answers 400 to everything: it waits, is said once, and goes on when it is mended."""
    body = json.dumps({"status": "invalid event", "message": "…", "errors": ["Invalid routing key"]})

    async def steps(rig: Rig) -> None:
        rig.pagerduty.script.extend([Answer(400, body, "application/json")] * 50)
        rig.put(*(notice(number, number) for number in range(3)), to=("oncall/pagerduty",))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.tripped()["oncall/pagerduty"])
            left = await settled(lambda: len(rig.pagerduty.script))
            rig.offset_s += 121.0
            deliverer.wake()
            await until(lambda: len(rig.pagerduty.script) < left)
            assert await settled(lambda: len(rig.pagerduty.script)) == left - 1
            rig.pagerduty.script.clear()
            rig.offset_s += 121.0
            deliverer.wake()
            await until(lambda: len(rig.pagerduty.open()) == 3)
            await until(lambda: not deliverer.tripped()["oncall/pagerduty"])
            assert not deliverer.counts.dead

    check(tmp_path, steps)
    assert sum("refuses everything" in record.getMessage() for record in caplog.records) == 1


def test_an_hour_without_destinations(tmp_path: Path) -> None:
    """What came and went is one message and no incident; what still fires is told as it is, once."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([Answer(503, "")] * 500)
        rig.pagerduty.script.extend([Answer(503, "")] * 500)
        both = ("oncall/slack", "oncall/pagerduty")
        async with rig.running() as deliverer:
            for number in range(30):
                rig.put(notice(number, number), to=both)
                deliverer.wake()
            await until(lambda: min(deliverer.counts.retried[name] for name in both) >= 4)
            rig.offset_s += 10.0
            rig.put(*(notice(100 + number, number, Status.RESOLVED) for number in range(29)), to=both)
            deliverer.wake()
            await until(lambda: rig.outbox.counts()["oncall/slack", "over"] == 29)
            await until(lambda: rig.outbox.counts()["oncall/pagerduty", "over"] == 29)
            rig.slack.script.clear()
            rig.pagerduty.script.clear()
            slack_done = ("oncall/slack", "waiting")
            await until(lambda: not rig.outbox.counts()[slack_done] and len(rig.pagerduty.incidents) == 1)

    rig = check(tmp_path, steps)
    heads = sorted(post.text.splitlines()[0] for post in rig.slack.posts)
    assert heads[-1] == "🔴 Firing: firing 29"
    # What another sender had in hand when these were put together is told by itself.
    assert len(heads) <= 5 and all(head.startswith("☑️ Over before it could be told: ") for head in heads[:-1])
    assert any(" came and went, " in head for head in heads)
    assert [incident.summary for incident in rig.pagerduty.open()] == ["firing 29"]


def test_a_clock_put_right_delays_nothing(tmp_path: Path) -> None:
    """Neither by hours ahead nor by hours back: retries and pauses run on a clock that nobody puts right."""

    async def steps(rig: Rig) -> None:
        for wall_s in (7200, -7200):
            rig.slack.script.extend([Fault.RESET, Answer(429, "rate_limited", retry_after="0")])
            rig.put(notice(abs(wall_s) + (wall_s < 0), abs(wall_s) + (wall_s < 0)))
            async with rig.running() as deliverer:
                await until(lambda: deliverer.counts.retried["oncall/slack"] >= 1)
                rig.wall_s = wall_s
                await until(lambda: deliverer.counts.delivered["oncall/slack"] == 1)

    assert len(check(tmp_path, steps).slack.posts) == 2


def test_a_429_pauses_little(tmp_path: Path) -> None:
    """One without Retry-After costs a second, not half a minute; others of that destination no more."""

    async def steps(rig: Rig) -> None:
        rig.pagerduty.script.append(Answer(429, '{"status": "throttle exceeded"}', "application/json"))
        rig.put(*(notice(number, number) for number in range(4)), to=("oncall/pagerduty",))
        async with rig.running():
            await until(lambda: len(rig.pagerduty.open()) == 4, 5.0)

    check(tmp_path, steps)
