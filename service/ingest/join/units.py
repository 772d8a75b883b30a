"""What a call comes to: its tokens, its dollars, and the unit that is written of it."""

from service.ingest.join.prices import dollars_of, said_number
from service.ingest.join.tables import (
    FAILED,
    FREE_OF_CHARGE,
    NOTHING_TO_PRICE,
    READING_IS_CUT,
    SOURCES,
    SPAN_CELLS,
    SPAN_START,
    SPAN_WEIGHT,
    STATED_ON_SPAN,
    TRACE_CELLS,
    TRACE_DOLLARS,
    TRACE_FREE,
    TRACE_TOKENS,
    TRACE_UNPRICED,
    UNIT_CACHE_READ,
    UNIT_CACHE_WRITE,
    UNIT_CELL,
    UNIT_DOLLARS,
    UNIT_EACH,
    UNIT_FAILED,
    UNIT_FREE,
    UNIT_INPUT,
    UNIT_IS_CUT,
    UNIT_OUTCOME,
    UNIT_OUTPUT,
    UNIT_REASONING,
    UNIT_SECONDS,
    UNIT_SOURCE,
    UNIT_UNPRICED,
    UNIT_WEIGHT,
    UNITS,
    UNITS_ROOM,
    UNPRICED,
    WAIT_CACHE_READ,
    WAIT_CACHE_WRITE,
    WAIT_CELLS,
    WAIT_COST,
    WAIT_END,
    WAIT_INPUT,
    WAIT_OUTPUT,
    WAIT_REASONING,
    WEIGHTED,
    Tables,
    has,
    more,
    of_reading,
    of_span,
    of_wait,
)
from service.ingest.memory import Number, cell, kernel, number, put_number

SECOND_NS = 1e9
_NAN = float("nan")


@kernel
def tokens_of(t: Tables, wait: Number) -> Number:
    return said_number(t, wait, WAIT_INPUT) + said_number(t, wait, WAIT_OUTPUT)


@kernel
def spend(t: Tables, trace: Number, wait: Number, dollars: Number, source: Number) -> None:
    """Add what a call cost to what its session will have cost."""
    at = trace * TRACE_CELLS
    put_number(t.traces, at + TRACE_DOLLARS, number(t.traces, at + TRACE_DOLLARS) + dollars)
    put_number(t.traces, at + TRACE_TOKENS, number(t.traces, at + TRACE_TOKENS) + tokens_of(t, wait))
    more(t.traces, at + TRACE_UNPRICED, 1 if source == UNPRICED else 0)
    more(t.traces, at + TRACE_FREE, 1 if source == FREE_OF_CHARGE else 0)
    more(t.counts, SOURCES + source, 1)


@kernel
def write_unit(
    t: Tables, span: Number, wait: Number, counts: Number, usage: Number, dollars: Number, source: Number,
    labels: Number,
) -> None:  # fmt: skip
    """Write a call's unit."""
    weight = number(t.spans, span * SPAN_CELLS + SPAN_WEIGHT)
    if weight != 1.0:
        more(t.counts, WEIGHTED, 1)
    unit, room = cell(t.counts, UNITS), cell(t.limits, UNITS_ROOM)
    more(t.counts, UNITS, 1)
    lasted_ns = of_wait(t, wait, WAIT_END) - of_span(t, span, SPAN_START)
    put_number(t.units, UNIT_CELL * room + unit, labels)
    put_number(t.units, UNIT_WEIGHT * room + unit, weight if counts else 0.0)
    put_number(t.units, UNIT_FAILED * room + unit, 1.0 if has(t, span, FAILED) != 0 else 0.0)
    put_number(t.units, UNIT_INPUT * room + unit, said_number(t, wait, WAIT_INPUT) * weight if usage else 0.0)
    put_number(t.units, UNIT_OUTPUT * room + unit, said_number(t, wait, WAIT_OUTPUT) * weight if usage else 0.0)
    put_number(t.units, UNIT_DOLLARS * room + unit, dollars * weight)
    put_number(t.units, UNIT_UNPRICED * room + unit, 1.0 if source == UNPRICED else 0.0)
    put_number(t.units, UNIT_FREE * room + unit, 1.0 if source == FREE_OF_CHARGE else 0.0)
    put_number(t.units, UNIT_SECONDS * room + unit, lasted_ns / SECOND_NS if lasted_ns >= 0 else _NAN)
    put_number(t.units, UNIT_OUTCOME * room + unit, -1.0)
    put_number(t.units, UNIT_SOURCE * room + unit, source)
    put_number(t.units, UNIT_CACHE_READ * room + unit, said_number(t, wait, WAIT_CACHE_READ) if usage else 0.0)
    put_number(t.units, UNIT_CACHE_WRITE * room + unit, said_number(t, wait, WAIT_CACHE_WRITE) if usage else 0.0)
    put_number(t.units, UNIT_REASONING * room + unit, said_number(t, wait, WAIT_REASONING) if usage else 0.0)
    put_number(t.units, UNIT_EACH * room + unit, weight)
    put_number(t.units, UNIT_IS_CUT * room + unit, of_reading(t, span, READING_IS_CUT))


@kernel
def cost_of(t: Tables, wait: Number, price: Number) -> tuple[Number, Number]:
    """Dollars of a call and where they come from: as stated, else by price."""
    stated = number(t.waits, wait * WAIT_CELLS + WAIT_COST)
    if stated > 0.0:
        return stated, STATED_ON_SPAN
    if stated == 0.0 and tokens_of(t, wait) > 0.0:
        return 0.0, FREE_OF_CHARGE
    if price < 0:
        return 0.0, NOTHING_TO_PRICE
    return dollars_of(t, wait, price)
