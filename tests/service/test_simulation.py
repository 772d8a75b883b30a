"""The short form of `python -m tests.simulation`: a few seeds, and that a seed is one run."""

import pytest

from tests.simulation.__main__ import simulated


@pytest.mark.parametrize("seed", range(2000, 2008))
def test_nothing_is_lost(seed: int) -> None:
    """Whatever fails and whenever the process ends: all is told, once, in order, and nothing else."""
    result = simulated(seed)
    assert result.problems == () and result.incidents > 0


def test_a_seed_is_one_run() -> None:
    """What failed once fails again; another seed is another run."""
    one, again, other = simulated(7), simulated(7), simulated(8)
    assert one == again and one.crashes > 0
    assert one.digest != other.digest
