"""Units of one slot added up by cell, in the order given: equal ones give equal sums."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from service.ingest.kernel.rows cimport (
    UNIT_DOLLARS, UNIT_FAILED, UNIT_FREE, UNIT_INPUT, UNIT_OUTPUT, UNIT_SECONDS, UNIT_TRACE_HIGH, UNIT_TRACE_LOW,
    UNIT_UNPRICED, UNIT_WEIGHT
)

import numpy as np

cdef enum:
    COUNT = 0
    SQUARES, FAILED_CALLS, INPUT_TOKENS, OUTPUT_TOKENS, COST_USD, UNPRICED_CALLS, FREE_CALLS, SUMS


cdef inline bint _stands_before(const double[:, :] units, int value, Py_ssize_t i, Py_ssize_t best) noexcept nogil:
    """Whether a unit stands for its cell rather than the best so far. Of equal ones that of the largest trace does.

    So it is the same one however the units of a slot are split, and added up again.
    """
    if best < 0:
        return True
    if units[value, i] != units[value, best]:
        return units[value, i] > units[value, best]
    if _bits(units[UNIT_TRACE_HIGH, i]) != _bits(units[UNIT_TRACE_HIGH, best]):
        return _bits(units[UNIT_TRACE_HIGH, i]) > _bits(units[UNIT_TRACE_HIGH, best])
    return _bits(units[UNIT_TRACE_LOW, i]) >= _bits(units[UNIT_TRACE_LOW, best])


cdef inline uint64_t _bits(double number) noexcept nogil:
    return (<uint64_t*>&number)[0]


def by_cell(const double[:, :] units, const int32_t[::1] cells, Py_ssize_t calls):
    """The cells that there are, in order, their sums (8, cells), and which units stand for each (3, cells).

    Sums are those of `detectors/core/columns.py`, `Slot`. The units that stand for a cell are its slowest, one that
    failed, and its dearest; -1 where it has none. The first `calls` units are calls, the others sessions, whose
    dollars are those of calls.
    """
    cdef Py_ssize_t n = cells.shape[0], i, most = -1, size = 0
    cdef int32_t* place
    cdef double weight
    for i in range(n):
        most = max(most, cells[i])
    place = <int32_t*>calloc(most + 2, sizeof(int32_t))
    if place == NULL:
        raise MemoryError
    for i in range(n):
        place[cells[i]] = 1
    for i in range(most + 1):
        size += place[i]
    found = np.empty(size, np.int32)
    totals = np.zeros((SUMS, size))
    stands = np.full((3, size), -1, np.int64)
    cdef int64_t[:, ::1] best = stands
    cdef int32_t[::1] present = found
    cdef double[:, ::1] sums = totals
    cdef int32_t at
    size = 0
    with nogil:
        for i in range(most + 1):
            if place[i]:
                present[size], place[i] = <int32_t>i, <int32_t>size
                size += 1
        for i in range(n):
            at, weight = place[cells[i]], units[UNIT_WEIGHT, i]
            sums[COUNT, at] += weight
            sums[SQUARES, at] += weight * weight
            sums[FAILED_CALLS, at] += weight * units[UNIT_FAILED, i]
            sums[INPUT_TOKENS, at] += units[UNIT_INPUT, i]
            sums[OUTPUT_TOKENS, at] += units[UNIT_OUTPUT, i]
            sums[COST_USD, at] += units[UNIT_DOLLARS, i] if i < calls else 0.0
            sums[UNPRICED_CALLS, at] += weight * units[UNIT_UNPRICED, i]
            sums[FREE_CALLS, at] += weight * units[UNIT_FREE, i]
            if weight > 0.0:
                if units[UNIT_SECONDS, i] >= 0.0 and _stands_before(units, UNIT_SECONDS, i, best[0, at]):
                    best[0, at] = i
                if units[UNIT_FAILED, i] > 0.0 and _stands_before(units, UNIT_FAILED, i, best[1, at]):
                    best[1, at] = i
            if units[UNIT_DOLLARS, i] > 0.0 and _stands_before(units, UNIT_DOLLARS, i, best[2, at]):
                best[2, at] = i
        free(place)
    return found, totals, stands


def by_bucket(const int32_t[::1] cells, const int32_t[::1] buckets, const double[::1] weights, int least, int most):
    """Sums of weights above zero by cell and bucket, in order: cells, buckets and sums. Buckets are least to most."""
    cdef Py_ssize_t n = cells.shape[0], i, size = 0, highest = -1, cell
    cdef int low, high, bucket
    for i in range(n):
        highest = max(highest, cells[i])
    first = np.zeros(highest + 2, np.int64)
    order = np.empty(n, np.int64)
    cdef long long[::1] begin = first
    cdef long long[::1] listed = order
    for i in range(n):
        begin[cells[i] + 1] += 1
    for i in range(highest + 1):
        begin[i + 1] += begin[i]
    for i in range(n):
        listed[begin[cells[i]]] = i
        begin[cells[i]] += 1    # It ends where the next cell begins.
    found_cells, found_buckets, found_sums = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)
    cdef int32_t[::1] into_cells = found_cells, into_buckets = found_buckets
    cdef double[::1] into_sums = found_sums
    cdef double* sums = <double*>calloc(most - least + 1, sizeof(double))
    if sums == NULL:
        raise MemoryError
    with nogil:
        for cell in range(highest + 1):
            low, high = most + 1, least - 1
            for i in range(begin[cell - 1] if cell else 0, begin[cell]):
                if weights[listed[i]] > 0:
                    bucket = buckets[listed[i]]
                    sums[bucket - least] += weights[listed[i]]
                    low, high = min(low, bucket), max(high, bucket)
            for bucket in range(low, high + 1):
                if sums[bucket - least] > 0:
                    into_cells[size], into_buckets[size] = <int32_t>cell, bucket
                    into_sums[size], sums[bucket - least] = sums[bucket - least], 0.0
                    size += 1
        free(sums)
    return found_cells[:size], found_buckets[:size], found_sums[:size]
