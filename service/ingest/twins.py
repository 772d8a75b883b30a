"""Two accounts of one call, neither inside the other: an SDK's own span beside that of an instrumentation.

Of spans inside one another the tree tells (see `mark`). Beside one another or across traces the response id does; where
there is none, as of a failed call, the SDK's span lies within the other's time, from the same process, of the same
model, and of the same tokens if the other tells any. Each span is joined once, so parallel calls stay as many as they
are. The instrumentation's span is the one that counts, as it knows the agent; only if it comes a slot later has the
SDK's been counted already.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from detectors.core.columns import SECOND_NS
from service.ingest.vocabulary import Resource

REMEMBERED_NS = 30 * SECOND_NS
"""How long the other account of a call that was counted may come after it."""
ALONE_MAX = 10_000
LOOKED_AT_MAX = 64
"""Of so many that are alike, one that ended about then is the one."""


class Account(NamedTuple):
    """What two accounts of one call agree on, and the row of the span where it still waits.

    input_tokens  None where it did not say
    response_id   what stands for it; 0 for none
    """

    resource: Resource
    failed: bool
    input_tokens: float | None
    start_ns: int
    end_ns: int
    response_id: int
    models: tuple[str, ...]
    row: int = -1


class Pairs(NamedTuple):
    """Rows of accounts whose call another one counts; and pairs of an SDK's and that other, which knew the tokens less
    well: the SDK reads them off the answer itself.
    """

    told: list[int]
    better: list[tuple[int, int]]


Key = tuple[Resource, bool, float | None]


class Twins:
    """Joins the accounts of one call, and remembers for a while those of SDKs that found no other."""

    def __init__(self) -> None:
        self._alone: dict[Key, deque[Account]] = {}
        self._by_id: dict[int, Account] = {}

    @property
    def remembers(self) -> bool:
        """Whether an account of an SDK still waits for another one."""
        return bool(self._alone)

    def pair(self, natives: Iterable[Account], others: Iterable[Account], start_ns: int) -> Pairs:
        """What is told twice among the calls of a slot, which come in the order in which they ended.

        Those of SDKs lie inside no other account of the call, or the tree would have told.
        """
        pairs = Pairs([], [])
        self._forget(start_ns - REMEMBERED_NS)
        left = []
        for other in others:
            if self._was_counted(other):
                pairs.told.append(other.row)
            else:
                left.append(other)
        by_id = {other.response_id: other for other in left if other.response_id}
        by_key: dict[Key, deque[Account]] = {}
        used: set[int] = set()
        for other in left:
            by_key.setdefault(_key(other), deque()).append(other)
        for native in natives:
            told = by_id.pop(native.response_id, None)
            for key in (_key(native), _key(native._replace(input_tokens=None))):
                told = told or _enclosing(by_key.get(key), used, native)
            if told is None:
                self._remember(native)
            else:
                used.add(told.row)
                pairs.told.append(native.row)
                pairs.better.append((native.row, told.row))
        return pairs

    def _was_counted(self, other: Account) -> bool:
        """Whether an SDK's account of the same call was counted in an earlier slot; it is forgotten then."""
        native = self._by_id.get(other.response_id) or _enclosed(self._alone.get(_key(other), ()), other)
        if native is None:
            return False
        with suppress(ValueError):  # A full row of those alike has let it go.
            self._alone[_key(native)].remove(native)
        self._by_id.pop(native.response_id, None)
        return True

    def _remember(self, native: Account) -> None:
        if len(self._by_id) + len(self._alone) >= ALONE_MAX:
            return
        native = native._replace(row=-1)
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


def _key(account: Account) -> Key:
    return account[:3]


def _enclosing(alike: deque[Account] | None, used: set[int], native: Account) -> Account | None:
    """The account whose time a native one lies in; those too early for it are too early for all that follow."""
    if not alike:
        return None
    while alike and (alike[0].end_ns < native.end_ns or alike[0].row in used):
        alike.popleft()
    near = islice(alike, LOOKED_AT_MAX)
    return next((other for other in near if other.row not in used and _agree(other, native)), None)


def _enclosed(natives: Iterable[Account], other: Account) -> Account | None:
    return next((native for native in natives if _agree(other, native)), None)


def _agree(other: Account, native: Account) -> bool:
    return (
        other.start_ns <= native.start_ns
        and native.end_ns <= other.end_ns
        and not (other.response_id and native.response_id)
        and (not other.models or not native.models or not set(other.models).isdisjoint(native.models))
    )
