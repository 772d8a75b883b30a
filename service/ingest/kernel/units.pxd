# What a call comes to: its tokens, its dollars, and the unit that is written for it.
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from service.ingest.kernel.memory cimport enter, mixed, next_like, row_t, small_t, take, weight_t, word_t
from service.ingest.kernel.rows cimport *


cdef inline double number_of(const Wait* wait, int number) noexcept nogil:
    """A number of a span, 0.0 where the span did not say it."""
    return wait.numbers[number] if wait.numbers[number] == wait.numbers[number] else 0.0


cdef inline double tokens_of(const Wait* wait) noexcept nogil:
    return number_of(wait, INPUT) + number_of(wait, OUTPUT)


cdef inline row_t price_row(Join* t, word_t provider, word_t response, word_t model, word_t tier) noexcept nogil:
    """The price of these models in a tier, to be looked up if it is new."""
    cdef uint64_t hashed = mixed(mixed(mixed(mixed(t.seed[0], provider), response), model), tier)
    cdef uint64_t place = hashed
    cdef row_t row
    cdef Price* price
    while True:
        row = next_like(&t.price_index, hashed, &place)
        if row < 0:
            break
        price = &t.prices[row]
        if price.provider == provider and price.response == response and price.model == model and price.tier == tier:
            return row
    row = take(&t.price_table)
    price = &t.prices[row]
    price.provider, price.response, price.model, price.tier, price.kind = provider, response, model, tier, NEW
    enter(&t.price_index, hashed, row)
    return row


cdef struct Cost:
    double dollars
    int source


cdef inline Cost cost_of(const Join* t, const Span* span, const Wait* wait, const Price* price) noexcept nogil:
    """Dollars of a call and where they come from: as stated, else by price."""
    cdef Cost cost
    cdef const Band* band
    cdef double tokens = number_of(wait, INPUT)
    cdef int i
    cost.dollars, cost.source = 0.0, UNPRICED
    if wait.numbers[COST] > 0.0:
        cost.dollars, cost.source = wait.numbers[COST], STATED_ON_SPAN
    elif wait.numbers[COST] == 0.0 and tokens_of(wait) > 0.0:
        cost.source = FREE_OF_CHARGE
    elif price == NULL:
        cost.source = NOTHING_TO_PRICE if wait.numbers[COST] != -1.0 else UNPRICED
    elif price.kind == TO_BE_ASKED and t.help == t.help:
        cost.dollars, cost.source = t.help, PRICED if t.help > 0.0 else FREE_OF_CHARGE
    elif price.kind == LISTED or price.kind == OWN:
        band = &price.bands[0]
        for i in range(1, price.count):
            if tokens > price.bands[i].start:
                band = &price.bands[i]
        cost.dollars = _with_parts(wait, band) if span.flags & HAS_PARTS else _of_tokens(wait, band)
        if cost.dollars != cost.dollars:    # One of its parts has no known price.
            cost.dollars, cost.source = 0.0, UNPRICED
        elif cost.dollars <= 0.0:
            cost.dollars, cost.source = 0.0, FREE_OF_CHARGE
        else:
            cost.source = BY_OVERRIDE if price.kind == OWN else PRICED
    return cost


cdef inline double _of_tokens(const Wait* wait, const Band* band) noexcept nogil:
    cdef double cached = number_of(wait, CACHE_READ), written = number_of(wait, CACHE_WRITE), dollars
    dollars = max(number_of(wait, INPUT) - cached - written, 0.0) * band.input
    dollars += cached * band.read
    dollars += written * band.write
    return dollars + number_of(wait, OUTPUT) * band.output


