# Spans on their way in: into their trace, and into the slot in which they ended.
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from service.ingest.kernel.labels cimport find_span
from service.ingest.kernel.memory cimport NONE, give_back, hash_of, mixed, prefetch, row_at, row_t, small_t, take
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.sessions cimport close, learn_late
from service.ingest.kernel.slots cimport SLOT_NS, put_in, slot_of
from service.ingest.kernel.traces cimport (
    add, bit_of, detach, drop_forgotten, find_trace, offer_again, open_trace, sorts_before
)
from service.ingest.kernel.units cimport tokens_of
from service.ingest.kernel.usage cimport or_zero

cdef enum:
    SPANS_OF_TRACE_MAX = 10_000     # Spans kept of one trace.
    RESOURCE_RANK = 0xFFFF          # What a resource says of the session is believed last.


cdef inline void _look_ahead(Join* t, const DecodedSpan* decoded, row_t i, row_t stop) noexcept nogil:
    """Prefetch the index's place of a later span's trace, then the trace, then the newest of its spans."""
    cdef row_t row
    cdef uint64_t place
    if i + 12 < stop:
        place = hash_of(t.seed, decoded[i + 12].trace_high, decoded[i + 12].trace_low) & t.trace_index.mask
        prefetch(&t.trace_index.places[place])
    if i + 8 < stop:
        place = hash_of(t.seed, decoded[i + 8].trace_high, decoded[i + 8].trace_low)
        row = row_at(&t.trace_index, place)
        if row >= 0:
            prefetch(&t.traces[row])
            prefetch(<char*>&t.traces[row] + 64)
    if i + 4 < stop:
        place = hash_of(t.seed, decoded[i + 4].trace_high, decoded[i + 4].trace_low)
        row = row_at(&t.trace_index, place)
        if row >= 0 and t.traces[row].spans >= 0:
            prefetch(&t.spans[t.traces[row].spans])


cdef inline void admit(Join* t, row_t first, row_t stop, int64_t future) noexcept nogil:
    """Take in some of the decoded spans, but those that end after `future`. Counts them, and finds the latest end."""
    cdef row_t i
    for i in range(first, stop):
        _look_ahead(t, t.decoded, i, stop)
        _admit(t, &t.decoded[i], future)
    drop_forgotten(t)


cdef inline void _admit(Join* t, DecodedSpan* decoded, int64_t future) noexcept nogil:
    cdef row_t trace, row
    cdef bint is_late = decoded.end < t.state.floor
    if decoded.end > future:
        t.counts.future += 1
        decoded.flags |= WAS_FUTURE
        return
    t.counts.read += 1
    t.counts.latest = max(t.counts.latest, decoded.end)
    _note_seen(t, decoded)
    if t.state.live_spans >= t.spans_max:
        evict_oldest(t)
    trace = find_trace(t, decoded.trace_high, decoded.trace_low)
    row = NONE
    if trace >= 0 and t.traces[trace].ids >> bit_of(decoded.id) & 1:
        row = find_span(t, trace, decoded.id)
    if row >= 0:
        t.counts.duplicates += 1
        decoded.flags |= WAS_DUPLICATE
        if t.spans[row].wait >= 0:
            _tell_again(t, decoded, row)
        return
    if decoded.end < decoded.start:
        t.counts.negatives += 1
        decoded.flags |= WAS_NEGATIVE
    if is_late:
        t.counts.late += 1
        decoded.flags |= WAS_LATE
        if trace < 0:   # Nothing is left to join. Its session, if it had one, is closed and counted.
            return
    if trace < 0:
        if t.state.live_traces >= t.traces_max:
            evict_oldest(t)
        trace = open_trace(t, decoded.trace_high, decoded.trace_low)
    row = _keep(t, decoded, trace)
    if not is_late:
        _wait(t, decoded, row)
        return
    learn_late(t, &t.traces[trace], &t.spans[row], decoded.end)
    if t.spans[row].flags & IS_LOOSE:
        give_back(&t.span_table, row)


cdef inline void _note_seen(Join* t, const DecodedSpan* decoded) noexcept nogil:
    """Note that a span of this service reported this operation, and tokens if it did."""
    cdef int64_t* seen = t.seen + <int64_t>decoded.resource * SEEN
    cdef int operation = t.readings[decoded.reading].operation
    seen[operation] = max(seen[operation], decoded.end)
    if decoded.flags & SPENT:
        seen[SEEN_TOKENS] = max(seen[SEEN_TOKENS], decoded.end)


cdef inline row_t _keep(Join* t, DecodedSpan* decoded, row_t at) noexcept nogil:
    """A span's row, in its trace if there is room. A root, which ends last, always finds some."""
    cdef row_t row = take(&t.span_table)
    cdef Span* span = &t.spans[row]
    cdef Trace* trace = &t.traces[at]
    span.id, span.parent_id, span.start = decoded.id, decoded.parent_id, decoded.start
    span.trace, span.parent, span.wait, span.next = at, NONE, NONE, NONE
    span.tenant, span.reading, span.resource = decoded.tenant, decoded.reading, decoded.resource
    span.flags, span.weight, span.response = <small_t>(decoded.flags & 0xFFFF), decoded.weight, 0
    span.times = 0
    _answers(t, decoded, span)
    if (decoded.parent_id != 0 or trace.root >= 0) and trace.count >= SPANS_OF_TRACE_MAX:
        t.counts.trace_full += 1
        decoded.flags |= WAS_TRACE_FULL
        span.flags |= IS_LOOSE
        return row
    add(t, trace, row)
    _name(t, decoded, row)
    return row


