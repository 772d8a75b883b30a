"""OTLP traces as columns: what every decoder gives, the compiled scanner and protobuf and JSON alike.

Only what has a meaning is kept: ids, times, names, and the attributes that a dialect wants, in the order they came.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ingest.dialects import CONTENT, RESOURCE_WANTED, WANTED
from service.ingest.vocabulary import Scalar

Cells = NDArray[np.int64]
Value = bytes | int | float | bool
"""An attribute's value as decoders have it: a text is UTF-8, in bytes."""

TIME_MAX_NS = 2**63 - 1
_DOUBLE, _BITS = struct.Struct("<d"), struct.Struct("<q")

POLICY = "tailsampling.policy"
"""The policy that let a trace through, as the Collector's tail sampling writes it into its scopes."""
KEYS = tuple(sorted(WANTED.keys() | RESOURCE_WANTED | set(CONTENT) | {POLICY}))
"""The attribute names that are looked for; a key's id is its place here."""
KEY_IDS = {name: key for key, name in enumerate(KEYS)}
SPAN_KEYS = {name: KEY_IDS[name] for name in WANTED}
LOOKED_FOR = {**SPAN_KEYS, **{name: KEY_IDS[name] for name in CONTENT}}
"""What a decoder hands over of a span's attributes."""
RESOURCE_KEYS = {name: KEY_IDS[name] for name in RESOURCE_WANTED}
SCOPE_KEYS = {POLICY: KEY_IDS[POLICY]}
CONTENT_KEYS = {name: KEY_IDS[name] for name in CONTENT}
ON_SPAN, ON_RESOURCE, IS_CONTENT, ON_SCOPE = 1, 2, 4, 8
"""Where a key is wanted; or that it holds what was said, and is only counted."""
ROLES = tuple(
    (key in SPAN_KEYS) * ON_SPAN
    + (key in RESOURCE_KEYS) * ON_RESOURCE
    + (key in CONTENT_KEYS) * IS_CONTENT
    + (key in SCOPE_KEYS) * ON_SCOPE
    for key in KEYS
)

# Columns of a span.
START, END, STATUS, TRACE, SPAN_ID, PARENT = 0, 1, 2, 3, 5, 6
NAME, NAME_BYTES, STATE, STATE_BYTES = 7, 8, 9, 10
RESOURCE, SCOPE, FIRST, STOP, PLAN = 11, 12, 13, 14, 15
SPAN_CELLS = 16
# Columns of an attribute, and the kinds that its value may be of; the numbers are those of AnyValue's fields.
KEY, KIND, VALUE, TEXT = 0, 1, 2, 3
ATTRIBUTE_CELLS = 4
TEXT_KIND, BOOL_KIND, INT_KIND, DOUBLE_KIND = 1, 2, 3, 4
# Columns of a resource: its attributes. Of a scope: its name, and its attributes.
RESOURCE_FIRST, RESOURCE_STOP = 0, 1
RESOURCE_CELLS = 2
SCOPE_NAME, SCOPE_BYTES, SCOPE_FIRST, SCOPE_STOP = 0, 1, 2, 3
SCOPE_CELLS = 4
# Columns of a record.
RECORD_END, RECORD_IS_BAD, RECORD_FIRST, RECORD_STOP = 0, 1, 2, 3
RECORD_BAD_IDS, RECORD_BAD_TIMES, RECORD_LAST = 4, 5, 6
RECORD_CELLS = 7


@dataclass(frozen=True, eq=False)
class Columns:
    """The spans of some records, in the order they came.

    text        bytes that the columns point into, by offset and size; UTF-8 if the sender was right
    records     (r, 7) int64  end in `text`; whether it is no OTLP, and then has no spans; its first span, and that of
                              the next; how many of its spans had no good ids, or no good times: those have no rows;
                              when the last of its spans ends, 0 if there are none
    spans       (n, 16) int64 start and end, ns; status code; trace id (two cells), span id and parent id, their bytes
                              read as little-endian, no parent being 0; name and trace state (offset, size); resource
                              and scope (rows); attributes (first row, and that of the next); plan, for `plans` to write
    resources   (m, 2) int64  attributes (first row, and that after the last); of those that have spans
    scopes      (k, 4) int64  name (offset, size); attributes, as a resource's; of those that have spans
    attributes  (a, 4) int64  key, index into KEYS; kind; value: an integer, a bool, a double's bits or a text's size;
                              offset of a text. Values that are empty or no scalar are left out
    content     (KEYS,) int64 texts of spans that were seen under a key that holds what was said

    The arrays may be views of a decoder's own memory: they are good until it decodes again.
    """

    text: bytes
    records: Cells
    spans: Cells
    resources: Cells
    scopes: Cells
    attributes: Cells
    content: Cells

    def values(self, rows: Iterable[Sequence[int]]) -> Iterator[tuple[int, Scalar]]:
        """Keys and values of some rows of attributes."""
        for key, kind, value, at in rows:
            if kind == TEXT_KIND:
                yield key, self.text[at : at + value].decode(errors="replace")
            elif kind == DOUBLE_KIND:
                yield key, _DOUBLE.unpack(_BITS.pack(value))[0]
            else:
                yield key, bool(value) if kind == BOOL_KIND else value

    def said(
        self, span: Sequence[int], attributes: Sequence[Sequence[int]]
    ) -> tuple[Callable[[], str], list[tuple[int, Scalar]]]:
        """What a span's row and its attributes' rows say: its name, decoded once it is asked for, and its values."""

        def name() -> str:
            return self.text[span[NAME] : span[NAME] + span[NAME_BYTES]].decode(errors="replace")

        return name, list(self.values(attributes))