cdef inline double _with_parts(const Wait* wait, const Band* band) noexcept nogil:
    """Dollars where some parts have prices of their own, NaN if one of those is not known. See `prices.py`."""
    cdef const double* parts = wait.parts
    cdef double[8] counts
    cdef double input = number_of(wait, INPUT), cached = number_of(wait, CACHE_READ), dollars, over, fresh
    cdef double written = number_of(wait, CACHE_WRITE), heard = min(parts[AUDIO_READ], min(parts[AUDIO_IN], cached))
    cdef int i
    # Cached tokens that can be nothing else are of the audio.
    over = cached + written + parts[AUDIO_IN] + parts[IMAGE_IN] + parts[VIDEO_IN] - input - heard
    heard += max(min(over, min(parts[AUDIO_IN], cached) - heard), 0.0)
    for i in range(PARTS):
        counts[i] = parts[i]
    counts[WRITE_LONG] = min(parts[WRITE_LONG], written)
    counts[AUDIO_IN], counts[AUDIO_READ] = parts[AUDIO_IN] - heard, heard
    fresh = input - cached - written - counts[AUDIO_IN] - parts[IMAGE_IN] - parts[VIDEO_IN]
    dollars = max(fresh, 0.0) * band.input
    dollars += (cached - heard) * band.read
    dollars += (written - counts[WRITE_LONG]) * band.write
    dollars += max(number_of(wait, OUTPUT) - parts[AUDIO_OUT] - parts[IMAGE_OUT], 0.0) * band.output
    for i in range(PARTS):
        if counts[i] > 0.0:
            dollars += counts[i] * band.parts[i]
    return dollars


cdef inline void spend(Join* t, Trace* trace, const Wait* wait, Cost cost) noexcept nogil:
    """Have the trace's session bear what a call cost."""
    trace.tokens += tokens_of(wait)
    trace.tokens_in += number_of(wait, INPUT)
    trace.tokens_out += number_of(wait, OUTPUT)
    trace.dollars += cost.dollars
    trace.unpriced += cost.source == UNPRICED
    trace.free += cost.source == FREE_OF_CHARGE
    t.counts.sources[cost.source] += 1


cdef inline void write_trace(double* unit, int64_t room, uint64_t high, uint64_t low) noexcept nogil:
    """The id of a unit's trace, as the bits of two numbers."""
    memcpy(&unit[UNIT_TRACE_HIGH * room], &high, sizeof(uint64_t))
    memcpy(&unit[UNIT_TRACE_LOW * room], &low, sizeof(uint64_t))


cdef inline void write_unit(
    Join* t, const Span* span, const Wait* wait, bint counts, bint usage, bint repeats, Cost cost, row_t labels
) noexcept nogil:
    """A unit of a call."""
    cdef double* unit = t.units + t.counts.units
    cdef int64_t room = t.units_room, lasted = wait.end - span.start
    cdef double weight = span.weight
    if not t.labels[labels].is_met:
        t.labels[labels].is_met = 1
        if t.labels[labels].words[L_PROMPT] or t.labels[labels].words[L_ANSWERED]:
            t.met[t.n_met] = labels
            t.n_met += 1
    t.counts.units += 1
    t.counts.weighted += weight != 1.0
    unit[UNIT_CELL * room] = labels
    unit[UNIT_WEIGHT * room] = weight if counts else 0.0
    unit[UNIT_FAILED * room] = 1.0 if span.flags & FAILED else 0.0
    unit[UNIT_INPUT * room] = number_of(wait, INPUT) * weight if usage else 0.0
    unit[UNIT_OUTPUT * room] = number_of(wait, OUTPUT) * weight if usage else 0.0
    unit[UNIT_DOLLARS * room] = cost.dollars * weight
    unit[UNIT_UNPRICED * room] = cost.source == UNPRICED
    unit[UNIT_FREE * room] = cost.source == FREE_OF_CHARGE
    unit[UNIT_SECONDS * room] = lasted / 1e9 if lasted >= 0 else NAN
    unit[UNIT_OUTCOME * room] = -1.0
    unit[UNIT_SOURCE * room] = cost.source
    unit[UNIT_CACHE_READ * room] = number_of(wait, CACHE_READ) if usage else 0.0
    unit[UNIT_CACHE_WRITE * room] = number_of(wait, CACHE_WRITE) if usage else 0.0
    unit[UNIT_REASONING * room] = number_of(wait, REASONING) if usage else 0.0
    unit[UNIT_EACH * room] = weight
    unit[UNIT_IS_CUT * room] = reading_of(t, span).is_cut
    unit[UNIT_ENDING * room] = -1
    if counts:
        unit[UNIT_ENDING * room] = _ending_of(t, span, wait, repeats)
        _go_through(&t.traces[span.trace], span, wait, reading_of(t, span).operation, <int>unit[UNIT_ENDING * room])
    unit[UNIT_ERROR * room] = reading_of(t, span).raised if counts and span.flags & FAILED else 0.0
    write_trace(unit, room, t.traces[span.trace].high, t.traces[span.trace].low)
    unit[UNIT_FIRST * room] = unit[UNIT_SCORE * room] = NAN
    if counts and span.flags & HAS_PARTS and reading_of(t, span).operation == OP_RETRIEVAL:
        if wait.parts[PART_SCORE] > 0.0:
            unit[UNIT_SCORE * room] = wait.parts[PART_SCORE]
    elif counts and span.flags & HAS_PARTS and wait.parts[SECONDS_TO_FIRST] > 0.0:
        unit[UNIT_FIRST * room] = wait.parts[SECONDS_TO_FIRST]


