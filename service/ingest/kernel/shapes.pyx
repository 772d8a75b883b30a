"""The shapes that are known, and the plans of their spans."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from service.ingest.kernel.columns cimport Columns
from service.ingest.kernel.memory cimport row_t, rows_memory, text_hash
from service.ingest.kernel.rows cimport BASIC_NUMBERS, NUMBERS, Plan

cdef enum:
    SHAPES_MAX = 20_000
    KNOWN_BYTES = 16 << 20
    SHAPE_PLACES = 1 << 16      # A power of two, and several times the shapes.


cdef class ShapeTable:
    def __cinit__(self, list classes):
        cdef int i
        self.s.classes = <int64_t*>malloc(sizeof(int64_t) * len(classes))
        self.s.table = <Shape*>calloc(SHAPE_PLACES, sizeof(Shape))
        self.s.known = <uint8_t*>rows_memory(KNOWN_BYTES)
        self.s.scratch = <uint8_t*>calloc(SCRATCH_BYTES, 1)
        self.plans = <Plan*>rows_memory(SHAPES_MAX * sizeof(Plan))
        if self.s.classes == NULL or self.s.table == NULL or self.s.scratch == NULL:
            raise MemoryError
        self.s.mask = SHAPE_PLACES - 1
        for i in range(<int>len(classes)):
            self.s.classes[i] = classes[i]

    def __dealloc__(self):
        free(self.s.classes)
        free(self.s.table)
        free(self.s.known)
        free(self.s.scratch)
        free(self.plans)

    @property
    def is_full(self):
        """Whether there is no room for another shape."""
        return self.entries >= SHAPES_MAX or self.known_bytes + 2 * SHAPE_BYTES_MAX > KNOWN_BYTES

    def clear(self):
        """Know none of them."""
        memset(self.s.table, 0, SHAPE_PLACES * sizeof(Shape))
        self.known_bytes = self.entries = self.count = 0

    def recognise(self, Columns columns, row_t first, bint learns):
        """Write the plan of each span from the first on into its row, NO_PLAN where it has none.

        Stops at the first whose shape is new if it `learns`; returns that row, or the number of spans.
        """
        cdef row_t reached
        with nogil:
            reached = recognise(&self.s, &columns.c, first, columns.c.n_spans, learns)
        return reached

    def add(self, reading, int flags, bad, list places):
        """Enter a plan; its number. `places` are those of tenant, session, response id and numbers among attributes."""
        cdef Plan* plan = &self.plans[self.count]
        cdef int i
        assert self.count < SHAPES_MAX
        plan.reading, plan.flags, plan.bad, plan.more = reading, flags, bad, 0
        plan.tenant, plan.name, plan.response = places[:3]
        for i in range(NUMBERS):
            plan.numbers[i] = places[3 + i]
            plan.more |= i >= BASIC_NUMBERS and places[3 + i] >= 0
        self.count += 1
        return self.count - 1

    def enter(self, Columns columns, row_t row, bint with_name, row_t plan):
        """Have a span's shape known by a plan, NO_PLAN or ASK_NAME, unless it is known or the span has none."""
        cdef int64_t size = shape_of(&self.s, &columns.c, self.s.scratch, &columns.c.spans[row], with_name)
        cdef uint64_t hashed, place
        cdef Shape* shape
        if size < 0 or self.is_full:
            return
        hashed = text_hash(self.s.scratch, size)
        place = hashed & self.s.mask
        while True:
            shape = &self.s.table[place]
            if shape.size == 0:
                break
            if shape.hashed == hashed and <int64_t>shape.size == size:
                if memcmp(self.s.known + shape.at, self.s.scratch, size) == 0:
                    return
            place = (place + 1) & self.s.mask
        shape.hashed, shape.at, shape.size, shape.plan = hashed, <place_t>self.known_bytes, <place_t>size, plan
        memcpy(self.s.known + self.known_bytes, self.s.scratch, size)
        self.known_bytes += size
        self.entries += 1
