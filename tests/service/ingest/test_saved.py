"""What was saved of the join is checked before a kernel follows it: a damaged state is refused, and says of what."""

from typing import Any

import numpy as np
import pytest

from service.ingest.join.saved import DamagedError
from service.ingest.stage import Ingest
from tests.service.ingest.wire import Stream, agent, chat, same_slots

SAID = {"pending": "1 spans wait by the state", "at": "a word lies outside the text"}


def saved() -> dict[str, Any]:
    """A state with all kinds of rows in it: waiting and counted spans, open sessions, long traces."""
    stream = Stream()
    stream.send(agent(1, 1, 0, 5, gen_ai__conversation__id="c"), *(chat(1, n, 1, 2, n - 1) for n in range(2, 30)))
    stream.send(*(chat(2, n, 1, 100 + n % 3, tenant__id="t") for n in range(1, 100)), now_s=104)
    stream.send(chat(3, 1, 140, 141), chat(4, 2, 60, 65, 1), now_s=150)
    state = dict(stream.ingest.snapshot())
    assert all(len(state[f"join.{name}"]) for name in ("spans", "waits", "traces", "sessions", "slots"))
    return state


def test_what_was_saved_is_saved_again() -> None:
    """Restored and saved, it is the same: each row keeps its number."""
    state = saved()
    again = Ingest.restore(state, Stream().limits).snapshot()
    assert {name: (array.dtype, array.tobytes()) for name, array in again.items()} == {
        name: (array.dtype, array.tobytes()) for name, array in state.items()
    }


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("spans", "trace", 10**6), ("spans", "trace", -1), ("spans", "next", -2), ("spans", "parent", 10**6),
        ("spans", "wait", 10**6), ("spans", "tenant", 10**6), ("waits", "span", -1), ("waits", "span", 10**6),
        ("traces", "root", 10**6), ("traces", "spans", -1), ("traces", "older", 10**6), ("traces", "session", 7000),
        ("sessions", "traces", 10**6), ("slots", "ended", 0), ("words", "at", 10**6), ("state", "oldest", 10**6),
        ("state", "pending", 1), ("state", "newest", -2),
    ],
)  # fmt: skip
def test_a_row_that_is_not_there_is_not_followed(table: str, field: str, value: int) -> None:
    """A number of a row that is not in use, in any field that kernels follow."""
    state = saved()
    rows = state[f"join.{table}"].copy()
    rows[field][-1] = value
    with pytest.raises(DamagedError, match=SAID.get(field, table)):
        Ingest.restore({**state, f"join.{table}": rows}, Stream().limits)


def test_a_row_that_was_given_back_is_not_followed() -> None:
    """Its number is one that there was."""
    state = saved()
    spans, at = state["join.spans"], state["join.spans_at"]
    state["join.spans"], state["join.spans_at"] = spans[1:], at[1:]
    with pytest.raises(DamagedError, match="row that is not in use"):
        Ingest.restore(state, Stream().limits)


@pytest.mark.parametrize("name", ["spans", "waits", "traces", "sessions", "ended", "slots", "words", "state"])
def test_fields_and_their_sizes_are_checked(name: str) -> None:
    """A field too few or too many, one of another shape, or a number too large for it."""
    state = saved()
    rows = state[f"join.{name}"]
    first, *others = rows.dtype.names
    fewer = np.zeros(len(rows), [(field, rows.dtype[field]) for field in others])
    more = np.zeros(len(rows), [*rows.dtype.descr, ("more", "i8")])
    wider = np.zeros(len(rows), [(first, "i8", (3,)), *((field, rows.dtype[field]) for field in others)])
    for other, said in ((fewer, "has the fields"), (more, "has the fields"), (wider, f"{name}.{first} is")):
        with pytest.raises(DamagedError, match=said):
            Ingest.restore({**state, f"join.{name}": other}, Stream().limits)
    if name == "spans":
        large = rows.astype([(field, "i8" if field == "flags" else rows.dtype[field]) for field in rows.dtype.names])
        large["flags"][0] = 1 << 16
        with pytest.raises(DamagedError, match=r"spans\.flags does not fit"):
            Ingest.restore({**state, "join.spans": large}, Stream().limits)


@pytest.mark.parametrize("name", ["waiting", "waiting_sizes", "spans_at", "words_at", "text"])
def test_lists_and_row_numbers_are_checked(name: str) -> None:
    """One that is shorter than it was, and one of negative numbers."""
    state = saved()
    array = state[f"join.{name}"]
    for other in (-1 - array.astype(np.int64), array[:-1]):
        with pytest.raises(DamagedError):
            Ingest.restore({**state, f"join.{name}": other}, Stream().limits)


def test_readings_and_resources_must_be_there() -> None:
    """A span whose reading or resource is not among the names that were saved is refused."""
    state = saved()
    with pytest.raises(DamagedError, match="names a reading or a resource that is not there"):
        Ingest.restore(
            {**state, "lexicon": np.frombuffer(b'{"readings": [], "resources": []}', np.uint8)}, Stream().limits
        )


def test_larger_limits_than_before_do_no_harm() -> None:
    """A restored table grows on, whatever its size was: the slots are those of one that never stopped."""
    runs = []
    for stops in (False, True):
        stream = Stream()
        for n in range(40):
            stream.send(*(chat(100 * n + k, 1, n, n + k / 100) for k in range(1, 90)))
            if stops and n % 9 == 3:
                stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
        runs.append(stream.flush().slots)
    assert same_slots(*runs)
