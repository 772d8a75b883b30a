"""A change taken apart: the terms add up to it, and a cause is named where there is one, and nowhere else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.causes.terms import Shares, cause, taken_apart

LABELS = {"tool": np.array([0, 0, 1, 1, 2, 2]), "tenant": np.array([0, 1, 0, 1, 0, 1])}
UNITS = np.array([400.0, 300.0, 200.0, 300.0, 250.0, 350.0])


def shares(level0: list[float], level1: list[float], units1: np.ndarray = UNITS) -> Shares:
    return Shares(np.array(level0) * UNITS, UNITS, np.array(level1) * units1, units1)


def found(given: Shares) -> list[tuple[str, int, bool]]:
    """Label, value and whether it is a shift, of what is named."""
    return [
        (one.label, int(LABELS[one.label][one.which][0]), one.mixed) for one in cause(given, given, LABELS)
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=30),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=30, max_size=30),
)
def test_terms_add_up_to_the_change(units: list[tuple[int, int]], levels: list[tuple[float, float]]) -> None:
    """Within 5% whatever the groups are: small ones, new ones, and those that are gone."""
    units0, units1 = np.array(units, float).T
    if units0.sum() < 200 or units1.sum() < 200:
        return
    level0, level1 = np.array(levels[: len(units)]).T
    groups = Shares(level0 * units0, units0, level1 * units1, units1)
    apart = taken_apart(groups)
    # Groups that were hardly there have no level of their own: what they hid is at most their share.
    hidden = units0[units0 < 5].sum() / units0.sum()
    assert abs(apart.rate.sum() + apart.mix.sum() - groups.change) <= 0.05 * abs(groups.change) + hidden + 1e-12


def test_one_tool_fails() -> None:
    """Whatever the tenant: the tool alone is named."""
    assert found(shares([0.01] * 6, [0.01, 0.01, 0.3, 0.3, 0.01, 0.01])) == [("tool", 1, False)]


def test_one_tool_of_one_tenant_fails() -> None:
    """Both are named, the narrower one first."""
    named = found(shares([0.01] * 6, [0.01, 0.01, 0.01, 0.4, 0.01, 0.01]))
    assert sorted(named) == [("tenant", 1, False), ("tool", 1, False)]


def test_all_fail_alike() -> None:
    """Then no label is a cause, be one of them nearly all there is."""
    assert found(shares([0.01] * 6, [0.1] * 6)) == []
    most = np.array([5000.0, 4000.0, 20.0, 30.0, 20.0, 30.0])
    assert found(Shares(0.01 * most, most, 0.1 * most, most)) == []


def test_more_of_what_always_failed() -> None:
    """A shift is told as one, and not as the fault of what it goes through."""
    bad = [0.01, 0.01, 0.01, 0.01, 0.4, 0.4]
    more = np.array([200.0, 150.0, 100.0, 150.0, 500.0, 700.0])
    assert found(shares(bad, bad, more)) == [("tool", 2, True)]


def test_a_new_group_that_fails() -> None:
    """What was not there before is named by what it does, as it cannot have got worse."""
    units0 = np.array([400.0, 300.0, 200.0, 300.0, 0.0, 0.0])
    groups = Shares(0.01 * units0, units0, np.array([0.01, 0.01, 0.01, 0.01, 0.5, 0.5]) * UNITS, UNITS)
    assert found(groups) == [("tool", 2, False)]


def test_of_two_that_are_new_the_one_that_fails() -> None:
    """All calls of now go to another model, and some to another version, too: the rest is as all was before."""
    labels = {"model": np.array([0, 1, 1]), "version": np.array([0, 0, 1])}
    units0, units1 = np.array([900.0, 0.0, 0.0]), np.array([300.0, 200.0, 200.0])

    def named(level1: list[float]) -> list[tuple[str, int]]:
        given = Shares(0.01 * units0, units0, np.array(level1) * units1, units1)
        return [(one.label, int(labels[one.label][one.which][0])) for one in cause(given, given, labels)]

    assert named([0.01, 0.01, 0.4]) == [("version", 1)]
    assert named([0.01, 0.4, 0.4]) == [("model", 1)]


def test_too_few_to_tell() -> None:
    """Where nobody can say what all else did, nothing is named."""
    few = np.array([3.0, 2.0, 40.0, 60.0, 1.0, 2.0])
    assert found(Shares(0.01 * UNITS, UNITS, np.array([0, 0, 8.0, 12.0, 0, 0]), few)) == []
