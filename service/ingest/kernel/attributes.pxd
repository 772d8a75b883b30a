# Attributes, and what of events and of a status is kept as one. Functions return where they ended, or NULL for what is
# malformed.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from service.ingest.kernel.columns cimport *
from service.ingest.kernel.memory cimport load8, row_t, same_text, text_hash
from service.ingest.kernel.wire cimport ARRAY, PAIRS, Text, held, past, past_message, read_tag, varint

cdef enum:
    ARRAY_KIND = 5


cdef inline bint is_text(Text at, const uint8_t* other, uint64_t size) noexcept nogil:
    """Whether two texts are equal. Unlike `same_text` it reads eight bytes twice, not the last ones one by one."""
    cdef uint64_t done = 0
    if size < 8:
        return same_text(at, other, size)
    while done + 8 < size:
        if load8(at + done) != load8(other + done):
            return False
        done += 8
    return load8(at + size - 8) == load8(other + size - 8)


cdef inline row_t key_id(ColumnData* c, Text at, uint64_t size, int role) noexcept nogil:
    """The id of an attribute's name, or -1 if it is not wanted here."""
    cdef uint64_t hashed, place
    cdef Key* key
    if size == 0 or size > KEY_BYTES_MAX or c.key_lengths[size] >> (at[size - 1] & 63) & 1 == 0:
        return -1
    hashed = text_hash(at, size)
    place = hashed & c.key_mask
    while True:
        key = &c.keys[place]
        if key.key < 0:
            return -1
        if key.hashed == hashed and <uint64_t>key.size == size and is_text(at, c.key_text + key.at, size):
            return key.key if key.role & role else -1
        place = (place + 1) & c.key_mask


cdef struct Value:
    int64_t value
    Text text, list     # The list as it stands, NULL where the value is none.
    Text list_end
    int kind


cdef inline Text own_text(Text at, Text end, uint64_t* size) noexcept nogil:
    """The text of an AnyValue that was checked, NULL if it is something else."""
    cdef uint64_t tag
    cdef Text stop
    cdef Text text = NULL
    while at < end:
        at = read_tag(at, end, &tag)
        if tag == 0x0A:
            text = held(at, end, &stop)
            size[0], at = stop - text, stop
        else:
            at = past(at, end, tag, 0)
            if 1 < tag >> 3 < 9:
                text = NULL
    return text


cdef inline Text first_text(Text at, Text end, uint64_t* size) noexcept nogil:
    """The first value of an ArrayValue that was checked, NULL if that is not a text."""
    cdef uint64_t tag
    cdef Text stop
    while at < end:
        at = read_tag(at, end, &tag)
        if tag == 0x0A:
            at = held(at, end, &stop)
            return own_text(at, stop, size)
        at = past(at, end, tag, 0)
    return NULL


cdef inline Text any_value(ColumnData* c, Text at, Text end, Value* read, int depth) noexcept nogil:
    """An AnyValue read into what an earlier one of the same attribute left."""
    cdef uint64_t tag
    cdef Text stop, begin
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x0A:
            read.text = held(at, end, &stop)
            if read.text == NULL:
                return NULL
            read.kind, read.value, at = TEXT_KIND, stop - read.text, stop
        elif tag == 0x18 or tag == 0x10:
            at = varint(at, end, 10, <uint64_t*>&read.value)
            read.kind = INT_KIND if tag == 0x18 else BOOL_KIND
            if tag == 0x10:
                read.value = read.value != 0
        elif tag == 0x21:
            if end - at < 8:
                return NULL
            read.kind, read.value, at = DOUBLE_KIND, load8(at), at + 8
        elif tag == 0x2A or tag == 0x32:
            begin = at
            at = past_message(at, end, ARRAY if tag == 0x2A else PAIRS, depth + 1)
            if at != NULL and tag == 0x2A and read.kind != ARRAY_KIND:
                read.list = held(begin, end, &read.list_end)
            read.kind = tag >> 3
        else:
            at = past(at, end, tag, depth)
            if tag == 0x3A or tag == 0x40:  # Bytes, and a reference that only profiles have.
                read.kind = tag >> 3
        if at == NULL:
            return NULL
    return at


cdef inline Attribute* new_attribute(ColumnData* c) noexcept nogil:
    """The next row, to be written."""
    if c.n_attributes == c.room_attributes:
        c.attributes = <Attribute*>larger(c.attributes, &c.room_attributes, sizeof(Attribute))
    c.n_attributes += 1
    return &c.attributes[c.n_attributes - 1]


