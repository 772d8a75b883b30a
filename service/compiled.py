"""The compiled decoder made ready before anything is read, or a word on why it cannot be had.

Compiling takes a quarter of a minute, so what was compiled is kept in a directory of our own, under a name that changes
with the source: the compiler itself looks at one file of several. `python -m service.compiled` compiles into the
environment that it runs in, as `make install` does, and a first start takes its copy from there.
"""

import hashlib
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from detectors.core import contract
from detectors.core.compiled import warm
from service.ingest.decode import Decoder
from service.ingest.otlp.in_protobuf import ProtobufDecoder

log = logging.getLogger("tocsin.compiled")

INSTALLED = Path(sys.prefix) / "share" / "tocsin" / "compiled"
"""Where code may be that was compiled when Tocsin was installed."""
_FIRST = ExportTraceServiceRequest(
    resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[Span(
        trace_id=b"1" * 16, span_id=b"1" * 8, name="chat", start_time_unix_nano=1, end_time_unix_nano=1,
    )])])],
).SerializeToString()  # fmt: skip
"""A span to warm up with."""
_INGEST = Path(__file__).parent / "ingest" / "otlp"
_SOURCES = ("columns.py", "memory.py", "room.py", "scan.py", "shapes.py", "wire.py")
"""All that the compiled decoder is made of."""
_WITH_LOOPS = ("errors", "latency", "cost", "outcomes")
"""Detectors with loops to compile; those of another would be compiled at its first tick."""


def decoder(directory: Path) -> Decoder:
    """The compiled decoder, warm, its code kept in `directory`; that of protobuf where it cannot be had."""
    return first_that_works(lambda: _scanner(directory), directory)


def first_that_works(make: Callable[[], Decoder], directory: Path) -> Decoder:
    """What `make` makes, if need be with `directory` emptied first, as code on disk may be broken; else protobuf's."""
    failure: Exception | None = None
    for _ in range(2):
        try:
            return make()
        except ImportError as error:
            failure = error
            break
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

    from service.ingest.plans import KERNELS, CompiledDecoder

    home = directory / _version()
    for other in directory.glob("*"):
        if other != home:
            shutil.rmtree(other, ignore_errors=True)
    if not home.exists() and (INSTALLED / _version()).is_dir():
        shutil.copytree(INSTALLED / _version(), home)
    if not home.exists():
        log.info("compiling the decoder, once: a quarter of a minute or more")
    home.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(home)  # type: ignore[attr-defined]
    for kernel in KERNELS:
        kernel.enable_caching()
    for name in _WITH_LOOPS:
        contract.load(name)
    warm()
    made = CompiledDecoder()
    made.scan([_FIRST])
    return made


def _version() -> str:
    """A name for the source of everything that may be compiled."""
    found = hashlib.sha256()
    for name in _SOURCES:
        found.update((_INGEST / name).read_bytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    raise SystemExit(decoder(INSTALLED).name != "compiled")
