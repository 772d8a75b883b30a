"""State of format 8, whose tables were int64 cells by column, as rows by field name.

Delete this once no daemon is left that saved with a version before 0.2.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_UNSIGNED, _FLOAT, _ROW = np.uint64, np.float64, np.int64
_FIELDS: dict[str, dict[str, tuple[int, Any]]] = {
    "spans": {
        "id": (1, _UNSIGNED), "parent_id": (2, _UNSIGNED), "parent": (3, _ROW), "trace": (4, _ROW), "next": (5, _ROW),
        "start": (6, _ROW), "reading": (7, _ROW), "resource": (8, _ROW), "tenant": (9, _ROW), "flags": (10, _ROW),
        "weight": (11, _FLOAT), "response": (12, _UNSIGNED), "wait": (13, _ROW),
    },
    "waits": {"span": (1, _ROW), "end": (2, _ROW), "duplicate": (3, _ROW)},
    "traces": {
        "high": (1, _UNSIGNED), "low": (2, _UNSIGNED), "spans": (3, _ROW), "count": (4, _ROW), "root": (5, _ROW),
        "waits": (6, _ROW), "older": (7, _ROW), "newer": (8, _ROW), "marks": (9, _ROW), "tokens": (10, _FLOAT),
        "named_by": (17, _ROW), "name_rank": (18, _ROW), "name_high": (19, _UNSIGNED), "name_low": (20, _UNSIGNED),
        "session": (21, _ROW), "sibling": (22, _ROW), "first": (23, _ROW), "last": (24, _ROW),
        "outcome_ns": (25, _ROW), "outcome_id": (26, _UNSIGNED), "outcome": (27, _ROW), "dollars": (28, _FLOAT),
        "unpriced": (29, _ROW), "free": (30, _ROW),
    },
    "sessions": {
        "high": (1, _UNSIGNED), "low": (2, _UNSIGNED), "traces": (3, _ROW), "rootless": (4, _ROW), "queued": (5, _ROW),
        "first": (6, _ROW), "last": (7, _ROW),
    },
    "ended": {
        "next": (1, _ROW), "tenant": (2, _ROW), "agent": (3, _ROW), "outcome": (4, _ROW), "is_trace": (5, _ROW),
        "high": (6, _UNSIGNED), "low": (7, _UNSIGNED), "weight": (8, _FLOAT), "failed": (9, _ROW),
        "dollars": (10, _FLOAT), "unpriced": (11, _ROW), "free": (12, _ROW), "seconds": (13, _FLOAT),
    },
    "slots": {"start": (1, _ROW), "ended": (4, _ROW), "sessions": (5, _ROW)},
    "words": {"hashed": (1, _UNSIGNED), "at": (2, _ROW), "size": (3, _ROW)},
}  # fmt: skip
"""By table and field, the column that it was, and how its cells are read."""
_STATE = {"floor": 0, "pending": 1, "live_spans": 2, "live_traces": 3, "oldest": 4, "newest": 5}
_SLOT_PAGE, _SLOT_WAITING, _PAGE_PREVIOUS, _PAGE_PAIRS, _PAGE_ROOM = 2, 3, 1, 2, 31
_IS_LOOSE, _IS_LIVE, _FIRST_ANSWER = 128, 1, 8


def converted(saved: Mapping[str, Array]) -> dict[str, Array]:
    """The same state as `saved.py` has it."""
    made = {name: saved[name] for name in ("seed", "text")}
    for name, columns in _FIELDS.items():
        made[f"{name}_at"] = saved[f"{name}_at"]
        made[name] = _rows(saved[name], columns, _more(name))
    waits, spans, traces = made["waits"], made["spans"], made["traces"]
    waits["numbers"], waits["duplicate"] = saved["waits"][:, 4:10].view(_FLOAT), -1
    traces["defaults"] = saved["traces"][:, 11:17]
    traces["answers"], traces["marks"] = traces["marks"] >> _FIRST_ANSWER & 0xFFFFFFFF, traces["marks"] & 0xFF
    # What nobody looked at any more may name rows that are gone.
    spans["next"][spans["flags"] & _IS_LOOSE > 0] = -1
    for field in ("older", "newer"):
        traces[field][traces["marks"] & _IS_LIVE == 0] = -1
    made["state"] = np.zeros(1, [(name, np.int64) for name in _STATE])
    for name, column in _STATE.items():
        made["state"][name] = saved["state"][column]
    waiting = [_waiting(slot, saved) for slot in saved["slots"].tolist()]
    made["waiting_sizes"] = np.array([len(each) for each in waiting], np.int64)
    made["waiting"] = np.array([wait for each in waiting for wait in each], np.int64)
    return made


def _more(name: str) -> list[tuple[Any, ...]]:
    """Fields that were no single column."""
    more: dict[str, list[tuple[Any, ...]]] = {
        "waits": [("numbers", _FLOAT, (6,))],
        "traces": [("defaults", _ROW, (6,)), ("answers", _ROW), ("ids", _ROW)],
    }
    return more.get(name, [])


def _rows(cells: Array, columns: Mapping[str, tuple[int, Any]], more: list[tuple[Any, ...]]) -> Array:
    rows = np.zeros(len(cells), [*((name, kind) for name, (_, kind) in columns.items()), *more])
    for name, (column, kind) in columns.items():
        rows[name] = np.ascontiguousarray(cells[:, column]).view(kind)
    return rows


def _waiting(slot: list[int], saved: Mapping[str, Array]) -> list[int]:
    """The waits of a slot, in the order in which they came. Its last page is named first, and may not be full."""
    page, waiting, found = slot[_SLOT_PAGE], slot[_SLOT_WAITING], list[list[int]]()
    while page >= 0 and waiting > 0:
        first = (waiting - 1) // _PAGE_ROOM * _PAGE_ROOM
        row = saved["pages"][int(np.searchsorted(saved["pages_at"], page))]
        found.append(row[_PAGE_PAIRS : _PAGE_PAIRS + 2 * (waiting - first) : 2].tolist())
        page, waiting = int(row[_PAGE_PREVIOUS]), first
    return [wait for each in reversed(found) for wait in each]
