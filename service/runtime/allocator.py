"""How the C library's allocator keeps memory that was freed: as little as it can, as this process runs for months.

Steps, saves and /metrics make arrays of many megabytes and free them, in whichever thread is idle. By itself glibc
keeps an arena a thread, and after the first large array that is freed it takes ones of up to 32 MiB from these arenas.
A small object behind them keeps their pages resident. So each arena stays as large as the most that it ever held.
"""

import ctypes

ARENAS = 2
"""As only one thread at a time runs Python, more of them save no waiting."""
MAPPED_BYTES = 1 << 20
"""An array of this size has pages of its own, which the system has back when it is freed."""
TRIMMED_BYTES = 64 << 20
"""So much may lie free at an arena's end: giving back and taking again costs a fault a page."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h; mallopt(3)."""


def give_back() -> bool:
    """Have freed memory go back to the system, from now on; whether the C library is one that can be told so.

    Called before threads are made: an arena that there is stays.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    told = ((_M_MMAP_THRESHOLD, MAPPED_BYTES), (_M_TRIM_THRESHOLD, TRIMMED_BYTES), (_M_ARENA_MAX, ARENAS))
    return [tell(name, value) for name, value in told] == [1] * len(told)


def trim() -> None:
    """Give pages that lie free between objects back now: by itself glibc does so at an arena's end alone.

    It takes some hundredths of a second, in which no other thread gets memory from the arena at hand.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # Another C library: it has its own ways.
        return
