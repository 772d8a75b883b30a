"""Memory as kernels see it: loops over numbers, written once, run by the interpreter or compiled.

A kernel is a plain function over the loads and stores below. Called as it is, the memory it is given are memoryviews,
and it is Python, slow and the same everywhere. Compiled (`machine.py`), they are addresses. Cells are int64,
little-endian; a number stands in a cell by its bits.
"""

import struct
from collections.abc import Callable
from typing import Any, TypeVar

Memory = Any
"""A memoryview of bytes or of int64; an array of either, or the address of its first element, once compiled."""
Number = Any
"""An int64, as the compiler has it."""
Loop = TypeVar("Loop", bound=Callable[..., Any])

KERNELS: list[Callable[..., Any]] = []
"""Every kernel, in the order in which they were written."""
_MIX, _ALL = 0x9E3779B97F4A7C15, 2**64 - 1
_DOUBLE, _BITS = struct.Struct("<d"), struct.Struct("<q")


def kernel(loop: Loop) -> Loop:
    """Mark a function as a kernel. It stays what it is; other kernels may call it, compiled or not."""
    KERNELS.append(loop)
    return loop


def byte(memory: Memory, at: Number) -> Number:
    """The byte at an index."""
    return int(memory[at])


def word(memory: Memory, at: Number) -> Number:
    """Eight bytes from an index on, as an int64. The caller knows that there are eight."""
    return int.from_bytes(bytes(memory[at : at + 8]), "little", signed=True)


def cell(memory: Memory, at: Number) -> Number:
    """The int64 at an index of cells."""
    return memory[at]


def put(memory: Memory, at: Number, value: Number) -> None:
    """Set the int64 at an index of cells."""
    memory[at] = value


def put_byte(memory: Memory, at: Number, value: Number) -> None:
    """Set the byte at an index to the lowest byte of a value."""
    memory[at] = value & 0xFF


def put_word(memory: Memory, at: Number, value: Number) -> None:
    """Set eight bytes from an index on to an int64."""
    memory[at : at + 8] = int(value).to_bytes(8, "little", signed=True)


def soon(memory: Memory, at: Number) -> None:
    """Have the cell at an index brought near: it will be asked for. No more than a wish, and no index is wrong."""


def as_float(bits: Number) -> Any:
    """The float64 that an int64 holds the bits of."""
    return _DOUBLE.unpack(_BITS.pack(bits))[0]


def as_bits(number: Any) -> Any:
    """The bits of a float64 as an int64.

    >>> as_float(as_bits(1.5))
    1.5
    """
    return _BITS.unpack(_DOUBLE.pack(number))[0]


def mixed(state: Number, value: Number) -> Number:
    """A hash of what was hashed before and one more int64."""
    state = ((state ^ value) & _ALL) * _MIX & _ALL
    state ^= state >> 29
    return state - 2**64 if state >= 2**63 else state


def number(memory: Memory, at: Number) -> Any:
    """The float64 at an index of cells."""
    return as_float(cell(memory, at))


@kernel
def amount(memory: Memory, at: Number) -> Any:
    """The float64 at an index of cells, 0.0 in the place of NaN."""
    value = number(memory, at)
    return value if value == value else 0.0


def put_number(memory: Memory, at: Number, value: Any) -> None:
    """Set the float64 at an index of cells."""
    put(memory, at, as_bits(value))


@kernel
def hash_of(seed: Memory, one: Number, other: Number) -> Number:
    """A hash of two int64, good in its low bits too: ids that are counters differ in their high ones alone.

    Who does not know the seed, two cells, cannot choose ids that collide; it stands between the two as well, for what
    differs in the highest bits of the first could be made up for in the other.

    >>> len({hash_of((0, 0), 0, n << 56) & 255 for n in range(-100, 100)}) > 100
    True
    """
    return mixed(mixed(mixed(mixed(cell(seed, 0), one), cell(seed, 1)), other), 1)


@kernel
def fingerprint(seed: Memory, memory: Memory, at: Number, size: Number) -> tuple[Number, Number]:
    """128 bits that stand for a text; the first 64 serve as its hash. No two of a fleet's session ids share them by
    chance; who knew the seed could make two that do, which does it the same good as sending one id twice.
    """
    end = at + size
    one, two = mixed(cell(seed, 0), size), mixed(cell(seed, 1), size)
    while at + 8 <= end:
        one = mixed(one, word(memory, at))
        two = mixed(two, one)
        at += 8
    last = 0
    while at < end:
        last = (last << 8) | byte(memory, at)
        at += 1
    one = mixed(mixed(one, last), size)
    return one, mixed(two, one)


def same_text(memory: Memory, at: Number, other: Memory, other_at: Number, size: Number) -> Any:
    """Whether `size` bytes here and there are equal."""
    return bytes(memory[at : at + size]) == bytes(other[other_at : other_at + size])
