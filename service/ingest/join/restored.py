"""Indexes made anew for tables that were read back."""

from service.ingest.join.rows import HIGH, MASK, USED, enter
from service.ingest.join.tables import (
    IS_INDEXED,
    IS_LIVE,
    IS_LOOSE,
    SESSION_CELLS,
    SESSION_HIGH,
    SESSION_LOW,
    SESSIONS,
    SLOT_CELLS,
    SLOT_START,
    SLOTS,
    SPAN_CELLS,
    SPAN_TRACE,
    SPANS,
    TRACE_CELLS,
    TRACE_HIGH,
    TRACE_LOW,
    TRACE_MARKS,
    TRACES,
    WORD_CELLS,
    WORD_HASH,
    WORD_SIZE,
    WORDS,
    Tables,
    has,
    of_session,
    of_span,
    of_trace,
)
from service.ingest.join.traces import enter_span
from service.ingest.memory import cell, hash_of, kernel


@kernel
def index_all(t: Tables) -> None:
    """Have every row found again under what it is looked for by."""
    for row in range(cell(t.heads, SPANS + HIGH)):
        if cell(t.spans, row * SPAN_CELLS) == USED and has(t, row, IS_LOOSE) == 0:
            trace = of_span(t, row, SPAN_TRACE)
            if of_trace(t, trace, TRACE_MARKS) & IS_INDEXED != 0:
                enter_span(t, trace, row)
    for row in range(cell(t.heads, TRACES + HIGH)):
        if cell(t.traces, row * TRACE_CELLS) == USED and of_trace(t, row, TRACE_MARKS) & IS_LIVE != 0:
            hashed = hash_of(t.seed, of_trace(t, row, TRACE_HIGH), of_trace(t, row, TRACE_LOW))
            enter(t.trace_index, cell(t.heads, TRACES + MASK), hashed, row)
    for row in range(cell(t.heads, SESSIONS + HIGH)):
        if cell(t.sessions, row * SESSION_CELLS) == USED:
            hashed = hash_of(t.seed, of_session(t, row, SESSION_HIGH), of_session(t, row, SESSION_LOW))
            enter(t.session_index, cell(t.heads, SESSIONS + MASK), hashed, row)
    for row in range(cell(t.heads, SLOTS + HIGH)):
        if cell(t.slots, row * SLOT_CELLS) == USED:
            hashed = hash_of(t.seed, cell(t.slots, row * SLOT_CELLS + SLOT_START), 0)
            enter(t.slot_index, cell(t.heads, SLOTS + MASK), hashed, row)
    for row in range(cell(t.heads, WORDS + HIGH)):
        if cell(t.words, row * WORD_CELLS + WORD_SIZE) > 0:
            enter(t.word_index, cell(t.heads, WORDS + MASK), cell(t.words, row * WORD_CELLS + WORD_HASH), row)
