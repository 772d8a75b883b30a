"""What the join holds, as tables of cells: which there are, and what stands in their columns.

Times are ns; weights, tokens and dollars are numbers (float64), NaN where a span did not say; words are numbers of
`words.py`, 0 for none.
"""

from typing import NamedTuple

from service.ingest.join.rows import HEAD_CELLS
from service.ingest.local import STEPS_MAX
from service.ingest.memory import Memory, Number, cell, kernel, put

SPANS, WAITS, TRACES, SESSIONS, ENDED, SLOTS, PAGES, LABELS, PRICES, ORIGINS, WORDS = (
    i * HEAD_CELLS for i in range(11)
)
"""The head of each table."""
TABLES = 11

# A span of a trace: what its own say and its place in the tree are, for those below it and for its session.
SPAN_ID, SPAN_PARENT_ID, SPAN_ABOVE, SPAN_TRACE, SPAN_NEXT, SPAN_START, SPAN_READING = 1, 2, 3, 4, 5, 6, 7
SPAN_RESOURCE, SPAN_TENANT, SPAN_FLAGS, SPAN_WEIGHT, SPAN_RESPONSE, SPAN_WAIT = 8, 9, 10, 11, 12, 13
SPAN_CELLS = 14
# Flags of a span: the last ones are the join's.
FAILED, SPENT, IS_NATIVE = 1, 2, 4
COVERED, USAGE_BELOW, USAGE_COUNTED, IS_COUNTED = 8, 16, 32, 64
"""A finer span of the same call lies below; a leaf below reported usage; its aggregate stood in for its leaves'; it was
a call of its own."""
IS_LOOSE, ANSWERED, ANSWER_SPENT, IS_WEIGHED, MAY_BE_TWOFOLD = 128, 256, 512, 1024, 2048
"""Its trace had no room for it; it was the first of its trace with its response id; and tokens of that were counted; it
told its weight itself; another account may stand beside this one, an SDK's own."""

# A span that waits for its slot to close: what only its call needs.
WAIT_SPAN, WAIT_END, WAIT_TWIN = 1, 2, 3
WAIT_INPUT, WAIT_OUTPUT, WAIT_CACHE_READ, WAIT_CACHE_WRITE, WAIT_REASONING, WAIT_COST = 4, 5, 6, 7, 8, 9
WAIT_CELLS = 10

# A trace. Those of the session's present leg, from the span that named it on, are of spans whose slot has closed.
TRACE_HIGH, TRACE_LOW, TRACE_SPANS, TRACE_COUNT, TRACE_ROOT, TRACE_WAITS = 1, 2, 3, 4, 5, 6
TRACE_OLDER, TRACE_NEWER, TRACE_MARKS, TRACE_TOKENS = 7, 8, 9, 10
TRACE_LENDERS = 11
"""Six cells: the first span, in the order of roots, starts and ids, that says a field that is lent."""
LENT_AGENT, LENT_BY_NAME, LENT_TENANT, LENT_VERSION, LENT_PROVIDER, LENT_MODEL = range(6)
TRACE_NAMED_BY, TRACE_NAME_RANK, TRACE_NAME_HIGH, TRACE_NAME_LOW = 17, 18, 19, 20
TRACE_SESSION, TRACE_SIBLING, TRACE_FIRST, TRACE_LAST = 21, 22, 23, 24
TRACE_OUTCOME_NS, TRACE_OUTCOME_ID, TRACE_OUTCOME, TRACE_DOLLARS, TRACE_UNPRICED, TRACE_FREE = 25, 26, 27, 28, 29, 30
TRACE_CELLS = 31
# Marks of a trace: it is found by its id; a root ended; an aggregate was counted for want of leaves; a span failed; its
# spans are found by an index, as they are many; an instrumentation told of a call of a model, not the SDK itself.
IS_LIVE, ROOT_ENDED, IS_CLAIMED, HAS_FAILED, IS_INDEXED, HAS_CALLS = 1, 2, 4, 8, 16, 32
FIRST_ANSWER, ANSWER_MARKS = 8, 32
"""So many marks, from that bit on, of response ids that were counted: one without its mark need not be looked for."""

# A leg of a session that is open: its traces; how many of them have no root yet; when it is looked at again.
SESSION_HIGH, SESSION_LOW, SESSION_TRACES, SESSION_ROOTLESS, SESSION_QUEUED, SESSION_FIRST, SESSION_LAST = range(1, 8)
SESSION_CELLS = 8

# One that ended, until the slot in which it counts closes.
ENDED_NEXT, ENDED_TENANT, ENDED_AGENT, ENDED_OUTCOME, ENDED_IS_TRACE, ENDED_HIGH, ENDED_LOW = 1, 2, 3, 4, 5, 6, 7
ENDED_WEIGHT, ENDED_FAILED, ENDED_DOLLARS, ENDED_UNPRICED, ENDED_FREE, ENDED_SECONDS = 8, 9, 10, 11, 12, 13
ENDED_CELLS = 14

