# Sessions: which traces are one conversation, and when it is over. What is counted at once is a segment of a session.
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memset

from service.ingest.kernel.labels cimport label, model_of
from service.ingest.kernel.memory cimport (
    NONE, Due, enter, give_back, hash_of, heapify, leave, next_like, pop, push, row_t, show, take, word_t
)
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.slots cimport SLOT_NS, slot_of
from service.ingest.kernel.telling cimport has_failed, is_told, tell_closing
from service.ingest.kernel.tops cimport first_of, has_top, may_be_top
from service.ingest.kernel.traces cimport begin_segment, forget, repeats_of, trace_sorts_before
from service.ingest.kernel.units cimport lower, one_more

cdef enum:
    # What a span may be to its session.
    NOTHING_NEW = 0
    MAY_END = 1         # It may be due sooner,
    HAS_ROOT = 2        # as one of its traces has a root now, or what may be its top.
    QUEUE_SPARE = 64    # Places in the queue that may be stale beside as many as sessions are open.


cdef inline row_t find_session(Join* t, uint64_t high, uint64_t low) noexcept nogil:
    """The open session of a key: its name's fingerprint, or the id of its one trace."""
    cdef uint64_t hashed = hash_of(t.seed, high, low)
    cdef uint64_t place = hashed
    cdef row_t row
    while True:
        row = next_like(&t.session_index, hashed, &place)
        if row < 0 or (t.sessions[row].high == high and t.sessions[row].low == low):
            return row


cdef struct SessionKey:
    uint64_t high, low


cdef inline SessionKey key_of(Join* t, const Trace* trace) noexcept nogil:
    """The key of the session that a trace belongs to now."""
    cdef SessionKey key
    if trace.named_by >= 0:
        key.high, key.low = trace.name_high, trace.name_low
    elif trace.session >= 0:
        key.high, key.low = t.sessions[trace.session].high, t.sessions[trace.session].low
    else:
        key.high, key.low = trace.high, trace.low
    return key


cdef inline void attach(Join* t, row_t row, Span* span, int64_t end) noexcept nogil:
    """Advance event time to the span's end and attach its trace to its session."""
    cdef Trace* trace = &t.traces[row]
    cdef SessionKey key = key_of(t, trace)
    cdef row_t at = trace.session
    cdef Session* session
    cdef int64_t first, due_ns
    cdef int learnt
    cdef bint sooner
    if at < 0 or t.sessions[at].high != key.high or t.sessions[at].low != key.low:
        at = find_session(t, key.high, key.low)
    # A session is due no sooner than it is queued for, so most need no closer look.
    if at >= 0 and t.sessions[at].queued <= end:
        due_ns = due(t, &t.sessions[at], end)
        if due_ns <= end:
            close(t, at, due_ns)
            at = NONE
    if at < 0 or trace.session != at:
        _put_into(t, row, span, end)
        return
    session = &t.sessions[at]
    learnt = learn(t, trace, span, end)
    sooner = learnt != NOTHING_NEW
    session.rootless -= learnt == HAS_ROOT
    if end > trace.last:
        trace.last = end
        if end > session.last:
            session.last = end
    first = min(span.start, end)
    if first < trace.first:
        trace.first = first
        if first < session.first:
            session.first, sooner = first, True
    if sooner:  # A later end only puts the due time off, which is found out when its turn comes.
        _requeue(t, at)


cdef inline void _put_into(Join* t, row_t row, Span* span, int64_t end) noexcept nogil:
    """Put a trace into the session that it belongs to now, which may have to be opened."""
    cdef Trace* trace = &t.traces[row]
    cdef SessionKey key = key_of(t, trace)
    cdef row_t at
    cdef Session* session
    trace.last, trace.first = max(trace.last, end), min(trace.first, min(span.start, end))
    learn(t, trace, span, end)
    if trace.session >= 0:
        _take_out(t, trace.session, row)
    at = find_session(t, key.high, key.low)
    if at < 0:
        at = take(&t.session_table)
        session = &t.sessions[at]
        session.high, session.low, session.traces, session.rootless = key.high, key.low, NONE, 0
        session.queued, session.first, session.last = INT64_MAX, INT64_MAX, 0
        session.tenant = session.agent = 0
        session.calls, session.listed, session.dollars, session.tokens = 0, 0, 0.0, 0.0
        enter(&t.session_index, hash_of(t.seed, key.high, key.low), at)
    session = &t.sessions[at]
    trace.sibling, trace.session = session.traces, at
    session.traces = row
    _count_in(session, trace)
    _requeue(t, at)


cdef inline void _count_in(Session* session, const Trace* trace) noexcept nogil:
    """Have a session's times, its missing roots and its counts take in a trace."""
    if not trace.marks & (ROOT_ENDED | HAS_TOP):
        session.rootless += 1
    session.first, session.last = min(session.first, trace.first), max(session.last, trace.last)
    session.calls += trace.went[WENT_CALLS] + trace.went[WENT_TOOLS] + trace.went[WENT_RETRIEVALS]
    session.dollars += <weight_t>trace.dollars
    session.tokens += trace.tokens_in + trace.tokens_out


