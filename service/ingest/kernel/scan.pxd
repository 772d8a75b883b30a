# OTLP trace bytes to columns, without an object for each span. It accepts just what protobuf accepts.
# Functions return where they ended, or NULL for what is malformed. `depth` is that of the message, as protobuf counts.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from service.ingest.kernel.attributes cimport Status, attribute, event, new_attribute, read_status, write_status
from service.ingest.kernel.columns cimport *
from service.ingest.kernel.memory cimport load8, row_t
from service.ingest.kernel.wire cimport BYTES, LINK, PLAIN, Text, held, past, past_message, read_tag, varint

cdef enum:
    # Kinds of a span whose parent is of another process, and the flags that say that it is.
    SERVER = 2
    CONSUMER = 5
    PARENT_IS_REMOTE = 0x300


cdef inline Text span_field(ColumnData* c, Text at, Text end, uint64_t tag, SpanColumns* span) noexcept nogil:
    """A length-delimited field of a span, 3 deep, that is written as it stands, or only checked."""
    cdef Text begin
    cdef uint64_t size
    if tag == 0x6A:
        return past_message(at, end, LINK, 4)
    begin = held(at, end, &at)
    if begin == NULL:
        return NULL
    size = at - begin
    if tag == 0x0A:
        span.trace_high = load8(begin) if size == 16 else 0
        span.trace_low = load8(begin + 8) if size == 16 else 0
    elif tag == 0x12:
        span.id = load8(begin) if size == 8 else 0
    elif tag == 0x22:
        span.parent_id = load8(begin) if size == 8 else 0
    elif tag == 0x2A:
        span.name, span.name_size = begin - c.text, size
    elif tag == 0x1A:
        span.state, span.state_size = begin - c.text, size
    return at


cdef inline Text one_span(
    ColumnData* c, Text at, Text end, RecordColumns* record, row_t resource, row_t scope
) noexcept nogil:
    """A Span, 3 deep, into a row; one without good ids or times is only counted."""
    cdef uint64_t tag
    cdef uint64_t kind = 0
    cdef uint32_t flags = 0
    cdef Attribute raised
    cdef Text begin, stop
    cdef Status read
    cdef SpanColumns* span
    memset(&read, 0, sizeof(Status))
    raised.kind = 0
    if c.n_spans == c.room_spans:
        c.spans = <SpanColumns*>larger(c.spans, &c.room_spans, sizeof(SpanColumns))
    span = &c.spans[c.n_spans]
    memset(span, 0, sizeof(SpanColumns))
    span.resource, span.scope, span.first = resource, scope, c.n_attributes
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x4A:
            at = attribute(c, at, end, ON_SPAN | IS_CONTENT, 4)
        elif tag == 0x39 or tag == 0x41:
            if end - at < 8:
                return NULL
            if tag == 0x39:
                span.start = load8(at)
            else:
                span.end = load8(at)
            at += 8
        elif tag == 0x7A:
            begin = held(at, end, &stop)
            at = NULL if begin == NULL else read_status(begin, stop, &read)
        elif tag == 0x5A:
            at = event(c, at, end, &raised, record)
        elif tag == 0x30:
            at = varint(at, end, 10, &kind)
        elif tag == 0x85:
            if end - at < 4:
                return NULL
            flags = at[0] | at[1] << 8
            at += 4
        elif tag & 7 == BYTES:
            at = span_field(c, at, end, tag, span)
        else:
            at = past(at, end, tag, 3)
        if at == NULL:
            return NULL
    if (span.trace_high == 0 and span.trace_low == 0) or span.id == 0:
        record.bad_ids += 1
    elif span.start <= 0 or span.end <= 0:  # Past 2262 is negative here.
        record.bad_times += 1
    else:
        if raised.kind != 0:
            new_attribute(c)[0] = raised
        write_status(c, &read)
        span.status, span.stop = read.code, c.n_attributes
        # A server's or a consumer's span continues what another process began; a flag may say so of any span.
        span.is_remote = (
            <int32_t>kind == SERVER or <int32_t>kind == CONSUMER or flags & PARENT_IS_REMOTE == PARENT_IS_REMOTE
        )
        c.n_spans += 1
        record.last = max(record.last, span.end)
        return at
    c.n_attributes = span.first
    return at


cdef inline Text one_resource(ColumnData* c, Text at, Text end) noexcept nogil:
    """A Resource, 2 deep: its attributes into rows."""
    cdef uint64_t tag
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x0A:
            at = attribute(c, at, end, ON_RESOURCE, 3)
        elif tag == 0x1A:
            at = past_message(at, end, PLAIN, 3)
        else:
            at = past(at, end, tag, 2)
        if at == NULL:
            return NULL
    return at


