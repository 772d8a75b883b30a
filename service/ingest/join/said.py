"""Columns to what their spans say, in cells: by plan where a span's shape has one; what was read alone stays."""

from typing import NamedTuple

from service.ingest.join.rows import soon_row
from service.ingest.join.tables import (
    BAD_NUMBERS,
    FAILED,
    IS_NATIVE,
    IS_WEIGHED,
    OP_EMBEDDING,
    READING_APART,
    READING_CELLS,
    READING_IS_GOOGLE,
    READING_OPERATION,
    SPENT,
    Tables,
    more,
)
from service.ingest.join.words import word_of
from service.ingest.memory import Memory, Number, amount, byte, cell, fingerprint, kernel, number, put, put_number
from service.ingest.otlp.columns import (
    ATTRIBUTE_CELLS,
    END,
    FIRST,
    PLAN,
    RESOURCE,
    SCOPE,
    SPAN_CELLS,
    START,
    STATE,
    STATE_BYTES,
    STATUS,
    TEXT,
    TRACE,
    VALUE,
)
from service.ingest.vocabulary import (
    CACHE_READ,
    CACHE_WRITE,
    COST,
    INPUT,
    INPUT_COST,
    OUTPUT,
    OUTPUT_COST,
    REASONING,
    TOTAL,
)

# What a span says.
SAID_HIGH, SAID_LOW, SAID_ID, SAID_PARENT, SAID_START, SAID_END = 0, 1, 2, 3, 4, 5
SAID_READING, SAID_RESOURCE, SAID_TENANT, SAID_NAME_HIGH, SAID_NAME_LOW, SAID_RESPONSE = 6, 7, 8, 9, 10, 11
SAID_FLAGS, SAID_WEIGHT = 12, 13
SAID_NUMBERS = 14
NUMBERS = (INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, REASONING, COST, TOTAL, INPUT_COST, OUTPUT_COST)
"""The numbers that a span may say, in the order of their cells."""
(_INPUT, _OUTPUT, _CACHE_READ, _CACHE_WRITE, _REASONING, _COST, _TOTAL, _INPUT_COST, _OUTPUT_COST) = range(14, 23)
SAID_CELLS = 23

# A plan: the reading of its spans, whether they have failed, how many of their numbers are none; and where in a span's
# attributes its tenant, session, response id and numbers are, -1 for those that it does not say.
PLAN_READING, PLAN_FAILED, PLAN_BAD, PLAN_TENANT, PLAN_NAME, PLAN_RESPONSE, PLAN_NUMBERS = range(7)
PLAN_CELLS = PLAN_NUMBERS + len(NUMBERS)

INCLUDED, APART = 1, 2
"""How parts of usage are told; 0 where a span said nothing of what it spent."""
NATIVE_SCOPE, APART_SCOPE = 1, 2
"""Of a scope: it is an SDK's own; the input tokens of its spans leave out the cache."""
WEIGHT_MAX = 1e6
"""A claimed sampling rate below one in a million is not believed: one span would outweigh a fleet."""
_ERROR = 2
_NAN = float("nan")


class Columns(NamedTuple):
    """The columns of some bodies: see `otlp/columns.py`.

    resource_ids  by row of resources, their number in the lexicon
    scope_kinds   by row of scopes, which of NATIVE_SCOPE and APART_SCOPE it is
    weights       by row of scopes, the weight of its spans, 0.0 if it does not tell
    plans         (plans, PLAN_CELLS)
    said          (spans, SAID_CELLS), to be written; rows of spans without a plan hold what was read of them
    """

    text: Memory
    spans: Memory
    attributes: Memory
    resources: Memory
    scopes: Memory
    resource_ids: Memory
    scope_kinds: Memory
    weights: Memory
    plans: Memory
    said: Memory


