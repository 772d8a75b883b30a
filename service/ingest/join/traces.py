"""Live traces, oldest first, each with its spans; and what a trace as a whole knows."""

from service.ingest.join.labels import is_model
from service.ingest.join.rows import MASK, NONE, enter, find, give_back, leave, soon_row, take
from service.ingest.join.tables import (
    ANSWER_MARKS,
    ANSWERED,
    FAILED,
    FIRST_ANSWER,
    FORGOTTEN,
    HAS_CALLS,
    HAS_FAILED,
    IS_INDEXED,
    IS_LIVE,
    IS_NATIVE,
    LENT_AGENT,
    LENT_BY_NAME,
    LENT_MODEL,
    LENT_PROVIDER,
    LENT_TENANT,
    LENT_VERSION,
    LIVE_SPANS,
    LIVE_TRACES,
    NEWEST,
    OLDEST,
    OP_EMBEDDING,
    READING_AGENT,
    READING_BY_NAME,
    READING_MODEL,
    READING_OPERATION,
    READING_PROVIDER,
    READING_VERSION,
    SPAN_CELLS,
    SPAN_ID,
    SPAN_NEXT,
    SPAN_PARENT_ID,
    SPAN_RESPONSE,
    SPAN_START,
    SPAN_TENANT,
    SPAN_TRACE,
    SPANS,
    TRACE_CELLS,
    TRACE_COUNT,
    TRACE_DOLLARS,
    TRACE_FIRST,
    TRACE_FREE,
    TRACE_HIGH,
    TRACE_LAST,
    TRACE_LENDERS,
    TRACE_LOW,
    TRACE_MARKS,
    TRACE_NAMED_BY,
    TRACE_NEWER,
    TRACE_OLDER,
    TRACE_OUTCOME,
    TRACE_OUTCOME_ID,
    TRACE_OUTCOME_NS,
    TRACE_ROOT,
    TRACE_SESSION,
    TRACE_SIBLING,
    TRACE_SPANS,
    TRACE_TOKENS,
    TRACE_UNPRICED,
    TRACES,
    Tables,
    flag,
    has,
    more,
    of_reading,
    of_span,
    of_trace,
    set_span,
    set_trace,
)
from service.ingest.memory import Number, cell, hash_of, kernel, put, put_number

NEVER = 2**63 - 1
FEW_SPANS = 16
"""A trace of more has its spans in an index."""
IN_TURNS = 16
"""Traces whose spans are dropped in turns."""


@kernel
def find_trace(t: Tables, high: Number, low: Number) -> Number:
    """The live trace of this id, or -1."""
    hashed, mask = hash_of(t.seed, high, low), cell(t.heads, TRACES + MASK)
    return find(t.trace_index, mask, hashed, t.traces, TRACE_CELLS, TRACE_HIGH, high, TRACE_LOW, low)


@kernel
def open_trace(t: Tables, high: Number, low: Number) -> Number:
    """A new trace, the youngest."""
    trace = take(t.heads, TRACES, t.traces, TRACE_CELLS)
    for column in range(1, TRACE_CELLS):
        set_trace(t, trace, column, 0)
    set_trace(t, trace, TRACE_HIGH, high)
    set_trace(t, trace, TRACE_LOW, low)
    set_trace(t, trace, TRACE_SPANS, NONE)
    set_trace(t, trace, TRACE_ROOT, NONE)
    set_trace(t, trace, TRACE_NAMED_BY, NONE)
    set_trace(t, trace, TRACE_MARKS, IS_LIVE)
    for field in range(6):
        set_trace(t, trace, TRACE_LENDERS + field, NONE)
    put_number(t.traces, trace * TRACE_CELLS + TRACE_TOKENS, 0.0)
    begin_leg(t, trace)
    newest = cell(t.state, NEWEST)
    set_trace(t, trace, TRACE_OLDER, newest)
    set_trace(t, trace, TRACE_NEWER, NONE)
    if newest >= 0:
        set_trace(t, newest, TRACE_NEWER, trace)
    else:
        put(t.state, OLDEST, trace)
    put(t.state, NEWEST, trace)
    more(t.state, LIVE_TRACES, 1)
    enter(t.trace_index, cell(t.heads, TRACES + MASK), hash_of(t.seed, high, low), trace)
    return trace


@kernel
def begin_leg(t: Tables, trace: Number) -> None:
    """Leave the session: what was counted of this leg is told."""
    set_trace(t, trace, TRACE_SESSION, NONE)
    set_trace(t, trace, TRACE_SIBLING, NONE)
    set_trace(t, trace, TRACE_FIRST, NEVER)
    set_trace(t, trace, TRACE_LAST, 0)
    set_trace(t, trace, TRACE_OUTCOME_NS, 0)
    set_trace(t, trace, TRACE_OUTCOME_ID, 0)
    set_trace(t, trace, TRACE_OUTCOME, -1)
    put_number(t.traces, trace * TRACE_CELLS + TRACE_DOLLARS, 0.0)
    set_trace(t, trace, TRACE_UNPRICED, 0)
    set_trace(t, trace, TRACE_FREE, 0)


