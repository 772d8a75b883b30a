"""The compiled decoder made ready before anything is read, or a word on why it cannot be had.

Compiling takes the better part of a minute, so what was compiled is kept in a directory of our own, under a name that
changes with the source: the compiler itself looks at one file of several. `python -m service.compiled` compiles into
the environment that it runs in, as `make install` does, and a first start takes its copy from there.
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
from service.batch import Record, Signal, Tally
from service.ingest.decode import Decoder
from service.ingest.limits import IngestLimits
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.stage import Ingest

log = logging.getLogger("tocsin.compiled")

INSTALLED = Path(sys.prefix) / "share" / "tocsin" / "compiled"
"""Where code may be that was compiled when Tocsin was installed."""
_FIRST = ExportTraceServiceRequest(
    resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[Span(
        trace_id=b"1" * 16, span_id=b"1" * 8, name="chat", start_time_unix_nano=1, end_time_unix_nano=1,
    )])])],
).SerializeToString()  # fmt: skip
"""A span to warm up with."""
_INGEST = Path(__file__).parent / "ingest"
_SOURCES = ("memory.py", "machine.py", "dialects/*.py", "otlp/*.py", "join/*.py")
"""All that the compiled code is made of."""
_WITH_LOOPS = ("errors", "latency", "cost", "outcomes")
"""Detectors with loops to compile; those of another would be compiled at its first tick."""


def decoder(directory: Path) -> Decoder:
    """The compiled decoder, warm, its code kept in `directory`; that of protobuf where it cannot be had."""
    return first_that_works(lambda: _scanner(directory), directory)


def is_installed() -> bool:
    """Whether this code was compiled when Tocsin was installed, so that having it takes a second."""
    return (INSTALLED / _version()).is_dir()


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

    from service.ingest.compiled import CALLED, CompiledDecoder

    home = directory / _version()
    for other in directory.glob("*"):
        if other != home:
            shutil.rmtree(other, ignore_errors=True)
    if not home.exists() and (INSTALLED / _version()).is_dir():
        shutil.copytree(INSTALLED / _version(), home)
    if not home.exists():
        log.info("compiling the decoder, once: a minute or so")
    home.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(home)  # type: ignore[attr-defined]
    for kernel in CALLED:
        kernel.enable_caching()  # type: ignore[union-attr]
    for name in _WITH_LOOPS:
        contract.load(name)
    warm()
    made = CompiledDecoder()
    _run(made)
    return made


def _run(made: Decoder) -> None:
    """Call every kernel once."""
    ingest, tally = Ingest(IngestLimits(), decoder=made), Tally()
    ingest.read(Record(Signal.TRACES, _FIRST, ""), 1, tally)
    ingest.join.labels_of(b"1" * 16, b"1" * 8)
    for _ in Ingest.restore(ingest.snapshot(), ingest.limits, made).flush(tally):
        pass


def _version() -> str:
    """A name for the source of everything that may be compiled."""
    found = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_INGEST.glob(pattern)):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    raise SystemExit(decoder(INSTALLED).name != "compiled")
