"""Reads an archive in S3 by ranges, a few blocks ahead of what is being worked on."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from shared.errors import Retryable
from shared.storage.location import Location, Stored
from shared.storage.objects import ObjectStore

BLOCK_BYTES = 8 * 2**20
_MOST_AHEAD = 3


class ArchiveReader:
    """One version of an archive object, told by its ETag. At most `memory` bytes are held, and no less than a block.

    Used as a context manager, from one thread. Every method raises `Retryable` where the store does: `s3-changed`
    when the object is replaced meanwhile.
    """

    def __init__(self, store: ObjectStore, location: Location, stored: Stored, memory: int) -> None:
        self.size = stored.size
        self._ahead = min(_MOST_AHEAD, max(0, memory // BLOCK_BYTES - 2))  # besides the one in use and one being hashed
        self._store = store
        self._location = location
        self._etag = stored.etag
        self._pool = ThreadPoolExecutor(_MOST_AHEAD + 1, thread_name_prefix="archive-read")
        self._window: dict[int, Future[bytes]] = {}
        self._current = (-1, 0)
        self._in_use = b""
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashed = 0
        self._hashing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read_at(self, start: int, length: int) -> bytes:
        """Return bytes from an offset, fewer only at the end of the object."""
        return b"".join(self._pieces(start, length, ahead=0))

    def chunks(self, start: int, length: int) -> Iterator[memoryview]:
        """Yield bytes from an offset in order, in large pieces, and fetch ahead; fewer only at the object's end."""
        return self._pieces(start, length, ahead=self._ahead)

    def md5(self) -> str:
        """Return the MD5 (hex) of the whole object; fetches what has not been read in order so far."""
        while self._hashed * BLOCK_BYTES < self.size:
            self._block(self._hashed, self._ahead)
        if self._hashing is not None:
            self._hashing.result()
        return self._md5.hexdigest()

    def _pieces(self, start: int, length: int, ahead: int) -> Iterator[memoryview]:
        end = min(start + length, self.size)
        while start < end:
            index, offset = divmod(start, BLOCK_BYTES)
            if self._current not in ((index, ahead), (index, self._ahead)):  # thousands of small members share a block
                self._in_use, self._current = self._block(index, ahead), (index, ahead)
            block = memoryview(self._in_use)
            piece = block[offset : offset + end - start]
            start += len(piece)
            yield piece

    def _block(self, index: int, ahead: int) -> bytes:
        last = min(index + ahead, (self.size - 1) // BLOCK_BYTES)
        for passed in [held for held in self._window if not index <= held <= index + self._ahead]:
            self._window.pop(passed).cancel()
        for wanted in range(index, last + 1):
            if wanted not in self._window:
                self._window[wanted] = self._pool.submit(self._fetch, wanted)
        block = self._window[index].result()
        if index == self._hashed:
            self._hash(block)
        return block

    def _fetch(self, index: int) -> bytes:
        start = index * BLOCK_BYTES
        length = min(BLOCK_BYTES, self.size - start)
        block = self._store.read(self._location, start, length, self._etag)
        if len(block) != length:
            raise Retryable("s3-mismatch", f"{self._location.href} gave {len(block)} bytes where {length} were asked")
        return block

    def _hash(self, block: bytes) -> None:
        # One block at a time: the digest needs them in order, and no more than one may be held for it.
        if self._hashing is not None:
            self._hashing.result()
        self._hashed += 1
        self._hashing = self._pool.submit(self._md5.update, block)
