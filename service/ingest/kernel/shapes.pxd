# The shape of a span: all of it but what does not change how the dialects read it. See `plans.py`.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from service.ingest.kernel.columns cimport DOUBLE_KIND, INT_KIND, TEXT_KIND, Attribute, ColumnData, SpanColumns
from service.ingest.kernel.memory cimport (
    as_double, bits_of, last_word, load8, place_t, prefetch, row_t, same_text, store8, text_hash
)
from service.ingest.kernel.rows cimport Plan
from service.ingest.kernel.wire cimport Text

cdef enum:
    # What of an attribute belongs to a shape, by its key.
    WHOLE = 0           # Its kind and its value;
    FREE_TEXT           # that it is a text that may stand as a label;
    NUMBER              # that it is a sane number, or that it is not;
    NEVER               # a span with it has no shape;
    NOT_OF_SPANS        # nothing.
    # Instead of a plan's number.
    UNKNOWN_SHAPE = -1
    NO_PLAN = -2
    ASK_NAME = -3       # The shape with the name has a plan.
    SHAPE_BYTES_MAX = 2_048
    FREE_TEXT_BYTES_MAX = 200
    TOGETHER = 8        # So many spans' shapes are made before the first is looked up.
    SCRATCH_BYTES = 2 * (TOGETHER + 1) * SHAPE_BYTES_MAX


cdef struct Shape:
    uint64_t hashed
    place_t at, size
    row_t plan


cdef struct Ahead:
    uint8_t* begin
    int64_t size
    uint64_t hashed


cdef struct Shapes:
    int64_t* classes    # By key, one of the above.
    Shape* table        # A power of two of places; size 0 where one is free.
    uint64_t mask
    uint8_t* known
    uint8_t* scratch
    Ahead[8] ahead      # TOGETHER of them.


cdef inline uint8_t* append_text(uint8_t* at, const uint8_t* limit, Text text, int64_t size) noexcept nogil:
    """Write a text and its size, in whole words: where that ends, or NULL if it is too much."""
    cdef Text end = text + size
    if size > limit - at:
        return NULL
    store8(at, size)
    at += 8
    while text + 8 <= end:
        store8(at, load8(text))
        at, text = at + 8, text + 8
    if text < end:
        store8(at, last_word(end, size))
        at += 8
    return at


cdef inline bint are_fit(uint64_t letters) noexcept nogil:
    """Whether eight letters may stand as part of a label; see Hacker's Delight, chapter 6."""
    # One bit a letter says whether it is below a blank, above a tilde or a quote.
    cdef uint64_t each = 0x0101010101010101ULL, quotes = letters ^ (each * 0x22)
    cdef uint64_t below = (letters - each * 0x20) & ~letters, over = (letters + each) | letters
    return (below | over | ((quotes - each) & ~quotes)) & 0x8080808080808080ULL == 0


cdef inline bint is_fit(Text at, int64_t size) noexcept nogil:
    """Whether a text may stand as a label just as it is, without another look."""
    cdef Text end = at + size
    if size > FREE_TEXT_BYTES_MAX:
        return False
    while at + 8 <= end:
        if not are_fit(load8(at)):
            return False
        at += 8
    while at < end:
        if at[0] < 0x20 or at[0] > 0x7E or at[0] == 0x22:
            return False
        at += 1
    return True


cdef inline bint makes_fit(ColumnData* c, Attribute* row) noexcept nogil:
    """Whether an attribute's text may stand as a label, without the quotes that Langfuse puts round it."""
    cdef Text begin = c.text + row.text
    if not (2 < row.value <= FREE_TEXT_BYTES_MAX and begin[0] == 0x22 and begin[row.value - 1] == 0x22):
        return is_fit(begin, row.value)
    if not is_fit(begin + 1, row.value - 2):
        return False
    row.text += 1
    row.value -= 2
    return True


