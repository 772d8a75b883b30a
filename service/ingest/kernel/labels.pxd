# Labels of a span, with what is known now: what it says itself, else its nearest ancestor, its trace, its resource.
from libc.stdint cimport uint64_t

from service.ingest.kernel.memory cimport NONE, enter, hash_of, mixed, next_like, prefetch, row_at, row_t, take, word_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.words cimport spelled_alike


cdef inline row_t find_span(Join* t, row_t trace, uint64_t id) noexcept nogil:
    """The span of a trace that has this id. Few are looked through; many have an index."""
    cdef row_t row = t.traces[trace].spans
    cdef uint64_t hashed, place
    if not t.traces[trace].marks & IS_INDEXED:
        while row >= 0 and t.spans[row].id != id:
            row = t.spans[row].next
        return row
    hashed = place = hash_of(t.seed, id, trace)
    while True:
        row = next_like(&t.span_index, hashed, &place)
        if row < 0 or (t.spans[row].id == id and t.spans[row].trace == trace):
            return row


cdef inline Span* parent_of(Join* t, Span* span) noexcept nogil:
    """The span's parent, if it came."""
    if span.parent < 0:
        if span.parent_id == 0:
            return NULL
        span.parent = find_span(t, span.trace, span.parent_id)
        if span.parent < 0:
            return NULL
    return &t.spans[span.parent]


cdef inline bint is_model(int operation) noexcept nogil:
    """Whether an operation's tokens cost money."""
    return operation <= OP_EMBEDDING


cdef inline Span* default_span(Join* t, const Span* span, int field) noexcept nogil:
    """The span that says a field for its trace; NULL if none says it."""
    cdef row_t row = t.traces[span.trace].defaults[field]
    return &t.spans[row] if row >= 0 else NULL


cdef inline void label(Join* t, Span* span, word_t* words) noexcept nogil:
    """A span's labels."""
    cdef Reading* own = reading_of(t, span)
    cdef Reading* theirs
    cdef Resource* resource = &t.resources[span.resource]
    cdef Span* row = span
    cdef Span* outer
    cdef row_t* defaults = t.traces[span.trace].defaults
    cdef word_t agent = own.agent, version = own.version, provider = 0, model = 0, tool = 0
    cdef word_t tenant = span.tenant if span.tenant else resource.tenant
    cdef bint asks_model = is_model(own.operation)
    cdef int steps
    if asks_model:
        provider, model = own.provider, own.model if own.model else own.answered_by
    elif own.operation == OP_TOOL or own.operation == OP_RETRIEVAL:
        tool = own.store if own.operation == OP_RETRIEVAL and own.store else own.tool
        if tool == 0:
            outer = parent_of(t, span)
            if outer != NULL and reading_of(t, outer).operation == own.operation:
                tool = reading_of(t, outer).tool
    for steps in range(ANCESTORS_MAX):
        # Stop once all is known. What no span of the trace says, no ancestor says.
        if (
            tenant and (agent or defaults[DEFAULT_AGENT] < 0) and (version or defaults[DEFAULT_VERSION] < 0)
            and not (asks_model and not (provider and model))
        ):
            break
        row = parent_of(t, row)
        if row == NULL:
            break
        theirs = reading_of(t, row)
        agent = agent if agent else theirs.agent
        version = version if version else theirs.version
        tenant = tenant if tenant else row.tenant
        tenant = tenant if tenant else t.resources[row.resource].tenant
        if asks_model:
            provider = provider if provider else theirs.provider
            model = model if model else theirs.model
    if own.operation == OP_LLM:
        if not provider and defaults[DEFAULT_PROVIDER] >= 0:
            provider = reading_of(t, default_span(t, span, DEFAULT_PROVIDER)).provider
        if not model and defaults[DEFAULT_MODEL] >= 0:
            model = reading_of(t, default_span(t, span, DEFAULT_MODEL)).model
    if not agent and defaults[DEFAULT_AGENT] >= 0:
        agent = reading_of(t, default_span(t, span, DEFAULT_AGENT)).agent
    if not agent:
        agent = _agent_by_name(t, span)
    if not version and defaults[DEFAULT_VERSION] >= 0:
        version = reading_of(t, default_span(t, span, DEFAULT_VERSION)).version
    if not tenant and defaults[DEFAULT_TENANT] >= 0:
        tenant = default_span(t, span, DEFAULT_TENANT).tenant
    words[L_TENANT], words[L_AGENT] = tenant, _as_spelled(t, span, agent) if agent else resource.agent
    words[L_OPERATION], words[L_PROVIDER], words[L_MODEL] = FIRST_OPERATION + own.operation, provider, model
    words[L_TOOL], words[L_VERSION] = tool, version if version else resource.version
    words[L_PROMPT] = own.prompt if asks_model else 0
    words[L_ANSWERED] = own.answered_by if asks_model and own.answered_by != model else 0


