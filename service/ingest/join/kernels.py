"""The kernels that are called from Python, interpreted or compiled."""

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from service.ingest.join.admit import admit
from service.ingest.join.calls import count, mark
from service.ingest.join.ended import drop_ended, list_ended
from service.ingest.join.labels import find_span, label
from service.ingest.join.order import order_ties
from service.ingest.join.origins import find_origins, learn_origin
from service.ingest.join.restored import index_all
from service.ingest.join.rows import enter_all
from service.ingest.join.said import read
from service.ingest.join.sessions import find_session, next_due
from service.ingest.join.slots import drop_first, find_slot, list_waiting, slot_of
from service.ingest.join.traces import find_trace
from service.ingest.join.words import word_of
from service.ingest.memory import Memory, fingerprint


def viewed(array: NDArray[Any]) -> Memory:
    """An array as the interpreter reads it fastest."""
    return memoryview(array.reshape(-1))  # type: ignore[arg-type]


class Kernels(NamedTuple):
    """`memory` makes of an array what they take; `recognises` is whether shapes can be told, which takes compiling."""

    memory: Callable[[NDArray[Any]], Memory] = viewed
    recognises: bool = False
    find_origins: Callable[..., Any] = find_origins
    learn_origin: Callable[..., Any] = learn_origin
    read: Callable[..., Any] = read
    admit: Callable[..., Any] = admit
    list_waiting: Callable[..., Any] = list_waiting
    order_ties: Callable[..., Any] = order_ties
    mark: Callable[..., Any] = mark
    count: Callable[..., Any] = count
    list_ended: Callable[..., Any] = list_ended
    drop_ended: Callable[..., Any] = drop_ended
    label: Callable[..., Any] = label
    find_span: Callable[..., Any] = find_span
    find_trace: Callable[..., Any] = find_trace
    find_session: Callable[..., Any] = find_session
    find_slot: Callable[..., Any] = find_slot
    slot_of: Callable[..., Any] = slot_of
    drop_first: Callable[..., Any] = drop_first
    next_due: Callable[..., Any] = next_due
    word_of: Callable[..., Any] = word_of
    fingerprint: Callable[..., Any] = fingerprint
    enter_all: Callable[..., Any] = enter_all
    index_all: Callable[..., Any] = index_all


INTERPRETED = Kernels()
