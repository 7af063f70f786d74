"""Bytes in one pass: cutting a stream into pieces, and undoing its compression with bounded memory."""

import bz2
import lzma
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, cast

from inflate64 import Inflater
from isal import igzip_lib

from shared.archives.rules import Kind, flaw

Chunk = bytes | memoryview

_IGZIP_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # its stub takes the class for an instance
_OUT_BYTES = 2**20
_IN_BYTES_64 = 512  # a byte of deflate64 may become 26,000, and its library knows no limit
_DICTIONARY_BYTES = 128 * 2**20
_LZMA_HEADER = struct.Struct("<HHBI")  # APPNOTE 5.8.8: version, size of the properties, properties
_LZMA_PROPERTIES = 5


@dataclass(slots=True)
class Entry:
    """One file of an archive: its safe path, its size in bytes, its content. The size is what the chunks must give."""

    path: str
    size: int
    chunks: Iterator[Chunk]


class Decompressor(Protocol):
    """What igzip, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...  # noqa: D102
    @property
    def needs_input(self) -> bool: ...  # noqa: D102
    @property
    def unused_data(self) -> bytes: ...  # noqa: D102
    def decompress(self, data: Chunk, max_length: int = ...) -> bytes: ...  # noqa: D102


class ByteStream:
    """Reads chunks as a stream, forward only, and copies no more than it must."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._current = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        if len(self._current) >= size:
            return bytes(self._cut(size))
        parts: list[Chunk] = []
        while size and self._fill():
            parts.append(self._cut(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end, and leave them to be read."""
        head = self.read(size)
        self._chunks = chain([self._current], self._chunks)
        self._current = memoryview(head)
        return head

    def take(self, size: int, path: str) -> Iterator[memoryview]:
        """Yield exactly the next `size` bytes.

        Raises:
            ArchiveFailed: `archive-damaged`, the stream ends before; `path` is what was read.
        """
        while size:
            if not self._fill():
                raise flaw(Kind.TRUNCATED, path, f"it ends {size} bytes early")
            piece = self._cut(size)
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[memoryview]:
        """Yield whatever is left."""
        while self._fill():
            yield self._cut(len(self._current))

    def _fill(self) -> bool:
        while not self._current:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._current = memoryview(chunk)
        return True

    def _cut(self, size: int) -> memoryview:
        piece, self._current = self._current[:size], self._current[size:]
        return piece


def gunzip(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Undo gzip: one or more members, then at most zero bytes (RFC 1952). Every trailer is verified.

    Raises:
        ArchiveFailed: `archive-damaged`, the data, the CRC or the length of a member is wrong, or the end is missing.
    """
    member: igzip_lib.IgzipDecompressor | None = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    for chunk in chunks:
        data: Chunk = chunk
        while data:
            if member is None:
                data = bytes(data).lstrip(b"\0")
                if not data:
                    break
                member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            yield from _output(member, data)
            data = b""
            if member.eof:
                data, member = member.unused_data, None
    if member is not None:
        raise flaw(Kind.TRUNCATED, "", "the gzip stream ends early")


def inflate(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Undo raw deflate (method 8 of zip).

    Raises:
        ArchiveFailed: `archive-damaged`.
    """
    return _whole(igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE), chunks)


def inflate64(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Undo deflate64 (method 9 of zip).

    Raises:
        ArchiveFailed: `archive-damaged`.
    """
    inflater = Inflater()
    for piece in _small_pieces(chunks):
        if inflater.eof:
            raise flaw(Kind.BAD_DATA, "", "data follow the end of the compressed data")
        try:
            produced = inflater.inflate(piece)
        except ValueError as error:
            raise flaw(Kind.BAD_DATA, "", str(error)) from error
        if produced:
            yield produced
    if not inflater.eof:
        raise flaw(Kind.TRUNCATED, "", "the compressed data ends early")


def _small_pieces(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield the bytes in small pieces, the last ones singly: so it shows whether data follow the end."""
    last = b""
    stream = ByteStream(chunks)
    while piece := stream.read(_IN_BYTES_64):
        if last:
            yield last
        last = piece
    for byte in last:
        yield bytes([byte])


def bunzip2(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Undo bzip2 (method 12 of zip).

    Raises:
        ArchiveFailed: `archive-damaged`.
    """
    return _whole(bz2.BZ2Decompressor(), chunks)


def unlzma(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Undo LZMA with the header that zip gives it (method 14). Its end need not be marked.

    Raises:
        ArchiveFailed: `archive-damaged`; `archive-limit`, it asks for a dictionary of more than 128 MiB.
    """
    stream = ByteStream(chunks)
    header = stream.read(_LZMA_HEADER.size)
    if len(header) < _LZMA_HEADER.size:
        raise flaw(Kind.TRUNCATED, "", "the LZMA header is cut off")
    _, properties_size, packed, dictionary = _LZMA_HEADER.unpack(header)
    if properties_size != _LZMA_PROPERTIES or packed >= 9 * 5 * 5:
        raise flaw(Kind.BAD_DATA, "", "the LZMA header is invalid")
    if dictionary > _DICTIONARY_BYTES:
        raise flaw(Kind.METADATA, "", f"an LZMA dictionary of {dictionary} bytes")
    (pb, lp), lc = divmod(packed // 9, 5), packed % 9
    options = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
    decompressor = _created(options)
    for chunk in stream.rest():
        yield from _output(decompressor, chunk)


def _created(options: dict[str, int]) -> lzma.LZMADecompressor:
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
    except lzma.LZMAError as error:
        raise flaw(Kind.BAD_DATA, "", f"the LZMA header is invalid: {error}") from error


def _whole(decompressor: Decompressor, chunks: Iterable[Chunk]) -> Iterator[bytes]:
    for chunk in chunks:
        yield from _output(decompressor, chunk)
    if not decompressor.eof:
        raise flaw(Kind.TRUNCATED, "", "the compressed data ends early")
    if decompressor.unused_data:
        raise flaw(Kind.BAD_DATA, "", "data follow the end of the compressed data")


def _output(decompressor: Decompressor, data: Chunk) -> Iterator[bytes]:
    while True:
        try:
            produced = decompressor.decompress(data, _OUT_BYTES)
        except (_IGZIP_ERROR, OSError, EOFError, ValueError, lzma.LZMAError) as error:
            raise flaw(Kind.BAD_DATA, "", str(error)) from error
        if produced:
            yield produced
        if decompressor.eof or decompressor.needs_input:
            return
        data = b""
