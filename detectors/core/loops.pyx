"""Loops over tables of many series, where numpy would pass over a tick once for each operation.

Each is held to its form in numpy by the tests. Arrays are C-contiguous; `rows` are the series of a tick.
"""

from libc.math cimport NAN, ceil, exp2, floor, isnan, lgamma, log, log2, rint
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t

import numpy as np

ctypedef fused real:
    float
    double

ctypedef fused packed:
    uint8_t
    uint16_t


def add_evidence(
    real[:, ::1] log_r, real[:, ::1] cusum, int32_t[:, ::1] since, float[:, :, ::1] run, const int64_t[::1] rows,
    const double[:, ::1] gain, const double[:, ::1] sums, int64_t tick,
):
    """Add `gain` (r, J) and `sums` (r, Q) to the evidence and the runs of these rows; their largest log R."""
    largest = np.full(rows.shape[0], -np.inf)
    cdef double[::1] top = largest
    cdef Py_ssize_t i, j, q
    cdef int64_t row
    with nogil:
        for i in range(rows.shape[0]):
            row = rows[i]
            for j in range(gain.shape[1]):
                if cusum[row, j] <= 0:
                    cusum[row, j] = 0
                    since[row, j] = <int32_t>tick
                    for q in range(sums.shape[1]):
                        run[row, j, q] = 0
                cusum[row, j] = <real>(cusum[row, j] + gain[i, j])
                log_r[row, j] = <real>(log_r[row, j] + gain[i, j])
                if log_r[row, j] > top[i]:
                    top[i] = log_r[row, j]
                for q in range(sums.shape[1]):
                    run[row, j, q] += <float>sums[i, q]
    return largest


def learn_tick(
    const int64_t[::1] rows, const double[::1] count, const double[:, ::1] residual, const double[:, ::1] variance,
    real[:, ::1] rho, real[:, ::1] icc_over, real[:, ::1] icc_full, real[:, ::1] effective, real[:, ::1] at_residual,
    real[:, ::1] at_variance, real[:, ::1] raw, real[:, :, ::1] block_square, real[:, ::1] block_count,
    double winsor, double keep,
):
    """Add one tick, which is a block of its own too, to the sums of these rows."""
    cdef Py_ssize_t i, a
    cdef int64_t row
    cdef double more, most, off, spread, weight, square
    with nogil:
        for i in range(rows.shape[0]):
            row, more = rows[i], max(count[i] - 1, 0.0)
            most = winsor * max(1.0, <double>raw[row, 0])
            for a in range(residual.shape[1]):
                off, spread = residual[i, a], variance[i, a]
                weight = 1 / (1 + more * rho[row, a])
                if more > 0:
                    square = min(off * off, winsor * spread / weight)
                    icc_over[row, a] = <real>(icc_over[row, a] + weight * weight * (square - spread) / keep)
                    icc_full[row, a] = <real>(icc_full[row, a] + weight * weight * spread * more / keep)
                effective[row, a] = <real>(effective[row, a] + count[i] * weight)
                off, spread = off * weight, spread * weight
                at_residual[row, a] = <real>(at_residual[row, a] + off)
                at_variance[row, a] = <real>(at_variance[row, a] + spread)
                block_square[row, 0, a] = <real>(block_square[row, 0, a] + min(off * off, most * spread) / keep)
            if variance[i, 0] > 0:
                block_count[row, 0] = <real>(block_count[row, 0] + 1 / keep)


def close_blocks(
    const int64_t[::1] due, real[:, ::1] at_residual, real[:, ::1] at_variance, real[:, :, ::1] from_residual,
    real[:, ::1] from_variance, real[:, ::1] raw, real[:, :, ::1] square, real[:, ::1] count, double winsor,
    double keep,
):
    """Add the blocks of widths `due` that end now to the sums of all rows, and begin the next ones."""
    cdef Py_ssize_t row, i, a
    cdef int64_t b
    cdef real whole, first, off
    cdef double most
    with nogil:
        for row in range(count.shape[0]):
            whole = at_variance[row, 0]
            for i in range(due.shape[0]):
                b = due[i]
                first = whole - from_variance[row, b - 1]
                if first > 0:
                    count[row, b] = <real>(count[row, b] + 1 / keep)
                    from_variance[row, b - 1] = whole
                    most = winsor * max(1.0, <double>raw[row, b]) * first
                    for a in range(at_residual.shape[1]):
                        off = at_residual[row, a] - from_residual[row, b - 1, a]
                        square[row, b, a] = <real>(
                            square[row, b, a] + min(<double>(off * off), most * (at_variance[row, a] / whole)) / keep
                        )
                        from_residual[row, b - 1, a] = at_residual[row, a]


def window_counts(
    const int32_t[::1] bucket, const double[::1] count, const int64_t[::1] at, const int32_t[::1] offset,
    const double[::1] weight, Py_ssize_t width, int shift,
):
    """Histograms (r, width) of entries: bucket, count and the row they are of; each row's window begins at `offset`."""
    dense = np.zeros((offset.shape[0], width))
    cdef double[:, ::1] sums = dense
    cdef Py_ssize_t i, place
    with nogil:
        for i in range(at.shape[0]):
            place = (bucket[i] >> shift) - offset[at[i]]
            place = min(max(place, 0), width - 1)
            sums[at[i], place] += count[i] * weight[at[i]]
    return dense


