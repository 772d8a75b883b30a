"""OTLP trace bytes to columns, compiled: no object is built a span.

It accepts what protobuf accepts, to the letter: submessages that come twice are merged, of single fields the last one
wins, what is not known is checked and passed over, groups too. Only text that is not UTF-8 is no reason to refuse.
`at` is where reading stands; a negative one says why it cannot go on. See `columns` for what is written, `memory` for
how one source makes both the fast build and the checked one.
"""

from numba import int64, njit

from service.ingest.machine import COMPILED, INLINED
from service.ingest.memory import cell, put, word
from service.ingest.otlp.attributes import FULL, attribute
from service.ingest.otlp.columns import (
    END,
    FIRST,
    IS_CONTENT,
    NAME,
    NAME_BYTES,
    ON_RESOURCE,
    ON_SCOPE,
    ON_SPAN,
    PARENT,
    RECORD_BAD_IDS,
    RECORD_BAD_TIMES,
    RECORD_CELLS,
    RECORD_END,
    RECORD_FIRST,
    RECORD_IS_BAD,
    RECORD_LAST,
    RECORD_STOP,
    RESOURCE,
    RESOURCE_CELLS,
    RESOURCE_FIRST,
    RESOURCE_STOP,
    SCOPE,
    SCOPE_BYTES,
    SCOPE_CELLS,
    SCOPE_FIRST,
    SCOPE_NAME,
    SCOPE_STOP,
    SPAN_CELLS,
    SPAN_ID,
    START,
    STATE,
    STATE_BYTES,
    STATUS,
    STOP,
    TRACE,
)
from service.ingest.otlp.room import ATTRIBUTES, RESOURCES, SCOPES, SPANS
from service.ingest.otlp.wire import (
    BYTES,
    EVENT,
    LINK,
    MALFORMED,
    PLAIN,
    held,
    past,
    past_message,
    read_tag,
    varint,
)


@njit(**INLINED)
def _status(room, at, end, code):
    """A Status, 4 deep: where it ends, and its code, of which protobuf keeps 32 bits."""
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            break
        if tag == 0x18:
            code, at = varint(room.text, at, end, 10)
            code = (code << 32) >> 32
        else:
            at = past(room.text, room.stack, at, end, tag, 4)
        if at < 0:
            break
    return at, code


@njit(**INLINED)
def _held_field(room, at, end, tag, row):
    """A length-delimited field of a span, 3 deep, that is written as it stands, or only checked: where it ends."""
    if tag == 0x5A or tag == 0x6A:
        return past_message(room.text, room.stack, at, end, EVENT if tag == 0x5A else LINK, 4)
    begin, at = held(room.text, at, end)
    if at < 0:
        return at
    size = at - begin
    if tag == 0x0A:
        put(room.spans, row + TRACE, word(room.text, begin) if size == 16 else int64(0))
        put(room.spans, row + TRACE + 1, word(room.text, begin + 8) if size == 16 else int64(0))
    elif tag == 0x12:
        put(room.spans, row + SPAN_ID, word(room.text, begin) if size == 8 else int64(0))
    elif tag == 0x22:
        put(room.spans, row + PARENT, word(room.text, begin) if size == 8 else int64(0))
    elif tag == 0x2A:
        put(room.spans, row + NAME, begin)
        put(room.spans, row + NAME_BYTES, size)
    elif tag == 0x1A:
        put(room.spans, row + STATE, begin)
        put(room.spans, row + STATE_BYTES, size)
    return at


@njit(**COMPILED)
def _span(room, at, end, record, resource, scope):
    """A Span, 3 deep, into a row; one without good ids or times is only counted."""
    number = cell(room.used, SPANS)
    if number >= cell(room.limits, SPANS):
        return int64(FULL)
    row = number * SPAN_CELLS
    for i in range(SPAN_CELLS):
        put(room.spans, row + i, int64(0))
    put(room.spans, row + RESOURCE, resource)
    put(room.spans, row + SCOPE, scope)
    put(room.spans, row + FIRST, cell(room.used, ATTRIBUTES))
    code = int64(0)
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            return at
        if tag == 0x4A:
            at = attribute(room, at, end, ON_SPAN | IS_CONTENT, 4)
        elif tag == 0x39 or tag == 0x41:
            at += 8
            if at > end:
                return int64(MALFORMED)
            put(room.spans, row + (START if tag == 0x39 else END), word(room.text, at - 8))
        elif tag == 0x7A:
            begin, stop = held(room.text, at, end)
            at, code = _status(room, begin, stop, code) if begin >= 0 else (begin, code)
        elif tag & 7 == BYTES:
            at = _held_field(room, at, end, tag, row)
        else:
            at = past(room.text, room.stack, at, end, tag, 3)
        if at < 0:
            return at
    trace_is_set = cell(room.spans, row + TRACE) != 0 or cell(room.spans, row + TRACE + 1) != 0
    if not trace_is_set or cell(room.spans, row + SPAN_ID) == 0:
        fault = int64(RECORD_BAD_IDS)
    elif cell(room.spans, row + START) <= 0 or cell(room.spans, row + END) <= 0:  # Past 2262 is negative here.
        fault = int64(RECORD_BAD_TIMES)
    else:
        put(room.spans, row + STATUS, code)
        put(room.spans, row + STOP, cell(room.used, ATTRIBUTES))
        put(room.used, SPANS, number + 1)
        last_ns = max(cell(room.records, record + RECORD_LAST), cell(room.spans, row + END))
        put(room.records, record + RECORD_LAST, last_ns)
        return at
    put(room.records, record + fault, cell(room.records, record + fault) + 1)
    put(room.used, ATTRIBUTES, cell(room.spans, row + FIRST))
    return at


