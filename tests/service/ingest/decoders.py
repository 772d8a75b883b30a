"""Decoders of the same bodies, compared."""

import ctypes
import mmap
from collections.abc import Sequence

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.ingest.kernel.columns import Columns
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner

PAGE = mmap.PAGESIZE


class GuardedScanner(Scanner):
    """Each body ends where memory ends: a read past it kills the process."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self._size = pages * PAGE
        self._memory = mmap.mmap(-1, self._size + PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        assert protect(ctypes.c_void_p(base + self._size), ctypes.c_size_t(PAGE), 0) == 0

    def scan(self, bodies: Sequence[bytes]) -> Columns:
        """The spans of one body."""
        (body,) = bodies
        assert len(body) <= self._size
        begin = self._size - len(body)
        self._memory[begin : self._size] = body
        self._columns.scan([memoryview(self._memory)[begin : self._size]])
        return self._columns


def is_bad(columns: Columns) -> list[bool]:
    """Whether each record is no OTLP."""
    return [bool(bad) for _, _, _, bad, *_ in columns.records()]


def compare(bodies: Sequence[bytes], scanners: Sequence[Scanner]) -> tuple[int, int]:
    """How many bodies were read and how many refused, by all alike. Raises AssertionError naming the body."""
    reference = ProtobufDecoder()
    read = refused = 0
    for body in bodies:
        wanted = reference.scan([body])
        for scanner in scanners:
            assert scanner.scan([body]).meaning() == wanted.meaning(), (type(scanner).__name__, body.hex())
        (bad,) = is_bad(wanted)
        assert bad == _is_refused(body), body.hex()
        refused += bad
        read += not bad
    return read, refused


def _is_refused(body: bytes) -> bool:
    """Whether OTLP's own messages refuse a body for more than a letter."""
    try:
        ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        # Which of two faults is told is protobuf's choice.
        return "UTF-8" not in str(error) or is_bad(ProtobufDecoder().scan([body]))[0]
    return False