cdef inline int learn(Join* t, Trace* trace, Span* span, int64_t end) noexcept nogil:
    """Take from a span what it says of the session as a whole, whenever it came; and what it may be to it."""
    cdef int outcome = reading_of(t, span).outcome
    if outcome >= 0:
        if end > trace.outcome_ns or (
            end == trace.outcome_ns and <int64_t>span.id > <int64_t>trace.outcome_id
        ):
            trace.outcome_ns, trace.outcome_id, trace.outcome = end, span.id, outcome
    if trace.marks & ROOT_ENDED:
        return NOTHING_NEW
    if span.parent_id == 0:
        trace.marks |= ROOT_ENDED
    elif trace.marks & HAS_TOP == 0 and may_be_top(t, span):
        trace.marks |= HAS_TOP
        return HAS_ROOT
    elif trace.marks & HAS_TOP == 0:
        return NOTHING_NEW
    return MAY_END if trace.marks & HAS_TOP else HAS_ROOT


cdef inline void learn_late(Join* t, Trace* trace, Span* span, int64_t end) noexcept nogil:
    """Take in a late span: it moves no time, but may be the root that was waited for."""
    cdef int learnt = learn(t, trace, span, end)
    if learnt != NOTHING_NEW and trace.session >= 0:
        t.sessions[trace.session].rootless -= learnt == HAS_ROOT
        _requeue(t, trace.session)


cdef inline void _take_out(Join* t, row_t at, row_t row) noexcept nogil:
    """Take a trace out of a session, and end that if it was the last."""
    cdef Session* session = &t.sessions[at]
    cdef row_t* link = &session.traces
    cdef row_t each
    while link[0] != row:
        link = &t.traces[link[0]].sibling
    link[0] = t.traces[row].sibling
    t.traces[row].session = NONE
    if session.traces < 0:
        _free(t, at)
        return
    session.rootless, session.first, session.last = 0, INT64_MAX, 0
    session.calls, session.dollars, session.tokens = 0, 0.0, 0.0
    each = session.traces
    while each >= 0:
        _count_in(session, &t.traces[each])
        each = t.traces[each].sibling
    _requeue(t, at)


cdef inline void _free(Join* t, row_t at) noexcept nogil:
    leave(&t.session_index, hash_of(t.seed, t.sessions[at].high, t.sessions[at].low), at)
    give_back(&t.session_table, at)
    show(&t.sessions[at], sizeof(Session))
    t.sessions[at].queued = -1  # The queue may still name this row: it is looked at, and passed over.


cdef inline int64_t due(Join* t, const Session* session, int64_t now) noexcept nogil:
    """When a session closes if nothing more comes; never before its last span. One that is after `now` may be early.

    Where a trace has no root, it takes its time again to tell whether what may be its top is.
    """
    cdef int64_t due_ns = _after(t, session, t.rootless_idle if session.rootless > 0 else t.idle)
    if due_ns <= now and session.rootless == 0 and not _has_tops(t, session):
        due_ns = _after(t, session, t.rootless_idle)
    return due_ns


cdef inline int64_t _after(const Join* t, const Session* session, int64_t silence) noexcept nogil:
    return min(session.last + silence, max(session.first + t.longest, session.last))


cdef inline bint _has_tops(Join* t, const Session* session) noexcept nogil:
    """Whether each trace of a session has its root, or a top that stands for it."""
    cdef row_t row = session.traces
    while row >= 0:
        if not t.traces[row].marks & ROOT_ENDED and not has_top(t, &t.traces[row]):
            return False
        row = t.traces[row].sibling
    return True


cdef inline void _requeue(Join* t, row_t at) noexcept nogil:
    cdef int64_t due_ns = due(t, &t.sessions[at], 0)
    if due_ns < t.sessions[at].queued:
        t.sessions[at].queued = due_ns
        enqueue(t, at)


cdef inline void enqueue(Join* t, row_t at) noexcept nogil:
    """Have a session looked at again when it says. Of those due at once the key decides, so no history does."""
    cdef uint64_t key = t.sessions[at].low
    push(&t.queue, Due(t.sessions[at].queued, at, <word_t>(key ^ (key >> 32))))
    if t.queue.size > 2 * (t.session_table.high - t.session_table.n_free) + QUEUE_SPARE:
        _drop_stale(t)


cdef inline void _drop_stale(Join* t) noexcept nogil:
    """Take out of the queue what names a session that is over, or due at another time.

    Else they would stay until they are due: a trace begins as one without a root, which is waited for much longer.
    """
    cdef row_t i, kept = 0
    for i in range(t.queue.size):
        if t.sessions[t.queue.due[i].row].queued == t.queue.due[i].at:
            t.queue.due[kept] = t.queue.due[i]
            kept += 1
    t.queue.size = kept
    heapify(&t.queue)


