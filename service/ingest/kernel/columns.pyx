"""The spans of some records as columns: scanned from protobuf, or filled by a decoder that has objects."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from service.ingest.kernel.memory cimport as_double, bits_of, number_of_text, row_t, text_hash
from service.ingest.kernel.scan cimport scan

cdef enum:
    KEY_PLACES = 2048
    ROWS_KEPT = 1 << 20     # Memory for more rows is given back before the next bodies.


def text_number(bytes text):
    """The number that stands for a text of which nothing else is kept; a double holds it."""
    return number_of_text(text, len(text))


cdef class Columns:
    def __cinit__(self):
        memset(&self.c, 0, sizeof(ColumnData))

    def __init__(self, list keys, list roles):
        cdef uint64_t place, hashed
        cdef row_t at = 0, size, key
        cdef ColumnData* c = &self.c
        self.key_bytes, self.n_keys = b"".join(keys), len(keys)
        c.key_text = self.key_bytes
        c.keys, c.content = <Key*>malloc(KEY_PLACES * sizeof(Key)), <int64_t*>calloc(len(keys), sizeof(int64_t))
        c.hashed = <uint8_t*>calloc(len(keys), sizeof(uint8_t))
        if c.keys == NULL or c.content == NULL or c.hashed == NULL:
            raise MemoryError
        assert 2 * len(keys) < KEY_PLACES and max(map(len, keys)) <= KEY_BYTES_MAX
        c.key_mask, c.own_key = KEY_PLACES - 1, -1
        for place in range(KEY_PLACES):
            c.keys[place].key = -1
        for key in range(<row_t>len(keys)):
            size = <row_t>len(keys[key])
            hashed = text_hash(c.key_text + at, size)
            place = hashed & c.key_mask
            while c.keys[place].key >= 0:
                place = (place + 1) & c.key_mask
            c.keys[place].hashed, c.keys[place].key, c.keys[place].at = hashed, key, at
            c.keys[place].size, c.keys[place].role = size, roles[key]
            c.key_lengths[size] |= <uint64_t>1 << (c.key_text[at + size - 1] & 63)
            if roles[key] & ON_STATUS:
                c.status_key = key
            if roles[key] & IS_LIST:
                c.list_key = key
            if roles[key] & IS_OWN:
                c.own_key = key
            c.content[key] = 0 if roles[key] & IS_CONTENT else -1
            c.hashed[key] = roles[key] & IS_HASHED_TEXT != 0
            at += size
        self._read(b"")

    def __dealloc__(self):
        free(self.c.keys)
        free(self.c.content)
        free(self.c.hashed)
        free(self.c.spans)
        free(self.c.attributes)
        free(self.c.resources)
        free(self.c.scopes)
        free(self.c.records)

    cdef void _read(self, object text):
        """Have the columns point into this text."""
        self.view = text
        self.text, self.c.text = text, &self.view[0] if len(text) else <const uint8_t*>b""

    def scan(self, list bodies):
        """Scan the spans of some bodies, together. A body is bytes, or a memoryview if it is the only one."""
        cdef ColumnData* c = &self.c
        cdef int64_t end = 0
        cdef row_t i
        self._give_back()
        self._read(bodies[0] if len(bodies) == 1 else b"".join(bodies))
        while c.room_records < len(bodies):
            c.records = <RecordColumns*>larger(c.records, &c.room_records, sizeof(RecordColumns))
        c.n_records = <row_t>len(bodies)
        for i in range(c.n_records):
            end += len(bodies[i])
            c.records[i].end = end
        with nogil:
            scan(c)

    def _give_back(self):
        """Give back the memory that a huge body needed."""
        cdef ColumnData* c = &self.c
        if max(c.room_spans, c.room_attributes, c.room_resources, c.room_scopes) > ROWS_KEPT:
            free(c.spans)
            free(c.attributes)
            free(c.resources)
            free(c.scopes)
            c.spans, c.attributes, c.resources, c.scopes = NULL, NULL, NULL, NULL
            c.room_spans = c.room_attributes = c.room_resources = c.room_scopes = 0

    def fill(self, bytes text, list records, list spans, list resources, list scopes, list attributes, dict content):
        """Take over rows that a decoder made: tuples of the fields of `columns.pxd`, in that order.

        An attribute is its key, its kind, its value (of a text, the size) and the place of its text.
        """
        cdef ColumnData* c = &self.c
        cdef row_t i
        self._read(text)
        while c.room_spans < len(spans):
            c.spans = <SpanColumns*>larger(c.spans, &c.room_spans, sizeof(SpanColumns))
        while c.room_attributes < len(attributes):
            c.attributes = <Attribute*>larger(c.attributes, &c.room_attributes, sizeof(Attribute))
        while c.room_resources < len(resources):
            c.resources = <ResourceColumns*>larger(c.resources, &c.room_resources, sizeof(ResourceColumns))
        while c.room_scopes < len(scopes):
            c.scopes = <ScopeColumns*>larger(c.scopes, &c.room_scopes, sizeof(ScopeColumns))
        while c.room_records < len(records):
            c.records = <RecordColumns*>larger(c.records, &c.room_records, sizeof(RecordColumns))
        c.n_spans, c.n_attributes, c.n_records = <row_t>len(spans), <row_t>len(attributes), <row_t>len(records)
        c.n_resources, c.n_scopes = <row_t>len(resources), <row_t>len(scopes)
        for i, row in enumerate(spans):
            fill_span(&c.spans[i], row)
        for i, (key, kind, value, at) in enumerate(attributes):
            c.attributes[i].key, c.attributes[i].kind, c.attributes[i].text = key, kind, at
            c.attributes[i].value = bits_of(value) if kind == DOUBLE_KIND else <int64_t>value
        for i, (first, stop) in enumerate(resources):
            c.resources[i].first, c.resources[i].stop, c.resources[i].number = first, stop, 0
            c.resources[i].name_high = c.resources[i].name_low = 0
        for i, (at, size, first, stop) in enumerate(scopes):
            c.scopes[i].name, c.scopes[i].name_size, c.scopes[i].first, c.scopes[i].stop = at, size, first, stop
            c.scopes[i].kinds, c.scopes[i].weight, c.scopes[i].unexplained = 0, 0.0, 0.0
        for i, row in enumerate(records):
            c.records[i].end, c.records[i].is_bad, c.records[i].first, c.records[i].stop = row[:4]
            c.records[i].bad_ids, c.records[i].bad_times, c.records[i].last, c.records[i].own = row[4:8]
            c.records[i].judged = row[8]
        for key, n in content.items():
            c.content[<row_t>key] += n

    @property
    def n_spans(self):
        """How many spans there are."""
        return self.c.n_spans

    def records(self):
        """By record: first span, first of the next, last end, whether it is bad, bad ids and times, own spans."""
        cdef RecordColumns* r
        cdef row_t i
        found = []
        for i in range(self.c.n_records):
            r = &self.c.records[i]
            found.append((r.first, r.stop, r.last, r.is_bad, r.bad_ids, r.bad_times, r.own))
        return found

    def judged(self):
        """The records that have evaluations among the events of their spans."""
        cdef row_t i
        return [i for i in range(self.c.n_records) if self.c.records[i].judged]

    def content(self):
        """By key, texts that were seen under those that are only counted, since this was asked last."""
        cdef row_t key
        found = {}
        for key in range(<row_t>self.n_keys):
            if self.c.content[key] > 0:
                found[key] = self.c.content[key]
                self.c.content[key] = 0
        return found

    def span(self, row_t row):
        """A span's name, whether it is a root, and its attributes as keys and values."""
        cdef SpanColumns* s = &self.c.spans[row]
        return self._text(s.name, s.name_size), s.parent_id == 0, self._values(s.first, s.stop)

    def resource(self, row_t row):
        """A resource's attributes."""
        return self._values(self.c.resources[row].first, self.c.resources[row].stop)

    def scope(self, row_t row):
        """A scope's name, in bytes, and its attributes."""
        cdef ScopeColumns* s = &self.c.scopes[row]
        return bytes(self.text[s.name : s.name + s.name_size]), self._values(s.first, s.stop)

    def unexplained(self):
        """By scope, in bytes, tokens that no part explains; of the scopes that have any."""
        cdef ScopeColumns* s
        cdef row_t i
        found = {}
        for i in range(self.c.n_scopes):
            s = &self.c.scopes[i]
            if s.unexplained > 0.0:
                name = bytes(self.text[s.name : s.name + s.name_size])
                found[name] = found.get(name, 0.0) + s.unexplained
        return found

    def _text(self, at, size):
        return bytes(self.text[at : at + size]).decode(errors="replace")

    cdef list _values(self, row_t first, row_t stop):
        cdef Attribute* a
        cdef row_t i
        found = []
        for i in range(first, stop):
            a = &self.c.attributes[i]
            if a.kind == TEXT_KIND:
                value = self._text(a.text, a.value)
            elif a.kind == DOUBLE_KIND:
                value = as_double(a.value)
            else:
                value = bool(a.value) if a.kind == BOOL_KIND else a.value
            found.append((a.key, value))
        return found

    cdef list _raw(self, row_t first, row_t stop):
        cdef Attribute* a
        cdef row_t i
        found = []
        for i in range(first, stop):
            a = &self.c.attributes[i]
            value = bytes(self.text[a.text : a.text + a.value]) if a.kind == TEXT_KIND else a.value
            found.append((a.key, a.kind, value))
        return found

    def meaning(self):
        """All that the columns say, wherever their texts lie, for comparing decoders: the records, then each span."""
        cdef SpanColumns* s
        cdef ScopeColumns* scope
        cdef ResourceColumns* resource
        cdef row_t i
        found = [(self.records(), self.judged())]
        for i in range(self.c.n_spans):
            s = &self.c.spans[i]
            scope, resource = &self.c.scopes[s.scope], &self.c.resources[s.resource]
            found.append((
                (s.start, s.end, s.status, s.trace_high, s.trace_low, s.id, s.parent_id, s.is_remote),
                bytes(self.text[s.name : s.name + s.name_size]), bytes(self.text[s.state : s.state + s.state_size]),
                self._raw(resource.first, resource.stop),
                bytes(self.text[scope.name : scope.name + scope.name_size]), self._raw(scope.first, scope.stop),
                self._raw(s.first, s.stop),
            ))
        return found


cdef fill_span(SpanColumns* span, tuple row):
    span.start, span.end, span.trace_high, span.trace_low, span.id, span.parent_id = row[:6]
    span.name, span.name_size, span.state, span.state_size = row[6:10]
    span.resource, span.scope, span.first, span.stop, span.status, span.is_remote = row[10:]
    span.plan = -1
