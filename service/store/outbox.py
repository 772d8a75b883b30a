"""The outbox: every notice for every destination, until it is told, and for a week after as memory of what was told."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from alertrules.notice import Notice, Status, from_json, to_json
from detectors.core.columns import SECOND_NS

WAITING_MAX = 10_000
"""Deliveries that wait; above it the oldest of the least urgent gives way and is counted, but never a page."""
REMEMBERED_NS = 7 * 86400 * SECOND_NS

_URGENCY = {"critical": 0, "page": 0, "error": 1, "warning": 2, "info": 3}
_INFO = 3


@dataclass(frozen=True)
class Waiting:
    """The oldest delivery that waits of one group at one destination: those behind it wait for it."""

    seq: int
    destination: str
    notice: Notice
    attempts: int
    added_ns: int


def create_outbox(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, notice_id TEXT NOT NULL, destination TEXT NOT NULL,
            grp TEXT NOT NULL, urgency INTEGER NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0, added_ns INTEGER NOT NULL, not_before_ns INTEGER NOT NULL DEFAULT 0,
            ended_ns INTEGER NOT NULL DEFAULT 0, said TEXT NOT NULL DEFAULT '', UNIQUE (notice_id, destination)
        )
        """
    )
    connection.execute("CREATE INDEX outbox_waiting ON outbox (destination, grp, seq) WHERE state = 'waiting'")
    connection.execute("CREATE INDEX outbox_ended ON outbox (ended_ns) WHERE state <> 'waiting'")


def add(connection: sqlite3.Connection, notice: Notice, destination: str, now_ns: int) -> None:
    """Put a notice in, inside the caller's transaction, unless it is known for that destination."""
    urgency = _URGENCY.get(notice.severity, 1)
    connection.execute(
        "INSERT OR IGNORE INTO outbox (notice_id, destination, grp, urgency, payload, state, added_ns) "
        "VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
        (notice.notice_id, destination, notice.group, urgency, to_json(notice), now_ns),
    )


def shed(connection: sqlite3.Connection, now_ns: int, waiting_max: int) -> None:
    """Drop what waits above `waiting_max`, the least urgent first and of those the oldest; pages never."""
    (waiting,) = connection.execute("SELECT count(*) FROM outbox WHERE state = 'waiting'").fetchone()
    if waiting > waiting_max:
        connection.execute(
            "UPDATE outbox SET state = 'dropped', ended_ns = ? WHERE seq IN (SELECT seq FROM outbox WHERE state = "
            "'waiting' AND urgency > 0 ORDER BY urgency DESC, seq LIMIT ?)",
            (now_ns, waiting - waiting_max),
        )


class Outbox:
    """The deliverer's side, with two connections of its own.

    reads   what is looked up takes microseconds, waits for no writer, and may run on the event loop
    writes  what is written waits for the disk, and for a save that is under way: in a thread, one call at a time
    """

    def __init__(self, reads: sqlite3.Connection, writes: sqlite3.Connection) -> None:
        self._reads, self._writes = reads, writes

    def due(self, destination: str, now_ns: int, count_max: int) -> list[Waiting]:
        """Heads of their groups that may be sent now, pages first, then by age."""
        rows = self._reads.execute(
            "SELECT min(seq), payload, attempts, added_ns, not_before_ns, urgency FROM outbox WHERE state = 'waiting' "
            "AND destination = ? GROUP BY grp HAVING not_before_ns <= ? ORDER BY urgency, min(seq) LIMIT ?",
            (destination, now_ns, count_max),
        ).fetchall()
        return [Waiting(row[0], destination, from_json(row[1]), row[2], row[3]) for row in rows]

    def told(self, seq: int, now_ns: int) -> None:
        """It was taken; and what was told more than a week ago is forgotten."""
        self._end(seq, "delivered", "", now_ns)
        self._writes.execute("DELETE FROM outbox WHERE state <> 'waiting' AND ended_ns < ?", (now_ns - REMEMBERED_NS,))

    def put_off(self, seq: int, not_before_ns: int) -> None:
        """It was tried; try again from then on."""
        self._writes.execute(
            "UPDATE outbox SET attempts = attempts + 1, not_before_ns = ? WHERE seq = ?", (not_before_ns, seq)
        )

    def put_off_until_ns(self, now_ns: int) -> int | None:
        """When the first of what was put off may be tried again; None if nothing was."""
        row: tuple[int | None] = self._reads.execute(
            "SELECT min(not_before_ns) FROM outbox WHERE state = 'waiting' AND not_before_ns > ?", (now_ns,)
        ).fetchone()
        return row[0]

    def give_up(self, seq: int, said: str, now_ns: int) -> None:
        """A dead letter: kept for a week, for people to read."""
        self._end(seq, "dead", said, now_ns)

    def give_up_others(self, destinations: Iterable[str], now_ns: int) -> int:
        """Dead letters of what waits for a destination that is not among these any more; says how many."""
        known = list(destinations)
        marks = ", ".join("?" * len(known))
        return self._writes.execute(
            "UPDATE outbox SET state = 'dead', said = 'destination removed', ended_ns = ? WHERE state = 'waiting' "
            f"AND destination NOT IN ({marks})",
            (now_ns, *known),
        ).rowcount

    def _end(self, seq: int, state: str, said: str, now_ns: int) -> None:
        self._writes.execute(
            "UPDATE outbox SET state = ?, said = ?, ended_ns = ?, attempts = attempts + 1 WHERE seq = ?",
            (state, said, now_ns, seq),
        )

    def counts(self) -> Counter[tuple[str, str]]:
        """How many there are of each (destination, state)."""
        rows = self._reads.execute("SELECT destination, state, count(*) FROM outbox GROUP BY 1, 2")
        return Counter({(destination, state): count for destination, state, count in rows})

    def oldest_waiting_ns(self) -> int | None:
        """When the oldest waiting delivery came in; None if none waits."""
        row: tuple[int | None] = self._reads.execute(
            "SELECT min(added_ns) FROM outbox WHERE state = 'waiting'"
        ).fetchone()
        return row[0]

    def close(self) -> None:
        self._reads.close()
        self._writes.close()


def lifetime_ns(notice: Notice) -> int:
    """For how long telling this is worth trying: a resolve longest, as without it an incident stays open for ever."""
    hours = 168 if notice.status is Status.RESOLVED else 24 if _URGENCY.get(notice.severity, 1) < _INFO else 1
    return hours * 3600 * SECOND_NS
