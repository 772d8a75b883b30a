"""Two accounts of one call in unrelated traces: an SDK's own span beside that of an instrumentation.

Within a trace the tree tells (see `resolve`). Across traces the response id does; where there is none, as of a failed
call, the SDK's span lies within the other's time, from the same process, of the same model and tokens. Each span is
joined once, so parallel calls stay as many as they are. The instrumentation's span is the one that counts, as it knows
the agent; only if it comes a slot later has the SDK's been counted already.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from detectors.core.columns import SECOND_NS
from service.ingest.vocabulary import (
    CACHE_READ,
    CACHE_WRITE,
    COST,
    INPUT,
    MODEL_OPERATIONS,
    OUTPUT,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_ID,
    RESPONSE_MODEL,
    Own,
    Resource,
    Span,
)

REMEMBERED_NS = 30 * SECOND_NS
"""How long the other account of a call that was counted may come after it."""
ALONE_MAX = 10_000
LOOKED_AT_MAX = 64
"""Of so many that are alike, one that ended about then is the one."""
_PARTS = (CACHE_READ, CACHE_WRITE, REASONING, COST)


class Account(NamedTuple):
    """What two accounts of one call agree on, and the span itself where it is still at hand."""

    resource: Resource
    failed: bool
    input_tokens: float | str | None
    start_ns: int
    end_ns: int
    response_id: str
    models: tuple[str, ...]
    span: Span | None = None


Key = tuple[Resource, bool, float | str | None]


class Twins:
    """Joins the accounts of one call, and remembers for a while those of SDKs that found no other."""

    def __init__(self) -> None:
        self._alone: dict[Key, deque[Account]] = {}
        self._by_id: dict[str, Account] = {}

    def pair(self, spans: Sequence[Span], start_ns: int) -> None:
        """Mark what is told twice among the spans of a slot, which come in the order in which they ended.

        Those of SDKs are roots, or their trace would have joined them.
        """
        natives = [span for span in spans if span.is_native and not span.parent_id and _is_open(span)]
        if not (natives or self._alone):
            return
        others = [_account(span) for span in spans if not span.is_native and _is_open(span)]
        self._forget(start_ns - REMEMBERED_NS)
        others = [other for other in others if not self._was_counted(other)]
        by_id = {other.response_id: other for other in others if other.response_id}
        by_key: dict[Key, deque[Account]] = {}
        used: set[int] = set()
        for other in others:
            by_key.setdefault(_key(other), deque()).append(other)
        for native in map(_account, natives):
            told = by_id.pop(native.response_id, None) or _enclosing(by_key.get(_key(native)), used, native)
            if told is None:
                self._remember(native)
            elif told.span is not None and native.span is not None:
                used.add(id(told.span))
                native.span.covered = native.span.usage_below = True
                _hand_over(native.span, told.span)

    def _was_counted(self, other: Account) -> bool:
        """Whether an SDK's account of the same call was counted in an earlier slot; it is forgotten then."""
        native = self._by_id.get(other.response_id) or _enclosed(self._alone.get(_key(other), ()), other)
        if native is None or other.span is None:
            return False
        with suppress(ValueError):  # A full row of those alike has let it go.
            self._alone[_key(native)].remove(native)
        self._by_id.pop(native.response_id, None)
        other.span.covered = other.span.usage_below = True
        return True

    def _remember(self, native: Account) -> None:
        if len(self._by_id) + len(self._alone) >= ALONE_MAX:
            return
        native = native._replace(span=None)
        self._alone.setdefault(_key(native), deque(maxlen=LOOKED_AT_MAX)).append(native)
        if native.response_id:
            self._by_id[native.response_id] = native

    def _forget(self, before_ns: int) -> None:
        kept = [each for alike in self._alone.values() for each in alike if each.end_ns >= before_ns]
        self._alone, self._by_id = {}, {}
        for each in kept:
            self._remember(each)

    def state(self) -> list[list[Any]]:
        """What `resume` takes, fit for JSON."""
        return [list(each[:-1]) for alike in self._alone.values() for each in alike]

    @classmethod
    def resume(cls, state: Iterable[Sequence[Any]]) -> "Twins":
        """What `state` was taken of."""
        twins = cls()
        for resource, failed, tokens, start_ns, end_ns, response_id, models in state:
            twins._remember(Account(Resource(*resource), failed, tokens, start_ns, end_ns, response_id, tuple(models)))
        return twins


def _is_open(span: Span) -> bool:
    return span.operation in MODEL_OPERATIONS and not span.covered and not span.is_log


def _account(span: Span) -> Account:
    own = span.own
    models = tuple(str(own[field]) for field in (REQUEST_MODEL, RESPONSE_MODEL) if field in own)
    return Account(
        span.resource,
        span.failed,
        own.get(INPUT),
        span.start_ns,
        span.end_ns,
        str(own.get(RESPONSE_ID, "")),
        models,
        span,
    )


def _key(account: Account) -> Key:
    return account[:3]


def _enclosing(alike: deque[Account] | None, used: set[int], native: Account) -> Account | None:
    """The account whose time a native one lies in; those too early for it are too early for all that follow."""
    if not alike:
        return None
    while alike and (alike[0].end_ns < native.end_ns or id(alike[0].span) in used):
        alike.popleft()
    near = islice(alike, LOOKED_AT_MAX)
    return next((other for other in near if id(other.span) not in used and _agree(other, native)), None)


def _enclosed(natives: Iterable[Account], other: Account) -> Account | None:
    return next((native for native in natives if _agree(other, native)), None)


def _agree(other: Account, native: Account) -> bool:
    return (
        other.start_ns <= native.start_ns
        and native.end_ns <= other.end_ns
        and not (other.response_id and native.response_id)
        and (not other.models or not native.models or not set(other.models).isdisjoint(native.models))
    )


def _hand_over(native: Span, other: Span) -> None:
    """Give the span that counts what the SDK knew better: it reads the tokens off the answer itself."""
    if native.spent:
        for field in (INPUT, OUTPUT, *_PARTS):
            if field in native.own and (field != COST or COST not in other.own):
                other.own[field] = native.own[field]
        other.spent = True


def complete(own: Own, other: Own) -> None:
    """Add from another account of the same tokens what parts they had, and what they cost."""
    if own.get(INPUT) == other.get(INPUT) and own.get(OUTPUT) == other.get(OUTPUT):
        for field in _PARTS:
            if not own.get(field) and other.get(field):
                own[field] = other[field]
