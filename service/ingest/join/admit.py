"""Spans on their way in: into their trace, and into the slot in which they ended."""

from detectors.core.columns import SLOT_NS
from service.ingest.join.labels import find_span
from service.ingest.join.rows import NONE, USED, give_back, take
from service.ingest.join.said import (
    SAID_CELLS,
    SAID_END,
    SAID_FLAGS,
    SAID_HIGH,
    SAID_ID,
    SAID_LOW,
    SAID_NAME_HIGH,
    SAID_NAME_LOW,
    SAID_NUMBERS,
    SAID_PARENT,
    SAID_READING,
    SAID_RESOURCE,
    SAID_RESPONSE,
    SAID_START,
    SAID_TENANT,
    SAID_WEIGHT,
)
from service.ingest.join.sessions import close, learn_late
from service.ingest.join.slots import put_in, slot_of
from service.ingest.join.tables import (
    DUPLICATES,
    FLOOR,
    FUTURE_SPANS,
    IS_LIVE,
    IS_LOOSE,
    LATE_SPANS,
    LATEST,
    LIVE_SPANS,
    LIVE_TRACES,
    NEGATIVES,
    OLDEST,
    PENDING,
    READ,
    READING_CELLS,
    READING_OPERATION,
    READING_RANK,
    SESSION_LAST,
    SPAN_ABOVE,
    SPAN_CELLS,
    SPAN_FLAGS,
    SPAN_ID,
    SPAN_PARENT_ID,
    SPAN_READING,
    SPAN_RESOURCE,
    SPAN_RESPONSE,
    SPAN_START,
    SPAN_TENANT,
    SPAN_TRACE,
    SPAN_WAIT,
    SPAN_WEIGHT,
    SPANS,
    SPANS_MAX,
    SPENT,
    TOLD_CELLS,
    TOLD_TOKENS,
    TRACE_CELLS,
    TRACE_COUNT,
    TRACE_FULL,
    TRACE_MARKS,
    TRACE_NAME_HIGH,
    TRACE_NAME_LOW,
    TRACE_NAME_RANK,
    TRACE_NAMED_BY,
    TRACE_ROOT,
    TRACE_SESSION,
    TRACE_WAITS,
    TRACES_FULL,
    TRACES_MAX,
    WAIT_CELLS,
    WAIT_END,
    WAIT_INPUT,
    WAIT_SPAN,
    WAITS,
    Tables,
    more,
    of_session,
    of_span,
    of_trace,
    set_span,
    set_trace,
    set_wait,
)
from service.ingest.join.traces import add, before, detach, drop_forgotten, find_trace, open_trace
from service.ingest.memory import Memory, Number, cell, kernel, put

SPANS_OF_TRACE_MAX = 10_000
"""Spans kept of one trace."""
_KEPT = 6
"""Numbers that are kept of a span: its tokens and its cost."""


@kernel
def admit(t: Tables, said: Memory, first: Number, stop: Number, future_ns: Number) -> None:
    """Take in some spans, but those that end after `future_ns`. Counts what it finds, and the latest end."""
    for number in range(first, stop):
        row = number * SAID_CELLS
        end_ns = cell(said, row + SAID_END)
        if end_ns > future_ns:
            more(t.counts, FUTURE_SPANS, 1)
            continue
        more(t.counts, READ, 1)
        if end_ns > cell(t.counts, LATEST):
            put(t.counts, LATEST, end_ns)
        _tell(t, said, row, end_ns)
        is_late = end_ns < cell(t.state, FLOOR)
        if cell(t.state, LIVE_SPANS) >= cell(t.limits, SPANS_MAX):
            evict_oldest(t)
        high, low = cell(said, row + SAID_HIGH), cell(said, row + SAID_LOW)
        trace = find_trace(t, high, low)
        if trace >= 0 and find_span(t, trace, cell(said, row + SAID_ID)) >= 0:
            more(t.counts, DUPLICATES, 1)
            continue
        if end_ns < cell(said, row + SAID_START):
            more(t.counts, NEGATIVES, 1)
        if is_late:
            more(t.counts, LATE_SPANS, 1)
            if trace < 0:  # Nothing left to join: its session, if it had one, is closed and counted.
                continue
        if trace < 0:
            if cell(t.state, LIVE_TRACES) >= cell(t.limits, TRACES_MAX):
                evict_oldest(t)
            trace = open_trace(t, high, low)
        span = _span(t, said, row, trace)
        if is_late:
            learn_late(t, trace, span, end_ns)
            if of_span(t, span, SPAN_FLAGS) & IS_LOOSE != 0:
                give_back(t.heads, SPANS, t.spans, SPAN_CELLS, span)
        else:
            _wait(t, said, row, span, end_ns)
    drop_forgotten(t)


