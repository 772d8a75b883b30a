"""State on one machine: an SQLite file and the array file that it names.

A save writes and syncs the arrays first, then commits one transaction that names them together with offsets, alerts
and what is to be told. So offsets never run ahead of state, and a page is as durable as the state behind it.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from alertrules.notice import Notice
from detectors.core.columns import Arrays
from service.pipeline.saved_parts import OUTBOX, Unread
from service.store.differences import WORTH_BYTES
from service.store.directory import StoreError, instance_of, locked
from service.store.files import (
    DATABASE,
    DamagedError,
    Saved,
    array_files,
    identities,
    number_of,
    private,
    read,
    saved,
    sync,
)
from service.store.generations import Generations
from service.store.outbox import WAITING_MAX
from service.store.schema import add, create_outbox, know_targets, set_aside, shed
from service.store.transaction import transaction

FILE_NAME = DATABASE
SCHEMA_VERSION = 2
SAVE_COLUMNS = ["id", "arrays", "offsets", "alerts"]
"""Of the table of saves, in all versions."""
log = logging.getLogger("tocsin")
_APPLICATION_ID = 0x746F6373


@dataclass(frozen=True)
class Delivery:
    """One notice for one destination, to be put into the outbox."""

    notice: Notice
    destination: str
    target: str  # A hash of where it leads, whatever it is called.


def connect(directory: Path) -> sqlite3.Connection:
    """A connection to the directory's file, made if there is none. Raises StoreError if it is not ours.

    May be used from any thread, by one at a time: the saver and the deliverer each have their own.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / FILE_NAME
    _make_private(path)
    try:
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be opened: {error}; see who may write there") from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with transaction(connection):
            _check(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"{path} cannot be used: {error}; move it away to start afresh") from None
    except StoreError:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """SQLite gives the files beside its own the same mode, so that must be right before it is opened."""
    try:
        os.close(private(str(path), os.O_RDWR | os.O_CREAT))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)  # Of a version that left it to the umask.
    except OSError:
        pass  # SQLite says what is wrong, in a sentence of its own.


def exposed(directory: Path) -> str:
    """Who else may write where the state is, and what to do; empty if nobody may."""
    mode = directory.stat().st_mode
    if not mode & 0o022:
        return ""
    whom = "everybody" if mode & 0o002 else "its group"
    return f"{whom} may write to {directory}, and so forge what was learnt and told; run chmod go-w {directory}"


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != _APPLICATION_ID and tables:
        raise StoreError(f"{path} is another program's file; set TOCSIN_DATA_DIR to a directory of its own")
    if application == _APPLICATION_ID and version == 1:
        know_targets(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        version = SCHEMA_VERSION
    if application == _APPLICATION_ID and version > SCHEMA_VERSION and _columns(connection) == SAVE_COLUMNS:
        set_aside(connection, version)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        version = SCHEMA_VERSION
    if application == _APPLICATION_ID and version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has version {version}, this Tocsin reads {SCHEMA_VERSION}; use the version that wrote it, "
            "or move the file away to start afresh"
        )
    if not tables:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute(
            "CREATE TABLE save (id INTEGER PRIMARY KEY CHECK (id = 1), arrays TEXT NOT NULL, offsets TEXT NOT NULL, "
            "alerts TEXT NOT NULL)"
        )
        create_outbox(connection)


def _columns(connection: sqlite3.Connection) -> list[str]:
    return [row[1] for row in connection.execute("PRAGMA table_info(save)")]


