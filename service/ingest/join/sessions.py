"""Sessions: which traces are one conversation, and when it is over.

A session is due when every trace of it has its root and nothing more ended for the idle time; after the longer idle
time of silence where a root is missing; and at the latest so long after it began. Spans are placed in the order in
which they ended, once their slot closes: the order of arrival changes nothing.
"""

from detectors.core.columns import SLOT_NS
from service.ingest.join.labels import L_AGENT, L_TENANT, label
from service.ingest.join.rows import MASK, NONE, USED, enter, find, give_back, leave, pop, push, take
from service.ingest.join.slots import slot_of
from service.ingest.join.tables import (
    DUE,
    ENDED,
    ENDED_AGENT,
    ENDED_CELLS,
    ENDED_DOLLARS,
    ENDED_FAILED,
    ENDED_FREE,
    ENDED_HIGH,
    ENDED_IS_TRACE,
    ENDED_LOW,
    ENDED_NEXT,
    ENDED_OUTCOME,
    ENDED_SECONDS,
    ENDED_TENANT,
    ENDED_UNPRICED,
    ENDED_WEIGHT,
    FAILED,
    FLOOR,
    IDLE,
    LONGEST,
    QUEUED,
    READING_OUTCOME,
    ROOT_ENDED,
    ROOTLESS_IDLE,
    SESSION_CELLS,
    SESSION_FIRST,
    SESSION_HIGH,
    SESSION_LAST,
    SESSION_LOW,
    SESSION_QUEUED,
    SESSION_ROOTLESS,
    SESSION_TRACES,
    SESSIONS,
    SLOT_CELLS,
    SLOT_ENDED,
    SLOT_SESSIONS,
    SPAN_ID,
    SPAN_NEXT,
    SPAN_PARENT_ID,
    SPAN_START,
    SPAN_WEIGHT,
    TRACE_CELLS,
    TRACE_DOLLARS,
    TRACE_FIRST,
    TRACE_FREE,
    TRACE_HIGH,
    TRACE_LAST,
    TRACE_LOW,
    TRACE_MARKS,
    TRACE_NAME_HIGH,
    TRACE_NAME_LOW,
    TRACE_NAMED_BY,
    TRACE_OUTCOME,
    TRACE_OUTCOME_ID,
    TRACE_OUTCOME_NS,
    TRACE_ROOT,
    TRACE_SESSION,
    TRACE_SIBLING,
    TRACE_SPANS,
    TRACE_UNPRICED,
    TRACE_WAITS,
    Tables,
    has,
    more,
    of_reading,
    of_session,
    of_span,
    of_trace,
    set_session,
    set_trace,
)
from service.ingest.join.traces import NEVER, before, begin_leg, forget, is_before
from service.ingest.memory import Number, cell, hash_of, kernel, number, put, put_number


@kernel
def find_session(t: Tables, high: Number, low: Number) -> Number:
    """The open session of a key: its name's fingerprint, or the id of its one trace."""
    hashed, mask = hash_of(t.seed, high, low), cell(t.heads, SESSIONS + MASK)
    return find(t.session_index, mask, hashed, t.sessions, SESSION_CELLS, SESSION_HIGH, high, SESSION_LOW, low)


@kernel
def _key(t: Tables, trace: Number) -> tuple[Number, Number]:
    """The key of the session that a trace belongs to now."""
    if of_trace(t, trace, TRACE_NAMED_BY) >= 0:
        return of_trace(t, trace, TRACE_NAME_HIGH), of_trace(t, trace, TRACE_NAME_LOW)
    session = of_trace(t, trace, TRACE_SESSION)
    if session >= 0:
        return of_session(t, session, SESSION_HIGH), of_session(t, session, SESSION_LOW)
    return of_trace(t, trace, TRACE_HIGH), of_trace(t, trace, TRACE_LOW)