cdef inline void _answers(const Join* t, const DecodedSpan* decoded, Span* span) noexcept nogil:
    """Have a span know its response id; of a tool what stands for its name and arguments, where they are told."""
    cdef double arguments = decoded.numbers[ARGUMENTS]
    if t.readings[decoded.reading].operation == OP_TOOL and arguments >= 0.0:
        span.response = mixed(mixed(t.seed[0], <uint64_t>arguments), t.readings[decoded.reading].tool)
        span.flags |= IS_CALLED
    elif decoded.response:
        span.response = decoded.response
        span.flags &= ~<small_t>IS_CALLED


cdef inline void _name(Join* t, const DecodedSpan* decoded, row_t row) noexcept nogil:
    """Have a span name the session of its trace, if nobody better does."""
    cdef Span* span = &t.spans[row]
    cdef Trace* trace = &t.traces[span.trace]
    cdef int rank
    if decoded.name_high or decoded.name_low:
        rank = RESOURCE_RANK if decoded.flags & NAMED_BY_RESOURCE else t.readings[decoded.reading].rank
        if trace.named_by < 0 or rank < trace.name_rank or (
            rank == trace.name_rank and sorts_before(span, &t.spans[trace.named_by])
        ):
            trace.named_by, trace.name_rank = row, rank
            trace.name_high, trace.name_low = decoded.name_high, decoded.name_low


cdef inline void _tell_again(Join* t, const DecodedSpan* decoded, row_t row) noexcept nogil:
    """Take a later account of a span that waits: the one that ends later, or tells more of what was used.

    Some exporters write a span while it is under way. It keeps its place in the slot in which it was put, and what the
    later account does not say.
    """
    cdef Span* span = &t.spans[row]
    cdef Wait* wait = &t.waits[span.wait]
    cdef Trace* trace = &t.traces[span.trace]
    cdef const Reading* told = &t.readings[decoded.reading]
    cdef bint says_more = told.operation != OP_OTHER or reading_of(t, span).operation == OP_OTHER
    if decoded.end < wait.end or (decoded.end == wait.end and _used(decoded) <= tokens_of(wait)):
        return
    if decoded.end > wait.end:
        wait.end = decoded.end
        t.state.moved = max(t.state.moved, decoded.end)
    if says_more and (told.operation == OP_RETRIEVAL) != (reading_of(t, span).operation == OP_RETRIEVAL):
        span.flags &= ~<small_t>HAS_PARTS   # They mean something else from here on.
    span.flags = span.flags & ~<small_t>FAILED | <small_t>(decoded.flags & FAILED)
    if decoded.flags & FAILED:
        trace.marks |= HAS_FAILED
    if decoded.flags & SPENT:
        span.flags &= ~<small_t>(HAS_PARTS | TOLD_EMPTY)
        span.flags |= <small_t>(decoded.flags & (SPENT | HAS_PARTS | TOLD_EMPTY))
        memcpy(wait.numbers, decoded.numbers, KEPT_NUMBERS * sizeof(double))
    if decoded.flags & SPENT and decoded.flags & HAS_PARTS:
        memcpy(wait.parts, &decoded.numbers[FIRST_PART], KEPT_PARTS * sizeof(double))
    _answers(t, decoded, span)
    if decoded.tenant:
        span.tenant = decoded.tenant
    if says_more:
        span.reading = decoded.reading
    offer_again(t, trace)
    _name(t, decoded, row)


cdef inline double _used(const DecodedSpan* decoded) noexcept nogil:
    """Tokens of a decoded span, -1.0 if it tells none."""
    return or_zero(decoded.numbers[INPUT]) + or_zero(decoded.numbers[OUTPUT]) if decoded.flags & SPENT else -1.0


cdef inline void _wait(Join* t, const DecodedSpan* decoded, row_t row) noexcept nogil:
    """Have a span wait for its slot to close."""
    cdef row_t at = take(&t.wait_table)
    cdef Wait* wait = &t.waits[at]
    t.spans[row].wait = at
    wait.span, wait.duplicate, wait.end = row, NONE, decoded.end
    memcpy(wait.numbers, decoded.numbers, KEPT_NUMBERS * sizeof(double))
    if decoded.flags & HAS_PARTS:
        memcpy(wait.parts, &decoded.numbers[FIRST_PART], KEPT_PARTS * sizeof(double))
    put_in(t, &t.slots[slot_of(t, decoded.end - decoded.end % SLOT_NS)], at, decoded.end)
    t.state.pending += 1
    t.traces[t.spans[row].trace].waits += 1


cdef inline void evict_oldest(Join* t) noexcept nogil:
    """Give up the oldest trace; its session closes. What waits in it is still counted, and joins nothing."""
    cdef row_t oldest = t.state.oldest, session = t.traces[t.state.oldest].session
    t.counts.traces_full += 1
    if session >= 0:
        close(t, session, t.sessions[session].last)
    if t.traces[oldest].marks & IS_LIVE:    # Its session may have taken it along.
        detach(t, oldest)
