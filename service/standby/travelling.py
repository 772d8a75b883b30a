"""A data directory that travels: the last save as bytes, and a directory made of such bytes.

What travels is what a restart after a crash goes on from: the array file of the last save, its base where it has one,
and the database with alerts, offsets and outbox.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

from service.sources.state_topic import CHUNK_BYTES, GoneError
from service.store.files import DATABASE, number_of, private, sync

STATE_FORMAT = 1


class Taken(NamedTuple):
    """One save: the bytes of its database, and its array files, open, by name. Removed files stay readable so."""

    database: bytes
    files: Mapping[str, IO[bytes]]

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return len(self.database) + sum(os.fstat(file.fileno()).st_size for file in self.files.values())

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces of CHUNK_BYTES at most: what there is, as a line of JSON, then the files."""
        sizes = [[name, os.fstat(file.fileno()).st_size] for name, file in self.files.items()]
        head = json.dumps({"format": STATE_FORMAT, "files": [[DATABASE, len(self.database)], *sizes]}).encode() + b"\n"
        yield head
        for at in range(0, len(self.database), CHUNK_BYTES):
            yield self.database[at : at + CHUNK_BYTES]
        for file in self.files.values():
            while piece := file.read(CHUNK_BYTES):
                yield piece

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def unpacked(state: bytes) -> dict[str, memoryview]:
    """The files of a state, by name. Raises GoneError where it is torn, or of another version."""
    head, _, _ = state[: 1 << 16].partition(b"\n")
    try:
        told = json.loads(head)
        if told["format"] != STATE_FORMAT:
            raise GoneError(f"it has format {told['format']!r:.20}, this version reads {STATE_FORMAT}")
        sizes = [(str(name), int(size)) for name, size in told["files"]]
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise GoneError(f"it is damaged ({type(error).__name__}: {error})") from None
    found, at, view = dict[str, memoryview](), len(head) + 1, memoryview(state)
    for name, size in sizes:
        if (name != DATABASE and number_of(name) is None) or size < 0:
            raise GoneError(f"it is damaged: {name!r:.80} is not a file of a state")
        found[name] = view[at : at + size]
        at += size
    if at != len(state) or DATABASE not in found:
        raise GoneError(f"it is damaged: {len(state)} bytes are there, {at} were written")
    return found


def install(directory: Path, files: Mapping[str, memoryview]) -> None:
    """Make a directory that nobody has open hold this save and no other. Raises OSError.

    Written beside the files of before first, so that a full disk leaves these as they are.
    """
    partial = {name: directory / f"{name}.partial" for name in files}
    for name, path in partial.items():
        with open(path, "wb", opener=private) as file:
            file.write(files[name])
            file.flush()
            os.fsync(file.fileno())
    for path in list(directory.iterdir()):
        if number_of(path.name) is not None or path.name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
            path.unlink()
    for name in sorted(files, key=lambda one: one == DATABASE):  # The database last: it names the others.
        partial[name].rename(directory / name)
    sync(directory)


def offsets_of(directory: Path) -> dict[str, int] | None:
    """The offsets of the last save of a directory; None where there is none, or none that can be read."""
    path = directory / DATABASE
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=10.0)) as connection:
            row = connection.execute("SELECT offsets FROM save").fetchone()
        return {str(name): int(at) for name, at in json.loads(row[0]).items()} if row else None
    except (sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError):
        return None
