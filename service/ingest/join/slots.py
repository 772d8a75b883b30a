"""Open slots: the 10 s in which spans that wait ended, found by their start; the first to close is first in a queue."""

from service.ingest.join.rows import MASK, NONE, enter, find, give_back, leave, pop, push, take
from service.ingest.join.tables import (
    OPENED,
    PAGE_BEFORE,
    PAGE_CELLS,
    PAGE_PAIRS,
    PAGE_ROOM,
    PAGES,
    SLOT_CELLS,
    SLOT_ENDED,
    SLOT_PAGE,
    SLOT_SESSIONS,
    SLOT_START,
    SLOT_WAITING,
    SLOTS,
    Tables,
    more,
)
from service.ingest.memory import Number, cell, hash_of, kernel, put


@kernel
def find_slot(t: Tables, start_ns: Number) -> Number:
    """The open slot that begins then, or -1."""
    hashed, mask = hash_of(t.seed, start_ns, 0), cell(t.heads, SLOTS + MASK)
    return find(t.slot_index, mask, hashed, t.slots, SLOT_CELLS, SLOT_START, start_ns, SLOT_START, start_ns)


@kernel
def slot_of(t: Tables, start_ns: Number) -> Number:
    """The slot that begins then, opened if it is not."""
    row = find_slot(t, start_ns)
    if row >= 0:
        return row
    row = take(t.heads, SLOTS, t.slots, SLOT_CELLS)
    at = row * SLOT_CELLS
    put(t.slots, at + SLOT_START, start_ns)
    put(t.slots, at + SLOT_PAGE, NONE)
    put(t.slots, at + SLOT_WAITING, 0)
    put(t.slots, at + SLOT_ENDED, NONE)
    put(t.slots, at + SLOT_SESSIONS, 0)
    enter(t.slot_index, cell(t.heads, SLOTS + MASK), hash_of(t.seed, start_ns, 0), row)
    push(t.opened, cell(t.state, OPENED), start_ns, row)
    more(t.state, OPENED, 1)
    return row


@kernel
def put_in(t: Tables, row: Number, wait: Number, end_ns: Number) -> None:
    """Have a span wait for a slot."""
    slot = row * SLOT_CELLS
    waiting = cell(t.slots, slot + SLOT_WAITING)
    page = cell(t.slots, slot + SLOT_PAGE)
    if waiting % PAGE_ROOM == 0:
        before, page = page, take(t.heads, PAGES, t.pages, PAGE_CELLS)
        put(t.pages, page * PAGE_CELLS + PAGE_BEFORE, before)
        put(t.slots, slot + SLOT_PAGE, page)
    at = page * PAGE_CELLS + PAGE_PAIRS + 2 * (waiting % PAGE_ROOM)
    put(t.pages, at, wait)
    put(t.pages, at + 1, end_ns)
    put(t.slots, slot + SLOT_WAITING, waiting + 1)


@kernel
def list_waiting(t: Tables, row: Number) -> None:
    """Write the spans that wait for a slot to the list, as they came, and their ends beside it. They are put out."""
    slot = row * SLOT_CELLS
    waiting, page = cell(t.slots, slot + SLOT_WAITING), cell(t.slots, slot + SLOT_PAGE)
    while page >= 0:
        first = (waiting - 1) // PAGE_ROOM * PAGE_ROOM
        at = page * PAGE_CELLS + PAGE_PAIRS
        for i in range(waiting - first):
            put(t.order, first + i, cell(t.pages, at + 2 * i))
            put(t.ends, first + i, cell(t.pages, at + 2 * i + 1))
        before, waiting = cell(t.pages, page * PAGE_CELLS + PAGE_BEFORE), first
        give_back(t.heads, PAGES, t.pages, PAGE_CELLS, page)
        page = before
    put(t.slots, slot + SLOT_PAGE, NONE)


@kernel
def drop_first(t: Tables) -> None:
    """Forget the slot that begins first: it is closed."""
    start_ns, row = cell(t.opened, 0), cell(t.opened, 1)
    leave(t.slot_index, cell(t.heads, SLOTS + MASK), hash_of(t.seed, start_ns, 0), row)
    give_back(t.heads, SLOTS, t.slots, SLOT_CELLS, row)
    pop(t.opened, cell(t.state, OPENED))
    more(t.state, OPENED, -1)