@kernel
def before(t: Tables, span: Number, other: Number) -> Number:
    """Whether a span is asked before another one of its trace: roots are first, then who began first."""
    child, other_child = of_span(t, span, SPAN_PARENT_ID) != 0, of_span(t, other, SPAN_PARENT_ID) != 0
    if child != other_child:
        return other_child
    start_ns, other_ns = of_span(t, span, SPAN_START), of_span(t, other, SPAN_START)
    if start_ns != other_ns:
        return start_ns < other_ns
    return of_span(t, span, SPAN_ID) < of_span(t, other, SPAN_ID)


@kernel
def is_before(t: Tables, trace: Number, other: Number) -> Number:
    """Whether a trace's id is the lesser one."""
    high, other_high = of_trace(t, trace, TRACE_HIGH), of_trace(t, other, TRACE_HIGH)
    if high != other_high:
        return high < other_high
    return of_trace(t, trace, TRACE_LOW) < of_trace(t, other, TRACE_LOW)


@kernel
def enter_span(t: Tables, trace: Number, span: Number) -> None:
    """Have a span of many found by its id, and by its response id if it was the first to be counted with that."""
    mask = cell(t.heads, SPANS + MASK)
    enter(t.span_index, mask, hash_of(t.seed, of_span(t, span, SPAN_ID), trace), span)
    if has(t, span, ANSWERED) != 0:
        enter(t.span_index, mask, hash_of(t.seed, of_span(t, span, SPAN_RESPONSE), -1 - trace), span)


@kernel
def add(t: Tables, trace: Number, span: Number) -> None:
    """Put a span into its trace; the order of arrival makes no difference to what the trace then knows."""
    set_span(t, span, SPAN_NEXT, of_trace(t, trace, TRACE_SPANS))
    set_trace(t, trace, TRACE_SPANS, span)
    set_trace(t, trace, TRACE_COUNT, of_trace(t, trace, TRACE_COUNT) + 1)
    more(t.state, LIVE_SPANS, 1)
    if of_trace(t, trace, TRACE_MARKS) & IS_INDEXED != 0:
        enter_span(t, trace, span)
    elif of_trace(t, trace, TRACE_COUNT) > FEW_SPANS:
        set_trace(t, trace, TRACE_MARKS, of_trace(t, trace, TRACE_MARKS) | IS_INDEXED)
        row = span
        while row >= 0:
            enter_span(t, trace, row)
            row = of_span(t, row, SPAN_NEXT)
    if of_span(t, span, SPAN_PARENT_ID) == 0:
        root = of_trace(t, trace, TRACE_ROOT)
        if root < 0 or before(t, span, root):
            set_trace(t, trace, TRACE_ROOT, span)
    if has(t, span, FAILED) != 0:
        set_trace(t, trace, TRACE_MARKS, of_trace(t, trace, TRACE_MARKS) | HAS_FAILED)
    if has(t, span, IS_NATIVE) == 0 and is_model(of_reading(t, span, READING_OPERATION)):
        set_trace(t, trace, TRACE_MARKS, of_trace(t, trace, TRACE_MARKS) | HAS_CALLS)
    _lend_all(t, trace, span)


@kernel
def _lend_all(t: Tables, trace: Number, span: Number) -> None:
    """Let a span lend its trace what it says."""
    if of_reading(t, span, READING_AGENT) != 0:
        _lend(t, trace, span, LENT_AGENT)
    if of_reading(t, span, READING_BY_NAME) != 0:
        _lend(t, trace, span, LENT_BY_NAME)
    if of_span(t, span, SPAN_TENANT) != 0:
        _lend(t, trace, span, LENT_TENANT)
    if of_reading(t, span, READING_VERSION) != 0:
        _lend(t, trace, span, LENT_VERSION)
    if of_reading(t, span, READING_OPERATION) != OP_EMBEDDING:  # Its model is nobody else's.
        if of_reading(t, span, READING_PROVIDER) != 0:
            _lend(t, trace, span, LENT_PROVIDER)
        if of_reading(t, span, READING_MODEL) != 0:
            _lend(t, trace, span, LENT_MODEL)


@kernel
def _lend(t: Tables, trace: Number, span: Number, field: Number) -> None:
    """Let a span lend a field to its trace, if it is the first that could."""
    lender = of_trace(t, trace, TRACE_LENDERS + field)
    if lender < 0 or before(t, span, lender):
        set_trace(t, trace, TRACE_LENDERS + field, span)


@kernel
def _answer_mark(response: Number) -> Number:
    """The mark of a trace that a response id has, together with one in so many others."""
    return 1 << (FIRST_ANSWER + (response & (ANSWER_MARKS - 1)))


