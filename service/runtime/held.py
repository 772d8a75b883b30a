"""Bodies that are held until the next save, in memory of their own.

Between other objects they would leave holes as they go, which the heap cannot give back: with 200 MiB of bodies let go
every half a minute it would grow for hours.
"""

import mmap

BLOCK_BYTES = 8 << 20
"""Pages that are asked for at once. A body that is larger has as many as it needs."""


class Held:
    """Copies of bodies, one after another in blocks of pages that hold nothing else.

    A block goes back to the system with the last of its bodies.

    >>> body = Held().copy(b"spans")
    >>> bytes(body)
    b'spans'
    """

    def __init__(self) -> None:
        self._free = memoryview(b"")

    def copy(self, body: bytes) -> memoryview:
        """The copy of a body; it cannot be written to."""
        if len(body) > len(self._free):
            self._free = memoryview(mmap.mmap(-1, max(BLOCK_BYTES, len(body)), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        copy, self._free = self._free[: len(body)], self._free[len(body) :]
        copy[:] = body
        return copy.toreadonly()