@kernel
def reach(t: Tables, trace: Number, span: Number, end_ns: Number) -> None:
    """Take in that event time has come to the end of a span: its trace is in its session then."""
    high, low = _key(t, trace)
    session = of_trace(t, trace, TRACE_SESSION)
    if session < 0 or of_session(t, session, SESSION_HIGH) != high or of_session(t, session, SESSION_LOW) != low:
        session = find_session(t, high, low)
    # It is due no sooner than it is queued for, so most need no closer look.
    if session >= 0 and of_session(t, session, SESSION_QUEUED) <= end_ns:
        due_ns = due(t, session)
        if due_ns <= end_ns:
            close(t, session, due_ns)
            session = NONE
    if session < 0 or of_trace(t, trace, TRACE_SESSION) != session:
        _place(t, trace, span, end_ns)
        return
    sooner = learn(t, trace, span, end_ns)
    if sooner:
        set_session(t, session, SESSION_ROOTLESS, of_session(t, session, SESSION_ROOTLESS) - 1)
    if end_ns > of_trace(t, trace, TRACE_LAST):
        set_trace(t, trace, TRACE_LAST, end_ns)
        if end_ns > of_session(t, session, SESSION_LAST):
            set_session(t, session, SESSION_LAST, end_ns)
    first_ns = min(of_span(t, span, SPAN_START), end_ns)
    if first_ns < of_trace(t, trace, TRACE_FIRST):
        set_trace(t, trace, TRACE_FIRST, first_ns)
        if first_ns < of_session(t, session, SESSION_FIRST):
            set_session(t, session, SESSION_FIRST, first_ns)
            sooner = True
    if sooner:  # A later end only puts off the time it is due, and that is found out in its turn.
        _requeue(t, session)


@kernel
def _place(t: Tables, trace: Number, span: Number, end_ns: Number) -> None:
    """Put a trace into the session that it belongs to now, which may have to be opened."""
    high, low = _key(t, trace)
    parted = of_trace(t, trace, TRACE_SESSION)
    set_trace(t, trace, TRACE_LAST, max(of_trace(t, trace, TRACE_LAST), end_ns))
    first_ns = min(of_span(t, span, SPAN_START), end_ns)
    set_trace(t, trace, TRACE_FIRST, min(of_trace(t, trace, TRACE_FIRST), first_ns))
    learn(t, trace, span, end_ns)
    if parted >= 0:
        _part(t, parted, trace)
    session = find_session(t, high, low)
    if session < 0:
        session = take(t.heads, SESSIONS, t.sessions, SESSION_CELLS)
        set_session(t, session, SESSION_HIGH, high)
        set_session(t, session, SESSION_LOW, low)
        set_session(t, session, SESSION_TRACES, NONE)
        set_session(t, session, SESSION_ROOTLESS, 0)
        set_session(t, session, SESSION_QUEUED, NEVER)
        set_session(t, session, SESSION_FIRST, NEVER)
        set_session(t, session, SESSION_LAST, 0)
        enter(t.session_index, cell(t.heads, SESSIONS + MASK), hash_of(t.seed, high, low), session)
    set_trace(t, trace, TRACE_SIBLING, of_session(t, session, SESSION_TRACES))
    set_session(t, session, SESSION_TRACES, trace)
    set_trace(t, trace, TRACE_SESSION, session)
    _count_in(t, session, trace)
    _requeue(t, session)


@kernel
def _count_in(t: Tables, session: Number, trace: Number) -> None:
    """Have a session's times and its missing roots take in a trace."""
    if of_trace(t, trace, TRACE_MARKS) & ROOT_ENDED == 0:
        set_session(t, session, SESSION_ROOTLESS, of_session(t, session, SESSION_ROOTLESS) + 1)
    first_ns, last_ns = of_trace(t, trace, TRACE_FIRST), of_trace(t, trace, TRACE_LAST)
    set_session(t, session, SESSION_FIRST, min(of_session(t, session, SESSION_FIRST), first_ns))
    set_session(t, session, SESSION_LAST, max(of_session(t, session, SESSION_LAST), last_ns))


@kernel
def learn(t: Tables, trace: Number, span: Number, end_ns: Number) -> Number:
    """Take from a span what it says of the session as a whole, whenever it came; whether it is the root waited for."""
    outcome = of_reading(t, span, READING_OUTCOME)
    if outcome >= 0:
        known_ns, span_id = of_trace(t, trace, TRACE_OUTCOME_NS), of_span(t, span, SPAN_ID)
        if end_ns > known_ns or (end_ns == known_ns and span_id > of_trace(t, trace, TRACE_OUTCOME_ID)):
            set_trace(t, trace, TRACE_OUTCOME_NS, end_ns)
            set_trace(t, trace, TRACE_OUTCOME_ID, span_id)
            set_trace(t, trace, TRACE_OUTCOME, outcome)
    marks = of_trace(t, trace, TRACE_MARKS)
    if of_span(t, span, SPAN_PARENT_ID) != 0 or marks & ROOT_ENDED != 0:
        return False
    set_trace(t, trace, TRACE_MARKS, marks | ROOT_ENDED)
    return True


