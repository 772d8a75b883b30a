"""Gzip bodies, never unpacked beyond a limit, and never for long on the event loop."""

import asyncio
import zlib

INLINE_BYTES = 256 << 10
"""What is unpacked at once, in about a millisecond; more is left to a thread, as zlib lets go of the interpreter."""
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
    parts: list[bytes] = []
    size = 0
    for _ in range(MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(packed, bytes_max - size + 1)
        except zlib.error:
            raise GzipError("the body is not gzip" if not parts else "after its gzip the body goes on") from None
        parts.append(part)
        size += len(part)
        if size > bytes_max:
            raise TooLargeError
        if not member.eof:
            raise GzipError("the gzip body ends early")
        packed = member.unused_data
        if not packed:
            return b"".join(parts)
    raise GzipError(f"the body is more than {MEMBERS_MAX} gzip files")
