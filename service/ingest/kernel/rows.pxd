# What the join holds: rows of structs in tables. Times are Unix ns. Numbers are NaN where a span did not say them.
# A `word_t` is the number of an interned string, 0 for none. A `row_t` is the number of a row, NONE for none.
from libc.stdint cimport int16_t, int64_t, uint8_t, uint64_t

from service.ingest.kernel.memory cimport Heap, Index, Table, place_t, row_t, small_t, tiny_t, weight_t, word_t
from service.ingest.kernel.stretch cimport Stretch, Touched

cdef enum:
    # Flags of a span. The first three come with it, the others are the join's.
    FAILED = 1
    SPENT = 2               # It reports tokens or a cost.
    IS_NATIVE = 4           # Written by an SDK itself, not by an instrumentation of it.
    COVERED = 8             # A finer span of the same call lies below.
    USAGE_BELOW = 16        # A leaf below reported usage.
    USAGE_COUNTED = 32      # Its aggregate stood in for its leaves'.
    IS_COUNTED = 64         # It was a call of its own.
    IS_LOOSE = 128          # Its trace had no room for it.
    ANSWERED = 256          # It was the first of its trace with its response id;
    ANSWER_SPENT = 512      # and tokens of that response were counted.
    IS_WEIGHED = 1024       # It says its sampling weight itself.
    MAY_BE_DUPLICATE = 2048  # Another account of the call may stand beside this one, an SDK's own.
    IS_REMOTE = 4096        # Its parent is of another process.
    HAS_PARTS = 8192        # It tells parts of its usage that may have prices of their own.
    TOLD_EMPTY = 16384      # It said that no token came out.
    IS_CALLED = 32768       # In place of a response id it has what stands for a tool and its arguments.
    # Flags of a decoded span that was admitted: what was found of it.
    WAS_FUTURE = 1 << 16
    WAS_LATE = 1 << 17
    WAS_DUPLICATE = 1 << 18
    WAS_NEGATIVE = 1 << 19
    WAS_TRACE_FULL = 1 << 20
    # What it says of errors, whatever its status is.
    IS_EXCUSED = 1 << 21    # What ended it was control flow;
    HAS_RAISED = 1 << 22    # or an exception, unless its status is that all is well.
    NAMED_BY_RESOURCE = 1 << 23     # Its session is its resource's.
    TELLS_MORE = 1 << 24    # Of its numbers more than the basic ones are written.
    # Marks of a trace.
    IS_LIVE = 1             # It is found by its id.
    ROOT_ENDED = 2
    IS_CLAIMED = 4          # An aggregate was counted for want of leaves.
    HAS_FAILED = 8
    IS_INDEXED = 16         # Its spans are found by an index, as they are many.
    HAS_CALLS = 32          # An instrumentation reported a call of a model.
    HAS_TOP = 64            # A span that may be its top ended: one whose parent did not come.
    ROOT_TOLD = 128         # Its root was told to who joins sessions, or that it needs none.
    # Fields that one span of a trace says for those that do not say them.
    DEFAULT_AGENT = 0
    DEFAULT_BY_NAME, DEFAULT_TENANT, DEFAULT_VERSION, DEFAULT_PROVIDER, DEFAULT_MODEL, DEFAULTS
    # Operations.
    OP_LLM = 0
    OP_EMBEDDING, OP_RETRIEVAL, OP_TOOL, OP_AGENT, OP_WORKFLOW, OP_GUARDRAIL, OP_CLASSIFICATION
    OP_EVALUATION, OP_OTHER, OP_SESSION
    SEEN_TOKENS = 10        # In the place of sessions, which no span reports.
    SEEN = 11
    # Numbers that a span may say; the first KEPT_NUMBERS are kept until its slot closes.
    INPUT = 0
    OUTPUT, CACHE_READ, CACHE_WRITE, REASONING, COST, KEPT_NUMBERS
    TOTAL = 6
    INPUT_COST, OUTPUT_COST, BASIC_NUMBERS
    # Parts with prices of their own, kept beside them: cache writes for an hour, audio (in, out, of the input what was
    # read from the cache), images, video, and searches of the web. Then input that no other count holds.
    FIRST_PART = 9
    FIRST_TOKEN = 17        # Seconds to it, kept like a part.
    TOOL_INPUT = 18
    FIRST_TOKEN_MS
    ARGUMENTS               # Stands for what a tool was called with.
    HITS, TOP_K, SCORE      # Of a retrieval: found, asked for, and the best score.
    NUMBERS
    PARTS = 8
    KEPT_PARTS = 9
    WRITE_LONG = 0
    AUDIO_IN, AUDIO_OUT, AUDIO_READ, IMAGE_IN, IMAGE_OUT, VIDEO_IN, SEARCHES, SECONDS_TO_FIRST
    # Of `detectors.core.columns.ENDINGS`.
    ENDED_STOP = 0
    ENDED_LENGTH = 2
    ENDED_EMPTY = 5
    ENDED_ERROR = 12
    ENDED_BLOCKED = 14
    ENDED_NEW = 15          # A call of a tool with arguments that are new in its trace,
    ENDED_REPEAT, ENDED_NOTHING, ENDED_SHORT, ENDED_FOUND   # or not; and what a retrieval found.
    # What a leg of a session went through. A count stays at the most that it can be.
    WENT_CALLS = 0          # Calls of language models, those that failed, and those that their token limit cut.
    WENT_FAILED_CALLS, WENT_CUT
    WENT_TOOLS              # Calls of tools, those that failed, and those that were the same as one before.
    WENT_FAILED_TOOLS, WENT_REPEATS
    WENT_RETRIEVALS         # Retrievals, and those that found nothing.
    WENT_NOTHING
    WENT_BLOCKED            # Guardrails that stopped something.
    WENT
    # A retrieval keeps what it found in place of parts of usage: hits and one more (0 for unknown), top_k, the score.
    PART_HITS = 0
    PART_TOP_K, PART_SCORE
    # Labels of a cell.
    L_TENANT = 0
    L_AGENT, L_OPERATION, L_PROVIDER, L_MODEL, L_TOOL, L_VERSION
    L_PROMPT                # The prompt of a model's call, with its version,
    L_ANSWERED              # and the model that answered, where another one was asked for.
    LABEL_WORDS
    FIRST_OPERATION = 2     # The word of the first operation.
    ASK = -1                # The cell of these labels is not known,
    ASKED = -2              # or is on the list to be asked for.
    # Kinds of a price.
    LISTED = 0
    OWN, UNKNOWN, TO_BE_ASKED, NEW
    # Where a cost comes from.
    STATED_ON_SPAN = 0
    BY_OVERRIDE, PRICED, FREE_OF_CHARGE, UNPRICED, NOTHING_TO_PRICE, COST_SOURCES
    BANDS_MAX = 6
    # Columns of units.
    UNIT_CELL = 0
    UNIT_WEIGHT, UNIT_FAILED, UNIT_INPUT, UNIT_OUTPUT, UNIT_DOLLARS, UNIT_UNPRICED, UNIT_FREE, UNIT_SECONDS
    UNIT_OUTCOME, UNIT_SOURCE, UNIT_CACHE_READ, UNIT_CACHE_WRITE, UNIT_REASONING, UNIT_EACH, UNIT_IS_CUT
    UNIT_ENDING, UNIT_FIRST
    UNIT_ERROR              # The word of the type of its error, 0 where it did not fail or tells none.
    UNIT_TRACE_HIGH, UNIT_TRACE_LOW     # The bits of its trace's id.
    UNIT_SCORE              # The best score of a retrieval, NaN where it tells none.
    UNIT_COLUMNS
    # From where on an open session is long enough to be looked at; no fleet is paged for less.
    LONG_REPEATS = 3
    LONG_CALLS = 32
    LONG_TOKENS = 100_000
    LONG_SECONDS = 600
    LONG_CENTS = 25
    ANCESTORS_MAX = 64
    LISTED_MAX = 64         # Documents that numbered attributes can list: what lists so many may have found more.
    PAGE_ROOM = 42
    # How a span tells the parts of its usage; 0 where it says nothing of what it spent.
    INCLUDED = 1            # The conventions' way: input holds the cache, output the reasoning.
    APART = 2
    # Kinds of a scope.
    NATIVE_SCOPE = 1
    APART_SCOPE = 2         # The input tokens of its spans leave out the cache.


