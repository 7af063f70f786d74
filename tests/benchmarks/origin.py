"""A fast source of one file, whatever path is asked for: `origin PORT FILE SECONDS`, the seconds before each answer."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

_WHOLE = 2**20
"""A smaller file is kept in memory, a larger one goes from the disk's cache to the socket (sendfile)."""


async def _serve(port: int, path: Path, size: int, small: bytes, delay: float) -> None:
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: "one"\r\nAccept-Ranges: bytes\r\n\r\n'.encode()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(delay)
                writer.write(head + small)
                if not small:
                    with path.open("rb") as file:
                        await asyncio.get_running_loop().sendfile(writer.transport, file)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    file = Path(sys.argv[2])
    length = file.stat().st_size
    asyncio.run(
        _serve(int(sys.argv[1]), file, length, file.read_bytes() if length < _WHOLE else b"", float(sys.argv[3]))
    )
