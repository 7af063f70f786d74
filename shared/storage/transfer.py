"""Assets of a station into S3, in one streamed pass that counts and hashes them; a wrong object never appears."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from shared.errors import ItemFailed, Retryable
from shared.settings import Settings
from shared.stac.answers import shown
from shared.stac.api import StacApi
from shared.stac.item import Asset
from shared.storage.digests import PART_BYTES, Checksum, OverlappedDigest, Written, checksum_of, digest_of
from shared.storage.download import Download, StartOver
from shared.storage.location import Location, Stored
from shared.storage.objects import ObjectStore

_PUT_PARTS: Final = 2
"""Up to so many times `PART_BYTES` an object is one PUT, whose answer has its ETag; more is a multipart upload."""

_OTHER_PARTS: Final = 3
"""Times `PART_BYTES` in memory beside the parts in flight: one that comes, one being hashed, one being handed over."""

_REPORT: Final = 2**20

Progress = Callable[[int], None]
"""Called with the number of bytes that have come since the last call; negative where a download begins anew."""


@dataclass(frozen=True)
class _Expected:
    """What an asset must be: its size in bytes and its digest, as far as they are stated."""

    href: str
    size: int | None
    checksum: Checksum | None

    @property
    def function(self) -> str:
        return "md5" if self.checksum is None else self.checksum.function

    def require(self, written: Written) -> None:
        """Compare.

        Raises:
            Retryable: `size-mismatch`, `checksum-mismatch`.
        """
        if self.size is not None and written.size != self.size:
            raise Retryable(
                "size-mismatch", f"{shown(self.href)} gave {written.size} bytes where {self.size} were announced"
            )
        if self.checksum is not None and written.checksum != self.checksum:
            raise Retryable(
                "checksum-mismatch",
                f"{shown(self.href)} has the {written.checksum.function} {written.checksum.hex} "
                f"where {self.checksum.hex} was announced",
            )


class Transfer:
    """Moves assets of one station into S3, in at most `AUXIP_TRANSFER_MEMORY` bytes of memory each."""

    def __init__(self, api: StacApi, store: ObjectStore, settings: Settings) -> None:
        self._api = api
        self._store = store
        self._settings = settings
        self._parts_at_once = settings.transfer_memory // PART_BYTES - _OTHER_PARTS

    def fetch(self, asset: Asset, target: Location, progress: Progress) -> Written:
        """Bring an asset to `target` and verify it: size and checksum as it comes, then what the store reports.

        The size is compared with `file:size`, else with the length that the source announces; the checksum with
        `file:checksum` where there is one. An object that was at the target stays until the new one is proven.

        Raises:
            ItemFailed: `unsupported-href`, `bad-checksum` (none that we know), `too-large`, `foreign-bucket`,
                `source-missing`.
            Retryable: `size-mismatch`, `checksum-mismatch`, `not-online`, and what `StacApi` and `ObjectStore` raise.
            Rejected: `bad-href`, and what `StacApi` and `ObjectStore` raise.
        """
        expected = _Expected(asset.href, asset.size, checksum_of(asset.checksum))
        if expected.size is not None:
            self._limit(expected.size)
        if asset.href.startswith("s3://"):
            return self._from_s3(expected, target, progress)
        if asset.href.startswith(("http://", "https://")):
            return self._from_http(expected, target, progress)
        raise ItemFailed("unsupported-href", f"{asset.href[:200]!r} is no http://, https:// or s3:// href")

    def _from_http(self, expected: _Expected, target: Location, progress: Progress) -> Written:
        proven = expected.size is not None or expected.checksum is not None
        download = Download(self._api, expected.href, expected.size, proven, self._settings)
        while True:
            told = _Told(progress)
            try:
                return self._pass(told.over(download.chunks()), expected, target)
            except StartOver:
                told.take_back()

    def _from_s3(self, expected: _Expected, target: Location, progress: Progress) -> Written:
        source = Location.parse(expected.href)
        if source.bucket not in self._settings.s3_source_buckets:
            raise ItemFailed(
                "foreign-bucket", f"{source.href[:200]} is in none of the buckets of AUXIP_S3_SOURCE_BUCKETS"
            )
        stored = self._store.head(source)
        if stored is None:
            raise ItemFailed("source-missing", f"there is no {source.href[:200]}")
        self._limit(stored.size)
        if expected.size not in (None, stored.size):
            raise Retryable("size-mismatch", f"{source.href} has {stored.size} bytes where {expected.size} are stated")
        if _is_proven(stored, expected):
            self._store.control.copy(source, stored, target)
            written = self._store.verify(target, Written(stored.size, stored.etag, stored.etag))
            progress(stored.size)
            return written
        return self._pass(_Told(progress).over(self._store.blocks(source, stored)), expected, target)

    def _pass(self, chunks: Iterable[bytes], expected: _Expected, target: Location) -> Written:
        """Write what comes; it is checked before the object is complete, so a wrong one leaves nothing behind."""
        blocks = _blocks(chunks)
        first = list(islice(blocks, _PUT_PARTS))
        more = next(blocks, None)
        if more is None:
            return self._put(b"".join(first), expected, target)
        with (
            OverlappedDigest(expected.function) as digest,
            self._store.open_writer(target, self._parts_at_once, digest) as writer,
        ):
            for block in chain(_drained(first), [more], blocks):
                writer.write(block)
            written = writer.written
            expected.require(written)
        return self._store.verify(target, written)

    def _put(self, data: bytes, expected: _Expected, target: Location) -> Written:
        written = digest_of(data, expected.function)
        expected.require(written)
        return self._store.put(target, data, written=written)

    def _limit(self, size: int) -> None:
        most = self._settings.max_asset_bytes
        if size > most:
            raise ItemFailed("too-large", f"the asset has more than {most} bytes (AUXIP_MAX_ASSET_BYTES)")


class _Told:
    """Tells the progress of one download, a step at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = 0

    def over(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on."""
        untold = 0
        for chunk in chunks:
            untold += len(chunk)
            if untold >= _REPORT:
                self._tell(untold)
                untold = 0
            yield chunk
        if untold:
            self._tell(untold)

    def take_back(self) -> None:
        """Tell that what has come does not count."""
        if self._told:
            self._tell(-self._told)

    def _tell(self, size: int) -> None:
        self._told += size
        self._progress(size)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes, `PART_BYTES` at a time and the rest."""
    pieces: list[bytes | memoryview] = []
    size = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while size + len(rest) >= PART_BYTES:
            cut = PART_BYTES - size
            yield b"".join([*pieces, rest[:cut]])
            pieces, size, rest = [], 0, rest[cut:]
        if rest:
            pieces.append(rest)
            size += len(rest)
    if pieces:
        yield b"".join(pieces)


def _drained(blocks: list[bytes]) -> Iterator[bytes]:
    """Yield blocks and let go of each."""
    while blocks:
        yield blocks.pop(0)


def _is_proven(stored: Stored, expected: _Expected) -> bool:
    """Whether the ETag tells that an object of the store is the one that is wanted, so that it need not be read."""
    is_md5 = "-" not in stored.etag and len(stored.etag) == len(digest_of(b"").md5)
    wanted = expected.checksum or Checksum("md5", stored.etag)
    return is_md5 and wanted == Checksum("md5", stored.etag)
