"""The outbox: every notice for every destination, until it is told, and for a week after as memory of what was told.

A row waits until it is `delivered`, or `replaced` by a later one of its group that was, or `over`: its group ended
before it could be told; or until it is `dead` or `dropped`. Which rows are sent next is for service/store/due.py to
say, from the rows alone: so a start after a crash decides as the process before it would have.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from alertrules.notice import Notice, Status, from_json
from detectors.core.columns import SECOND_NS
from service.notifiers.destination import Destination
from service.store.entries import Entry, entries
from service.store.heirs import Left, settle
from service.store.schema import UNKNOWN_URGENCY, URGENCY
from service.store.transaction import transaction

WAITING_MAX = 10_000
"""Deliveries that wait; above it the oldest of the least urgent gives way and is counted, but never a page."""
REMEMBERED_NS = 7 * 86400 * SECOND_NS
OPEN_REMEMBERED_NS = 60 * 86400 * SECOND_NS
PUT_OFF_MAX_NS = 600 * SECOND_NS
"""Nothing is put off for longer. What seems to be was put off before the machine was started anew."""

OVER_SAID = "over before it could be told"
_INFO = URGENCY["info"]


@dataclass(frozen=True)
class Row:
    """One notice that waits for one destination."""

    seq: int
    notice: Notice
    attempts: int
    added_ns: int


class Pending(NamedTuple):
    """What waits of one group at one destination, without the notices themselves.

    pages       rows that wait and are no resolve
    is_over     the group's resolve waits too: nothing comes after it
    was_over    rows of it were found to be over before they could be told
    added_ns    when its newest row came in, Unix time; `first_ns` its oldest
    not_before  monotonic time, of the row that is put off for longest
    """

    group: str
    urgency: int
    pages: int
    is_over: bool
    was_over: bool
    attempts: int
    first_seq: int
    first_ns: int
    added_ns: int
    not_before_ns: int


class Outbox:
    """The deliverer's side, with two connections of its own.

    reads   what is looked up takes microseconds, waits for no writer, and may run on the event loop
    writes  what is written waits for the disk, and for a save that is under way: in a thread, one call at a time
    """

    def __init__(self, reads: sqlite3.Connection, writes: sqlite3.Connection) -> None:
        self._reads, self._writes = reads, writes

    def targets(self) -> set[str]:
        """The targets for which something waits."""
        return {
            target for (target,) in self._reads.execute("SELECT DISTINCT target FROM outbox WHERE state = 'waiting'")
        }

    def pending(self, target: str) -> list[Pending]:
        """What waits for a target, by group."""
        rows = self._reads.execute(
            "SELECT grp, min(urgency), sum(status <> 'resolved'), max(status = 'resolved'), EXISTS (SELECT 1 FROM "
            "outbox AS told WHERE told.target = ?1 AND told.grp = outbox.grp AND told.state = 'over'), max(attempts), "
            "min(seq), min(added_ns), max(added_ns), max(not_before_ns) FROM outbox WHERE state = 'waiting' AND "
            "target = ?1 GROUP BY grp",
            (target,),
        )
        return [
            Pending(group, urgency, pages, bool(is_over), bool(was_over), *more)
            for group, urgency, pages, is_over, was_over, *more in rows
        ]

    def rows(self, target: str, group: str) -> list[Row]:
        """What waits of one group for a target, in the order in which it came."""
        rows = self._reads.execute(
            "SELECT seq, payload, attempts, added_ns FROM outbox WHERE state = 'waiting' AND target = ? AND grp = ? "
            "ORDER BY seq",
            (target, group),
        )
        return [Row(seq, from_json(payload), attempts, added_ns) for seq, payload, attempts, added_ns in rows]

    def has_heard(self, target: str, group: str) -> bool:
        """Whether the target was told that this group fires."""
        found = self._reads.execute(
            "SELECT 1 FROM outbox WHERE target = ? AND grp = ? AND state = 'delivered' AND status <> 'resolved'",
            (target, group),
        ).fetchone()
        return found is not None

    def fires(self, target: str) -> list[Notice]:
        """The latest notice of each group that the target was told of and that has not ended since."""
        rows = self._reads.execute(
            "SELECT payload, max(seq) FROM outbox WHERE target = ?1 AND state = 'delivered' AND status <> 'resolved' "
            "AND NOT EXISTS (SELECT 1 FROM outbox AS later WHERE later.target = ?1 AND later.grp = outbox.grp "
            "AND later.status = 'resolved') GROUP BY grp",
            (target,),
        )
        return [from_json(payload) for payload, _ in rows]

    def together(self, writes: Sequence[Callable[[], Any]]) -> list[Any]:
        """Carry out writes of this outbox in one transaction: what each returns. Where one raises none is written."""
        with transaction(self._writes):
            return [write() for write in writes]

    def reference(self, target: str, group: str) -> str:
        """Where the target keeps what it was told of a group last, in its own words; empty where it did not say."""
        found = self._reads.execute(
            "SELECT said FROM outbox WHERE target = ? AND grp = ? AND state = 'delivered' AND said <> '' "
            "ORDER BY seq DESC LIMIT 1",
            (target, group),
        ).fetchone()
        return found[0] if found else ""

    def became(self, seqs: Iterable[int], replaced: Iterable[int], now_ns: int, reference: str) -> list[Entry]:
        """The rows of which `told` makes that, for an outbox elsewhere; those that are needless first."""
        needless = entries(self._reads, replaced, "replaced", "", now_ns)
        return needless + entries(self._reads, seqs, "delivered", reference, now_ns)

    def told(self, seqs: Iterable[int], replaced: Iterable[int], now_ns: int, reference: str = "") -> None:
        """These were taken, which makes others needless; and what was told long ago is forgotten.

        reference  where the target keeps it, in its own words

        What opened an incident is remembered until that is resolved.
        """
        with transaction(self._writes):
            self._end(seqs, "delivered", reference, now_ns)
            self._end(replaced, "replaced", "", now_ns)
            self._writes.execute(
                "DELETE FROM outbox WHERE state <> 'waiting' AND ended_ns < ?1 AND (ended_ns < ?2 OR state <> "
                "'delivered' OR status = 'resolved' OR EXISTS (SELECT 1 FROM outbox AS later WHERE later.target = "
                "outbox.target AND later.grp = outbox.grp AND later.status = 'resolved' AND later.state = "
                "'delivered'))",
                (now_ns - REMEMBERED_NS, now_ns - OPEN_REMEMBERED_NS),
            )

    def over(self, target: str, groups: Iterable[str], now_ns: int) -> None:
        """These groups ended before anything of them was told: their pages are not sent any more, come what may."""
        with transaction(self._writes):
            self._writes.executemany(
                "UPDATE outbox SET state = 'over', said = ?, ended_ns = ? WHERE state = 'waiting' AND target = ? AND "
                "grp = ? AND status <> 'resolved'",
                [(OVER_SAID, now_ns, target, group) for group in groups],
            )

    def over_entries(self, target: str, groups: Iterable[str], now_ns: int) -> list[Entry]:
        """The rows of which `over` makes that, for an outbox elsewhere."""
        rows = [row for group in groups for row in self.rows(target, group)]
        seqs = [row.seq for row in rows if row.notice.status is not Status.RESOLVED]
        return entries(self._reads, seqs, "over", OVER_SAID, now_ns)

    def put_off(self, seqs: Iterable[int], not_before_ns: int, said: str) -> None:
        """They were tried; try again from then on, in monotonic time."""
        with transaction(self._writes):
            self._writes.executemany(
                "UPDATE outbox SET attempts = attempts + 1, not_before_ns = ?, said = ? WHERE seq = ?",
                [(not_before_ns, said, seq) for seq in seqs],
            )

    def hasten(self, target: str) -> None:
        """It works again: nothing needs to wait for its next try."""
        self._writes.execute("UPDATE outbox SET not_before_ns = 0 WHERE state = 'waiting' AND target = ?", (target,))

    def give_up(self, seqs: Iterable[int], said: str, now_ns: int) -> None:
        """Dead letters: kept for a week, for people to read."""
        with transaction(self._writes):
            self._end(seqs, "dead", said, now_ns)

    def _end(self, seqs: Iterable[int], state: str, said: str, now_ns: int) -> None:
        self._writes.executemany(
            "UPDATE outbox SET state = ?, said = ?, ended_ns = ?, attempts = attempts + 1 WHERE seq = ?",
            [(state, said, now_ns, seq) for seq in seqs],
        )

    def settle(self, current: Collection[Destination], former: Collection[Destination], now_ns: int) -> Left:
        """Give everything to the destinations of now (heirs.py)."""
        return settle(self._writes, current, former, now_ns)

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

    def reopen(self, reads: sqlite3.Connection, writes: sqlite3.Connection) -> None:
        """After `close`: go on with other connections."""
        self._reads, self._writes = reads, writes

    def close(self) -> None:
        self._reads.close()
        self._writes.close()


def lifetime_ns(notice: Notice) -> int:
    """For how long telling this is worth trying: a resolve longest, as without it an incident stays open for ever."""
    hours = (
        168 if notice.status is Status.RESOLVED else 24 if URGENCY.get(notice.severity, UNKNOWN_URGENCY) < _INFO else 1
    )
    return hours * 3600 * SECOND_NS
