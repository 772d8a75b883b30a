"""What became of rows of the outbox, told to an outbox elsewhere: it does not send what was told already."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from alertrules.notice import from_json
from service.store.schema import add
from service.store.transaction import transaction

STATES = ("delivered", "replaced", "over")
"""What a row becomes that is not sent any more. What was given up is decided again."""


class Entry(NamedTuple):
    """A row that waits no more.

    payload  its notice, as the outbox keeps it
    said     what the destination said of where it keeps it; empty where it did not
    """

    payload: str
    destination: str
    target: str
    state: str
    said: str
    ended_ns: int


def entries(
    connection: sqlite3.Connection, seqs: Iterable[int], state: str, said: str, now_ns: int
) -> list[Entry]:  # fmt: skip
    """The rows of these numbers, as they are to become."""
    found = []
    for seq in seqs:
        row = connection.execute("SELECT payload, destination, target FROM outbox WHERE seq = ?", (seq,)).fetchone()
        if row is not None:
            payload, destination, target = row
            found.append(Entry(payload, destination, target, state, said, now_ns))
    return found


def take_in(connection: sqlite3.Connection, told: Iterable[Entry]) -> int:
    """Make rows what they have become elsewhere, and put in those that are not known yet; how many that were.

    A row that a later save would put in is known then, and not added again. What waits no more is left as it is.
    """
    count = 0
    with transaction(connection):
        for one in told:
            notice = from_json(one.payload)
            add(connection, notice, one.destination, one.target, one.ended_ns)
            count += connection.execute(
                "UPDATE outbox SET state = ?, said = ?, ended_ns = ?, attempts = attempts + 1 WHERE state = 'waiting' "
                "AND notice_id = ? AND target = ?",
                (one.state, one.said, one.ended_ns, notice.notice_id, one.target),
            ).rowcount
    return count
