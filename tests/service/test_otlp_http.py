"""The OTLP/HTTP door behind a real server: every answer of the OTLP specification, and what no sender may do to us."""

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from service.batch import Tally
from service.ingest.limits import IngestLimits
from service.ingest.stage import Ingest
from service.sources import otlp_http
from service.sources.otlp_http import JSON, PROTOBUF, Door, Refused
from service.sources.unpack import Unpacker
from tests.service.ingest.wire import at_ns, body, chat, json_body

LIMIT = 1 << 20
NOW_S = 1000.0
GOOD = body(chat(1, 1, 1, 2))


@dataclass
class Rig:
    """A door with a real server before it, and an ingest behind it while `reading`."""

    door: Door
    client: httpx.AsyncClient
    tally: Tally
    reading: asyncio.Event
    now_ns: int = at_ns(NOW_S)

    async def post(
        self, content: bytes, media: str = PROTOBUF, path: str = "/v1/traces", **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=content, headers={"Content-Type": media, **named})


class Server(uvicorn.Server):
    """One that leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def read_on(one: Rig) -> None:
    """The daemon's part: reads what has arrived, off the loop, and answers."""
    ingest = Ingest(IngestLimits(body_bytes_max=64 * LIMIT))
    while True:
        await one.reading.wait()
        arrival = await one.door.arrivals.get()
        (record,) = arrival.records
        answer = await asyncio.to_thread(ingest.read, record, one.now_ns, one.tally)
        if arrival.answers is not None and not arrival.answers.done():
            arrival.answers.set_result((answer,))


@asynccontextmanager
async def rig(queue_max: int) -> AsyncIterator[Rig]:
    door = Door(asyncio.Queue(queue_max), LIMIT)
    server = Server(uvicorn.Config(door, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listening]))
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        one = Rig(door, client, Tally(), asyncio.Event())
        reader = asyncio.create_task(read_on(one))
        try:
            yield one
        finally:
            reader.cancel()
            server.should_exit = True
            await client.aclose()
            await serving


def check(steps: Callable[[Rig], Awaitable[None]], queue_max: int = 64, reads: bool = True) -> None:
    """Run a test's steps on a rig, which reads from the beginning or once told to."""

    async def run() -> None:
        async with rig(queue_max) as one:
            if reads:
                one.reading.set()
            await steps(one)

    asyncio.run(run())


def status(answer: httpx.Response, media: str = PROTOBUF) -> tuple[int, str]:
    """The google.rpc.Status that an error must carry, in the request's encoding."""
    assert answer.headers["content-type"] == media
    if media == JSON:
        told = json.loads(answer.content)
        return told["code"], told["message"]
    message = Status.FromString(answer.content)
    return message.code, message.message


@pytest.mark.parametrize(
    ("path", "request_of", "response_of"),
    [
        ("traces", ExportTraceServiceRequest, ExportTraceServiceResponse),
        ("metrics", ExportMetricsServiceRequest, ExportMetricsServiceResponse),
        ("logs", ExportLogsServiceRequest, ExportLogsServiceResponse),
    ],
)
def test_success(path: str, request_of: type, response_of: type) -> None:
    """200 in the request's encoding, with no partial success; an empty request is one too."""

    async def steps(one: Rig) -> None:
        for content in (request_of().SerializeToString(), b""):
            answer = await one.post(content, path=f"/v1/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF)
            assert response_of.FromString(answer.content) == response_of()  # type: ignore[attr-defined]
        answer = await one.post(b"{}", JSON + "; charset=utf-8", f"/v1/{path}")
        assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, JSON, {})

    check(steps)


def test_good_spans_are_taken() -> None:
    """Plain, packed, as several gzip files, in chunks, in JSON."""

    async def chunks() -> AsyncIterator[bytes]:
        for i in range(len(GOOD)):
            yield GOOD[i : i + 1]

    async def steps(one: Rig) -> None:
        assert (await one.post(GOOD)).status_code == 200
        assert (await one.post(gzip.compress(GOOD), Content_Encoding="gzip")).status_code == 200
        several = gzip.compress(GOOD[:10]) + gzip.compress(GOOD[10:])
        assert (await one.post(several, Content_Encoding="GZIP")).status_code == 200
        assert (await one.post(json_body(chat(1, 1, 1, 2)), JSON)).status_code == 200
        answer = await one.client.post("/v1/traces", content=chunks(), headers={"Content-Type": PROTOBUF})
        assert answer.status_code == 200
        assert (one.tally.spans, dict(one.tally.dropped)) == (5, {"duplicate": 4})
        assert not one.door.refused and one.door.held_bytes == 0

    check(steps)


