"""Gzip bodies, unpacked in pieces."""

import random
import zlib

import pytest

from service.sources.unpack import PIECE_BYTES, GzipError, TooLargeError, unpack


def gzip(body: bytes, level: int = 6) -> bytes:
    """One gzip file."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_every_byte_comes_out(size: int, level: int) -> None:
    """Bodies around the size of a piece, that pack well or not at all, in one gzip file or three."""
    for body in (bytes(size), random.Random(size).randbytes(size)):
        packed = gzip(body, level)
        assert unpack(packed, size) == body
        assert unpack(packed * 3, 3 * size) == body * 3
        if size:
            with pytest.raises(TooLargeError):
                unpack(packed * 3, 3 * size - 1)


@pytest.mark.parametrize("cut", [1, 8, 9, 20])
def test_a_cut_body_is_told(cut: int) -> None:
    """Wherever it ends too early; and what follows a gzip file must be another."""
    packed = gzip(random.Random(1).randbytes(2 * PIECE_BYTES))
    with pytest.raises(GzipError, match="ends early"):
        unpack(packed[:-cut], 1 << 30)
    with pytest.raises(GzipError, match="goes on" if cut > 1 else "ends early"):
        unpack(packed + b"x" * cut, 1 << 30)
