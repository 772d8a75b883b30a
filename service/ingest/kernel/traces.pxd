# Live traces, oldest first, each with its spans; and what a trace as a whole knows.
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memset

from service.ingest.kernel.labels cimport is_model
from service.ingest.kernel.memory cimport (
    NONE, enter, give_back, hash_of, leave, next_like, prefetch, row_t, take, word_t
)
from service.ingest.kernel.rows cimport *

cdef enum:
    FEW_SPANS = 16      # A trace of more has its spans in an index.
    IN_TURNS = 16       # Traces whose spans are dropped in turns.


cdef inline row_t find_trace(Join* t, uint64_t high, uint64_t low) noexcept nogil:
    """The live trace of this id, or NONE."""
    cdef uint64_t hashed = hash_of(t.seed, high, low)
    cdef uint64_t place = hashed
    cdef row_t row
    while True:
        row = next_like(&t.trace_index, hashed, &place)
        if row < 0 or (t.traces[row].high == high and t.traces[row].low == low):
            return row


cdef inline row_t open_trace(Join* t, uint64_t high, uint64_t low) noexcept nogil:
    """A new trace, the youngest."""
    cdef row_t row = take(&t.trace_table)
    cdef Trace* trace = &t.traces[row]
    cdef int field
    memset(trace, 0, sizeof(Trace))
    trace.high, trace.low, trace.marks = high, low, IS_LIVE
    trace.spans = trace.root = trace.named_by = trace.newer = NONE
    for field in range(DEFAULTS):
        trace.defaults[field] = NONE
    begin_segment(trace)
    trace.older = t.state.newest
    if t.state.newest >= 0:
        t.traces[t.state.newest].newer = row
    else:
        t.state.oldest = row
    t.state.newest = row
    t.state.live_traces += 1
    enter(&t.trace_index, hash_of(t.seed, high, low), row)
    return row


cdef inline void begin_segment(Trace* trace) noexcept nogil:
    """Leave the session: what was counted of this segment of it is told."""
    trace.session = trace.sibling = NONE
    trace.first, trace.last = INT64_MAX, 0
    trace.outcome_ns, trace.outcome_id, trace.outcome = 0, 0, -1
    trace.dollars, trace.unpriced, trace.free = 0.0, 0, 0
    memset(trace.went, 0, sizeof(trace.went))
    trace.lowest = trace.tokens_in = trace.tokens_out = 0.0
    trace.repeated, trace.news = NONE, 0


cdef inline small_t repeats_of(const Join* t, const Trace* trace) noexcept nogil:
    """How often one tool was called again with the same arguments, of the one that was so most often."""
    return t.spans[trace.repeated].times if trace.repeated >= 0 else 0


cdef inline bint sorts_before(const Span* span, const Span* other) noexcept nogil:
    """Whether a span is asked before another one of its trace: roots are first, then who began first, then ids."""
    if (span.parent_id != 0) != (other.parent_id != 0):
        return other.parent_id != 0
    if span.start != other.start:
        return span.start < other.start
    return <int64_t>span.id < <int64_t>other.id


cdef inline bint trace_sorts_before(const Trace* trace, const Trace* other) noexcept nogil:
    """Whether a trace's id is the lesser one."""
    if trace.high != other.high:
        return <int64_t>trace.high < <int64_t>other.high
    return <int64_t>trace.low < <int64_t>other.low


cdef inline int bit_of(uint64_t id) noexcept nogil:
    """The bit of `Trace.ids` that an id has."""
    return id * <uint64_t>0x9E3779B97F4A7C15 >> 58


cdef inline void enter_span(Join* t, row_t row) noexcept nogil:
    """Have a span of many found by its id, and by its response id if it was the first to be counted with that."""
    cdef Span* span = &t.spans[row]
    enter(&t.span_index, hash_of(t.seed, span.id, span.trace), row)
    if span.flags & ANSWERED:
        enter(&t.span_index, hash_of(t.seed, span.response, -1 - <int64_t>span.trace), row)


cdef inline void add(Join* t, Trace* trace, row_t row) noexcept nogil:
    """Put a span into its trace; the order of arrival makes no difference to what the trace then knows."""
    cdef Span* span = &t.spans[row]
    cdef row_t each
    span.next = trace.spans
    trace.spans = row
    trace.count += 1
    trace.ids |= <uint64_t>1 << bit_of(span.id)
    t.state.live_spans += 1
    if trace.marks & IS_INDEXED:
        enter_span(t, row)
    elif trace.count > FEW_SPANS:
        trace.marks |= IS_INDEXED
        each = row
        while each >= 0:
            enter_span(t, each)
            each = t.spans[each].next
    if span.parent_id == 0 and (trace.root < 0 or sorts_before(span, &t.spans[trace.root])):
        trace.root = row
    if span.flags & FAILED:
        trace.marks |= HAS_FAILED
    _offer(t, trace, row)


cdef inline void offer_again(Join* t, Trace* trace) noexcept nogil:
    """Work out anew what the spans of a trace say for one another: one of them says something else now."""
    cdef row_t row = trace.spans
    cdef int field
    for field in range(DEFAULTS):
        trace.defaults[field] = NONE
    while row >= 0:
        _offer(t, trace, row)
        row = t.spans[row].next