@kernel
def find_answer(t: Tables, trace: Number, response: Number) -> Number:
    """The span of a trace that was counted first of those with this response id."""
    if of_trace(t, trace, TRACE_MARKS) & _answer_mark(response) == 0:
        return NONE
    if of_trace(t, trace, TRACE_MARKS) & IS_INDEXED == 0:
        row = of_trace(t, trace, TRACE_SPANS)
        while row >= 0 and not (has(t, row, ANSWERED) != 0 and of_span(t, row, SPAN_RESPONSE) == response):
            row = of_span(t, row, SPAN_NEXT)
        return row
    hashed, mask = hash_of(t.seed, response, -1 - trace), cell(t.heads, SPANS + MASK)
    return find(t.span_index, mask, hashed, t.spans, SPAN_CELLS, SPAN_RESPONSE, response, SPAN_TRACE, trace)


@kernel
def enter_answer(t: Tables, trace: Number, span: Number, flags: Number) -> None:
    """Have a span found by its response id."""
    flag(t, span, flags)
    mark = _answer_mark(of_span(t, span, SPAN_RESPONSE))
    set_trace(t, trace, TRACE_MARKS, of_trace(t, trace, TRACE_MARKS) | mark)
    if of_trace(t, trace, TRACE_MARKS) & IS_INDEXED != 0:
        hashed = hash_of(t.seed, of_span(t, span, SPAN_RESPONSE), -1 - trace)
        enter(t.span_index, cell(t.heads, SPANS + MASK), hashed, span)


@kernel
def detach(t: Tables, trace: Number) -> None:
    """Have a live trace not found any more: a later span of it begins a new one."""
    high, low = of_trace(t, trace, TRACE_HIGH), of_trace(t, trace, TRACE_LOW)
    leave(t.trace_index, cell(t.heads, TRACES + MASK), hash_of(t.seed, high, low), trace)
    older, newer = of_trace(t, trace, TRACE_OLDER), of_trace(t, trace, TRACE_NEWER)
    if older >= 0:
        set_trace(t, older, TRACE_NEWER, newer)
    else:
        put(t.state, OLDEST, newer)
    if newer >= 0:
        set_trace(t, newer, TRACE_OLDER, older)
    else:
        put(t.state, NEWEST, older)
    set_trace(t, trace, TRACE_MARKS, of_trace(t, trace, TRACE_MARKS) & ~IS_LIVE)
    more(t.state, LIVE_SPANS, -of_trace(t, trace, TRACE_COUNT))
    more(t.state, LIVE_TRACES, -1)


@kernel
def forget(t: Tables, trace: Number) -> None:
    """Have a trace that nothing waits in dropped: nobody finds it any more."""
    if of_trace(t, trace, TRACE_MARKS) & IS_LIVE != 0:
        detach(t, trace)
    set_trace(t, trace, TRACE_SIBLING, cell(t.state, FORGOTTEN))
    put(t.state, FORGOTTEN, trace)


@kernel
def drop_forgotten(t: Tables) -> None:
    """Give back the rows of the forgotten traces and of their spans.

    Only a span tells where the next of its trace is, and is far from it: some traces are gone through in turns.
    """
    trace = cell(t.state, FORGOTTEN)
    put(t.state, FORGOTTEN, NONE)
    while trace >= 0:
        n = 0
        while trace >= 0 and n < IN_TURNS:
            put(t.scratch, 2 * n, trace)
            put(t.scratch, 2 * n + 1, of_trace(t, trace, TRACE_SPANS))
            trace = of_trace(t, trace, TRACE_SIBLING)
            n += 1
        left = n
        while left > 0:
            left = 0
            for i in range(n):
                span = cell(t.scratch, 2 * i + 1)
                if span >= 0:
                    put(t.scratch, 2 * i + 1, _drop(t, cell(t.scratch, 2 * i), span))
                    left += 1
        for i in range(n):
            give_back(t.heads, TRACES, t.traces, TRACE_CELLS, cell(t.scratch, 2 * i))


@kernel
def _drop(t: Tables, trace: Number, span: Number) -> Number:
    """Give back the row of a span of a forgotten trace; the next one."""
    following = of_span(t, span, SPAN_NEXT)
    soon_row(t.spans, following, SPAN_CELLS)
    if of_trace(t, trace, TRACE_MARKS) & IS_INDEXED != 0:
        mask = cell(t.heads, SPANS + MASK)
        leave(t.span_index, mask, hash_of(t.seed, of_span(t, span, SPAN_ID), trace), span)
        if has(t, span, ANSWERED) != 0:
            leave(t.span_index, mask, hash_of(t.seed, of_span(t, span, SPAN_RESPONSE), -1 - trace), span)
    give_back(t.heads, SPANS, t.spans, SPAN_CELLS, span)
    return following
