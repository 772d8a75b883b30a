"""Where spans come from: resources and scopes met lately, known by what stands for all that they say."""

from service.ingest.join.rows import MASK, NONE, enter, find, take
from service.ingest.join.said import Columns
from service.ingest.join.tables import ORIGIN_CELLS, ORIGIN_HIGH, ORIGIN_LOW, ORIGIN_NUMBER, ORIGINS, Tables
from service.ingest.memory import Number, cell, fingerprint, kernel, mixed, put
from service.ingest.otlp.columns import ATTRIBUTE_CELLS, HOLDER_CELLS, KEY, KIND, TEXT, TEXT_KIND, VALUE

_OF_SCOPES = 1 << 32
"""What tells a scope from a resource."""


@kernel
def _resource(columns: Columns, row: Number) -> tuple[Number, Number]:
    """What stands for a resource's attributes."""
    first, stop = cell(columns.resources, row * HOLDER_CELLS), cell(columns.resources, row * HOLDER_CELLS + 1)
    high = low = stop - first
    for i in range(first, stop):
        at = i * ATTRIBUTE_CELLS
        kind, value = cell(columns.attributes, at + KIND), cell(columns.attributes, at + VALUE)
        one, two = value, value
        if kind == TEXT_KIND:
            one, two = fingerprint(columns.text, cell(columns.attributes, at + TEXT), value)
        high = mixed(high, cell(columns.attributes, at + KEY) << 8 | kind)
        high = mixed(high, one)
        low = mixed(mixed(low, two), high)
    return high, low


@kernel
def _scope(columns: Columns, row: Number) -> tuple[Number, Number]:
    """What stands for a scope's name."""
    at, size = cell(columns.scopes, row * HOLDER_CELLS), cell(columns.scopes, row * HOLDER_CELLS + 1)
    high, low = fingerprint(columns.text, at, size)
    return mixed(high, _OF_SCOPES), low


@kernel
def _find(t: Tables, high: Number, low: Number) -> Number:
    mask = cell(t.heads, ORIGINS + MASK)
    row = find(t.origin_index, mask, high, t.origins, ORIGIN_CELLS, ORIGIN_HIGH, high, ORIGIN_LOW, low)
    return cell(t.origins, row * ORIGIN_CELLS + ORIGIN_NUMBER) if row >= 0 else NONE


@kernel
def find_origins(t: Tables, columns: Columns, resources: Number, scopes: Number) -> Number:
    """Write the numbers of resources and scopes, -1 where one is new; how many of them are."""
    new = 0
    for row in range(resources):
        high, low = _resource(columns, row)
        number = _find(t, high, low)
        put(columns.resource_ids, row, number)
        new += 1 if number < 0 else 0
    for row in range(scopes):
        high, low = _scope(columns, row)
        number = _find(t, high, low)
        put(columns.natives, row, number)
        new += 1 if number < 0 else 0
    return new


@kernel
def learn_origin(t: Tables, columns: Columns, row: Number, is_scope: Number, number: Number) -> None:
    """Have a resource or a scope of these columns known by its number."""
    high, low = _scope(columns, row) if is_scope else _resource(columns, row)
    if _find(t, high, low) >= 0:
        return
    origin = take(t.heads, ORIGINS, t.origins, ORIGIN_CELLS)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_HIGH, high)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_LOW, low)
    put(t.origins, origin * ORIGIN_CELLS + ORIGIN_NUMBER, number)
    enter(t.origin_index, cell(t.heads, ORIGINS + MASK), high, origin)