def test_partial_success() -> None:
    """What is left out of a good body is counted and explained, and must not be sent again."""
    late = NOW_S + 301
    bodies = {PROTOBUF: body, JSON: json_body}

    async def steps(one: Rig) -> None:
        for media, of in bodies.items():
            answer = await one.post(of(chat(1, 1, 1, 2), chat(1, 0, 1, 2), chat(2, 2, late, late)), media)
            assert answer.status_code == 200
            if media == JSON:
                told = answer.json()["partialSuccess"]
                count, message = told["rejectedSpans"], told["errorMessage"]
                assert count == "2"
            else:
                partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
                count, message = partial.rejected_spans, partial.error_message
                assert count == 2
            assert "1 bad_id" in message and "1 future" in message

    check(steps)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"\xff\xff\xff", {}),
        (GOOD[:-3], {}),
        (b"not gzip", {"Content_Encoding": "gzip"}),
        (gzip.compress(GOOD)[:-5], {"Content_Encoding": "gzip"}),
        (gzip.compress(GOOD) + b"more", {"Content_Encoding": "gzip"}),
    ],
)
def test_bad_bodies(content: bytes, headers: dict[str, str]) -> None:
    """400, which tells a sender not to try again."""

    async def steps(one: Rig) -> None:
        answer = await one.post(content, **headers)
        assert answer.status_code == 400
        code, message = status(answer)
        assert code == 3 and message
        assert "retry-after" not in answer.headers

    check(steps)


def test_bad_json() -> None:
    """Errors come in the request's encoding."""

    async def steps(one: Rig) -> None:
        answer = await one.post(b'{"resourceSpans": 1}', JSON)
        assert answer.status_code == 400
        assert status(answer, JSON)[0] == 3

    check(steps)


def test_too_large() -> None:
    """413, announced or not, packed or not; the sender lives to read it."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(LIMIT // 16)

    async def steps(one: Rig) -> None:
        bomb = gzip.compress(bytes(200 * LIMIT))
        nested = {"Content-Type": PROTOBUF}
        for answer in [
            await one.post(bytes(LIMIT + 1)),
            await one.post(bomb, Content_Encoding="gzip"),
            await one.client.post("/v1/traces", content=endless(), headers=nested),
        ]:
            assert answer.status_code == 413
            assert "smaller batches" in status(answer)[1]
        assert one.door.refused == {Refused.TOO_LARGE: 3} and one.door.held_bytes == 0
        assert (await one.post(bytes(LIMIT))).status_code == 400  # As large as may be: read, and found to be no OTLP.

    check(steps)


def test_what_is_not_spoken() -> None:
    """415 for other types and encodings, 404 and 405 for other paths and methods."""

    async def steps(one: Rig) -> None:
        for answer, code in [
            (await one.post(GOOD, "text/plain"), 415),
            (await one.post(GOOD, Content_Encoding="zstd"), 415),
            (await one.post(GOOD, Content_Encoding="gzip, gzip"), 415),
            (await one.post(GOOD, path="/v1/profiles"), 404),
            (await one.client.get("/v1/traces", headers={"Content-Type": PROTOBUF}), 405),
        ]:
            assert answer.status_code == code
            assert status(answer)[1]
        answer = await one.client.put("/v1/traces", content=b"{}", headers={"Content-Type": JSON})
        assert (answer.status_code, answer.headers["allow"], status(answer, JSON)[0]) == (405, "POST", 12)

    check(steps)


def test_a_full_queue() -> None:
    """429 with Retry-After at once, and what had been taken in is answered once it is read."""

    async def steps(one: Rig) -> None:
        waiting = [asyncio.create_task(one.post(GOOD)) for _ in range(2)]
        while one.door.arrivals.qsize() < 2:
            await asyncio.sleep(0.01)
        answer = await one.post(GOOD)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert status(answer)[0] == 8
        one.reading.set()
        assert [(await task).status_code for task in waiting] == [200, 200]

    check(steps, queue_max=2, reads=False)


def test_closing() -> None:
    """503 with Retry-After: the sender keeps it for the next daemon."""

    async def steps(one: Rig) -> None:
        one.door.closing = True
        answer = await one.post(GOOD)
        assert (answer.status_code, answer.headers["retry-after"], status(answer)[0]) == (503, "1", 14)
        assert one.tally.spans == 0

    check(steps)


def test_all_bodies_together_are_bounded() -> None:
    """Many large bodies that come slowly hold no more than a few of the largest."""

    async def half(one: Rig) -> socket.socket:
        """A sender that has written almost all, and then stops."""
        url = one.client.base_url
        sender = socket.create_connection((url.host, url.port or 0))
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {LIMIT}\r\n\r\n"
        await asyncio.to_thread(sender.sendall, head.encode() + bytes(LIMIT - 1))
        return sender

    async def steps(one: Rig) -> None:
        senders = [await half(one) for _ in range(otlp_http.BODIES_HELD)]
        while one.door.held_bytes < otlp_http.BODIES_HELD * (LIMIT - 1):
            await asyncio.sleep(0.01)
        assert (await one.post(bytes(LIMIT))).status_code == 429
        assert one.door.held_bytes <= otlp_http.BODIES_HELD * LIMIT
        for sender in senders:
            sender.close()
        while one.door.held_bytes:
            await asyncio.sleep(0.01)
        assert one.door.refused[Refused.DISCONNECTED] == len(senders)
        assert (await one.post(GOOD)).status_code == 200

    check(steps)


def test_a_slow_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come is given up, and holds nothing up meanwhile."""
    monkeypatch.setattr(otlp_http, "BODY_TIMEOUT_S", 0.3)
    monkeypatch.setattr(otlp_http, "BODY_DRAIN_S", 0.1)

    async def slow() -> AsyncIterator[bytes]:
        yield GOOD[:5]
        await asyncio.sleep(0.6)
        yield GOOD[5:]

    async def steps(one: Rig) -> None:
        headers = {"Content-Type": PROTOBUF}
        task = asyncio.create_task(one.client.post("/v1/traces", content=slow(), headers=headers))
        assert (await one.post(GOOD)).status_code == 200
        answer = await task
        assert answer.status_code == 408
        assert one.door.refused == {Refused.SLOW: 1}

    check(steps)


