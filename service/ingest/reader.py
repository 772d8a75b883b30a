"""Columns to what their spans say: by plan where their shape has one, else each by the tables of the dialects."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from service.batch import Dropped
from service.ingest.dialects import APART_SCOPES, NATIVE_SCOPES, WANTED
from service.ingest.join.lexicon import Lexicon
from service.ingest.join.said import (
    APART_SCOPE,
    NATIVE_SCOPE,
    NUMBERS,
    PLAN_CELLS,
    SAID_CELLS,
    SAID_FLAGS,
    SAID_NAME_HIGH,
    SAID_NUMBERS,
    SAID_READING,
    SAID_RESPONSE,
    SAID_TENANT,
)
from service.ingest.join.said import Columns as SpanColumns
from service.ingest.join.store import Cells, Store
from service.ingest.join.tables import BAD_NUMBERS, FAILED, ORIGINS, WORDS
from service.ingest.otlp.columns import (
    FIRST,
    KEYS,
    PARENT,
    PLAN,
    RECORD_BAD_IDS,
    RECORD_BAD_TIMES,
    RECORD_FIRST,
    RECORD_IS_BAD,
    RECORD_LAST,
    RECORD_STOP,
    STOP,
    Columns,
)
from service.ingest.otlp.points import Read
from service.ingest.read import read_resource, read_span
from service.ingest.vocabulary import RESPONSE_ID, SESSION, TENANT, Reading

_ENTRIES = tuple(WANTED.get(key) for key in KEYS)
_NATIVE = tuple(scope.encode() for scope in NATIVE_SCOPES)
_APART = tuple(scope.encode() for scope in APART_SCOPES)
ORIGINS_MAX = 1 << 16
"""Resources and scopes that are known at a time; with more of them all are worked out again."""
_EXTENT = [RECORD_FIRST, RECORD_STOP, RECORD_LAST]
_AMISS = [RECORD_IS_BAD, RECORD_BAD_IDS, RECORD_BAD_TIMES]
_NO_PLANS = np.zeros((1, PLAN_CELLS), np.int64)
EXAMPLES = {
    Dropped.BAD_ID: "a trace id is 16 bytes and a span id 8, not all zero (in JSON 32 and 16 hex digits)",
    Dropped.BAD_TIME: "a time is nanoseconds since 1970, above zero and before the year 2262",
    Dropped.FUTURE: "a span ends after the clock of the receiver",
    Dropped.LATE: "a span ends in a minute that was counted already; it joins its trace, and counts in no rule",
}


@dataclass
class Decoded:
    """What one record holds: its spans, as rows of `said` from `first` to `stop`, the last of which ends at `last_ns`
    (0 if there are none), or its points; and what was left out of it by reason; or why it could not be read.
    """

    said: Cells | None = None
    first: int = 0
    stop: int = 0
    last_ns: int = 0
    dropped: dict[Dropped, int] = field(default_factory=dict)
    read: Read | None = None
    content: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    def drop(self, reason: Dropped, times: int = 1) -> None:
        """Note that so many were left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + times

    def rejected(self) -> tuple[int, str]:
        """How many spans were rejected, and why, for the sender to read."""
        if not self.dropped:
            return 0, ""
        found = {reason: self.dropped[reason] for reason in EXAMPLES if reason in self.dropped}
        return sum(found.values()), "; ".join(f"{n} {reason}: {EXAMPLES[reason]}" for reason, n in found.items())


