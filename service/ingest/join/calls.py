"""The calls of a slot that closes: each real call once, at its leaf, with its tokens and its cost.

Two passes over its spans in the order in which they ended: `mark` tells those above a span that it is there, `count`
finds what each is counted by and what it cost.
"""

from service.ingest.join.labels import (
    AHEAD,
    ANCESTORS_MAX,
    L_HASH,
    L_MODEL,
    L_PROVIDER,
    L_ROW,
    above,
    is_model,
    label_ahead,
    label_row,
    lent,
)
from service.ingest.join.prices import needs_help, price_row
from service.ingest.join.rows import NONE, give_back, soon_row
from service.ingest.join.sessions import close, next_due, reach
from service.ingest.join.tables import (
    ANSWER_SPENT,
    ANSWERED,
    COVERED,
    DUE,
    FAILED_WEIGHT,
    HAS_CALLS,
    HAS_FAILED,
    IS_CLAIMED,
    IS_COUNTED,
    IS_LOOSE,
    IS_NATIVE,
    IS_SAMPLED,
    IS_WEIGHED,
    LEAVES,
    LENT_MODEL,
    LENT_PROVIDER,
    MAY_BE_TWOFOLD,
    NOTHING_TO_PRICE,
    OP_AGENT,
    OP_OTHER,
    OP_RETRIEVAL,
    OP_TOOL,
    OP_WORKFLOW,
    PENDING,
    READING_ANSWERED_BY,
    READING_IS_LOG,
    READING_MODEL,
    READING_OPERATION,
    READING_PROVIDER,
    READING_TOOL,
    REST_WEIGHT,
    SESSION_CELLS,
    SPAN_CELLS,
    SPAN_PARENT_ID,
    SPAN_RESOURCE,
    SPAN_RESPONSE,
    SPAN_TRACE,
    SPAN_WAIT,
    SPAN_WEIGHT,
    SPANS,
    SPENT,
    STATED,
    STOPPED_AT,
    TRACE_CELLS,
    TRACE_MARKS,
    TRACE_SESSION,
    TRACE_TOKENS,
    TRACE_WAITS,
    USAGE_BELOW,
    USAGE_COUNTED,
    WAIT_CACHE_READ,
    WAIT_CACHE_WRITE,
    WAIT_CELLS,
    WAIT_COST,
    WAIT_END,
    WAIT_INPUT,
    WAIT_OUTPUT,
    WAIT_REASONING,
    WAIT_SPAN,
    WAIT_TWIN,
    WAITS,
    Tables,
    flag,
    has,
    more,
    of_reading,
    of_span,
    of_trace,
    of_wait,
    set_span,
    set_trace,
    set_wait,
)
from service.ingest.join.traces import drop_forgotten, enter_answer, find_answer
from service.ingest.join.units import cost_of, spend, tokens_of, write_unit
from service.ingest.join.words import ends_like
from service.ingest.memory import Number, cell, kernel, number, put, put_number


@kernel
def _is_twinned(operation: Number) -> Number:
    """Whether two layers of instrumentation may both write a span for such a call, one inside the other."""
    return is_model(operation) or operation in (OP_TOOL, OP_RETRIEVAL)


@kernel
def mark(t: Tables, n: Number) -> Number:
    """Tell those above each span that it is there, and find which is the same call; how many are an SDK's own that
    another account may stand beside.
    """
    natives, is_sampled = 0, cell(t.limits, IS_SAMPLED)
    for i in range(n):
        _look_ahead(t, i, n)
        wait = cell(t.order, i)
        span = of_wait(t, wait, WAIT_SPAN)
        twin = _mark(t, wait, span)
        set_wait(t, wait, WAIT_TWIN, twin)
        if has(t, span, IS_NATIVE) != 0 and twin < 0 and _may_be_twofold(t, span):
            flag(t, span, MAY_BE_TWOFOLD)
            natives += 1
        if is_sampled != 0 and has(t, span, IS_WEIGHED) == 0:
            has_failed = of_trace(t, of_span(t, span, SPAN_TRACE), TRACE_MARKS) & HAS_FAILED
            set_span(t, span, SPAN_WEIGHT, cell(t.limits, FAILED_WEIGHT if has_failed != 0 else REST_WEIGHT))
    return natives