cdef inline row_t next_due(Join* t) noexcept nogil:
    """The session that is due first, and in the state when; -1 if none is open."""
    cdef int64_t queued, due_ns
    cdef row_t at
    while t.queue.size > 0:
        queued, at = t.queue.due[0].at, t.queue.due[0].row
        due_ns = INT64_MAX
        if t.sessions[at].queued == queued:
            due_ns = due(t, &t.sessions[at], queued)
            if due_ns <= queued:
                t.due = queued
                return at
        pop(&t.queue)
        if due_ns != INT64_MAX:
            t.sessions[at].queued = due_ns
            enqueue(t, at)
    return NONE


cdef inline void close_due(Join* t, int64_t end_ns) noexcept nogil:
    """End the segments that are due before a time."""
    cdef row_t at = next_due(t)
    while at >= 0 and t.due < end_ns:
        close(t, at, t.due)
        at = next_due(t)


cdef inline void close(Join* t, row_t at, int64_t close_ns) noexcept nogil:
    """End a segment. It counts in the slot of that time, or in the first open one. Traces without waiting spans go."""
    cdef row_t trace = t.sessions[at].traces, sibling
    if is_told(t, &t.sessions[at]):
        _tell_all(t, &t.sessions[at], close_ns)
    else:
        _count(t, &t.sessions[at], close_ns)
    _free(t, at)
    while trace >= 0:
        sibling = t.traces[trace].sibling
        begin_segment(&t.traces[trace])
        if t.traces[trace].waits == 0:
            forget(t, trace)
        trace = sibling


cdef inline void _tell_all(Join* t, const Session* session, int64_t close_ns) noexcept nogil:
    """Tell of the traces of a segment what was not told: it may go on on another partition."""
    cdef bint has_tops = session.rootless == 0 and _has_tops(t, session)
    cdef row_t row = session.traces
    while row >= 0:
        tell_closing(t, &t.traces[row], close_ns, has_tops)
        row = t.traces[row].sibling


cdef inline void _count(Join* t, const Session* session, int64_t close_ns) noexcept nogil:
    # A root that came late can make a session due in a slot that is closed.
    cdef Slot* slot = &t.slots[slot_of(t, max(close_ns - close_ns % SLOT_NS, t.state.floor))]
    cdef row_t row = take(&t.ended_table)
    cdef EndedSession* ended = &t.ended[row]
    ended.next, slot.ended = slot.ended, row
    slot.sessions += 1
    ended.high, ended.low = session.high, session.low
    ended.seconds = (session.last - session.first) / 1e9
    ended.first, ended.last = session.first, session.last
    ended.open_tenant, ended.open_agent = session.tenant, session.agent
    _sum_up(t, session, ended)


cdef inline void _sum_up(Join* t, const Session* session, EndedSession* ended) noexcept nogil:
    """What the traces of a closing session came to. Its labels are those of its first trace's root, or of its top.

    Its cost is the sum of its calls' costs, if all of them have one.
    """
    cdef Trace* trace
    cdef Trace* main = &t.traces[session.traces]
    cdef row_t row = session.traces
    cdef int64_t outcome_ns = 0, outcome_id = 0, unpriced = 0, free = 0
    cdef Span* root
    cdef word_t[9] words
    cdef int place
    ended.failed, ended.is_trace, ended.outcome, ended.dollars, ended.traces = 0, 1, -1, 0.0, 0
    ended.lowest = ended.tokens_in = ended.tokens_out = 0.0
    ended.repeats = 0
    memset(ended.went, 0, sizeof(ended.went))
    while row >= 0:
        trace = &t.traces[row]
        if trace.first < main.first or (trace.first == main.first and trace_sorts_before(trace, main)):
            main = trace
        if has_failed(t, trace):
            ended.failed = 1    # An outcome of `failed` is not a failure too: it is counted once, as an outcome.
        if trace.named_by >= 0:
            ended.is_trace = 0
        if trace.outcome_ns > outcome_ns or (
            trace.outcome_ns == outcome_ns and <int64_t>trace.outcome_id > outcome_id
        ):
            outcome_ns, outcome_id, ended.outcome = trace.outcome_ns, trace.outcome_id, trace.outcome
        ended.dollars += trace.dollars
        for place in range(WENT):
            one_more(ended.went, place, trace.went[place])
        # NaN stays: not all was told of one of its traces.
        ended.lowest = lower(ended.lowest, trace.lowest) if trace.lowest == trace.lowest else trace.lowest
        ended.repeats = max(ended.repeats, repeats_of(t, trace))
        ended.tokens_in += trace.tokens_in
        ended.tokens_out += trace.tokens_out
        ended.traces += 1
        unpriced += trace.unpriced
        free += trace.free
        row = trace.sibling
    ended.trace_high, ended.trace_low = main.high, main.low
    root = first_of(t, main)
    label(t, root, words)
    ended.tenant, ended.agent, ended.weight = words[L_TENANT], words[L_AGENT], root.weight
    ended.version, ended.model = words[L_VERSION], model_of(t, root, words)
    ended.unpriced, ended.free = unpriced > 0, unpriced == 0 and ended.dollars == 0.0 and free > 0