cdef struct Span:           # A span of a trace: what it says for itself, for those below it and for its session.
    uint64_t id, parent_id
    int64_t start
    uint64_t response       # Stands for its response id, 0 for none.
    row_t parent            # NONE until it is looked for and found.
    row_t trace, next, wait
    word_t tenant
    weight_t weight         # Spans that it stands for, as sampling has it.
    small_t reading, resource, flags
    small_t times           # How often its tool was called so again in its trace, if it was the first; at most 65,535.


cdef struct Wait:           # What only the call of a span needs, until its slot closes.
    int64_t end
    double[6] numbers
    row_t span, duplicate   # The span around it that is the same call.
    double[9] parts         # Not written unless the span has HAS_PARTS.


cdef struct Trace:          # Fields of its present session segment are of spans whose slot has closed.
    uint64_t high, low
    row_t spans, root, session, named_by
    row_t[6] defaults       # The first span, in the order of `sorts_before`, that says each of DEFAULTS.
    row_t waits             # How many of its spans wait for their slot to close.
    small_t count, name_rank
    tiny_t marks
    tiny_t outcome          # The class of the session's outcome, -1 if none was stated.
    row_t repeated          # The span whose `times` are most, of those called in this segment; NONE before.
    int64_t first, last
    uint64_t ids            # A bit for each span's id: an id whose bit is not set is not among them.
    uint64_t name_high, name_low
    double dollars, tokens
    int64_t outcome_ns
    uint64_t outcome_id
    row_t sibling, older, newer
    word_t answers          # A bit for each response id that was counted, likewise.
    row_t unpriced, free
    small_t[9] went
    small_t news            # What is to be told of it at the end of the slot; 0 between slots.
    weight_t lowest         # The lowest best score of its retrievals, 0.0 where none told one.
    weight_t tokens_in, tokens_out