cdef inline void _offer(Join* t, Trace* trace, row_t row) noexcept nogil:
    """Let a span say for its trace what it says."""
    cdef Span* span = &t.spans[row]
    cdef Reading* reading = reading_of(t, span)
    if not span.flags & IS_NATIVE and is_model(reading.operation):
        trace.marks |= HAS_CALLS
    if reading.agent:
        _offer_default(t, trace, row, DEFAULT_AGENT)
    if reading.by_name and (not reading.names_top or span.parent_id == 0):
        _offer_default(t, trace, row, DEFAULT_BY_NAME)
    if span.tenant:
        _offer_default(t, trace, row, DEFAULT_TENANT)
    if reading.version:
        _offer_default(t, trace, row, DEFAULT_VERSION)
    if reading.operation != OP_EMBEDDING:  # The model of an embedding is nobody else's.
        if reading.provider:
            _offer_default(t, trace, row, DEFAULT_PROVIDER)
        if reading.model:
            _offer_default(t, trace, row, DEFAULT_MODEL)


cdef inline void _offer_default(Join* t, Trace* trace, row_t row, int field) noexcept nogil:
    """Let a span say a field for its trace, if it sorts before the one that does."""
    if trace.defaults[field] < 0 or sorts_before(&t.spans[row], &t.spans[trace.defaults[field]]):
        trace.defaults[field] = row


cdef inline row_t find_answer(Join* t, row_t trace, uint64_t response) noexcept nogil:
    """The span of a trace that was counted first of those with this response id, or NONE."""
    cdef uint64_t hashed, place
    cdef row_t row = t.traces[trace].spans
    if not t.traces[trace].answers >> (response & 31) & 1:
        return NONE
    if not t.traces[trace].marks & IS_INDEXED:
        while row >= 0 and not (t.spans[row].flags & ANSWERED and t.spans[row].response == response):
            row = t.spans[row].next
        return row
    hashed = place = hash_of(t.seed, response, -1 - <int64_t>trace)
    while True:
        row = next_like(&t.span_index, hashed, &place)
        if row < 0 or (t.spans[row].response == response and t.spans[row].trace == trace):
            return row


cdef inline void enter_answer(Join* t, Span* span, int flags) noexcept nogil:
    """Have a span found by its response id."""
    span.flags |= flags
    t.traces[span.trace].answers |= <word_t>1 << (span.response & 31)
    if t.traces[span.trace].marks & IS_INDEXED:
        enter(&t.span_index, hash_of(t.seed, span.response, -1 - <int64_t>span.trace), row_of(t, span))


cdef inline void detach(Join* t, row_t row) noexcept nogil:
    """Have a live trace not found any more: a later span of it begins a new one."""
    cdef Trace* trace = &t.traces[row]
    leave(&t.trace_index, hash_of(t.seed, trace.high, trace.low), row)
    if trace.older >= 0:
        t.traces[trace.older].newer = trace.newer
    else:
        t.state.oldest = trace.newer
    if trace.newer >= 0:
        t.traces[trace.newer].older = trace.older
    else:
        t.state.newest = trace.older
    trace.older = trace.newer = NONE
    trace.marks &= ~IS_LIVE
    t.state.live_spans -= trace.count
    t.state.live_traces -= 1


cdef inline void forget(Join* t, row_t row) noexcept nogil:
    """Have a trace dropped that nothing waits in: nobody finds it any more."""
    if t.traces[row].marks & IS_LIVE:
        detach(t, row)
    t.traces[row].sibling = t.forgotten
    t.forgotten = row


cdef inline void drop_forgotten(Join* t) noexcept nogil:
    """Give back the rows of the forgotten traces and of their spans.

    Only a span says where the next span of its trace is, and that is far from it in memory. So several traces are gone
    through in turns.
    """
    cdef row_t trace = t.forgotten
    cdef row_t[IN_TURNS] traces, spans
    cdef int n, i, left
    t.forgotten = NONE
    while trace >= 0:
        n, left = 0, 1
        while trace >= 0 and n < IN_TURNS:
            traces[n], spans[n] = trace, t.traces[trace].spans
            trace = t.traces[trace].sibling
            n += 1
        while left > 0:
            left = 0
            for i in range(n):
                if spans[i] >= 0:
                    spans[i] = _drop(t, &t.traces[traces[i]], spans[i])
                    left += 1
        for i in range(n):
            give_back(&t.trace_table, traces[i])


cdef inline row_t _drop(Join* t, const Trace* trace, row_t row) noexcept nogil:
    """Give back the row of a span of a forgotten trace; the next one."""
    cdef Span* span = &t.spans[row]
    cdef row_t following = span.next
    if following >= 0:
        prefetch(&t.spans[following])
    if trace.marks & IS_INDEXED:
        leave(&t.span_index, hash_of(t.seed, span.id, span.trace), row)
        if span.flags & ANSWERED:
            leave(&t.span_index, hash_of(t.seed, span.response, -1 - <int64_t>span.trace), row)
    give_back(&t.span_table, row)
    return following
