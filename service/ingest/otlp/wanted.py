"""OTLP traces as columns: which attributes are kept, and how a decoder that has objects fills columns.

Only what has a meaning is kept: ids, times, names, and the attributes that a dialect wants, in the order they came.
"""

import re
from collections.abc import Iterable

from service.ingest.dialects import CONTENT, EXCEPTION, HASHED, RESOURCE_WANTED, STATUS, WANTED
from service.ingest.failures import WORDS
from service.ingest.kernel.columns import Columns, text_number
from service.ingest.kernel.constants import (
    BOOL_KIND,
    DOUBLE_KIND,
    INT_KIND,
    IS_CONTENT,
    IS_HASHED_TEXT,
    IS_LIST,
    IS_OWN,
    IS_STATUS,
    ON_EVENT,
    ON_RESOURCE,
    ON_SCOPE,
    ON_SPAN,
    ON_STATUS,
    STATUS_ERROR,
    STATUS_WORD_BYTES_MAX,
    TEXT_KIND,
)

Value = bytes | int | float | bool
"""An attribute's value as decoders have it: a text is UTF-8, in bytes."""

TIME_MAX_NS = 2**63 - 1

REMOTE_KINDS, PARENT_IS_REMOTE = (2, 5), 0x300
"""Kinds of spans (server, consumer), and flags, that say that a span's parent is of another process."""
EVALUATION_EVENT = "gen_ai.evaluation.result"
"""The name of an event, a log record or one of a span, that tells an evaluation (also in `kernel/attributes.pxd`)."""
EVALUATION = EVALUATION_EVENT.encode()
FINISH_REASONS = "gen_ai.response.finish_reasons"
"""A list, by the conventions: its first text is read."""
POLICY = "tailsampling.policy"
"""The policy that let a trace through, as the Collector's tail sampling writes it into its scopes."""
OWN_MARK = "tocsin.writeback"
"""An attribute of the resource of all that Tocsin writes back: what has it is never read as traffic."""
KEYS = tuple(sorted(WANTED.keys() | RESOURCE_WANTED | set(CONTENT) | {POLICY, OWN_MARK} | set(WORDS)))
"""The attribute names that are looked for; a key's id is its place here."""
KEY_IDS = {name: key for key, name in enumerate(KEYS)}
SPAN_KEYS = {name: KEY_IDS[name] for name in WANTED if name != STATUS}
LOOKED_FOR = {**SPAN_KEYS, **{name: KEY_IDS[name] for name in CONTENT}}
"""What a decoder hands over of a span's attributes."""
RESOURCE_KEYS = {name: KEY_IDS[name] for name in (*sorted(RESOURCE_WANTED), OWN_MARK)}
SCOPE_KEYS = {POLICY: KEY_IDS[POLICY]}
EVENT_KEYS = {EXCEPTION: KEY_IDS[EXCEPTION]}
CONTENT_KEYS = {name: KEY_IDS[name] for name in CONTENT}
ROLES = tuple(
    (key in SPAN_KEYS) * ON_SPAN
    + (key in RESOURCE_KEYS) * ON_RESOURCE
    + (key in CONTENT_KEYS) * IS_CONTENT
    + (key in HASHED) * IS_HASHED_TEXT
    + (key in SCOPE_KEYS) * ON_SCOPE
    + (key in EVENT_KEYS) * ON_EVENT
    + (key == STATUS) * ON_STATUS
    + (key in WORDS) * IS_STATUS
    + (key == FINISH_REASONS) * IS_LIST
    + (key == OWN_MARK) * IS_OWN
    for key in KEYS
)
"""Where each key is wanted; or that it holds what was said, and is only counted."""
_OWN_KEY = KEY_IDS[OWN_MARK]
_RAW_KEYS, _ROLES = [key.encode() for key in KEYS], list(ROLES)


_WORDS = frozenset(word.encode() for word in WORDS)
_TYPE = re.compile(rb"([A-Za-z._]{0,%d})(?=[:(]|\Z)" % STATUS_WORD_BYTES_MAX)


def status_word(message: bytes) -> bytes:
    """What is kept of a failed span's status: all of it if it is known, or a first word that may be a type.

    >>> status_word(b"ValueError: no order 42"), status_word(b"no order 42")
    (b'ValueError', b'')
    """
    if message in _WORDS:
        return message
    match = _TYPE.match(message)
    return match[1] if match is not None else b""


def new_columns() -> Columns:
    """Columns that keep what is wanted."""
    return Columns(_RAW_KEYS, _ROLES)


