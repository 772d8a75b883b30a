"""The short form of `python -m tests.chaos`: some of everything fails, and the same is told."""

import asyncio
import random
from pathlib import Path

from tests.chaos.__main__ import run, shown

FAULTS = ("partitions taken away", "clock put back", "disk full", "daemon killed", "network cut", "clock put forward")
"""The daemon is at work when its clock and its disk are touched: it says so, then."""


def test_everything_fails(tmp_path: Path) -> None:
    """Nothing is lost, nothing is invented, and at most one post a kill is sent twice."""
    found = asyncio.run(run(tmp_path, FAULTS, random.Random(3)))
    assert not found.wrong, "\n".join(shown(found))
    assert found.figures["incidents that should be told"] >= 10
    assert found.figures["partitions that another member held"] >= 1
    assert found.figures["times it said that it cannot save"] >= 1
    assert found.figures["times it said that its clock was put forward or back"] >= 1
