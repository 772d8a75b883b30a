# The order in which the spans of a slot are counted: that of their ends, whatever the order in which they came.
#
# A child ends no later than its parent, or began later. So leaves are settled before what lies above them.
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from service.ingest.kernel.memory cimport row_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.traces cimport trace_sorts_before

cdef enum:
    DIGITS = 4096       # Of 12 bits.


cdef inline bint sorts_after(Join* t, const Order* one, const Order* two) noexcept nogil:
    """Whether a span is counted after another one that ends with it."""
    cdef Span *span = &t.spans[t.waits[one.wait].span], *other = &t.spans[t.waits[two.wait].span]
    if span.start != other.start:
        return span.start < other.start
    if span.id != other.id:
        return <int64_t>span.id > <int64_t>other.id
    return trace_sorts_before(&t.traces[other.trace], &t.traces[span.trace])


cdef inline void sort(Join* t, int64_t start, row_t n) noexcept nogil:
    """Order the list: by ends, then as `sorts_after` has it, then as they came.

    The last makes it a total order: a trace that was given up and began anew may have one span twice.
    """
    cdef row_t i, first = 0
    cdef int shift
    for shift in range(0, 36, 12):  # A slot has less than 2**34 ns.
        _sort_by_digit(t, start, n, shift)
    for i in range(1, n + 1):
        if i == n or t.order[i].end != t.order[first].end:
            if i - first > 1:
                _merge_sort(t, t.order + first, t.sorted + first, i - first)
            first = i


cdef inline void _sort_by_digit(Join* t, int64_t start, row_t n, int shift) noexcept nogil:
    """Order the list by some bits of the ends, leaving equal ones as they are."""
    cdef row_t[4096] counts
    cdef row_t i, each, total = 0
    cdef uint64_t digit
    cdef Order* swap
    for i in range(DIGITS):
        counts[i] = 0
    for i in range(n):
        counts[(t.order[i].end - start) >> shift & (DIGITS - 1)] += 1
    for i in range(DIGITS):
        each = counts[i]
        counts[i] = total
        total += each
    for i in range(n):
        digit = (t.order[i].end - start) >> shift & (DIGITS - 1)
        t.sorted[counts[digit]] = t.order[i]
        counts[digit] += 1
    swap = t.order
    t.order, t.sorted = t.sorted, swap


cdef inline void _merge_sort(Join* t, Order* list, Order* scratch, row_t n) noexcept nogil:
    """Order those that end together, leaving equal ones as they are. They may be all of the slot."""
    cdef row_t width = 1, low, middle, high, left, right, i
    while width < n:
        low = 0
        while low < n:
            middle, high = min(low + width, n), min(low + 2 * width, n)
            left, right = low, middle
            for i in range(low, high):
                if left < middle and (right >= high or not sorts_after(t, &list[left], &list[right])):
                    scratch[i] = list[left]
                    left += 1
                else:
                    scratch[i] = list[right]
                    right += 1
            low = high
        memcpy(list, scratch, <size_t>n * sizeof(Order))
        width *= 2
