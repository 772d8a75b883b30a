"""A data directory: one process at a time has it, and it names its state for good."""

import fcntl
import re
import uuid
from pathlib import Path
from typing import IO

from service.store.files import private


class StoreError(Exception):
    """What is on disk cannot be used; the text says what it is and what to do."""


def locked(directory: Path) -> IO[bytes]:
    """The directory's lock, which the system takes back however we end. Raises StoreError if another has it."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        raise StoreError(f"{directory} is not a directory; set TOCSIN_DATA_DIR to one") from None
    lock = open(directory / "lock", "a+b", opener=private)  # noqa: SIM115 - it is held until the end.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreError(f"{directory} is in use by another Tocsin; stop it, or set TOCSIN_DATA_DIR") from None
    return lock


def instance_of(lock: IO[bytes]) -> str:
    """The name that the directory's state has for good, written into its lock file at first."""
    lock.seek(0)
    name = lock.read(64).decode("ascii", "ignore")
    if not re.fullmatch("tocsin-[0-9a-f]{32}", name):
        name = f"tocsin-{uuid.uuid4().hex}"
        lock.truncate(0)
        lock.write(name.encode())
        lock.flush()
    return name
