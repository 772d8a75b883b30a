# Sessions that run: which are long by now, and how they stand.
from libc.stdint cimport int64_t

from service.ingest.kernel.memory cimport row_t, weight_t, word_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.slots cimport SLOT_NS
from service.ingest.kernel.telling cimport is_told
from service.ingest.kernel.traces cimport repeats_of, trace_sorts_before
from service.ingest.kernel.units cimport Cost

cdef inline bint is_of_length(const Reading* reading) noexcept nogil:
    """Whether a call makes its session longer: one of a model, of a tool, or a retrieval, as `went` counts them."""
    return reading.operation == OP_LLM or reading.operation == OP_TOOL or reading.operation == OP_RETRIEVAL


cdef inline void bear(
    Session* session, const word_t* words, row_t longer, Cost cost, weight_t tokens
) noexcept nogil:
    """Have a session bear calls of it, which make it so much longer."""
    if not session.agent and not session.tenant:
        session.tenant, session.agent = words[L_TENANT], words[L_AGENT]
    session.calls += longer
    session.dollars += <weight_t>cost.dollars
    session.tokens += tokens


cdef inline void list_long(Join* t, const Trace* trace, int64_t end_ns) noexcept nogil:
    """List the session of a trace that went on, once a slot, if it is long by now."""
    cdef Session* session = &t.sessions[trace.session]
    cdef row_t slot = <row_t>(end_ns / SLOT_NS)
    if session.listed != slot and _is_long(t, session, trace) and not is_told(t, session):
        session.listed = slot
        t.running[t.n_running] = trace.session
        t.n_running += 1


cdef inline bint _is_long(const Join* t, const Session* session, const Trace* trace) noexcept nogil:
    return (
        session.calls >= LONG_CALLS or session.dollars * 100.0 >= LONG_CENTS or session.tokens >= LONG_TOKENS
        or (session.last - session.first) / 1_000_000_000 >= LONG_SECONDS or repeats_of(t, trace) >= LONG_REPEATS
    )


cdef inline bint tell(const Join* t, row_t at, row_t slot, Running* running) noexcept nogil:
    """How a listed session stands; False if it ended meanwhile."""
    cdef const Session* session = &t.sessions[at]
    cdef const Trace* trace
    cdef const Trace* first
    cdef const Trace* newest
    cdef row_t row = session.traces, repeats = -1
    if session.queued < 0 or session.listed != slot:
        return False
    first = newest = &t.traces[row]
    running.tool = 0
    while row >= 0:
        trace = &t.traces[row]
        if trace.first < first.first or (trace.first == first.first and trace_sorts_before(trace, first)):
            first = trace
        if trace.last > newest.last or (trace.last == newest.last and trace_sorts_before(trace, newest)):
            newest = trace
        if repeats_of(t, trace) > repeats:
            repeats = repeats_of(t, trace)
            running.tool = t.readings[t.spans[trace.repeated].reading].tool if trace.repeated >= 0 else 0
        row = trace.sibling
    running.high, running.low = first.high, first.low
    running.trace_high, running.trace_low = newest.high, newest.low
    running.first, running.last = session.first, session.last
    running.tenant, running.agent = session.tenant, session.agent
    running.calls, running.repeats = session.calls, repeats
    running.dollars, running.tokens = session.dollars, session.tokens
    return True
