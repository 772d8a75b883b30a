"""The array files of the saves, and which files of the directory are the ones that are open.

An array file holds its save's offsets and alerts too. So a save before the last one can be gone back to, although
the database knows the last one alone. It holds all arrays, or what differs from those of another file, its base
(`differences.py`).
"""

import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Arrays
from service.store.differences import Differing, applied

DATABASE = "tocsin.db"
WATCHED = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock")
"""What must stay the same files while a daemon has them open."""
_NAME = re.compile(r"state-(\d{12})\.npz")
_SAID, _BASE = "said.json", "base.json"
_END = struct.Struct("<10xH10x")
"""What a ZIP file ends with, of which the number of its entries is looked at."""
_DAMAGE = (
    ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What numpy and zipfile raise for files that are torn, or somebody else's."""

Identity = tuple[int, int]


class DamagedError(Exception):
    """An array file that cannot be read; the message says why."""


@dataclass(frozen=True)
class Saved:
    """One save, as it was committed."""

    arrays: Arrays
    offsets: Mapping[str, int]
    alerts: Any


def private(path: str, flags: int) -> int:
    """Opens a file of state, which is nobody else's to read: telemetry's names and people's words are in it."""
    return os.open(path, flags, 0o600)


def name_of(number: int) -> str:
    """The name of the array file of a save.

    >>> name_of(7)
    'state-000000000007.npz'
    """
    return f"state-{number:012d}.npz"


def number_of(name: str) -> int | None:
    """The number of an array file, None for any other file."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def array_files(directory: Path) -> list[str]:
    """The directory's array files, the oldest first."""
    return sorted(path.name for path in directory.iterdir() if number_of(path.name) is not None)


def write(directory: Path, name: str, told: Arrays | Differing, said: str) -> None:
    """Write and sync an array file; `said` is the save's offsets and alerts in JSON."""
    partial, texts = directory / (name + ".partial"), {_SAID: said}
    if isinstance(told, Differing):
        texts[_BASE] = json.dumps([told.base, told.same])
    arrays = told.entries if isinstance(told, Differing) else told
    with open(partial, "wb", opener=private) as file:
        texts_written = {key: np.frombuffer(text.encode(), np.uint8) for key, text in texts.items()}
        _write_arrays(file, {**arrays, **texts_written})
        file.flush()
        os.fsync(file.fileno())
    partial.rename(directory / name)
    sync(directory)


def _write_arrays(file: IO[bytes], arrays: Arrays) -> None:
    """What `np.savez` writes, without a copy of each array on its way into the file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise ValueError(f"{name} would need pickle")
            # A C order of its own: told in the header, and what `np.load` reads without a copy.
            whole = np.asarray(array, order="C")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(whole))
                member.write(whole.reshape(-1).view(np.uint8).data)


def sync(directory: Path) -> None:
    """Make what was renamed in a directory last."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> tuple[Arrays, str]:
    """The arrays of a save, and what was said with them (empty in files of before). Raises DamagedError."""
    arrays, texts = _read(path)
    if not texts[_BASE]:
        return arrays, texts[_SAID]
    base, same = _based(texts[_BASE])
    try:
        there, of_base = _read(path.parent / base)
        if of_base[_BASE]:
            raise DamagedError("is not one that others may be told by")
    except DamagedError as error:
        raise DamagedError(f"needs {base}, which {error}") from None
    try:
        return applied(arrays, there, same), texts[_SAID]
    except _DAMAGE as error:
        raise DamagedError(f"does not fit {base}: {error}") from None


def base_of(path: Path) -> str:
    """The name of the file that this one needs; its own where it needs none. Raises DamagedError."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            told = _text(file[_BASE]) if _BASE in file.files else ""
    except _DAMAGE as error:
        raise DamagedError(f"is damaged: {str(error) or type(error).__name__}") from None
    return _based(told)[0] if told else path.name


def _based(told: str) -> tuple[str, list[str]]:
    """The base that a file names, and the arrays that are as they are there. Raises DamagedError."""
    try:
        base, same = json.loads(told)
        if number_of(base) is None:
            raise ValueError(f"it needs {base!r}, which is no array file")
        return str(base), [str(name) for name in same]
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"is damaged: {error}") from None


def _text(array: NDArray[Any]) -> str:
    return array.astype(np.uint8).tobytes().decode()


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """What lies in a file: its arrays, and its texts, empty where it has none. Raises DamagedError."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            handle.seek(-_END.size, os.SEEK_END)
            if (written := _END.unpack(handle.read())[0]) != len(arrays):  # zipfile does not look.
                raise DamagedError(f"is damaged: {written} arrays were written, {len(arrays)} are found")
        return arrays, {name: _text(arrays.pop(name, np.zeros(0, np.uint8))) for name in (_SAID, _BASE)}
    except FileNotFoundError:
        raise DamagedError("is missing") from None
    except _DAMAGE as error:
        raise DamagedError(f"is damaged: {str(error) or type(error).__name__}") from None


def saved(arrays: Arrays, said: str) -> Saved:
    """A save from an array file alone. Raises DamagedError where it does not hold all of it."""
    try:
        offsets, alerts = json.loads(said)
        return Saved(arrays, {str(name): int(offset) for name, offset in offsets.items()}, alerts)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"is damaged: {error}") from None


def identities(directory: Path) -> dict[str, Identity | None]:
    """Which files stand at the watched names now; None where there is none."""
    return {name: identity(directory / name) for name in WATCHED}


def identity(path: Path) -> Identity | None:
    """Which file stands there now; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
