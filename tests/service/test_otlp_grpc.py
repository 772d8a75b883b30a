"""The OTLP/gRPC door: real exporters, the answers of the specification, and what no sender may do to us."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from service.batch import Answer, Signal
from service.sources import otlp_grpc
from service.sources.arrival import Arrival
from service.sources.otlp_grpc import SERVICES, GrpcDoor
from service.sources.otlp_http import Door, Refused
from tests.service.ingest.wire import body, chat
from tests.service.running import running
from tests.service.test_kafka_security import authority, certificate

GOOD = body(chat(1, 1, 1, 2))
LIMIT = 1 << 20


class Rig:
    """A door with a gRPC server before it, and a daemon's part behind it while `reading`."""

    def __init__(self, token: str = "", answer: Answer = Answer()) -> None:  # noqa: B008 - it is frozen.
        self.arrivals: asyncio.Queue[Arrival] = asyncio.Queue(4)
        self.door = Door(self.arrivals, LIMIT, token)
        self.answer, self.reading, self.bodies = answer, asyncio.Event(), list[bytes]()

    async def read(self) -> None:
        while True:
            await self.reading.wait()
            arrival = await self.arrivals.get()
            self.bodies += [record.body for record in arrival.records]
            if arrival.answers is not None and not arrival.answers.done():
                arrival.answers.set_result((self.answer,))

    @asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[str]:
        server = GrpcDoor(self.door, "127.0.0.1:0", more.pop("connections_max", 8), **more)
        tasks = [asyncio.create_task(server.run()), asyncio.create_task(self.read())]
        try:
            yield server.address
        finally:
            await server.stop()
            for task in tasks:
                task.cancel()


def check(steps: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(steps(), 30))


async def export(channel: grpc.aio.Channel, message: bytes, signal: Signal = Signal.TRACES, **more: Any) -> bytes:
    answer: bytes = await channel.unary_unary(f"/{SERVICES[signal]}/Export")(message, **more)
    return answer


async def refused(channel: grpc.aio.Channel, message: bytes, **more: Any) -> tuple[grpc.StatusCode, str, float | None]:
    """The code, the text, and after how long to come again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(channel, message, **more)
    details = dict(caught.value.trailing_metadata() or ()).get("grpc-status-details-bin")
    again = None
    if details:
        for detail in Status.FromString(details).details:
            info = RetryInfo()
            assert detail.Unpack(info)
            again = float(info.retry_delay.seconds)
    return caught.value.code(), caught.value.details() or "", again


def test_each_signal_is_read() -> None:
    """The bytes of each Export call are what the daemon reads, gzip or not."""

    async def steps() -> None:
        rig = Rig(answer=Answer(rejected=2, message="951 future"))
        rig.reading.set()
        async with rig.running() as address, grpc.aio.insecure_channel(address) as channel:
            for signal in SERVICES:
                answer = await export(channel, signal.value.encode(), signal)
                assert answer
            answer = await export(channel, GOOD, compression=grpc.Compression.Gzip)
            told = ExportTraceServiceResponse.FromString(answer).partial_success
            assert (told.rejected_spans, told.error_message) == (2, "951 future")
            assert rig.bodies == [b"traces", b"metrics", b"logs", GOOD]
            assert rig.door.held_bytes == 0

    check(steps)


def test_what_is_refused() -> None:
    """A wrong token, a bad body, a large one, a bomb, and a door that closes: each has its code."""

    async def steps() -> None:
        rig = Rig(token="hunter2", answer=Answer(error="not OTLP"))
        rig.reading.set()
        login = {"metadata": (("authorization", "Bearer hunter2"),)}
        async with rig.running() as address, grpc.aio.insecure_channel(address) as channel:
            code, said, again = await refused(channel, GOOD)
            assert (code, again) == (grpc.StatusCode.UNAUTHENTICATED, None) and "hunter2" not in said
            assert (await refused(channel, b"?", **login))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "not OTLP")
            assert (await refused(channel, bytes(2 * LIMIT), **login))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            bomb = {"compression": grpc.Compression.Gzip}
            assert (await refused(channel, bytes(64 * LIMIT), **login, **bomb))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/opentelemetry.Nowhere/Export")(GOOD, **login)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            rig.door.closing = True
            assert await refused(channel, GOOD, **login) == (
                grpc.StatusCode.UNAVAILABLE, "shutting down; try again", 1.0,
            )  # fmt: skip
        assert rig.door.refused[Refused.TOKEN] == 1 and rig.door.refused[Refused.CLOSING] == 1

    check(steps)


def test_a_daemon_that_is_behind_slows_its_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limits is told to come again, and is not held meanwhile; the rest is read once there is time."""
    monkeypatch.setattr(otlp_grpc, "IN_HAND_MAX", 6)

    async def steps() -> None:
        rig = Rig()
        async with rig.running() as address:
            channels = [grpc.aio.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) for _ in range(4)]
            calls = [asyncio.create_task(export(channels[i % 4], GOOD)) for i in range(20)]
            while sum(call.done() for call in calls) < 16:
                await asyncio.sleep(0.01)
            failed = [call.exception() for call in calls if call.done()]
            assert {error.code() for error in failed if isinstance(error, grpc.aio.AioRpcError)} == {
                grpc.StatusCode.UNAVAILABLE
            }
            assert rig.door.refused[Refused.FULL] == 16
            rig.reading.set()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(one, bytes) for one in done) == 4 and rig.door.held_bytes == 0
            for channel in channels:
                await channel.close()

    check(steps)


