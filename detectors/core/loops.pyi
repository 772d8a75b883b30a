import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Floats, Ids, Places, Singles
from detectors.core.packed import Packed

def add_evidence(
    log_r: Floats | Singles,
    cusum: Floats | Singles,
    since: Ids,
    run: Singles,
    rows: Places,
    gain: Floats,
    sums: Floats,
    tick: int,
) -> Floats: ...
def learn_tick(
    rows: Places,
    count: Floats,
    residual: Floats,
    variance: Floats,
    rho: Floats,
    icc_over: Floats,
    icc_full: Floats,
    effective: Floats,
    at_residual: Floats,
    at_variance: Floats,
    raw: Floats,
    block_square: Floats,
    block_count: Floats,
    winsor: float,
    keep: float,
) -> None: ...
def close_blocks(
    due: Places,
    at_residual: Floats,
    at_variance: Floats,
    from_residual: Floats,
    from_variance: Floats,
    raw: Floats,
    square: Floats,
    count: Floats,
    winsor: float,
    keep: float,
) -> None: ...
def window_counts(
    bucket: Ids, count: Floats, at: Places, offset: Ids, weight: Floats, width: int, shift: int
) -> Floats: ...
def count_above(counts: Floats, position: Floats) -> Floats: ...
def add_packed(counts: Packed, unit: Singles, at: Places, values: Floats, most: float) -> None: ...
def histogram_ratios(
    counts: Floats, rows: Places, shift: Floats, tables: NDArray[np.int16], units: float
) -> Floats: ...
def outcome_ratios(null: Floats, x: Floats, concentration: Floats, drops: Floats, terms_max: int) -> Floats: ...
