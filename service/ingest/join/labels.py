"""What a span is counted by, with what is known now: its own word, the nearest ancestor's, the trace's, its resource's.

The resource speaks for the tenant before ancestors do; model and provider are model calls' alone, and an embedding's
are nobody else's.
"""

from service.ingest.join.rows import MASK, enter, find, is_like, row_at, soon_row, take
from service.ingest.join.tables import (
    ASK,
    ASKED,
    ASKING,
    IS_INDEXED,
    LABEL_CELL,
    LABEL_CELLS,
    LABEL_WORDS,
    LABELS,
    LENT_AGENT,
    LENT_BY_NAME,
    LENT_MODEL,
    LENT_PROVIDER,
    LENT_TENANT,
    LENT_VERSION,
    OP_EMBEDDING,
    OP_LLM,
    OP_RETRIEVAL,
    OP_TOOL,
    READING_AGENT,
    READING_ANSWERED_BY,
    READING_BY_NAME,
    READING_MODEL,
    READING_OPERATION,
    READING_PROVIDER,
    READING_STORE,
    READING_TOOL,
    READING_VERSION,
    RESOURCE_AGENT,
    RESOURCE_TENANT,
    RESOURCE_VERSION,
    SPAN_ABOVE,
    SPAN_CELLS,
    SPAN_ID,
    SPAN_NEXT,
    SPAN_PARENT_ID,
    SPAN_TENANT,
    SPAN_TRACE,
    SPANS,
    TRACE_LENDERS,
    TRACE_MARKS,
    TRACE_SPANS,
    WAIT_SPAN,
    Tables,
    more,
    of_reading,
    of_resource,
    of_span,
    of_trace,
    of_wait,
    set_span,
)
from service.ingest.memory import Number, cell, hash_of, kernel, mixed, put, soon

ANCESTORS_MAX = 64
"""How far up a value is looked for; parents may also point in a circle."""
FIRST_OPERATION = 2
"""The word of the first operation; those of the others follow."""
L_TENANT, L_AGENT, L_OPERATION, L_PROVIDER, L_MODEL, L_TOOL, L_VERSION = range(7)
"""Places of words in a row of the scratch, those of CELL_LABELS."""
L_CELLS, L_HASH, L_ROW = 7, 7, 8
"""How many words; where their hash is; the width of a row, the first of which is for labels that are needed alone."""
AHEAD = 16
"""Calls whose labels are worked out together, so that their rows are near once they are needed."""
SCRATCH_CELLS = (1 + AHEAD) * L_ROW


@kernel
def find_span(t: Tables, trace: Number, span_id: Number) -> Number:
    """The span of a trace that has this id. Few are looked through, for they lie side by side; many have an index."""
    if of_trace(t, trace, TRACE_MARKS) & IS_INDEXED == 0:
        row = of_trace(t, trace, TRACE_SPANS)
        while row >= 0 and of_span(t, row, SPAN_ID) != span_id:
            row = of_span(t, row, SPAN_NEXT)
        return row
    hashed, mask = hash_of(t.seed, span_id, trace), cell(t.heads, SPANS + MASK)
    return find(t.span_index, mask, hashed, t.spans, SPAN_CELLS, SPAN_ID, span_id, SPAN_TRACE, trace)


@kernel
def above(t: Tables, span: Number) -> Number:
    """The span's parent, if it came."""
    row = of_span(t, span, SPAN_ABOVE)
    if row < 0:
        parent_id = of_span(t, span, SPAN_PARENT_ID)
        if parent_id != 0:
            row = find_span(t, of_span(t, span, SPAN_TRACE), parent_id)
            set_span(t, span, SPAN_ABOVE, row)
    return row


@kernel
def is_model(operation: Number) -> Number:
    """Whether an operation's tokens cost money."""
    return operation in (OP_LLM, OP_EMBEDDING)


@kernel
def lender(t: Tables, span: Number, field: Number) -> Number:
    """The span that lends a field to the trace of this one."""
    return of_trace(t, of_span(t, span, SPAN_TRACE), TRACE_LENDERS + field)


@kernel
def lent(t: Tables, span: Number, field: Number, column: Number) -> Number:
    """What the trace as a whole says of a field, which stands in this column of readings."""
    row = lender(t, span, field)
    return of_reading(t, row, column) if row >= 0 else 0


