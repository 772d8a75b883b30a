"""The compiled decoder made ready before anything is read, or a word on why it cannot be had.

Compiling takes a quarter of a minute, so what was compiled is kept in a directory of our own, under a name that changes
with the source: the compiler itself looks at one file of several.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from service.ingest.decode import Decoder
from service.ingest.protobuf import ProtobufDecoder

log = logging.getLogger("tocsin.compiled")

_SOURCES = Path(__file__).parent / "ingest"


def decoder(directory: Path) -> Decoder:
    """The compiled decoder, warm, its code kept in `directory`; that of protobuf where it cannot be had."""
    return first_that_works(lambda: _scanner(directory), directory)


def first_that_works(make: Callable[[], Decoder], directory: Path) -> Decoder:
    """What `make` makes, if need be with `directory` emptied first, as code on disk may be broken; else protobuf's."""
    failure: Exception | None = None
    for _ in range(2):
        try:
            return make()
        # A cut file raises whatever unpickling it does, the compiler what it likes; none of it may stop the daemon.
        except Exception as error:
            failure = error
            shutil.rmtree(directory, ignore_errors=True)
    log.warning(
        "no compiled code (%s: %s): traces are decoded by protobuf, with the same results, but slower",
        type(failure).__name__,
        " ".join(str(failure).split())[:300],
    )
    return ProtobufDecoder()


def _scanner(directory: Path) -> Decoder:
    """The scanner, compiled or loaded, having scanned its first bodies. Raises anything."""
    import numba  # Half a second and 60 MB, so only where it is used.

    from service.ingest.scanner import KERNELS, Scanner

    home = directory / _version()
    for other in directory.glob("*"):
        if other != home:
            shutil.rmtree(other, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(home)  # type: ignore[attr-defined]
    for kernel in KERNELS:
        kernel.enable_caching()
    scanner = Scanner()
    scanner.scan([b"", b"\x0a\x04\x12\x02\x12\x00"])
    return scanner


def _version() -> str:
    """A name for the source of everything that may be compiled."""
    found = hashlib.sha256()
    for path in sorted(_SOURCES.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