class Gatherer:
    """Columns of one body, gathered span by span by a decoder that has objects. Rows are as the scanner writes them."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._spans: list[tuple[int, ...]] = []
        self._resources: list[tuple[int, int]] = []
        self._scopes: list[tuple[int, int, int, int]] = []
        self._attributes: list[tuple[int, int, int, int]] = []
        self.content = np.zeros(len(KEYS), np.int64)
        self._bad_ids = self._bad_times = 0
        self._before = (0, 0)  # Spans and attributes before the present resource.
        self._before_scope = (0, 0)

    def begin_resource(self, attributes: Iterable[tuple[int, Value]]) -> None:
        """The spans that follow are of a resource with these attributes."""
        self._before = len(self._spans), len(self._attributes)
        first = len(self._attributes)
        self._keep(attributes)
        self._resources.append((first, len(self._attributes)))

    def end_resource(self) -> None:
        """No more spans are of it."""
        if len(self._spans) == self._before[0]:
            self._resources.pop()
            del self._attributes[self._before[1] :]

    def begin_scope(self, name: bytes, attributes: Iterable[tuple[int, Value]]) -> None:
        """The spans that follow are of a scope of this name, with these attributes."""
        self._before_scope = len(self._spans), len(self._attributes)
        first = len(self._attributes)
        self._keep(attributes)
        self._scopes.append((*self._point_to(name), first, len(self._attributes)))

    def end_scope(self) -> None:
        """No more spans are of it."""
        if len(self._spans) == self._before_scope[0]:
            self._scopes.pop()
            del self._attributes[self._before_scope[1] :]

    def add(
        self, ids: tuple[bytes, bytes, bytes], times: tuple[int, int], status: int, name: bytes, state: bytes,
        attributes: Iterable[tuple[int, Value]],
    ) -> None:  # fmt: skip
        """A span: its trace, own and parent id; its start and end."""
        trace_id, span_id, parent_id = ids
        if len(trace_id) != 16 or len(span_id) != 8 or trace_id == bytes(16) or span_id == bytes(8):
            self._bad_ids += 1
            return
        if not (0 < times[0] <= TIME_MAX_NS and 0 < times[1] <= TIME_MAX_NS):
            self._bad_times += 1
            return
        first = len(self._attributes)
        self._keep(attributes)
        cells = (trace_id[:8], trace_id[8:], span_id, parent_id if len(parent_id) == 8 else b"")
        self._spans.append(
            (*times, status, *(int.from_bytes(each, "little", signed=True) for each in cells),
             *self._point_to(name), *self._point_to(state), len(self._resources) - 1, len(self._scopes) - 1,
             first, len(self._attributes), 0)
        )  # fmt: skip

    def _keep(self, attributes: Iterable[tuple[int, Value]]) -> None:
        text, rows = self._text, self._attributes
        for key, value in attributes:
            if ROLES[key] == IS_CONTENT:
                self.content[key] += isinstance(value, bytes) and len(value) > 0
            elif isinstance(value, bytes):
                if value:
                    rows.append((key, TEXT_KIND, len(value), len(text)))
                    text += value
            elif isinstance(value, float):
                rows.append((key, DOUBLE_KIND, _BITS.unpack(_DOUBLE.pack(value))[0], 0))
            else:
                rows.append((key, BOOL_KIND if isinstance(value, bool) else INT_KIND, value, 0))

    def _point_to(self, text: bytes) -> tuple[int, int]:
        at = len(self._text)
        self._text += text
        return at, len(text)

    def columns(self) -> Columns:
        """What was gathered, as the one record it came from."""
        last_ns = max((span[END] for span in self._spans), default=0)
        record = (len(self._text), 0, 0, len(self._spans), self._bad_ids, self._bad_times, last_ns)
        return Columns(
            bytes(self._text),
            np.array([record], np.int64),
            np.array(self._spans, np.int64).reshape(-1, SPAN_CELLS),
            np.array(self._resources, np.int64).reshape(-1, RESOURCE_CELLS),
            np.array(self._scopes, np.int64).reshape(-1, SCOPE_CELLS),
            np.array(self._attributes, np.int64).reshape(-1, ATTRIBUTE_CELLS),
            self.content,
        )


def joined(parts: Sequence[Columns]) -> Columns:
    """Columns of records one after the other, as one."""
    if len(parts) == 1:
        return parts[0]
    text = b"".join(part.text for part in parts)
    at = spans_at = resources_at = scopes_at = attributes_at = 0
    for part in parts:
        part.records[:, [RECORD_END]] += at
        part.records[:, [RECORD_FIRST, RECORD_STOP]] += spans_at
        part.spans[:, [NAME, STATE]] += at
        part.spans[:, RESOURCE] += resources_at
        part.spans[:, SCOPE] += scopes_at
        part.spans[:, [FIRST, STOP]] += attributes_at
        part.resources[:] += attributes_at
        part.scopes[:, SCOPE_NAME] += at
        part.scopes[:, [SCOPE_FIRST, SCOPE_STOP]] += attributes_at
        part.attributes[:, TEXT] += at
        at += len(part.text)
        spans_at, resources_at = spans_at + len(part.spans), resources_at + len(part.resources)
        scopes_at, attributes_at = scopes_at + len(part.scopes), attributes_at + len(part.attributes)
    return Columns(
        text,
        np.concatenate([part.records for part in parts]),
        np.concatenate([part.spans for part in parts]),
        np.concatenate([part.resources for part in parts]),
        np.concatenate([part.scopes for part in parts]),
        np.concatenate([part.attributes for part in parts]),
        np.sum([part.content for part in parts], axis=0),
    )
