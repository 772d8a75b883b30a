# The sessions that ended in a slot, as units beside its calls.
from libc.math cimport NAN
from libc.stdint cimport int64_t

from service.ingest.kernel.labels cimport hash_label, label_row
from service.ingest.kernel.memory cimport give_back, row_t, word_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.units cimport write_trace


cdef inline void list_ended(Join* t, const Slot* slot) noexcept nogil:
    """Write the units of a slot's sessions after those of its calls, and their rows to the list."""
    cdef row_t row = slot.ended, n = 0
    cdef int64_t room = t.units_room
    cdef int i
    cdef EndedSession* ended
    cdef double* unit
    cdef word_t[9] words
    while row >= 0:
        ended = &t.ended[row]
        for i in range(LABEL_WORDS):
            words[i] = 0
        words[L_TENANT], words[L_AGENT], words[L_OPERATION] = ended.tenant, ended.agent, FIRST_OPERATION + OP_SESSION
        words[L_VERSION] = ended.version
        unit = t.units + t.counts.units
        t.counts.units += 1
        for i in range(UNIT_COLUMNS):
            unit[i * room] = 0.0
        unit[UNIT_CELL * room] = label_row(t, words, hash_label(t, words))
        unit[UNIT_WEIGHT * room] = unit[UNIT_EACH * room] = ended.weight
        unit[UNIT_FAILED * room], unit[UNIT_DOLLARS * room] = ended.failed, ended.dollars
        unit[UNIT_UNPRICED * room], unit[UNIT_FREE * room] = ended.unpriced, ended.free
        unit[UNIT_SECONDS * room], unit[UNIT_OUTCOME * room] = ended.seconds, ended.outcome
        unit[UNIT_SOURCE * room] = NOTHING_TO_PRICE
        unit[UNIT_ENDING * room] = -1.0
        unit[UNIT_FIRST * room] = unit[UNIT_SCORE * room] = NAN
        write_trace(unit, room, ended.trace_high, ended.trace_low)
        t.order[n].wait = row
        n += 1
        row = ended.next


cdef inline void drop_ended(Join* t, row_t n) noexcept nogil:
    """Forget the sessions on the list: they are counted."""
    cdef row_t i
    for i in range(n):
        give_back(&t.ended_table, t.order[i].wait)