cdef inline Text attribute(ColumnData* c, Text at, Text end, int role, int depth) noexcept nogil:
    """A field that holds a KeyValue, `depth` deep; a row is written if it is wanted and says something."""
    cdef uint64_t tag, size = 0
    cdef Text begin, stop
    cdef row_t key = -1
    cdef Value read
    cdef Attribute* row
    read.kind, read.value, read.text, read.list, read.list_end = 0, 0, c.text, NULL, NULL
    at = held(at, end, &end)
    if at == NULL:
        return NULL
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x0A:
            begin = held(at, end, &at)
            if begin == NULL:
                return NULL
            key = key_id(c, begin, at - begin, role)
        elif tag == 0x12:
            begin = held(at, end, &stop)
            if begin == NULL:
                return NULL
            at = any_value(c, begin, stop, &read, depth + 1)
        else:
            at = past(at, end, tag, depth)
        if at == NULL:
            return NULL
    if key >= 0 and key == c.list_key and read.kind == ARRAY_KIND:
        begin = first_text(read.list, read.list_end, &size)
        if begin != NULL:
            read.kind, read.text, read.value = TEXT_KIND, begin, size
    if key < 0 or read.kind < TEXT_KIND or read.kind > DOUBLE_KIND or (read.kind == TEXT_KIND and read.value == 0):
        return at
    if c.content[key] >= 0 or c.hashed[key]:    # It holds what was said: it is counted, and a number stands for it.
        if read.kind != TEXT_KIND:
            return at
        if c.content[key] >= 0:
            c.content[key] += 1
        if not c.hashed[key]:
            return at
        row = new_attribute(c)
        row.key, row.kind, row.text = key, DOUBLE_KIND, 0
        row.value = bits_of(number_of_text(read.text, read.value))
        return at
    row = new_attribute(c)
    row.key, row.kind, row.value = key, read.kind, read.value
    row.text = read.text - c.text if read.kind == TEXT_KIND else 0
    return at


cdef struct Status:
    row_t code
    Text message
    uint64_t size


cdef inline Text read_status(Text at, Text end, Status* read) noexcept nogil:
    """A Status, 4 deep: its code, of which protobuf keeps 32 bits, and its message."""
    cdef uint64_t tag, value = 0
    cdef Text stop
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x18:
            at = varint(at, end, 10, &value)
            read.code = <int32_t>value
        elif tag == 0x12:
            read.message = held(at, end, &stop)
            if read.message == NULL:
                return NULL
            read.size, at = stop - read.message, stop
        else:
            at = past(at, end, tag, 4)
        if at == NULL:
            return NULL
    return at


cdef inline uint64_t status_word(ColumnData* c, Text at, uint64_t size) noexcept nogil:
    """How much of a status message is kept: all of one that is known, or a first word that may be a type; else nothing.

    A type is letters, dots and underscores up to a colon, a bracket or the end. Whatever else a message says is not
    looked at again.
    """
    cdef uint64_t i
    if key_id(c, at, size, IS_STATUS) >= 0:
        return size
    for i in range(min(size, STATUS_WORD_BYTES_MAX + 1)):
        if at[i] == c':' or at[i] == c'(':
            return i
        if not (c'a' <= (at[i] | 0x20) <= c'z' or at[i] == c'.' or at[i] == c'_'):
            return 0
    return size if size <= STATUS_WORD_BYTES_MAX else 0


cdef inline void write_status(ColumnData* c, const Status* read) noexcept nogil:
    """Write what is kept of a failed span's status as an attribute of its own."""
    cdef uint64_t size
    cdef Attribute* row
    if read.code != STATUS_ERROR or read.size == 0:
        return
    size = status_word(c, read.message, read.size)
    if size == 0:
        return
    row = new_attribute(c)
    row.key, row.kind, row.value, row.text = c.status_key, TEXT_KIND, size, read.message - c.text


cdef inline Text event(ColumnData* c, Text at, Text end, Attribute* raised, RecordColumns* record) noexcept nogil:
    """A field that holds an Event, 4 deep. The type of its exception takes the place of an earlier event's.

    What an evaluation says is read by others, who are told by the record that there is one.
    """
    cdef uint64_t tag
    cdef row_t before
    cdef bint judged = False
    cdef Text name
    at = held(at, end, &end)
    if at == NULL:
        return NULL
    while at < end:
        at = read_tag(at, end, &tag)
        if at == NULL:
            return NULL
        if tag == 0x1A:
            before = c.n_attributes
            at = attribute(c, at, end, ON_EVENT, 5)
            if c.n_attributes > before:
                raised[0] = c.attributes[before]
                c.n_attributes = before
        elif tag == 0x12:
            name = held(at, end, &at)
            if name == NULL:
                return NULL
            judged = at - name == 24 and is_text(name, <Text><const char*>b"gen_ai.evaluation.result", 24)
        else:
            at = past(at, end, tag, 4)
        if at == NULL:
            return NULL
    record.judged += judged
    return at
