"""The outbox's table, and how rows come into it and are shed: inside the transaction of a save."""

import sqlite3

from alertrules.notice import Notice, to_json

URGENCY = {"critical": 0, "page": 0, "error": 1, "warning": 2, "info": 3}
UNKNOWN_URGENCY = 1


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
    connection.execute("CREATE INDEX outbox_ended ON outbox (ended_ns) WHERE state <> 'waiting'")
    know_targets(connection)


def know_targets(connection: sqlite3.Connection) -> None:
    """From the outbox's first form, which knew destinations by their names alone. Rows of it get their target later."""
    connection.execute("ALTER TABLE outbox ADD COLUMN target TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE outbox ADD COLUMN status TEXT NOT NULL DEFAULT ''")
    connection.execute("UPDATE outbox SET status = json_extract(payload, '$.status')")
    connection.execute("DROP INDEX IF EXISTS outbox_waiting")
    connection.execute("CREATE INDEX outbox_waiting ON outbox (target, grp, seq) WHERE state = 'waiting'")
    connection.execute("CREATE INDEX outbox_told ON outbox (target, grp) WHERE state IN ('delivered', 'over')")


def set_aside(connection: sqlite3.Connection, version: int) -> None:
    """Keep a newer version's outbox under another name, where nothing reads it, and begin an empty one.

    Raises sqlite3.Error where there is none.
    """
    others = "SELECT type, name FROM sqlite_master WHERE tbl_name = 'outbox' AND type <> 'table' AND sql IS NOT NULL"
    for kind, name in connection.execute(others).fetchall():
        connection.execute(f'DROP {kind} "{name}"')
    connection.execute(f"DROP TABLE IF EXISTS outbox_of_version_{version}")
    connection.execute(f"ALTER TABLE outbox RENAME TO outbox_of_version_{version}")
    create_outbox(connection)


def add(connection: sqlite3.Connection, notice: Notice, destination: str, target: str, now_ns: int) -> None:
    """Put a notice in, inside the caller's transaction, unless it is known for that destination or its target."""
    urgency = URGENCY.get(notice.severity, UNKNOWN_URGENCY)
    connection.execute(
        "INSERT OR IGNORE INTO outbox (notice_id, destination, target, grp, status, urgency, payload, state, added_ns) "
        "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting', ?8 "
        "WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE notice_id = ?1 AND target = ?3)",
        (notice.notice_id, destination, target, notice.group, notice.status.value, urgency, to_json(notice), now_ns),
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