cdef inline uint8_t* append_attribute(
    Shapes* s, ColumnData* c, uint8_t* at, const uint8_t* limit, Attribute* row
) noexcept nogil:
    """Write what of an attribute belongs to the shape: where that ends, or NULL if the span has none."""
    cdef int64_t kept = s.classes[row.key], head = <int64_t>row.key << 8 | row.kind << 4 | kept
    cdef double number
    if kept == NOT_OF_SPANS:
        return at
    if kept == NEVER or at > limit:
        return NULL
    if kept == NUMBER:
        if row.kind == INT_KIND:
            row.kind, row.value = DOUBLE_KIND, bits_of(<double>row.value)
        elif row.kind != DOUBLE_KIND:
            return NULL
        number = as_double(row.value)
        head = <int64_t>row.key << 8 | kept | (0 if 0.0 <= number <= 2.0**53 else 8)
    store8(at, head)
    at += 8
    if kept == NUMBER:
        return at
    if kept == FREE_TEXT:
        return at if row.kind == TEXT_KIND and makes_fit(c, row) else NULL
    if row.kind == TEXT_KIND:
        return append_text(at, limit, c.text + row.text, row.value)
    store8(at, row.value)
    return at + 8


cdef inline int64_t look_up(const Shapes* s, const uint8_t* begin, int64_t size, uint64_t hashed) noexcept nogil:
    """The plan of a shape."""
    cdef uint64_t place = hashed & s.mask
    cdef Shape* shape
    while True:
        shape = &s.table[place]
        if shape.size == 0:
            return UNKNOWN_SHAPE
        if shape.hashed == hashed and <int64_t>shape.size == size and same_text(begin, s.known + shape.at, size):
            return shape.plan
        place = (place + 1) & s.mask


cdef inline int64_t shape_of(
    Shapes* s, ColumnData* c, uint8_t* begin, const SpanColumns* span, bint with_name
) noexcept nogil:
    """Write a span's shape where it is to begin: its size, or -1 if it has none."""
    cdef const uint8_t* limit = begin + SHAPE_BYTES_MAX
    cdef uint8_t* at = begin + 8
    cdef row_t i
    store8(begin, (span.parent_id != 0) << 1 | with_name)
    for i in range(span.first, span.stop):
        at = append_attribute(s, c, at, limit, &c.attributes[i])
        if at == NULL:
            return -1
    if with_name:
        at = append_text(at, limit, c.text + span.name, span.name_size)
        if at == NULL:
            return -1
    return at - begin


cdef inline uint8_t* _look_ahead(Shapes* s, ColumnData* c, row_t first, row_t stop) noexcept nogil:
    """Write the shapes of some spans and prefetch what is known of them; where the last one ends."""
    cdef uint8_t* begin = s.scratch
    cdef Ahead* ahead
    cdef row_t i
    cdef int64_t line
    for i in range(stop - first):
        ahead = &s.ahead[i]
        ahead.begin, ahead.size = begin, shape_of(s, c, begin, &c.spans[first + i], False)
        if ahead.size >= 0:
            ahead.hashed = text_hash(begin, ahead.size)
            prefetch(&s.table[ahead.hashed & s.mask])
            begin += ahead.size
    for i in range(stop - first):
        ahead = &s.ahead[i]
        for line in range(0, ahead.size + 64, 64):
            prefetch(s.known + s.table[ahead.hashed & s.mask].at + line)
    return begin


cdef inline row_t recognise(Shapes* s, ColumnData* c, row_t first, row_t stop, bint learns) noexcept nogil:
    """Write the plan of each span into its row, up to the first whose shape is new: the row of that, or `stop`."""
    cdef uint8_t* end = s.scratch
    cdef Ahead* ahead
    cdef row_t number
    cdef int64_t plan, size
    for number in range(first, stop):
        if (number - first) % TOGETHER == 0:
            end = _look_ahead(s, c, number, min(number + TOGETHER, stop))
        ahead = &s.ahead[(number - first) % TOGETHER]
        plan = NO_PLAN
        if ahead.size >= 0:
            plan = look_up(s, ahead.begin, ahead.size, ahead.hashed)
            if plan == ASK_NAME:
                size = shape_of(s, c, end, &c.spans[number], True)
                plan = look_up(s, end, size, text_hash(end, size)) if size >= 0 else NO_PLAN
        if plan == UNKNOWN_SHAPE:
            if learns:
                return number
            plan = NO_PLAN
        c.spans[number].plan = plan
    return stop


cdef class ShapeTable:
    cdef Shapes s
    cdef Plan* plans
    cdef uint64_t known_bytes
    cdef readonly int64_t entries   # Shapes that are known.
    cdef readonly int64_t count     # Plans.
