# What all kernels use: unaligned loads, hashes, tables of rows, the indexes that find them, and a heap.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

cdef extern from "kernel.h" nogil:
    ctypedef int row_t
    ctypedef unsigned int word_t
    ctypedef signed char tiny_t
    ctypedef unsigned short small_t
    ctypedef unsigned int place_t
    ctypedef float weight_t
    uint64_t load8(const uint8_t* at)
    void store8(uint8_t* at, uint64_t value)
    double as_double(int64_t bits)
    int64_t bits_of(double number)
    void prefetch(const void* at)
    void hide(void* at, size_t size)
    void show(void* at, size_t size)
    void give_up(const char* why)
    void* rows_memory(size_t size)
    void* larger_memory(void* old, size_t size)

cdef enum:
    NONE = -1


cdef inline uint64_t mixed(uint64_t state, uint64_t value) noexcept nogil:
    """A hash of what was hashed before and one more number."""
    state = (state ^ value) * <uint64_t>0x9E3779B97F4A7C15
    return state ^ (state >> 29)


cdef inline uint64_t hash_of(const uint64_t* seed, uint64_t one, uint64_t other) noexcept nogil:
    """A hash of two numbers, good in its low bits too: ids that are counters differ in their high ones alone.

    Who does not know the seed cannot choose ids that collide. Its second half stands between the two numbers, for what
    differs in the highest bits of the first could be made up for in the other.
    """
    return mixed(mixed(mixed(mixed(seed[0], one), seed[1]), other), 1)


cdef inline uint64_t last_word(const uint8_t* end, uint64_t size) noexcept nogil:
    """The last bytes of a text: eight, or all if there are fewer. Reads nothing else."""
    cdef uint64_t last = 0, i
    if size >= 8:
        return load8(end - 8)
    for i in range(size):
        last = last << 8 | (end - size + i)[0]
    return last


cdef inline uint64_t text_hash(const uint8_t* at, uint64_t size) noexcept nogil:
    """A hash of a text without a secret. Whoever uses it compares the text as well."""
    cdef uint64_t state = mixed(0, size)
    cdef const uint8_t* end = at + size
    while at + 8 <= end:
        state = mixed(state, load8(at))
        at += 8
    if at < end:
        state = mixed(state, last_word(end, size))
    return state ^ (state >> 32)


cdef inline double number_of_text(const uint8_t* at, uint64_t size) noexcept nogil:
    """A whole number below 2**52 that stands for a text: its size, its first half KiB and its last are in it."""
    cdef uint64_t state = mixed(0, size)
    if size <= 1024:
        state = mixed(state, text_hash(at, size))
    else:
        state = mixed(mixed(state, text_hash(at, 512)), text_hash(at + size - 512, 512))
    return <double>(state >> 12)


cdef struct Fingerprint:
    uint64_t high, low


cdef inline Fingerprint fingerprint(const uint64_t* seed, const uint8_t* at, uint64_t size) noexcept nogil:
    """128 bits that stand for a text; the first 64 serve as its hash. No two session ids share them by chance."""
    cdef const uint8_t* end = at + size
    cdef uint64_t one = mixed(seed[0], size), two = mixed(seed[1], size), last = 0
    cdef Fingerprint made
    while at + 8 <= end:
        one = mixed(one, load8(at))
        two = mixed(two, one)
        at += 8
    while at < end:
        last = last << 8 | at[0]
        at += 1
    one = mixed(mixed(one, last), size)
    made.high, made.low = one, mixed(two, one)
    return made


cdef inline bint same_text(const uint8_t* at, const uint8_t* other, uint64_t size) noexcept nogil:
    """Whether two texts of this size are equal. Reads nothing outside them."""
    cdef uint64_t done = 0
    while done + 8 <= size:
        if load8(at + done) != load8(other + done):
            return False
        done += 8
    while done < size:
        if at[done] != other[done]:
            return False
        done += 1
    return True


# A table: rows of one struct, given back and taken again. It grows between kernels, never while one runs: a kernel may
# hold pointers to rows. The caller of a kernel makes room for all the rows that it may take.
cdef struct Table:
    char* rows
    uint64_t width      # Bytes of a row.
    row_t high          # Rows ever used.
    row_t room
    row_t n_free
    row_t* free_rows    # A stack. The rows that are taken next are known, so they can be prefetched.
    row_t free_room


cdef inline void prefetch_row(const char* row, uint64_t width) noexcept nogil:
    """Prefetch all the cache lines of a row: 64 bytes each."""
    cdef uint64_t line
    for line in range(0, width, 64):
        prefetch(row + line)


cdef inline row_t take(Table* table) noexcept nogil:
    """A row for use. Its fields hold what they held before."""
    cdef row_t row
    if table.n_free > 0:
        table.n_free -= 1
        row = table.free_rows[table.n_free]
        if table.n_free >= 4:
            prefetch_row(table.rows + table.width * <uint64_t>table.free_rows[table.n_free - 4], table.width)
    else:
        row = table.high
        if row >= table.room:
            give_up("a table of the join is full: a kernel took more rows than its caller made room for")
        table.high += 1
    show(table.rows + table.width * <uint64_t>row, table.width)
    return row


cdef inline void give_back(Table* table, row_t row) noexcept nogil:
    """A row that is no longer used."""
    if table.n_free == table.free_room:
        table.free_room = 2 * table.free_room + 1024
        table.free_rows = <row_t*>larger_memory(table.free_rows, table.free_room * sizeof(row_t))
    table.free_rows[table.n_free] = row
    table.n_free += 1
    hide(table.rows + table.width * <uint64_t>row, table.width)


