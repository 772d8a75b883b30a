"""The short form of `python -m tests.chaos`: some of everything fails, and the same is told."""

import asyncio
from pathlib import Path

from tests.chaos.__main__ import run, shown


def test_everything_fails(tmp_path: Path) -> None:
    """Nothing is lost, nothing is invented, and at most one post a kill is sent twice."""
    found = asyncio.run(run(tmp_path, faults=6, seed=3))
    assert not found.wrong, "\n".join(shown(found))
    assert found.figures["incidents that should be told"] >= 10