@kernel
def _may_be_twofold(t: Tables, span: Number) -> Number:
    """Whether an SDK's own span may have another account beside it: in its trace, or, of a root, in one of its own."""
    if of_span(t, span, SPAN_PARENT_ID) == 0:
        return True
    return of_trace(t, of_span(t, span, SPAN_TRACE), TRACE_MARKS) & HAS_CALLS != 0


@kernel
def _mark(t: Tables, wait: Number, span: Number) -> Number:
    operation = of_reading(t, span, READING_OPERATION)
    if not _is_twinned(operation):
        return NONE
    usage, looking = has(t, span, SPENT) != 0 and is_model(operation), True
    if of_reading(t, span, READING_IS_LOG) != 0:
        usage, looking = usage and not _is_told_above(t, span), False
    twin, part, row, steps = NONE, NONE, above(t, span), 0
    while row >= 0 and steps < ANCESTORS_MAX and (usage or looking):
        if usage:
            flag(t, row, USAGE_BELOW)
        if looking:
            theirs = of_reading(t, row, READING_OPERATION)
            if theirs == operation and (operation != OP_TOOL or _is_same_tool(t, span, row)):
                twin, looking = row, False
                flag(t, row, COVERED)
                if part >= 0:
                    flag(t, part, COVERED)
                other = of_span(t, row, SPAN_WAIT)
                if usage and other >= 0 and has(t, row, SPENT) != 0:
                    complete(t, wait, other)
            elif theirs == operation == OP_TOOL and part < 0 and of_reading(t, row, READING_TOOL) == 0:
                part = row  # Of this call, if what it lies in is.
            # What may stand between two spans of one call; under a tool or an agent another call begins.
            elif theirs not in (OP_OTHER, OP_WORKFLOW):
                looking = False
        row = above(t, row)
        steps += 1
    return twin


@kernel
def _is_same_tool(t: Tables, span: Number, row: Number) -> Number:
    """Whether a tool's span lies in another one of the same call. One that names no tool is part of what it lies in."""
    tool = of_reading(t, span, READING_TOOL)
    return tool == 0 or ends_like(t, of_reading(t, row, READING_TOOL), tool)


@kernel
def _is_told_above(t: Tables, span: Number) -> Number:
    """Whether the call that a span lies in says itself what it spent."""
    row, steps = above(t, span), 0
    while row >= 0 and steps < ANCESTORS_MAX:
        if has(t, row, SPENT) != 0 and is_model(of_reading(t, row, READING_OPERATION)):
            return True
        row = above(t, row)
        steps += 1
    return False


@kernel
def complete(t: Tables, wait: Number, other: Number) -> None:
    """Add from another account of the same tokens what parts they had, and what they cost.

    They are the same, too, if only the other one knows of the reasoning.
    """
    same = of_wait(t, wait, WAIT_INPUT) == of_wait(t, other, WAIT_INPUT)
    output = number(t.waits, wait * WAIT_CELLS + WAIT_OUTPUT)
    theirs = number(t.waits, other * WAIT_CELLS + WAIT_OUTPUT)
    reasoning = number(t.waits, wait * WAIT_CELLS + WAIT_REASONING)
    told = number(t.waits, other * WAIT_CELLS + WAIT_REASONING)
    if same and told > 0.0 and theirs == output + told and not reasoning > 0.0:
        set_wait(t, wait, WAIT_OUTPUT, of_wait(t, other, WAIT_OUTPUT))
    if same and of_wait(t, wait, WAIT_OUTPUT) == of_wait(t, other, WAIT_OUTPUT):
        for column in (WAIT_CACHE_READ, WAIT_CACHE_WRITE, WAIT_REASONING, WAIT_COST):
            mine = number(t.waits, wait * WAIT_CELLS + column)
            theirs = number(t.waits, other * WAIT_CELLS + column)
            if not mine > 0.0 and theirs > 0.0:
                set_wait(t, wait, column, of_wait(t, other, column))


