"""Running digests of what is written, and what a checksum of STAC's file extension means."""

import hashlib
from dataclasses import dataclass

from shared.errors import ItemFailed

PART_BYTES = 8 * 2**20
"""Size of a part of a multipart upload: S3's ETag of a large object follows from it."""

_MD5_MULTIHASH = "d50110"  # code 0xd5 as a varint, length 16: https://github.com/multiformats/multicodec
_MD5_HEX = 32


@dataclass(frozen=True)
class Written:
    """What was sent.

    Attributes:
        size: in bytes.
        md5: hex; empty if not asked for.
        etag: that S3 must report or, once it is verified, does report.
    """

    size: int
    md5: str
    etag: str

    @property
    def checksum(self) -> str:
        """The MD5 as a multihash."""
        return multihash(self.md5)


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


def digest_of(data: bytes) -> Written:
    """Return the digest of an object that is written in one PUT, of whatever size."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Written(len(data), md5, md5)


def parts_of(size: int) -> int:
    """Return how many parts the multipart upload of an object of this size has."""
    return -(-size // PART_BYTES)


def multihash(md5: str) -> str:
    """Return an MD5 (hex) as a multihash, as STAC's file extension spells `file:checksum`."""
    return _MD5_MULTIHASH + md5


def md5_of_checksum(checksum: str | None) -> str | None:
    """Return the MD5 (lower-case hex) that a `file:checksum` states, or None where there is none.

    AUXIP stations give plain MD5 hex; the file extension wants a multihash. Both are accepted.

    Raises:
        ItemFailed: `bad-checksum`, the text is neither.
    """
    if checksum is None:
        return None
    text = checksum.lower()
    if text.startswith(_MD5_MULTIHASH) and len(text) == len(_MD5_MULTIHASH) + _MD5_HEX:
        text = text.removeprefix(_MD5_MULTIHASH)
    if len(text) != _MD5_HEX or not all(letter in "0123456789abcdef" for letter in text):
        raise ItemFailed(
            "bad-checksum", f"file:checksum {checksum[:80]!r} is no MD5, neither plain hex nor as a multihash"
        )
    return text


def md5_if_known(checksum: str | None) -> str | None:
    """Return the MD5 that a catalog's checksum states, or None where the catalog has put another kind in its place."""
    try:
        return md5_of_checksum(checksum)
    except ItemFailed:
        return None
