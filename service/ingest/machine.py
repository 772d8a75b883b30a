"""Kernels compiled: the loads and stores of `memory.py` as machine code.

Every kernel is written once. Given arrays, each access is checked against their bounds: the build that is fuzzed. Given
integers, they are taken for addresses and nothing is checked or counted, which is several times faster: numba counts
references to an array at each helper that it passes. Cells are 8 bytes wide, little-endian and need no alignment.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import float64, int64, njit, types, uint64
from numba.extending import intrinsic, overload, register_jitable

from service.ingest.memory import (
    KERNELS,
    as_bits,
    as_float,
    byte,
    cell,
    mixed,
    number,
    put,
    put_byte,
    put_number,
    put_word,
    same_text,
    soon,
    word,
)

COMPILED: Any = {"nogil": True, "boundscheck": True, "error_model": "numpy"}
"""How kernels are compiled. Bounds are of arrays: where there are only addresses, checking them costs nothing."""
INLINED: Any = COMPILED | {"forceinline": True}
_MIX = uint64(0x9E3779B97F4A7C15)
_KNOWN: set[Callable[..., Any]] = set()


def compiled(loop: Callable[..., Any]) -> Any:
    """A kernel as machine code, to be called from Python; those that it calls become so too."""
    for each in KERNELS:
        if each not in _KNOWN:
            _KNOWN.add(each)
            register_jitable(**COMPILED)(each)
    return njit(**COMPILED)(loop)


@njit(**COMPILED)
def address(array):
    """Where an array begins; whoever asks keeps it alive. Numpy's own answer takes several times as long."""
    return array.ctypes.data


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


def _store(bits: int, stride: int) -> Callable[..., Any]:
    """A store of so many bits, to an address and an index in strides of so many bytes."""

    @intrinsic
    def store(context: Any, base: Any, at: Any, value: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            place = builder.add(given[0], builder.mul(given[1], ir.Constant(ir.IntType(64), stride)))
            value = builder.trunc(given[2], ir.IntType(bits)) if bits < 64 else given[2]
            stored = builder.store(value, builder.inttoptr(place, ir.IntType(bits).as_pointer()))
            stored.align = 1
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), code

    return store


@intrinsic
def _prefetch(context: Any, base: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = builder.add(given[0], builder.mul(given[1], ir.Constant(ir.IntType(64), 8)))
        pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        wish = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        asked = builder.module.declare_intrinsic("llvm.prefetch.p0", (), wish)
        builder.call(asked, [builder.inttoptr(place, pointer), *(ir.Constant(flag, n) for n in (1, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


_load_byte, _load_word, _load_cell = _load(8, 1), _load(64, 1), _load(64, 8)
_store_byte, _store_word, _store_cell = _store(8, 1), _store(64, 1), _store(64, 8)


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
        return lambda memory, at, value: _store_cell(memory, at, value)

    def checked(memory, at, value):
        memory[uint64(at)] = value

    return checked


@overload(soon, jit_options=INLINED)
def _soon(memory, at):
    if isinstance(memory, types.Integer):
        return lambda memory, at: _prefetch(memory, at)  # type: ignore[call-arg]
    return lambda memory, at: None


@overload(put_byte, jit_options=INLINED)
def _put_byte(memory, at, value):
    if isinstance(memory, types.Integer):
        return lambda memory, at, value: _store_byte(memory, at, value)

    def checked(memory, at, value):
        memory[uint64(at)] = value & 0xFF

    return checked


@overload(put_word, jit_options=INLINED)
def _put_word(memory, at, value):
    if isinstance(memory, types.Integer):
        return lambda memory, at, value: _store_word(memory, at, value)

    def checked(memory, at, value):
        for i in range(8):
            memory[uint64(at + i)] = (value >> int64(8 * i)) & 0xFF

    return checked


@overload(mixed, jit_options=INLINED)
def _mixed(state, value):
    def mix(state, value):
        state = (uint64(state) ^ uint64(value)) * _MIX
        return int64(state ^ (state >> uint64(29)))

    return mix


@njit(**INLINED)
def last_word(memory, end, size):
    """The last bytes of a text of `size` that ends there: eight, or all if there are fewer. Looks at nothing else."""
    if size >= 8:
        return word(memory, end - 8)
    last = int64(0)
    for at in range(end - size, end):
        last = (last << 8) | byte(memory, at)
    return last


@njit(**INLINED)
def text_hash(memory, at, size):
    """A hash of `size` bytes. Good for tables, no defence: whoever uses it compares the text as well."""
    state, end = mixed(int64(0), size), at + size
    while at + 8 <= end:
        state = mixed(state, word(memory, at))
        at += 8
    if at < end:
        state = mixed(state, last_word(memory, end, size))
    return int64(uint64(state) ^ (uint64(state) >> uint64(32)))  # type: ignore[operator]


@overload(same_text, jit_options=INLINED)
def _same_text(memory, at, other, other_at, size):
    def same(memory, at, other, other_at, size):
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

    return same


@intrinsic
def _float_of(context: Any, bits: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], ir.DoubleType())

    return types.float64(types.int64), code


@intrinsic
def _bits_of(context: Any, number: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], ir.IntType(64))

    return types.int64(types.float64), code


@overload(as_float, jit_options=INLINED)
def _as_float(bits):
    return lambda bits: _float_of(bits)  # type: ignore[call-arg]


@overload(as_bits, jit_options=INLINED)
def _as_bits(number):
    return lambda number: _bits_of(number)  # type: ignore[call-arg]


@overload(number, jit_options=INLINED)
def _number(memory, at):
    return lambda memory, at: _float_of(cell(memory, at))  # type: ignore[call-arg]


@overload(put_number, jit_options=INLINED)
def _put_number(memory, at, value):
    return lambda memory, at, value: put(memory, at, _bits_of(float64(value)))  # type: ignore[call-arg]
