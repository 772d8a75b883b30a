"""The sessions that ended in a slot, as units of their own."""

from service.ingest.join.labels import FIRST_OPERATION, L_AGENT, L_CELLS, L_OPERATION, L_TENANT, hash_label, label_row
from service.ingest.join.rows import give_back
from service.ingest.join.tables import (
    ENDED,
    ENDED_AGENT,
    ENDED_CELLS,
    ENDED_DOLLARS,
    ENDED_FAILED,
    ENDED_FREE,
    ENDED_NEXT,
    ENDED_OUTCOME,
    ENDED_SECONDS,
    ENDED_TENANT,
    ENDED_UNPRICED,
    ENDED_WEIGHT,
    NOTHING_TO_PRICE,
    OP_SESSION,
    SLOT_CELLS,
    SLOT_ENDED,
    UNIT_CELL,
    UNIT_CELLS,
    UNIT_DOLLARS,
    UNIT_EACH,
    UNIT_FAILED,
    UNIT_FREE,
    UNIT_OUTCOME,
    UNIT_SECONDS,
    UNIT_SOURCE,
    UNIT_UNPRICED,
    UNIT_WEIGHT,
    UNITS,
    UNITS_ROOM,
    Tables,
    more,
)
from service.ingest.memory import Number, cell, kernel, number, put, put_number


@kernel
def list_ended(t: Tables, slot: Number) -> None:
    """Write the units of a slot's sessions after those of its calls, and their rows to the list."""
    ended, n = cell(t.slots, slot * SLOT_CELLS + SLOT_ENDED), 0
    while ended >= 0:
        row = ended * ENDED_CELLS
        for i in range(L_CELLS):
            put(t.scratch, i, 0)
        put(t.scratch, L_TENANT, cell(t.ended, row + ENDED_TENANT))
        put(t.scratch, L_AGENT, cell(t.ended, row + ENDED_AGENT))
        put(t.scratch, L_OPERATION, FIRST_OPERATION + OP_SESSION)
        unit, room = cell(t.counts, UNITS), cell(t.limits, UNITS_ROOM)
        more(t.counts, UNITS, 1)
        for i in range(UNIT_CELLS):
            put_number(t.units, i * room + unit, 0.0)
        put_number(t.units, UNIT_CELL * room + unit, label_row(t, 0, hash_label(t, 0)))
        put_number(t.units, UNIT_WEIGHT * room + unit, number(t.ended, row + ENDED_WEIGHT))
        put_number(t.units, UNIT_EACH * room + unit, number(t.ended, row + ENDED_WEIGHT))
        put_number(t.units, UNIT_FAILED * room + unit, cell(t.ended, row + ENDED_FAILED))
        put_number(t.units, UNIT_DOLLARS * room + unit, number(t.ended, row + ENDED_DOLLARS))
        put_number(t.units, UNIT_UNPRICED * room + unit, cell(t.ended, row + ENDED_UNPRICED))
        put_number(t.units, UNIT_FREE * room + unit, cell(t.ended, row + ENDED_FREE))
        put_number(t.units, UNIT_SECONDS * room + unit, number(t.ended, row + ENDED_SECONDS))
        put_number(t.units, UNIT_OUTCOME * room + unit, cell(t.ended, row + ENDED_OUTCOME))
        put_number(t.units, UNIT_SOURCE * room + unit, NOTHING_TO_PRICE)
        put(t.order, n, ended)
        n += 1
        ended = cell(t.ended, row + ENDED_NEXT)


@kernel
def drop_ended(t: Tables, n: Number) -> None:
    """Forget the sessions on the list: they are counted."""
    for i in range(n):
        give_back(t.heads, ENDED, t.ended, ENDED_CELLS, cell(t.order, i))
