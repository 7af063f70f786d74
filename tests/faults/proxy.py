"""Links between two parts of the system that can be cut, reset, slowed down, cut after some bytes, or lie.

Every link listens on a port of the loopback address and passes bytes on to another one. All of them live in one
thread; what is called from outside it is handed over.
"""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

LOOPBACK = "127.0.0.1"
_CHUNK = 2**16
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Lie:
    """An answer in the place of the server's to some HTTP requests.

    Attributes:
        requests: regular expression, searched in `METHOD /path?query`.
        status: of the answer.
        body: of the answer.
        applied: whether the server is given the request, and does what it asks for.
    """

    requests: str
    status: int
    body: bytes = b""
    applied: bool = False

    def is_about(self, data: bytes) -> bool:
        """Whether a piece of data begins with such a request."""
        line = _REQUEST.match(data)
        return line is not None and re.search(self.requests, line[1].decode("latin-1")) is not None

    def answer_to(self, data: bytes) -> bytes:
        """Return the answer to the request that data begins with."""
        head = f"HTTP/1.1 {self.status} As Told\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + (b"" if data.startswith(b"HEAD ") else self.body)


_REQUEST = re.compile(rb"([A-Z]+ [^ \r\n]+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class _Connection:
    def __init__(self, client: asyncio.StreamWriter, target: asyncio.StreamWriter) -> None:
        self.writers = (client, target)
        self.answered = 0
        self.instead = b""

    def reset(self) -> None:
        for writer in self.writers:
            _reset(writer)


class Link:
    """One way from a client to a server.

    Attributes:
        port: that the client is given.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int) -> None:
        self.port = 0
        self._loop = loop
        self._target = target
        self._connections: set[_Connection] = set()
        self._refuses = False
        self._delay = 0.0
        self._limit: int | None = None
        self._lie: Lie | None = None

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._do(self._reset_all)

    def refuse(self) -> None:
        """Reset every connection, and each new one as soon as it is there."""

        def refuse() -> None:
            self._refuses = True
            self._reset_all()

        self._do(refuse)

    def delay(self, seconds: float) -> None:
        """Hold each piece of data back for so long."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def cut_after(self, size: int) -> None:
        """Reset a connection once `size` more bytes have come back from the server, again and again."""

        def limit() -> None:
            self._limit = size
            for connection in self._connections:
                connection.answered = 0

        self._do(limit)

    def lie(self, lie: Lie) -> None:
        """Answer some HTTP requests in the server's place."""
        self._do(lambda: setattr(self, "_lie", lie))

    def restore(self) -> None:
        """Pass on whatever comes, at once."""

        def restore() -> None:
            self._refuses, self._delay, self._limit, self._lie = False, 0.0, None, None

        self._do(restore)

    async def listen(self) -> None:
        """Begin; sets `port`."""
        self._server = await asyncio.start_server(self._connected, LOOPBACK, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Take no more connections, and reset those that are there."""
        self._server.close()
        self._refuses = True
        self._reset_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refuses:
                raise ConnectionError  # as when the server is not there
            there, back = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(writer, back)
        self._connections.add(connection)
        try:
            with suppress(OSError):
                await asyncio.gather(self._forward(reader, connection), self._answer(there, connection))
        finally:
            self._connections.discard(connection)
            connection.reset()

    async def _forward(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        client, target = connection.writers
        while data := await reader.read(_CHUNK):
            await asyncio.sleep(self._delay)
            if self._lie is not None and self._lie.is_about(data):
                connection.instead = self._lie.answer_to(data)
                if not self._lie.applied:
                    await _discard_request(reader, data)
                    client.write(connection.instead)
                    continue  # until the client closes
            target.write(data)
            await target.drain()
        with suppress(OSError):
            target.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        writer = connection.writers[0]
        while data := await reader.read(_CHUNK):
            await asyncio.sleep(self._delay)
            if connection.instead and not data.startswith(b"HTTP/1.1 100"):
                writer.write(connection.instead)
                await writer.drain()
                return
            if self._limit is not None:
                data = data[: max(0, self._limit - connection.answered)]
            writer.write(data)
            await writer.drain()
            connection.answered += len(data)
            if self._limit is not None and connection.answered >= self._limit:
                connection.reset()
                return
        with suppress(OSError):
            writer.close()

    def _reset_all(self) -> None:
        for connection in self._connections:
            connection.reset()

    def _do(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()


class Links:
    """A context manager that runs the links."""

    def __enter__(self) -> Self:
        self._links: list[Link] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def to(self, target: int) -> Link:
        """Return a new link to a port of the loopback address."""
        link = Link(self._loop, target)
        asyncio.run_coroutine_threadsafe(link.listen(), self._loop).result()
        self._links.append(link)
        return link

    async def _end(self) -> None:
        for link in self._links:
            await link.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


def _reset(writer: asyncio.StreamWriter) -> None:
    opened = writer.get_extra_info("socket")
    if opened is not None:
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _discard_request(reader: asyncio.StreamReader, data: bytes) -> None:
    """Read the rest of a request: who is answered before it has sent everything may not see the answer."""
    while b"\r\n\r\n" not in data and (more := await reader.read(_CHUNK)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    left = int(length[1]) - len(body) if length else 0
    while left > 0 and (more := await reader.read(min(left, _CHUNK))):
        left -= len(more)