def count_above(const double[:, ::1] counts, const double[::1] position):
    """(r,) how many of each histogram lie above a position (r,), linear inside the bucket that holds it."""
    found = np.zeros(counts.shape[0])
    cdef double[::1] above = found
    cdef Py_ssize_t i, b, first
    with nogil:
        for i in range(counts.shape[0]):
            if isnan(position[i]):
                above[i] = NAN
                continue
            first = <Py_ssize_t>min(max(floor(position[i]), 0.0), <double>counts.shape[1])
            for b in range(first, counts.shape[1]):
                above[i] += counts[i, b] * min(max(b + 1 - position[i], 0.0), 1.0)
    return found


def add_packed(
    packed[:, ::1] counts, float[::1] unit, const int64_t[::1] at, const double[:, ::1] values, double most
):
    """Add `values` (r, W) to the rows `at` (r,), each once at most. A unit doubles where a bucket would overflow."""
    cdef Py_ssize_t i, b, low, high, width = counts.shape[1]
    cdef int64_t row
    cdef double finer, top, factor
    with nogil:
        for i in range(at.shape[0]):
            row = at[i]
            finer, top, low, high = 1 / <double>unit[row], 0.0, 0, width
            while low < width and values[i, low] <= 0:
                low += 1
            while high > low and values[i, high - 1] <= 0:
                high -= 1
            for b in range(low, high):
                top = max(top, counts[row, b] + values[i, b] * finer)
            if top > most:
                factor = exp2(ceil(log2(top / most)))
                finer /= factor
                unit[row] = <float>(unit[row] * factor)
                for b in range(width):
                    counts[row, b] = <packed>rint(counts[row, b] / factor + values[i, b] * finer)
            else:
                for b in range(low, high):
                    counts[row, b] = <packed>rint(counts[row, b] + values[i, b] * finer)


def histogram_ratios(
    const double[:, ::1] counts, const int64_t[::1] rows, const double[::1] shift, const int16_t[:, :, ::1] tables,
    double units,
):
    """(r, J) log ratios of `counts` (r, W), the tables of their `rows` slid by `shift` (r,) buckets."""
    cdef Py_ssize_t last = counts.shape[1] - 1, kinds = tables.shape[2], i, j, low, high, near, place, whole
    cdef double part, count
    total = np.zeros((rows.shape[0], kinds))
    cdef double[:, ::1] sums = total
    with nogil:
        for i in range(rows.shape[0]):
            whole = <Py_ssize_t>floor(shift[i])
            part = shift[i] - whole
            low, high = 0, last
            while low < last and counts[i, low] == 0:
                low += 1
            while high > low and counts[i, high] == 0:
                high -= 1
            # Between them no bucket is left out: that costs less than to ask each. Two share a place of the table.
            for near in range(low - 1, high + 1):
                count = 0.0
                if near >= 0:
                    count += (1 - part) * counts[i, near]
                if near < last:
                    count += part * counts[i, near + 1]
                count /= units
                place = min(max(near - whole, 0), last)
                for j in range(kinds):
                    sums[i, j] += count * tables[rows[i], place, j]
    return total


def outcome_ratios(
    const double[:, ::1] null, const double[:, ::1] x, const double[::1] concentration, const double[::1] drops,
    int64_t terms_max,
):
    """(r, J) log ratios of the sessions `x` (r, K), with null mixes (r, K) and concentrations (r,).

    Of whole, small x without gamma functions: log of (b (b + 1) ...) / (a (a + 1) ...), term by term.
    """
    cdef Py_ssize_t classes = x.shape[1], i, k, d, g
    cdef int64_t terms
    cdef int form
    cdef double m, sessions, a, b, before, lost, said
    out = np.zeros((x.shape[0], drops.shape[0] * classes))
    cdef double[:, ::1] sums = out
    with nogil:
        for i in range(x.shape[0]):
            m = concentration[i]
            for k in range(classes):
                sessions, a = x[i, k], null[i, k] * m
                if sessions == 0:
                    continue
                terms = <int64_t>sessions if sessions <= terms_max and sessions == floor(sessions) else 0
                before = rising(a, terms) if terms else lgamma(a + sessions) - lgamma(a)
                for d in range(drops.shape[0]):
                    lost = min(drops[d], 0.9 * null[i, 0])
                    # The good class has one form; a bad one grows in proportion, or alone.
                    for form in range(1 if k == 0 else 2):
                        if k == 0:
                            b = a - lost * m
                        else:
                            b = a * (1 + lost / (1 - null[i, 0])) if form == 0 else a + lost * m
                        if terms:
                            said = log(rising(b, terms) / before)
                        else:
                            said = lgamma(b + sessions) - lgamma(b) - before
                        if k == 0:
                            for g in range(classes):
                                sums[i, d * classes + g] += said
                        else:
                            sums[i, d * classes + (0 if form == 0 else k)] += said
    return out


cdef inline double rising(double a, int64_t terms) noexcept nogil:
    """a (a + 1) ... of so many terms."""
    cdef double product = 1.0
    cdef int64_t n
    for n in range(terms):
        product *= a + n
    return product
