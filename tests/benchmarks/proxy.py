"""Stands between a client and the store and holds back the beginning of each answer: `proxy PORT TARGET SECONDS`."""

import asyncio
import sys
from contextlib import suppress


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**18):
            asked.set()
            writer.write(data)
            await writer.drain()
    writer.close()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event, delay: float
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**18):
            if asked.is_set():
                asked.clear()
                await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(port: int, target: int, delay: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        asked = asyncio.Event()
        await asyncio.gather(_forward(reader, back, asked), _answer(there, writer, asked, delay))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