def test_a_sender_that_leaves_early() -> None:
    """Counted; nothing of its body is read."""

    async def steps(one: Rig) -> None:
        url = one.client.base_url
        with socket.create_connection((url.host, url.port or 0)) as sender:
            head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 1000\r\n\r\n"
            sender.sendall(head.encode() + GOOD[:50])
        while not one.door.refused[Refused.DISCONNECTED]:
            await asyncio.sleep(0.01)
        assert one.tally.spans == 0 and not one.tally.dropped

    check(steps)


def test_the_event_loop_is_not_held() -> None:
    """While a body of the largest size is unpacked, in a thread and in pieces, others have their turn."""
    packed = gzip.compress(bytes(64 << 20))

    async def run() -> None:
        longest_s, stop = 0.0, False

        async def runner() -> None:
            nonlocal longest_s
            while not stop:
                begun_s = time.perf_counter()
                await asyncio.sleep(0)
                longest_s = max(longest_s, time.perf_counter() - begun_s)

        watching = asyncio.create_task(runner())
        begun_s = time.perf_counter()
        assert len(await Unpacker(4 << 20).large(packed, 64 << 20)) == 64 << 20
        took_s, stop = time.perf_counter() - begun_s, True
        await watching
        assert longest_s < 0.6 * took_s, (longest_s, took_s)

    asyncio.run(run())


def test_a_real_exporter() -> None:
    """The OpenTelemetry SDK's exporter, with and without gzip."""

    async def steps(one: Rig) -> None:
        one.now_ns = time.time_ns()
        for compression in ("none", "gzip"):
            await asyncio.to_thread(export, f"{one.client.base_url}/v1/traces", compression)
        assert one.tally.spans == 6

    check(steps)


def export(url: str, compression: str) -> None:
    """Three spans by the SDK."""
    exporter = OTLPSpanExporter(endpoint=url, compression=Compression(compression))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("agent"):
        for name in ("chat", "tool"):
            with provider.get_tracer("test").start_as_current_span(name):
                pass
    assert exporter.export([]) is SpanExportResult.SUCCESS
    provider.shutdown()