@kernel
def learn_late(t: Tables, trace: Number, span: Number, end_ns: Number) -> None:
    """Take in a late span: it moves no time, but may be the root that was waited for."""
    session = of_trace(t, trace, TRACE_SESSION)
    if learn(t, trace, span, end_ns) and session >= 0:
        set_session(t, session, SESSION_ROOTLESS, of_session(t, session, SESSION_ROOTLESS) - 1)
        _requeue(t, session)


@kernel
def _part(t: Tables, session: Number, trace: Number) -> None:
    """Take a trace out of a session, and end that if it was the last."""
    sibling, each = of_trace(t, trace, TRACE_SIBLING), of_session(t, session, SESSION_TRACES)
    if each == trace:
        set_session(t, session, SESSION_TRACES, sibling)
    else:
        while of_trace(t, each, TRACE_SIBLING) != trace:
            each = of_trace(t, each, TRACE_SIBLING)
        set_trace(t, each, TRACE_SIBLING, sibling)
    set_trace(t, trace, TRACE_SESSION, NONE)
    each = of_session(t, session, SESSION_TRACES)
    if each < 0:
        _free(t, session)
        return
    set_session(t, session, SESSION_ROOTLESS, 0)
    set_session(t, session, SESSION_FIRST, NEVER)
    set_session(t, session, SESSION_LAST, 0)
    while each >= 0:
        _count_in(t, session, each)
        each = of_trace(t, each, TRACE_SIBLING)
    _requeue(t, session)


@kernel
def _free(t: Tables, session: Number) -> None:
    high, low = of_session(t, session, SESSION_HIGH), of_session(t, session, SESSION_LOW)
    leave(t.session_index, cell(t.heads, SESSIONS + MASK), hash_of(t.seed, high, low), session)
    give_back(t.heads, SESSIONS, t.sessions, SESSION_CELLS, session)


@kernel
def due(t: Tables, session: Number) -> Number:
    """When a session closes if nothing more comes; never before its last span."""
    silence_ns = cell(t.limits, ROOTLESS_IDLE if of_session(t, session, SESSION_ROOTLESS) > 0 else IDLE)
    last_ns, longest_ns = of_session(t, session, SESSION_LAST), cell(t.limits, LONGEST)
    return min(last_ns + silence_ns, max(of_session(t, session, SESSION_FIRST) + longest_ns, last_ns))


@kernel
def _requeue(t: Tables, session: Number) -> None:
    due_ns = due(t, session)
    if due_ns < of_session(t, session, SESSION_QUEUED):
        _queue(t, session, due_ns)


@kernel
def _queue(t: Tables, session: Number, due_ns: Number) -> None:
    """Have a session looked at when event time reaches `due_ns`."""
    set_session(t, session, SESSION_QUEUED, due_ns)
    push(t.queue, cell(t.state, QUEUED), due_ns, session)
    more(t.state, QUEUED, 1)


@kernel
def next_due(t: Tables) -> Number:
    """The session that is due first, and in the state when; -1 if none is open."""
    while cell(t.state, QUEUED) > 0:
        queued_ns, session = cell(t.queue, 0), cell(t.queue, 1)
        is_open = cell(t.sessions, session * SESSION_CELLS) == USED
        due_ns = NEVER
        if is_open and of_session(t, session, SESSION_QUEUED) == queued_ns:
            due_ns = due(t, session)
            if due_ns <= queued_ns:
                put(t.state, DUE, queued_ns)
                return session
        pop(t.queue, cell(t.state, QUEUED))
        more(t.state, QUEUED, -1)
        if due_ns != NEVER:
            _queue(t, session, due_ns)
    return NONE