@kernel
def read(t: Tables, columns: Columns, spans: Number) -> None:
    """Write what each span says."""
    for i in range(spans):
        _look_ahead(t, columns, i, spans)
        row, said = i * SPAN_CELLS, i * SAID_CELLS
        for column in range(4):
            put(columns.said, said + SAID_HIGH + column, cell(columns.spans, row + TRACE + column))
        put(columns.said, said + SAID_START, cell(columns.spans, row + START))
        put(columns.said, said + SAID_END, cell(columns.spans, row + END))
        plan = cell(columns.spans, row + PLAN)
        if plan >= 0:
            _follow(t, columns, plan * PLAN_CELLS, said, cell(columns.spans, row + FIRST))
        put(columns.said, said + SAID_RESOURCE, cell(columns.resource_ids, cell(columns.spans, row + RESOURCE)))
        flags, scope = cell(columns.said, said + SAID_FLAGS), cell(columns.spans, row + SCOPE)
        if cell(columns.spans, row + STATUS) == _ERROR:
            flags |= FAILED
        known = cell(columns.scope_kinds, scope)
        if known & NATIVE_SCOPE != 0:
            flags |= IS_NATIVE
        if _include_parts(t, columns.said, said, known & APART_SCOPE):
            flags |= SPENT
        size = cell(columns.spans, row + STATE_BYTES)
        weight = sampling_weight(columns.text, cell(columns.spans, row + STATE), size) if size > 0 else 0.0
        if weight == 0.0:
            weight = number(columns.weights, scope)
        if weight > 0.0:
            flags |= IS_WEIGHED
        put_number(columns.said, said + SAID_WEIGHT, weight if weight > 0.0 else 1.0)
        put(columns.said, said + SAID_FLAGS, flags)


@kernel
def _look_ahead(t: Tables, columns: Columns, i: Number, spans: Number) -> None:
    """Wish for the plans of the spans after this one, and for the readings that those name."""
    if i + 8 < spans:
        soon_row(columns.plans, cell(columns.spans, (i + 8) * SPAN_CELLS + PLAN), PLAN_CELLS)
    if i + 4 < spans:
        plan = cell(columns.spans, (i + 4) * SPAN_CELLS + PLAN)
        if plan >= 0:
            soon_row(t.readings, cell(columns.plans, plan * PLAN_CELLS + PLAN_READING), READING_CELLS)


@kernel
def _text_of(columns: Columns, place: Number, first: Number) -> tuple[Number, Number]:
    """Where the text begins that a cell of a plan points to, and its size; no texts are empty but those not there."""
    attribute = cell(columns.plans, place)
    if attribute < 0:
        return 0, 0
    at = (first + attribute) * ATTRIBUTE_CELLS
    return cell(columns.attributes, at + TEXT), cell(columns.attributes, at + VALUE)


@kernel
def _follow(t: Tables, columns: Columns, plan: Number, said: Number, first: Number) -> None:
    """Write what a span's plan says of it."""
    put(columns.said, said + SAID_READING, cell(columns.plans, plan + PLAN_READING))
    put(columns.said, said + SAID_FLAGS, cell(columns.plans, plan + PLAN_FAILED))
    more(t.counts, BAD_NUMBERS, cell(columns.plans, plan + PLAN_BAD))
    for column in range(4):
        put(columns.said, said + SAID_TENANT + column, 0)
    at, size = _text_of(columns, plan + PLAN_TENANT, first)
    if size > 0:
        put(columns.said, said + SAID_TENANT, word_of(t, columns.text, at, size))
    at, size = _text_of(columns, plan + PLAN_NAME, first)
    if size > 0:
        high, low = fingerprint(t.seed, columns.text, at, size)
        put(columns.said, said + SAID_NAME_HIGH, high)
        put(columns.said, said + SAID_NAME_LOW, low)
    at, size = _text_of(columns, plan + PLAN_RESPONSE, first)
    if size > 0:
        high, _ = fingerprint(t.seed, columns.text, at, size)
        put(columns.said, said + SAID_RESPONSE, high)
    for i in range(PLAN_CELLS - PLAN_NUMBERS):
        place = cell(columns.plans, plan + PLAN_NUMBERS + i)
        if place >= 0:
            value = cell(columns.attributes, (first + place) * ATTRIBUTE_CELLS + VALUE)
            put(columns.said, said + SAID_NUMBERS + i, value)
        else:
            put_number(columns.said, said + SAID_NUMBERS + i, _NAN)