cdef inline Text one_scope(ColumnData* c, Text at, Text end, ScopeColumns* scope) noexcept nogil:
    """An InstrumentationScope, 3 deep: its name into a row, its attributes into rows of their own."""
    cdef uint64_t tag
    cdef Text begin
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x0A:
            begin = held(at, end, &at)
            if begin == NULL:
                return NULL
            scope.name, scope.name_size = begin - c.text, at - begin
        elif tag == 0x1A:
            at = attribute(c, at, end, ON_SCOPE, 4)
        else:
            at = past(at, end, tag, 3)
        if at == NULL:
            return NULL
    return at


cdef inline Text scope_spans(ColumnData* c, Text begin, Text end, RecordColumns* record, row_t resource) noexcept nogil:
    """A ScopeSpans, 2 deep. The scope may follow its spans, so it is looked for first."""
    cdef row_t row = c.n_scopes, spans = c.n_spans, attributes = c.n_attributes
    cdef uint64_t tag
    cdef Text at, start, stop
    cdef int reads_spans
    if row == c.room_scopes:
        c.scopes = <ScopeColumns*>larger(c.scopes, &c.room_scopes, sizeof(ScopeColumns))
    memset(&c.scopes[row], 0, sizeof(ScopeColumns))
    c.scopes[row].first = attributes
    for reads_spans in range(2):
        at = begin
        while at < end:
            at = read_tag(at, end, &tag)
            if at == NULL:
                return NULL
            if tag == (0x12 if reads_spans else 0x0A):
                start = held(at, end, &stop)
                if start == NULL:
                    return NULL
                if reads_spans:
                    at = one_span(c, start, stop, record, resource, row)
                else:
                    at = one_scope(c, start, stop, &c.scopes[row])
            else:
                at = past(at, end, tag, 2)
            if at == NULL:
                return NULL
        if not reads_spans:
            c.scopes[row].stop = c.n_attributes
    if c.n_spans > spans:
        c.n_scopes = row + 1
    else:
        c.n_attributes = attributes
    return end


cdef inline bint is_own(const ColumnData* c, const ResourceColumns* resource) noexcept nogil:
    """Whether Tocsin itself wrote what is of this resource."""
    cdef row_t i
    for i in range(resource.first, resource.stop):
        if c.attributes[i].key == c.own_key:
            return True
    return False


cdef inline Text resource_spans(ColumnData* c, Text begin, Text end, RecordColumns* record) noexcept nogil:
    """A ResourceSpans, 1 deep. The resource may follow its spans, so it is looked for first."""
    cdef row_t row = c.n_resources, spans = c.n_spans, attributes = c.n_attributes, scopes = c.n_scopes
    cdef int64_t last = record.last
    cdef uint64_t tag
    cdef Text at, start, stop
    cdef int reads_spans
    if row == c.room_resources:
        c.resources = <ResourceColumns*>larger(c.resources, &c.room_resources, sizeof(ResourceColumns))
    c.resources[row].first = attributes
    for reads_spans in range(2):
        at = begin
        while at < end:
            at = read_tag(at, end, &tag)
            if at == NULL:
                return NULL
            if tag == (0x12 if reads_spans else 0x0A):
                start = held(at, end, &stop)
                if start == NULL:
                    return NULL
                at = scope_spans(c, start, stop, record, row) if reads_spans else one_resource(c, start, stop)
            else:
                at = past(at, end, tag, 1)
            if at == NULL:
                return NULL
        if not reads_spans:
            c.resources[row].stop = c.n_attributes
    if c.n_spans > spans and is_own(c, &c.resources[row]):
        record.own += c.n_spans - spans
        record.last, c.n_spans, c.n_scopes = last, spans, scopes
    if c.n_spans > spans:
        c.n_resources = row + 1
    else:
        c.n_attributes = attributes
    return end


cdef inline Text one_record(ColumnData* c, Text at, Text end, RecordColumns* record) noexcept nogil:
    """An ExportTraceServiceRequest."""
    cdef uint64_t tag
    cdef Text begin, stop
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x0A:
            begin = held(at, end, &stop)
            at = NULL if begin == NULL else resource_spans(c, begin, stop, record)
        else:
            at = past(at, end, tag, 0)
        if at == NULL:
            return NULL
    return at


cdef inline void scan(ColumnData* c) noexcept nogil:
    """Scan records that stand one after the other. One that is no OTLP is marked and leaves no rows."""
    cdef Text at = c.text
    cdef row_t number, spans, attributes, resources, scopes
    cdef int64_t end
    cdef RecordColumns* record
    c.n_spans = c.n_attributes = c.n_resources = c.n_scopes = 0
    for number in range(c.n_records):
        record = &c.records[number]
        spans, attributes, resources, scopes = c.n_spans, c.n_attributes, c.n_resources, c.n_scopes
        end = record.end
        memset(record, 0, sizeof(RecordColumns))
        record.end = end
        if one_record(c, at, c.text + end, record) == NULL:
            c.n_spans, c.n_attributes, c.n_resources, c.n_scopes = spans, attributes, resources, scopes
            memset(record, 0, sizeof(RecordColumns))
            record.end, record.is_bad = end, 1
        record.first, record.stop = spans, c.n_spans
        at = c.text + end
