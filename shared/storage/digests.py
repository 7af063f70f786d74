"""Running digests of what is written, and what a checksum of STAC's file extension means."""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from blake3 import blake3

from shared.errors import ItemFailed
from shared.stac.checksums import HEX, MULTIHASHES, algorithm_of, hex_digits

PART_BYTES = 8 * 2**20
"""Size of a part of a multipart upload: S3's ETag of a large object follows from it."""

_MD5_HEX = 32


@dataclass(frozen=True)
class Checksum:
    """A digest: the function, by its name in hashlib or `blake3`, and its lower-case hex."""

    function: str
    hex: str

    @property
    def multihash(self) -> str:
        """As STAC's file extension spells `file:checksum`."""
        return MULTIHASHES[self.function] + self.hex


@dataclass(frozen=True)
class Written:
    """What was sent.

    Attributes:
        size: in bytes.
        md5: hex; empty if not asked for.
        etag: that S3 must report or, once it is verified, does report.
        other: a digest of another kind, where one was asked for.
    """

    size: int
    md5: str
    etag: str
    other: Checksum | None = None

    @property
    def checksum(self) -> Checksum:
        """The digest by which the content is known: the one that was asked for, else the MD5."""
        return self.other or Checksum("md5", self.md5)


class Digest(Protocol):
    """Takes the bytes of one object in order."""

    def update(self, chunk: bytes | memoryview, /) -> None:
        """Add the next bytes."""

    def result(self) -> Written:
        """Return the digest of all bytes so far."""


class RunningDigest:
    """Takes the bytes of one object in order and knows its size, MD5 and S3 ETag at the end.

    Less than `PART_BYTES` is one PUT, whose ETag is its MD5; from there on it is a multipart upload, whose
    ETag is the MD5 of its parts' MD5s and their number. (Observed of S3, SeaweedFS, MinIO and Ceph; not of
    buckets with KMS encryption, where `ObjectStore.verify` reads the object back.)
    """

    def __init__(self, whole: bool = True) -> None:
        """Begin; without `whole` only the ETag of a large object is known, for half the work."""
        self.size = 0
        self._whole = hashlib.md5(usedforsecurity=False) if whole else None
        self._part = hashlib.md5(usedforsecurity=False)
        self._part_size = 0
        self._parts: list[bytes] = []

    def update(self, chunk: bytes | memoryview) -> None:
        """Add the next bytes."""
        view = memoryview(chunk)
        self.size += len(view)
        if self._whole is not None:
            self._whole.update(view)
        while view:
            if self._part_size == PART_BYTES:
                self._end_part()
            taken = view[: PART_BYTES - self._part_size]
            self._part.update(taken)
            self._part_size += len(taken)
            view = view[len(taken) :]

    def result(self) -> Written:
        """Return the digest of all bytes so far."""
        md5 = "" if self._whole is None else self._whole.hexdigest()
        if not self._parts and self._part_size < PART_BYTES:
            return Written(self.size, md5, self._part.hexdigest())
        parts = [*self._parts, self._part.digest()]
        whole = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
        return Written(self.size, md5, f"{whole}-{len(parts)}")

    def _end_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._part_size = 0


class OverlappedDigest:
    """A `RunningDigest` whose functions run in threads, each beside the others, the network and the store.

    Used as a context manager. `update` returns at once; it waits for the chunk before, so that one is in memory.
    """

    def __init__(self, function: str = "md5") -> None:
        """Begin; a `function` other than MD5 is computed as well."""
        self._etag = RunningDigest(whole=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._other = None if function == "md5" else hasher(function)
        updates: list[Callable[[bytes | memoryview], object]] = [self._etag.update, self._md5.update]
        self._updates = updates if self._other is None else [*updates, self._other.update]
        self._pool = ThreadPoolExecutor(len(self._updates), thread_name_prefix="digest")
        self._busy: list[Future[object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def update(self, chunk: bytes | memoryview) -> None:
        """Add the next bytes, which must not change."""
        wait(self._busy)
        self._busy = [self._pool.submit(update, chunk) for update in self._updates]

    def result(self) -> Written:
        """Return the digest of all bytes so far."""
        wait(self._busy)
        parts = self._etag.result()
        return Written(parts.size, self._md5.hexdigest(), parts.etag, _other(self._other))


def digest_of(data: bytes, function: str = "md5") -> Written:
    """Return the digest of an object that is written in one PUT, of whatever size; with a `function` other than MD5."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    other = None if function == "md5" else hasher(function)
    if other is not None:
        other.update(data)
    return Written(len(data), md5, md5, _other(other))


def parts_of(size: int) -> int:
    """Return how many parts the multipart upload of an object of this size has."""
    return -(-size // PART_BYTES)


def checksum_of(text: str | None) -> Checksum | None:
    """Return what a `file:checksum` states, or None where there is none.

    AUXIP stations give plain MD5 hex; the file extension wants a multihash. Both are accepted.

    Raises:
        ItemFailed: `bad-checksum`, the text is neither, or the multihash of a function that we do not know.
    """
    if text is None:
        return None
    lower = text.lower()
    if HEX.issuperset(lower):
        if len(lower) == _MD5_HEX:
            return Checksum("md5", lower)
        for function, prefix in MULTIHASHES.items():
            if lower.startswith(prefix) and len(lower) == len(prefix) + hex_digits(function):
                return Checksum(function, lower.removeprefix(prefix))
    raise ItemFailed(
        "bad-checksum",
        f"file:checksum {text[:80]!r} ({algorithm_of(text)}) is no MD5 in plain hex and no multihash that we know",
    )


def stated_size(size: int | None, checksum: str | None) -> int | None:
    """Return the size that an asset states, or None where it states none.

    CDSE states 0 where it does not know the size. So 0 beside a checksum that is not that of an empty file, or that
    cannot be read, is no size.
    """
    if size != 0 or checksum is None:
        return size
    known = checksum_if_known(checksum)
    return size if known is not None and known == digest_of(b"", known.function).checksum else None


def checksum_if_known(text: str | None) -> Checksum | None:
    """Return what a catalog's checksum states, or None where the catalog has put something unknown in its place."""
    try:
        return checksum_of(text)
    except ItemFailed:
        return None


def md5_if_known(text: str | None) -> str | None:
    """Return the MD5 (hex) that a catalog's checksum states, or None where it is none."""
    checksum = checksum_if_known(text)
    return checksum.hex if checksum is not None and checksum.function == "md5" else None


def hasher(function: str) -> "hashlib._Hash | blake3":
    """Return what computes the digest of a function that a `Checksum` may name."""
    return blake3() if function == "blake3" else hashlib.new(function, usedforsecurity=False)


def _other(digest: "hashlib._Hash | blake3 | None") -> Checksum | None:
    return None if digest is None else Checksum(digest.name, digest.hexdigest())
