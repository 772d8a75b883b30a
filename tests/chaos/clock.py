"""A wall clock that can be put forward and back under a running process, and under no other."""

import mmap
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
FURTHEST_S = 6 * 3600
"""How wrong it can become: a stream that is two days old stays a replay."""


class WallClock:
    """What processes read that are started with its `settings`; `ahead_s` is by how much it is wrong.

    It is a library of forty lines that the dynamic linker puts before the C library's clock, so all of the process
    sees one time: Python, its compiled modules, SQLite and TLS. The monotonic clock goes on as it does.
    """

    def __init__(self, directory: Path) -> None:
        file, library = directory / "clock", directory / "clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, SOURCE], check=True, timeout=60)
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), 8)
        self.ahead_s = 0.0
        self.settings: Mapping[str, str] = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}

    def step(self, seconds: float) -> None:
        """Put it forward, or back where that is negative; it stays so."""
        self.ahead_s = min(max(self.ahead_s + seconds, -FURTHEST_S), FURTHEST_S)
        struct.pack_into("q", self._page, 0, round(self.ahead_s * 1e9))
