"""State of format 11, in which traces and ended sessions did not remember what they went through.

Delete this once no daemon is left that saved with a version before 0.5.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.ingest.join.format9 import with_field

Array = NDArray[Any]
_WENT = 9
_OF_BOTH = {"lowest": np.float32, "tokens_in": np.float32, "tokens_out": np.float32}
_OF_ENDED = {"first": np.int64, "last": np.int64, "version": np.uint32, "model": np.uint32, "traces": np.int32}


def is_format11(saved: Mapping[str, Array]) -> bool:
    """Whether the tables are of that format."""
    return "went" not in (saved["traces"].dtype.names or ())


def converted(saved: Mapping[str, Array]) -> dict[str, Array]:
    """The same tables as `saved.py` has them: what a trace went through before is not known, and counts as nothing."""
    made = dict(saved)
    for name, more in (("traces", _OF_BOTH), ("ended", _OF_BOTH | _OF_ENDED)):
        rows = len(made[name])
        made[name] = with_field(made[name], "went", np.zeros((rows, _WENT), np.uint16))
        for field, kind in more.items():
            made[name] = with_field(made[name], field, np.zeros(rows, kind))
    return made
