# What traces went through in a slot, told to whoever joins the sessions of several partitions.
#
# What was told of a trace begins anew: no number is told twice. So it may be told at any time. A session that nothing
# names is of one trace, and so of one partition: it is counted there, and nothing of it is told.
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy, memset

from service.ingest.kernel.labels cimport label, model_of
from service.ingest.kernel.memory cimport NONE, larger_memory, row_t, word_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.stretch cimport *
from service.ingest.kernel.tops cimport first_of, root_of
from service.ingest.kernel.traces cimport repeats_of


cdef inline bint has_failed(Join* t, const Trace* trace) noexcept nogil:
    """Whether the root of a trace failed, or what stands for it."""
    cdef const Span* root = root_of(t, trace)
    return root != NULL and root.flags & FAILED and root.wait < 0


cdef inline bint is_told(const Join* t, const Session* session) noexcept nogil:
    """Whether a session is joined elsewhere."""
    cdef const Trace* trace = &t.traces[session.traces]
    return t.tells and (trace.high != session.high or trace.low != session.low)


cdef inline void touch(Join* t, row_t row, int64_t end) noexcept nogil:
    """Note that a span of a trace is counted: what the trace goes through is told at the end of the slot."""
    cdef Trace* trace = &t.traces[row]
    if not trace.news & N_TOUCHED:
        trace.news |= N_TOUCHED
        t.touched[t.n_touched].trace, t.touched[t.n_touched].end = row, end
        t.n_touched += 1


cdef inline void tell_touched(Join* t) noexcept nogil:
    """Tell what the traces on the list went through in the slot."""
    cdef Trace* trace
    cdef row_t i
    for i in range(t.n_touched):
        trace = &t.traces[t.touched[i].trace]
        if trace.news & N_TOUCHED:
            if is_told(t, &t.sessions[trace.session]):
                _tell(t, trace, trace.first if t.is_untold else t.touched[i].end, False)
            trace.news = 0
    t.n_touched = 0
    if t.is_untold:
        _tell_untold(t)


cdef inline void _tell_untold(Join* t) noexcept nogil:
    """Tell of the traces of all open sessions what was not told.

    When the first of their spans ended is not known any more. That it began is early enough: its session was open then.
    """
    cdef row_t row = t.state.oldest
    cdef Trace* trace
    while row >= 0:
        trace = &t.traces[row]
        if trace.session >= 0 and trace.first != INT64_MAX and is_told(t, &t.sessions[trace.session]):
            _tell(t, trace, trace.first, False)
        row = trace.newer
    t.is_untold = 0


cdef inline void tell_closing(Join* t, Trace* trace, int64_t close_ns, bint has_tops) noexcept nogil:
    """Tell of a trace whose session is over on this partition what was not told.

    Where no root was told it is told now if none is needed: until the session is over a parent may come of what looks
    like a top. And a late span, which is counted in no slot, may have been the root, or told an outcome.
    """
    if trace.first != INT64_MAX:
        _tell(t, trace, trace.first, has_tops)
    elif ((has_tops or trace.marks & ROOT_ENDED) and not trace.marks & ROOT_TOLD) or trace.outcome >= 0:
        _tell(t, trace, close_ns, has_tops)


cdef inline void _tell(Join* t, Trace* trace, int64_t ended, bint has_top) noexcept nogil:
    cdef Stretch* stretch = _next(t)
    cdef const Session* session = &t.sessions[trace.session]
    cdef Span* root = first_of(t, trace)
    cdef word_t[9] words
    memset(stretch, 0, sizeof(Stretch))
    label(t, root, words)
    stretch.trace_high, stretch.trace_low, stretch.session = trace.high, trace.low, session.high
    stretch.tenant, stretch.agent, stretch.weight = words[L_TENANT], words[L_AGENT], root.weight
    stretch.version, stretch.model = words[L_VERSION], model_of(t, root, words)
    stretch.open_tenant, stretch.open_agent = session.tenant, session.agent
    if trace.marks & ROOT_ENDED or has_top:
        stretch.flags |= S_ROOTED
        trace.marks |= ROOT_TOLD
    if has_failed(t, trace):
        stretch.flags |= S_FAILED
    stretch.first, stretch.ended, stretch.last = min(trace.first, ended), ended, ended
    if trace.first == INT64_MAX:
        stretch.flags |= S_OVER
    else:
        stretch.last = max(trace.last, ended)
        if trace.news & N_CALLS:
            stretch.flags |= S_CALLS
    _hand_over(t, trace, stretch)


cdef inline void _hand_over(Join* t, Trace* trace, Stretch* stretch) noexcept nogil:
    """Tell the sums of a trace, and begin them anew."""
    stretch.outcome_ns, stretch.outcome = trace.outcome_ns, trace.outcome
    stretch.dollars, stretch.unpriced, stretch.free = trace.dollars, trace.unpriced, trace.free
    stretch.tokens_in, stretch.tokens_out, stretch.lowest = trace.tokens_in, trace.tokens_out, trace.lowest
    memcpy(stretch.went, trace.went, sizeof(trace.went))
    stretch.repeats = repeats_of(t, trace)
    if trace.repeated >= 0:
        stretch.tool = reading_of(t, &t.spans[trace.repeated]).tool
    trace.news, trace.first, trace.repeated = 0, INT64_MAX, NONE
    trace.outcome_ns, trace.outcome_id, trace.outcome = 0, 0, -1
    trace.dollars, trace.unpriced, trace.free = 0.0, 0, 0
    memset(trace.went, 0, sizeof(trace.went))
    trace.lowest = trace.tokens_in = trace.tokens_out = 0.0


cdef inline Stretch* _next(Join* t) noexcept nogil:
    """A row for a stretch; those of before may move."""
    if t.n_stretches == t.stretches_room:
        t.stretches_room = 2 * t.stretches_room + 1024
        t.stretches = <Stretch*>larger_memory(t.stretches, t.stretches_room * sizeof(Stretch))
    t.n_stretches += 1
    return &t.stretches[t.n_stretches - 1]
