"""The types of what kernels hand over. The kernels themselves have stubs (.pyi), which only the type checker reads."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Structs = NDArray[np.void]
"""Rows of a table: an array of structs, by field name."""


class Counts(TypedDict):
    """What a kernel counted, as `rows.pxd` has it."""

    read: int
    latest: int
    late: int
    future: int
    duplicates: int
    negatives: int
    trace_full: int
    traces_full: int
    weighted: int
    units: int
    bad_numbers: int
    stated: float
    leaves: float
    sources: list[int]
