"""Which array files there are: the last two saves, one that shares no file with the last, and the bases of all three.

So damage to any one file costs what came since a save before it, and never all. A base is replaced once a save differs
from it in too much; how long that takes depends on how many series are busy: hours, in a fleet of which all are.
"""

import contextlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

from detectors.core.columns import Arrays
from service.store.differences import WORTH_BYTES, Base, Differing
from service.store.files import DamagedError, array_files, base_of, name_of, number_of, write


class Generations:
    """The array files that belong to the directory's saves. One owner.

    number  of the last save; 0 before the first
    worth_bytes  of arrays from which on a save is told by what differs
    """

    def __init__(self, directory: Path, number: int, worth_bytes: int = WORTH_BYTES) -> None:
        self.directory, self.number, self._worth_bytes = directory, number, worth_bytes
        self._base: Base | None = None
        self._bases = dict[int, int]()  # By the number of each save that is kept, that of the file that it needs.
        self._written = number, number  # The same of the file that was written last.
        for name in array_files(directory):
            found = number_of(name) or 0
            if found <= number:  # A later one belongs to a save that was never committed.
                self._bases[found] = self._needed(name)
        if self._bases.get(number, number) != number:
            self._open(name_of(self._bases[number]))

    def _needed(self, name: str) -> int:
        """The number of the file that this one needs, its own where it is damaged."""
        with contextlib.suppress(DamagedError):
            return number_of(base_of(self.directory / name)) or 0
        return number_of(name) or 0

    def write(self, arrays: Arrays, said: str) -> str:
        """Write and sync the next save's file; one of the same number, of no save, is written over."""
        told: Differing | None = None
        if self._base and sum(array.nbytes for array in arrays.values()) >= self._worth_bytes:
            # A base that cannot be read is none: all that is needed is in memory.
            with contextlib.suppress(OSError):
                told = self._base.differing(arrays)
        number = self.number + 1
        write(self.directory, name_of(number), arrays if told is None else told, said)
        self._written = number, (number_of(told.base) or number) if told else number
        return name_of(number)

    def committed(self, name: str) -> None:
        """The database names this file now: remove those that nothing needs any more."""
        number = self.number = number_of(name) or self.number + 1
        written, base = self._written
        needed = self._bases[number] = base if written == number else number
        if needed == number:
            self.forget_base()
            self._open(name)
        saves = {number, *(max((one for one in self._bases if one < before), default=0) for before in (number, needed))}
        kept = saves | {self._bases[one] for one in saves if one in self._bases}
        for one in self._bases.keys() - kept:
            (self.directory / name_of(one)).unlink(missing_ok=True)
            del self._bases[one]

    def _open(self, name: str) -> None:
        """Take this file as the base of the saves that follow; where it cannot be read, they have none."""
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):
            path = self.directory / name
            if path.stat().st_size >= self._worth_bytes:
                self._base = Base(path)

    def forget_base(self) -> None:
        """Have the next save written whole."""
        if self._base:
            self._base.close()
        self._base = None

    def before(self) -> list[str]:
        """Saves that can be gone back to, the newest first."""
        return [name_of(one) for one in sorted(self._bases, reverse=True) if one != self.number]

    def leave(self, names: Iterable[str]) -> None:
        """Let these files be, for people: they are damaged, and no save is told by them from now on."""
        self.forget_base()
        for name in names:
            self._bases.pop(number_of(name) or 0, None)

    def missing(self) -> list[str]:
        """The files of the last save that are not in the directory."""
        return [name for name in self.needed() if not (self.directory / name).exists()]

    def needed(self) -> list[str]:
        """The files of the last save: its own, and its base where it has one."""
        needed = {self.number, self._bases.get(self.number, self.number)} - {0}
        return list(map(name_of, sorted(needed & self._bases.keys())))
