# Open slots: 10 s of event time in which spans ended that wait. They are found by their start; a heap has the first.
from libc.stdint cimport int64_t, uint64_t

from service.ingest.kernel.memory cimport (
    NONE, Due, enter, give_back, hash_of, leave, next_like, pop, push, row_t, take
)
from service.ingest.kernel.rows cimport *

cdef extern from "kernel.h" nogil:
    const int64_t SLOT_NS


cdef inline row_t find_slot(Join* t, int64_t start) noexcept nogil:
    """The open slot that begins then, or NONE."""
    cdef uint64_t hashed = hash_of(t.seed, start, 0)
    cdef uint64_t place = hashed
    cdef row_t row
    while True:
        row = next_like(&t.slot_index, hashed, &place)
        if row < 0 or t.slots[row].start == start:
            return row


cdef inline row_t slot_of(Join* t, int64_t start) noexcept nogil:
    """The slot that begins then, opened if it is not."""
    cdef row_t row = find_slot(t, start)
    cdef Slot* slot
    if row >= 0:
        return row
    row = take(&t.slot_table)
    slot = &t.slots[row]
    slot.start, slot.page, slot.ended, slot.waiting, slot.sessions = start, NONE, NONE, 0, 0
    enter(&t.slot_index, hash_of(t.seed, start, 0), row)
    push(&t.opened, Due(start, row, 0))
    return row


cdef inline void put_in(Join* t, Slot* slot, row_t wait, int64_t end) noexcept nogil:
    """Have a span wait for a slot."""
    cdef row_t page = slot.page, at = slot.waiting % PAGE_ROOM
    if at == 0:
        page = take(&t.page_table)
        t.pages[page].previous = slot.page
        slot.page = page
    t.pages[page].waits[at], t.pages[page].ends[at] = wait, end
    slot.waiting += 1


cdef inline void list_waiting(Join* t, const Slot* slot, Order* order) noexcept nogil:
    """Write the spans that wait for a slot, with their ends, in the order in which they came."""
    cdef row_t waiting = slot.waiting, page = slot.page, first, i
    while page >= 0:
        first = (waiting - 1) // PAGE_ROOM * PAGE_ROOM
        for i in range(waiting - first):
            order[first + i].wait, order[first + i].end = t.pages[page].waits[i], t.pages[page].ends[i]
            if slot.start <= t.state.moved:
                order[first + i].end = min(t.waits[t.pages[page].waits[i]].end, slot.start + SLOT_NS - 1)
        page, waiting = t.pages[page].previous, first


cdef inline void drop_pages(Join* t, Slot* slot) noexcept nogil:
    """Give back the pages of a slot: its spans are on the list."""
    cdef row_t previous
    while slot.page >= 0:
        previous = t.pages[slot.page].previous
        give_back(&t.page_table, slot.page)
        slot.page = previous


cdef inline void drop_first(Join* t) noexcept nogil:
    """Forget the slot that begins first: it is closed."""
    leave(&t.slot_index, hash_of(t.seed, t.opened.due[0].at, 0), t.opened.due[0].row)
    give_back(&t.slot_table, t.opened.due[0].row)
    pop(&t.opened)