@njit(**COMPILED)
def _resource(room, at, end):
    """A Resource, 2 deep: its attributes into rows."""
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            return at
        if tag == 0x0A:
            at = attribute(room, at, end, ON_RESOURCE, 3)
        elif tag == 0x1A:
            at = past_message(room.text, room.stack, at, end, PLAIN, 3)
        else:
            at = past(room.text, room.stack, at, end, tag, 2)
        if at < 0:
            return at
    return at


@njit(**COMPILED)
def _scope(room, at, end, row):
    """An InstrumentationScope, 3 deep: its name into a row, its attributes into rows of their own."""
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            return at
        if tag == 0x0A:
            begin, at = held(room.text, at, end)
            put(room.scopes, row * SCOPE_CELLS + SCOPE_NAME, begin)
            put(room.scopes, row * SCOPE_CELLS + SCOPE_BYTES, at - begin)
        elif tag == 0x1A:
            at = attribute(room, at, end, ON_SCOPE, 4)
        else:
            at = past(room.text, room.stack, at, end, tag, 3)
        if at < 0:
            return at
    return at


@njit(**COMPILED)
def _scope_spans(room, begin, end, record, resource):
    """A ScopeSpans, 2 deep. The scope may follow its spans, so it is looked for first."""
    row, spans, attributes = cell(room.used, SCOPES), cell(room.used, SPANS), cell(room.used, ATTRIBUTES)
    if row >= cell(room.limits, SCOPES):
        return int64(FULL)
    put(room.scopes, row * SCOPE_CELLS + SCOPE_NAME, int64(0))
    put(room.scopes, row * SCOPE_CELLS + SCOPE_BYTES, int64(0))
    put(room.scopes, row * SCOPE_CELLS + SCOPE_FIRST, attributes)
    for reads_spans in (False, True):
        at = begin
        while at < end:
            tag, at = read_tag(room.text, at, end)
            if at < 0:
                return at
            if tag == (0x12 if reads_spans else 0x0A):
                start, stop = held(room.text, at, end)
                if start < 0:
                    return start
                at = _span(room, start, stop, record, resource, row) if reads_spans else _scope(room, start, stop, row)
            else:
                at = past(room.text, room.stack, at, end, tag, 2)
            if at < 0:
                return at
        if not reads_spans:
            put(room.scopes, row * SCOPE_CELLS + SCOPE_STOP, cell(room.used, ATTRIBUTES))
    if cell(room.used, SPANS) > spans:
        put(room.used, SCOPES, row + 1)
    else:
        put(room.used, ATTRIBUTES, attributes)
    return end


@njit(**COMPILED)
def _resource_spans(room, begin, end, record):
    """A ResourceSpans, 1 deep. The resource may follow its spans, so it is looked for first."""
    row, spans, attributes = cell(room.used, RESOURCES), cell(room.used, SPANS), cell(room.used, ATTRIBUTES)
    if row >= cell(room.limits, RESOURCES):
        return int64(FULL)
    put(room.resources, row * RESOURCE_CELLS + RESOURCE_FIRST, attributes)
    for reads_spans in (False, True):
        at = begin
        while at < end:
            tag, at = read_tag(room.text, at, end)
            if at < 0:
                return at
            if tag == (0x12 if reads_spans else 0x0A):
                start, stop = held(room.text, at, end)
                if start < 0:
                    return start
                at = _scope_spans(room, start, stop, record, row) if reads_spans else _resource(room, start, stop)
            else:
                at = past(room.text, room.stack, at, end, tag, 1)
            if at < 0:
                return at
        if not reads_spans:
            put(room.resources, row * RESOURCE_CELLS + RESOURCE_STOP, cell(room.used, ATTRIBUTES))
    if cell(room.used, SPANS) > spans:
        put(room.used, RESOURCES, row + 1)
    else:
        put(room.used, ATTRIBUTES, attributes)
    return end


@njit(**INLINED)
def _record(room, at, end, record):
    """An ExportTraceServiceRequest."""
    while at < end:
        tag, at = read_tag(room.text, at, end)
        if at < 0:
            return at
        if tag == 0x0A:
            begin, stop = held(room.text, at, end)
            at = _resource_spans(room, begin, stop, record) if begin >= 0 else begin
        else:
            at = past(room.text, room.stack, at, end, tag, 0)
        if at < 0:
            return at
    return at


@njit(**COMPILED)
def scan(room, count):
    """Scan so many records that stand one after the other. False where the rows do not suffice.

    A record that is no OTLP is marked and leaves no rows.
    """
    at = int64(0)
    for i in range(4):
        put(room.used, i, int64(0))
    for number in range(count):
        row = number * RECORD_CELLS
        end = cell(room.records, row + RECORD_END)
        spans, resources = cell(room.used, SPANS), cell(room.used, RESOURCES)
        scopes, attributes = cell(room.used, SCOPES), cell(room.used, ATTRIBUTES)
        for column in range(RECORD_BAD_IDS, RECORD_CELLS):
            put(room.records, row + column, int64(0))
        reached = _record(room, at, end, row)
        if reached == FULL:
            return False
        if reached < 0:
            put(room.used, SPANS, spans)
            put(room.used, RESOURCES, resources)
            put(room.used, SCOPES, scopes)
            put(room.used, ATTRIBUTES, attributes)
            for column in range(RECORD_BAD_IDS, RECORD_CELLS):
                put(room.records, row + column, int64(0))
        put(room.records, row + RECORD_IS_BAD, int64(reached < 0))
        put(room.records, row + RECORD_FIRST, spans)
        put(room.records, row + RECORD_STOP, cell(room.used, SPANS))
        at = end
    return True
