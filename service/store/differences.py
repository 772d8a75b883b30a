"""A save's arrays as what differs from those of an earlier save, its base, by words of eight bytes.

Where there are many series most of their numbers stand still from save to save, and most others are one of a row's.
The base is read from its file as it is compared with, so nothing is kept of it in memory but where its arrays lie.

An array is told in one of three ways: `whole/NAME`; or `words/NAME`, the words that differ, with `mask/NAME`, a bit a
word; or by its name alone, where it is the same.
"""

import os
import struct
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Arrays

WORTH_BYTES = 16 * 2**20
"""Arrays of fewer bytes are written whole, as that takes no time: one file less to be damaged."""
SHARE_MAX = 0.5
"""Where more than this share of all bytes would be written, the arrays are written whole, as the next base."""
_WORD = 8
_CHUNK_WORDS = 2**17
"""How many words are compared at once: a megabyte, which stays in the processor's cache."""
_LOCAL = struct.Struct("<26xHH")
"""The header before each member of a ZIP file; the lengths of the name and of more that come before its bytes."""
_BEGIN, _FORMAT = struct.Struct("<8sH"), np.lib.format.magic(1, 0)
"""What an array begins with: its format, and the length of the header that follows."""
_BEGIN_MAX = 8192
"""Of a member, that are read to find where its array begins; one whose header is longer is told whole."""
Words = NDArray[np.uint64]
Entries = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Differing:
    """What to write of a save that has a base; `same` names the arrays that are as they are there."""

    base: str
    entries: Entries
    same: list[str]


@dataclass(frozen=True)
class _Member:
    """Where the bytes of an array lie in a file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Base:
    """An array file that is open to be compared with. Raises OSError or ValueError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = os.open(path, os.O_RDONLY)
        try:
            self._members = _members(path)
        except Exception:
            self.close()
            raise
        self._read = np.zeros(_CHUNK_WORDS, np.uint64)

    def close(self) -> None:
        os.close(self._file)

    def differing(self, arrays: Arrays) -> Differing | None:
        """What differs; None where it is so much that the arrays had better be written whole.

        Raises OSError where the base cannot be read any more.
        """
        room = sum(array.nbytes for array in arrays.values()) * SHARE_MAX
        entries, same = Entries(), list[str]()
        for name, array in arrays.items():
            told = self._told(name, np.asarray(array))
            if told:
                entries |= told
                room -= sum(each.nbytes for each in told.values())
            else:
                same.append(name)
            if room < 0:
                return None
        return Differing(self.name, entries, same)

    def _told(self, name: str, array: NDArray[Any]) -> Entries:
        """An array by what it is written as; nothing if it is the same."""
        was = self._members.get(name)
        if was is None or was.shape != array.shape or was.dtype != array.dtype:
            return {f"whole/{name}": array}
        words = _words(array)
        differs = np.empty(len(words), np.bool_)
        for begin in range(0, len(words), _CHUNK_WORDS):
            piece = words[begin : begin + _CHUNK_WORDS]
            there = self._words(was.offset + begin * _WORD, min(len(piece) * _WORD, array.nbytes - begin * _WORD))
            np.not_equal(piece, there, out=differs[begin : begin + _CHUNK_WORDS])
        count = int(np.count_nonzero(differs))
        if count > len(words) // 2:
            return {f"whole/{name}": array}
        return {f"mask/{name}": np.packbits(differs), f"words/{name}": words[differs]} if count else {}

    def _words(self, offset: int, size: int) -> Words:
        """So many bytes of the file as words, the last one filled up with zeros."""
        words = self._read[: -(-size // _WORD)]
        words[-1] = 0
        if os.preadv(self._file, [words.view(np.uint8)[:size].data], offset) != size:
            raise OSError(f"{self.name} became shorter")
        return words


def applied(entries: Arrays, base: Arrays, same: Collection[str]) -> Entries:
    """The arrays that `Base.differing` was told of. Raises KeyError or ValueError where they do not fit the base."""
    found = {name: np.asarray(base[name]) for name in same}
    for entry, array in entries.items():
        way, _, name = entry.partition("/")
        if way == "whole":
            found[name] = np.asarray(array)
        elif way == "words":
            was, mask = np.asarray(base[name]), np.asarray(entries[f"mask/{name}"], np.uint8)
            words = _words(was).copy()
            words[np.unpackbits(mask, count=len(words)).astype(np.bool_)] = array
            found[name] = words.view(np.uint8)[: was.nbytes].view(was.dtype).reshape(was.shape)
    return found


def _words(array: NDArray[Any]) -> Words:
    """The array's bytes as words, the last one filled up with zeros; without a copy where none is needed.

    >>> _words(np.array([1, 0, 0, 0, 0, 0, 0, 0, 2], np.uint8)).tolist()
    [1, 2]
    """
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if len(flat) % _WORD:
        flat = np.concatenate([flat, np.zeros(-len(flat) % _WORD, np.uint8)])
    return flat.view(np.uint64)


def _members(path: Path) -> dict[str, _Member]:
    """Where each array of a file lies, by name. Raises OSError, ValueError, struct.error or zipfile.BadZipFile."""
    found = dict[str, _Member]()
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for one in archive.infolist():
            if one.compress_type != zipfile.ZIP_STORED or not one.filename.endswith(".npy"):
                continue
            begin = os.pread(file.fileno(), _BEGIN_MAX, one.header_offset)
            at = _LOCAL.size + sum(_LOCAL.unpack_from(begin))
            magic, size = _BEGIN.unpack_from(begin, at)
            end = at + _BEGIN.size + size
            if magic != _FORMAT or end > len(begin):
                continue
            shape, is_fortran, dtype = _header(begin[at + len(_FORMAT) : end])
            if not is_fortran:
                found[one.filename.removesuffix(".npy")] = _Member(one.header_offset + end, dtype, shape)
    return found


@lru_cache(maxsize=4096)
def _header(told: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape of an array, whether it is in Fortran's order, and its type: many arrays of a save have the same."""
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(BytesIO(told))
    return shape, is_fortran, dtype