cdef inline void make_room(Table* table, void** rows, int64_t more) noexcept nogil:
    """Make room for so many more rows; `rows` is the pointer that kernels use."""
    cdef int64_t needed = table.high - table.n_free + more, room = table.room
    cdef char* old = table.rows
    cdef row_t i
    # Free rows are taken first, so `high` moves only by what they do not cover.
    needed = max(needed, table.high)
    if needed <= room:
        return
    if needed > 0x7FFF0000:
        give_up("a table of the join would have more than 2**31 rows")
    room = min(max(needed, room + room // 2), <int64_t>0x7FFF0000)
    table.rows = <char*>rows_memory(table.width * room)
    if old != NULL:
        show(old, table.width * table.room)
        memcpy(table.rows, old, table.width * table.high)
        free(old)
    for i in range(table.n_free):
        hide(table.rows + table.width * <uint64_t>table.free_rows[i], table.width)
    hide(table.rows + table.width * <uint64_t>table.high, table.width * <uint64_t>(room - table.high))
    table.room = <row_t>room
    rows[0] = table.rows


cdef inline void free_table(Table* table) noexcept nogil:
    if table.rows != NULL:
        show(table.rows, table.width * table.room)
    free(table.rows)
    free(table.free_rows)


# An index: places with 31 bits of a hash and a row's number plus one; 0 where a place is free. It is half full at most.
cdef struct Index:
    uint64_t* places
    uint64_t mask
    uint64_t used


cdef inline row_t row_at(const Index* index, uint64_t place) noexcept nogil:
    """The row at a place, NONE if it is free."""
    return <row_t>(<int64_t>(index.places[place & index.mask] & 0xFFFFFFFFU) - 1)


cdef inline row_t next_like(const Index* index, uint64_t hashed, uint64_t* place) noexcept nogil:
    """The next row, from a place on, that was entered under such a hash, or NONE. Moves the place past it."""
    cdef uint64_t entry
    while True:
        entry = index.places[place[0] & index.mask]
        if entry == 0:
            return NONE
        place[0] += 1
        if entry >> 32 == (hashed & 0x7FFFFFFF):
            return <row_t>(<int64_t>(entry & 0xFFFFFFFFU) - 1)


cdef inline void _put(Index* index, uint64_t entry) noexcept nogil:
    cdef uint64_t place = (entry >> 32) & index.mask
    while index.places[place] != 0:
        place = (place + 1) & index.mask
    index.places[place] = entry


cdef inline void make_index(Index* index, uint64_t places) noexcept nogil:
    """An empty index of so many places, a power of two."""
    index.places, index.mask, index.used = <uint64_t*>rows_memory(8 * places), places - 1, 0
    memset(index.places, 0, 8 * places)


cdef inline void enter(Index* index, uint64_t hashed, row_t row) noexcept nogil:
    """Have a row found under a hash."""
    cdef Index old = index[0]
    cdef uint64_t i
    if 2 * (index.used + 1) > index.mask + 1:
        make_index(index, 2 * (old.mask + 1))
        for i in range(old.mask + 1):
            if old.places[i] != 0:
                _put(index, old.places[i])
        free(old.places)
        index.used = old.used
    index.used += 1
    _put(index, (hashed & 0x7FFFFFFF) << 32 | <uint64_t>(row + 1))


cdef inline void leave(Index* index, uint64_t hashed, row_t row) noexcept nogil:
    """Have a row that was entered under a hash not found any more; those that gave way to it move up."""
    cdef uint64_t entry = (hashed & 0x7FFFFFFF) << 32 | <uint64_t>(row + 1), mask = index.mask
    cdef uint64_t place = (entry >> 32) & mask, hole, home
    while index.places[place] != entry:
        if index.places[place] == 0:
            give_up("an index of the join has lost a row")
        place = (place + 1) & mask
    hole = place
    while True:
        place = (place + 1) & mask
        entry = index.places[place]
        if entry == 0:
            break
        home = (entry >> 32) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            index.places[hole] = entry
            hole = place
    index.places[hole] = 0
    index.used -= 1


# A heap of times and rows, the least first; of one time, the least `tie`, so that it is the same whatever came first.
cdef struct Due:
    int64_t at
    row_t row
    word_t tie


cdef struct Heap:
    Due* due
    row_t size, room


cdef inline bint is_before(Due one, Due other) noexcept nogil:
    return one.at < other.at or (one.at == other.at and one.tie < other.tie)


cdef inline void push(Heap* heap, Due due) noexcept nogil:
    cdef row_t place = heap.size, parent
    if place == heap.room:
        heap.room = 2 * heap.room + 64
        heap.due = <Due*>larger_memory(heap.due, heap.room * sizeof(Due))
    heap.size += 1
    while place > 0:
        parent = (place - 1) >> 1
        if not is_before(due, heap.due[parent]):
            break
        heap.due[place] = heap.due[parent]
        place = parent
    heap.due[place] = due


cdef inline void pop(Heap* heap) noexcept nogil:
    heap.size -= 1
    _sink(heap, 0, heap.due[heap.size])


cdef inline void _sink(Heap* heap, row_t place, Due due) noexcept nogil:
    """Put one into the place that is empty, or below it."""
    cdef row_t child
    while 2 * place + 1 < heap.size:
        child = 2 * place + 1
        if child + 1 < heap.size and is_before(heap.due[child + 1], heap.due[child]):
            child += 1
        if not is_before(heap.due[child], due):
            break
        heap.due[place] = heap.due[child]
        place = child
    heap.due[place] = due


cdef inline void heapify(Heap* heap) noexcept nogil:
    """Have it be a heap, whatever lies where."""
    cdef row_t place
    for place in range(heap.size // 2 - 1, -1, -1):
        _sink(heap, place, heap.due[place])
