# Calls of a slot that closes: what is the same call, and what is counted of it.
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from service.ingest.kernel.labels cimport default_span, is_model, label_ahead, label_row, parent_of
from service.ingest.kernel.memory cimport NONE, give_back, prefetch, prefetch_row, row_t, weight_t, word_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.running cimport bear, is_of_length, list_long
from service.ingest.kernel.sessions cimport attach, close_due
from service.ingest.kernel.stretch cimport N_CALLS
from service.ingest.kernel.telling cimport tell_touched, touch
from service.ingest.kernel.traces cimport drop_forgotten, enter_answer, find_answer
from service.ingest.kernel.units cimport Cost, cost_of, price_row, spend, tokens_of, write_unit
from service.ingest.kernel.words cimport ends_like

cdef enum:
    AHEAD = 16      # Calls whose labels are worked out together.


cdef inline bint may_be_doubled(int operation) noexcept nogil:
    """Whether two layers of instrumentation may both write a span for such a call, one inside the other."""
    return is_model(operation) or operation == OP_TOOL or operation == OP_RETRIEVAL


cdef inline void _look_ahead(Join* t, row_t i, row_t n) noexcept nogil:
    """Prefetch what the calls after this one will need, a step further each time."""
    cdef const Span* span
    cdef const Trace* trace
    if i + 24 < n:
        prefetch(&t.waits[t.order[i + 24].wait])
    if i + 16 < n:
        prefetch(&t.spans[t.waits[t.order[i + 16].wait].span])
    if i + 8 < n:
        span = &t.spans[t.waits[t.order[i + 8].wait].span]
        trace = &t.traces[span.trace]
        prefetch_row(<const char*>trace, sizeof(Trace))
    if i + 4 < n:
        trace = &t.traces[t.spans[t.waits[t.order[i + 4].wait].span].trace]
        if trace.session >= 0:
            prefetch(&t.sessions[trace.session])


cdef inline row_t mark_ancestors(Join* t, row_t n) noexcept nogil:
    """Mark the ancestors of each span with what lies below them, and find which of them is the same call.

    Returns how many are an SDK's own that another account of the call may stand beside.
    """
    cdef row_t natives = 0, i
    cdef Wait* wait
    cdef Span* span
    for i in range(n):
        _look_ahead(t, i, n)
        wait = &t.waits[t.order[i].wait]
        span = &t.spans[wait.span]
        wait.duplicate = _mark_ancestors_of(t, wait, span)
        if span.flags & IS_NATIVE and wait.duplicate < 0:
            if span.parent_id == 0 or t.traces[span.trace].marks & HAS_CALLS:
                span.flags |= MAY_BE_DUPLICATE
                natives += 1
        if t.is_sampled and not span.flags & IS_WEIGHED:
            span.weight = t.failed_weight if t.traces[span.trace].marks & HAS_FAILED else t.rest_weight
    return natives


cdef inline row_t _mark_ancestors_of(Join* t, Wait* wait, Span* span) noexcept nogil:
    cdef Reading* own = reading_of(t, span)
    cdef Reading* theirs
    cdef Span* row
    cdef Span* part = NULL
    cdef row_t duplicate = NONE
    cdef bint usage = span.flags & SPENT and is_model(own.operation), looking = True
    cdef int steps = 0
    if not may_be_doubled(own.operation):
        return NONE
    if own.is_log:
        usage, looking = usage and not _is_spent_above(t, span), False
    row = parent_of(t, span)
    while row != NULL and steps < ANCESTORS_MAX and (usage or looking):
        if usage:
            row.flags |= USAGE_BELOW
        if looking:
            theirs = reading_of(t, row)
            if theirs.operation == own.operation and (own.operation != OP_TOOL or _is_same_tool(t, own, theirs)):
                duplicate, looking = row_of(t, row), False
                row.flags |= COVERED
                if part != NULL:
                    part.flags |= COVERED
                if usage and row.wait >= 0 and row.flags & SPENT:
                    complete(span, wait, row, &t.waits[row.wait])
            elif theirs.operation == OP_TOOL and own.operation == OP_TOOL and part == NULL and theirs.tool == 0:
                part = row  # A tool without a name belongs to this call if the span around it does.
            # Other spans and workflows may stand between two spans of one call. Below an agent another call begins.
            elif theirs.operation != OP_OTHER and theirs.operation != OP_WORKFLOW:
                looking = False
        row = parent_of(t, row)
        steps += 1
    return duplicate


cdef inline bint _is_same_tool(Join* t, const Reading* own, const Reading* theirs) noexcept nogil:
    """Whether two tool spans, one in the other, are the same call. The inner one may name no tool, or the same."""
    return own.tool == 0 or ends_like(t, theirs.tool, own.tool)


