"""What the compiled loops do, in numpy: shorter and slower, to hold them to. Called as the loops are."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from detectors.core.columns import Floats, Ids, Places, Singles
from detectors.core.packed import Packed


def add_evidence(
    log_r: Floats, cusum: Floats, since: Ids, run: Singles, rows: Places, gain: Floats, sums: Floats, tick: int
) -> Floats:
    """Evidence of a tick."""
    fresh = cusum[rows] <= 0
    cusum[rows] = np.where(fresh, 0, cusum[rows]) + gain
    run[rows] = np.where(fresh[:, :, None], 0, run[rows]) + sums[:, None, :].astype(run.dtype)
    since[rows] = np.where(fresh, tick, since[rows])
    log_r[rows] += gain
    top: Floats = log_r[rows].max(1).astype(np.float64)
    return top


def close_blocks(
    due: Places, at_residual: Floats, at_variance: Floats, from_residual: Floats, from_variance: Floats,
    raw: Floats, square: Floats, count: Floats, winsor: float, keep: float,
) -> None:  # fmt: skip
    """Blocks of widths `due` that end."""
    share = at_variance / np.where(at_variance[:, :1] > 0, at_variance[:, :1], 1)
    for b in due:
        first = at_variance[:, 0] - from_variance[:, b - 1]
        off, spread = at_residual - from_residual[:, b - 1], first[:, None] * share
        limit = winsor * spread * np.maximum(1, raw[:, b])[:, None]
        square[:, b] += np.minimum(off * off, limit) / keep
        count[:, b] += (first > 0) / keep
        from_residual[:, b - 1], from_variance[:, b - 1] = at_residual, at_variance[:, 0]


def learn_tick(
    rows: Places, count: Floats, residual: Floats, variance: Floats, rho: Floats,
    icc_over: Floats, icc_full: Floats, effective: Floats, at_residual: Floats, at_variance: Floats,
    raw: Floats, block_square: Floats, block_count: Floats, winsor: float, keep: float,
) -> None:  # fmt: skip
    """A tick of some rows."""
    n = count[:, None]
    weight = 1 / (1 + np.maximum(n - 1, 0) * rho[rows])
    square = np.minimum(residual * residual, winsor * variance / weight)
    icc_over[rows] += np.where(n > 1, weight * weight * (square - variance), 0) / keep
    icc_full[rows] += weight * weight * variance * np.maximum(n - 1, 0) / keep
    effective[rows] += n * weight
    residual, variance = residual * weight, variance * weight
    at_residual[rows] += residual
    at_variance[rows] += variance
    limit = winsor * variance * np.maximum(1, raw[rows, 0])[:, None]
    block_square[rows, 0] += np.minimum(residual * residual, limit) / keep
    block_count[rows, 0] += (variance[:, 0] > 0) / keep


def window_counts(
    bucket: Ids, count: Floats, at: Places, offset: Ids, weight: Floats, width: int, shift: int
) -> Floats:
    """Histograms of entries."""
    place = np.clip((bucket >> shift) - offset[at], 0, width - 1)
    flat: Floats = np.bincount(at * width + place, count * weight[at], len(offset) * width).astype(float)
    return flat.reshape(len(offset), width)


def count_above(counts: Floats, position: Floats) -> Floats:
    """How many lie above a position."""
    edge = np.arange(1, counts.shape[1] + 1)
    above: Floats = (counts * np.clip(edge - position[:, None], 0, 1)).sum(1)
    return above


def add_packed(counts: Packed, unit: Singles, at: Places, values: Floats, most: float) -> None:
    """Whole numbers of a unit that doubles."""
    grown = counts[at] + values / unit[at].astype(np.float64)[:, None]
    factor = np.exp2(np.ceil(np.log2(np.maximum(grown.max(1) / most, 1))))
    counts[at] = np.rint(grown / factor[:, None])
    unit[at] *= factor


def histogram_ratios(counts: Floats, rows: Places, shift: Floats, tables: NDArray[np.int16], units: float) -> Floats:
    """Ratios by tables."""
    last = counts.shape[1] - 1
    at, bucket = np.nonzero(counts)
    whole = np.floor(shift).astype(np.int64)[at]
    part = (shift[at] - whole)[:, None]
    count = counts[at, bucket][:, None] / units
    row = rows[at]
    near = tables[row, np.clip(bucket - whole, 0, last)]
    far = tables[row, np.clip(bucket - whole - 1, 0, last)]
    each = count * ((1 - part) * near + part * far)
    total = np.zeros((len(rows), tables.shape[2]))
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    total[at[starts]] = np.add.reduceat(each, starts, axis=0)
    return total


def _log_rising(a: Floats, x: Floats) -> Floats:
    """log of a (a + 1) ... (a + x - 1), for whole and for weighted, fractional x."""
    log: Floats = gammaln(a + x) - gammaln(a)
    return log


def outcome_ratios(null: Floats, x: Floats, concentration: Floats, drops: Floats, terms_max: int) -> Floats:
    """Ratios of sessions, by gamma functions alone."""
    m = concentration[:, None]
    base = _log_rising(null * m, x)
    out = np.empty((len(x), len(drops), x.shape[1]))
    for d, drop in enumerate(drops):
        lost = np.minimum(drop, 0.9 * null[:, :1])
        fewer = _log_rising((null[:, :1] - lost) * m, x[:, :1]) - base[:, :1]
        grown = null[:, 1:] * (1 + lost / (1 - null[:, :1]))
        out[:, d, 0] = fewer[:, 0] + (_log_rising(grown * m, x[:, 1:]) - base[:, 1:]).sum(1)
        out[:, d, 1:] = fewer + _log_rising((null[:, 1:] + lost) * m, x[:, 1:]) - base[:, 1:]
    return out.reshape(len(x), -1)
