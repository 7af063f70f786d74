"""Where the bytes of an archive come from: what the readers of the formats need, and files on disk."""

from collections.abc import Iterator
from typing import IO, Protocol

PIECE_BYTES = 2**20


class Source(Protocol):
    """An archive that can be read at any place."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def read_at(self, start: int, length: int) -> bytes:
        """Return bytes from an offset, fewer only at the end."""

    def chunks(self, start: int, length: int) -> Iterator[memoryview]:
        """Yield bytes from an offset in order, in large pieces; fewer only at the end."""


class FileSource:
    """An archive in an open file. Whoever opened the file closes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = file.seek(0, 2)
        self._file = file

    def read_at(self, start: int, length: int) -> bytes:
        """Return bytes from an offset, fewer only at the end."""
        if start >= self.size:  # an archive may claim an offset that no file can seek to
            return b""
        self._file.seek(start)
        return self._file.read(length)

    def chunks(self, start: int, length: int) -> Iterator[memoryview]:
        """Yield bytes from an offset in order, in pieces of at most `PIECE_BYTES`."""
        while length and (piece := self.read_at(start, min(length, PIECE_BYTES))):
            start += len(piece)
            length -= len(piece)
            yield memoryview(piece)