cdef inline word_t model_of(Join* t, const Span* root, const word_t* words) noexcept nogil:
    """The model of a trace, given the labels of its root: that of the root, else the one that its trace says."""
    cdef Span* default = default_span(t, root, DEFAULT_MODEL)
    return words[L_MODEL] if words[L_MODEL] or default == NULL else reading_of(t, default).model


cdef inline word_t _as_spelled(Join* t, Span* span, word_t agent) noexcept nogil:
    """The name of an agent as its trace spells it: by the first span that says it, else the first that is called so."""
    cdef Span* default = default_span(t, span, DEFAULT_AGENT)
    cdef word_t theirs = reading_of(t, default).agent if default != NULL else 0
    if theirs and spelled_alike(t, agent, theirs):
        return theirs
    default = default_span(t, span, DEFAULT_BY_NAME)
    theirs = reading_of(t, default).by_name if default != NULL else 0
    return theirs if theirs and spelled_alike(t, agent, theirs) else agent


cdef inline bint has_other_orphan(Join* t, const Trace* trace, const Span* top) noexcept nogil:
    """Whether another span of the trace than this one has no parent."""
    cdef row_t row = trace.spans
    while row >= 0:
        if &t.spans[row] != top and parent_of(t, &t.spans[row]) == NULL:
            return True
        row = t.spans[row].next
    return False


cdef inline bint is_alone(Join* t, const Span* top) noexcept nogil:
    """Whether a span without a parent is the only one of a small trace: all else is below it."""
    cdef const Trace* trace = &t.traces[top.trace]
    return trace.root < 0 and trace.count <= 64 and not has_other_orphan(t, trace, top)


cdef inline word_t _agent_by_name(Join* t, Span* span) noexcept nogil:
    """The agent that the name of a span tells, or that of an ancestor, or of another span of the trace."""
    cdef Span* row = span
    cdef Span* above
    cdef Span* default = default_span(t, span, DEFAULT_BY_NAME)
    cdef Reading* theirs
    cdef int steps
    if default == NULL and t.traces[span.trace].root >= 0:
        return 0
    for steps in range(ANCESTORS_MAX + 1):
        if row == NULL:
            break
        theirs, above = reading_of(t, row), parent_of(t, row)
        if theirs.by_name and not theirs.names_top:
            return theirs.by_name
        if theirs.by_name and above == NULL and (row.parent_id == 0 or row.flags & IS_REMOTE or is_alone(t, row)):
            return theirs.by_name
        row = above
    return reading_of(t, default).by_name if default != NULL else 0


cdef inline uint64_t hash_label(Join* t, const word_t* words) noexcept nogil:
    cdef uint64_t hashed = t.seed[0]
    cdef int i
    for i in range(LABEL_WORDS):
        hashed = mixed(hashed, words[i])
    return hashed


cdef inline void label_ahead(Join* t, row_t first, row_t stop) noexcept nogil:
    """Work out the labels of some of the next calls, and prefetch their rows."""
    cdef row_t i, row
    cdef Scratch* made
    for i in range(first, stop):
        made = &t.scratch[i - first]
        label(t, &t.spans[t.waits[t.order[i].wait].span], made.words)
        made.hashed = hash_label(t, made.words)
        prefetch(&t.label_index.places[made.hashed & t.label_index.mask])
    for i in range(stop - first):
        row = row_at(&t.label_index, t.scratch[i].hashed & t.label_index.mask)
        if row >= 0:
            prefetch(&t.labels[row])


cdef inline row_t label_row(Join* t, const word_t* words, uint64_t hashed) noexcept nogil:
    """The row of some labels, put on the list to be asked for if its cell is not known."""
    cdef uint64_t place = hashed
    cdef row_t row
    cdef int i
    while True:
        row = next_like(&t.label_index, hashed, &place)
        if row < 0:
            row = take(&t.label_table)
            for i in range(LABEL_WORDS):
                t.labels[row].words[i] = words[i]
            t.labels[row].cell, t.labels[row].is_met = ASK, 0
            enter(&t.label_index, hashed, row)
            break
        for i in range(LABEL_WORDS):
            if t.labels[row].words[i] != words[i]:
                break
        else:
            break
    if t.labels[row].cell == ASK:
        t.labels[row].cell = ASKED
        t.asking[t.n_asking] = row
        t.n_asking += 1
    return row