def _version(path: Path) -> int:
    """The version of a database before it is opened to be used; 0 where it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found: int = connection.execute("PRAGMA user_version").fetchone()[0]
            return found
    except sqlite3.Error:
        return 0


def _refuse_orphans(directory: Path) -> None:
    """Array files without a database were learnt by somebody. Raises StoreError: beginning afresh would end them."""
    database = directory / FILE_NAME
    if database.exists() and database.stat().st_size:
        return
    if found := array_files(directory):
        raise StoreError(
            f"{directory} holds {found[-1]} but no {FILE_NAME}, which belongs to it; restore that from a backup, "
            "or move state-*.npz away to start afresh"
        )


class Store:
    """The daemon's side: saves, and the last one back. One owner, one connection, one daemon a directory.

    instance  names the directory's state, for as long as there is one
    worth_bytes  of arrays from which on a save is told by what differs from an earlier one
    unread    the outbox, where a newer version wrote it
    """

    unread: tuple[Unread, ...] = ()

    def __init__(self, directory: Path, waiting_max: int = WAITING_MAX, worth_bytes: int = WORTH_BYTES) -> None:
        self.directory, self._waiting_max = directory, waiting_max
        self._lock = locked(directory)
        self.instance = instance_of(self._lock)
        try:
            _refuse_orphans(directory)
            version = _version(directory / FILE_NAME)
            self._connection = connect(directory)
            if version > SCHEMA_VERSION:
                self.unread = (Unread("outbox", version, SCHEMA_VERSION, OUTBOX),)
            self._arrays = Generations(directory, self._last_save(), worth_bytes)
        except (StoreError, OSError):
            self._lock.close()
            raise
        self._files = identities(directory)

    def _last_save(self) -> int:
        """The number of the last save; 0 before the first."""
        path = self.directory / FILE_NAME
        try:
            (sound,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            row = self._connection.execute("SELECT arrays FROM save").fetchone()
        except sqlite3.DatabaseError as error:
            sound, row = str(error), None
        if sound != "ok":
            self._connection.close()
            found = sound.replace("*** in database main ***", "").strip().partition("\n")[0]
            raise StoreError(f"{path} is damaged: {found}; restore the directory, or move it away to start afresh")
        if row is None:
            return 0
        last = number_of(row[0])
        if last is None:
            self._connection.close()
            raise StoreError(f"{path} is damaged: it names no array file; restore the directory, or move it away")
        return last

    def save(
        self,
        arrays_name: str,
        offsets: Mapping[str, int],
        alerts: object,
        deliveries: Iterable[Delivery],
        now_ns: int,
    ) -> None:
        """Commit one save; then remove the array files that it replaces.

        A delivery that the outbox has already, waiting or told, is not added again: a replay tells nothing twice.
        """
        texts = [json.dumps(value, allow_nan=False) for value in (dict(offsets), alerts)]
        with transaction(self._connection):
            for delivery in deliveries:
                add(self._connection, delivery.notice, delivery.destination, delivery.target, now_ns)
            shed(self._connection, now_ns, self._waiting_max)
            self._connection.execute("INSERT OR REPLACE INTO save VALUES (1, ?, ?, ?)", (arrays_name, *texts))
        self._arrays.committed(arrays_name)

    def write_arrays(self, arrays: Arrays, offsets: Mapping[str, int], alerts: object) -> str:
        """Write and sync a new array file for `save` to name."""
        return self._arrays.write(arrays, json.dumps([dict(offsets), alerts], allow_nan=False))

    def load(self) -> Saved | None:
        """The newest committed save, or where that is damaged the one before; None before the first.

        Raises StoreError where neither is whole.
        """
        row = self._connection.execute("SELECT arrays, offsets, alerts FROM save").fetchone()
        if row is None:
            return None
        path = self.directory / row[0]
        try:
            arrays, said = read(path)
        except DamagedError as error:
            return self._save_before(path, str(error))
        try:
            offsets, alerts = (json.loads(text) for text in row[1:])
        except (ValueError, TypeError, RecursionError):
            return self._alone(path, arrays, said)
        return Saved(arrays, offsets, alerts)

    def _alone(self, path: Path, arrays: Arrays, said: str) -> Saved:
        """A save whose row in the database is damaged."""
        try:
            return saved(arrays, said)
        except DamagedError:
            raise StoreError(
                f"{FILE_NAME} beside {path} is damaged: its save is not JSON; restore both, or move both away"
            ) from None

    def _save_before(self, path: Path, harm: str) -> Saved:
        """A save before the last one, whose array file is not whole: the newest that is."""
        harmed = [path.name]
        for name in self._arrays.before():
            try:
                found = saved(*read(self.directory / name))
            except DamagedError:
                harmed.append(name)
                continue
            self._arrays.leave(harmed)
            log.error("%s %s: going back to the save before, %s; what came since is read again from Kafka alone",
                      path, harm, name)  # fmt: skip
            return found
        raise StoreError(f"{path} {harm}, which {FILE_NAME} names; restore it, or move both away") from None

    def whole(self) -> tuple[bytes, dict[str, IO[bytes]]]:
        """The last save as it travels: the bytes of its database, and its array files, open, by name.

        Raises OSError or sqlite3.Error where it cannot be read.
        """
        with closing(sqlite3.connect(":memory:")) as copied:
            self._connection.backup(copied)
            database = copied.serialize()
        files: dict[str, IO[bytes]] = {}
        try:
            for name in self._arrays.needed():
                files[name] = (self.directory / name).open("rb")
        except OSError:
            for file in files.values():
                file.close()
            raise
        return database, files

    def lost(self) -> str:
        """What has become of the open files; empty while they are the ones in the directory.

        What is written to a file that was deleted or replaced is gone once the process ends.
        """
        now = identities(self.directory)
        became = [
            f"{name} was {'replaced' if now[name] else 'deleted'}"
            for name, was in self._files.items()
            if was is not None and now[name] != was
        ]
        became += [f"{name} was deleted" for name in self._arrays.missing()]
        return ", ".join(became)

    def copy(self, now_ns: int) -> list[str]:
        """Before `put_back`: write all that the open database holds beside the place where it was.

        Files of others that stand there are given other names, which are returned. Raises StoreError, OSError or
        sqlite3.Error where it cannot; nothing has changed then.
        """
        lock, now = self._lock, identities(self.directory)
        if now["lock"] != self._files["lock"]:
            lock = locked(self.directory)
            lock.truncate(0)
            lock.write(self.instance.encode())
            lock.flush()
        partial = self.directory / f"{FILE_NAME}.partial"
        partial.unlink(missing_ok=True)
        _make_private(partial)
        copied = sqlite3.connect(partial, isolation_level=None)
        try:
            self._connection.backup(copied)
        finally:
            copied.close()
        found = []
        for name, was in self._files.items():
            if name != "lock" and now[name] is not None and now[name] != was:
                found.append(f"{name}.found-{now_ns}")
                (self.directory / name).rename(self.directory / found[-1])
        if lock is not self._lock:
            self._lock.close()
            self._lock = lock
        return found

    def put_back(self) -> None:
        """Put the copy in its place and go on with it; every other connection is closed before, and opened after."""
        self._arrays.forget_base()
        self._connection.close()
        for suffix in ("-wal", "-shm"):
            (self.directory / (FILE_NAME + suffix)).unlink(missing_ok=True)
        (self.directory / f"{FILE_NAME}.partial").rename(self.directory / FILE_NAME)
        sync(self.directory)
        self._connection = connect(self.directory)
        self._files = identities(self.directory)

    def close(self) -> None:
        self._arrays.forget_base()
        self._connection.close()
        self._lock.close()
