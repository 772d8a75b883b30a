# Columns to decoded spans: by plan where a span's shape has one. What was read alone stays as it is.
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t, uint64_t

from service.ingest.kernel.columns cimport (
    STATUS_ERROR, STATUS_OK, Attribute, ColumnData, ScopeColumns, SpanColumns
)
from service.ingest.kernel.memory cimport Fingerprint, as_double, fingerprint, prefetch, row_t
from service.ingest.kernel.rows cimport *
from service.ingest.kernel.usage cimport include_parts, keep_found
from service.ingest.kernel.wire cimport Text
from service.ingest.kernel.words cimport word_of

cdef enum:
    WEIGHT_DIGITS = 14  # Hexadecimal digits of a sampling threshold, padded on the right.
    WEIGHT_MAX = 1_000_000  # A rate below one in a million is not believed: one span would outweigh a fleet.


cdef inline void read(Join* t, ColumnData* c, const Plan* plans, DecodedSpan* decoded) noexcept nogil:
    """Write what each span says."""
    cdef row_t i, spans = c.n_spans
    for i in range(spans):
        if i + 8 < spans and c.spans[i + 8].plan >= 0:
            prefetch(&plans[c.spans[i + 8].plan])
        if i + 4 < spans and c.spans[i + 4].plan >= 0:
            prefetch(&t.readings[plans[c.spans[i + 4].plan].reading])
        read_one(t, c, plans, &c.spans[i], &decoded[i])


cdef inline void read_one(
    Join* t, ColumnData* c, const Plan* plans, const SpanColumns* span, DecodedSpan* decoded
) noexcept nogil:
    cdef ScopeColumns* scope = &c.scopes[span.scope]
    cdef double weight
    decoded.trace_high, decoded.trace_low = span.trace_high, span.trace_low
    decoded.id, decoded.parent_id = span.id, span.parent_id
    decoded.start, decoded.end = span.start, span.end
    if span.plan >= 0:
        _follow(t, c, &plans[span.plan], &c.attributes[span.first], decoded)
    decoded.resource = c.resources[span.resource].number
    if decoded.name_high == 0 and decoded.name_low == 0 and c.resources[span.resource].name_high != 0:
        decoded.name_high, decoded.name_low = c.resources[span.resource].name_high, c.resources[span.resource].name_low
        decoded.flags |= NAMED_BY_RESOURCE
    if not decoded.flags & IS_EXCUSED:
        if span.status == STATUS_ERROR or (decoded.flags & HAS_RAISED and span.status != STATUS_OK):
            decoded.flags |= FAILED
    if span.is_remote:
        decoded.flags |= IS_REMOTE
    if scope.kinds & NATIVE_SCOPE:
        decoded.flags |= IS_NATIVE
    if include_parts(t, decoded, scope):
        decoded.flags |= SPENT
    if decoded.flags & TELLS_MORE:
        keep_found(t, decoded)
    weight = sampling_weight(c.text + span.state, c.text + span.state + span.state_size) if span.state_size else 0.0
    if weight > 0.0 or scope.weight > 0.0:
        decoded.flags |= IS_WEIGHED
    # Head and tail draw apart: what both kept stands for the product.
    decoded.weight = min((weight if weight > 0.0 else 1.0) * (scope.weight if scope.weight > 0.0 else 1.0), WEIGHT_MAX)


cdef inline void _follow(
    Join* t, ColumnData* c, const Plan* plan, const Attribute* attributes, DecodedSpan* decoded
) noexcept nogil:
    """Write what a span's plan says of it."""
    cdef Fingerprint name
    cdef const Attribute* text
    cdef int i
    decoded.reading, decoded.flags = plan.reading, plan.flags
    t.counts.bad_numbers += plan.bad
    decoded.tenant = 0
    decoded.name_high = decoded.name_low = decoded.response = 0
    if plan.tenant >= 0:
        text = &attributes[plan.tenant]
        decoded.tenant = word_of(t, c.text + text.text, text.value)
    if plan.name >= 0:
        text = &attributes[plan.name]
        name = fingerprint(t.name_seed, c.text + text.text, text.value)
        decoded.name_high, decoded.name_low = name.high, name.low
    if plan.response >= 0:
        text = &attributes[plan.response]
        decoded.response = fingerprint(t.seed, c.text + text.text, text.value).high
    for i in range(BASIC_NUMBERS):
        decoded.numbers[i] = as_double(attributes[plan.numbers[i]].value) if plan.numbers[i] >= 0 else NAN
    for i in range(BASIC_NUMBERS, NUMBERS):
        decoded.numbers[i] = NAN
    if plan.more:
        decoded.flags |= TELLS_MORE
        for i in range(BASIC_NUMBERS, NUMBERS):
            if plan.numbers[i] >= 0:
                decoded.numbers[i] = as_double(attributes[plan.numbers[i]].value)


cdef inline double sampling_weight(Text at, Text end) noexcept nogil:
    """1 / sampling probability from the threshold in `ot=th:`; 0.0 where there is none, or an absurd one."""
    cdef Text stop, last
    cdef double weight
    while at < end:
        stop = at
        while stop < end and stop[0] != c',':
            stop += 1
        last = stop
        while at < last and at[0] <= 0x20:
            at += 1
        while at < last and (last - 1)[0] <= 0x20:
            last -= 1
        if last - at > 3 and at[0] == c'o' and at[1] == c't' and at[2] == c'=':
            weight = _threshold(at + 3, last)
            if weight > 0.0:
                return weight
        at = stop + 1
    return 0.0


cdef inline double _threshold(Text at, Text end) noexcept nogil:
    """The weight that a `th:` among OpenTelemetry's own values tells; 0.0 for none."""
    cdef Text stop
    cdef int64_t digits, value, i
    cdef int letter, digit
    cdef double weight
    while at < end:
        stop = at
        while stop < end and stop[0] != c';':
            stop += 1
        digits = stop - at - 3
        if digits > 0 and digits <= WEIGHT_DIGITS and at[0] == c't' and at[1] == c'h' and at[2] == c':':
            value = 0
            for i in range(WEIGHT_DIGITS):
                letter = at[3 + i] if i < digits else 0x30
                digit = letter - 0x30 if letter <= 0x39 else letter - 0x61 + 10
                if digit < 0 or digit > 15 or (letter > 0x39 and letter < 0x61):
                    value = -1
                    break
                value = value << 4 | digit
            if value >= 0:
                weight = 2.0**56 / (2.0**56 - value)
                return weight if weight <= WEIGHT_MAX else 0.0
        at = stop + 1
    return 0.0