cdef inline bint _is_spent_above(Join* t, Span* span) noexcept nogil:
    """Whether a call that a span lies in reports itself what it spent."""
    cdef Span* row = parent_of(t, span)
    cdef int steps
    for steps in range(ANCESTORS_MAX):
        if row == NULL:
            return False
        if row.flags & SPENT and is_model(reading_of(t, row).operation):
            return True
        row = parent_of(t, row)
    return False


cdef inline void complete(Span* span, Wait* wait, const Span* outer, const Wait* other) noexcept nogil:
    """Add from another account of the same tokens the parts that it knows, and the cost.

    Tokens are also the same if only the other account counts the reasoning among the output. Of a stream one account
    may tell the tokens that its first event has, and the other those of its last: each is taken where it is told.
    """
    cdef double* mine = wait.numbers
    cdef const double* theirs = other.numbers
    cdef bint same
    cdef int i
    if not mine[INPUT] > 0.0 and theirs[INPUT] > 0.0:
        mine[INPUT] = theirs[INPUT]
    if not mine[OUTPUT] > 0.0 and theirs[OUTPUT] > 0.0 and not span.flags & TOLD_EMPTY:
        mine[OUTPUT] = theirs[OUTPUT]
    same = same_bits(mine[INPUT], theirs[INPUT])
    if same and theirs[REASONING] > 0.0 and theirs[OUTPUT] == mine[OUTPUT] + theirs[REASONING]:
        if not mine[REASONING] > 0.0:
            mine[OUTPUT] = theirs[OUTPUT]
    if same and (same_bits(mine[OUTPUT], theirs[OUTPUT]) or not theirs[OUTPUT] > 0.0):
        for i in range(CACHE_READ, KEPT_NUMBERS):
            if not mine[i] > 0.0 and theirs[i] > 0.0:
                mine[i] = theirs[i]
        if outer.flags & HAS_PARTS and not span.flags & HAS_PARTS:
            memcpy(wait.parts, other.parts, KEPT_PARTS * sizeof(double))
            span.flags |= HAS_PARTS


cdef inline bint same_bits(double one, double two) noexcept nogil:
    return one == two or (one != one and two != two)


cdef inline row_t _price(Join* t, const Span* span, const Wait* wait, const word_t* labels) noexcept nogil:
    """The row of the price of a span's tokens, given its labels; NONE if they need none."""
    cdef Reading* own = reading_of(t, span)
    cdef word_t provider = labels[L_PROVIDER], model = labels[L_MODEL]
    if not span.flags & SPENT or wait.numbers[COST] >= 0.0:
        return NONE
    if tokens_of(wait) == 0.0 and not span.flags & HAS_PARTS:
        return NONE
    if not is_model(own.operation):
        if own.operation != OP_AGENT and own.operation != OP_WORKFLOW and own.operation != OP_OTHER:
            return NONE
        provider, model = own.provider, own.model
        if not provider and default_span(t, span, DEFAULT_PROVIDER) != NULL:
            provider = reading_of(t, default_span(t, span, DEFAULT_PROVIDER)).provider
        if not model and default_span(t, span, DEFAULT_MODEL) != NULL:
            model = reading_of(t, default_span(t, span, DEFAULT_MODEL)).model
    return price_row(t, provider, own.answered_by, model, own.tier)


cdef inline row_t count(Join* t, row_t first, row_t n, int64_t end_ns) noexcept nogil:
    """Count the calls of a slot from the first of them on, and close the sessions that are due before it ends.

    Returns `n`, or the place of a call that cannot be counted before its price is looked up or asked for. The price is
    left in `stopped_at`.
    """
    cdef row_t i, price, labels
    cdef Scratch* made
    cdef Wait* wait
    cdef Span* span
    cdef Trace* trace
    cdef Counted counted
    cdef Cost cost
    cdef weight_t tokens
    cdef bint longer
    for i in range(first, n):
        if (i - first) % AHEAD == 0:
            label_ahead(t, i, min(i + AHEAD, n))
        _look_ahead(t, i + AHEAD, n)
        made, wait = &t.scratch[(i - first) % AHEAD], &t.waits[t.order[i].wait]
        span = &t.spans[wait.span]
        price = _price(t, span, wait, made.words)
        if price >= 0 and (t.prices[price].kind == NEW or (t.prices[price].kind == TO_BE_ASKED and t.helped != i)):
            t.stopped_at = price
            return i
        labels = label_row(t, made.words, made.hashed)
        trace = &t.traces[span.trace]
        attach(t, span.trace, span, min(wait.end, end_ns - 1))
        trace.waits -= 1
        if t.tells:
            touch(t, span.trace, min(wait.end, end_ns - 1))
        _sample(t, span)
        counted = _counts(t, trace, span, wait.duplicate)
        if span.flags & SPENT and span.flags & USAGE_BELOW and span.parent_id == 0:
            if not may_be_doubled(reading_of(t, span).operation):
                t.counts.stated += tokens_of(wait)
                t.counts.leaves += trace.tokens
        if counted.counts or counted.usage:
            cost.dollars, cost.source, tokens = 0.0, NOTHING_TO_PRICE, 0.0
            if counted.usage:
                cost = cost_of(t, span, wait, &t.prices[price] if price >= 0 else NULL)
            if cost.source != NOTHING_TO_PRICE:
                spend(t, trace, wait, cost)
                tokens = <weight_t>tokens_of(wait)
            write_unit(t, span, wait, counted.counts, counted.usage, counted.repeats, cost, labels)
            trace.news |= N_CALLS
            longer = counted.counts and is_of_length(reading_of(t, span))
            bear(&t.sessions[trace.session], made.words, longer, cost, tokens)
            list_long(t, trace, end_ns)
        span.wait = NONE
        if span.flags & IS_LOOSE:
            give_back(&t.span_table, wait.span)
        give_back(&t.wait_table, t.order[i].wait)
        t.state.pending -= 1
    if t.tells:
        tell_touched(t)
    close_due(t, end_ns)
    drop_forgotten(t)
    return n


