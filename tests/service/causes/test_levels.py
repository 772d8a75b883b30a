"""The quantile of each group, by another way: one unit after another."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.core.columns import added_up
from service.causes.levels import quantile_at, quantiles

GROUPS = 6
units = st.lists(st.tuples(st.integers(0, GROUPS - 1), st.integers(-20, 20)), min_size=1, max_size=200)


@given(units, st.sampled_from((0.5, 0.8, 0.95)))
def test_each_group_has_its_own_quantile(counted: list[tuple[int, int]], share: float) -> None:
    """It lies in the bucket of the unit that is so far up among those of its group; a group of none has none."""
    group, bucket = np.array(counted, np.int32).T
    found = quantiles(added_up(group, bucket, np.ones(len(group))), share, GROUPS)
    for one in range(GROUPS):
        mine = np.sort(bucket[group == one])
        if not len(mine):
            assert np.isnan(found[one])
            continue
        unit = mine[int(np.ceil(share * len(mine))) - 1]
        assert unit < found[one] <= unit + 1


@given(units)
def test_a_huge_weight_of_one_group_leaves_the_others_in_their_own(counted: list[tuple[int, int]]) -> None:
    """A span may say that it stands for 2**56: what other groups are told stays between their own buckets."""
    group, bucket = np.array([(0, 0), *counted], np.int32).T
    weight = np.ones(len(group))
    weight[0] = 2.0**56
    found = quantiles(added_up(group, bucket, weight), 0.8, GROUPS)
    for one in {*group.tolist()} - {0}:
        mine = bucket[group == one]
        assert mine.min() <= found[one] <= mine.max() + 1


def test_all_groups_together_are_one() -> None:
    """As if nobody had told the groups apart."""
    group, bucket = np.array([0, 1, 1, 2], np.int32), np.array([3, 4, 9, 3], np.int32)
    entries = added_up(group, bucket, np.array([1.0, 2.0, 3.0, 4.0]))
    assert quantile_at(entries, 0.5) == 4.0
    assert np.isnan(quantile_at(added_up(group[:0], bucket[:0], np.zeros(0)), 0.5))
