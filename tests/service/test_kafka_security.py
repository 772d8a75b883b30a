"""Kafka as people run it: TLS, certificates of ours, and each way of SASL, against a real broker's listeners."""

import asyncio
import base64
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import uvicorn
from aiokafka.errors import KafkaError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service.config.settings import SettingsError, load
from service.sources.arrival import Arrival
from service.sources.kafka import KafkaSource
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from tests.broker import Secured, make_topics, running
from tests.service.running import ended
from tests.service.test_kafka import reading, write

PASSWORD = "open sesame: %&$~"
JAAS = "org.apache.kafka.common.security"
PROPERTIES = """
ssl.keystore.type=PEM
ssl.keystore.location={ca}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={ca}/ca.crt
listener.name.mutual.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_tocsin="{password}";
listener.name.login.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.token.oauthbearer.sasl.jaas.config={jaas}.oauthbearer.OAuthBearerLoginModule required \\
  unsecuredLoginStringClaim_sub="broker";
"""
PROTOCOLS = {"TLS": "SSL", "MUTUAL": "SSL", "LOGIN": "SASL_SSL", "TOKEN": "SASL_PLAINTEXT"}


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def certificate(directory: Path, name: str, alternative: str = "") -> None:
    """A key and a certificate of our authority, `name`.key and `name`.crt."""
    made = ("-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(directory, "req", "-newkey", "rsa:2048", *made)
    (directory / "ext").write_text(f"subjectAltName={alternative}\n" if alternative else "basicConstraints=CA:FALSE\n")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)


def authority(directory: Path) -> None:
    openssl(
        directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
        "-subj", "/CN=test authority",
    )  # fmt: skip


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """The app on a free port of the loopback, until the block ends."""
    one = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    running_it = asyncio.create_task(server.serve([one]))
    try:
        yield f"http://127.0.0.1:{one.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running_it


def token(subject: str = "tocsin") -> str:
    """A token without a signature, as a broker takes them that was not told to ask for one."""
    claims = {"sub": subject, "iat": time.time(), "exp": time.time() + 60}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


@dataclass(frozen=True)
class Secure:
    """A broker with a listener of each kind, and the folder of certificates."""

    plain: str
    addresses: dict[str, str]
    ca: Path

    def settings(self, listener: str, **more: Any) -> KafkaSettings:
        topic = f"secure_{listener.lower()}_spans"
        return KafkaSettings(
            bootstrap_servers=self.addresses[listener], topics=topic, group=f"{topic}_{time.monotonic_ns()}", **more
        )


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    ca = tmp_path_factory.mktemp("ca")
    authority(ca)
    certificate(ca, "broker", "IP:127.0.0.1")
    certificate(ca, "client")
    (ca / "broker.pem").write_text((ca / "broker.key").read_text() + (ca / "broker.crt").read_text())
    users = tuple(f"SCRAM-SHA-{bits}=[name=tocsin,password={PASSWORD}]" for bits in (256, 512))
    secured = Secured(PROTOCOLS, PROPERTIES.format(ca=ca, jaas=JAAS, password=PASSWORD), users)
    with running(tmp_path_factory.mktemp("secure"), secured) as broker:
        make_topics(broker.address, {f"secure_{name.lower()}_spans": 1 for name in PROTOCOLS})
        yield Secure(broker.address, broker.addresses, ca)


def read_one(secure: Secure, settings: KafkaSettings) -> None:
    """What is written on the open listener is read on the other."""

    async def run() -> None:
        await write(secure.plain, settings.topics[0], [b"one"])
        arrivals: asyncio.Queue[Arrival] = asyncio.Queue(4)
        async with reading(KafkaSource(settings, arrivals, {}, f"me-{time.monotonic_ns()}")) as reader:
            await reader.until(1)

    asyncio.run(run())


