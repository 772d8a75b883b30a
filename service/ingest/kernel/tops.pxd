# What stands for the root of a trace whose root is not ours: a browser's span, a gateway's, one that was filtered out.
#
# That a parent did not come may mean that it has not ended yet. So not every span without one is a top: one that
# another process began is, and so is one of an agent, or of a workflow that holds all the rest, once nothing else
# hangs in the air. A parent that comes later wins.
from service.ingest.kernel.labels cimport has_other_orphan, parent_of
from service.ingest.kernel.memory cimport row_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.traces cimport sorts_before


cdef inline bint _is_run(const Join* t, const Span* span) noexcept nogil:
    cdef int operation = t.readings[span.reading].operation
    return operation == OP_AGENT or operation == OP_WORKFLOW or span.flags & IS_REMOTE != 0


cdef inline bint may_be_top(Join* t, Span* span) noexcept nogil:
    """Whether a span that ends, and is not a root, may be the top of its trace."""
    return _is_run(t, span) and parent_of(t, span) == NULL


cdef inline bint has_top(Join* t, const Trace* trace) noexcept nogil:
    """Whether those spans of a trace without a root that are counted are all below tops."""
    cdef row_t row = trace.spans
    cdef Span* span
    cdef Span* parent
    cdef int orphans = 0, workflows = 0
    while row >= 0:
        span = &t.spans[row]
        row = span.next
        if span.wait >= 0:
            continue
        parent = parent_of(t, span)
        if parent == NULL:
            if not _is_run(t, span):
                return False
            orphans += 1
            workflows += span.flags & IS_REMOTE == 0 and t.readings[span.reading].operation == OP_WORKFLOW
        elif parent.wait >= 0:
            return False
    return orphans > 0 and (workflows == 0 or orphans == 1)


cdef inline Span* first_of(Join* t, const Trace* trace) noexcept nogil:
    """The root of a trace, else the first of its spans without a parent, else its first span."""
    cdef Span* first = &t.spans[trace.root if trace.root >= 0 else trace.spans]
    cdef Span* span
    cdef row_t row = trace.spans
    cdef bint is_orphan, has_orphan = parent_of(t, first) == NULL
    if trace.root >= 0:
        return first
    while row >= 0:
        span = &t.spans[row]
        is_orphan = parent_of(t, span) == NULL
        if is_orphan > has_orphan or (is_orphan == has_orphan and sorts_before(span, first)):
            first, has_orphan = span, is_orphan
        row = span.next
    return first


cdef inline Span* root_of(Join* t, const Trace* trace) noexcept nogil:
    """The span that tells whether a trace failed: its root; else its first span without a parent, if that may be a top
    or is the only one; NULL if there is none.
    """
    cdef Span* first = first_of(t, trace)
    if first.parent_id == 0 or _is_run(t, first):
        return first
    return NULL if has_other_orphan(t, trace, first) else first
