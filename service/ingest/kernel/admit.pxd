# Spans on their way in: into their trace, and into the slot in which they ended.
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from service.ingest.kernel.labels cimport find_span
from service.ingest.kernel.memory cimport NONE, give_back, hash_of, prefetch, row_at, row_t, small_t, take
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.sessions cimport close, learn_late
from service.ingest.kernel.slots cimport SLOT_NS, put_in, slot_of
from service.ingest.kernel.traces cimport (
    add, bit_of, detach, drop_forgotten, find_trace, open_trace, sorts_before
)

cdef enum:
    SPANS_OF_TRACE_MAX = 10_000     # Spans kept of one trace.


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
    if trace >= 0 and t.traces[trace].ids >> bit_of(decoded.id) & 1 and find_span(t, trace, decoded.id) >= 0:
        t.counts.duplicates += 1
        decoded.flags |= WAS_DUPLICATE
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
    cdef int rank
    span.id, span.parent_id, span.start, span.response = decoded.id, decoded.parent_id, decoded.start, decoded.response
    span.trace, span.parent, span.wait, span.next = at, NONE, NONE, NONE
    span.tenant, span.reading, span.resource = decoded.tenant, decoded.reading, decoded.resource
    span.flags, span.weight = <small_t>(decoded.flags & 0xFFFF), decoded.weight
    if (decoded.parent_id != 0 or trace.root >= 0) and trace.count >= SPANS_OF_TRACE_MAX:
        t.counts.trace_full += 1
        decoded.flags |= WAS_TRACE_FULL
        span.flags |= IS_LOOSE
        return row
    add(t, trace, row)
    if decoded.name_high or decoded.name_low:
        rank = t.readings[decoded.reading].rank
        if trace.named_by < 0 or rank < trace.name_rank or (
            rank == trace.name_rank and sorts_before(span, &t.spans[trace.named_by])
        ):
            trace.named_by, trace.name_rank = row, rank
            trace.name_high, trace.name_low = decoded.name_high, decoded.name_low
    return row


cdef inline void _wait(Join* t, const DecodedSpan* decoded, row_t row) noexcept nogil:
    """Have a span wait for its slot to close."""
    cdef row_t at = take(&t.wait_table)
    cdef Wait* wait = &t.waits[at]
    t.spans[row].wait = at
    wait.span, wait.duplicate, wait.end = row, NONE, decoded.end
    memcpy(wait.numbers, decoded.numbers, KEPT_NUMBERS * sizeof(double))
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
