"""Columns of numbers as bytes: exactly, in as few bytes as do without a second pass, and fit for compression.

Most columns of a slot are whole and small. What is not is written byte by byte of all rows, so that what rows have in
common stands together.
"""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.core.columns import Floats

ZERO, EXACT = "z", "d"
WHOLE: tuple[tuple[str, DTypeLike, int], ...] = (("B", "<u1", 1), ("H", "<u2", 2), ("I", "<u4", 4))
"""Kinds of whole numbers: their types and bytes a row, the smallest first."""
_BYTES = {ZERO: 0, EXACT: 8} | {kind: size for kind, _, size in WHOLE}


def packed(values: NDArray[np.float64] | NDArray[np.int32] | NDArray[np.int64]) -> tuple[str, bytes]:
    """The kind of a column that is finite, and its bytes.

    >>> packed(np.array([3.0, 200.0])), packed(np.zeros(5))[0], packed(np.array([0.5]))[0]
    (('B', b'\\x03\\xc8'), 'z', 'd')
    """
    if not values.any():
        return ZERO, b""
    if values.min() >= 0 and (values == np.floor(values)).all():
        largest = values.max()
        for kind, dtype, size in WHOLE:
            if largest < 1 << 8 * size:
                return kind, values.astype(dtype).tobytes()
    rows = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    return EXACT, rows.T.tobytes()


def stacked(values: NDArray[np.int64]) -> bytes:
    """Whole numbers of any size and sign, eight bytes a row, byte by byte of all rows."""
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8).T.tobytes()


def unstacked(body: bytes) -> NDArray[np.int64]:
    """What `stacked` gave.

    >>> unstacked(stacked(np.array([3, -(1 << 60)]))).tolist()
    [3, -1152921504606846976]
    """
    rows = np.ascontiguousarray(np.frombuffer(body, np.uint8).reshape(8, -1).T)
    return rows.view("<i8").ravel().astype(np.int64)


def size_of(kind: str, rows: int) -> int:
    """Bytes of a column. Raises ValueError for a kind that there is not."""
    if kind not in _BYTES:
        raise ValueError(f"there is no kind of column {kind!r}")
    return _BYTES[kind] * rows


def unpacked(kind: str, body: bytes) -> Floats:
    """A column that is not of kind ZERO. Raises ValueError where a number is not finite."""
    if kind == EXACT:
        values = np.ascontiguousarray(np.frombuffer(body, np.uint8).reshape(8, -1).T).view("<f8").ravel()
        if not np.isfinite(values).all():
            raise ValueError("a number is not finite")
        return values.astype(np.float64)
    dtype = next(dtype for name, dtype, _ in WHOLE if name == kind)
    return np.frombuffer(body, dtype).astype(np.float64)
