"""Delivery against real servers on the loopback that fail as networks and vendors do."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from alertrules.notice import Notice, Status
from service.delivery.client import new_client
from service.delivery.deliver import Clocks, Deliverer
from service.demo.standins import Answer, Fault, PagerDutyStandIn, SlackStandIn, serving
from service.notifiers import pagerduty, slack, terminal
from service.notifiers.destination import Destination
from service.notifiers.request import Reason
from service.store.outbox import Outbox
from service.store.sqlite import Delivery, Store, connect
from tests.service.test_notifiers import NOTICE

KEY = "k" * 32
TRUSTED = httpx.create_ssl_context(trust_env=False)


def notice(number: int, group: int, status: Status = Status.FIRING) -> Notice:
    title = f"{status.value} {number}"
    return replace(NOTICE, notice_id=f"{number:064d}", group=f"{group:064d}", status=status, title=title)


class FastRandom(random.Random):
    """Backs off for a twentieth of a second, so that tests need not wait."""

    def uniform(self, a: float, b: float) -> float:
        return a


def new_one(senders: int) -> httpx.AsyncClient:
    return new_client(senders, TRUSTED)


class Rig:
    """An outbox, its deliverer and two stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.slack = SlackStandIn(time.monotonic)
        self.pagerduty = PagerDutyStandIn(time.monotonic)
        self.store, self.connection = Store(directory), connect(directory)
        self.outbox = Outbox(connect(directory), self.connection)
        self.lines: list[str] = []
        self.offset_s = 0.0
        self.wall_s = 0.0  # By how much the wall's clock was put wrong.
        self.targets: dict[str, str] = {}  # Of the last run: what was put in before any has names alone.

    def clock(self) -> int:
        return time.time_ns() + int((self.offset_s + self.wall_s) * 1e9)

    def put(self, *notices: Notice, to: Iterable[str] = ("oncall/slack",)) -> None:
        deliveries = [Delivery(one, name, self.targets.get(name, name)) for one in notices for name in to]
        self.store.save(self.store.write_arrays({}, {}, {}), {}, {}, deliveries, self.clock())

    @asynccontextmanager
    async def running(
        self, client: Callable[[int], httpx.AsyncClient] = new_one, more: Iterable[Destination] = ()
    ) -> AsyncIterator[Deliverer]:
        """The deliverer at work, its senders cancelled when the block ends."""
        async with serving(self.slack) as at_slack, serving(self.pagerduty) as at_pagerduty:
            destinations = [
                Destination("oncall/slack", slack.Target(f"{at_slack.url}/services/T/B/x")),
                Destination("oncall/pagerduty", pagerduty.Target(KEY, at_pagerduty.url)),
                Destination("oncall/terminal", terminal.Target()),
                *more,
            ]
            self.targets = {one.name: one.identity for one in destinations}
            clocks = Clocks(self.clock, lambda: time.monotonic_ns() + int(self.offset_s * 1e9))
            deliverer = Deliverer(self.outbox, destinations, (), clocks, FastRandom(), self.lines.append, client)
            tasks = [asyncio.create_task(deliverer.run()) for _ in range(deliverer.senders)]
            try:
                yield deliverer
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended), ended

    def close(self) -> None:
        self.store.close()
        self.outbox.close()


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    """Wait for something to become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never became so"
        await asyncio.sleep(0.01)


def check(directory: Path, steps: Callable[[Rig], Coroutine[None, None, None]]) -> Rig:
    """Run the steps of a test on a rig."""
    rig = Rig(directory)
    try:
        asyncio.run(steps(rig))
    finally:
        rig.close()
    return rig


def test_page_and_resolve_reach_both(tmp_path: Path) -> None:
    """One incident, opened and resolved; two messages; nothing waits."""

    async def steps(rig: Rig) -> None:
        rig.put(notice(1, 1), to=("oncall/slack", "oncall/pagerduty", "oncall/terminal"))
        async with rig.running() as deliverer:
            await until(lambda: len(rig.slack.posts) == 1 and len(rig.pagerduty.open()) == 1)
            rig.put(notice(2, 1, Status.RESOLVED), to=("oncall/slack", "oncall/pagerduty"))
            deliverer.wake()
            await until(lambda: len(rig.slack.posts) == 2 and not rig.pagerduty.open())
            await until(lambda: sum(deliverer.counts.delivered.values()) == 5)

    rig = check(tmp_path, steps)
    assert [post.color for post in rig.slack.posts] == ["#d92d20", "#12b76a"]
    assert len(rig.pagerduty.incidents) == 1
    assert any("PAGE" in line for line in rig.lines)


@pytest.mark.parametrize("fault", [Fault.RESET, Answer(500, "rollup_error"), Answer(503, ""), Answer(302, "")])
def test_what_fails_is_tried_again(tmp_path: Path, fault: Answer | Fault) -> None:
    """Resets, 5xx and redirects cost attempts, not pages."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([fault] * 3)
        rig.put(notice(1, 1))
        async with rig.running() as deliverer:
            await until(lambda: len(rig.slack.posts) == 1)
            await until(lambda: deliverer.counts.delivered["oncall/slack"] == 1)
            assert deliverer.counts.retried["oncall/slack"] == 3

    check(tmp_path, steps)


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    """Nothing at all goes to that destination before the time it asked for; others go on."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.append(Answer(429, "rate_limited", retry_after="1"))
        rig.put(notice(1, 1))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.counts.throttled["oncall/slack"] == 1)
            began = time.monotonic()
            rig.put(notice(2, 2), to=("oncall/slack", "oncall/pagerduty"))
            deliverer.wake()
            await until(lambda: len(rig.pagerduty.open()) == 1)
            assert time.monotonic() - began < 0.8
            await until(lambda: len(rig.slack.posts) == 2)
            assert min(post.at_s for post in rig.slack.posts) - began > 0.9

    check(tmp_path, steps)


def test_slacks_pace_is_kept(tmp_path: Path) -> None:
    """A storm is a few at once and then one a second, and Slack never has to say so."""

    async def steps(rig: Rig) -> None:
        rig.put(*(notice(number, number) for number in range(7)))
        async with rig.running():
            await until(lambda: len(rig.slack.posts) == 7)

    rig = check(tmp_path, steps)
    assert rig.slack.throttled == 0
    assert rig.slack.posts[6].at_s - rig.slack.posts[0].at_s > 1.5


def test_order_within_a_group(tmp_path: Path) -> None:
    """A resolve never overtakes its page, however often that fails; another group does not wait for them."""

    async def steps(rig: Rig) -> None:
        rig.pagerduty.script.extend([Answer(500, "{}"), Fault.RESET, Answer(500, "{}")])
        rig.put(notice(1, 1), notice(3, 1 + 1), to=("oncall/pagerduty",))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.counts.delivered["oncall/pagerduty"] == 2)
            rig.put(
                notice(4, 3), notice(5, 3, Status.RESOLVED), notice(2, 1, Status.RESOLVED), to=("oncall/pagerduty",)
            )
            deliverer.wake()
            await until(lambda: deliverer.counts.delivered["oncall/pagerduty"] == 5)

    rig = check(tmp_path, steps)
    assert rig.pagerduty.dropped_resolves == 0
    assert [incident.summary for incident in rig.pagerduty.open()] == ["firing 3"]


def test_a_lost_answer_is_one_incident(tmp_path: Path) -> None:
    """The event is sent twice, and PagerDuty knows it by its dedup key."""

    async def steps(rig: Rig) -> None:
        rig.pagerduty.script.append(Fault.TAKEN_THEN_RESET)
        rig.put(notice(1, 1), to=("oncall/pagerduty",))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.counts.delivered["oncall/pagerduty"] == 1)

    rig = check(tmp_path, steps)
    assert [incident.triggers for incident in rig.pagerduty.incidents] == [2]


def test_what_slack_cannot_read_is_told_plainly(tmp_path: Path) -> None:
    """A message found malformed is sent once more as one line."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.append(Answer(400, "invalid_blocks"))
        rig.put(notice(1, 1))
        async with rig.running():
            await until(lambda: len(rig.slack.posts) == 1)

    assert check(tmp_path, steps).slack.posts[0].text == "Firing: firing 1"


