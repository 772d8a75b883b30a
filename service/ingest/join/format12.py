"""State of format 12, in which open sessions did not know how they stand, and traces not what they repeated.

Delete this once no daemon is left that saved with a version before 0.6.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.ingest.join.format9 import with_field

Array = NDArray[Any]
_LONGER = [0, 3, 6]
"""Places of what a trace went through that make it longer: calls of models, of tools, and retrievals."""


def is_format12(saved: Mapping[str, Array]) -> bool:
    """Whether the tables are of that format."""
    return "repeated" not in (saved["traces"].dtype.names or ())


def converted(saved: Mapping[str, Array]) -> dict[str, Array]:
    """The same tables as `saved.py` has them: sessions stand where their traces do, and nothing was repeated yet."""
    made = dict(saved)
    made["spans"] = with_field(made["spans"], "times", np.zeros(len(made["spans"]), np.uint16))
    traces, ended, sessions = made["traces"], made["ended"], made["sessions"]
    made["traces"] = with_field(traces, "repeated", np.full(len(traces), -1, np.int32))
    mine = traces["session"] >= 0
    at = np.searchsorted(made["sessions_at"], traces["session"][mine])
    at = np.minimum(at, max(len(sessions) - 1, 0))  # A row that is not there is told by the check of links.
    tokens = traces["tokens_in"].astype(np.float64) + traces["tokens_out"]
    stands = {
        "calls": (traces["went"][:, _LONGER].sum(1, dtype=np.float64), np.int32),
        "dollars": (traces["dollars"], np.float32),
        "tokens": (tokens, np.float32),
    }
    for name, (values, dtype) in stands.items():
        added = np.bincount(at, values[mine], len(sessions)) if len(sessions) else np.zeros(0)
        made["sessions"] = with_field(made["sessions"], name, added.astype(dtype))
    for name, kind in {"tenant": np.uint32, "agent": np.uint32, "listed": np.int32}.items():
        made["sessions"] = with_field(made["sessions"], name, np.zeros(len(sessions), kind))
    ended = with_field(ended, "repeats", np.zeros(len(ended), np.uint16))
    ended = with_field(ended, "open_tenant", ended["tenant"])
    made["ended"] = with_field(ended, "open_agent", ended["agent"])
    return made