def test_connections_are_bounded() -> None:
    """Idle ones, however many, take no more descriptors than the door may have; a sender gets through after them."""

    async def steps() -> None:
        rig = Rig()
        rig.reading.set()
        async with rig.running(connections_max=4) as address:
            host, port = address.split(":")
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(12)]
            await asyncio.sleep(0.5)
            closed = 0
            for reader, _ in idle:
                try:
                    async with asyncio.timeout(0.05):
                        while await reader.read(1000):
                            pass
                    closed += 1
                except TimeoutError:
                    pass
                except ConnectionError:
                    closed += 1
            assert closed >= 8
            for _, writer in idle:
                writer.close()
            await asyncio.sleep(0.2)
            async with grpc.aio.insecure_channel(address) as channel:
                await export(channel, GOOD)

    check(steps)


def test_tls(tmp_path: Path) -> None:
    """With a certificate both doors speak TLS, in the daemon; a wrong file ends the start with a sentence."""
    authority(tmp_path)
    certificate(tmp_path, "door", "IP:127.0.0.1")
    settings = {"OTLP__TLS_CERT_FILE": str(tmp_path / "door.crt"), "OTLP__TLS_KEY_FILE": str(tmp_path / "door.key")}
    trusted = (tmp_path / "ca.crt").read_bytes()
    with running(tmp_path, OTLP__TOKEN="hunter2", **settings) as daemon:
        door, _ = daemon.addresses()
        address = grpc_address(daemon.said)
        headers = {"Content-Type": "application/x-protobuf", "Authorization": "Bearer hunter2"}
        client = httpx.Client(verify=ssl.create_default_context(cafile=str(tmp_path / "ca.crt")), trust_env=False)
        with client:
            url = door.replace("http://", "https://") + "/v1/traces"
            assert client.post(url, content=GOOD, headers=headers).status_code == 200
            assert client.post(url, content=gzip.compress(GOOD)).status_code == 401
        provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        exporter = OTLPSpanExporter(
            endpoint=f"https://{address}", credentials=grpc.ssl_channel_credentials(trusted),
            headers=(("authorization", "Bearer hunter2"),),
        )  # fmt: skip
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("t").start_as_current_span("chat"):
            pass
        provider.shutdown()
        assert daemon.stop() == 0
        assert "hunter2" not in daemon.said
    (tmp_path / "door.key").write_text("no key")
    with running(tmp_path / "..", DATA_DIR=str(tmp_path / "other"), **settings) as daemon:
        assert daemon.process.wait(30) == 1
        assert "are not a certificate and its key" in daemon.said


def test_the_sdk_through_the_daemon(tmp_path: Path) -> None:
    """Spans of the OpenTelemetry SDK, by its default protocol, are counted."""
    with running(tmp_path) as daemon:
        _, web = daemon.addresses()
        provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        exporter = OTLPSpanExporter(endpoint=grpc_address(daemon.said), insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        for _ in range(3):
            with provider.get_tracer("t").start_as_current_span("chat"):
                pass
        provider.shutdown()
        assert "tocsin_spans_total 3.0" in httpx.get(f"{web}/metrics", trust_env=False).text
        assert daemon.stop() == 0
    with running(tmp_path, OTLP__GRPC_LISTEN="") as daemon:
        daemon.addresses()
        assert "OTLP/gRPC" not in daemon.said and daemon.stop() == 0


def grpc_address(said: str) -> str:
    return next(line for line in said.splitlines() if "OTLP/gRPC on" in line).rpartition(" ")[2]
