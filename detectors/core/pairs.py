"""The state of comparisons: what is known of each series, and of each pair of them."""

import math

import numpy as np

from detectors.core.beside import FIRST_STAKE, RATIOS
from detectors.core.columns import Arrays, Bytes, Floats, Ids, Singles
from detectors.core.rows import column, dataclass, resize, restore
from detectors.core.side import CUTS, MEASURES, MEASURES_BEFORE, SHAPES, WIDTH, widened


@dataclass(eq=False)
class Known:
    """What is known of each series, compared or not: (S,) ticks of the first and last unit, -1 before, and decayed
    units (S, 2) of which the second is failed. `kin` numbers those that differ in one label; -1 is not met yet.
    (S, M) `told` are the measures that it ever said anything of, (S, W) `lasts` durations of its units, which a day
    halves."""

    kin: Ids = column(fill=-1, dtype=np.int32)
    first: Ids = column(fill=-1, dtype=np.int64)
    last: Ids = column(fill=-1, dtype=np.int64)
    usual: Floats = column(2)
    begun: Ids = column(fill=-1, dtype=np.int64)
    doubted: Ids = column(fill=-1, dtype=np.int32)
    told: Bytes = column(len(MEASURES), dtype=np.int8, is_later=True)
    lasts: Singles = column(WIDTH, dtype=np.float32, is_later=True)

    def __post_init__(self) -> None:
        resize(self, 0)


@dataclass(eq=False)
class Pairs:
    """The comparison of each series with an older one: M measures, J alternatives.

    old      (S,)       the older series; -1 where none is compared
    since    (S,)       tick of its beginning; `opened` of the open block's, before which nothing counts
    told     (S, M)     measures that the old version told before: these are judged
    cuts     (S, 4)     the old version's p75 and p95 in buckets, of each of SHAPES; NaN until they are known
    open     (S, M, 4)  k1, n1, k2, n2 of the open block
    sums     (S, M, 7)  the same of all blocks; and the shares, weighted alike: sum k1 n2/N, k2 n1/N, n1 n2/N
    logs     (S, M, J)  log evidence
    run      (S, M)     Page's CUSUM of the alternative of twice the rate; `from_` (S, M) the tick of its last zero
    past     (S, M, 2)  the last block's k1 - K s, and its variance
    spread   (S, M, 3)  sums of squares and of variances of differences, and how many
    better   (S,)       evidence that it is no longer worse, while it pages; of the measure `leads`
    before   (S, 2)     units of the old version before, and failed of them
    shape    (S, 4, W)  durations of the new and the old one in the blocks, and costs likewise
    spent    (S, 2, 2)  dollars and priced calls of the new and the old one
    """

    old: Ids = column(fill=-1, dtype=np.int32)
    since: Ids = column(fill=-1, dtype=np.int64)
    opened: Ids = column(fill=-1, dtype=np.int64)
    told: Bytes = column(len(MEASURES), dtype=np.int8, is_later=True)
    cuts: Floats = column(len(SHAPES) * len(CUTS), fill=math.nan)
    open: Floats = column(len(MEASURES), 4)
    sums: Floats = column(len(MEASURES), 7)
    logs: Floats = column(len(MEASURES), len(RATIOS), fill=FIRST_STAKE)
    run: Floats = column(len(MEASURES))
    from_: Ids = column(len(MEASURES), fill=-1, dtype=np.int64)
    past: Floats = column(len(MEASURES), 2)
    spread: Floats = column(len(MEASURES), 3)
    better: Floats = column()
    leads: Ids = column(dtype=np.int32)
    before: Floats = column(2)
    shape: Singles = column(2 * len(SHAPES), WIDTH, dtype=np.float32)
    spent: Floats = column(2, 2, is_later=True)

    def __post_init__(self) -> None:
        resize(self, 0)


def restore_pairs(pairs: Pairs, arrays: Arrays, prefix: str) -> None:
    """Go on from a snapshot. One of a version before knows fewer measures: of those its comparisons go on."""
    wide = {"cuts": math.nan, "open": 0.0, "sums": 0.0, "logs": FIRST_STAKE, "run": 0.0, "from_": -1, "past": 0.0}
    made = dict(arrays)
    for name, fill in {**wide, "spread": 0.0, "shape": 0.0}.items():
        made |= widened(arrays, f"{prefix}.{name}", getattr(pairs, name).shape[1], fill)
    if f"{prefix}.told" not in arrays:
        told = np.zeros((len(arrays[f"{prefix}.old"]), len(MEASURES)), np.int8)
        told[:, :MEASURES_BEFORE] = 1
        made[f"{prefix}.told"] = told
    restore(pairs, made, prefix)