@kernel
def _tell(t: Tables, said: Memory, row: Number, end_ns: Number) -> None:
    """Note that this service told of this operation by a span."""
    operation = cell(t.readings, cell(said, row + SAID_READING) * READING_CELLS + READING_OPERATION)
    told = cell(said, row + SAID_RESOURCE) * TOLD_CELLS
    put(t.told, told + operation, max(cell(t.told, told + operation), end_ns))
    if cell(said, row + SAID_FLAGS) & SPENT != 0:
        put(t.told, told + TOLD_TOKENS, max(cell(t.told, told + TOLD_TOKENS), end_ns))


@kernel
def _span(t: Tables, said: Memory, row: Number, trace: Number) -> Number:
    """A span's row, in its trace if there is room. A root, which ends last, always finds some."""
    span = take(t.heads, SPANS, t.spans, SPAN_CELLS)
    set_span(t, span, SPAN_ID, cell(said, row + SAID_ID))
    set_span(t, span, SPAN_PARENT_ID, cell(said, row + SAID_PARENT))
    set_span(t, span, SPAN_ABOVE, NONE)
    set_span(t, span, SPAN_TRACE, trace)
    set_span(t, span, SPAN_START, cell(said, row + SAID_START))
    set_span(t, span, SPAN_READING, cell(said, row + SAID_READING))
    set_span(t, span, SPAN_RESOURCE, cell(said, row + SAID_RESOURCE))
    set_span(t, span, SPAN_TENANT, cell(said, row + SAID_TENANT))
    set_span(t, span, SPAN_FLAGS, cell(said, row + SAID_FLAGS))
    set_span(t, span, SPAN_WEIGHT, cell(said, row + SAID_WEIGHT))
    set_span(t, span, SPAN_RESPONSE, cell(said, row + SAID_RESPONSE))
    set_span(t, span, SPAN_WAIT, NONE)
    needs_room = cell(said, row + SAID_PARENT) != 0 or of_trace(t, trace, TRACE_ROOT) >= 0
    if needs_room and of_trace(t, trace, TRACE_COUNT) >= SPANS_OF_TRACE_MAX:
        more(t.counts, TRACE_FULL, 1)
        set_span(t, span, SPAN_FLAGS, of_span(t, span, SPAN_FLAGS) | IS_LOOSE)
        return span
    add(t, trace, span)
    high, low = cell(said, row + SAID_NAME_HIGH), cell(said, row + SAID_NAME_LOW)
    if high != 0 or low != 0:
        rank = cell(t.readings, cell(said, row + SAID_READING) * READING_CELLS + READING_RANK)
        named_by, known = of_trace(t, trace, TRACE_NAMED_BY), of_trace(t, trace, TRACE_NAME_RANK)
        if named_by < 0 or rank < known or (rank == known and before(t, span, named_by)):
            set_trace(t, trace, TRACE_NAMED_BY, span)
            set_trace(t, trace, TRACE_NAME_RANK, rank)
            set_trace(t, trace, TRACE_NAME_HIGH, high)
            set_trace(t, trace, TRACE_NAME_LOW, low)
    return span


@kernel
def _wait(t: Tables, said: Memory, row: Number, span: Number, end_ns: Number) -> None:
    """Have a span wait for its slot to close."""
    wait = take(t.heads, WAITS, t.waits, WAIT_CELLS)
    set_span(t, span, SPAN_WAIT, wait)
    set_wait(t, wait, WAIT_SPAN, span)
    set_wait(t, wait, WAIT_END, end_ns)
    for i in range(_KEPT):
        set_wait(t, wait, WAIT_INPUT + i, cell(said, row + SAID_NUMBERS + i))
    put_in(t, slot_of(t, end_ns - end_ns % SLOT_NS), wait, end_ns)
    more(t.state, PENDING, 1)
    trace = of_span(t, span, SPAN_TRACE)
    set_trace(t, trace, TRACE_WAITS, of_trace(t, trace, TRACE_WAITS) + 1)


@kernel
def evict_oldest(t: Tables) -> None:
    """Give up the oldest trace; its session closes. What waits in it is still counted, and joins nothing."""
    more(t.counts, TRACES_FULL, 1)
    oldest = cell(t.state, OLDEST)
    session = of_trace(t, oldest, TRACE_SESSION)
    if session >= 0:
        close(t, session, of_session(t, session, SESSION_LAST))
    is_there = cell(t.traces, oldest * TRACE_CELLS) == USED
    if is_there and of_trace(t, oldest, TRACE_MARKS) & IS_LIVE != 0:
        detach(t, oldest)