cdef struct Session:        # A segment of a session that is open.
    uint64_t high, low
    int64_t queued          # When it is looked at again; -1 in a row that is not in use.
    int64_t first, last
    row_t traces
    row_t rootless          # How many of its traces have neither a root nor what may be their top yet.
    word_t tenant, agent    # Whose its first call was, as far as that could be told then.
    row_t calls             # What its traces went through so far.
    row_t listed            # The number of the slot in which it was listed as a long one last.
    weight_t dollars, tokens


cdef struct EndedSession:   # One that ended, until the slot in which it counts closes.
    uint64_t high, low
    uint64_t trace_high, trace_low      # Its first trace.
    double weight, dollars, seconds
    row_t next
    word_t tenant, agent
    tiny_t outcome, is_trace, failed, unpriced, free
    int64_t first, last
    word_t version, model
    row_t traces
    small_t[9] went
    small_t repeats         # How often one tool was called again with the same arguments.
    weight_t lowest, tokens_in, tokens_out
    word_t open_tenant, open_agent      # Whose its first call was: under that name it was judged while it ran.


cdef struct Running:        # An open session that is long, as it stands at the end of a slot.
    uint64_t high, low      # Its first trace.
    uint64_t trace_high, trace_low      # The trace that went on last.
    int64_t first, last
    word_t tenant, agent, tool          # The tool that was called most often with the same arguments; 0 for none.
    row_t calls, repeats
    weight_t dollars, tokens


cdef struct Slot:           # An open slot: the last page of the spans that wait for it, and the sessions that ended.
    int64_t start
    row_t page, waiting, ended, sessions


cdef struct Page:           # Spans that wait for a slot, and their ends. All pages of a slot but the last are full.
    int64_t[42] ends
    row_t[42] waits
    row_t previous


cdef struct Labels:
    word_t[9] words
    row_t cell
    tiny_t is_met           # Whether a call of it was counted, since it was entered.


cdef struct Band:
    double start, input, output, read, write
    double[8] parts         # NaN where the price is not known.


cdef struct Price:          # The price of a provider's, a response's and a request's model in a tier, by input tokens.
    word_t provider, response, model, tier
    row_t kind, count
    Band[6] bands


cdef struct Origin:         # A resource or a scope that was met lately: what stands for it, and what it means.
    uint64_t high, low
    uint64_t name_high, name_low    # Of a session that a resource names.
    double weight
    row_t number


cdef struct Word:
    uint64_t hashed
    place_t at, size


cdef struct Reading:        # What the dialects make of a span, but for its numbers, its tenant and its ids.
    tiny_t operation, is_log, apart, outcome, is_google, is_cut
    tiny_t names_top        # `by_name` holds only if nothing is above it.
    tiny_t ending, error    # What a call ended with, and with which error if it failed; -1 if it does not say.
    small_t rank
    tiny_t listed           # Documents that numbered attributes list, 0 for none.
    word_t agent, by_name, version, provider, model, answered_by, tool, store, tier, raised
    word_t prompt           # With which prompt it was asked, and which version of it.
    weight_t rate           # Dollars for one of what its cost is told in, 0.0 where that is not known.


