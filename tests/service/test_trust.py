"""Whom we trust, and what we keep to ourselves: private authorities, echoed secrets, files of state."""

import asyncio
import json
import shutil
import ssl
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from service.delivery.client import Client, authorities, new_client
from service.demo.standins import Answer
from service.notifiers.request import HttpRequest
from service.store.sqlite import Store, connect, exposed
from tests.service.test_deliver import KEY, Rig, check, notice, until


def certificates(directory: Path) -> Path:
    """A private authority's certificate, and beside it `server.pem` with key, for 127.0.0.1, that it has signed."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is needed to make certificates")
    (directory / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=private",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile server.ext",
    ):
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)
    return directory / "ca.pem"


def asked(directory: Path, environ: dict[str, str]) -> int:
    """The status that a TLS server of that authority's answers a client of this environment."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def run() -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(directory / "server.pem", directory / "server.key")
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        client = Client(lambda: new_client(1, authorities(environ)), lambda: 0)
        try:
            port = server.sockets[0].getsockname()[1]
            return (await client.ask(HttpRequest("POST", f"https://127.0.0.1:{port}/x", {}, b""))).status
        finally:
            await client.close()
            server.close()

    return asyncio.run(run())


def test_a_private_authority(tmp_path: Path) -> None:
    """It is believed where the variable of OpenSSL names its file or its directory, and nowhere else."""
    path = certificates(tmp_path)
    assert asked(tmp_path, {"SSL_CERT_FILE": str(path)}) == 200
    (tmp_path / "ca").mkdir()
    shutil.copy(path, tmp_path / "ca")
    subprocess.run(["openssl", "rehash", tmp_path / "ca"], check=True)
    assert asked(tmp_path, {"SSL_CERT_DIR": str(tmp_path / "ca")}) == 200
    with pytest.raises(httpx.ConnectError):
        asked(tmp_path, {})


def test_an_authority_that_is_none(tmp_path: Path) -> None:
    """Said at the start, by the variable's name."""
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"SSL_CERT_FILE: /no/such\.pem: No such file"):
        authorities({"SSL_CERT_FILE": "/no/such.pem"})
    with pytest.raises(ValueError, match=r"SSL_CERT_FILE: .*empty\.pem: holds no certificates"):
        authorities({"SSL_CERT_FILE": str(tmp_path / "empty.pem")})
    with pytest.raises(ValueError, match="SSL_CERT_DIR: /no/such is no directory"):
        authorities({"SSL_CERT_DIR": "/no/such"})


def test_echoed_secrets_are_kept_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A destination that answers with what it was sent: neither log nor database nor API has it."""
    caplog.set_level("DEBUG")
    echo = json.dumps({"errors": [f"what is 'summary' doing in {KEY}"], "routing_key": KEY})

    async def steps(rig: Rig) -> None:
        rig.pagerduty.script.extend([Answer(500, echo), Answer(400, echo), Answer(400, echo)])
        page = "<a href='/services/T/B/x'>services%2FT%2FB%2Fx</a>"
        rig.slack.script.extend([Answer(200, page), Answer(409, page), Answer(409, page), Answer(403, page)])
        rig.put(notice(1, 1), to=("oncall/slack", "oncall/pagerduty"))
        async with rig.running() as deliverer:
            await until(lambda: deliverer.tripped()["oncall/slack"])
            await until(lambda: bool(deliverer.counts.dead))
            standing = deliverer.standings()["oncall/slack"].failing
            assert standing and "T/B/x" not in standing.said and "[secret]" in standing.said

    check(tmp_path, steps)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"what is 'summary' doing in [secret]" in kept
    for secret in (KEY, "T/B/x", "T%2FB%2Fx"):
        assert secret.encode() not in kept and secret not in caplog.text


def test_files_of_state_are_nobody_elses(tmp_path: Path) -> None:
    """Also those that an earlier version wrote; a directory that others may write to is told."""
    store = Store(tmp_path / "data")
    store.save(store.write_arrays({}, {}, {}), {}, {}, [], 1)
    other = connect(tmp_path / "data")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert len(modes) >= 4 and set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700 and not exposed(tmp_path / "data")
    other.close()
    store.close()
    (tmp_path / "data" / "tocsin.db").chmod(0o644)
    connect(tmp_path / "data").close()
    assert stat.S_IMODE((tmp_path / "data" / "tocsin.db").stat().st_mode) == 0o600
    for mode, whom in ((0o777, "everybody"), (0o770, "its group")):
        (tmp_path / "data").chmod(mode)
        assert exposed(tmp_path / "data").startswith(f"{whom} may write to")