cdef inline void _sample(Join* t, const Span* span) noexcept nogil:
    """Note the largest weight of a resource's spans: how its traffic is sampled."""
    cdef Sampled* sampled = &t.sampled[span.resource]
    sampled.spans += 1
    sampled.weight = max(sampled.weight, <double>span.weight)


cdef struct Counted:
    bint counts, usage
    bint repeats    # A tool was called like this before in its trace.


cdef inline Counted _counts(Join* t, Trace* trace, Span* span, row_t duplicate) noexcept nogil:
    """Whether a span is a call of its own, and whether its tokens and cost are to be added."""
    cdef Reading* own = reading_of(t, span)
    cdef Counted is_
    cdef int known
    is_.counts, is_.usage, is_.repeats = False, span.flags & SPENT != 0, False
    if own.is_log:
        is_.usage = is_.usage and not _is_spent_above(t, span)
        return is_
    if is_model(own.operation):
        if is_.usage and trace.marks & IS_CLAIMED and _is_claimed_above(t, span):
            is_.usage = False   # An aggregate above was counted before this leaf was known, with the tokens of it.
    elif is_.usage:
        # The tokens of a tool, a retrieval or an agent are those of the models that it asked.
        is_.usage = not span.flags & USAGE_BELOW
        if is_.usage:
            _claim(t, trace, span)
    if may_be_doubled(own.operation):
        if span.flags & COVERED:
            is_.usage = is_.usage and not span.flags & USAGE_BELOW
            return is_
        if duplicate >= 0 and t.spans[duplicate].flags & IS_COUNTED:
            is_.usage = is_.usage and not t.spans[duplicate].flags & SPENT
            return is_
        if span.response and is_model(own.operation):
            known = _answer(t, span, is_.usage)
            if known:
                is_.usage = is_.usage and not known & ANSWER_SPENT
                return is_
    if span.flags & IS_CALLED and own.operation == OP_TOOL:
        is_.repeats = _called(t, trace, span)
    span.flags |= IS_COUNTED
    is_.counts = True
    return is_


cdef inline void _claim(Join* t, Trace* trace, Span* span) noexcept nogil:
    """Count an aggregate for leaves that said nothing: what lies above and below must not be added again."""
    cdef Span* row = parent_of(t, span)
    cdef int steps
    span.flags |= USAGE_COUNTED
    trace.marks |= IS_CLAIMED
    for steps in range(ANCESTORS_MAX):
        if row == NULL:
            break
        row.flags |= USAGE_BELOW
        row = parent_of(t, row)


cdef inline bint _is_claimed_above(Join* t, Span* span) noexcept nogil:
    cdef Span* row = parent_of(t, span)
    cdef int steps
    for steps in range(ANCESTORS_MAX):
        if row == NULL:
            return False
        if row.flags & USAGE_COUNTED:
            return True
        row = parent_of(t, row)
    return False


cdef inline bint _called(Join* t, Trace* trace, Span* span) noexcept nogil:
    """Note a tool and its arguments; whether it was called so before in this trace."""
    cdef row_t first = find_answer(t, span.trace, span.response)
    if first < 0:
        _answer(t, span, False)
        return False
    t.spans[first].times = <small_t>min(t.spans[first].times + 1, 0xFFFF)
    if trace.repeated < 0 or t.spans[first].times > t.spans[trace.repeated].times:
        trace.repeated = first
    return True


cdef inline int _answer(Join* t, Span* span, bint usage) noexcept nogil:
    """Note a response id; what was known of it in this trace: ANSWERED, and whether its tokens were counted."""
    cdef row_t row = find_answer(t, span.trace, span.response)
    cdef int known
    if row >= 0:
        known = ANSWERED | (t.spans[row].flags & ANSWER_SPENT)
        if usage:
            t.spans[row].flags |= ANSWER_SPENT
        return known
    if not span.flags & IS_LOOSE:
        enter_answer(t, span, ANSWERED | ANSWER_SPENT if usage else ANSWERED)
    return 0