@kernel
def _include_parts(t: Tables, said: Memory, row: Number, is_apart: Number) -> Number:
    """Make input include the cache and output include the reasoning, as the conventions have it; whether it spent.

    A sender whose parts exceed the whole reported them apart, as some senders and some scopes always do; and so did one
    whose total is the sum of them all. Google's thoughts may show only in the total; an embedding's input may be the
    total alone.
    """
    reading = cell(said, row + SAID_READING) * READING_CELLS
    apart = cell(t.readings, reading + READING_APART)
    if apart == 0:
        return False
    total = amount(said, row + _TOTAL)
    stated, halves = number(said, row + _COST), (number(said, row + _INPUT_COST), number(said, row + _OUTPUT_COST))
    if stated != stated and (halves[0] == halves[0] or halves[1] == halves[1]):
        stated = amount(said, row + _INPUT_COST) + amount(said, row + _OUTPUT_COST)
        put_number(said, row + _COST, stated)
    whole, output, cached = number(said, row + _INPUT), number(said, row + _OUTPUT), number(said, row + _CACHE_READ)
    if whole != whole and total > 0.0 and cell(t.readings, reading + READING_OPERATION) == OP_EMBEDDING:
        whole = total
    if whole != whole and output != output and cached != cached:
        return stated == stated
    whole = whole if whole == whole else 0.0
    cached = amount(said, row + _CACHE_READ) + amount(said, row + _CACHE_WRITE)
    reasoning, output = amount(said, row + _REASONING), amount(said, row + _OUTPUT)
    unsaid, is_google = total - whole - output, cell(t.readings, reading + READING_IS_GOOGLE) != 0
    told_apart = cached > 0.0 and not is_google and unsaid != reasoning and unsaid in (cached, cached + reasoning)
    if apart == APART or is_apart != 0 or cached > whole or told_apart:
        whole += cached
    put_number(said, row + _INPUT, whole)
    if reasoning == 0.0 and total > whole + output > 0.0 and is_google:
        reasoning = total - whole - output
        output += reasoning
        put_number(said, row + _REASONING, reasoning)
    elif reasoning > 0.0 and (reasoning > output or total == whole + output + reasoning):
        output += reasoning
    put_number(said, row + _OUTPUT, output)
    return True


@kernel
def sampling_weight(text: Memory, at: Number, size: Number) -> Number:
    """1 / sampling probability from the threshold in `ot=th:`; 0.0 where there is none, or an absurd one.

    Source: W3C trace state, OpenTelemetry's probability sampling: T is right-padded to 14 hex digits.

    >>> [sampling_weight(state, 0, len(state)) for state in (b"x=1, ot=rv:0123456789abcd;th:c", b"ot=th:zz")]
    [4.0, 0.0]
    """
    end = at + size
    while at < end:
        stop = at
        while stop < end and byte(text, stop) != 0x2C:
            stop += 1
        last = stop
        while at < last and byte(text, at) <= 0x20:
            at += 1
        while at < last and byte(text, last - 1) <= 0x20:
            last -= 1
        if last - at > 3 and byte(text, at) == 0x6F and byte(text, at + 1) == 0x74 and byte(text, at + 2) == 0x3D:
            weight = _threshold(text, at + 3, last)
            if weight > 0.0:
                return weight
        at = stop + 1
    return 0.0


@kernel
def _threshold(text: Memory, at: Number, end: Number) -> Number:
    """The weight that a `th:` among OpenTelemetry's own values tells; 0.0 for none."""
    while at < end:
        stop = at
        while stop < end and byte(text, stop) != 0x3B:
            stop += 1
        digits = stop - at - 3
        told = byte(text, at) == 0x74 and digits > 0 and byte(text, at + 1) == 0x68 and byte(text, at + 2) == 0x3A
        if told and digits <= 14:
            value = 0
            for i in range(14):
                letter = byte(text, at + 3 + i) if i < digits else 0x30
                digit = letter - 0x30 if letter <= 0x39 else letter - 0x61 + 10
                if digit < 0 or digit > 15 or (letter > 0x39 and letter < 0x61):
                    value = -1
                    break
                value = value << 4 | digit
            if value >= 0:
                left = 2.0**56 - value  # Of the largest thresholds nothing is left, as a double has 53 bits.
                return 2.0**56 / left if left * WEIGHT_MAX >= 2.0**56 else 0.0
        at = stop + 1
    return 0.0
