"""State on one machine: an SQLite file and the array file that it names.

A save writes and syncs the arrays first, then commits one transaction that names them together with offsets, alerts
and what is to be told. So offsets never run ahead of state, and a page is as durable as the state behind it.
"""

import fcntl
import json
import os
import re
import sqlite3
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from alertrules.notice import Notice
from detectors.core.columns import Arrays
from service.store.outbox import WAITING_MAX
from service.store.schema import add, create_outbox, know_targets, shed
from service.store.transaction import transaction

FILE_NAME = "tocsin.db"
SCHEMA_VERSION = 2
_APPLICATION_ID = 0x746F6373
_ARRAYS_NAME = re.compile(r"state-(\d{12})\.npz")


class StoreError(Exception):
    """What is on disk cannot be used; the text says what it is and what to do."""


@dataclass(frozen=True)
class Saved:
    """One save, as it was committed."""

    arrays: Arrays
    offsets: Mapping[str, int]
    alerts: Any


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


def _private(path: str, flags: int) -> int:
    """Opens a file of state, which is nobody else's to read: telemetry's names and people's words are in it."""
    return os.open(path, flags, 0o600)


def _make_private(path: Path) -> None:
    """SQLite gives the files beside its own the same mode, so that must be right before it is opened."""
    try:
        os.close(_private(str(path), os.O_RDWR | os.O_CREAT))
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


def write_arrays(directory: Path, arrays: Arrays) -> str:
    """Write and sync a new array file, and say its name; nothing refers to it until `Store.save` does."""
    numbers = [int(match[1]) for path in directory.iterdir() if (match := _ARRAYS_NAME.fullmatch(path.name))]
    name = f"state-{max(numbers, default=0) + 1:012d}.npz"
    partial = directory / (name + ".partial")
    with open(partial, "wb", opener=_private) as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(directory / name)
    _sync_directory(directory)
    return name


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked(directory: Path) -> IO[bytes]:
    """The directory's lock, which the system takes back however we end. Raises StoreError if another has it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = open(directory / "lock", "a+b", opener=_private)  # noqa: SIM115 - it is held until the end.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreError(f"{directory} is in use by another Tocsin; stop it, or set TOCSIN_DATA_DIR") from None
    return lock


def _instance(lock: IO[bytes]) -> str:
    """The name that the directory's state has for good, written into its lock file at first."""
    lock.seek(0)
    name = lock.read(64).decode("ascii", "ignore")
    if not re.fullmatch("tocsin-[0-9a-f]{32}", name):
        name = f"tocsin-{uuid.uuid4().hex}"
        lock.truncate(0)
        lock.write(name.encode())
        lock.flush()
    return name


class Store:
    """The daemon's side: saves, and the last one back. One owner, one connection, one daemon a directory.

    instance  names the directory's state, for as long as there is one
    """

    def __init__(self, directory: Path, waiting_max: int = WAITING_MAX) -> None:
        self._directory, self._waiting_max = directory, waiting_max
        self._lock = _locked(directory)
        self.instance = _instance(self._lock)
        try:
            self._connection = connect(directory)
        except StoreError:
            self._lock.close()
            raise

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
        for path in self._directory.iterdir():
            old = _ARRAYS_NAME.fullmatch(path.name) and path.name != arrays_name
            if old or path.name.endswith(".npz.partial"):
                path.unlink(missing_ok=True)

    def write_arrays(self, arrays: Arrays) -> str:
        """Write and sync a new array file for `save` to name."""
        return write_arrays(self._directory, arrays)

    def load(self) -> Saved | None:
        """The newest committed save, None before the first. Raises StoreError if its array file is not whole."""
        row = self._connection.execute("SELECT arrays, offsets, alerts FROM save").fetchone()
        if row is None:
            return None
        path = self._directory / row[0]
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise StoreError(f"{path} is missing, which {FILE_NAME} names; restore it, or move both away") from None
        except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
            raise StoreError(f"{path} is damaged: {error}; restore it, or move it and {FILE_NAME} away") from None
        return Saved(arrays, *(json.loads(text) for text in row[1:]))

    def close(self) -> None:
        self._connection.close()
        self._lock.close()