def test_tls(secure: Secure) -> None:
    """With an authority of one's own."""
    read_one(secure, secure.settings("TLS", security_protocol="SSL", ssl_ca_file=secure.ca / "ca.crt"))


def test_mutual_tls(secure: Secure) -> None:
    """The broker asks for a certificate of ours."""
    files = {"ssl_ca_file": "ca.crt", "ssl_cert_file": "client.crt", "ssl_key_file": "client.key"}
    paths = {name: secure.ca / file for name, file in files.items()}
    read_one(secure, secure.settings("MUTUAL", security_protocol="SSL", **paths))


def login(mechanism: str, user: str = "tocsin", password: str = PASSWORD) -> dict[str, Any]:
    return {"sasl_mechanism": mechanism, "sasl_username": user, "sasl_password": password}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_passwords(secure: Secure, mechanism: str) -> None:
    """Of letters that URLs and shells would read as something else."""
    ca = secure.ca / "ca.crt"
    read_one(secure, secure.settings("LOGIN", security_protocol="SASL_SSL", ssl_ca_file=ca, **login(mechanism)))


def test_tokens_of_a_file(secure: Secure, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token() + "\n")
    oauth = {"sasl_mechanism": "OAUTHBEARER", "oauth_token_path": tmp_path / "token"}
    read_one(secure, secure.settings("TOKEN", security_protocol="SASL_PLAINTEXT", **oauth))


def test_tokens_of_an_endpoint(secure: Secure) -> None:
    """By client credentials, asked once for all connections."""
    asked: list[tuple[str, dict[str, Any]]] = []

    async def give(request: Request) -> JSONResponse:
        asked.append((request.headers["authorization"], dict(parse_qsl((await request.body()).decode()))))
        return JSONResponse({"access_token": token(), "expires_in": 60})

    app = Starlette(routes=[Route("/token", give, methods=["POST"])])

    async def run() -> None:
        async with serving(app) as url:
            settings = secure.settings(
                "TOKEN", security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER",
                oauth_token_url=f"{url}/token", oauth_client_id="tocsin", oauth_client_secret="hunter2",
                oauth_scope="kafka",
            )  # fmt: skip
            await write(secure.plain, settings.topics[0], [b"one"])
            async with reading(KafkaSource(settings, asyncio.Queue(4), {}, "endpoint")) as reader:
                await reader.until(1)

    asyncio.run(run())
    expected = "Basic " + base64.b64encode(b"tocsin:hunter2").decode()
    assert asked == [(expected, {"grant_type": "client_credentials", "scope": "kafka"})]


def test_tokens_of_a_function(secure: Secure) -> None:
    """The way of a cloud's own library."""
    oauth = {"sasl_mechanism": "OAUTHBEARER", "oauth_provider": "tests.service.test_kafka_security:token"}
    read_one(secure, secure.settings("TOKEN", security_protocol="SASL_PLAINTEXT", **oauth))


@pytest.mark.parametrize(
    ("listener", "settings", "said"),
    [
        ("LOGIN", login("SCRAM-SHA-256", password="wrong"), "it does not know us"),
        ("LOGIN", login("PLAIN", user="nobody"), "it does not know us"),
        ("LOGIN", login("PLAIN") | {"ssl_ca_file": None}, "is not trusted"),
        ("TLS", {"security_protocol": "SSL", "ssl_ca_file": None}, "is not trusted"),
    ],
)
def test_what_brokers_refuse(secure: Secure, listener: str, settings: dict[str, Any], said: str) -> None:
    """It is said in words, without the password, and ends the start: it would be the same for ever."""
    given = {"security_protocol": "SASL_SSL", "ssl_ca_file": secure.ca / "ca.crt"} | settings

    async def run() -> None:
        source = KafkaSource(secure.settings(listener, **given), asyncio.Queue(4), {}, "me")
        with pytest.raises(KafkaError, match=said) as caught:
            async with asyncio.timeout(20):
                await source.run()
        assert PASSWORD not in str(caught.value) and "wrong" not in str(caught.value)
        await asyncio.sleep(0.1)

    asyncio.run(run())


