"""The hot path touches no memory but its own, and does nothing that C does not define."""

import pytest

from tests.sanitize.__main__ import build, libraries, watched


@pytest.mark.skipif(not libraries(), reason="no gcc with its sanitizers' libraries here")
def test_sanitizers_find_nothing() -> None:
    """A short run; `make sanitize` is the long one."""
    build()
    done = watched(600, 12)
    assert done.returncode == 0, done.stderr[-4000:]