@kernel
def close(t: Tables, session: Number, close_ns: Number) -> None:
    """End a leg. Its unit counts in the slot of that time, or the first open one; what is done with is forgotten."""
    # A root that came late can make a session due in a closed slot.
    slot = slot_of(t, max(close_ns - close_ns % SLOT_NS, cell(t.state, FLOOR)))
    ended = take(t.heads, ENDED, t.ended, ENDED_CELLS)
    row = ended * ENDED_CELLS
    put(t.ended, row + ENDED_NEXT, cell(t.slots, slot * SLOT_CELLS + SLOT_ENDED))
    put(t.slots, slot * SLOT_CELLS + SLOT_ENDED, ended)
    more(t.slots, slot * SLOT_CELLS + SLOT_SESSIONS, 1)
    put(t.ended, row + ENDED_HIGH, of_session(t, session, SESSION_HIGH))
    put(t.ended, row + ENDED_LOW, of_session(t, session, SESSION_LOW))
    first_ns, last_ns = of_session(t, session, SESSION_FIRST), of_session(t, session, SESSION_LAST)
    put_number(t.ended, row + ENDED_SECONDS, (last_ns - first_ns) / 1e9)
    _sum_up(t, session, row)
    trace = of_session(t, session, SESSION_TRACES)
    _free(t, session)
    while trace >= 0:
        sibling = of_trace(t, trace, TRACE_SIBLING)
        begin_leg(t, trace)
        if of_trace(t, trace, TRACE_WAITS) == 0:
            forget(t, trace)
        trace = sibling


@kernel
def _sum_up(t: Tables, session: Number, row: Number) -> None:
    """What the traces of a closing session came to: its cost is the sum of its calls' if all of them have one.

    It is told by its first trace's root.
    """
    trace = of_session(t, session, SESSION_TRACES)
    main, failed, is_trace, outcome, outcome_ns, outcome_id = trace, 0, 1, -1, 0, 0
    dollars, unpriced, free = 0.0, 0, 0
    while trace >= 0:
        first_ns, main_ns = of_trace(t, trace, TRACE_FIRST), of_trace(t, main, TRACE_FIRST)
        if first_ns < main_ns or (first_ns == main_ns and is_before(t, trace, main)):
            main = trace
        root, has_ended = of_trace(t, trace, TRACE_ROOT), of_trace(t, trace, TRACE_MARKS) & ROOT_ENDED
        if root >= 0 and has_ended != 0 and has(t, root, FAILED) != 0:
            failed = 1  # An outcome of `failed` is counted as that, once.
        if of_trace(t, trace, TRACE_NAMED_BY) >= 0:
            is_trace = 0
        said_ns, said_id = of_trace(t, trace, TRACE_OUTCOME_NS), of_trace(t, trace, TRACE_OUTCOME_ID)
        if said_ns > outcome_ns or (said_ns == outcome_ns and said_id > outcome_id):
            outcome_ns, outcome_id, outcome = said_ns, said_id, of_trace(t, trace, TRACE_OUTCOME)
        dollars += number(t.traces, trace * TRACE_CELLS + TRACE_DOLLARS)
        unpriced += of_trace(t, trace, TRACE_UNPRICED)
        free += of_trace(t, trace, TRACE_FREE)
        trace = of_trace(t, trace, TRACE_SIBLING)
    root = of_trace(t, main, TRACE_ROOT)
    if root < 0:
        root = each = of_trace(t, main, TRACE_SPANS)
        while each >= 0:
            root = each if before(t, each, root) else root
            each = of_span(t, each, SPAN_NEXT)
    label(t, root, 0)
    put(t.ended, row + ENDED_TENANT, cell(t.scratch, L_TENANT))
    put(t.ended, row + ENDED_AGENT, cell(t.scratch, L_AGENT))
    put(t.ended, row + ENDED_WEIGHT, of_span(t, root, SPAN_WEIGHT))
    put(t.ended, row + ENDED_OUTCOME, outcome)
    put(t.ended, row + ENDED_FAILED, failed)
    put(t.ended, row + ENDED_IS_TRACE, is_trace)
    put_number(t.ended, row + ENDED_DOLLARS, dollars)
    put(t.ended, row + ENDED_UNPRICED, 1 if unpriced > 0 else 0)
    put(t.ended, row + ENDED_FREE, 1 if unpriced == 0 and dollars == 0.0 and free > 0 else 0)
