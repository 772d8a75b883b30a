"""Recorded OTLP: files with a body a line, as the Collector's file exporter writes them, or whole bodies, in the order
of the times in them."""

import gzip
import heapq
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.batch import Signal
from service.replay.inspect import BODY_BYTES_MAX, bodies_of, read_body

_GZIP_MAGIC = b"\x1f\x8b"
_OF_KEY = {
    b"resourceSpans": Signal.TRACES, b"resource_spans": Signal.TRACES, b"resourceMetrics": Signal.METRICS,
    b"resource_metrics": Signal.METRICS, b"resourceLogs": Signal.LOGS, b"resource_logs": Signal.LOGS,
}  # fmt: skip
_KEY = re.compile(rb'^\s*\{\s*"(\w+)"')
_TIME = re.compile(rb'"(?:endTimeUnixNano|end_time_unix_nano|timeUnixNano|time_unix_nano)"\s*:\s*"?(\d{1,19})"?')


class RecordedError(Exception):
    """A file that holds no OTLP, in a sentence."""


@dataclass(frozen=True, order=True)
class Recorded:
    """One body.

    time_ns  the latest time in it: it was sent after that
    read     bytes of its file up to its end, packed as they are
    """

    time_ns: int
    file: int
    number: int
    signal: Signal
    body: bytes
    read: int


def recorded(paths: Iterable[Path]) -> Iterator[Recorded]:
    """The bodies of all files, in the order of their times; each file's own order stays.

    Raises OSError, RecordedError.
    """
    return heapq.merge(*(_of_file(number, path) for number, path in enumerate(paths)))


def _of_file(file: int, path: Path) -> Iterator[Recorded]:
    latest_ns = 0
    for number, (body, read) in enumerate(_bodies(path)):
        if not body.strip():
            continue
        signal = _signal(body, path)
        latest_ns = max(latest_ns, _time_ns(body, signal, path))
        yield Recorded(latest_ns, file, number, signal, body, read)


def _bodies(path: Path) -> Iterator[tuple[bytes, int]]:
    """Bodies, and how much of the file is read with each. A file of lines may be of any size."""
    size = path.stat().st_size
    if not _has_lines(path):
        raw = read_body(path)
        if raw is None:
            raise RecordedError(f"{path}: is over {BODY_BYTES_MAX >> 20} MiB and not a body a line; split it")
        yield from ((body, size) for body in bodies_of(raw))
        return
    with path.open("rb") as file, _unpacked(file) as lines:
        while line := lines.readline(BODY_BYTES_MAX + 1):
            if len(line) > BODY_BYTES_MAX:
                raise RecordedError(f"{path}: a line of over {BODY_BYTES_MAX >> 20} MiB is not a body")
            yield line, file.tell()


def _has_lines(path: Path) -> bool:
    """Whether the first line is a whole object of JSON."""
    with path.open("rb") as file, _unpacked(file) as lines:
        try:
            first = lines.readline(BODY_BYTES_MAX + 1)
            return first.startswith(b"{") and isinstance(json.loads(first), dict)
        except (ValueError, EOFError, gzip.BadGzipFile):
            return False


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    magic = file.read(2)
    file.seek(0)
    return gzip.open(file) if magic == _GZIP_MAGIC else file  # type: ignore[return-value]


def _signal(body: bytes, path: Path) -> Signal:
    """What a body holds: by its first key, or by the file's name where it is protobuf."""
    if found := _KEY.match(body):
        if (signal := _OF_KEY.get(found[1])) is None:
            key = found[1].decode(errors="replace")
            raise RecordedError(
                f'{path}: begins with "{key:.40}", which is not OTLP; expected resourceSpans or its like'
            )
        return signal
    return next((signal for signal in Signal if signal.value in path.name), Signal.TRACES)


def _time_ns(body: bytes, signal: Signal, path: Path) -> int:
    """The latest time in a body; 0 if there is none."""
    if body.lstrip().startswith(b"{"):
        return max(map(int, _TIME.findall(body)), default=0)
    try:
        return max(_times(body, signal), default=0)
    except DecodeError:
        raise RecordedError(f"{path}: is neither OTLP/JSON nor an OTLP body of {signal}") from None


def _times(body: bytes, signal: Signal) -> Iterator[int]:
    if signal is Signal.TRACES:
        spans = ExportTraceServiceRequest.FromString(body)
        yield from (s.end_time_unix_nano for r in spans.resource_spans for scope in r.scope_spans for s in scope.spans)
    elif signal is Signal.LOGS:
        logs = ExportLogsServiceRequest.FromString(body)
        yield from (
            r.time_unix_nano for one in logs.resource_logs for scope in one.scope_logs for r in scope.log_records
        )
    else:
        metrics = ExportMetricsServiceRequest.FromString(body)
        for metric in (m for r in metrics.resource_metrics for scope in r.scope_metrics for m in scope.metrics):
            kind = metric.WhichOneof("data")
            yield from (point.time_unix_nano for point in getattr(metric, kind).data_points) if kind else ()