class Reader:
    """Makes cells of columns; what was said in texts goes to the lexicon."""

    def __init__(self, store: Store, lexicon: Lexicon, policies: Mapping[str, float]) -> None:
        self._store, self._lexicon, self._kernels = store, lexicon, store.kernels
        self._policies = policies
        self._plans = None
        if store.kernels.recognises:
            from service.ingest.plans import Plans  # What it calls is compiled.

            self._plans = Plans(lexicon)

    def forget(self) -> None:
        """Forget all that names the lexicon's numbers."""
        if self._plans is not None:
            self._plans.forget()

    def read(self, columns: Columns) -> list[Decoded]:
        """What each record holds. The columns are needed no longer then."""
        said = np.zeros((len(columns.spans), SAID_CELLS), np.int64)
        bad = self._fill(columns, said) if len(said) else 0
        given = columns.records
        records = [Decoded(said, *extent) for extent in given[:, _EXTENT].tolist()]
        for i in np.flatnonzero(given[:, _AMISS].any(axis=1)).tolist():
            _amiss(records[i], given[i].tolist())
        if records:  # Counted of all records together.
            seen = columns.content
            records[0].content = {KEYS[key]: int(seen[key]) for key in np.flatnonzero(seen).tolist()}
            if bad:
                records[0].drop(Dropped.BAD_NUMBER, bad)
        return records

    def _fill(self, columns: Columns, said: Cells) -> int:
        """Write what the spans say; how many of their numbers were none."""
        store, memory = self._store, self._kernels.memory
        if self._plans is None:
            columns.spans[:, PLAN] = -1
        else:
            self._plans.recognise(columns)
        bad = sum(self._read(columns, said, row) for row in np.flatnonzero(columns.spans[:, PLAN] < 0).tolist())
        resources, scope_kinds, weights = (
            np.zeros(len(rows), np.int64) for rows in (columns.resources, columns.scopes, columns.scopes)
        )
        arrays = (
            np.frombuffer(columns.text, np.uint8), columns.spans, columns.attributes, columns.resources, columns.scopes,
            resources, scope_kinds, weights, _NO_PLANS if self._plans is None else self._plans.rows, said,
        )  # fmt: skip
        given = SpanColumns(*(memory(array) for array in arrays))
        self._find_origins(columns, given, resources, scope_kinds, weights)
        store.room(WORDS, len(said))  # Each may name a tenant that is new.
        store.counts[BAD_NUMBERS] = 0
        self._kernels.read(store.tables, given, len(said))
        return bad + int(store.counts[BAD_NUMBERS])

    def _find_origins(
        self, columns: Columns, given: SpanColumns, resources: Cells, scope_kinds: Cells, weights: Cells
    ) -> None:
        """Find what is known of resources and scopes, and work out those that are new."""
        store, kernels = self._store, self._kernels
        if store.count(ORIGINS) > ORIGINS_MAX:
            store.clear(ORIGINS)
        if not kernels.find_origins(store.tables, given, len(resources), len(scope_kinds)):
            return
        store.room(ORIGINS, len(resources) + len(scope_kinds))
        for row in np.flatnonzero(resources < 0).tolist():
            resources[row] = self._resource(columns, row)
            kernels.learn_origin(store.tables, given, row, False)
        for row in np.flatnonzero(scope_kinds < 0).tolist():
            scope_kinds[row], weights.view(np.float64)[row] = self._scope(columns, row)
            kernels.learn_origin(store.tables, given, row, True)

    def _read(self, columns: Columns, said: Cells, row: int) -> int:
        """Write what a span says by the tables of the dialects; how many of its numbers were none."""
        span = columns.spans[row].tolist()
        name, values = columns.said(span, columns.attributes[span[FIRST] : span[STOP]].tolist())
        found = [(entry, value) for key, value in values if (entry := _ENTRIES[key]) is not None]
        reading = Reading(is_root=not span[PARENT])
        bad, apart = read_span(reading, name, found)
        own, cells = reading.own, said[row]
        cells[SAID_READING] = self._lexicon.reading(reading, apart)
        cells[SAID_FLAGS] = FAILED if reading.failed else 0
        if TENANT in own:
            cells[SAID_TENANT] = self._lexicon.word(str(own[TENANT]))
        if SESSION in own:
            cells[SAID_NAME_HIGH : SAID_NAME_HIGH + 2] = self._lexicon.fingerprint(str(own[SESSION]))
        if RESPONSE_ID in own:
            cells[SAID_RESPONSE] = self._lexicon.fingerprint(str(own[RESPONSE_ID]))[0]
        numbers = cells[SAID_NUMBERS:].view(np.float64)
        numbers[:] = [own.get(field, np.nan) for field in NUMBERS]
        return bad

    def _resource(self, columns: Columns, row: int) -> int:
        first, stop = columns.resources[row].tolist()
        values = columns.values(columns.attributes[first:stop].tolist())
        return self._lexicon.resource(read_resource((KEYS[key], value) for key, value in values))

    def _scope(self, columns: Columns, row: int) -> tuple[int, float]:
        """What a scope is known for (see `said.Columns`), and the weight of its spans, 0.0 if it does not tell."""
        at, size, first, stop = columns.scopes[row].tolist()
        said = columns.values(columns.attributes[first:stop].tolist())
        told = (self._policies[str(name)] for _, name in said if str(name) in self._policies)
        name = columns.text[at : at + size]
        known = NATIVE_SCOPE * name.startswith(_NATIVE) | APART_SCOPE * name.startswith(_APART)
        return known, next(told, 0.0)


def _amiss(decoded: Decoded, record: list[int]) -> None:
    """Note what is wrong with a record."""
    if record[RECORD_IS_BAD]:
        decoded.drop(Dropped.MALFORMED)
        decoded.error = "not an OTLP traces body in protobuf"
        return
    for reason, at in ((Dropped.BAD_ID, RECORD_BAD_IDS), (Dropped.BAD_TIME, RECORD_BAD_TIMES)):
        if record[at]:
            decoded.drop(reason, record[at])
