"""The SQLite file of the sessions: a row for each leg, and what a writer does with rows.

It lies beside the state and is no part of it: a file that is lost or damaged costs the record, and no page.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path

from service.ingest.legs import WENT, Legs, Texts
from service.store.files import private
from service.store.transaction import transaction

SESSIONS_FILE = "sessions.sqlite"
SESSIONS_VERSION = 1
LABELS_KEPT = 100_000
"""Sets of labels whose number is remembered."""
EXPIRED_AT_ONCE = 20_000
"""Rows that one save removes: a save must not take long."""
WAL_PAGES = 10_000
"""Pages of 4 KiB that are written before SQLite brings them into the file: keys are random, so legs share few."""
_SESSIONS_ID = 0x746F6C67
_MORE = (
    "first_ns", "last_ns", "traces", *WENT, "lowest_score", "tokens_in", "tokens_out", "dollars", "failed", "weight",
)  # fmt: skip
LEG_COLUMNS = ("session", "trace", "named", *_MORE, "labels")
_SCHEMA = f"""
CREATE TABLE label (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, agent TEXT NOT NULL, version TEXT NOT NULL, model TEXT NOT NULL,
    outcome TEXT NOT NULL, UNIQUE (tenant, agent, version, model, outcome)
);
CREATE TABLE leg (id INTEGER PRIMARY KEY, {", ".join(LEG_COLUMNS)});
CREATE UNIQUE INDEX leg_session ON leg (session, first_ns, last_ns);
CREATE INDEX leg_trace ON leg (trace) WHERE named;
CREATE INDEX leg_last ON leg (last_ns);
CREATE TABLE late (
    session BLOB NOT NULL, name TEXT NOT NULL, at_ns INTEGER NOT NULL, value TEXT NOT NULL, number REAL, good INTEGER,
    source TEXT NOT NULL, heard_ns INTEGER NOT NULL, waits INTEGER NOT NULL, PRIMARY KEY (session, name, at_ns, value)
) WITHOUT ROWID;
CREATE INDEX late_waiting ON late (heard_ns) WHERE waits;
CREATE INDEX late_heard ON late (heard_ns);
"""
_WEEK = "CREATE TABLE IF NOT EXISTS week (monday_ns INTEGER NOT NULL)"
"""The last Monday on which what foretold bad ends was written back; in files of before, too, which have none."""
_INSERT = (
    f"INSERT INTO leg ({', '.join(LEG_COLUMNS)}) VALUES ({', '.join(repeat('?', len(LEG_COLUMNS)))}) "
    "ON CONFLICT DO NOTHING"
)


class SessionFileError(Exception):
    """The file cannot be used; the text says why, and what to do."""


def opened(directory: Path) -> sqlite3.Connection:
    """The writer's connection, from any thread, by one at a time. Makes the file where there is none.

    What a power cut leaves out is at most what was written last: SQLite syncs at checkpoints. A process that is killed
    loses nothing of what was committed. Raises SessionFileError, OSError or sqlite3.Error.
    """
    path = directory / SESSIONS_FILE
    os.close(private(str(path), os.O_RDWR | os.O_CREAT))
    connection = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection):
        (application,), (version,), (tables,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version", "page_count")
        )
        if not application and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_SESSIONS_ID}")
            connection.execute(f"PRAGMA user_version = {SESSIONS_VERSION}")
        elif (application, version) != (_SESSIONS_ID, SESSIONS_VERSION):
            raise SessionFileError(
                f"{path} is not a record of sessions of this version ({tables} pages, version {version}); move it away "
                "to start afresh"
            )
        connection.execute(_WEEK)


def reading(directory: Path) -> sqlite3.Connection:
    """A connection that reads what is committed, beside the writer. Raises sqlite3.Error."""
    path = directory / SESSIONS_FILE
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=2.0, uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


class LabelNumbers:
    """The numbers of sets of labels in one file. One owner: that file's writer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._known = connection, dict[Texts, int]()

    def of(self, texts: Texts) -> int:
        """The number of these, a new one where they are new."""
        number = self._known.get(texts)
        if number is None:
            if len(self._known) >= LABELS_KEPT:
                self._known.clear()
            self._connection.execute("INSERT INTO label VALUES (NULL, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", texts)
            (number,) = self._connection.execute(
                "SELECT id FROM label WHERE (tenant, agent, version, model, outcome) = (?, ?, ?, ?, ?)", texts
            ).fetchone()
            self._known[texts] = number
        return number


def insert(connection: sqlite3.Connection, legs: Legs, numbers: LabelNumbers) -> int:
    """Put legs in, within the caller's transaction; how many were new. One that is there already is the same row."""
    rows = list(_rows(legs, numbers))
    before = connection.total_changes
    connection.executemany(_INSERT, rows)
    return connection.total_changes - before


def _rows(legs: Legs, numbers: LabelNumbers) -> Iterator[Sequence[object]]:
    """Values of LEG_COLUMNS, leg by leg. NaN is NULL."""
    columns = zip(
        legs.key.tolist(), legs.trace.tolist(), legs.named.tolist(), legs.first_ns.tolist(), legs.last_ns.tolist(),
        legs.traces.tolist(), legs.went.tolist(), legs.lowest.tolist(), legs.tokens.tolist(), legs.dollars.tolist(),
        legs.failed.tolist(), legs.weight.tolist(), map(numbers.of, legs.texts), strict=True,
    )  # fmt: skip
    for key, trace, named, first_ns, last_ns, traces, went, lowest, tokens, dollars, failed, weight, labels in columns:
        yield (
            key, trace, named, first_ns, last_ns, traces, *went, lowest, *tokens, dollars, failed, weight, labels
        )  # fmt: skip


def remove_old(connection: sqlite3.Connection, before_ns: int, over: int) -> tuple[int, int]:
    """Remove the rows whose leg ended before, then `over` of the oldest others; how many of each. A share at a time."""
    old = connection.execute(
        "DELETE FROM leg WHERE id IN (SELECT id FROM leg WHERE last_ns < ? ORDER BY last_ns LIMIT ?)",
        (before_ns, EXPIRED_AT_ONCE),
    ).rowcount
    most = min(over - old, EXPIRED_AT_ONCE)
    if most <= 0:
        return old, 0
    more = connection.execute("DELETE FROM leg WHERE id IN (SELECT id FROM leg ORDER BY last_ns LIMIT ?)", (most,))
    return old, more.rowcount