# A slot that is open: the last page of the spans that wait for it, the first session that ended in it, and how many.
SLOT_START, SLOT_PAGE, SLOT_WAITING, SLOT_ENDED, SLOT_SESSIONS = 1, 2, 3, 4, 5
SLOT_CELLS = 6

# A page: the one before it, and pairs of a span that waits and its end; all pages but the last are full.
PAGE_BEFORE, PAGE_PAIRS, PAGE_ROOM = 1, 2, 31
PAGE_CELLS = 64

# Labels that were met lately: seven words, and their cell; ASK where that is not known, ASKED where it is on the list.
LABEL_WORDS, LABEL_CELL = 1, 8
LABEL_CELLS = 9
ASK, ASKED = -1, -2

# A price: of a provider, a response's model and a request's; what kind of price it is, and its bands by size of input.
PRICE_PROVIDER, PRICE_RESPONSE, PRICE_MODEL, PRICE_KIND, PRICE_COUNT, PRICE_BANDS = 1, 2, 3, 4, 5, 6
BAND_START, BAND_INPUT, BAND_OUTPUT, BAND_READ, BAND_WRITE, BAND_CELLS = 0, 1, 2, 3, 4, 5
BANDS_MAX = STEPS_MAX + 1
PRICE_CELLS = PRICE_BANDS + BANDS_MAX * BAND_CELLS
LISTED, OWN, UNKNOWN, TO_BE_ASKED, NEW = range(5)
"""Kinds of a price: a list's, the operator's own, none at all, one that is asked for each call, not looked up yet."""

# A resource or a scope that was met lately: what stands for it; its number, or whether it is an SDK's own; and the
# weight of its spans, 0.0 if it does not tell. See `origins.py`.
ORIGIN_HIGH, ORIGIN_LOW, ORIGIN_NUMBER, ORIGIN_WEIGHT = 1, 2, 3, 4
ORIGIN_CELLS = 5

# A word: its hash, and where its text stands.
WORD_HASH, WORD_AT, WORD_SIZE = 1, 2, 3
WORD_CELLS = 4

WIDTHS = {
    SPANS: SPAN_CELLS, WAITS: WAIT_CELLS, TRACES: TRACE_CELLS, SESSIONS: SESSION_CELLS, ENDED: ENDED_CELLS,
    SLOTS: SLOT_CELLS, PAGES: PAGE_CELLS, LABELS: LABEL_CELLS, PRICES: PRICE_CELLS, ORIGINS: ORIGIN_CELLS,
    WORDS: WORD_CELLS,
}  # fmt: skip
INDEXED = (SPANS, TRACES, SESSIONS, SLOTS, LABELS, PRICES, ORIGINS, WORDS)

# What a span says, by reading; see `readings.py`.
READING_OPERATION, READING_RANK, READING_IS_LOG, READING_APART, READING_OUTCOME, READING_IS_GOOGLE = range(6)
READING_AGENT, READING_BY_NAME, READING_VERSION, READING_PROVIDER, READING_MODEL = 6, 7, 8, 9, 10
READING_ANSWERED_BY, READING_TOOL, READING_STORE, READING_IS_CUT = 11, 12, 13, 14
READING_CELLS = 15
OP_LLM, OP_EMBEDDING, OP_RETRIEVAL, OP_TOOL, OP_AGENT, OP_WORKFLOW, OP_GUARDRAIL, OP_CLASSIFICATION = range(8)
OP_EVALUATION, OP_OTHER, OP_SESSION = 8, 9, 10
TOLD_TOKENS, TOLD_CELLS = 10, 11
"""In the place of sessions, which no span tells."""
RESOURCE_TENANT, RESOURCE_AGENT, RESOURCE_VERSION, RESOURCE_CELLS = 0, 1, 2, 3

# Single cells of the state: what was given up for good, counts of what lives, both ends of the list of live traces, and
# sizes of the two queues.
FLOOR, PENDING, LIVE_SPANS, LIVE_TRACES, OLDEST, NEWEST, QUEUED, OPENED, WORD_BYTES, DUE, ASKING = range(11)
STOPPED_AT, HELPED, HELP = 11, 12, 13
"""The price of the call that could not be counted; the place of one whose price was asked for, and the dollars, NaN for
unknown."""
FORGOTTEN = 14
"""The first of the traces that are to be dropped before the kernel returns."""
STATE_CELLS = 15
# Single cells of the limits.
IDLE, ROOTLESS_IDLE, LONGEST, TRACES_MAX, SPANS_MAX, IS_SAMPLED, FAILED_WEIGHT, REST_WEIGHT, WORDS_MAX, UNITS_ROOM = (
    range(10)
)
LIMIT_CELLS = 10