def test_a_dead_letter_is_counted_and_holds_up_nothing(tmp_path: Path) -> None:
    """Malformed twice is given up: the group goes on."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([Answer(400, "invalid_payload")] * 2)
        rig.put(notice(1, 1), notice(2, 1))
        async with rig.running() as deliverer:
            await until(lambda: len(rig.slack.posts) == 1)
            assert deliverer.counts.dead["oncall/slack", Reason.MALFORMED] == 1
            await until(lambda: rig.outbox.counts()["oncall/slack", "delivered"] == 1)
            assert rig.outbox.counts()["oncall/slack", "dead"] == 1

    check(tmp_path, steps)


def test_a_revoked_hook_trips_the_breaker(tmp_path: Path) -> None:
    """Nothing is lost and nothing hammered: one probe a minute, and all is sent once the hook is back."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([Answer(404, "no_service")] * 2)
        rig.put(notice(1, 1), notice(2, 2))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.tripped()["oncall/slack"])
            await asyncio.sleep(0.3)
            already = deliverer.counts.attempts["oncall/slack"]
            rig.offset_s = 125.0
            deliverer.wake()
            await until(lambda: len(rig.slack.posts) == 2)
            assert already <= 2
            assert not deliverer.tripped()["oncall/slack"]
            assert not deliverer.counts.dead

    check(tmp_path, steps)


