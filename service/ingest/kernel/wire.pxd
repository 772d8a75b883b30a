# Protobuf's wire format: what a field is and where it ends, checked as protobuf checks it.
# Functions return where they ended, or NULL for what is not protobuf.
from libc.stdint cimport int64_t, uint8_t, uint64_t

ctypedef const uint8_t* Text

cdef enum:
    DEPTH_MAX = 100
    NOT_READ = 0
    KEY_VALUE, ANY, ARRAY, PAIRS, LINK, PLAIN, CLOSED
    VARINT = 0
    FIXED64, BYTES, GROUP, GROUP_END, FIXED32


cdef inline Text varint(Text at, Text end, int bytes_max, uint64_t* value) noexcept nogil:
    """A varint; where it ends. Bits past the 64th are dropped, as protobuf drops them."""
    cdef uint64_t part, got = 0
    cdef int shift
    for shift in range(0, 7 * bytes_max, 7):
        if at >= end:
            return NULL
        part = at[0]
        at += 1
        got |= (part & 0x7F) << shift
        if part < 0x80:
            value[0] = got
            return at
    return NULL


cdef inline Text read_tag(Text at, Text end, uint64_t* tag) noexcept nogil:
    """Field number and wire type, as they stand together; there is a byte to read."""
    if at[0] < 0x80:
        tag[0] = at[0]
        return at + 1 if tag[0] >= 8 else NULL
    at = varint(at, end, 5, tag)
    return at if at != NULL and 8 <= tag[0] <= 0xFFFFFFFFU else NULL


cdef inline Text held(Text at, Text end, Text* stop) noexcept nogil:
    """Where what is held by a length-delimited field begins and ends."""
    cdef uint64_t size
    if at >= end:
        return NULL
    size = at[0]
    at += 1
    if size >= 0x80:
        at = varint(at - 1, end, 5, &size)
    if at == NULL or size > <uint64_t>(end - at):
        return NULL
    stop[0] = at + size
    return at


cdef inline int _within(int64_t message, uint64_t number) noexcept nogil:
    """The kind of message that a field of a message holds."""
    if message == KEY_VALUE:
        return ANY if number == 2 else NOT_READ
    if message == ANY:
        return ARRAY if number == 5 else PAIRS if number == 6 else NOT_READ
    if message == ARRAY:
        return ANY if number == 1 else NOT_READ
    if message == PAIRS:
        return KEY_VALUE if number == 1 else NOT_READ
    if message == LINK:
        return KEY_VALUE if number == 4 else NOT_READ
    return NOT_READ


cdef inline Text past_plain(Text at, Text end, uint64_t kind) noexcept nogil:
    """Where a field ends that is neither length-delimited nor a group."""
    cdef uint64_t value
    if kind == VARINT:
        return varint(at, end, 10, &value)
    if kind == FIXED64 and end - at >= 8:
        return at + 8
    if kind == FIXED32 and end - at >= 4:
        return at + 4
    return NULL


cdef struct Level:
    Text end
    int64_t opened


cdef inline Text checked(Text at, Text end, int64_t opened, int depth) noexcept nogil:
    """The end of a message, or of a group, that is only checked.

    opened  the kind of the message; of a group, less than zero, from the number that closes it
    """
    cdef Level[DEPTH_MAX + 1] stack
    cdef int level = 0
    cdef uint64_t tag, kind
    cdef int64_t inner, number
    cdef Text stop
    while True:
        stop, inner = end, CLOSED
        if at < end:
            if opened < 0:  # Protobuf does not mind a field of number 0 in a group.
                at = varint(at, end, 5, &tag)
                if at == NULL or tag > 0xFFFFFFFFU:
                    return NULL
            else:
                at = read_tag(at, end, &tag)
                if at == NULL:
                    return NULL
            number, kind = tag >> 3, tag & 7
            if kind == GROUP_END:
                if opened != -number - 1:
                    return NULL
            elif kind == GROUP:
                inner = -number - 1
            elif kind == BYTES:
                at = held(at, end, &stop)
                inner = _within(opened, number)
                if at != NULL and inner == NOT_READ:
                    at = stop
            else:
                at, inner = past_plain(at, end, kind), NOT_READ
            if at == NULL:
                return NULL
        elif opened < 0:
            return NULL
        if inner == CLOSED:
            if level == 0:
                return at
            level -= 1
            end, opened = stack[level].end, stack[level].opened
        elif inner != NOT_READ:
            if depth + level >= DEPTH_MAX:
                return NULL
            stack[level].end, stack[level].opened = end, opened
            level += 1
            end, opened = stop, inner


cdef inline Text past(Text at, Text end, uint64_t tag, int depth) noexcept nogil:
    """Where a field ends that is passed over, the message that it stands in being `depth` deep."""
    cdef Text stop
    if tag & 7 == BYTES:
        return stop if held(at, end, &stop) != NULL else NULL
    if tag & 7 == GROUP:
        return NULL if depth >= DEPTH_MAX else checked(at, end, -<int64_t>(tag >> 3) - 1, depth + 1)
    return past_plain(at, end, tag & 7)


cdef inline Text past_message(Text at, Text end, int64_t message, int depth) noexcept nogil:
    """Where a length-delimited message ends that is only checked, itself `depth` deep."""
    cdef Text stop
    at = held(at, end, &stop)
    return NULL if at == NULL else checked(at, stop, message, depth)
