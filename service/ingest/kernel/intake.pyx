"""Columns to decoded spans, and those into their traces and slots."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from service.ingest.kernel.admit cimport admit as admit_spans
from service.ingest.kernel.columns cimport Columns
from service.ingest.kernel.decoded cimport read as read_spans
from service.ingest.kernel.labels cimport find_span, label
from service.ingest.kernel.memory cimport row_t, word_t
from service.ingest.kernel.origins cimport find_origins, learn_origin
from service.ingest.kernel.rows cimport (
    BASIC_NUMBERS, L_AGENT, L_TENANT, LABEL_WORDS, NUMBERS, TELLS_MORE, Counts, DecodedSpan, Join
)
from service.ingest.kernel.sessions cimport next_due
from service.ingest.kernel.shapes cimport ShapeTable
from service.ingest.kernel.slots cimport find_slot, slot_of
from service.ingest.kernel.tables cimport Tables
from service.ingest.kernel.traces cimport find_trace


def begin(Tables tables, Columns columns):
    """Make room for the spans of some columns, and for what is learnt of their resources and scopes."""
    tables.room_for_decoded(columns.c.n_spans)
    tables.room("origins", columns.c.n_resources + columns.c.n_scopes)


def unplanned(Columns columns):
    """The spans that have no plan."""
    cdef row_t i
    return [i for i in range(columns.c.n_spans) if columns.c.spans[i].plan < 0]


def set_decoded(
    Tables tables, row_t row, int reading, int flags, word_t tenant, uint64_t name_high, uint64_t name_low,
    uint64_t response, list numbers,
):
    """Say what a span without a plan says."""
    cdef DecodedSpan* decoded = &tables.t.decoded[row]
    cdef int i
    assert 0 <= row < tables.t.decoded_room
    decoded.reading, decoded.flags, decoded.tenant, decoded.response = reading, flags, tenant, response
    decoded.name_high, decoded.name_low = name_high, name_low
    for i in range(NUMBERS):
        decoded.numbers[i] = numbers[i]
        if i >= BASIC_NUMBERS and decoded.numbers[i] == decoded.numbers[i]:
            decoded.flags |= TELLS_MORE


def new_origins(Tables tables, Columns columns):
    """The resources, and the scopes, of which nothing is known; for the others it is written."""
    cdef row_t i
    if find_origins(&tables.t, &columns.c) == 0:
        return (), ()
    return (
        [i for i in range(columns.c.n_resources) if columns.c.resources[i].number < 0],
        [i for i in range(columns.c.n_scopes) if columns.c.scopes[i].kinds < 0],
    )


def learn_resource(Tables tables, Columns columns, row_t row, row_t number, uint64_t name_high, uint64_t name_low):
    """Say the number of a resource that is new, and what stands for the session that it names, 0 for none."""
    columns.c.resources[row].number = number
    columns.c.resources[row].name_high, columns.c.resources[row].name_low = name_high, name_low
    learn_origin(&tables.t, &columns.c, row, False)


def learn_scope(Tables tables, Columns columns, row_t row, row_t kinds, double weight):
    """Say of a scope that is new what kinds it is of, and the weight of its spans, 0.0 if it does not tell."""
    columns.c.scopes[row].kinds, columns.c.scopes[row].weight = kinds, weight
    learn_origin(&tables.t, &columns.c, row, True)


def read(Tables tables, Columns columns, ShapeTable shapes):
    """Write what each span says. How many of their numbers are not numbers; how many totals nothing explains."""
    tables.t.counts.bad_numbers = tables.t.counts.unexplained = 0
    tables.room("words", columns.c.n_spans)     # Each may name a tenant that is new.
    with nogil:
        read_spans(&tables.t, &columns.c, shapes.plans, tables.t.decoded)
    return tables.t.counts.bad_numbers, tables.t.counts.unexplained


def admit(Tables tables, row_t first, row_t stop, int64_t future):
    """Put decoded spans into their traces and slots, but those that end after `future`. Returns what was counted."""
    cdef int64_t n = stop - first
    assert 0 <= first <= stop <= tables.t.decoded_room
    for name in ("spans", "waits", "traces", "pages"):
        tables.room(name, n)
    # A span may make room for itself by two traces, each of which ends a session, which may open a slot.
    tables.room("ended", 2 * n)
    tables.room("slots", 3 * n)
    memset(&tables.t.counts, 0, sizeof(Counts))
    with nogil:
        admit_spans(&tables.t, first, stop, future)
    return tables.t.counts


def open_slot(Tables tables, int64_t start):
    """Open a slot, if it is not."""
    tables.room("slots", 1)
    slot_of(&tables.t, start)


def first_due(Tables tables):
    """When the session is due that is due first, None if none is open."""
    return tables.t.due if next_due(&tables.t) >= 0 else None


def waiting(Tables tables, int64_t start):
    """How many spans wait for a slot."""
    cdef row_t slot = find_slot(&tables.t, start)
    return tables.t.slots[slot].waiting if slot >= 0 else 0


def labels_of(Tables tables, uint64_t high, uint64_t low, uint64_t own):
    """The words of tenant and agent of a span of a live trace, or of its root; (0, 0) where it is not known."""
    cdef row_t trace = find_trace(&tables.t, high, low), span
    cdef word_t[LABEL_WORDS] words
    if trace < 0:
        return 0, 0
    span = find_span(&tables.t, trace, own)
    span = tables.t.traces[trace].root if span < 0 else span
    if span < 0:
        return 0, 0
    label(&tables.t, &tables.t.spans[span], words)
    return words[L_TENANT], words[L_AGENT]
