"""State of format 10, which knew no type of error of a reading and no trace of a session that ended.

Delete this once no daemon is left that saved with a version before 0.4.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.ingest.join.format9 import with_field

Array = NDArray[Any]
_READING = 20
"""Values of a reading."""


def is_format10(saved: Mapping[str, Array]) -> bool:
    """Whether the tables are of that format."""
    return "trace_high" not in (saved["ended"].dtype.names or ())


def converted(saved: Mapping[str, Array]) -> dict[str, Array]:
    """The same tables as `saved.py` has them."""
    made = dict(saved)
    for name in ("trace_high", "trace_low"):
        made["ended"] = with_field(made["ended"], name, np.zeros(len(made["ended"]), np.uint64))
    return made


def lexicon(saved: str) -> str:
    """The same readings as `lexicon.py` has them."""
    state = json.loads(saved)
    for saying in state["readings"]:
        if len(saying) == _READING:
            saying.append("")
    return json.dumps(state)