class Gatherer:
    """Columns of some bodies, gathered span by span by a decoder that has objects. Rows are as the scanner writes them.

    A record begins with the first of its spans and ends with `end_record`.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._records: list[tuple[int, ...]] = []
        self._spans: list[tuple[int, ...]] = []
        self._resources: list[tuple[int, int]] = []
        self._scopes: list[tuple[int, int, int, int]] = []
        self._attributes: list[tuple[int, int, int | float, int]] = []
        self._content: dict[int, int] = {}
        self._begin_record()

    def _begin_record(self) -> None:
        self._first_span = len(self._spans)
        self._bad_ids = self._bad_times = self._last_ns = self._own = self._judged = 0

    def end_record(self, is_bad: bool) -> None:
        """No more spans are of this record; one that is bad has none."""
        end, first, stop = len(self._text), self._first_span, len(self._spans)
        bad = self._bad_ids, self._bad_times
        self._records.append((end, int(is_bad), first, stop, *bad, self._last_ns, self._own, self._judged))
        self._begin_record()

    def begin_resource(self, attributes: Iterable[tuple[int, Value]]) -> None:
        """The spans that follow are of a resource with these attributes."""
        self._before_resource = len(self._spans), len(self._attributes), len(self._scopes), self._last_ns
        first = len(self._attributes)
        self._keep(attributes)
        self._resources.append((first, len(self._attributes)))

    def end_resource(self) -> None:
        """No more spans are of it."""
        spans, attributes, scopes, last_ns = self._before_resource
        first, stop = self._resources[-1]
        if any(key == _OWN_KEY for key, *_ in self._attributes[first:stop]):
            self._own += len(self._spans) - spans
            self._last_ns = last_ns
            del self._spans[spans:], self._scopes[scopes:]
        if len(self._spans) == spans:
            self._resources.pop()
            del self._attributes[attributes:]

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
        self, ids: tuple[bytes, bytes, bytes], times: tuple[int, int], status: tuple[int, bytes], is_remote: bool,
        name: bytes, state: bytes, attributes: Iterable[tuple[int, Value]], raised: Iterable[tuple[int, Value]],
        events: Iterable[bytes],
    ) -> None:  # fmt: skip
        """A span: its trace, own and parent id; its start and end; its status; and its events' exceptions and names."""
        trace_id, span_id, parent_id = ids
        self._judged += sum(event == EVALUATION for event in events)
        if len(trace_id) != 16 or len(span_id) != 8 or trace_id == bytes(16) or span_id == bytes(8):
            self._bad_ids += 1
            return
        if not (0 < times[0] <= TIME_MAX_NS and 0 < times[1] <= TIME_MAX_NS):
            self._bad_times += 1
            return
        first = len(self._attributes)
        self._keep(attributes)
        # An empty text says nothing, so it takes no other one's place.
        self._keep([said for said in raised if said[1] != b""][-1:])
        if status[0] == STATUS_ERROR and (word := status_word(status[1])):
            self._keep([(KEY_IDS[STATUS], word)])
        parts = (trace_id[:8], trace_id[8:], span_id, parent_id if len(parent_id) == 8 else b"")
        self._spans.append(
            (*times, *(int.from_bytes(part, "little") for part in parts), *self._point_to(name),
             *self._point_to(state), len(self._resources) - 1, len(self._scopes) - 1, first, len(self._attributes),
             status[0], is_remote)
        )  # fmt: skip
        self._last_ns = max(self._last_ns, times[1])

    def _keep(self, attributes: Iterable[tuple[int, Value]]) -> None:
        text, rows = self._text, self._attributes
        for key, value in attributes:
            if ROLES[key] & (IS_CONTENT | IS_HASHED_TEXT):
                if not (isinstance(value, bytes) and value):
                    continue
                if ROLES[key] & IS_CONTENT:
                    self._content[key] = self._content.get(key, 0) + 1
                if ROLES[key] & IS_HASHED_TEXT:
                    rows.append((key, DOUBLE_KIND, text_number(value), 0))
            elif isinstance(value, bytes):
                if value:
                    rows.append((key, TEXT_KIND, len(value), len(text)))
                    text += value
            elif isinstance(value, float):
                rows.append((key, DOUBLE_KIND, value, 0))
            else:
                rows.append((key, BOOL_KIND if isinstance(value, bool) else INT_KIND, int(value), 0))

    def _point_to(self, text: bytes) -> tuple[int, int]:
        at = len(self._text)
        self._text += text
        return at, len(text)

    def columns(self) -> Columns:
        """What was gathered."""
        columns = new_columns()
        columns.fill(
            bytes(self._text),
            self._records,
            self._spans,
            self._resources,
            self._scopes,
            self._attributes,
            self._content,
        )
        return columns
