# OTLP traces as columns: what a decoder writes. Texts are places in the bytes that were decoded.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from service.ingest.kernel.memory cimport larger_memory, place_t, row_t, small_t
from service.ingest.kernel.wire cimport Text

cdef enum:
    # Kinds of a value: the numbers of AnyValue's fields.
    TEXT_KIND = 1
    BOOL_KIND, INT_KIND, DOUBLE_KIND
    # Where a key is wanted; or that it holds what was said, and is only counted.
    ON_SPAN = 1
    ON_RESOURCE = 2
    IS_CONTENT = 4
    ON_SCOPE = 8
    ON_EVENT = 16       # The last of a span's events to say it counts.
    ON_STATUS = 32      # It stands for what a failed span's status says: see `status_word`.
    IS_STATUS = 64      # A message of a status that is kept whole.
    IS_LIST = 128       # Its value may be a list: its first text is read.
    IS_HASHED_TEXT = 256    # Of its text a number is kept that stands for it, and nothing else.
    IS_OWN = 512        # A resource that has it is of what Tocsin itself wrote: its spans are only counted.
    STATUS_WORD_BYTES_MAX = 100
    STATUS_OK = 1
    STATUS_ERROR = 2
    KEY_BYTES_MAX = 63


cdef struct Attribute:
    int64_t value       # An integer, a bool, a double's bits or a text's size.
    place_t text
    small_t key
    small_t kind


cdef struct SpanColumns:
    int64_t start, end
    uint64_t trace_high, trace_low, id, parent_id   # Their bytes read as little-endian; no parent is 0.
    place_t name, name_size, state, state_size
    row_t resource, scope
    row_t first, stop   # Its attributes: the first, and the first of the next span.
    row_t plan          # For `recognise` to write.
    row_t status
    row_t is_remote     # Its parent is said to be of another process.


cdef struct ResourceColumns:
    row_t first, stop
    row_t number        # In the lexicon, NONE where it is not known yet.
    uint64_t name_high, name_low    # Of the session that it names, 0 for none.


cdef struct ScopeColumns:
    place_t name, name_size
    row_t first, stop
    row_t kinds
    double weight       # Of its spans, 0.0 if it does not say.
    double unexplained  # Tokens by which totals of its spans differ from all that their parts could add up to.


cdef struct RecordColumns:  # `end` is where it ends in the text, `last` when the last of its spans ends.
    int64_t end, is_bad, first, stop, bad_ids, bad_times, last, own
    int64_t judged      # Events of its spans that are evaluations, of bad spans, too.


cdef struct Key:
    uint64_t hashed
    row_t key, at, size, role


cdef struct ColumnData:
    Text text
    SpanColumns* spans
    Attribute* attributes
    ResourceColumns* resources
    ScopeColumns* scopes
    RecordColumns* records
    row_t n_spans, n_attributes, n_resources, n_scopes, n_records
    row_t room_spans, room_attributes, room_resources, room_scopes, room_records
    Key* keys           # A hash table of names that are wanted; `key` is -1 where a place is free.
    uint64_t key_mask
    uint8_t* key_text
    uint64_t[64] key_lengths    # By length, a bit for each last letter that a name of it has.
    row_t status_key    # The key of what a status says,
    row_t list_key      # of a list whose first text is read,
    row_t own_key       # and of a resource of Tocsin's own.
    uint8_t* hashed     # By key: whether a number stands for its text, and nothing else of it is kept.
    int64_t* content    # By key, texts seen under those that are only counted; -1 for the others.


cdef inline void* larger(void* rows, row_t* room, size_t width) noexcept nogil:
    """Room for more than twice as many rows."""
    room[0] = 2 * room[0] + 64
    return larger_memory(rows, <size_t>room[0] * width)


cdef class Columns:
    cdef ColumnData c
    cdef readonly object text
    cdef const uint8_t[::1] view    # Of `text`: keeps its memory where it is.
    cdef bytes key_bytes
    cdef Py_ssize_t n_keys
    cdef list _values(self, row_t first, row_t stop)
    cdef list _raw(self, row_t first, row_t stop)
    cdef void _read(self, object text)
