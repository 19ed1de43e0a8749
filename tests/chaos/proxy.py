"""A TCP proxy on loopback whose connections can be cut for a while: the network to an Oracle."""

import asyncio
import contextlib
import threading
from typing import Self


class Proxy:
    """Passes connections on to ``port``.

    Attributes:
        port: where it listens.
        open: how many connections there are.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self._cut = False
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve()), daemon=True
        )
        self._thread.start()
        assert self._ready.wait(30), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def open(self) -> int:
        return len(self._ends) // 2

    def cut(self) -> None:
        """Breaks all connections, and every new one until `mend`."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._break)

    def mend(self) -> None:
        """Lets connections through again."""
        self._cut = False

    def _break(self) -> None:
        for end in list(self._ends):
            end.transport.abort()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._over.wait()
            self._break()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        there, away = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends |= {writer, away}
        try:
            await asyncio.gather(_pass_on(reader, away), _pass_on(there, writer))
        finally:
            self._ends -= {writer, away}


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.transport.abort() if source.exception() else sink.close()
