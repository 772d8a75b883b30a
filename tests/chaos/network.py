"""A network between a daemon and its broker that can be cut, slow or silent: a TCP proxy on the loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 65_536
SLOW_S = 0.2


class Network:
    """All that passes from one port to another; `way` is the weather: open, slow, silent or cut."""

    def __init__(self, port: int) -> None:
        self.way = "open"
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()

    def turn(self, way: str) -> None:
        """Change the weather; a cut ends every connection."""
        self.way = way
        self._changed.set()
        if way == "cut":
            for writer in self._writers:
                writer.transport.abort()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, in both directions, until one side ends it."""
        if self.way == "cut":
            writer.transport.abort()
            return
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_writer}
        try:
            await asyncio.gather(self._pass_on(reader, to_writer), self._pass_on(to_reader, writer))
        finally:
            self._writers -= {writer, to_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                while self.way == "silent":
                    self._changed.clear()
                    await self._changed.wait()
                if self.way == "slow":
                    await asyncio.sleep(SLOW_S)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def network(listen: int, port: int) -> AsyncIterator[Network]:
    """A network from one port of the loopback to another, for as long as the block."""
    one = Network(port)
    server = await asyncio.start_server(one.connect, "127.0.0.1", listen)
    try:
        yield one
    finally:
        one.turn("cut")
        server.close()