def why(security: Security) -> tuple[str, bool]:
    async def ask() -> tuple[str, bool]:
        said = await security.why()
        await asyncio.sleep(0.1)  # Connections close in turns of the loop.
        return said

    return asyncio.run(ask())


def test_another_protocol(secure: Secure) -> None:
    """A listener without TLS, and one that asks for it: that may change, so it is waited for, and said."""
    ca = {"security_protocol": "SSL", "ssl_ca_file": secure.ca / "ca.crt"}
    for listener, settings in (("TOKEN", ca), ("TLS", {})):
        said, is_wrong = why(Security(secure.settings(listener, **settings)))
        assert "does this listener speak TOCSIN_KAFKA__SECURITY_PROTOCOL?" in said and not is_wrong, said


def test_certificates_are_read_anew(secure: Secure, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An authority that was replaced is used by the next connection; one that cannot be read changes nothing."""
    caplog.set_level(logging.INFO)
    other = tmp_path / "other"
    other.mkdir()
    authority(other)
    path = tmp_path / "ca.crt"
    path.write_bytes((other / "ca.crt").read_bytes())
    security = Security(secure.settings("TLS", security_protocol="SSL", ssl_ca_file=path))
    assert "is not trusted" in why(security)[0]
    path.write_text("no certificate")
    _later(path, 10)
    security.reload()
    assert "cannot be read" in caplog.text
    path.write_bytes((secure.ca / "ca.crt").read_bytes())
    _later(path, 20)
    security.reload()
    assert why(security) == ("", False) and "were read anew" in caplog.text


def _later(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() + seconds, time.time() + seconds))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "set TOCSIN_KAFKA__SASL_MECHANISM"),
        ({"SASL_MECHANISM": "PLAIN"}, "set TOCSIN_KAFKA__SECURITY_PROTOCOL to SASL_SSL"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN"}, "set TOCSIN_KAFKA__SASL_USERNAME"),
        ({"SSL_CA_FILE": "/nowhere"}, "TOCSIN_KAFKA__SSL_CA_FILE needs TLS"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_CA_FILE": "/nowhere"}, "cannot read /nowhere"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_CA_FILE": __file__}, "is not what it should be"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_KEY_FILE": __file__}, "set TOCSIN_KAFKA__SSL_CERT_FILE"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER"}, "takes its token from one of"),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER", "OAUTH_PROVIDER": "nowhere:token"},
            "OAUTH_PROVIDER: No module named 'nowhere'",
        ),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER", "OAUTH_TOKEN_URL": "https://a.example"},
            "needs TOCSIN_KAFKA__OAUTH_CLIENT_ID",
        ),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, str], said: str) -> None:
    """Each is said with the setting that is to be set."""
    kafka = load({f"TOCSIN_KAFKA__{name}": value for name, value in settings.items()}).kafka
    with pytest.raises(ValueError, match=said.replace("(", "\\(")):
        Security(kafka)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SECURITY_PROTOCOL", "TLS", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
        ("SASL_MECHANISM", "GSSAPI", "'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512' or 'OAUTHBEARER'"),
        ("START", "yesterday", "write earliest, latest, 7d or 2026-11-01T00:00:00Z"),
        ("OAUTH_PROVIDER", "nothing", "write package.module:function"),
    ],
)
def test_words_that_are_none(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load({f"TOCSIN_KAFKA__{name}": value})


def test_a_start_that_cannot_be(tmp_path: Path) -> None:
    """The daemon says it in one line, and ends."""
    status, said = ended(tmp_path, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1", KAFKA__SECURITY_PROTOCOL="SASL_SSL")
    assert status == 2 and said == ["TOCSIN_KAFKA__SECURITY_PROTOCOL is SASL_SSL: set TOCSIN_KAFKA__SASL_MECHANISM"]
