"""Columns to spans: by plan where their shape has one, else each by the tables of the dialects."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from service.batch import Dropped
from service.ingest.dialects import NATIVE_SCOPES, WANTED
from service.ingest.otlp.columns import (
    FIRST,
    KEYS,
    PARENT,
    RECORD_BAD_IDS,
    RECORD_BAD_TIMES,
    RECORD_FIRST,
    RECORD_IS_BAD,
    RECORD_STOP,
    STOP,
    TEXT,
    TRACE,
    VALUE,
    Columns,
)
from service.ingest.otlp.points import Read
from service.ingest.read import include_parts, read_resource, read_span
from service.ingest.vocabulary import Plan, Resource, Scalar, Span

WEIGHT_MAX = 1e6
"""A claimed sampling rate below one in a million is not believed: one span would outweigh a fleet."""
AT_ONCE = 1_024
_ERROR = 2
_ENTRIES = tuple(WANTED.get(key) for key in KEYS)
_NATIVE = tuple(scope.encode() for scope in NATIVE_SCOPES)
EXAMPLES = {
    Dropped.BAD_ID: "a trace id is 16 bytes and a span id 8, not all zero (in JSON 32 and 16 hex digits)",
    Dropped.BAD_TIME: "a time is nanoseconds since 1970, above zero and before the year 2262",
    Dropped.FUTURE: "a span ends after the clock of the receiver",
}


@dataclass
class Decoded:
    """The spans of one record, or its points; and what was left out of it by reason; or why it could not be read."""

    spans: list[Span] = field(default_factory=list)
    dropped: Counter[Dropped] = field(default_factory=Counter)
    read: Read | None = None
    content: Counter[str] = field(default_factory=Counter)
    error: str | None = None

    def rejected(self) -> tuple[int, str]:
        """How many spans were rejected, and why, for the sender to read."""
        found = {reason: self.dropped[reason] for reason in EXAMPLES if self.dropped[reason]}
        return sum(found.values()), "; ".join(f"{n} {reason}: {EXAMPLES[reason]}" for reason, n in found.items())


class Spans:
    """The spans that columns hold, made record by record."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._text = columns.text
        self._plans = columns.plans
        self._records = columns.records.tolist()
        self._stop = 0
        self._resources: dict[int, Resource] = {}
        self._native: dict[int, bool] = {}

    def _list(self, first: int) -> None:
        """Have the rows of the next spans at hand, as lists; all of a large body would take too long at once."""
        rows = self._columns.spans[first : first + AT_ONCE]
        self._first, self._stop = first, first + len(rows)
        self._rows, self._ids = rows.tolist(), rows[:, TRACE : PARENT + 1].tobytes()
        self._first_attribute = self._rows[0][FIRST]
        attributes = self._columns.attributes[self._first_attribute : self._rows[-1][STOP]]
        if self._plans:
            self._values, self._texts = attributes[:, VALUE].tolist(), attributes[:, TEXT].tolist()
            self._numbers = attributes[:, VALUE].view(np.float64).tolist()

    def of_record(self, row: int) -> Decoded:
        """What one of the records that were decoded together holds."""
        record = self._records[row]
        decoded = Decoded()
        if row == 0:  # Counted of all records together.
            seen = self._columns.content
            decoded.content.update({KEYS[key]: int(seen[key]) for key in np.flatnonzero(seen).tolist()})
        if record[RECORD_IS_BAD]:
            decoded.dropped[Dropped.MALFORMED] += 1
            decoded.error = "not an OTLP traces body in protobuf"
            return decoded
        for reason, at in ((Dropped.BAD_ID, RECORD_BAD_IDS), (Dropped.BAD_TIME, RECORD_BAD_TIMES)):
            if record[at]:
                decoded.dropped[reason] += record[at]
        bad = 0
        for number in range(record[RECORD_FIRST], record[RECORD_STOP]):
            if number >= self._stop:
                self._list(number)
            span, bad_numbers = self._span(number)
            bad += bad_numbers
            decoded.spans.append(span)
        if bad:
            decoded.dropped[Dropped.BAD_NUMBER] += bad
        return decoded

    def _span(self, number: int) -> tuple[Span, int]:
        """A span, and how many of its numbers were none."""
        (start_ns, end_ns, status, _, _, _, parent_id, _, _, state_at, state_bytes, resource_row, scope_row, first,
         _, plan_id) = self._rows[number - self._first]  # fmt: skip
        ids, at = self._ids, (number - self._first) * 32
        resource = self._resources.get(resource_row)
        if resource is None:
            resource = self._resources[resource_row] = self._resource(resource_row)
        state = self._text[state_at : state_at + state_bytes].decode(errors="replace") if state_bytes else ""
        weight = sampling_weight(state) if state else 1.0
        parent = ids[at + 24 : at + 32] if parent_id else b""
        span = Span(ids[at : at + 16], ids[at + 16 : at + 24], parent, start_ns, end_ns, weight, resource)
        is_native = self._native.get(scope_row)
        span.is_native = self._is_native(scope_row) if is_native is None else is_native
        if plan_id >= 0 and self._plans:
            plan = self._plans[plan_id]
            self._follow(plan, span, first - self._first_attribute)
            span.failed = plan.failed or status == _ERROR
            return span, plan.bad
        span.failed = status == _ERROR
        return span, self._read(span, number)

    def _follow(self, plan: Plan, span: Span, first: int) -> None:
        """Fill a span with what its plan says."""
        span.operation, span.dialect, span.session_rank = plan.operation, plan.dialect, plan.session_rank
        span.is_log, span.plan = plan.is_log, plan
        own = span.own = plan.own.copy()
        for place, name in plan.numbers:
            own[name] = self._numbers[first + place]
        for place, name in plan.texts:
            at = self._texts[first + place]
            own[name] = self._text[at : at + self._values[first + place]].decode()
        if plan.apart is not None:
            include_parts(span, plan.apart)

    def _read(self, span: Span, number: int) -> int:
        """Fill a span by the tables of the dialects; how many of its numbers were none."""
        row = self._rows[number - self._first]
        name, values = self._columns.said(row, self._columns.attributes[row[FIRST] : row[STOP]].tolist())
        found = [(entry, value) for key, value in values if (entry := _ENTRIES[key]) is not None]
        return read_span(span, name, found)

    def _resource(self, row: int) -> Resource:
        first, stop = self._columns.resources[row].tolist()
        values = tuple(self._columns.values(self._columns.attributes[first:stop].tolist()))
        # Texts alone, as 1 and True are equal and yet not the same label.
        is_text = all(isinstance(value, str) for _, value in values)
        return (_known_resource if is_text else _resource)(values)

    def _is_native(self, row: int) -> bool:
        at, size = self._columns.scopes[row].tolist()
        native = self._native[row] = self._columns.text[at : at + size].startswith(_NATIVE)
        return native


def _resource(values: tuple[tuple[int, Scalar], ...]) -> Resource:
    return read_resource((KEYS[key], value) for key, value in values)


_known_resource = lru_cache(1_024)(_resource)


def sampling_weight(trace_state: str) -> float:
    """1 / sampling probability from the threshold in `ot=th:`; 1.0 where there is none, or an absurd one.

    Source: W3C trace state, OpenTelemetry's probability sampling: T is right-padded to 14 hex digits.

    >>> sampling_weight("x=1,ot=rv:0123456789abcd;th:c"), sampling_weight("ot=th:zz")
    (4.0, 1.0)
    """
    for member in trace_state.split(","):
        vendor, _, value = member.strip().partition("=")
        if vendor != "ot":
            continue
        for part in value.split(";"):
            digits = part[3:] if part.startswith("th:") else ""
            if 1 <= len(digits) <= 14 and all(digit in "0123456789abcdef" for digit in digits):
                weight = 2.0**56 / (2**56 - int(digits.ljust(14, "0"), 16))
                return weight if weight <= WEIGHT_MAX else 1.0
    return 1.0
