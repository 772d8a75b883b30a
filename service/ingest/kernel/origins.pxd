# Resources and scopes that were met lately, found by a fingerprint of all that they say.
from libc.stdint cimport uint64_t

from service.ingest.kernel.columns cimport TEXT_KIND, ColumnData
from service.ingest.kernel.memory cimport NONE, Fingerprint, enter, fingerprint, mixed, next_like, row_t, take
from service.ingest.kernel.rows cimport Join, Origin


cdef inline Fingerprint _attributes(Join* t, const ColumnData* c, row_t first, row_t stop) noexcept nogil:
    cdef Fingerprint made, text
    cdef row_t i
    made.high = made.low = stop - first
    for i in range(first, stop):
        text.high = text.low = c.attributes[i].value
        if c.attributes[i].kind == TEXT_KIND:
            text = fingerprint(t.seed, c.text + c.attributes[i].text, c.attributes[i].value)
        made.high = mixed(mixed(made.high, <uint64_t>c.attributes[i].key << 8 | c.attributes[i].kind), text.high)
        made.low = mixed(mixed(made.low, text.low), made.high)
    return made


cdef inline Fingerprint fingerprint_of(Join* t, const ColumnData* c, row_t row, bint is_scope) noexcept nogil:
    """What stands for a resource, or for a scope's name and attributes."""
    cdef Fingerprint made, name
    if not is_scope:
        return _attributes(t, c, c.resources[row].first, c.resources[row].stop)
    name = fingerprint(t.seed, c.text + c.scopes[row].name, c.scopes[row].name_size)
    made = _attributes(t, c, c.scopes[row].first, c.scopes[row].stop)
    made.high, made.low = mixed(mixed(name.high, made.high), <uint64_t>1 << 32), mixed(name.low, made.low)
    return made


cdef inline row_t find_origin(Join* t, Fingerprint it) noexcept nogil:
    """Its row among those that were met, -1 if it is new."""
    cdef uint64_t place = it.high
    cdef row_t row
    while True:
        row = next_like(&t.origin_index, it.high, &place)
        if row < 0 or (t.origins[row].high == it.high and t.origins[row].low == it.low):
            return row


cdef inline row_t find_origins(Join* t, ColumnData* c) noexcept nogil:
    """Write what is known of resources and scopes, NONE where one is new; how many of them are."""
    cdef row_t row, origin, new = 0
    for row in range(c.n_resources):
        origin = find_origin(t, fingerprint_of(t, c, row, False))
        c.resources[row].number = t.origins[origin].number if origin >= 0 else NONE
        c.resources[row].name_high = t.origins[origin].name_high if origin >= 0 else 0
        c.resources[row].name_low = t.origins[origin].name_low if origin >= 0 else 0
        new += origin < 0
    for row in range(c.n_scopes):
        origin = find_origin(t, fingerprint_of(t, c, row, True))
        c.scopes[row].kinds = t.origins[origin].number if origin >= 0 else NONE
        c.scopes[row].weight = t.origins[origin].weight if origin >= 0 else 0.0
        new += origin < 0
    return new


cdef inline void learn_origin(Join* t, const ColumnData* c, row_t row, bint is_scope) noexcept nogil:
    """Have a resource or a scope known by what the columns now say of it."""
    cdef Fingerprint it = fingerprint_of(t, c, row, is_scope)
    cdef row_t at
    cdef Origin* origin
    if find_origin(t, it) >= 0:
        return
    at = take(&t.origin_table)
    origin = &t.origins[at]
    origin.high, origin.low = it.high, it.low
    origin.number = c.scopes[row].kinds if is_scope else c.resources[row].number
    origin.weight = c.scopes[row].weight if is_scope else 0.0
    origin.name_high = 0 if is_scope else c.resources[row].name_high
    origin.name_low = 0 if is_scope else c.resources[row].name_low
    enter(&t.origin_index, it.high, at)
