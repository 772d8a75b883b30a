"""The order in which the spans of a slot are counted: that of their ends, whatever the order in which they came.

A child ends no later than its parent, or began later: leaves are settled before what lies above them.
"""

from service.ingest.join.tables import SPAN_ID, SPAN_START, SPAN_TRACE, WAIT_SPAN, Tables, of_span, of_wait
from service.ingest.join.traces import is_before
from service.ingest.memory import Number, cell, kernel, put


@kernel
def order_ties(t: Tables, n: Number) -> None:
    """Order those of the list that end together. It is in the order of the ends, which stand beside it."""
    first = 0
    for i in range(1, n + 1):
        if i == n or cell(t.ends, i) != cell(t.ends, first):
            if i - first > 1:
                _order(t, first, i - first)
            first = i


@kernel
def _order(t: Tables, first: Number, size: Number) -> None:
    """Order so many of the list, by a heap: they may be all of it."""
    for at in range(size // 2 - 1, -1, -1):
        _sink(t, first, size, at, cell(t.order, first + at))
    for left in range(size - 1, 0, -1):
        wait = cell(t.order, first + left)
        put(t.order, first + left, cell(t.order, first))
        _sink(t, first, left, 0, wait)


@kernel
def _sink(t: Tables, first: Number, size: Number, at: Number, wait: Number) -> None:
    """Put a span into a heap whose last is first, at a place or below it."""
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and _is_first(t, cell(t.order, first + below), cell(t.order, first + below + 1)):
            below += 1
        if not _is_first(t, wait, cell(t.order, first + below)):
            break
        put(t.order, first + at, cell(t.order, first + below))
        at = below
    put(t.order, first + at, wait)


@kernel
def _is_first(t: Tables, wait: Number, other: Number) -> Number:
    """Whether a span is counted before another one that ends with it."""
    span, other = of_wait(t, wait, WAIT_SPAN), of_wait(t, other, WAIT_SPAN)
    start_ns, other_ns = of_span(t, span, SPAN_START), of_span(t, other, SPAN_START)
    if start_ns != other_ns:
        return start_ns > other_ns
    span_id, other_id = of_span(t, span, SPAN_ID), of_span(t, other, SPAN_ID)
    if span_id != other_id:
        return span_id < other_id
    return is_before(t, of_span(t, span, SPAN_TRACE), of_span(t, other, SPAN_TRACE))
