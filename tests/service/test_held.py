"""Bodies that are held until the next save lie in memory of their own, and leave nothing of it when they go."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.runtime.held import BLOCK_BYTES, Held


def test_a_copy_is_the_body_and_stays_it() -> None:
    """Whatever comes after it, of any size, in the same block or another; and nobody writes to it."""
    held = Held()
    bodies = [bytes([number]) * size for number, size in enumerate((5, 0, BLOCK_BYTES - 5, 1, 3 * BLOCK_BYTES, 7))]
    copies = [held.copy(body) for body in bodies]
    assert [bytes(copy) for copy in copies] == bodies
    with pytest.raises(TypeError):
        copies[0][0] = 1


ALONE = """
from pathlib import Path
from service.runtime.held import Held

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before, held, copies, kept = resident(), Held(), [], []
for _ in range(20_000):
    copies.append(held.copy(b"x" * 5_000))
    kept.append(b"y" * 500)
print(resident() - before)
del copies, held
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells how much of a process is in memory")
def test_what_went_is_not_resident() -> None:
    """Small bodies between objects that stay, in a process of their own: all of their pages are the system's again."""
    told = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, timeout=60).stdout
    held, after = map(int, told.split())
    assert held > 90_000_000 and after < 30_000_000
