"""The OTLP/HTTP door: bodies in, the answers that the OTLP specification asks for out.

A body is answered once it has been read, so a sender knows what was rejected and a full daemon slows its senders:
a full queue is 429 with Retry-After, which OTLP exporters wait for.
"""

import asyncio
import hmac
import json
from collections import Counter
from enum import StrEnum
from io import BytesIO

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.batch import Answer, Record, Signal
from service.sources.arrival import Arrival, Arrivals
from service.sources.senders import Senders
from service.sources.unpack import BusyError, GzipError, TooLargeError, Unpacker

PARTITION = "otlp"
RETRY_AFTER_S = 1
ANSWER_TIMEOUT_S = 30.0
BODY_TIMEOUT_S = 30.0
SMALL_SHARE = 16
"""A gzip body is small up to this part of the largest, unpacked."""
LARGE_HELD = 2
"""Gzip bodies over that which are held at once: a few KB make one, and small ones are to find room besides."""
BODIES_HELD = 4
"""Bodies of the largest size that may be held at once, being sent or waiting to be read; then the door answers 429."""
BODY_DRAIN_S = 2.0
"""How long the rest of a refused body is read and thrown away: a sender that still writes would not see the answer."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = 3, 5, 8, 12, 14, 16
RESPONSES: dict[Signal, tuple[type[Message], str, str]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points", "rejectedDataPoints"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
}
"""The answer to each signal, and what it calls the count of what was rejected, in protobuf and in JSON."""


class Refused(StrEnum):
    """Why a request was turned away unread. Closed: every reason is exported, even at zero."""

    TOKEN = "token"  # The door asks for a token, and this was not sent.
    CONTENT_TYPE = "content_type"
    ENCODING = "encoding"
    TOO_LARGE = "too_large"
    BROKEN_GZIP = "broken_gzip"
    FULL = "full"  # Too many bodies, or bytes, wait.
    BEHIND = "behind"  # Taken in, but not read within half a minute.
    CLOSING = "closing"
    SLOW = "slow"  # The body did not come within half a minute.
    DISCONNECTED = "disconnected"


class RefusalError(Exception):
    """A request that gets an error: its HTTP status, gRPC code and what to do instead."""

    def __init__(self, reason: Refused, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.reason, self.status, self.code, self.message = reason, status, code, message


class Door:
    """Routes for `/v1/{traces,metrics,logs}`, and the admission that the gRPC door shares.

    token    what senders must send as a bearer; empty: nothing
    refused  counts by reason, for the metrics
    """

    def __init__(self, arrivals: Arrivals, body_bytes_max: int, token: str = "") -> None:
        self.arrivals, self.body_bytes_max, self.token = arrivals, body_bytes_max, token
        self.refused: Counter[Refused] = Counter()
        self.closing = False
        self._senders = Senders(PARTITION)
        self._unpacker = Unpacker(body_bytes_max // SMALL_SHARE)
        self.held_bytes = 0  # Of all bodies that are being sent or wait to be read.
        self.held_large = 0  # Gzip bodies that are large unpacked.
        self._signals = {f"/v1/{signal}": signal for signal in Signal}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. An ASGI application."""
        request = Request(scope, receive)
        signal = self._signals.get(scope["path"])
        if signal is None:
            paths = ", ".join(self._signals)
            response = _error(_media(request), 404, NOT_FOUND, f"there is no such path; there are {paths}")
        elif scope["method"] != "POST":
            said = f"{request.method[:20]} is not OTLP/HTTP; use POST"
            response = _error(_media(request), 405, UNIMPLEMENTED, said)
            response.headers["Allow"] = "POST"
        else:
            response = await self._export(signal, request)
        await response(scope, receive, send)

    async def _export(self, signal: Signal, request: Request) -> Response:
        media, held = _media(request), Held(self)
        try:
            self._check_token(request)
            if media not in (PROTOBUF, JSON):
                message = f'Content-Type "{media[:80]}" is not OTLP; send {PROTOBUF} or {JSON}'
                raise RefusalError(Refused.CONTENT_TYPE, 415, INVALID_ARGUMENT, message)
            if self.closing:
                raise RefusalError(Refused.CLOSING, 503, UNAVAILABLE, "shutting down; try again")
            body = await self._body(request, held)
            answer = await self.read(self.record(signal, body))
        except RefusalError as refusal:
            self.refused[refusal.reason] += 1
            if not held.whole:
                await _drain(request)
            return _error(media, refusal.status, refusal.code, refusal.message)
        finally:
            held.release()
        if answer.error is not None:
            return _error(media, 400, INVALID_ARGUMENT, answer.error)
        return Response(success(signal, media, answer), media_type=media)

    def _check_token(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").encode("utf-8", "replace")
        if self.token and not hmac.compare_digest(sent, f"Bearer {self.token}".encode()):
            raise RefusalError(Refused.TOKEN, 401, UNAUTHENTICATED, "send Authorization: Bearer with the token")

    async def _body(self, request: Request, held: "Held") -> bytes:
        """The unpacked body, never more than the limit, however small it was packed."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            message = f'Content-Encoding "{encoding[:80]}" is not known; send gzip or none'
            raise RefusalError(Refused.ENCODING, 415, INVALID_ARGUMENT, message)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                sent = await self._sent(request, held)
            return await self._unpacked(sent, held) if encoding == "gzip" and sent else sent
        except BusyError:
            raise RefusalError(Refused.FULL, 429, RESOURCE_EXHAUSTED, "too many bodies wait; try again") from None
        except TooLargeError:
            raise self._too_large() from None
        except GzipError as error:
            raise RefusalError(Refused.BROKEN_GZIP, 400, INVALID_ARGUMENT, str(error)) from None
        except ClientDisconnect:
            raise RefusalError(Refused.DISCONNECTED, 400, INVALID_ARGUMENT, "the body ended early") from None
        except TimeoutError:
            message = f"the body did not come within {BODY_TIMEOUT_S:.0f} s; send smaller batches"
            raise RefusalError(Refused.SLOW, 408, INVALID_ARGUMENT, message) from None

    async def _unpacked(self, sent: bytes, held: "Held") -> bytes:
        """A gzip body unpacked. What it may become is admitted before it becomes that."""
        small = await self._unpacker.small(sent, self.body_bytes_max)
        if small is not None:
            held.add(len(small) - len(sent))
            return small
        held.add_large(self.body_bytes_max - len(sent))
        large = await self._unpacker.large(sent, self.body_bytes_max)
        held.add(len(large) - self.body_bytes_max)
        return large

    def close(self) -> None:
        """Nothing is unpacked any more."""
        self._unpacker.close()

    async def _sent(self, request: Request, held: "Held") -> bytes:
        """The body as it was sent."""
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self.body_bytes_max:
            raise self._too_large()
        body = BytesIO()  # Put together as it comes: joining 64 MiB in the end would hold up everybody.
        async for part in request.stream():
            body.write(part)
            if body.tell() > self.body_bytes_max:
                raise self._too_large()
            held.add(len(part))
        held.whole = True
        return body.getvalue()

    def _too_large(self) -> RefusalError:
        message = f"the body is over {self.body_bytes_max} bytes unpacked; send smaller batches"
        return RefusalError(Refused.TOO_LARGE, 413, INVALID_ARGUMENT, message)

    def record(self, signal: Signal, body: bytes) -> Record:
        """The record that a body is, of the partition of its sender."""
        return Record(signal, body, self._senders.partition(body) if signal is Signal.TRACES else PARTITION)

    async def read(self, record: Record) -> Answer:
        """What became of the record, once the daemon has read it. Raises RefusalError where it cannot be taken now."""
        answers: asyncio.Future[tuple[Answer, ...]] = asyncio.get_running_loop().create_future()
        if self.closing:
            raise RefusalError(Refused.CLOSING, 503, UNAVAILABLE, "shutting down; try again")
        try:
            self.arrivals.put_nowait(Arrival((record,), {}, answers))
        except asyncio.QueueFull:
            raise RefusalError(Refused.FULL, 429, RESOURCE_EXHAUSTED, "too many bodies wait; try again") from None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return (await answers)[0]
        except TimeoutError:
            raise RefusalError(Refused.BEHIND, 503, UNAVAILABLE, "the daemon is behind; try again") from None


class Held:
    """What one request holds of the door's memory. `whole` once its body has come to the end."""

    def __init__(self, door: Door) -> None:
        self._door, self._bytes, self._large, self.whole = door, 0, 0, False

    def add(self, size_bytes: int) -> None:
        """Hold more. Raises RefusalError where all bodies together would be too much."""
        self._bytes += size_bytes
        self._door.held_bytes += size_bytes
        if self._door.held_bytes > BODIES_HELD * self._door.body_bytes_max:
            raise RefusalError(Refused.FULL, 429, RESOURCE_EXHAUSTED, "too many bytes wait; try again")

    def add_large(self, size_bytes: int) -> None:
        """Hold more, as one of the few large bodies of gzip. Raises RefusalError where there are enough of them."""
        if self._door.held_large >= LARGE_HELD:
            message = "too many large bodies wait; try again, or send smaller batches"
            raise RefusalError(Refused.FULL, 429, RESOURCE_EXHAUSTED, message)
        self._large = 1
        self._door.held_large += 1
        self.add(size_bytes)

    def release(self) -> None:
        self._door.held_bytes -= self._bytes
        self._door.held_large -= self._large
        self._bytes = self._large = 0


async def _drain(request: Request) -> None:
    """Throw away what the sender still writes, for a short while, so that it comes to read the answer."""
    if "expect" in request.headers:
        return  # It waits for our leave to write.
    try:
        async with asyncio.timeout(BODY_DRAIN_S):
            while (await request.receive()).get("more_body"):
                pass
    except TimeoutError:
        pass


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def success(signal: Signal, media: str, answer: Answer) -> bytes:
    """The signal's Export…ServiceResponse; `partial_success` only where there is something to say."""
    message, count_field, count_json = RESPONSES[signal]
    partial = bool(answer.rejected or answer.message)
    if media == JSON:
        told = {count_json: str(answer.rejected), "errorMessage": answer.message}
        return json.dumps({"partialSuccess": told} if partial else {}).encode()
    told = {count_field: answer.rejected, "error_message": answer.message}  # type: ignore[dict-item]
    return message(**({"partial_success": told} if partial else {})).SerializeToString()


def _error(media: str, status: int, code: int, message: str) -> Response:
    """A google.rpc.Status in the request's encoding; Retry-After where the sender should come again."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    if media == JSON:
        return Response(json.dumps({"code": code, "message": message}), status, headers, JSON)
    return Response(Status(code=code, message=message).SerializeToString(), status, headers, PROTOBUF)
