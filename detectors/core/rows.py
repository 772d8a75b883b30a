"""Columns that grow together: the state of many series as a dataclass of arrays.

A part is a dataclass whose array fields are declared with `column`; the first axis is the series id. A part that
serves signals of different needs has a field `precision`, the dtype of its columns that are declared so.

>>> @dataclass(eq=False)
... class Levels:
...     kinds: int
...     mean: Floats = column("kinds", fill=1.0)
>>> levels = Levels(kinds=2)
>>> resize(levels, 3)
>>> levels.mean[2] = 5.0
>>> clear(levels, np.array([2]))
>>> levels.mean.tolist()
[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
"""

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.core.columns import Arrays, Floats, Ids

__all__ = ["PRECISION", "Floats", "clear", "column", "dataclass", "resize", "restore", "snapshot", "under"]


PRECISION = "precision"


def column(*shape: int | str, fill: float = 0.0, dtype: DTypeLike = np.float64, is_later: bool = False) -> Any:
    """A field with one row a series of that shape; strings name the part's own fields that hold length or dtype.

    is_later  the state of a version before may lack it, and then it holds the fill
    """
    about = {"column": (shape, fill, dtype), "is_later": is_later}
    return field(default_factory=lambda: np.empty(0), repr=False, metadata=about)


def resize(part: Any, size: int) -> None:
    """Give every column of the part at least `size` rows; new rows hold the column's fill."""
    for name, shape, fill, dtype in _columns(part):
        old: NDArray[Any] = getattr(part, name)
        have = len(old) if old.shape[1:] == shape else 0
        if have >= size and old.dtype == dtype and old.shape[1:] == shape:
            continue
        # Half as much again, so that a fleet that grows by one series a tick is copied seldom.
        new = np.full((max(size, have + have // 2 if have < size else have), *shape), fill, dtype)
        if have:
            new[:have] = old
        setattr(part, name, new)


def clear(part: Any, rows: Ids) -> None:
    """Put these rows back to the columns' fill."""
    for name, _, fill, _ in _columns(part):
        array: NDArray[Any] = getattr(part, name)
        array[rows[rows < len(array)]] = fill


def snapshot(part: Any, prefix: str) -> dict[str, NDArray[Any]]:
    """Copies of the part's columns, by `prefix.name`."""
    return {f"{prefix}.{name}": getattr(part, name).copy() for name, *_ in _columns(part)}


def restore(part: Any, arrays: Arrays, prefix: str) -> None:
    """Take the columns back from `snapshot`; raises ValueError where they are not this part's."""
    later = {f.name for f in fields(part) if f.metadata.get("is_later")}
    for name, shape, _, dtype in _columns(part):
        if name in later and f"{prefix}.{name}" not in arrays:
            continue
        array = arrays[f"{prefix}.{name}"]
        if array.shape[1:] != shape or array.dtype != dtype:
            raise ValueError(f"{prefix}.{name}: read {array.dtype}{array.shape}; expected {dtype} rows of {shape}")
        setattr(part, name, array.copy())


def under(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): np.asarray(a) for name, a in arrays.items() if name.startswith(prefix)}


Columns = tuple[tuple[str, tuple[int, ...], float, np.dtype[Any]], ...]


def _columns(part: Any) -> Columns:
    """(name, shape of a row, fill, dtype) of each column."""
    kind = part.__class__
    return _sized(kind, tuple(getattr(part, name) for name in _names(kind)))


@cache
def _declared(kind: Any) -> tuple[tuple[str, tuple[int | str, ...], float, DTypeLike], ...]:
    return tuple((f.name, *f.metadata["column"]) for f in fields(kind) if "column" in f.metadata)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """The fields of the part that its columns name for their lengths and dtypes."""
    named = {name for _, shape, _, dtype in _declared(kind) for name in (*shape, dtype) if isinstance(name, str)}
    return tuple(sorted(named))


@cache
def _sized(kind: Any, values: tuple[Any, ...]) -> Columns:
    """The columns of a part whose `_names` have these values."""
    own: dict[Any, Any] = dict(zip(_names(kind), values, strict=True))
    return tuple(
        (name, tuple(own.get(n, n) for n in shape), fill, np.dtype(own[PRECISION] if dtype == PRECISION else dtype))
        for name, shape, fill, dtype in _declared(kind)
    )
