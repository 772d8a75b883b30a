"""The OTLP/HTTP door: bodies in, the answers that the OTLP specification asks for out.

A body is answered once it has been read, so a sender knows what was rejected and a full daemon slows its senders:
a full queue is 429 with Retry-After, which OTLP exporters wait for.
"""

import asyncio
import json
import zlib
from collections import Counter
from enum import StrEnum

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from service.batch import Answer, Record, Signal
from service.sources.arrival import Arrival, Arrivals

PARTITION = "otlp"
RETRY_AFTER_S = 1
ANSWER_TIMEOUT_S = 30.0
PROTOBUF, JSON = "application/x-protobuf", "application/json"
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE = 3, 8, 14
REJECTED_FIELD = {
    Signal.TRACES: "rejectedSpans",
    Signal.METRICS: "rejectedDataPoints",
    Signal.LOGS: "rejectedLogRecords",
}


class Refused(StrEnum):
    """Why a request was turned away before its body was read."""

    CONTENT_TYPE = "content_type"
    ENCODING = "encoding"
    TOO_LARGE = "too_large"
    BROKEN_GZIP = "broken_gzip"
    FULL = "full"
    DISCONNECTED = "disconnected"


class RefusalError(Exception):
    """A request that gets an error: its HTTP status, gRPC code and what to do instead."""

    def __init__(self, reason: Refused, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.reason, self.status, self.code, self.message = reason, status, code, message


class Door:
    """Routes for `/v1/{traces,metrics,logs}`; `refused` counts by reason for the metrics."""

    def __init__(self, arrivals: Arrivals, body_bytes_max: int) -> None:
        self.arrivals, self.body_bytes_max = arrivals, body_bytes_max
        self.refused: Counter[Refused] = Counter()
        self.closing = False
        self.app = Starlette(routes=[Route(f"/v1/{s}", self.export, methods=["POST"]) for s in Signal])

    async def export(self, request: Request) -> Response:
        """One OTLP request."""
        signal = Signal(request.url.path.rpartition("/")[2])
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if media not in (PROTOBUF, JSON):
                message = f'Content-Type "{media[:80]}" is not OTLP; send {PROTOBUF} or {JSON}'
                raise RefusalError(Refused.CONTENT_TYPE, 415, INVALID_ARGUMENT, message)
            body = await self._body(request)
            answer = await self._read(Record(signal, body, PARTITION))
        except RefusalError as refusal:
            self.refused[refusal.reason] += 1
            return _error(media, refusal.status, refusal.code, refusal.message)
        if answer.error is not None:
            return _error(media, 400, INVALID_ARGUMENT, answer.error)
        return Response(_success(signal, media, answer), media_type=media)

    async def _body(self, request: Request) -> bytes:
        """The unpacked body, never more than the limit, however small it was packed."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            message = f'Content-Encoding "{encoding[:80]}" is not known; send gzip or none'
            raise RefusalError(Refused.ENCODING, 415, INVALID_ARGUMENT, message)
        parts, size = [], 0
        unpack = zlib.decompressobj(31) if encoding == "gzip" else None
        try:
            async for chunk in request.stream():
                part = unpack.decompress(chunk, self.body_bytes_max - size + 1) if unpack else chunk
                parts.append(part)
                size += len(part)
                if size > self.body_bytes_max:
                    message = f"the body is over {self.body_bytes_max} bytes unpacked; send smaller batches"
                    raise RefusalError(Refused.TOO_LARGE, 413, INVALID_ARGUMENT, message)
        except zlib.error:
            raise RefusalError(Refused.BROKEN_GZIP, 400, INVALID_ARGUMENT, "the body is not gzip") from None
        except ClientDisconnect:
            raise RefusalError(Refused.DISCONNECTED, 400, INVALID_ARGUMENT, "the body ended early") from None
        if unpack and not unpack.eof and size:
            raise RefusalError(Refused.BROKEN_GZIP, 400, INVALID_ARGUMENT, "the gzip body ends early")
        return b"".join(parts)

    async def _read(self, record: Record) -> Answer:
        """What became of the record, once the daemon has read it."""
        answers: asyncio.Future[tuple[Answer, ...]] = asyncio.get_running_loop().create_future()
        if self.closing:
            raise RefusalError(Refused.FULL, 503, UNAVAILABLE, "shutting down; try again")
        try:
            self.arrivals.put_nowait(Arrival((record,), {}, answers))
        except asyncio.QueueFull:
            raise RefusalError(Refused.FULL, 429, RESOURCE_EXHAUSTED, "too many bodies wait; try again") from None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return (await answers)[0]
        except TimeoutError:
            raise RefusalError(Refused.FULL, 503, UNAVAILABLE, "the daemon is behind; try again") from None


def _success(signal: Signal, media: str, answer: Answer) -> bytes:
    """The signal's Export…ServiceResponse; `partial_success` only where there is something to say."""
    partial = bool(answer.rejected or answer.message)
    if media == JSON:
        told = {REJECTED_FIELD[signal]: str(answer.rejected), "errorMessage": answer.message}
        return json.dumps({"partialSuccess": told} if partial else {}).encode()
    if signal is Signal.TRACES:
        traces = ExportTraceServiceResponse()
        if partial:
            traces.partial_success.rejected_spans = answer.rejected
            traces.partial_success.error_message = answer.message
        return traces.SerializeToString()
    if signal is Signal.METRICS:
        metrics = ExportMetricsServiceResponse()
        if partial:
            metrics.partial_success.rejected_data_points = answer.rejected
            metrics.partial_success.error_message = answer.message
        return metrics.SerializeToString()
    logs = ExportLogsServiceResponse()
    if partial:
        logs.partial_success.rejected_log_records = answer.rejected
        logs.partial_success.error_message = answer.message
    return logs.SerializeToString()


def _error(media: str, status: int, code: int, message: str) -> Response:
    """A google.rpc.Status in the request's encoding; Retry-After where the sender should come again."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    if media == JSON:
        return Response(json.dumps({"code": code, "message": message}), status, headers, JSON)
    return Response(Status(code=code, message=message).SerializeToString(), status, headers, PROTOBUF)
