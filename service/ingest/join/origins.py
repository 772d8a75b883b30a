"""Where spans come from: resources and scopes met lately, known by what stands for all that they say."""

from service.ingest.join.rows import MASK, NONE, enter, find, take
from service.ingest.join.said import Columns
from service.ingest.join.tables import (
    ORIGIN_CELLS,
    ORIGIN_HIGH,
    ORIGIN_LOW,
    ORIGIN_NUMBER,
    ORIGIN_WEIGHT,
    ORIGINS,
    Tables,
)
from service.ingest.memory import Number, cell, fingerprint, kernel, mixed, put
from service.ingest.otlp.columns import (
    ATTRIBUTE_CELLS,
    KEY,
    KIND,
    RESOURCE_CELLS,
    RESOURCE_FIRST,
    RESOURCE_STOP,
    SCOPE_BYTES,
    SCOPE_CELLS,
    SCOPE_FIRST,
    SCOPE_NAME,
    SCOPE_STOP,
    TEXT,
    TEXT_KIND,
    VALUE,
)

_OF_SCOPES = 1 << 32
"""What tells a scope from a resource."""


@kernel
def _attributes(t: Tables, columns: Columns, first: Number, stop: Number) -> tuple[Number, Number]:
    """What stands for some attributes."""
    high = low = stop - first
    for i in range(first, stop):
        at = i * ATTRIBUTE_CELLS
        kind, value = cell(columns.attributes, at + KIND), cell(columns.attributes, at + VALUE)
        one, two = value, value
        if kind == TEXT_KIND:
            one, two = fingerprint(t.seed, columns.text, cell(columns.attributes, at + TEXT), value)
        high = mixed(high, cell(columns.attributes, at + KEY) << 8 | kind)
        high = mixed(high, one)
        low = mixed(mixed(low, two), high)
    return high, low


@kernel
def _resource(t: Tables, columns: Columns, row: Number) -> tuple[Number, Number]:
    """What stands for a resource."""
    at = row * RESOURCE_CELLS
    return _attributes(
        t, columns, cell(columns.resources, at + RESOURCE_FIRST), cell(columns.resources, at + RESOURCE_STOP)
    )


@kernel
def _scope(t: Tables, columns: Columns, row: Number) -> tuple[Number, Number]:
    """What stands for a scope's name and attributes."""
    at = row * SCOPE_CELLS
    name, size = cell(columns.scopes, at + SCOPE_NAME), cell(columns.scopes, at + SCOPE_BYTES)
    high, low = fingerprint(t.seed, columns.text, name, size)
    one, two = _attributes(t, columns, cell(columns.scopes, at + SCOPE_FIRST), cell(columns.scopes, at + SCOPE_STOP))
    return mixed(mixed(high, one), _OF_SCOPES), mixed(low, two)


@kernel
def _find(t: Tables, high: Number, low: Number) -> Number:
    """Its row among those that were met, -1 if it is new."""
    mask = cell(t.heads, ORIGINS + MASK)
    return find(t.origin_index, mask, high, t.origins, ORIGIN_CELLS, ORIGIN_HIGH, high, ORIGIN_LOW, low)


@kernel
def find_origins(t: Tables, columns: Columns, resources: Number, scopes: Number) -> Number:
    """Write what is known of resources and scopes, NONE where one is new; how many of them are."""
    new = 0
    for row in range(resources):
        high, low = _resource(t, columns, row)
        origin = _find(t, high, low)
        put(columns.resource_ids, row, cell(t.origins, origin * ORIGIN_CELLS + ORIGIN_NUMBER) if origin >= 0 else NONE)
        new += 1 if origin < 0 else 0
    for row in range(scopes):
        high, low = _scope(t, columns, row)
        origin = _find(t, high, low)
        put(columns.scope_kinds, row, cell(t.origins, origin * ORIGIN_CELLS + ORIGIN_NUMBER) if origin >= 0 else NONE)
        put(columns.weights, row, cell(t.origins, origin * ORIGIN_CELLS + ORIGIN_WEIGHT) if origin >= 0 else NONE)
        new += 1 if origin < 0 else 0
    return new


@kernel
def learn_origin(t: Tables, columns: Columns, row: Number, is_scope: Number) -> None:
    """Have a resource or a scope known by what the columns now say of it."""
    high, low = _scope(t, columns, row) if is_scope else _resource(t, columns, row)
    if _find(t, high, low) >= 0:
        return
    origin = take(t.heads, ORIGINS, t.origins, ORIGIN_CELLS)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_HIGH, high)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_LOW, low)
    number = cell(columns.scope_kinds, row) if is_scope else cell(columns.resource_ids, row)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_NUMBER, number)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_WEIGHT, cell(columns.weights, row) if is_scope else 0)
    enter(t.origin_index, cell(t.heads, ORIGINS + MASK), high, origin)
