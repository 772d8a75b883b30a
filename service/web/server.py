"""An HTTP server in the daemon's own event loop, bound before anything else is begun."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    """A server in our loop, which leaves signals to us. Raises OSError where the address cannot be had."""

    def __init__(self, app: ASGIApp, listen: str) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off",
                timeout_keep_alive=30, timeout_graceful_shutdown=5, server_header=False,
            )
        )  # fmt: skip
        host, _, port = listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self.socket = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=512)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {listen}: {os.strerror(error.errno or 0)}") from None
        self.socket.setblocking(False)
        self.address = f"{host}:{self.socket.getsockname()[1]}"

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def listens(self) -> None:
        """Until it does: uvicorn has no event for it, and needs one turn of the loop."""
        while not self.started:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
