"""State of format 9, which knew no parts of usage with prices of their own, no tiers and no currencies.

Delete this once no daemon is left that saved with a version before 0.3.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.ingest.reasons import UNTOLD

Array = NDArray[Any]
PARTS = 9
_READING = 15
"""Values of a reading: six of its own, the dialect, and eight words."""


def is_format9(saved: Mapping[str, Array]) -> bool:
    """Whether the tables are of that format."""
    return "parts" not in (saved["waits"].dtype.names or ())


def converted(saved: Mapping[str, Array]) -> dict[str, Array]:
    """The same tables as `saved.py` has them."""
    made = dict(saved)
    made["waits"] = with_field(saved["waits"], "parts", np.zeros((len(saved["waits"]), PARTS)))
    made["state"] = with_field(saved["state"], "moved", np.zeros(1, np.int64))
    return made


def with_field(rows: Array, name: str, values: Array) -> Array:
    """The rows with one more field."""
    more = np.empty(len(rows), [*((each, rows.dtype[each]) for each in rows.dtype.names or ()),
                                (name, values.dtype, values.shape[1:])])  # fmt: skip
    for each in rows.dtype.names or ():
        more[each] = rows[each]
    more[name] = values
    return more


def lexicon(saved: str) -> str:
    """The same readings and resources as `lexicon.py` has them."""
    state = json.loads(saved)
    for saying in state["readings"]:
        if len(saying) == _READING:
            saying[6:] = [False, 1.0, UNTOLD, UNTOLD, *saying[6:], ""]
    return json.dumps(state)
