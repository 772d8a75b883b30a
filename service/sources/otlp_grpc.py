"""The OTLP/gRPC door: the same admission, limits and answers as over HTTP (`otlp_http.py`), in gRPC's words.

A call is taken as a stream of requests, though OTLP's has one: so a message is read only once there is room for it. A
sender that is to come again is told UNAVAILABLE with a RetryInfo, as every SDK heeds that.
"""

import hmac
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from service.batch import Signal
from service.sources.otlp_http import (
    INVALID_ARGUMENT,
    PROTOBUF,
    RETRY_AFTER_S,
    UNAUTHENTICATED,
    UNAVAILABLE,
    Door,
    Held,
    RefusalError,
    Refused,
    success,
)

BODY_MAX = 16 << 20
"""Of one message, unpacked. gRPC unpacks by itself and holds the whole, so this is less than over HTTP."""
IN_HAND_MAX = 32
"""Messages that are read or wait to be read at once; a sender of one more is told to come again."""
IDLE_MS = 300_000
METADATA_BYTES_MAX = 16 << 10
SERVICES = {
    Signal.TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
    Signal.METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
    Signal.LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcDoor:
    """A gRPC server before a door. Make it on the running loop; raises OSError where the address cannot be had.

    certificate  PEM files of our certificate and its key; None: without TLS
    beside  makes the handler of another service on the same address, given the door's token
    """

    def __init__(
        self, door: Door, listen: str, connections_max: int, certificate: tuple[Path, Path] | None = None,
        beside: Callable[[str], grpc.GenericRpcHandler] | None = None,
    ) -> None:  # fmt: skip
        self._door, self._in_hand = door, 0
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", min(BODY_MAX, door.body_bytes_max)),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.max_connection_idle_ms", IDLE_MS),
                ("grpc.max_concurrent_streams", IN_HAND_MAX),
                ("grpc.max_allowed_incoming_connections", connections_max),
                ("grpc.so_reuseport", 0),
            )
        )
        handlers = {signal: grpc.stream_unary_rpc_method_handler(partial(self._export, signal)) for signal in SERVICES}
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(SERVICES[signal], {"Export": one})
                for signal, one in handlers.items()
            ]
            + ([beside(door.token)] if beside else [])
        )
        host = listen.rpartition(":")[0]
        try:
            if certificate:
                pair = (certificate[1].read_bytes(), certificate[0].read_bytes())
                port = self._server.add_secure_port(listen, grpc.ssl_server_credentials([pair]))
            else:
                port = self._server.add_insecure_port(listen)
        except RuntimeError:
            raise OSError(f"cannot listen on {listen} for OTLP/gRPC: is the address in use?") from None
        self.address = f"{host}:{port}"

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.start()
        try:
            await self._server.wait_for_termination()
        finally:
            await self._server.stop(grace=None)

    async def stop(self) -> None:
        """Let calls under way end, and take no more."""
        await self._server.stop(grace=5.0)

    async def _export(self, signal: Signal, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """One Export call."""
        door, held = self._door, Held(self._door)
        try:
            self._admit(context)
            self._in_hand += 1
            try:
                message = await anext(requests, b"")
                held.add(len(message))
                answer = await door.read(door.record(signal, message))
            finally:
                self._in_hand -= 1
        except RefusalError as refusal:
            door.refused[refusal.reason] += 1
            again = refusal.status in (429, 503)
            await _abort(context, UNAVAILABLE if again else refusal.code, refusal.message, again)
        finally:
            held.release()
        if answer.error is not None:
            await _abort(context, INVALID_ARGUMENT, answer.error, again=False)
        return success(signal, PROTOBUF, answer)

    def _admit(self, context: Any) -> None:
        """Turn a call away before its message is read."""
        if self._door.token:
            sent = dict(context.invocation_metadata() or ()).get("authorization", "")
            if not hmac.compare_digest(str(sent).encode(), f"Bearer {self._door.token}".encode()):
                raise RefusalError(Refused.TOKEN, 401, UNAUTHENTICATED, "send authorization: Bearer with the token")
        if self._door.closing:
            raise RefusalError(Refused.CLOSING, 503, UNAVAILABLE, "shutting down; try again")
        if self._in_hand >= IN_HAND_MAX:
            raise RefusalError(Refused.FULL, 429, UNAVAILABLE, "too many bodies wait; try again")


async def _abort(context: Any, code: int, message: str, again: bool) -> None:
    """End a call with an error; `again` asks the sender to come again after a while."""
    status = Status(code=code, message=message)
    if again:
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S)))
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(_CODES[code], message, trailing)