cdef struct Resource:
    word_t tenant, agent, version


cdef struct Sampled:        # Of a resource: its spans in the slot that closes, and the largest weight among them.
    int64_t spans
    double weight


cdef struct Plan:           # Where in a span's attributes its texts and numbers are, -1 for what it does not say.
    word_t reading
    tiny_t bad              # How many of its numbers are not numbers.
    tiny_t more             # Whether it tells more than the basic ones.
    word_t flags            # FAILED, IS_EXCUSED and HAS_RAISED.
    int16_t tenant, name, response
    int16_t[24] numbers


cdef struct DecodedSpan:    # A span on its way from the decoder to its trace.
    uint64_t trace_high, trace_low, id, parent_id
    int64_t start, end
    uint64_t name_high, name_low, response
    double[24] numbers
    double weight
    word_t reading, resource, tenant, flags


cdef struct Order:          # A span of the slot that closes; or a session that ended in it, as a row of `ended`.
    int64_t end
    row_t wait


cdef struct Scratch:        # Labels of one of the next calls.
    word_t[9] words
    uint64_t hashed


cdef struct Counts:         # What a kernel counts.
    int64_t read, latest, late, future, duplicates, negatives, trace_full, traces_full, weighted, units, bad_numbers
    double stated, leaves
    int64_t unexplained     # Spans with a total that their parts do not explain.
    int64_t[6] sources


cdef struct State:          # Single values that are saved: what was given up for good, what lives, the list of traces.
    int64_t floor, pending, live_spans, live_traces
    int64_t moved           # The latest end of a span that was told of again, and may end later than its page has it.
    row_t oldest, newest


cdef struct Join:
    Span* spans
    Wait* waits
    Trace* traces
    Session* sessions
    EndedSession* ended
    Slot* slots
    Page* pages
    Labels* labels
    Price* prices
    Origin* origins
    Word* words
    Table span_table, wait_table, trace_table, session_table, ended_table, slot_table, page_table, label_table
    Table price_table, origin_table, word_table
    Index span_index, trace_index, session_index, slot_index, label_index, price_index, origin_index, word_index
    Heap queue, opened      # Open sessions by when they are looked at again; open slots by when they begin.
    uint64_t[2] seed        # Hashes begin with it, so that no sender can choose ids that collide.
    State state
    Reading* readings
    Resource* resources
    int64_t* seen           # By resource and SEEN: when spans last reported that operation.
    Sampled* sampled
    uint8_t* text
    place_t text_used
    DecodedSpan* decoded
    row_t decoded_room
    Order* order            # The spans of the slot that closes, in the order in which they are counted.
    Order* sorted
    row_t* met              # Rows of `labels` with a prompt or a model that answered, counted for the first time.
    row_t n_met
    row_t* asking           # Rows of `labels` whose cell is to be asked for.
    row_t n_asking
    row_t* running          # Rows of sessions that ran long in the slot that closes.
    row_t n_running
    bint tells              # Sessions are joined elsewhere: what traces go through is told, and no session is counted.
    uint64_t[2] name_seed   # What fingerprints of sessions' names begin with.
    Touched* touched        # Traces with spans in the slot that closes, if this is told.
    row_t n_touched
    bint is_untold          # A version before told nothing while sessions were open: all are told with the next slot.
    Stretch* stretches      # What is told since it was asked for last.
    row_t n_stretches, stretches_room
    double* units           # UNIT_COLUMNS by `units_room`.
    row_t units_room
    Scratch[16] scratch
    Counts counts
    row_t forgotten         # The first of the traces that are dropped before the kernel returns.
    int64_t due             # When the session is due that `next_due` found.
    row_t stopped_at        # The price of the call that could not be counted.
    row_t helped            # The place of a call whose price was asked for,
    double help             # and its dollars, NaN for unknown.
    # Limits.
    int64_t idle, rootless_idle, longest, traces_max, spans_max
    row_t words_max
    place_t text_room
    int is_sampled
    double failed_weight, rest_weight


cdef inline Reading* reading_of(const Join* t, const Span* span) noexcept nogil:
    return &t.readings[span.reading]


cdef inline row_t row_of(const Join* t, const Span* span) noexcept nogil:
    return span - t.spans
