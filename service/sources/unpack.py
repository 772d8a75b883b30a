"""Gzip bodies, never unpacked beyond a limit, and never for long on the event loop."""

import asyncio
import zlib
from io import BytesIO

INLINE_BYTES = 256 << 10
"""What is unpacked at once, in about a millisecond; more is left to a thread, as zlib lets go of the interpreter."""
PIECE_BYTES = 256 << 10
MEMBERS_MAX = 100
"""A gzip file may be several, one after the other, as Go's reader takes them; more than this many is an attack."""
_GZIP = 31


class TooLargeError(Exception):
    """It would be over the limit unpacked."""


class GzipError(Exception):
    """What was sent is not gzip, or not all of it; the message says which."""


async def unpacked(packed: bytes, bytes_max: int) -> bytes:
    """A gzip body unpacked. Raises TooLargeError before it holds more than the limit, GzipError for no gzip."""
    if len(packed) <= INLINE_BYTES:
        try:
            first = zlib.decompressobj(_GZIP)
            part = first.decompress(packed, min(INLINE_BYTES, bytes_max + 1))
        except zlib.error:
            raise GzipError("the body is not gzip") from None
        if first.eof and not first.unused_data:
            if len(part) > bytes_max:
                raise TooLargeError
            return part
    return await asyncio.to_thread(unpack, packed, bytes_max)


def unpack(packed: bytes, bytes_max: int) -> bytes:
    """The same, at once.

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