def test_what_is_stale_is_given_up(tmp_path: Path) -> None:
    """After its lifetime a failing delivery is a dead letter."""

    async def steps(rig: Rig) -> None:
        rig.put(replace(notice(1, 1), severity="info"))
        rig.slack.script.extend([Fault.RESET] * 3)
        rig.offset_s = 3700.0
        async with rig.running() as deliverer:
            await until(lambda: deliverer.counts.dead["oncall/slack", Reason.EXPIRED] == 1)

    check(tmp_path, steps)


def test_a_slow_destination_keeps_no_other_waiting(tmp_path: Path) -> None:
    """All senders of one may hang while the other is told at once."""

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([Fault.STALL] * 50)
        rig.put(*(notice(number, number) for number in range(20)))
        async with rig.running() as deliverer:
            await asyncio.sleep(0.2)
            rig.put(notice(100, 100), to=("oncall/pagerduty",))
            deliverer.wake()
            await until(lambda: len(rig.pagerduty.open()) == 1, 2.0)

    check(tmp_path, steps)


def test_a_crash_and_a_new_start(tmp_path: Path) -> None:
    """What was in hand when the daemon died is sent by the next; what was told is not told again."""

    async def dies(rig: Rig) -> None:
        rig.put(notice(1, 1), to=("oncall/pagerduty",))
        async with rig.running():
            await until(lambda: rig.outbox.counts()["oncall/pagerduty", "delivered"] == 1)
        rig.put(notice(1, 1), notice(2, 2), to=("oncall/pagerduty",))
        rig.pagerduty.script.append(Fault.STALL)
        async with rig.running():
            await until(lambda: not rig.pagerduty.script)

    async def lives(rig: Rig) -> None:
        rig.put(notice(1, 1), notice(2, 2), to=("oncall/pagerduty",))  # The replay.
        async with rig.running():
            await until(lambda: len(rig.pagerduty.open()) == 1)

    check(tmp_path, dies)
    assert [one.summary for one in check(tmp_path, lives).pagerduty.incidents] == ["firing 2"]


