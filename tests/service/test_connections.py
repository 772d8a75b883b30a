"""Connections that do nothing of use keep nobody from saving, paging and asking."""

import asyncio
import logging
import random
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from service.demo.standins import PagerDutyStandIn, serving
from service.runtime import connections as module
from service.runtime.connections import Closed, Connections, Phase
from service.runtime.descriptors import shares
from service.runtime.log_limit import Seldom
from service.sources.otlp_http import PROTOBUF
from service.web.server import Server
from tests.service.replay import values
from tests.service.running import Running, running
from tests.service.test_crash import AGO_S, KEY, RULES, stream

FILES_MAX = 256
Steps = Callable[[str], Awaitable[None]]
HEAD = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n"


def connected(address: str, count: int, said: bytes = b"") -> list[socket.socket]:
    """Connections to `http://host:port` or `host:port`, each of which has said this much."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    made = [socket.create_connection((host, int(port)), 5) for _ in range(count)]
    for one in made:
        try:
            one.sendall(said)
        except OSError:  # It has given way already.
            assert said
    return made


@contextmanager
def limited(directory: Path, **settings: str) -> Iterator[Running]:
    """A daemon that may open few files."""
    with running(directory, **settings) as daemon:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FILES_MAX // 2, FILES_MAX))
        yield daemon


SAID = [b"", HEAD, b"POST /v1/traces HTTP/1.1\r\nHost: l\r\nContent-Length: 9\r\n\r\nx"]


def test_more_connections_than_files(tmp_path: Path) -> None:
    """With three times as many as there may be files, whatever they have said: all is saved, paged and answered."""
    (tmp_path / "rules.yaml").write_text(RULES)
    bodies = list(stream(random.Random(3), int(time.time()) - AGO_S))
    part = len(bodies) // len(SAID)

    async def run() -> None:
        pagerduty = PagerDutyStandIn(time.monotonic, 1000, 1000)
        async with serving(pagerduty) as place:
            settings = {
                "RULES": str(tmp_path / "rules.yaml"), "PAGERDUTY__ROUTING_KEY": KEY, "PAGERDUTY__URL": place.url,
                "MAX_PAGE_AGE": "0", "SAVE_EVERY": "50ms",
            }  # fmt: skip
            with limited(tmp_path, **settings) as daemon:
                door, web = await asyncio.to_thread(daemon.addresses)
                for at, said in enumerate(SAID):
                    await crowd(door, web, said, bodies[at * part : (at + 1) * part], pagerduty)
                assert "too many open files" not in daemon.said.lower()
                assert len(daemon.said) < 20_000
                assert await asyncio.to_thread(daemon.stop) == 0

    asyncio.run(run())


async def crowd(door: str, web: str, said: bytes, bodies: list[bytes], pagerduty: PagerDutyStandIn) -> None:
    """Hold connections that have said this, at both doors; what is sent meanwhile is paged and saved."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        paged = len(pagerduty.incidents)
        before = values((await client.get(web + "/metrics")).text)
        with ExitStack() as held:
            for address in (door, web) if said[:4] != b"POST" else (web,):
                for one in await asyncio.to_thread(connected, address, 3 * FILES_MAX // 2, said):
                    held.enter_context(one)
            for body in bodies:
                answer = await client.post(door + "/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
                assert answer.status_code in (200, 400)
            async with asyncio.timeout(20):
                while len(pagerduty.incidents) == paged:
                    await asyncio.sleep(0.05)
            assert (await client.get(web + "/-/healthy")).text == "ok\n"
            shown = values((await client.get(web + "/metrics")).text)
            assert shown["tocsin_save_failures_total",] == 0
            gave_way = "tocsin_connections_closed_total", "gave_way", "web"
            assert shown[gave_way] > before[gave_way] + 100
            assert shown["tocsin_connections", "web"] <= shown["tocsin_connections_max", "web"]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers at once, and does not read what it is sent."""
    await PlainTextResponse("x" * (32 << 20 if scope["path"] == "/long" else 1))(scope, receive, send)


def serve(steps: Steps, connections_max: int = 8, app: Any = echo) -> Connections:
    """Run a test's steps, given an address, on a server of so many connections."""
    connections = Connections(connections_max)

    async def run() -> None:
        server = Server(app, "127.0.0.1:0", connections)
        serving = asyncio.create_task(server.serve([server.socket]))
        await server.listens()
        try:
            await steps(server.address)
        finally:
            server.should_exit = True
            await serving
            server.socket.close()

    asyncio.run(run())
    return connections


async def trickle(address: str, head: bytes, seconds: float) -> float:
    """Send a byte every now and then; after how long the connection was cut."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    begun_s = time.monotonic()
    writer.write(head)
    try:
        while time.monotonic() - begun_s < seconds:
            writer.write(b"x")
            await asyncio.sleep(0.05)
            if reader.at_eof() or writer.is_closing():
                break
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        pass
    writer.close()
    return time.monotonic() - begun_s


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"GET /", Closed.SLOW_HEAD),
        (HEAD, Closed.SLOW_HEAD),
        (HEAD + b"\r\n" + HEAD, Closed.SLOW_HEAD),
        (HEAD + b"Content-Length: 100000\r\n\r\n", Closed.IDLE),
    ],
)
def test_single_bytes_buy_no_time(monkeypatch: pytest.MonkeyPatch, head: bytes, why: Closed) -> None:
    """A head that trickles, a second one, or a body that nobody asked for."""
    monkeypatch.setattr(module, "LIMITS_S", dict.fromkeys(Phase, 0.4))

    async def steps(address: str) -> None:
        assert 0.3 < await trickle(address, head, 5) < 2

    assert serve(steps).closed == {why: 1}


def test_who_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes keeps no connection."""
    monkeypatch.setattr(module, "LIMITS_S", dict.fromkeys(Phase, 0.4))

    async def steps(address: str) -> None:
        with connected(address, 1, HEAD.replace(b"/-/healthy", b"/long") + b"\r\n")[0]:
            await asyncio.sleep(1.5)

    assert sum(serve(steps).closed.values()) == 1


def test_who_has_said_least_gives_way_first() -> None:
    """Senders between two requests keep their connections while there are some that sent none."""

    async def steps(address: str) -> None:
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://{address}") as client:
            assert (await client.get("/")).status_code == 200
            (first,) = client._transport._pool.connections  # type: ignore[attr-defined]
            with ExitStack() as held:
                for one in await asyncio.to_thread(connected, address, 30):
                    held.enter_context(one)
                await asyncio.sleep(0.2)
                assert (await client.get("/")).status_code == 200
                assert client._transport._pool.connections == [first]  # type: ignore[attr-defined]

    assert serve(steps).closed == {Closed.GAVE_WAY: 23}


def test_all_at_work_turns_the_newcomer_away() -> None:
    """Nobody loses a request that is in hand."""

    async def steps(address: str) -> None:
        waiting = connected(address, 2, HEAD + b"\r\n")
        await asyncio.sleep(0.2)
        with waiting[0], waiting[1], connected(address, 1)[0] as third:
            third.settimeout(5)
            assert await asyncio.to_thread(third.recv, 1) == b""
            let_go.set()

    let_go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await let_go.wait()
        await echo(scope, receive, send)

    assert serve(steps, 2, slow).closed == {Closed.REFUSED: 1}


TWO_LENGTHS = [
    (b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"both Content-Length and Transfer-Encoding"),
    (b"transfer-encoding: chunked\r\nX: y\r\ncontent-length: 1\r\n\r\n", b"both"),
    (b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", b"more than one Content-Length"),
    (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"more than one Content-Length"),
    (b"Content-Length: 1, 1\r\n\r\n", b"Content-Length is not one whole number"),
    (b"Content-Length: 1\nContent-Length: 1\n\n", b"this is not HTTP/1.1"),
    (b"Transfer-Encoding: gzip\r\n\r\n", b"this is not HTTP/1.1: Request has invalid `Transfer-Encoding`"),
    (b"Transfer-Encoding: chunked, gzip\r\n\r\n", b"this is not HTTP/1.1: Invalid `Transfer-Encoding`"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", b"this is not HTTP/1.1"),
    (b"Content-Length : 1\r\n\r\n", b"this is not HTTP/1.1: Invalid header field char"),
    (b"Content-Length: +1\r\n\r\n", b"Content-Length is not one whole number"),
    (b"Content-Length: 99999999999999999999999\r\n\r\n", b"this is not HTTP/1.1: Content-Length overflow"),
]


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n", HEAD.replace(b"GET", b"POST") + b"Content-Length: 1\r\n\r\nx"])
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_body_has_one_length(before: bytes, piece: int) -> None:
    """In the first request and in later ones, however they are cut: 400, saying why, and the connection ends."""

    async def steps(address: str) -> None:
        for more, said in TWO_LENGTHS:
            reader, writer = await asyncio.open_connection(*address.split(":"))
            sent = before + HEAD.replace(b"GET", b"POST") + more
            for at in range(0, len(sent), piece):
                writer.write(sent[at : at + piece])
                await asyncio.sleep(0)
            answers = await reader.read()
            writer.close()
            assert answers.count(b"HTTP/1.1 200") == before.count(b"HTTP/1.1"), more
            assert b"HTTP/1.1 400" in answers and said in answers, more

    serve(steps)


async def whole(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers once it has the whole body, with its size."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            return await PlainTextResponse(f"size {size}")(scope, receive, send)
    return None


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize(("app", "said"), [(whole, [b"Invalid character in chunk size"]), (echo, [b"\r\nx"])])
def test_a_body_that_cannot_be_read(before: int, app: Any, said: list[bytes]) -> None:
    """Requests before it are answered; it itself is refused, unless it was answered before its body came."""
    good = HEAD.replace(b"GET", b"POST") + b"Content-Length: 4\r\n\r\nbody"

    async def steps(address: str) -> None:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(good * before + HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.1)
        writer.write(b"1 \nx\n")
        answers = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answers.count(b"HTTP/1.1 200") == before + (app is echo)
        assert answers.count(b"HTTP/1.1 400") == (app is whole)
        assert all(each in answers for each in said)

    serve(steps, app=app)


def test_a_head_has_an_end() -> None:
    """More than a head may hold is refused, in one header or in many, in the first request and in a later one."""

    async def steps(address: str) -> None:
        for before in (b"", HEAD + b"\r\n"):
            for line in (b"x" * 100, b"a: b\r\n" * 10):
                reader, writer = await asyncio.open_connection(*address.split(":"))
                writer.write(before + HEAD)
                for _ in range(3000):
                    writer.write(line)
                    if reader.at_eof() or writer.is_closing():
                        break
                    await asyncio.sleep(0)
                answers = await asyncio.wait_for(reader.read(), 5)
                writer.close()
                assert answers.count(b"HTTP/1.1 200") == before.count(b"HTTP/1.1")
                assert b"send fewer or shorter headers" in answers

    serve(steps)


def test_another_protocol_is_answered_as_this_one() -> None:
    """What asks for HTTP/2 or a socket is answered once, in HTTP/1.1, and the connection ends."""

    async def steps(address: str) -> None:
        for ask in (
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        ):
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(HEAD + ask + b"\r\n")
            answers = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert answers.startswith(b"HTTP/1.1 200") and answers.count(b"HTTP/1.1") == 1

    serve(steps)


def test_the_length_of_a_chunked_body_stays_its_own() -> None:
    """Transfer-Encoding alone is HTTP/1.1, and none of HTTP/1.0."""

    async def steps(address: str) -> None:
        for version, status in ((b"1.1", b"200"), (b"1.0", b"400")):
            reader, writer = await asyncio.open_connection(*address.split(":"))
            head = HEAD.replace(b"GET", b"POST").replace(b"1.1", version) + b"Connection: close\r\n"
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 " + status)
            writer.close()

    serve(steps)


def test_too_few_files_to_begin() -> None:
    """One sentence says how many are needed."""
    with pytest.raises(OSError, match="this process may open 64 files, and needs at least 144; raise the limit"):
        shares(64, 40, 16)


def test_a_flood_of_messages_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    """The first of each kind, whatever its further lines are; a minute later how many there were."""
    now_s = 0.0
    log, seldom = logging.getLogger("a library"), Seldom(lambda: now_s)
    log.addFilter(seldom)
    for number in range(1000):
        log.error(f"accept failed\nsocket {number}")
    now_s = 61.0
    log.error("accept failed\nsocket x")
    log.removeFilter(seldom)
    assert [record.getMessage() for record in caplog.records] == [
        "accept failed\nsocket 0", "accept failed\nsocket x (999 more like this since the last one)",
    ]  # fmt: skip


def test_another_sites_name_reads_nothing(tmp_path: Path) -> None:
    """A page whose name was led to this machine gets no tenant's name; local ones, with a port or without, all."""
    with running(tmp_path) as daemon, httpx.Client(trust_env=False) as client:
        _, web = daemon.addresses()
        for path in ("/", "/metrics", "/-/ready", "/api/v1/alerts", "/api/v1/marks"):
            for host in (
                "evil.example",
                "evil.example:9464",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "10.0.0.1",
            ):
                answer = client.get(web + path, headers={"Host": host})
                assert answer.status_code == 403 and "TOCSIN_WEB__TOKEN" in answer.text
            for host in ("localhost", "LOCALHOST:1", "127.0.0.1:9464", "[::1]:9464", "[::1]"):
                assert client.get(web + path, headers={"Host": host}).status_code == 200