# What a kernel counts.
(READ, LATEST, LATE_SPANS, FUTURE_SPANS, DUPLICATES, NEGATIVES, TRACE_FULL, TRACES_FULL, WEIGHTED, STATED, LEAVES,
 UNITS, BAD_NUMBERS) = range(13)  # fmt: skip
SOURCES = 13
"""Six cells: calls by where their cost came from."""
COUNT_CELLS = 19
STATED_ON_SPAN, BY_OVERRIDE, PRICED, FREE_OF_CHARGE, UNPRICED, NOTHING_TO_PRICE = range(6)

# Columns of units, which are numbers: what `rollup.py` adds up, and what a review wants besides.
(UNIT_CELL, UNIT_WEIGHT, UNIT_FAILED, UNIT_INPUT, UNIT_OUTPUT, UNIT_DOLLARS, UNIT_UNPRICED, UNIT_FREE, UNIT_SECONDS,
 UNIT_OUTCOME, UNIT_SOURCE, UNIT_CACHE_READ, UNIT_CACHE_WRITE, UNIT_REASONING, UNIT_EACH,
 UNIT_IS_CUT) = range(16)  # fmt: skip
UNIT_CELLS = 16


class Tables(NamedTuple):
    """Where all of it is.

    seed      two cells that hashes begin with, so that nobody can choose ids that collide
    order     the spans of the slot that closes, as rows of `waits`, in the order in which they ended
    ends      when they ended
    asking    rows of `labels` whose cell is to be found
    told      by resource, when it last told of each operation, and of tokens: (resources, TOLD_CELLS)
    sampled   by resource, spans of the slot that closes and the largest weight among them: (resources, 2)
    scratch   labels just worked out: see `labels.py`
    """

    spans: Memory
    waits: Memory
    traces: Memory
    sessions: Memory
    ended: Memory
    slots: Memory
    pages: Memory
    labels: Memory
    prices: Memory
    origins: Memory
    words: Memory
    span_index: Memory
    trace_index: Memory
    session_index: Memory
    slot_index: Memory
    label_index: Memory
    price_index: Memory
    origin_index: Memory
    word_index: Memory
    heads: Memory
    seed: Memory
    state: Memory
    limits: Memory
    queue: Memory
    opened: Memory
    readings: Memory
    resources: Memory
    text: Memory
    order: Memory
    ends: Memory
    asking: Memory
    told: Memory
    sampled: Memory
    scratch: Memory
    units: Memory
    counts: Memory


@kernel
def of_span(t: Tables, row: Number, column: Number) -> Number:
    """A cell of a span."""
    return cell(t.spans, row * SPAN_CELLS + column)


@kernel
def set_span(t: Tables, row: Number, column: Number, value: Number) -> None:
    """Set a cell of a span."""
    put(t.spans, row * SPAN_CELLS + column, value)


@kernel
def of_reading(t: Tables, span: Number, column: Number) -> Number:
    """What a span's reading says."""
    return cell(t.readings, of_span(t, span, SPAN_READING) * READING_CELLS + column)


@kernel
def of_resource(t: Tables, span: Number, column: Number) -> Number:
    """What a span's resource says."""
    return cell(t.resources, of_span(t, span, SPAN_RESOURCE) * RESOURCE_CELLS + column)


@kernel
def has(t: Tables, span: Number, flags: Number) -> Number:
    """Those of the flags that a span has."""
    return of_span(t, span, SPAN_FLAGS) & flags


@kernel
def flag(t: Tables, span: Number, flags: Number) -> None:
    """Give a span these flags."""
    set_span(t, span, SPAN_FLAGS, of_span(t, span, SPAN_FLAGS) | flags)


@kernel
def of_wait(t: Tables, row: Number, column: Number) -> Number:
    """A cell of a span that waits."""
    return cell(t.waits, row * WAIT_CELLS + column)


@kernel
def set_wait(t: Tables, row: Number, column: Number, value: Number) -> None:
    """Set a cell of a span that waits."""
    put(t.waits, row * WAIT_CELLS + column, value)


@kernel
def of_trace(t: Tables, row: Number, column: Number) -> Number:
    """A cell of a trace."""
    return cell(t.traces, row * TRACE_CELLS + column)


@kernel
def set_trace(t: Tables, row: Number, column: Number, value: Number) -> None:
    """Set a cell of a trace."""
    put(t.traces, row * TRACE_CELLS + column, value)


@kernel
def of_session(t: Tables, row: Number, column: Number) -> Number:
    """A cell of a session."""
    return cell(t.sessions, row * SESSION_CELLS + column)


@kernel
def set_session(t: Tables, row: Number, column: Number, value: Number) -> None:
    """Set a cell of a session."""
    put(t.sessions, row * SESSION_CELLS + column, value)


@kernel
def more(memory: Memory, at: Number, by: Number) -> None:
    """Add to a cell."""
    put(memory, at, cell(memory, at) + by)
