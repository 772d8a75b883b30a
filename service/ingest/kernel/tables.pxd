# The owner of all that the join holds.
from service.ingest.kernel.memory cimport Index, Table, row_t
from service.ingest.kernel.rows cimport Join

cdef enum:
    TABLES = 11


cdef class Tables:
    cdef Join t
    cdef Table* tables[11]      # In the order of NAMES,
    cdef void** pointers[11]    # with the pointers that kernels use,
    cdef Index* indexes[11]     # and their indexes, NULL for tables that have none.
    cdef object units_array, seen_array
    cdef bint has_names
    cdef void room(self, str name, long long rows)
    cdef void room_for_units(self, long long rows)
    cdef void room_for_decoded(self, row_t rows)
