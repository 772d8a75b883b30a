"""What a destination is sent of all that waits: how things stand, and not all that has happened."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alertrules.notice import Notice, Status
from service.notifiers import pagerduty, slack
from service.notifiers.destination import Destination
from service.notifiers.request import Habit
from service.store.due import Due, ended_unheard, next_due
from service.store.outbox import Outbox
from service.store.sqlite import Delivery, Store, connect
from tests.service.test_notifiers import NOTICE

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
CHANNEL, SERVICE = Habit(20, keeps_incidents=False), Habit(100, keeps_incidents=True)
FIRING, STILL, RESOLVED, OVER = Status.FIRING, Status.STILL_FIRING, Status.RESOLVED, Status.OVER


class Box:
    """An outbox with one destination, on a clock of its own."""

    def __init__(self, directory: Path) -> None:
        self.store, self.outbox = Store(directory), Outbox(connect(directory), connect(directory))
        self.now_ns = HOUR_NS
        self.is_failing = False
        self.number = 0

    def put(self, *told: tuple[int, Status], alerts: str = "a", severity: str = "page") -> None:
        """Notices of these groups, all of one save."""
        deliveries = []
        for group, status in told:
            self.number += 1
            notice = replace(
                NOTICE, notice_id=f"{self.number:064d}", group=f"{group:064d}", status=status, severity=severity,
                title=f"group {group}", alert_ids=tuple(alerts), at_ns=self.now_ns,
            )  # fmt: skip
            deliveries.append(Delivery(notice, "oncall/x", "target"))
        self.store.save("state-000000000001.npz", {}, {}, deliveries, self.now_ns)

    def next(self, habit: Habit) -> Due | None:
        pending = self.outbox.pending("target")
        if over := ended_unheard(self.outbox, "target", pending, self.is_failing, self.now_ns):
            self.outbox.over("target", over, self.now_ns)
            pending = self.outbox.pending("target")
        return next_due(self.outbox, "target", pending, habit, self.now_ns, self.now_ns)

    def told(self, habit: Habit) -> list[tuple[Status, str]]:
        """All that is sent if it is taken, one after the other."""
        sent: list[tuple[Status, str]] = []
        while due := self.next(habit):
            self.outbox.told(due.seqs, due.replaced, self.now_ns)
            sent.append((due.notice.status, due.notice.title))
        assert self.outbox.oldest_waiting_ns() is None or not sent
        return sent

    def refused(self, habit: Habit) -> Notice:
        """What is sent next, if it is not taken."""
        due = self.next(habit)
        assert due
        self.outbox.put_off(due.seqs, self.now_ns + SECOND_NS, "busy")
        return due.notice

    def close(self) -> None:
        self.store.close()
        self.outbox.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


@pytest.mark.parametrize("habit", [CHANNEL, SERVICE])
def test_where_nothing_has_to_wait(box: Box, habit: Habit) -> None:
    """Each page and each resolve is told, in their order."""
    box.put((1, FIRING))
    box.put((1, RESOLVED))
    assert box.told(habit) == [(FIRING, "group 1"), (RESOLVED, "group 1")]


@pytest.mark.parametrize("why", ["refused", "failing", "late"])
def test_what_is_over_by_the_time_that_it_can_be_told(box: Box, why: str) -> None:
    """A channel hears that it is over, once for all of them; PagerDuty never sees the page, and drops the resolve."""
    for group in range(6):
        box.put((group, FIRING))
    if why == "refused":
        for _ in range(6):
            box.refused(CHANNEL)
    box.is_failing = why == "failing"
    box.now_ns += 120 * SECOND_NS if why == "late" else 6 * SECOND_NS
    for group in range(6):
        box.put((group, RESOLVED))
    assert box.told(CHANNEL) == [(OVER, "6 came and went, group 0 among them")]
    counts = box.outbox.counts()
    assert counts == {("oncall/x", "over"): 6, ("oncall/x", "delivered"): 6}


def test_pagerduty_is_sent_resolves_alone(box: Box) -> None:
    """An answer that was lost may have opened an incident; no page comes after its resolve."""
    box.put((1, FIRING), (2, FIRING))
    box.refused(SERVICE)
    box.put((1, RESOLVED), (2, RESOLVED))
    box.now_ns += 6 * SECOND_NS
    box.is_failing = True
    assert box.told(SERVICE) == [(RESOLVED, "group 1"), (RESOLVED, "group 2")]


@pytest.mark.parametrize("habit", [CHANNEL, SERVICE])
def test_a_hitch_swallows_no_page(box: Box, habit: Habit) -> None:
    """One attempt that failed is tried again, though the resolve has come."""
    box.put((1, FIRING))
    box.refused(habit)
    box.put((1, RESOLVED))
    box.now_ns += 2 * SECOND_NS
    assert box.told(habit) == [(FIRING, "group 1"), (RESOLVED, "group 1")]


def test_what_was_told_needs_its_resolve_alone(box: Box) -> None:
    """Its updates that wait are not told any more."""
    box.put((1, FIRING))
    assert box.told(CHANNEL) == [(FIRING, "group 1")]
    box.put((1, FIRING), alerts="ab")
    box.put((1, RESOLVED))
    assert box.told(CHANNEL) == [(RESOLVED, "group 1")]
    assert box.outbox.counts() == {("oncall/x", "delivered"): 2, ("oncall/x", "replaced"): 1}


def test_updates_replace_one_another(box: Box) -> None:
    """The latest names all that is open; a reminder of other alerts does not stand for a page."""
    for alerts in ("a", "b", "c"):
        box.put((1, FIRING), alerts=alerts)
    assert box.told(CHANNEL) == [(FIRING, "group 1")]
    box.put((2, FIRING), alerts="b")
    box.put((2, STILL), alerts="a")
    assert box.told(CHANNEL) == [(FIRING, "group 2"), (STILL, "group 2")]
    box.put((3, FIRING), alerts="a")
    box.put((3, STILL), alerts="ab")
    assert box.told(CHANNEL) == [(STILL, "group 3")]


def test_a_storm_is_one_notice(box: Box) -> None:
    """Up to twenty are told each by itself; PagerDuty knows each by its key."""
    box.put(*((group, FIRING) for group in range(20)))
    assert len(box.told(CHANNEL)) == 20
    box.put(*((group, FIRING) for group in range(100, 600)))
    assert box.told(CHANNEL) == [(FIRING, "500 pages at once, group 100 among them")]
    box.put(*((group, RESOLVED) for group in range(100, 600)))
    assert box.told(CHANNEL) == [(RESOLVED, "500 at once, group 100 among them")]
    assert box.outbox.counts() == {("oncall/x", "delivered"): 1020}


def test_pagerduty_keeps_a_storm_apart(box: Box) -> None:
    """Each has an incident of its own to resolve."""
    box.put(*((group, FIRING) for group in range(150)))
    assert len(box.told(SERVICE)) == 150


@pytest.mark.parametrize("habit", [CHANNEL, SERVICE])
def test_a_new_cause_overtakes_a_storm(box: Box, habit: Habit) -> None:
    """What is left of the storm comes after it, and resolves and what wakes nobody after both."""
    box.put(*((group, FIRING) for group in range(50, 80)))
    box.put((1, FIRING), severity="info")
    box.now_ns += SECOND_NS
    box.put((7, FIRING))
    due = box.next(habit)
    assert due and due.notice.title == "group 7"
    titles = [title for _, title in box.told(habit)]
    assert titles[0] == "group 7"
    if habit is SERVICE:
        assert titles[-1] == "group 1" and len(titles) == 32


def test_nobody_starves(box: Box) -> None:
    """New causes every few seconds, faster than they can be told: the old ones are told together."""
    box.put(*((group, FIRING) for group in range(100, 130)))
    for second in range(200):
        box.now_ns += SECOND_NS
        box.put((1000 + second, FIRING))
        box.put((2000 + second, FIRING))
        due = box.next(CHANNEL)
        assert due
        box.outbox.told(due.seqs, due.replaced, box.now_ns)
        oldest_ns = box.outbox.oldest_waiting_ns()
        assert oldest_ns is None or box.now_ns - oldest_ns <= 62 * SECOND_NS


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("habit", [CHANNEL, SERVICE])
def test_no_page_after_its_resolve(box: Box, habit: Habit, seed: int) -> None:
    """Whatever is refused, lost or crashes at random: what was taken ends as the groups ended, in their order."""
    rng = random.Random(seed)
    left = {group: [FIRING] * rng.randint(1, 3) + [RESOLVED] * (rng.random() < 0.7) for group in range(40)}
    heard: dict[str, list[Status]] = {}

    def send() -> bool:
        due = box.next(habit)
        if due is None:
            return False
        if rng.random() < 0.6:  # Taken; in one case of six its answer is lost, or we die before it is written down.
            for row in due.rows:
                heard.setdefault(row.notice.group, []).append(row.notice.status)
            if rng.random() < 0.83:
                box.outbox.told(due.seqs, due.replaced, box.now_ns)
                box.is_failing = False
        else:
            box.outbox.put_off(due.seqs, box.now_ns + SECOND_NS, "busy")
            box.is_failing = True
        if rng.random() < 0.1:
            box.is_failing = False  # A new process, which knows the rows alone.
        return True

    while left:
        group = rng.choice(list(left))
        box.put((group, left[group].pop(0)))
        if not left[group]:
            del left[group]
        box.now_ns += rng.choice((0, SECOND_NS, 40 * SECOND_NS))
        send()
    for _ in range(5_000):
        box.now_ns += SECOND_NS
        if not send() and box.outbox.oldest_waiting_ns() is None:
            break
    assert box.outbox.oldest_waiting_ns() is None
    for told in heard.values():
        assert told == sorted(told, key=lambda status: status is RESOLVED), told


def test_a_destination_is_its_target() -> None:
    """The same under another name, another under the same; and no secret."""
    one = Destination("oncall/pagerduty", pagerduty.Target("k" * 32))
    assert one.identity == replace(one, name="sre/pagerduty").identity
    assert one.identity != Destination("oncall/pagerduty", pagerduty.Target("j" * 32)).identity
    hook = slack.Target("https://hooks.slack.com/services/T0/B0/hunter2")
    channels = {Destination("a", slack.Target("", "xoxb-1", channel)).identity for channel in ("#a", "#b")}
    assert len(channels | {Destination("a", hook).identity}) == 3
    assert "hunter2" not in Destination("a", hook).identity
