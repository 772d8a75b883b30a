"""`python -m tests.mutants` takes ten minutes, so only that its changes still fit the code is held here."""

from pathlib import Path

import pytest

from tests.mutants.changes import CHANGES, Change

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.rule)
def test_a_change_fits(change: Change) -> None:
    """What it replaces stands in its file, once."""
    assert (ROOT / change.path).read_text().count(change.before) == 1
