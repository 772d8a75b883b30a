"""The HTTP client of the senders: one request, one answer, and nothing that leaks or leads elsewhere.

A request is never cancelled from outside, and only httpx's own `Timeout` bounds it: cancelling leaks httpcore's
connection slots until the pool is mute. A pool that is mute all the same is replaced.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from detectors.core.columns import SECOND_NS
from service.notifiers.request import HttpRequest

TIMEOUT = httpx.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
ANSWER_BYTES_MAX = 65_536
ANSWER_MAX_S = 30.0
CA_FILE, CA_DIRECTORY = "SSL_CERT_FILE", "SSL_CERT_DIR"


@dataclass(frozen=True)
class Answer:
    """Status, headers and the beginning of the body, as it came: nothing is decompressed."""

    status: int
    headers: httpx.Headers
    body: str


@dataclass
class _Pool:
    """An httpx client and how many use it: one that was replaced is closed by its last user."""

    client: httpx.AsyncClient
    users: int = 0


def authorities(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Whom destinations' certificates may be from: `SSL_CERT_FILE` or `SSL_CERT_DIR` where set, else the public ones.

    Raises ValueError naming the variable that leads to no certificates.
    """
    file, directory = environ.get(CA_FILE, ""), environ.get(CA_DIRECTORY, "")
    if not file and not directory:
        return httpx.create_ssl_context(trust_env=False)
    if directory and not any(Path(one).is_dir() for one in directory.split(os.pathsep)):
        raise ValueError(f"{CA_DIRECTORY}: {directory} is no directory; name one that `openssl rehash` was run in")
    try:
        context = ssl.create_default_context(cafile=file or None, capath=directory or None)
    except OSError as error:  # An ssl.SSLError is one, too.
        said = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "holds no certificates"
        raise ValueError(f"{CA_FILE}: {file}: {said}; name a file of certificates in PEM") from None
    return context


def new_client(senders: int, trusted: ssl.SSLContext) -> httpx.AsyncClient:
    """As many connections as senders, so that none ever waits for one; no proxy or redirect leads elsewhere."""
    limits = httpx.Limits(max_connections=senders, max_keepalive_connections=senders)
    return httpx.AsyncClient(verify=trusted, timeout=TIMEOUT, limits=limits, follow_redirects=False, trust_env=False)


class Client:
    """Sends requests, from at most as many tasks at once as its pools have connections.

    replaced  pools whose connections had gone for ever
    """

    def __init__(self, new: Callable[[], httpx.AsyncClient], now_ns: Callable[[], int]) -> None:
        self._new, self._now_ns = new, now_ns
        self._pool = _Pool(new())
        self.replaced = 0

    async def ask(self, request: HttpRequest) -> Answer:
        """One request and its answer. Raises what httpx raises; after a PoolTimeout the pool is another."""
        pool = self._pool
        pool.users += 1
        try:
            return await self._ask(pool.client, request)
        except httpx.PoolTimeout:
            if pool is self._pool:
                self.replaced += 1
                self._pool = _Pool(self._new())
            raise
        finally:
            pool.users -= 1
            if pool is not self._pool and not pool.users:
                await pool.client.aclose()

    async def _ask(self, client: httpx.AsyncClient, request: HttpRequest) -> Answer:
        headers = {**request.headers, "Accept-Encoding": "identity", "User-Agent": "tocsin"}
        body = b""
        until_ns = self._now_ns() + int(ANSWER_MAX_S * SECOND_NS)
        async with client.stream(request.method, request.url, headers=headers, content=request.body) as answer:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX or self._now_ns() > until_ns:
                    break
            return Answer(answer.status_code, answer.headers, body[:ANSWER_BYTES_MAX].decode("utf-8", "replace"))

    async def close(self) -> None:
        await self._pool.client.aclose()


def unreachable(error: Exception) -> str:
    """What kept an answer away, by types alone: an error's text may hold the URL."""
    names: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(names) < 4:
        if (name := type(cause).__name__) not in names:
            names.append(name)
        cause = cause.__cause__ or cause.__context__
    return ", by ".join(names)
