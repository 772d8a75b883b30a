"""The owner of all that the join holds: rows of structs in tables, the indexes that find them, and interned strings."""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from service.ingest.kernel.memory cimport (
    NONE, Due, Fingerprint, Index, Table, enter, fingerprint, free_table, hash_of, hide, larger_memory, make_index,
    make_room, push, row_t, rows_memory, show, take
)
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.sessions cimport enqueue
from service.ingest.kernel.slots cimport SLOT_NS, list_waiting, put_in
from service.ingest.kernel.stretch cimport Touched
from service.ingest.kernel.structs cimport structs
from service.ingest.kernel.traces cimport bit_of, enter_span
from service.ingest.kernel.words cimport word_of

import numpy as np

READINGS_MAX, RESOURCES_MAX, WORDS_MAX, TEXT_BYTES = 1 << 16, 1 << 16, 1 << 18, 16 << 20
"""Readings, resources and words that are told apart at a time, and bytes of all words."""
NAMES = ("spans", "waits", "traces", "sessions", "ended", "slots", "pages", "labels", "prices", "origins", "words")
"""The tables."""

cdef enum:
    FIRST_ROWS = 64
    FIRST_PLACES = 128


cdef class Tables:
    def __cinit__(self):
        cdef Join* t = &self.t
        cdef uint64_t[11] widths
        cdef int i
        memset(t, 0, sizeof(Join))
        self.tables = [
            &t.span_table, &t.wait_table, &t.trace_table, &t.session_table, &t.ended_table, &t.slot_table,
            &t.page_table, &t.label_table, &t.price_table, &t.origin_table, &t.word_table,
        ]
        self.pointers = [
            <void**>&t.spans, <void**>&t.waits, <void**>&t.traces, <void**>&t.sessions, <void**>&t.ended,
            <void**>&t.slots, <void**>&t.pages, <void**>&t.labels, <void**>&t.prices, <void**>&t.origins,
            <void**>&t.words,
        ]
        self.indexes = [
            &t.span_index, NULL, &t.trace_index, &t.session_index, NULL, &t.slot_index, NULL, &t.label_index,
            &t.price_index, &t.origin_index, &t.word_index,
        ]
        widths = [
            sizeof(Span), sizeof(Wait), sizeof(Trace), sizeof(Session), sizeof(EndedSession), sizeof(Slot),
            sizeof(Page), sizeof(Labels), sizeof(Price), sizeof(Origin), sizeof(Word),
        ]
        for i in range(TABLES):
            self.tables[i].width = widths[i]
            make_room(self.tables[i], self.pointers[i], FIRST_ROWS)
            if self.indexes[i] != NULL:
                make_index(self.indexes[i], FIRST_PLACES)
        t.readings = <Reading*>calloc(1 << 16, sizeof(Reading))
        t.resources = <Resource*>calloc(1 << 16, sizeof(Resource))
        t.sampled, t.text = <Sampled*>calloc(1 << 16, sizeof(Sampled)), <uint8_t*>rows_memory(16 << 20)
        if t.readings == NULL or t.resources == NULL or t.sampled == NULL:
            raise MemoryError
        t.state.oldest = t.state.newest = t.forgotten = t.helped = NONE

    def __init__(
        self, tuple seed, int64_t idle_ns, int64_t rootless_idle_ns, int64_t longest_ns, int64_t traces_max,
        int64_t spans_max, tuple weights, tuple names = None, bint tells = False,
    ):
        """`names` is what fingerprints of sessions' names begin with, where that is not the seed.

        tells  whether sessions are joined elsewhere
        """
        cdef Join* t = &self.t
        cdef int64_t[:, ::1] seen
        t.tells, self.has_names = tells, names is not None
        if names is not None:
            t.name_seed[0], t.name_seed[1] = <uint64_t><int64_t>names[0], <uint64_t><int64_t>names[1]
        self.seed = seed
        t.idle, t.rootless_idle, t.longest = idle_ns, rootless_idle_ns, longest_ns
        t.traces_max, t.spans_max = traces_max, spans_max
        t.words_max, t.text_room = WORDS_MAX, TEXT_BYTES
        if weights is not None:
            t.is_sampled, t.failed_weight, t.rest_weight = 1, weights[0], weights[1]
        self.seen_array = np.zeros((RESOURCES_MAX, SEEN), np.int64)
        seen = self.seen_array
        t.seen = &seen[0, 0]
        self.room_for_units(FIRST_ROWS)
        self.clear_words()

    def __dealloc__(self):
        cdef Join* t = &self.t
        cdef int i
        for i in range(TABLES):
            free_table(self.tables[i])
            if self.indexes[i] != NULL:
                free(self.indexes[i].places)
        free(t.queue.due)
        free(t.opened.due)
        free(t.readings)
        free(t.met)
        free(t.resources)
        free(t.sampled)
        free(t.text)
        free(t.decoded)
        free(t.order)
        free(t.sorted)
        free(t.asking)
        free(t.running)
        free(t.touched)
        free(t.stretches)

    # Rows.

    cdef void room(self, str name, long long rows):
        """Make room for so many more rows."""
        cdef int i = NAMES.index(name)
        make_room(self.tables[i], self.pointers[i], rows)

    cdef void room_for_units(self, long long rows):
        """Make room for the list, the units and the labels of a slot of so many calls and sessions."""
        cdef Join* t = &self.t
        cdef double[:, ::1] units
        cdef row_t had = t.units_room
        if rows <= had:
            return
        if rows > 1 << 30:
            raise MemoryError
        t.units_room = <row_t>(2 * rows)
        t.order = <Order*>larger_memory(t.order, t.units_room * sizeof(Order))
        t.sorted = <Order*>larger_memory(t.sorted, t.units_room * sizeof(Order))
        t.asking = <row_t*>larger_memory(t.asking, t.units_room * sizeof(row_t))
        t.met = <row_t*>larger_memory(t.met, t.units_room * sizeof(row_t))
        t.running = <row_t*>larger_memory(t.running, t.units_room * sizeof(row_t))
        t.touched = <Touched*>larger_memory(t.touched, t.units_room * sizeof(Touched))
        before, self.units_array = self.units_array, np.zeros((UNIT_COLUMNS, t.units_room))
        if had:
            self.units_array[:, :had] = before
        units = self.units_array
        t.units = &units[0, 0]

    cdef void room_for_decoded(self, row_t rows):
        """Make room for so many decoded spans; those that were there are gone."""
        if rows > self.t.decoded_room:
            free(self.t.decoded)
            self.t.decoded_room = 2 * rows
            self.t.decoded = <DecodedSpan*>rows_memory(self.t.decoded_room * sizeof(DecodedSpan))

    def rows(self, str name):
        """A table as an array of structs, by field name. Good until the next kernel: a table that grows moves.

        Pages, prices and origins are not shown: nobody else need know them.
        """
        cdef Table* table = self.tables[NAMES.index(name)]
        return structs(table.rows, table.high, name)

    def decoded(self):
        """The decoded spans as an array of structs; good until the next are decoded."""
        if self.t.decoded_room == 0:
            self.room_for_decoded(1)
        return structs(self.t.decoded, self.t.decoded_room, "decoded")

    def readings(self):
        """What each reading says, as an array of structs."""
        return structs(self.t.readings, READINGS_MAX, "readings")

    def state(self):
        """The single values that are saved, as an array of one struct."""
        return structs(&self.t.state, 1, "state")

    def live(self, str name):
        """The numbers of the rows in use, in order."""
        cdef Table* table = self.tables[NAMES.index(name)]
        cdef row_t i
        is_live = np.ones(table.high, np.uint8)
        cdef uint8_t[::1] flags = is_live
        for i in range(table.n_free):
            flags[table.free_rows[i]] = 0
        return np.flatnonzero(is_live)

    def count(self, str name):
        """How many rows are in use."""
        cdef Table* table = self.tables[NAMES.index(name)]
        return table.high - table.n_free

    def clear(self, str name):
        """Empty a table."""
        cdef int i = NAMES.index(name)
        cdef Table* table = self.tables[i]
        table.high = table.n_free = 0
        hide(table.rows, table.width * table.room)
        if self.indexes[i] != NULL:
            self.indexes[i].used = 0
            memset(self.indexes[i].places, 0, 8 * (self.indexes[i].mask + 1))

    # Words, readings and resources.

    def clear_words(self):
        """Know no words but the empty one, which is never looked up."""
        self.clear("words")
        self.t.text_used = 0
        memset(&self.t.words[take(&self.t.word_table)], 0, sizeof(Word))

    def word(self, bytes text):
        """The word of a text."""
        self.room("words", 1)
        return word_of(&self.t, text, len(text))

    def fingerprint(self, bytes text):
        """128 bits that stand for a text that nobody need read again."""
        cdef Fingerprint made = fingerprint(self.t.seed, text, len(text))
        return made.high, made.low

    def session(self, bytes name):
        """128 bits that stand for the session of a name."""
        cdef Fingerprint made = fingerprint(self.t.name_seed, name, len(name))
        return made.high, made.low

    def texts(self, row_t first):
        """The texts of all words from one on."""
        cdef row_t i
        cdef const char* text = <const char*>self.t.text
        return [
            text[self.t.words[i].at : self.t.words[i].at + self.t.words[i].size]
            for i in range(first, self.t.word_table.high)
        ]

    @property
    def queue_places(self):
        """Places in the queue of sessions, stale ones with them."""
        return self.t.queue.size

    @property
    def words_used(self):
        """Words, and bytes of their texts."""
        return self.t.word_table.high, self.t.text_used

    def set_reading(self, row_t number, tuple head, list words):
        """Say what a reading says: its head, in the order of below, and its words."""
        cdef Reading* r = &self.t.readings[number]
        assert 0 <= number < READINGS_MAX
        r.operation, r.rank, r.is_log, r.apart, r.outcome, r.is_google, r.is_cut, r.names_top, r.rate = head[:9]
        r.ending, r.error, r.listed = head[9:]
        r.agent, r.by_name, r.version, r.provider, r.model, r.answered_by, r.tool, r.store, r.tier = words[:9]
        r.raised, r.prompt = words[9:]

    def set_resource(self, row_t number, list words):
        """Say what a resource says: the words of its tenant, agent and version."""
        assert 0 <= number < RESOURCES_MAX
        self.t.resources[number].tenant, self.t.resources[number].agent, self.t.resources[number].version = words

    @property
    def seen(self):
        """(RESOURCES_MAX, SEEN) when spans last reported each operation, by resource."""
        return self.seen_array

    # Single values.

    @property
    def seed(self):
        """Two int64 that hashes begin with."""
        return <int64_t>self.t.seed[0], <int64_t>self.t.seed[1]

    @seed.setter
    def seed(self, tuple value):
        self.t.seed[0], self.t.seed[1] = <uint64_t><int64_t>value[0], <uint64_t><int64_t>value[1]
        if not self.has_names:
            self.t.name_seed[0], self.t.name_seed[1] = self.t.seed[0], self.t.seed[1]

    @property
    def is_untold(self):
        """Whether sessions were joined here before, and what their traces went through is still to be told."""
        return bool(self.t.is_untold)

    @is_untold.setter
    def is_untold(self, bint value):
        self.t.is_untold = value

    @property
    def floor(self):
        """What ends before is late: its slot is closed."""
        return self.t.state.floor

    @floor.setter
    def floor(self, int64_t value):
        self.t.state.floor = value

    @property
    def pending(self):
        """Spans that wait for their slot to close."""
        return self.t.state.pending

    @property
    def live_spans(self):
        """Spans of live traces."""
        return self.t.state.live_spans

    @property
    def live_traces(self):
        """Live traces."""
        return self.t.state.live_traces

    @property
    def first_start(self):
        """The start of the open slot that begins first, None if none is open."""
        return self.t.opened.due[0].at if self.t.opened.size > 0 else None

    # Saving.

    def text(self):
        """The text of all words."""
        return np.frombuffer((<const char*>self.t.text)[: self.t.text_used], np.uint8)

    def waiting(self, row_t slot):
        """The waits of a slot, in the order in which they came."""
        self.room_for_units(self.t.slots[slot].waiting)
        list_waiting(&self.t, &self.t.slots[slot], self.t.order)
        return structs(self.t.order, self.t.slots[slot].waiting, "order")["wait"].copy()

    def set_rows(self, str name, row_t high, row_t[::1] free_rows):
        """Have a table hold so many rows, of which these are free. The fields of the others are to be written."""
        cdef int i = NAMES.index(name)
        cdef Table* table = self.tables[i]
        cdef row_t row
        self.clear(name)
        make_room(table, self.pointers[i], high)
        table.high, table.n_free = high, 0
        show(table.rows, table.width * high)
        memset(table.rows, 0, table.width * high)
        if free_rows.shape[0] > table.free_room:
            table.free_room = <row_t>free_rows.shape[0]
            table.free_rows = <row_t*>larger_memory(table.free_rows, table.free_room * sizeof(row_t))
        for row in range(<row_t>free_rows.shape[0]):
            table.free_rows[row] = free_rows[row]
            if name == "sessions":
                self.t.sessions[free_rows[row]].queued = -1
            else:
                hide(table.rows + table.width * <uint64_t>free_rows[row], table.width)
        table.n_free = <row_t>free_rows.shape[0]

    def set_text(self, bytes text):
        """Put back the text of all words."""
        assert len(text) <= TEXT_BYTES
        memcpy(self.t.text, <const char*>text, len(text))
        self.t.text_used = <place_t>len(text)

    def set_waiting(self, row_t slot, row_t[::1] waits):
        """Put back the waits of a slot, in the order in which they came."""
        cdef row_t i
        self.t.slots[slot].page, self.t.slots[slot].waiting = NONE, 0
        self.room("pages", waits.shape[0] // PAGE_ROOM + 1)
        for i in range(<row_t>waits.shape[0]):
            put_in(
                &self.t, &self.t.slots[slot], waits[i],
                min(self.t.waits[waits[i]].end, self.t.slots[slot].start + SLOT_NS - 1),
            )

    def index_all(self):
        """Have every row found again under what it is looked for by, after rows were put back."""
        cdef Join* t = &self.t
        cdef row_t row
        cdef Trace* trace
        t.opened.size = t.queue.size = 0
        for row in self.live("spans").tolist():
            if not t.spans[row].flags & IS_LOOSE:
                trace = &t.traces[t.spans[row].trace]
                trace.ids |= <uint64_t>1 << bit_of(t.spans[row].id)
                if trace.marks & IS_INDEXED:
                    enter_span(t, row)
        for row in self.live("traces").tolist():
            if t.traces[row].marks & IS_LIVE:
                enter(&t.trace_index, hash_of(t.seed, t.traces[row].high, t.traces[row].low), row)
        for row in self.live("sessions").tolist():
            enter(&t.session_index, hash_of(t.seed, t.sessions[row].high, t.sessions[row].low), row)
            enqueue(t, row)
        for row in self.live("slots").tolist():
            enter(&t.slot_index, hash_of(t.seed, t.slots[row].start, 0), row)
            push(&t.opened, Due(t.slots[row].start, row, 0))
        for row in self.live("words").tolist():
            if t.words[row].size > 0:
                enter(&t.word_index, t.words[row].hashed, row)


def hashed(tuple seed, int64_t one, int64_t other):
    """The hash of two numbers that rows are found by, for tests."""
    cdef uint64_t[2] begin
    begin[0], begin[1] = <uint64_t><int64_t>seed[0], <uint64_t><int64_t>seed[1]
    return hash_of(begin, <uint64_t>one, <uint64_t>other)