@kernel
def _price(t: Tables, span: Number, wait: Number, labels: Number) -> Number:
    """The row of the price that a span's tokens have, whose labels are in that row of the scratch; -1 if they need
    none.
    """
    stated = number(t.waits, wait * WAIT_CELLS + WAIT_COST)
    if has(t, span, SPENT) == 0 or stated == stated or tokens_of(t, wait) == 0.0:
        return NONE
    operation = of_reading(t, span, READING_OPERATION)
    provider, model = cell(t.scratch, labels + L_PROVIDER), cell(t.scratch, labels + L_MODEL)
    if not is_model(operation):
        if operation not in (OP_AGENT, OP_WORKFLOW, OP_OTHER):
            return NONE
        provider, model = of_reading(t, span, READING_PROVIDER), of_reading(t, span, READING_MODEL)
        provider = provider if provider != 0 else lent(t, span, LENT_PROVIDER, READING_PROVIDER)
        model = model if model != 0 else lent(t, span, LENT_MODEL, READING_MODEL)
    return price_row(t, provider, of_reading(t, span, READING_ANSWERED_BY), model)


@kernel
def _look_ahead(t: Tables, i: Number, n: Number) -> None:
    """Wish for what the calls after this one will need, a step further each time: most of the time goes into waiting
    for memory.
    """
    if i + 24 < n:
        soon_row(t.waits, cell(t.order, i + 24), WAIT_CELLS)
    if i + 16 < n:
        soon_row(t.spans, of_wait(t, cell(t.order, i + 16), WAIT_SPAN), SPAN_CELLS)
    if i + 8 < n:
        soon_row(t.traces, of_span(t, of_wait(t, cell(t.order, i + 8), WAIT_SPAN), SPAN_TRACE), TRACE_CELLS)
    if i + 4 < n:
        trace = of_span(t, of_wait(t, cell(t.order, i + 4), WAIT_SPAN), SPAN_TRACE)
        soon_row(t.sessions, of_trace(t, trace, TRACE_SESSION), SESSION_CELLS)


@kernel
def count(t: Tables, first: Number, n: Number, end_ns: Number) -> Number:
    """Count the calls of a slot from the first of them on, and close the sessions that are due before it ends.

    Returns `n`, or the place of a call whose price is to be looked up, or asked for, before it can be counted; that
    price is left in the state.
    """
    for i in range(first, n):
        if (i - first) % AHEAD == 0:
            label_ahead(t, i, min(i + AHEAD, n))
        _look_ahead(t, i + AHEAD, n)
        wait, at = cell(t.order, i), (1 + (i - first) % AHEAD) * L_ROW
        span = of_wait(t, wait, WAIT_SPAN)
        price = _price(t, span, wait, at)
        if price >= 0 and needs_help(t, price, i):
            put(t.state, STOPPED_AT, price)
            drop_forgotten(t)
            return i
        labels = label_row(t, at, cell(t.scratch, at + L_HASH))
        trace = of_span(t, span, SPAN_TRACE)
        reach(t, trace, span, of_wait(t, wait, WAIT_END))
        set_trace(t, trace, TRACE_WAITS, of_trace(t, trace, TRACE_WAITS) - 1)
        _sample(t, span)
        counts, usage = _counts(t, trace, span, of_wait(t, wait, WAIT_TWIN))
        told = has(t, span, SPENT | USAGE_BELOW) == SPENT | USAGE_BELOW and of_span(t, span, SPAN_PARENT_ID) == 0
        if told and not _is_twinned(of_reading(t, span, READING_OPERATION)):
            put_number(t.counts, STATED, number(t.counts, STATED) + tokens_of(t, wait))
            leaves = number(t.traces, trace * TRACE_CELLS + TRACE_TOKENS)
            put_number(t.counts, LEAVES, number(t.counts, LEAVES) + leaves)
        if counts or usage:
            dollars, source = cost_of(t, wait, price) if usage else (0.0, NOTHING_TO_PRICE)
            if source != NOTHING_TO_PRICE:
                spend(t, trace, wait, dollars, source)
            write_unit(t, span, wait, counts, usage, dollars, source, labels)
        if has(t, span, IS_LOOSE) != 0:
            give_back(t.heads, SPANS, t.spans, SPAN_CELLS, span)
        else:
            set_span(t, span, SPAN_WAIT, NONE)
        give_back(t.heads, WAITS, t.waits, WAIT_CELLS, wait)
        more(t.state, PENDING, -1)
    session = next_due(t)
    while session >= 0 and cell(t.state, DUE) < end_ns:
        close(t, session, cell(t.state, DUE))
        session = next_due(t)
    drop_forgotten(t)
    return n


