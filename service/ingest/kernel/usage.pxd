# Which parts of its usage a span tells are inside which: decided once, from all parts and totals together.
from service.ingest.kernel.columns cimport ScopeColumns
from service.ingest.kernel.memory cimport word_t
from service.ingest.kernel.rows cimport *


cdef inline double or_zero(double value) noexcept nogil:
    return value if value == value else 0.0


cdef inline bint include_parts(Join* t, DecodedSpan* decoded, ScopeColumns* scope) noexcept nogil:
    """Make input include the cache and output include the reasoning, as the conventions have it; whether it spent.

    Parts lie outside where a sender always has it so, where they exceed the whole, and where the total is their sum.
    Google's total has two more parts that may show in it alone: thoughts, and the input that tools fed back. What a
    total says beyond all of that is noted of its scope.
    """
    cdef Reading* reading = &t.readings[decoded.reading]
    cdef double* n = decoded.numbers
    cdef double total, whole, output, cached, reasoning, tools
    cdef bint has_input, has_output, is_apart
    if decoded.flags & TELLS_MORE:
        _first_token(decoded, n)
    if reading.apart == 0:
        return False
    _cost(reading, n)
    total = or_zero(n[TOTAL])
    has_input, has_output = n[INPUT] == n[INPUT], n[OUTPUT] == n[OUTPUT]
    if not has_input and total > 0.0 and reading.operation == OP_EMBEDDING:
        n[INPUT], has_input = total, True
    if not has_input and not has_output and n[CACHE_READ] != n[CACHE_READ] and not _tells_parts(decoded, n):
        if n[COST] == -1.0:
            n[INPUT] = n[OUTPUT] = 0.0
        return n[COST] == n[COST]
    whole, output = or_zero(n[INPUT]), or_zero(n[OUTPUT])
    reasoning, tools = or_zero(n[REASONING]), or_zero(n[TOOL_INPUT]) if decoded.flags & TELLS_MORE else 0.0
    cached = or_zero(n[CACHE_READ]) + or_zero(n[CACHE_WRITE])
    is_apart = reading.apart == APART or scope.kinds & APART_SCOPE != 0
    if has_output and not has_input and total > output:
        whole, is_apart = total - output, False     # The rest of a total is all of the input.
    elif has_input and not has_output and total > whole:
        output = total - whole - (cached if is_apart and total >= whole + cached else 0.0)
    if is_apart or cached > whole or _adds_up(reading, total - whole - output, cached, reasoning, tools):
        whole += cached
    _thoughts(t, reading, n, total, &whole, &output, reasoning, tools, scope)
    n[INPUT], n[OUTPUT] = whole, output
    if has_output and output == 0.0:
        decoded.flags |= TOLD_EMPTY
    if decoded.flags & TELLS_MORE:
        _parts(decoded, n)
    return True


cdef inline void keep_found(const Join* t, DecodedSpan* decoded) noexcept nogil:
    """Keep what a retrieval found in place of parts of usage, which it has none of."""
    cdef double* n = decoded.numbers
    cdef double hits = n[HITS], top_k = or_zero(n[TOP_K]), score = or_zero(n[SCORE])
    cdef int listed = t.readings[decoded.reading].listed
    if t.readings[decoded.reading].operation != OP_RETRIEVAL:
        return
    if hits != hits and listed > 0:
        hits = max(<double>listed, top_k) if listed == LISTED_MAX else listed   # Counting ended at so many.
    if hits != hits and score > 0.0:
        hits = 1.0  # There was one at least.
    decoded.flags &= ~<word_t>HAS_PARTS
    if hits == hits:
        n[FIRST_PART + PART_HITS], n[FIRST_PART + PART_TOP_K] = hits + 1.0, top_k
        n[FIRST_PART + PART_SCORE] = score
        decoded.flags |= HAS_PARTS


cdef inline void _cost(const Reading* reading, double* n) noexcept nogil:
    """The cost in dollars: as stated, or its two sides; -1.0 where it was stated in what is not known to be dollars."""
    if n[COST] != n[COST] and (n[INPUT_COST] == n[INPUT_COST] or n[OUTPUT_COST] == n[OUTPUT_COST]):
        n[COST] = or_zero(n[INPUT_COST]) + or_zero(n[OUTPUT_COST])
    if n[COST] == n[COST] and reading.rate != 1.0:
        n[COST] = n[COST] * reading.rate if reading.rate > 0.0 else -1.0


cdef inline void _first_token(DecodedSpan* decoded, double* n) noexcept nogil:
    """The seconds to the first token, whichever unit they were told in."""
    if n[FIRST_TOKEN] != n[FIRST_TOKEN] and n[FIRST_TOKEN_MS] > 0.0:
        n[FIRST_TOKEN] = n[FIRST_TOKEN_MS] / 1e3
    if n[FIRST_TOKEN] > 0.0:
        _parts(decoded, n)


cdef inline bint _tells_parts(const DecodedSpan* decoded, const double* n) noexcept nogil:
    cdef int i
    if not decoded.flags & TELLS_MORE:
        return False
    for i in range(FIRST_PART, FIRST_PART + PARTS):
        if n[i] > 0.0:
            return True
    return False


cdef inline bint _adds_up(
    const Reading* reading, double rest, double cached, double reasoning, double tools
) noexcept nogil:
    """Whether what a total says beyond input and output is the cache, with or without the other parts."""
    if cached <= 0.0 or reading.is_google or rest == reasoning:
        return False
    return rest == cached or rest == cached + reasoning or rest == cached + tools or rest == cached + reasoning + tools


cdef inline void _thoughts(
    Join* t, Reading* reading, double* n, double total, double* whole, double* output, double reasoning, double tools,
    ScopeColumns* scope,
) noexcept nogil:
    """Have output include the reasoning, and input what tools fed back."""
    cdef double rest = total - whole[0] - output[0]
    if reasoning > 0.0 and (reasoning > output[0] or rest == reasoning or (tools > 0.0 and rest == reasoning + tools)):
        output[0] += reasoning
        rest -= reasoning
    if tools > 0.0 and (total == 0.0 or rest >= tools):
        whole[0] += tools
        rest -= tools
    if total == 0.0 or rest == 0.0:
        return
    if rest > 0.0 and reading.is_google and whole[0] + output[0] > 0.0:
        if reasoning == 0.0:
            n[REASONING] = rest
            output[0] += rest
        else:
            whole[0] += rest
        return
    if total != or_zero(n[INPUT]) + or_zero(n[OUTPUT]):     # As instrumentations add it up who leave the cache out.
        scope.unexplained += rest if rest > 0.0 else -rest
        t.counts.unexplained += 1


cdef inline void _parts(DecodedSpan* decoded, double* n) noexcept nogil:
    """Whether any part may have a price of its own."""
    cdef int i
    for i in range(FIRST_PART, FIRST_PART + KEPT_PARTS):
        if n[i] > 0.0:
            decoded.flags |= HAS_PARTS
        else:
            n[i] = 0.0