@kernel
def label(t: Tables, span: Number, at: Number) -> None:
    """Write a span's labels to the row of the scratch that begins there."""
    operation = of_reading(t, span, READING_OPERATION)
    agent, version = of_reading(t, span, READING_AGENT), of_reading(t, span, READING_VERSION)
    tenant = of_span(t, span, SPAN_TENANT)
    if tenant == 0:
        tenant = of_resource(t, span, RESOURCE_TENANT)
    provider, model, tool, asks_model = 0, 0, 0, is_model(operation)
    if asks_model:
        provider, model = of_reading(t, span, READING_PROVIDER), of_reading(t, span, READING_MODEL)
        if model == 0:
            model = of_reading(t, span, READING_ANSWERED_BY)
    elif operation in (OP_TOOL, OP_RETRIEVAL):
        tool = of_reading(t, span, READING_STORE) if operation == OP_RETRIEVAL else 0
        if tool == 0:
            tool = of_reading(t, span, READING_TOOL)
        outer = above(t, span)
        if tool == 0 and outer >= 0 and of_reading(t, outer, READING_OPERATION) == operation:
            tool = of_reading(t, outer, READING_TOOL)
    row, steps = span, 0
    while steps < ANCESTORS_MAX:
        # Nobody need be asked for what is known, or for what no span of the trace ever said.
        if (
            tenant != 0
            and (agent != 0 or lender(t, span, LENT_AGENT) < 0)
            and (version != 0 or lender(t, span, LENT_VERSION) < 0)
            and not (asks_model and (provider == 0 or model == 0))
        ):
            break
        row = above(t, row)
        if row < 0:
            break
        steps += 1
        agent = agent if agent != 0 else of_reading(t, row, READING_AGENT)
        version = version if version != 0 else of_reading(t, row, READING_VERSION)
        tenant = tenant if tenant != 0 else of_span(t, row, SPAN_TENANT)
        tenant = tenant if tenant != 0 else of_resource(t, row, RESOURCE_TENANT)
        if asks_model:
            provider = provider if provider != 0 else of_reading(t, row, READING_PROVIDER)
            model = model if model != 0 else of_reading(t, row, READING_MODEL)
    if operation == OP_LLM:
        provider = provider if provider != 0 else lent(t, span, LENT_PROVIDER, READING_PROVIDER)
        model = model if model != 0 else lent(t, span, LENT_MODEL, READING_MODEL)
    agent = agent if agent != 0 else lent(t, span, LENT_AGENT, READING_AGENT)
    agent = agent if agent != 0 else _agent_by_name(t, span)
    version = version if version != 0 else lent(t, span, LENT_VERSION, READING_VERSION)
    row = lender(t, span, LENT_TENANT)
    if tenant == 0 and row >= 0:
        tenant = of_span(t, row, SPAN_TENANT)
    put(t.scratch, at + L_TENANT, tenant)
    put(t.scratch, at + L_AGENT, agent if agent != 0 else of_resource(t, span, RESOURCE_AGENT))
    put(t.scratch, at + L_OPERATION, FIRST_OPERATION + operation)
    put(t.scratch, at + L_PROVIDER, provider)
    put(t.scratch, at + L_MODEL, model)
    put(t.scratch, at + L_TOOL, tool)
    put(t.scratch, at + L_VERSION, version if version != 0 else of_resource(t, span, RESOURCE_VERSION))


@kernel
def _agent_by_name(t: Tables, span: Number) -> Number:
    """The agent that a span's name, or that of an ancestor or another of the trace, tells."""
    if lender(t, span, LENT_BY_NAME) < 0:
        return 0
    row, steps = span, 0
    while row >= 0 and steps <= ANCESTORS_MAX:
        name = of_reading(t, row, READING_BY_NAME)
        if name != 0:
            return name
        row = above(t, row)
        steps += 1
    return lent(t, span, LENT_BY_NAME, READING_BY_NAME)


@kernel
def hash_label(t: Tables, at: Number) -> Number:
    """A hash of the labels in a row of the scratch."""
    hashed = cell(t.seed, 0)
    for i in range(L_CELLS):
        hashed = mixed(hashed, cell(t.scratch, at + i))
    return hashed


@kernel
def label_ahead(t: Tables, first: Number, stop: Number) -> None:
    """Write the labels of some spans of the list to the scratch, and wish for their rows."""
    mask = cell(t.heads, LABELS + MASK)
    for i in range(first, stop):
        at = (1 + i - first) * L_ROW
        label(t, of_wait(t, cell(t.order, i), WAIT_SPAN), at)
        hashed = hash_label(t, at)
        put(t.scratch, at + L_HASH, hashed)
        soon(t.label_index, hashed & mask)
    for i in range(1, 1 + stop - first):
        soon_row(t.labels, row_at(t.label_index, cell(t.scratch, i * L_ROW + L_HASH) & mask), LABEL_CELLS)


@kernel
def label_row(t: Tables, at: Number, hashed: Number) -> Number:
    """The row of the labels in a row of the scratch, put on the list to be asked for if its cell is not known."""
    mask = cell(t.heads, LABELS + MASK)
    place = hashed & mask
    while True:
        row = row_at(t.label_index, place)
        if row < 0:
            break
        if is_like(t.label_index, place, hashed) and _same_label(t, row, at):
            _ask(t, row)
            return row
        place = (place + 1) & mask
    row = take(t.heads, LABELS, t.labels, LABEL_CELLS)
    for i in range(L_CELLS):
        put(t.labels, row * LABEL_CELLS + LABEL_WORDS + i, cell(t.scratch, at + i))
    put(t.labels, row * LABEL_CELLS + LABEL_CELL, ASK)
    enter(t.label_index, mask, hashed, row)
    _ask(t, row)
    return row


@kernel
def _same_label(t: Tables, row: Number, at: Number) -> Number:
    same = True
    for i in range(L_CELLS):
        if cell(t.labels, row * LABEL_CELLS + LABEL_WORDS + i) != cell(t.scratch, at + i):
            same = False
    return same


@kernel
def _ask(t: Tables, row: Number) -> None:
    if cell(t.labels, row * LABEL_CELLS + LABEL_CELL) == ASK:
        put(t.labels, row * LABEL_CELLS + LABEL_CELL, ASKED)
        put(t.asking, cell(t.state, ASKING), row)
        more(t.state, ASKING, 1)
