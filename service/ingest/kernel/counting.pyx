"""A slot that closes: its calls and the sessions that ended in it, counted as units."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from service.ingest.kernel.calls cimport count as count_calls
from service.ingest.kernel.calls cimport mark_ancestors
from service.ingest.kernel.ended cimport drop_ended, list_ended
from service.ingest.kernel.memory cimport NONE, row_t
from service.ingest.kernel.order cimport sort
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.running cimport tell
from service.ingest.kernel.slots cimport SLOT_NS, drop_first, drop_pages, find_slot, list_waiting
from service.ingest.kernel.structs cimport structs
from service.ingest.kernel.tables cimport Tables

import numpy as np

from service.ingest.kernel.structs import TYPES


def begin(Tables tables, int64_t start):
    """List and order the spans of the slot that closes, and mark their ancestors.

    Returns how many there are, and how many of them are an SDK's own that another account may stand beside.
    """
    cdef Join* t = &tables.t
    cdef Slot* slot = &t.slots[find_slot(t, start)]
    cdef row_t n = slot.waiting, natives
    t.state.floor = max(t.state.floor, start)
    t.helped, t.n_running, t.n_touched = NONE, 0, 0
    tables.room_for_units(n)
    with nogil:
        list_waiting(t, slot, t.order)
        drop_pages(t, slot)
        sort(t, start, n)
        natives = mark_ancestors(t, n)
    memset(&t.counts, 0, sizeof(Counts))
    return n, natives


def listed(Tables tables, row_t n):
    """The rows of waits on the list."""
    return structs(tables.t.order, n, "order")["wait"]


def count(Tables tables, row_t first, row_t n, int64_t end):
    """Count the calls on the list from the first on, and close the sessions that are due before the slot ends.

    Returns `n`, or the place of a call that needs its price first: see `new_prices` and `stopped`.
    """
    cdef row_t done
    for name in ("sessions", "labels", "prices"):
        tables.room(name, n - first)
    # All sessions that are open may end in this slot, and each that is met may end and begin anew.
    tables.room("ended", tables.count("sessions") + n - first)
    tables.room("slots", n - first + 1)
    with nogil:
        done = count_calls(&tables.t, first, n, end)
    return done


def new_prices(Tables tables):
    """The prices that are to be looked up: row, and words of provider, response's and request's model, and tier."""
    cdef Price* p = tables.t.prices
    cdef row_t i
    return [
        (i, p[i].provider, p[i].response, p[i].model, p[i].tier)
        for i in range(tables.t.price_table.high) if p[i].kind == NEW
    ]


def set_price(Tables tables, row_t row, row_t kind, bands):
    """Say a price: its kind, and its bands as tuples of least input tokens and dollars a token."""
    cdef Price* price = &tables.t.prices[row]
    cdef int i, part
    assert len(bands) <= BANDS_MAX
    price.kind, price.count = kind, <row_t>len(bands)
    for i in range(price.count):
        price.bands[i].start, price.bands[i].input, price.bands[i].output = bands[i][:3]
        price.bands[i].read, price.bands[i].write = bands[i][3:5]
        for part in range(PARTS):
            price.bands[i].parts[part] = bands[i][5 + part]


def stopped(Tables tables, row_t place):
    """The call whose price is to be asked for: words of its models and tier, its tokens and their parts, its end."""
    cdef Price* price = &tables.t.prices[tables.t.stopped_at]
    cdef Wait* wait = &tables.t.waits[tables.t.order[place].wait]
    cdef bint has_parts = tables.t.spans[wait.span].flags & HAS_PARTS != 0
    cdef int i
    tokens = [wait.numbers[i] for i in range(COST)] + [wait.parts[i] if has_parts else 0.0 for i in range(PARTS)]
    return (price.provider, price.response, price.model, price.tier), tokens, wait.end


def set_dollars(Tables tables, row_t place, double dollars):
    """Say what the call at a place costs, NaN for unknown."""
    tables.t.helped, tables.t.help = place, dollars


def finish(Tables tables, int64_t start):
    """Write the units of the sessions that ended after those of the calls.

    Returns the units (UNIT_COLUMNS, n), whose UNIT_CELL is a row of labels; how many are calls; how many are sessions;
    and what was counted. All are good until the next slot.
    """
    cdef Join* t = &tables.t
    cdef Slot* slot = &t.slots[find_slot(t, start)]
    cdef int64_t calls = t.counts.units
    tables.room_for_units(calls + slot.sessions)
    tables.room("labels", slot.sessions)
    with nogil:
        list_ended(t, slot)
    return tables.units_array[:, : t.counts.units], calls, slot.sessions, t.counts


def asked(Tables tables):
    """The labels whose cell is to be found, as rows, since this was asked last."""
    cdef row_t i
    found = [tables.t.asking[i] for i in range(tables.t.n_asking)]
    tables.t.n_asking = 0
    return found


def met(Tables tables):
    """Rows of labels with a prompt or a model that answered of which a call was counted for the first time."""
    found = [tables.t.met[i] for i in range(tables.t.n_met)]
    tables.t.n_met = 0
    return found


def sampled(Tables tables, row_t resources):
    """By resource: its number, spans of the slot, and the largest weight among them. Begins anew."""
    cdef Sampled* s = tables.t.sampled
    cdef row_t i
    found = [(i, s[i].spans, s[i].weight) for i in range(resources) if s[i].spans]
    memset(s, 0, resources * sizeof(Sampled))
    return found


def running(Tables tables, int64_t start):
    """The sessions that are open after the slot, went on in it and are long: a copy, as an array of structs."""
    cdef Join* t = &tables.t
    cdef row_t i, n = 0
    found = np.empty(t.n_running, TYPES["running"])
    cdef Running[::1] rows = found
    for i in range(t.n_running):
        n += tell(t, t.running[i], <row_t>(start / SLOT_NS) + 1, &rows[n])
    return found[:n]


def drop(Tables tables, row_t sessions):
    """Forget the slot and its sessions: they are counted."""
    drop_ended(&tables.t, sessions)
    drop_first(&tables.t)
