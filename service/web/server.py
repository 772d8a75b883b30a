"""An HTTP server in the daemon's own event loop, bound before anything else is begun."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from service.config.settings import OtlpSettings, WebSettings
from service.runtime.connections import LIMITS_S, Connection, Connections, Phase

ACCEPTED_AT_ONCE = 4
"""Connections taken in one turn of the loop: by so many, a few times over, there may be more than may stay."""
BACKLOG = 512
"""Connections that the system completes for us and that we have not taken yet."""


def certificate(settings: OtlpSettings | WebSettings) -> tuple[Path, Path] | None:
    """The files that a door's settings name; None: it speaks no TLS. Raises OSError where they cannot be used."""
    cert, key = settings.tls_cert_file, settings.tls_key_file or settings.tls_cert_file
    if cert is None or key is None:
        return None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise OSError(f"{cert} and {key} are not a certificate and its key: {error.reason}") from None
    return cert, key


class Server(uvicorn.Server):
    """A server in our loop, which leaves signals to us. Raises OSError where the address cannot be had.

    pair  PEM files of a certificate and its key; None: without TLS
    """

    def __init__(
        self, app: ASGIApp, listen: str, connections: Connections, pair: tuple[Path, Path] | None = None
    ) -> None:
        protocol: Any = partial(Connection, connections)
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", http=protocol, ws="none",
                timeout_keep_alive=int(LIMITS_S[Phase.IDLE]) // 2, timeout_graceful_shutdown=5, server_header=False,
                backlog=ACCEPTED_AT_ONCE, ssl_certfile=pair[0] if pair else None, ssl_keyfile=pair[1] if pair else None,
            )
        )  # fmt: skip
        self.connections = connections
        host, _, port = listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self.socket = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {listen}: {os.strerror(error.errno or 0)}") from None
        self.socket.setblocking(False)
        self.address = f"{host}:{self.socket.getsockname()[1]}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.socket.listen(BACKLOG)  # asyncio has one number for both, and set the smaller one.

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        self.connections.sweep()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def listens(self) -> None:
        """Until it does: uvicorn has no event for it, and needs one turn of the loop."""
        while not self.started:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
