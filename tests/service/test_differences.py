"""Saves that are told by what differs: all is read back to the bit, and no one damaged file costs everything."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.core.columns import Arrays
from service.store.differences import Base, applied
from service.store.directory import StoreError
from service.store.files import DamagedError, base_of, name_of, read, write
from service.store.sqlite import Store

MANY = 100_000
DTYPES = (np.float64, np.float32, np.int16, np.uint8, np.bool_)


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Store]:
    store = Store(directory, worth_bytes=1)
    try:
        yield store
    finally:
        store.close()


def state(save: int) -> Arrays:
    """Much that stands still, a little that does not."""
    counts = np.zeros(MANY)
    counts[:: MANY // 10] = save
    return {"counts": counts, "still": np.arange(MANY), "rows": np.full(save, 7, np.uint8), "format": np.array([9])}


def save(store: Store, number: int) -> str:
    name = store.write_arrays(state(number), {"otlp_spans/0": number}, {"alerts": [number]})
    store.save(name, {"otlp_spans/0": number}, {"alerts": [number]}, [], number)
    return name


def loaded(directory: Path) -> int:
    """The save that is read back, all of it compared with what was saved."""
    with opened(directory) as store:
        found = store.load()
    assert found is not None
    number = found.offsets["otlp_spans/0"]
    assert found.alerts == {"alerts": [number]} and found.arrays.keys() == state(number).keys()
    for name, array in state(number).items():
        assert np.array_equal(found.arrays[name], array) and found.arrays[name].dtype == array.dtype, name
    return number


def test_what_did_not_change_is_not_written(tmp_path: Path) -> None:
    """Each save can be read, also by the next process; only the first one is large."""
    for first in (1, 4):
        with opened(tmp_path) as store:
            for number in range(first, first + 3):
                save(store, number)
        assert loaded(tmp_path) == first + 2
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.npz")}
    assert sizes.keys() == {name_of(1), name_of(5), name_of(6)}
    assert sizes[name_of(1)] > 2 * 8 * MANY and max(sizes[name_of(5)], sizes[name_of(6)]) < 8 * MANY // 20


def test_a_new_base(tmp_path: Path) -> None:
    """Where most of it changed it is written whole, and what later saves are told by; the base before stays a while."""
    with opened(tmp_path) as store:
        for number in (1, 2):
            save(store, number)
        name = store.write_arrays({"counts": np.ones(MANY)}, {}, {})
        store.save(name, {}, {}, [], 3)
        assert base_of(tmp_path / name) == name
        assert {path.name for path in tmp_path.glob("*.npz")} == {name_of(1), name_of(2), name}
        store.save(store.write_arrays({"counts": np.ones(MANY), "more": np.ones(1)}, {}, {}), {}, {}, [], 4)
        assert base_of(tmp_path / name_of(4)) == name
        assert {path.name for path in tmp_path.glob("*.npz")} == {*map(name_of, (1, 2, 3, 4))}
        save(store, 5)
        assert {path.name for path in tmp_path.glob("*.npz")} == {*map(name_of, (3, 4, 5))}
    assert loaded(tmp_path) == 5


Drawn = dict[str, tuple[type[np.generic], int, int, bytes]]
ARRAYS = st.dictionaries(
    st.sampled_from(["a", "b/c", "words/a", "d"]),
    st.tuples(st.sampled_from(DTYPES), st.integers(0, 40), st.integers(1, 3), st.binary(min_size=120, max_size=120)),
)


@settings(max_examples=150, deadline=None)
@given(ARRAYS, ARRAYS)
def test_any_arrays(tmp_path_factory: pytest.TempPathFactory, before: Drawn, after: Drawn) -> None:
    """Of any sizes and bytes: by the base and what differs the arrays are what they were, NaN and all."""
    directory = tmp_path_factory.getbasetemp()
    base, now = made(before), made(after)
    now |= {f"kept {name}": array for name, array in base.items()}
    base |= {f"kept {name}": array.copy() for name, array in base.items()}
    for array in base.values():
        array.reshape(-1)[3:4] = 1
    write(directory, name_of(1), base, "")
    opened_base = Base(directory / name_of(1))
    told = opened_base.differing(now)
    opened_base.close()
    if told is None:
        return
    write(directory, name_of(2), told, "said")
    found, said = read(directory / name_of(2))
    assert said == "said" and found.keys() == now.keys()
    for name, array in now.items():
        assert np.asarray(found[name]).dtype == array.dtype and np.asarray(found[name]).shape == array.shape
        assert np.asarray(found[name]).tobytes() == array.tobytes()


def made(drawn: Drawn) -> dict[str, NDArray[Any]]:
    arrays = {}
    for name, (dtype, rows, columns, content) in drawn.items():
        size = rows * columns * np.dtype(dtype).itemsize
        flat = np.frombuffer((content * (size // len(content) + 1))[:size], np.uint8)
        arrays[name] = (flat % 2 if dtype == np.bool_ else flat).view(dtype).reshape(rows, columns).copy()
    return arrays


@pytest.mark.parametrize("harm", ["cut", "gone", "foreign", "flipped"])
def test_one_damaged_file(tmp_path: Path, harm: str) -> None:
    """Whichever it is, there is a save to go back to that does not need it, and the next save stands alone."""
    with opened(tmp_path) as store:
        for number in (1, 2):
            save(store, number)
        store.save(store.write_arrays({"counts": np.ones(MANY)}, {}, {}), {}, {}, [], 3)
        for number in (4, 5, 6):
            save(store, number)
    assert base_of(tmp_path / name_of(6)) == name_of(4)
    hurt(tmp_path / name_of(4), harm)
    with opened(tmp_path) as store:
        found = store.load()
        assert found is not None and found.arrays.keys() == {"counts"}
        assert base_of(tmp_path / save(store, 7)) == name_of(7)
    assert loaded(tmp_path) == 7
    hurt(tmp_path / name_of(7), harm)
    with opened(tmp_path) as store:
        assert store.load() is not None


def test_without_any_whole_base(tmp_path: Path) -> None:
    """The first base of all has none before it: that is said, and nothing begins afresh."""
    with opened(tmp_path) as store:
        for number in (1, 2):
            save(store, number)
    hurt(tmp_path / name_of(1), "flipped")
    with opened(tmp_path) as store, pytest.raises(StoreError, match=f"needs {name_of(1)}, which is damaged"):
        store.load()


def hurt(path: Path, harm: str) -> None:
    content = path.read_bytes()
    path.unlink()
    middle = len(content) // 3
    if harm == "flipped":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    elif harm != "gone":
        path.write_bytes(content[:middle] if harm == "cut" else b"not ours")


def test_no_flipped_byte_is_believed(tmp_path: Path) -> None:
    """Wherever it is: the file is refused, or all that it told of is read."""
    write(tmp_path, name_of(1), state(1), "")
    base = Base(tmp_path / name_of(1))
    told = base.differing(state(2))
    base.close()
    assert told is not None
    write(tmp_path, name_of(2), told, "said")
    path = tmp_path / name_of(2)
    content, (whole, said) = path.read_bytes(), read(path)
    refused, tried = 0, range(0, len(content), 37)
    for at in tried:
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            arrays, text = read(path)
            assert text == said and arrays.keys() == whole.keys()
            assert all(np.array_equal(arrays[name], array) for name, array in whole.items()), at
        except DamagedError:
            refused += 1
    assert refused > len(tried) // 2


def test_a_base_that_somebody_deletes(tmp_path: Path) -> None:
    """The running daemon is told of it, and what is saved anew needs no file that is gone."""
    with opened(tmp_path) as store:
        for number in (1, 2):
            save(store, number)
        (tmp_path / name_of(1)).unlink()
        assert store.lost() == f"{name_of(1)} was deleted"
        store.copy(1)
        store.put_back()
        save(store, 3)
        assert store.lost() == ""
    assert loaded(tmp_path) == 3


def test_a_base_that_became_shorter(tmp_path: Path) -> None:
    """Whatever somebody does to a file of ours: what is in memory is written whole."""
    with opened(tmp_path) as store:
        save(store, 1)
        with (tmp_path / name_of(1)).open("r+b") as file:
            file.truncate(1000)
        assert base_of(tmp_path / save(store, 2)) == name_of(2)
    assert loaded(tmp_path) == 2


@pytest.mark.parametrize(
    "told", ['["../state-000000000001.npz", []]', "[]", "7", '["state-000000000002.npz", []]', "{"]
)
def test_a_base_that_is_none(tmp_path: Path, told: str) -> None:
    """A name that leads elsewhere, to itself or nowhere is damage."""
    write(tmp_path, name_of(1), state(1), "")
    with (tmp_path / name_of(2)).open("wb") as file:
        np.savez(file, allow_pickle=False, **{"base.json": np.frombuffer(told.encode(), np.uint8)})
    with pytest.raises(DamagedError):
        read(tmp_path / name_of(2))


def test_entries_that_do_not_fit() -> None:
    """Words of an array that the base does not have, or too many of them, are damage."""
    base = {"a": np.zeros(10)}
    mask = np.packbits(np.arange(10) == 3)
    with pytest.raises(KeyError):
        applied({"words/b": np.ones(1, np.uint64), "mask/b": mask}, base, ())
    with pytest.raises(ValueError, match="assign"):
        applied({"words/a": np.ones(3, np.uint64), "mask/a": mask}, base, ())


def test_an_older_program_refuses(tmp_path: Path) -> None:
    """It looks for `format` among the arrays of the file that the database names, and finds none."""
    with opened(tmp_path) as store:
        for number in (1, 2):
            save(store, number)
    with contextlib.closing(sqlite3.connect(tmp_path / "tocsin.db")) as database:
        (name,) = database.execute("SELECT arrays FROM save").fetchone()
    with np.load(tmp_path / name) as file:
        assert "format" not in file.files
