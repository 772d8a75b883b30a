"""Receivers that are renamed, keyed anew or taken out while something waits or is open."""

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alertrules.notice import Status, to_json
from service.notifiers import pagerduty, slack
from service.notifiers.destination import Destination
from service.store.heirs import Left
from service.store.outbox import Outbox
from service.store.sqlite import FILE_NAME, Delivery, Store, connect
from tests.service.test_notifiers import NOTICE

HOOK = slack.Target("https://hooks.slack.com/services/T0/B0/hunter2")
PAGER = Destination("oncall/pagerduty", pagerduty.Target("k" * 32))
CHANNEL = Destination("oncall/slack", HOOK)
KEYED_ANEW = Destination("oncall/pagerduty", pagerduty.Target("j" * 32))


class Box:
    """An outbox at a start."""

    def __init__(self, directory: Path) -> None:
        self.store, self.connection = Store(directory), connect(directory)
        self.outbox = Outbox(connect(directory), self.connection)

    def put(self, group: int, status: Status, *to: Destination) -> None:
        number = group * 10 + list(Status).index(status)
        notice = replace(NOTICE, notice_id=f"{number:064d}", group=f"{group:064d}", status=status)
        self.store.save("state-000000000001.npz", {}, {}, [Delivery(notice, one.name, one.identity) for one in to], 1)

    def tell(self, *to: Destination) -> None:
        """All that waits for these is taken."""
        for one in to:
            for pending in self.outbox.pending(one.identity):
                self.outbox.told([row.seq for row in self.outbox.rows(one.identity, pending.group)], (), 2)

    def waits(self, one: Destination) -> list[tuple[int, Status]]:
        found = [
            row for group in self.outbox.pending(one.identity) for row in self.outbox.rows(one.identity, group.group)
        ]
        return [(int(row.notice.group), row.notice.status) for row in found]

    def start(self, current: Collection[Destination], former: Collection[Destination] = ()) -> Left:
        return self.outbox.settle(current, former, 3)

    def close(self) -> None:
        self.store.close()
        self.outbox.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


def test_a_renamed_receiver_goes_on(box: Box) -> None:
    """What waits is still told, under its new name; what was told is not told again, and its resolve goes there."""
    renamed = replace(PAGER, name="sre/pagerduty")
    box.put(1, Status.FIRING, PAGER)
    box.tell(PAGER)
    box.put(2, Status.FIRING, PAGER)
    assert box.start([renamed]) == Left(0, 0, 0)
    assert box.waits(renamed) == [(2, Status.FIRING)]
    assert box.outbox.counts() == {("sre/pagerduty", "waiting"): 1, ("sre/pagerduty", "delivered"): 1}
    box.put(1, Status.FIRING, renamed)  # A replay.
    box.put(1, Status.RESOLVED, renamed)
    assert box.waits(renamed) == [(1, Status.RESOLVED), (2, Status.FIRING)]
    assert box.outbox.has_heard(renamed.identity, f"{1:064d}")


@pytest.mark.parametrize("name", ["oncall/pagerduty", "sre/pagerduty"])
def test_a_new_key_takes_over_what_waits(box: Box, name: str) -> None:
    """That is how a dead key is mended. What the old one opened nobody can resolve: that is said, once."""
    heir = replace(KEYED_ANEW, name=name)
    box.put(1, Status.FIRING, PAGER)
    box.tell(PAGER)
    box.put(2, Status.FIRING, PAGER)
    assert box.start([heir]) == Left(0, 0, 1)
    assert box.waits(heir) == [(2, Status.FIRING)]
    assert box.start([heir]) == Left(0, 0, 0)


def test_of_several_of_a_kind_the_one_of_the_same_name_takes_over(box: Box) -> None:
    """A team's new key takes what waited for that team's old one, and nothing goes to another team."""
    others = Destination("search/pagerduty", pagerduty.Target("s" * 32))
    box.put(1, Status.FIRING, PAGER)
    box.start((PAGER, others))
    assert box.start((KEYED_ANEW, others)).given_up == 0
    assert box.waits(KEYED_ANEW) == [(1, Status.FIRING)] and box.waits(others) == []
    renamed = Destination("pay/pagerduty", pagerduty.Target("p" * 32))
    assert box.start((renamed, others)).given_up == 1  # Nobody can tell whose it is.


def test_a_destination_taken_out_resolves_what_it_had_open(box: Box) -> None:
    """Once, while its key is still set; what only waited there is given up, as the others hear of it."""
    box.put(1, Status.FIRING, PAGER, CHANNEL)
    box.put(2, Status.FIRING, PAGER)
    box.put(2, Status.RESOLVED, PAGER)
    box.tell(PAGER)
    box.put(3, Status.FIRING, PAGER)
    assert box.start([CHANNEL], [replace(PAGER, name="former/pagerduty")]) == Left(1, 1, 0)
    assert box.waits(PAGER) == [(1, Status.RESOLVED)]
    assert box.waits(CHANNEL) == [(1, Status.FIRING)]
    assert box.start([CHANNEL], [PAGER]) == Left(0, 0, 0)
    box.tell(PAGER)
    assert box.start([CHANNEL], [PAGER]) == Left(0, 0, 0)


def test_a_destination_without_an_heir(box: Box) -> None:
    """Nothing waits for it for ever."""
    box.put(1, Status.FIRING, PAGER, CHANNEL)
    assert box.start([CHANNEL]) == Left(1, 0, 0)
    assert box.outbox.counts() == {("oncall/pagerduty", "dead"): 1, ("oncall/slack", "waiting"): 1}


def test_an_outbox_of_the_first_version(tmp_path: Path) -> None:
    """It knew names alone: what waits is told, what is open is resolved there, nothing is told twice."""
    old = sqlite3.connect(tmp_path / FILE_NAME)
    old.executescript(
        """
        PRAGMA application_id = 1953457011; PRAGMA user_version = 1;
        CREATE TABLE save (id INTEGER PRIMARY KEY CHECK (id = 1), arrays TEXT NOT NULL, offsets TEXT NOT NULL,
            alerts TEXT NOT NULL);
        CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, notice_id TEXT NOT NULL, destination TEXT NOT NULL,
            grp TEXT NOT NULL, urgency INTEGER NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0, added_ns INTEGER NOT NULL, not_before_ns INTEGER NOT NULL DEFAULT 0,
            ended_ns INTEGER NOT NULL DEFAULT 0, said TEXT NOT NULL DEFAULT '', UNIQUE (notice_id, destination));
        CREATE INDEX outbox_waiting ON outbox (destination, grp, seq) WHERE state = 'waiting';
        CREATE INDEX outbox_ended ON outbox (ended_ns) WHERE state <> 'waiting';
        """
    )
    for number, state in ((1, "delivered"), (2, "waiting")):
        notice = replace(NOTICE, notice_id=f"{number:064d}", group=f"{number:064d}")
        old.execute(
            "INSERT INTO outbox (notice_id, destination, grp, urgency, payload, state, added_ns) "
            "VALUES (?, ?, ?, 0, ?, ?, 1)",
            (notice.notice_id, PAGER.name, notice.group, to_json(notice), state),
        )
    old.commit()
    old.close()
    box = Box(tmp_path)
    assert box.start([PAGER]) == Left(0, 0, 0)
    assert box.waits(PAGER) == [(2, Status.FIRING)]
    assert box.outbox.has_heard(PAGER.identity, f"{1:064d}")
    box.close()
