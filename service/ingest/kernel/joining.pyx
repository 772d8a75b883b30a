"""Stretches of the traces of all partitions into their sessions: by the kernels that do the same with spans.

A trace is here what its stretches told. One span stands for all of its own: the root, as soon as one was told.
"""

from libc.math cimport NAN
from libc.stdint cimport INT64_MAX, int64_t

from service.ingest.kernel.admit cimport evict_oldest
from service.ingest.kernel.memory cimport NONE, row_t, small_t, take, tiny_t, weight_t, word_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.running cimport bear, list_long
from service.ingest.kernel.sessions cimport attach, close_due, learn_late
from service.ingest.kernel.stretch cimport *
from service.ingest.kernel.structs cimport structs
from service.ingest.kernel.tables cimport Tables
from service.ingest.kernel.traces cimport add, drop_forgotten, find_trace, offer_again, open_trace, repeats_of
from service.ingest.kernel.units cimport Cost, lower, one_more

import numpy as np

from service.ingest.kernel.structs import TYPES

STRETCH = TYPES["stretches"]

cdef enum:
    # Ids of the spans that stand for all spans of a trace, and for its tool that was called again.
    STAND_IN = 1
    CALLED_AGAIN = 2
    NOT_COME = 3        # The parent of what stands for a trace without a root.


cdef row_t _span(Join* t, row_t trace, int id, int parent_id, row_t reading, row_t resource) noexcept nogil:
    """Put a span into a trace."""
    cdef row_t row = take(&t.span_table)
    cdef Span* span = &t.spans[row]
    span.id, span.parent_id, span.start, span.response = id, parent_id, INT64_MAX, 0
    span.trace, span.parent, span.wait, span.next = trace, NONE, NONE, NONE
    span.tenant, span.weight, span.flags, span.times = 0, 1.0, 0, 0
    span.reading, span.resource = <small_t>reading, <small_t>resource
    add(t, &t.traces[trace], row)
    return row


cdef Span* _stand_in(Join* t, row_t trace) noexcept nogil:
    """The span that stands for a trace. It was the first of two at most."""
    cdef Span* span = &t.spans[t.traces[trace].spans]
    return span if span.next < 0 else &t.spans[span.next]


cdef void _stand(Join* t, row_t row, const Stretch* stretch, row_t reading) noexcept nogil:
    """Have a trace stand as a stretch tells, but not without its root if that was told."""
    cdef Trace* trace = &t.traces[row]
    cdef Span* span = _stand_in(t, row)
    trace.named_by, trace.name_high, trace.name_low = row_of(t, span), stretch.session, 0
    if span.parent_id == 0 and not stretch.flags & S_ROOTED:
        return
    if stretch.flags & S_ROOTED:
        span.parent_id, trace.root = 0, row_of(t, span)
    span.tenant, span.weight, span.reading = stretch.tenant, stretch.weight, <small_t>reading
    span.flags = FAILED if stretch.flags & S_FAILED else 0
    offer_again(t, trace)


cdef void _bear(Join* t, row_t row, const Stretch* stretch, row_t tool, row_t resource, int64_t end_ns) noexcept nogil:
    """Have a trace and its session bear what the trace went through."""
    cdef Trace* trace = &t.traces[row]
    cdef word_t[9] words
    cdef Cost cost
    cdef int place
    cdef row_t calls
    trace.dollars += stretch.dollars
    trace.unpriced += stretch.unpriced
    trace.free += stretch.free
    for place in range(WENT):
        one_more(trace.went, place, stretch.went[place])
    calls = stretch.went[WENT_CALLS] + stretch.went[WENT_TOOLS] + stretch.went[WENT_RETRIEVALS]
    trace.tokens_in += stretch.tokens_in
    trace.tokens_out += stretch.tokens_out
    trace.lowest = NAN if stretch.flags & S_PART else lower(trace.lowest, stretch.lowest)
    if stretch.repeats > repeats_of(t, trace):
        if t.spans[trace.spans].id != CALLED_AGAIN:
            _span(t, row, CALLED_AGAIN, STAND_IN, tool, resource)
        trace.repeated = trace.spans
        t.spans[trace.repeated].times, t.spans[trace.repeated].reading = <small_t>stretch.repeats, <small_t>tool
    words[L_TENANT], words[L_AGENT] = stretch.open_tenant, stretch.open_agent
    cost.dollars, cost.source = stretch.dollars, NOTHING_TO_PRICE
    bear(&t.sessions[trace.session], words, calls, cost, stretch.tokens_in + stretch.tokens_out)
    if stretch.flags & S_CALLS:
        list_long(t, trace, end_ns)


cdef void _take(
    Join* t, const Stretch* stretch, row_t reading, row_t tool, row_t resource, int64_t end_ns
) noexcept nogil:
    cdef row_t row = find_trace(t, stretch.trace_high, stretch.trace_low)
    cdef Trace* trace
    cdef Span* span
    if stretch.flags & S_OVER and (row < 0 or t.traces[row].session < 0):
        return  # Its session closed meanwhile.
    if row < 0:
        if t.state.live_traces >= t.traces_max:
            evict_oldest(t)
        row = open_trace(t, stretch.trace_high, stretch.trace_low)
        _span(t, row, STAND_IN, NOT_COME, reading, resource)
    trace = &t.traces[row]
    _stand(t, row, stretch, reading)
    span = _stand_in(t, row)
    if stretch.flags & S_OVER:
        learn_late(t, trace, span, stretch.ended)
    else:
        span.start = stretch.first
        trace.waits += 1    # So that it outlives the session, if that is due.
        attach(t, row, span, stretch.ended)
        trace.waits -= 1
        trace.last = max(trace.last, stretch.last)
        t.sessions[trace.session].last = max(t.sessions[trace.session].last, stretch.last)
        _bear(t, row, stretch, tool, resource, end_ns)
    if stretch.outcome >= 0 and stretch.outcome_ns > trace.outcome_ns:
        trace.outcome_ns, trace.outcome = stretch.outcome_ns, <tiny_t>stretch.outcome


def told(Tables tables):
    """The stretches that are told since this was asked last: a copy, as an array of structs."""
    cdef row_t n = tables.t.n_stretches
    tables.t.n_stretches = 0
    return structs(tables.t.stretches, n, "stretches").copy() if n else np.empty(0, STRETCH)


def join_in(
    Tables tables, const Stretch[::1] stretches, const row_t[::1] readings, const row_t[::1] tools, row_t resource,
    int64_t end,
):
    """Put stretches into their sessions, in the order given, and close the sessions that are due before `end`.

    readings  what the dialects would say of the root of each one's trace
    tools     and of a call of its tool that was called again
    resource  one that says nothing
    """
    cdef Join* t = &tables.t
    cdef row_t i, n = <row_t>stretches.shape[0]
    for name in ("sessions", "traces", "labels"):
        tables.room(name, n)
    tables.room("spans", 2 * n)
    tables.room_for_units(n)
    # All sessions that are open may end in this slot; each that is met may end, and make another one end for its room.
    tables.room("ended", tables.count("sessions") + 2 * n)
    tables.room("slots", 2 * n + 1)
    with nogil:
        for i in range(n):
            _take(t, &stretches[i], readings[i], tools[i], resource, end)
        close_due(t, end)
        drop_forgotten(t)