def test_what_cannot_be_written_down_is_not_sent_again(tmp_path: Path) -> None:
    """On a full disk a page is told once, and written down when there is room."""

    async def steps(rig: Rig) -> None:
        async with rig.running() as deliverer:
            await until(lambda: deliverer.running == deliverer.senders)
            rig.connection.execute("PRAGMA query_only = ON")
            rig.put(notice(1, 1), to=("oncall/pagerduty",))
            deliverer.wake()
            await until(lambda: deliverer.counts.unwritten >= 2)
            assert [incident.triggers for incident in rig.pagerduty.incidents] == [1]
            rig.connection.execute("PRAGMA query_only = OFF")
            await until(lambda: rig.outbox.counts()["oncall/pagerduty", "delivered"] == 1)

    assert [incident.triggers for incident in check(tmp_path, steps).pagerduty.incidents] == [1]


def test_a_slow_disk_holds_up_nobody_else(tmp_path: Path) -> None:
    """While another holds the file pages still go out, each group's next one only once the last is written down."""

    async def steps(rig: Rig) -> None:
        saver = connect(tmp_path)
        async with rig.running() as deliverer:
            await until(lambda: deliverer.running == deliverer.senders)
            rig.put(notice(1, 1), notice(2, 1, Status.RESOLVED), to=("oncall/slack", "oncall/pagerduty"))
            saver.execute("BEGIN IMMEDIATE")
            deliverer.wake()
            await until(lambda: len(rig.slack.posts) == 1 and len(rig.pagerduty.open()) == 1)
            await until(lambda: sum(deliverer.counts.delivered.values()) == 2)
            assert rig.outbox.counts() == {("oncall/slack", "waiting"): 2, ("oncall/pagerduty", "waiting"): 2}
            assert sum(deliverer.counts.attempts.values()) == 2
            saver.execute("ROLLBACK")
            told = {("oncall/slack", "delivered"): 2, ("oncall/pagerduty", "delivered"): 2}
            await until(lambda: rig.outbox.counts() == told)
        saver.close()

    rig = check(tmp_path, steps)
    shown = [post.text.splitlines()[0] for post in rig.slack.posts]
    assert ["Firing: firing 1" in shown[0], "Resolved: resolved 2" in shown[1], len(shown)] == [True, True, 2]
    assert not rig.pagerduty.open()


def test_stop_sends_what_is_due(tmp_path: Path) -> None:
    """And then every sender ends by itself."""

    async def steps(rig: Rig) -> None:
        rig.put(*(notice(number, number) for number in range(3)))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.running == deliverer.senders)
            deliverer.stop()
            await until(lambda: not deliverer.running)

    assert len(check(tmp_path, steps).slack.posts) == 3


def test_a_mute_pool_is_replaced(tmp_path: Path) -> None:
    """Connections that httpx lost for ever do not keep pages from going out."""

    async def steps(rig: Rig) -> None:
        leaky = httpx.AsyncClient(limits=httpx.Limits(max_connections=1), timeout=httpx.Timeout(5.0, pool=0.1))
        clients = [leaky]
        stuck = SlackStandIn(time.monotonic)
        stuck.script.append(Fault.STALL)

        def next_client(senders: int) -> httpx.AsyncClient:
            return clients.pop() if clients else new_one(senders)

        async with serving(stuck) as place, rig.running(next_client) as deliverer:
            lost = asyncio.create_task(leaky.get(place.url))
            await until(lambda: not stuck.script)
            rig.put(notice(1, 1))
            deliverer.wake()
            await until(lambda: len(rig.slack.posts) == 1)
            assert deliverer.client.replaced == 1
            lost.cancel()

    check(tmp_path, steps)


def test_secrets_stay_out_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither success nor refusal nor a broken connection writes a URL or key."""
    caplog.set_level("DEBUG")

    async def steps(rig: Rig) -> None:
        rig.slack.script.extend([Fault.RESET, Answer(403, "invalid_token"), Answer(400, "invalid_payload")])
        rig.put(notice(1, 1), to=("oncall/slack", "oncall/pagerduty"))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.tripped()["oncall/slack"] and len(rig.pagerduty.open()) == 1)

    check(tmp_path, steps)
    text = caplog.text
    assert "refuses everything" in text
    assert "/services/" not in text and KEY not in text
