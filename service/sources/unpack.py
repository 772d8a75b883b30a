"""Gzip bodies, never unpacked beyond a limit, and never for long on the event loop."""

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

INLINE_BYTES = 256 << 10
"""What is unpacked at once, in about a millisecond; more is left to a thread, as zlib lets go of the interpreter."""
PIECE_BYTES = 256 << 10
SMALL_WAITING_MAX, LARGE_WAITING_MAX = 32, 1
"""Bodies that wait to be unpacked. One takes ten milliseconds if it is small, a few tenths of a second if it is not."""
MEMBERS_MAX = 100
"""A gzip file may be several, one after the other, as Go's reader takes them; more than this many is an attack."""
_GZIP = 31


class TooLargeError(Exception):
    """It would be over the limit unpacked."""


class GzipError(Exception):
    """What was sent is not gzip, or not all of it; the message says which."""


class BusyError(Exception):
    """As many bodies are being unpacked, or wait for it, as may be."""


class Unpacker:
    """Unpacks what takes longer than a moment, in two threads of its own: nobody else waits for it.

    One thread is for bodies that are small unpacked too, so that these do not wait for those that are not.

    small_max  bytes unpacked up to which a body is small
    """

    def __init__(self, small_max: int) -> None:
        self.small_max = small_max
        self._small, self._large = _Lane("unpack", SMALL_WAITING_MAX), _Lane("unpack-large", LARGE_WAITING_MAX)

    async def small(self, packed: bytes, bytes_max: int) -> bytes | None:
        """A gzip body unpacked; None if it is not small. Raises as `unpack` does, and BusyError."""
        most = min(self.small_max, bytes_max)
        if len(packed) <= INLINE_BYTES:
            try:
                first = zlib.decompressobj(_GZIP)
                part = first.decompress(packed, min(INLINE_BYTES, most + 1))
            except zlib.error:
                raise GzipError("the body is not gzip") from None
            if first.eof and not first.unused_data and len(part) <= most:
                return part
        try:
            return await self._small.run(packed, most)
        except TooLargeError:
            if most == bytes_max:
                raise
            return None

    async def large(self, packed: bytes, bytes_max: int) -> bytes:
        """Any gzip body unpacked. Raises as `unpack` does, and BusyError."""
        return await self._large.run(packed, bytes_max)

    def close(self) -> None:
        """No further body is unpacked."""
        self._small.executor.shutdown(wait=False, cancel_futures=True)
        self._large.executor.shutdown(wait=False, cancel_futures=True)


class _Lane:
    """One thread, and how many may wait for it."""

    def __init__(self, name: str, waiting_max: int) -> None:
        self.executor, self._waiting_max, self._inside = ThreadPoolExecutor(1, name), waiting_max, 0

    async def run(self, packed: bytes, bytes_max: int) -> bytes:
        if self._inside > self._waiting_max:
            raise BusyError
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.executor, unpack, packed, bytes_max)
        finally:
            self._inside -= 1


def unpack(packed: bytes, bytes_max: int) -> bytes:
    """A gzip body unpacked. Raises TooLargeError before it holds more than the limit, GzipError for no gzip.

    >>> import gzip
    >>> unpack(gzip.compress(b"ab") + gzip.compress(b"c"), 3)
    b'abc'
    """
    body, begin = BytesIO(), 0
    for _ in range(MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP)
        begin = _add_member(member, packed, begin, body, bytes_max)
        if not member.eof:
            raise GzipError("the gzip body ends early")
        if begin == len(packed):
            return body.getvalue()
    raise GzipError(f"the body is more than {MEMBERS_MAX} gzip files")


def _add_member(member: "zlib._Decompress", packed: bytes, begin: int, body: BytesIO, bytes_max: int) -> int:
    """Unpack one gzip file from `begin` on, in pieces: where it ends.

    zlib lets go of the interpreter while it unpacks, but not while it puts together what it made; a BytesIO never does.
    """
    is_first = begin == 0
    while not member.eof and begin < len(packed):
        piece = packed[begin : begin + PIECE_BYTES]
        begin += len(piece)
        is_more = True
        while is_more:
            try:
                made = member.decompress(piece, PIECE_BYTES)
            except zlib.error:
                raise GzipError("the body is not gzip" if is_first else "after its gzip the body goes on") from None
            body.write(made)
            if body.tell() > bytes_max:
                raise TooLargeError
            piece = member.unconsumed_tail
            is_more = not member.eof and (piece != b"" or len(made) == PIECE_BYTES)  # All read, but not all written.
    return begin - len(member.unused_data)
