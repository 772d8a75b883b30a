"""The tables of the join as named arrays: rows in use with their numbers, by field name, and back again.

What is read back is checked before a kernel sees it: kernels follow the numbers of rows without another look.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.ingest.join import format8, format9, format10, format11, format12
from service.ingest.join.lexicon import WORDS_OF
from service.ingest.kernel.constants import HAS_PARTS
from service.ingest.kernel.tables import TEXT_BYTES, WORDS_MAX, Tables

SAVED = ("spans", "waits", "traces", "sessions", "ended", "slots", "words")
"""Tables that are saved; the others are worked out again."""
_NOT_SAVED = {"slots": ("page", "waiting"), "traces": ("news",)}
"""Fields that are worked out again: the waits of a slot are saved in the order in which they came."""
_LINKS = {
    "spans": {"parent": "spans", "trace": "traces", "next": "spans", "wait": "waits"},
    "waits": {"span": "spans"},
    "traces": {
        "spans": "spans", "root": "spans", "named_by": "spans", "defaults": "spans", "session": "sessions",
        "sibling": "traces", "older": "traces", "newer": "traces", "repeated": "spans",
    },
    "sessions": {"traces": "traces"},
    "ended": {"next": "ended"},
    "slots": {"ended": "ended"},
}  # fmt: skip
"""Fields that hold the number of a row, or -1, and of which table."""
_NEVER_NONE = {("spans", "trace"), ("waits", "span"), ("traces", "spans"), ("sessions", "traces")}
ROWS_MAX = 2**31 - 2**20
Array = NDArray[Any]
Arrays = Mapping[str, Array]


class DamagedError(ValueError):
    """A saved state that cannot be gone on from; the text says what of it."""


def snapshot(tables: Tables) -> dict[str, Array]:
    """All that is saved of the tables."""
    saved: dict[str, Array] = {"seed": np.array(tables.seed, np.int64)}
    saved["state"], saved["text"] = tables.state().copy(), tables.text()
    for name in SAVED:
        at = tables.live(name)
        saved[f"{name}_at"], saved[name] = at, _taken(tables.rows(name), at, _NOT_SAVED.get(name, ()))
    # What is not told is not written either, so as not to reach for another line of memory.
    untold = tables.rows("spans")["flags"][saved["waits"]["span"]] & HAS_PARTS == 0
    saved["waits"]["parts"][untold] = 0.0
    waiting = [tables.waiting(slot) for slot in saved["slots_at"].tolist()]
    saved["waiting_sizes"] = np.array([len(each) for each in waiting], np.int64)
    saved["waiting"] = np.concatenate([np.zeros(0, np.int32), *waiting])
    return saved


def _taken(rows: Array, at: Array, without: tuple[str, ...]) -> Array:
    """These rows, each as it lies in memory, where fields that are left out and what is between fields take room.

    A copy of whole rows reads each line of memory once, and one field after another reads it for each field.
    """
    size = rows.dtype.itemsize
    taken = np.take(rows.view(np.uint8).reshape(len(rows), size), at, axis=0).view(rows.dtype).reshape(len(at))
    for name in without:
        taken[name] = 0
    return taken[[name for name in rows.dtype.names or () if name not in without]]


def restore(tables: Tables, saved: Arrays) -> None:
    """Put back what `snapshot` gave, or what formats 8 to 12 were. Raises DamagedError."""
    if saved["spans"].dtype.names is None:
        saved = format8.converted(saved)
    if format9.is_format9(saved):
        saved = format9.converted(saved)
    if format10.is_format10(saved):
        saved = format10.converted(saved)
    if format11.is_format11(saved):
        saved = format11.converted(saved)
    if format12.is_format12(saved):
        saved = format12.converted(saved)
    _check(tables, saved)
    tables.seed = tuple(saved["seed"].tolist())
    for name in SAVED:
        at = saved[f"{name}_at"]
        high = int(at[-1]) + 1 if len(at) else 0
        tables.set_rows(name, high, np.setdiff1d(np.arange(high, dtype=np.int32), at).astype(np.int32))
        rows = tables.rows(name)
        for field in saved[name].dtype.names or ():
            rows[field][at] = saved[name][field]
    state = tables.state()
    for field in state.dtype.names or ():
        state[field] = saved["state"][field]
    tables.set_text(saved["text"].tobytes())
    ends = np.cumsum(saved["waiting_sizes"])
    for slot, end, size in zip(saved["slots_at"].tolist(), ends.tolist(), saved["waiting_sizes"].tolist(), strict=True):
        tables.set_waiting(slot, np.ascontiguousarray(saved["waiting"][end - size : end], np.int32))
    tables.index_all()


def _check(tables: Tables, saved: Arrays) -> None:
    """Whether kernels may follow what was saved. Raises DamagedError naming what they may not."""
    for name in SAVED:
        _check_rows(name, saved[f"{name}_at"], saved[name], tables.rows(name).dtype)
    _check_fields("state", saved["state"], tables.state().dtype, ())
    live = {name: _live(saved[f"{name}_at"]) for name in SAVED}
    for name, links in _LINKS.items():
        for field, other in links.items():
            _check_links(f"{name}.{field}", saved[name][field], live[other], (name, field) not in _NEVER_NONE)
    for field in ("oldest", "newest"):
        _check_links(f"state.{field}", saved["state"][field], live["traces"], True)
    _check_links("waiting", saved["waiting"], live["waits"], False)
    words = len(saved["words"])
    if not 0 < words <= WORDS_MAX or not np.array_equal(saved["words_at"], np.arange(words)):
        raise DamagedError("words are not numbered from 0 on")
    ends = saved["words"]["at"].astype(np.int64) + saved["words"]["size"]
    if saved["text"].dtype != np.uint8 or len(saved["text"]) > TEXT_BYTES or ends.max() > len(saved["text"]):
        raise DamagedError("a word lies outside the text")
    for name, fields in WORDS_OF.items():
        for field in fields:
            if len(saved[name]) and int(saved[name][field].max()) >= words:
                raise DamagedError(f"{name}.{field} names a word that is not there")
    sizes, waits, pending = saved["waiting_sizes"], len(saved["waits"]), int(saved["state"]["pending"][0])
    are_sizes = len(sizes) == len(saved["slots"]) and sizes.min(initial=0) >= 0
    if not are_sizes or not sizes.sum() == len(saved["waiting"]) == waits:
        raise DamagedError("the spans that wait are not those of the slots")
    if pending != waits:
        raise DamagedError(f"{pending} spans wait by the state, {waits} by the table")


def _check_rows(name: str, at: Array, rows: Array, dtype: np.dtype[Any]) -> None:
    are_numbers = at.shape == rows.shape and at.ndim == 1 and (np.diff(at) > 0).all()
    if not are_numbers or (len(at) and (at[0] < 0 or at[-1] >= ROWS_MAX)):
        raise DamagedError(f"the row numbers of {name} are not those of its rows")
    _check_fields(name, rows, dtype, _NOT_SAVED.get(name, ()))


def _check_fields(name: str, rows: Array, dtype: np.dtype[Any], without: tuple[str, ...]) -> None:
    """Whether rows have the fields of this type, and values that fit into them."""
    given = set(rows.dtype.names or ())
    wanted = {field: kind for field, (kind, *_) in (dtype.fields or {}).items() if field not in without}
    if given != set(wanted):
        raise DamagedError(f"{name} has the fields {sorted(given)}, not {sorted(wanted)}")
    for field, kind in wanted.items():
        values = rows[field]
        if values.shape[1:] != kind.shape or values.dtype.kind not in ("f" if kind.base.kind == "f" else "iu"):
            raise DamagedError(f"{name}.{field} is {values.dtype}{values.shape[1:]}, not {kind}")
        if kind.base.kind != "f" and values.size:
            limits = np.iinfo(kind.base)
            if int(values.min()) < limits.min or int(values.max()) > limits.max:
                raise DamagedError(f"{name}.{field} does not fit into {kind.base}")


def _live(at: Array) -> Array:
    """Whether each row is in use."""
    live = np.zeros(int(at[-1]) + 1 if len(at) else 0, np.bool_)
    live[at] = True
    return live


def _check_links(name: str, rows: Array, live: Array, may_be_none: bool) -> None:
    rows = np.asarray(rows).ravel()
    if may_be_none:
        rows = rows[rows != -1]
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= len(live) or not live[rows].all()):
        raise DamagedError(f"{name} names a row that is not in use")