@kernel
def _sample(t: Tables, span: Number) -> None:
    """Note the largest weight of a service's spans: how its traffic is sampled."""
    at = 2 * of_span(t, span, SPAN_RESOURCE)
    more(t.sampled, at, 1)
    weight = number(t.spans, span * SPAN_CELLS + SPAN_WEIGHT)
    if weight > number(t.sampled, at + 1):
        put_number(t.sampled, at + 1, weight)


@kernel
def _counts(t: Tables, trace: Number, span: Number, twin: Number) -> tuple[Number, Number]:
    """Whether a span is a call of its own, and whether its tokens and cost are to be added."""
    usage = has(t, span, SPENT) != 0
    operation = of_reading(t, span, READING_OPERATION)
    if of_reading(t, span, READING_IS_LOG) != 0:
        return False, usage and not _is_told_above(t, span)
    if is_model(operation):
        if usage and of_trace(t, trace, TRACE_MARKS) & IS_CLAIMED != 0 and _is_claimed_above(t, span):
            usage = False  # An aggregate above was counted before this leaf was known.
    elif usage:
        # A tool's or a retrieval's tokens are those of the models it asked, as an agent's are.
        usage = has(t, span, USAGE_BELOW) == 0
        if usage:
            _claim(t, trace, span)
    if not _is_twinned(operation):
        flag(t, span, IS_COUNTED)
        return True, usage
    if has(t, span, COVERED) != 0:
        return False, usage and has(t, span, USAGE_BELOW) == 0
    if twin >= 0 and has(t, twin, IS_COUNTED) != 0:
        return False, usage and has(t, twin, SPENT) == 0
    response = of_span(t, span, SPAN_RESPONSE)
    if response != 0 and is_model(operation):
        known = _answer(t, trace, span, response, usage)
        if known != 0:
            return False, usage and known & ANSWER_SPENT == 0
    flag(t, span, IS_COUNTED)
    return True, usage


@kernel
def _claim(t: Tables, trace: Number, span: Number) -> None:
    """An aggregate stands in for leaves that said nothing: what lies above and below must not be added again."""
    flag(t, span, USAGE_COUNTED)
    set_trace(t, trace, TRACE_MARKS, of_trace(t, trace, TRACE_MARKS) | IS_CLAIMED)
    row, steps = above(t, span), 0
    while row >= 0 and steps < ANCESTORS_MAX:
        flag(t, row, USAGE_BELOW)
        row = above(t, row)
        steps += 1


@kernel
def _is_claimed_above(t: Tables, span: Number) -> Number:
    row, steps = above(t, span), 0
    while row >= 0 and steps < ANCESTORS_MAX:
        if has(t, row, USAGE_COUNTED) != 0:
            return True
        row = above(t, row)
        steps += 1
    return False


@kernel
def _answer(t: Tables, trace: Number, span: Number, response: Number, usage: Number) -> Number:
    """Note a response id; what was known of it in this trace: ANSWERED, and whether its tokens were counted."""
    row = find_answer(t, trace, response)
    if row >= 0:
        known = ANSWERED | has(t, row, ANSWER_SPENT)
        if usage:
            flag(t, row, ANSWER_SPENT)
        return known
    if has(t, span, IS_LOOSE) == 0:
        enter_answer(t, trace, span, ANSWERED | ANSWER_SPENT if usage else ANSWERED)
    return 0