cdef inline void _go_through(
    Trace* trace, const Span* span, const Wait* wait, int operation, int ending
) noexcept nogil:
    """Have the trace's session remember a call."""
    cdef bint failed = span.flags & FAILED != 0
    if operation == OP_LLM:
        one_more(trace.went, WENT_CALLS, True)
        one_more(trace.went, WENT_FAILED_CALLS, failed)
        one_more(trace.went, WENT_CUT, ending == ENDED_LENGTH)
    elif operation == OP_TOOL:
        one_more(trace.went, WENT_TOOLS, True)
        one_more(trace.went, WENT_FAILED_TOOLS, failed)
        one_more(trace.went, WENT_REPEATS, ending == ENDED_REPEAT)
    elif operation == OP_RETRIEVAL:
        one_more(trace.went, WENT_RETRIEVALS, True)
        one_more(trace.went, WENT_NOTHING, ending == ENDED_NOTHING)
        if span.flags & HAS_PARTS and wait.parts[PART_SCORE] > 0.0:
            trace.lowest = lower(trace.lowest, wait.parts[PART_SCORE])
    elif operation == OP_GUARDRAIL:
        one_more(trace.went, WENT_BLOCKED, ending == ENDED_BLOCKED)


cdef inline void one_more(small_t* went, int place, int more) noexcept nogil:
    """Add to a count, up to the most that it can be."""
    went[place] = <small_t>min(went[place] + more, 0xFFFF)


cdef inline weight_t lower(weight_t lowest, weight_t score) noexcept nogil:
    """The lower of two scores; 0.0 is none."""
    return score if lowest == 0.0 or 0.0 < score < lowest else lowest


cdef inline int _ending_of(const Join* t, const Span* span, const Wait* wait, bint repeats) noexcept nogil:
    """What a call ended with, or was: an index into ENDINGS, -1 if that is not told."""
    cdef const Reading* own = reading_of(t, span)
    if own.operation == OP_TOOL:
        return -1 if not span.flags & IS_CALLED else ENDED_REPEAT if repeats else ENDED_NEW
    if own.operation == OP_RETRIEVAL:
        if not span.flags & HAS_PARTS or wait.parts[PART_HITS] < 1.0:
            return -1
        if wait.parts[PART_HITS] == 1.0:
            return ENDED_NOTHING
        return ENDED_SHORT if wait.parts[PART_HITS] - 1.0 < wait.parts[PART_TOP_K] else ENDED_FOUND
    if own.operation == OP_GUARDRAIL:
        return own.ending
    if own.operation != OP_LLM and own.operation != OP_EMBEDDING:
        return -1
    if span.flags & FAILED:
        return own.error if own.error >= 0 else ENDED_ERROR
    if own.ending <= ENDED_STOP and own.operation == OP_LLM and span.flags & TOLD_EMPTY and wait.numbers[INPUT] > 0.0:
        return ENDED_EMPTY
    return own.ending
