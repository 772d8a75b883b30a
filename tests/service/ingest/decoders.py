"""Decoders of the same bodies, compared."""

import ctypes
import mmap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.compiled import decoder
from service.ingest.decode import Decoder
from service.ingest.otlp.columns import (
    FIRST,
    KIND,
    NAME,
    NAME_BYTES,
    RECORD_IS_BAD,
    RESOURCE,
    SCOPE,
    STATE,
    STATE_BYTES,
    STOP,
    TEXT,
    TEXT_KIND,
    VALUE,
    Columns,
)
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.room import Room
from service.ingest.otlp.scanner import Array, CheckedScanner, Scanner

CACHE = Path(__file__).parents[3] / ".cache" / "compiled"
PAGE = mmap.PAGESIZE


@cache
def compiled() -> Decoder:
    """The compiled decoder, its code kept between runs of the tests."""
    made = decoder(CACHE)
    assert made.name == "compiled"
    return made


def scanner() -> Scanner:
    """The scanner alone, without plans."""
    compiled()  # Says where its code is kept.
    return Scanner()


def checked() -> CheckedScanner:
    """The build with bounds checks, kept likewise."""
    compiled()
    return CheckedScanner()


class GuardedScanner(Scanner):
    """The fast build, each body ending where memory ends: a read past it kills the process."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self._size = pages * PAGE
        self._memory = mmap.mmap(-1, self._size + PAGE)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        assert protect(ctypes.c_void_p(self._base + self._size), ctypes.c_size_t(PAGE), 0) == 0

    def _room(self, text: Array, records: Array) -> Room:
        assert len(text) <= self._size
        begin = self._base + self._size - len(text)
        ctypes.memmove(begin, text.ctypes.data, len(text))
        return super()._room(text, records)._replace(text=begin)


def meaning(columns: Columns) -> list[object]:
    """What columns say, wherever their texts lie."""

    def text(at: int, size: int) -> bytes:
        return columns.text[at : at + size]

    def attributes(first: int, stop: int) -> list[object]:
        return [
            (row[0], row[KIND], text(row[TEXT], row[VALUE]) if row[KIND] == TEXT_KIND else row[VALUE])
            for row in columns.attributes[first:stop].tolist()
        ]

    said: list[object] = [columns.records[:, RECORD_IS_BAD:].tolist()]
    for span in columns.spans.tolist():
        resource, scope = columns.resources[span[RESOURCE]].tolist(), columns.scopes[span[SCOPE]].tolist()
        said.append(
            (
                span[:NAME],
                text(span[NAME], span[NAME_BYTES]),
                text(span[STATE], span[STATE_BYTES]),
                attributes(*resource),
                text(*scope[:2]),
                attributes(*scope[2:]),
                attributes(span[FIRST], span[STOP]),
            )
        )
    return said


def compare(bodies: Sequence[bytes], scanners: Sequence[Scanner]) -> tuple[int, int]:
    """How many bodies were read and how many refused, by all alike. Raises AssertionError naming the body."""
    reference = ProtobufDecoder()
    read = refused = 0
    for body in bodies:
        wanted = meaning(reference.scan([body]))
        for scanner in scanners:
            assert meaning(scanner.scan([body])) == wanted, (type(scanner).__name__, body.hex())
        is_bad = bool(reference.scan([body]).records[0, RECORD_IS_BAD])
        assert is_bad == _is_refused(body), body.hex()
        refused += is_bad
        read += not is_bad
    return read, refused


def _is_refused(body: bytes) -> bool:
    """Whether OTLP's own messages refuse a body for more than a letter."""
    try:
        ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        return "UTF-8" not in str(error) or bool(
            ProtobufDecoder().scan([body]).records[0, RECORD_IS_BAD]
        )  # Which of two faults is told is protobuf's choice.
    return False
