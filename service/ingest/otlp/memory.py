"""Memory as the compiled code sees it: an array, or just the address of one.

Every kernel is written once, against the loads and stores below. Given arrays, each access is checked against their
bounds: the build that is fuzzed. Given integers, they are taken for addresses and nothing is checked or counted, which
is several times faster: numba counts references to an array at each helper that it passes. Cells are 8 bytes wide,
little-endian and need no alignment.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int64, njit, types, uint64
from numba.extending import intrinsic, overload

Memory = Any
"""An array of uint8 or int64, or the address of its first element."""
Number = Any
"""An int64, as the compiler has it."""
COMPILED: Any = {"nogil": True, "boundscheck": True, "error_model": "numpy"}
"""How kernels are compiled. Bounds are of arrays: where there are only addresses, checking them costs nothing."""
INLINED: Any = COMPILED | {"forceinline": True}
_MIX = uint64(0x9E3779B97F4A7C15)


def address(array: np.ndarray[Any, Any]) -> int:
    """Where an array begins; whoever asks keeps it alive."""
    return int(array.ctypes.data)


def _load(bits: int, stride: int) -> Callable[..., Any]:
    """A load of so many bits, from an address and an index in strides of so many bytes."""

    @intrinsic
    def load(context: Any, base: Any, at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            place = builder.add(given[0], builder.mul(given[1], ir.Constant(ir.IntType(64), stride)))
            value = builder.load(builder.inttoptr(place, ir.IntType(bits).as_pointer()))
            value.align = 1
            return builder.zext(value, ir.IntType(64)) if bits < 64 else value

        return types.int64(types.int64, types.int64), code

    return load


@intrinsic
def _store_cell(context: Any, base: Any, at: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = builder.add(given[0], builder.mul(given[1], ir.Constant(ir.IntType(64), 8)))
        stored = builder.store(given[2], builder.inttoptr(place, ir.IntType(64).as_pointer()))
        stored.align = 1
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def _store_byte(context: Any, base: Any, at: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = builder.inttoptr(builder.add(given[0], given[1]), ir.IntType(8).as_pointer())
        builder.store(builder.trunc(given[2], ir.IntType(8)), place)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


_load_byte, _load_word, _load_cell = _load(8, 1), _load(64, 1), _load(64, 8)


def byte(memory: Memory, at: Number) -> Number:
    """The byte at an index."""
    return int(memory[at])


def word(memory: Memory, at: Number) -> Number:
    """Eight bytes from an index on, as an int64. The caller knows that there are eight."""
    return int.from_bytes(bytes(memory[at : at + 8]), "little", signed=True)


def cell(memory: Memory, at: Number) -> Number:
    """The int64 at an index of cells."""
    return int(memory[at])


def put(memory: Memory, at: Number, value: Number) -> None:
    """Set the int64 at an index of cells."""
    memory[at] = value


def put_byte(memory: Memory, at: Number, value: Number) -> None:
    """Set the byte at an index to the lowest byte of a value."""
    memory[at] = value & 0xFF


@njit(**COMPILED)
def _checked_word(memory, at):
    value = uint64(0)
    for i in range(8):
        value |= uint64(memory[uint64(at + i)]) << uint64(8 * i)
    return int64(value)


@overload(byte, jit_options=INLINED)
def _byte(memory, at):
    if isinstance(memory, types.Integer):
        return lambda memory, at: _load_byte(memory, at)
    return lambda memory, at: int64(memory[uint64(at)])  # A negative index would count from the end.


@overload(word, jit_options=INLINED)
def _word(memory, at):
    if isinstance(memory, types.Integer):
        return lambda memory, at: _load_word(memory, at)
    return lambda memory, at: _checked_word(memory, at)


@overload(cell, jit_options=INLINED)
def _cell(memory, at):
    if isinstance(memory, types.Integer):
        return lambda memory, at: _load_cell(memory, at)
    return lambda memory, at: memory[uint64(at)]


@overload(put, jit_options=INLINED)
def _put(memory, at, value):
    if isinstance(memory, types.Integer):
        return lambda memory, at, value: _store_cell(memory, at, value)  # type: ignore[call-arg]

    def checked(memory, at, value):
        memory[uint64(at)] = value

    return checked


@overload(put_byte, jit_options=INLINED)
def _put_byte(memory, at, value):
    if isinstance(memory, types.Integer):
        return lambda memory, at, value: _store_byte(memory, at, value)  # type: ignore[call-arg]

    def checked(memory, at, value):
        memory[uint64(at)] = value & 0xFF

    return checked


@njit(**INLINED)
def mixed(state, value):
    """A hash of what was hashed before and one more int64."""
    state = (uint64(state) ^ uint64(value)) * _MIX
    return int64(state ^ (state >> uint64(29)))


@njit(**INLINED)
def text_hash(memory, at, size):
    """A hash of `size` bytes. Good for tables, no defence: whoever uses it compares the text as well."""
    state, end = mixed(int64(0), size), at + size
    while at + 8 <= end:
        state = mixed(state, word(memory, at))
        at += 8
    if at < end:
        if size >= 8:  # The last eight bytes, some of them again, without a look past the end.
            state = mixed(state, word(memory, end - 8))
        else:
            last = int64(0)
            while at < end:
                last = (last << 8) | byte(memory, at)
                at += 1
            state = mixed(state, last)
    return int64(uint64(state) ^ (uint64(state) >> uint64(32)))


@njit(**INLINED)
def same_text(memory, at, other, other_at, size):
    """Whether `size` bytes here and there are equal."""
    done = 0
    while done + 8 <= size:
        if word(memory, at + done) != word(other, other_at + done):
            return False
        done += 8
    while done < size:
        if byte(memory, at + done) != byte(other, other_at + done):
            return False
        done += 1
    return True


@intrinsic
def as_float(context: Any, bits: Any) -> Any:
    """The float64 that an int64 holds the bits of."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], ir.DoubleType())

    return types.float64(types.int64), code


@intrinsic
def as_bits(context: Any, number: Any) -> Any:
    """The bits of a float64 as an int64."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], ir.IntType(64))

    return types.int64(types.float64), code
