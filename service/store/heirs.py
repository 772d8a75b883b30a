"""Who takes over what waits for a destination that is called otherwise, has another key, or is not told any more.

A destination is its target. The same target under another name goes on; a new key or hook under the same name takes
over what waits, and so does the only one of the same kind, as that is how a dead key is mended. What has no heir is
given up, and what was opened there is resolved where its key is still known.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from alertrules.groups import digest
from alertrules.notice import Status, from_json
from service.notifiers.destination import Destination
from service.notifiers.notifier import notifiers
from service.store.schema import add
from service.store.transaction import transaction

NO_HEIR = "destination removed"


@dataclass(frozen=True)
class Left:
    """What a change of receivers left behind.

    given_up  deliveries that wait for a destination that is there no more
    resolved  groups that are told as ended where nobody is told of them any more
    open      incidents that stay open, as the key that opened them is not known any more
    """

    given_up: int
    resolved: int
    open: int


def settle(
    connection: sqlite3.Connection, current: Collection[Destination], former: Collection[Destination], now_ns: int
) -> Left:
    """Give everything in the outbox to the destinations of now."""
    by_target = {one.identity: one for one in current}
    by_name = {one.name: one for one in current}
    kinds = Counter(one.kind for one in current)
    by_kind = {one.kind: one for one in current if kinds[one.kind] == 1}
    by_former = {one.identity: one for one in former if one.identity not in by_target}
    with transaction(connection):
        _know_targets(connection, by_kind)
        for one in current:
            _move(connection, "target = ? AND destination <> ?", (one.identity, one.name), one)
        resolved, open_ = _resolve(connection, by_target, by_former, now_ns)
        given_up = 0
        for target, name in _waiting(connection):
            if target in by_target:
                continue
            if heir := by_name.get(name) or by_kind.get(_kind(name)):
                _move(connection, "target = ? AND destination = ? AND state = 'waiting'", (target, name), heir)
            else:
                given_up += connection.execute(
                    "UPDATE outbox SET state = 'dead', said = ?, ended_ns = ? WHERE state = 'waiting' AND target = ? "
                    "AND destination = ? AND NOT (status = 'resolved' AND ?)",
                    (NO_HEIR, now_ns, target, name, target in by_former),
                ).rowcount
    return Left(given_up, resolved, open_)


def _know_targets(connection: sqlite3.Connection, by_kind: Mapping[str, Destination]) -> None:
    """Rows of a version that knew names alone: they are taken to lead where that kind leads now."""
    names = connection.execute("SELECT DISTINCT destination FROM outbox WHERE target = ''").fetchall()
    for (name,) in names:
        if heir := by_kind.get(_kind(name)):
            connection.execute(
                "UPDATE outbox SET target = ? WHERE target = '' AND destination = ?", (heir.identity, name)
            )


def _move(connection: sqlite3.Connection, which: str, values: tuple[str, ...], heir: Destination) -> None:
    """Rows to their heir; what that one has already is not told twice."""
    connection.execute(
        f"UPDATE OR IGNORE outbox SET destination = ?, target = ? WHERE {which}", (heir.name, heir.identity, *values)
    )
    connection.execute(f"UPDATE outbox SET state = 'replaced' WHERE state = 'waiting' AND {which}", values)


def _resolve(
    connection: sqlite3.Connection,
    current: Mapping[str, Destination],
    former: Mapping[str, Destination],
    now_ns: int,
) -> tuple[int, int]:
    """End what is open at targets that are told nothing any more; how many were, and how many nobody can end."""
    rows = connection.execute(
        "SELECT target, destination, max(seq), payload FROM outbox WHERE state = 'delivered' AND status <> 'resolved' "
        "AND NOT EXISTS (SELECT 1 FROM outbox AS later WHERE later.target = outbox.target AND later.grp = outbox.grp "
        "AND later.status = 'resolved' AND later.state IN ('delivered', 'waiting')) GROUP BY target, grp"
    ).fetchall()
    resolved = open_ = 0
    keeping = {kind for kind, notifier in notifiers().items() if notifier.habit.keeps_incidents}
    for target, name, _, payload in rows:
        if target in current:
            continue
        notice = from_json(payload)
        if one := former.get(target):
            ends = replace(
                notice,
                notice_id=digest("left", target, notice.group),
                status=Status.RESOLVED,
                title=f"No longer told here: {notice.title}",
                lines=("the receiver was changed; whether it still fires is told elsewhere",),
                at_ns=now_ns,
            )
            add(connection, ends, one.name, target, now_ns)
            resolved += 1
        else:
            open_ += _kind(name) in keeping
            connection.execute(
                "UPDATE outbox SET state = 'left' WHERE state = 'delivered' AND target = ? AND grp = ?",
                (target, notice.group),
            )
    return resolved, open_


def _waiting(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = connection.execute("SELECT DISTINCT target, destination FROM outbox WHERE state = 'waiting'")
    return [(target, name) for target, name in rows]


def _kind(name: str) -> str:
    return name.rpartition("/")[2]
