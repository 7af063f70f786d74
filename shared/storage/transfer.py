"""Assets of a station into S3, in one streamed pass that counts and hashes them; a wrong object never appears."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from typing import Final

from shared.errors import ItemFailed, Rejected, Retryable
from shared.http.answers import shown
from shared.http.api import JsonApi
from shared.settings import Settings
from shared.stac.item import Asset
from shared.storage.digests import PART_BYTES, Checksum, OverlappedDigest, Written, checksum_of, digest_of
from shared.storage.download import Download
from shared.storage.expected import Expected
from shared.storage.location import Location, Stored
from shared.storage.objects import ObjectStore
from shared.storage.uploads import Memory, PartUpload, Source, StartOver, Unfinished

_PUT_PARTS: Final = 2
"""Up to so many times `PART_BYTES` an object is one PUT, whose answer has its ETag; more is a multipart upload."""

_OTHER_PARTS: Final = 3
"""Times `PART_BYTES` in memory beside the parts in flight: one that comes, one being hashed, one being handed over."""

_REPORT: Final = 2**20

Progress = Callable[[int], None]
"""Called with the number of bytes that have come since the last call; negative where a download begins anew."""


def _remembered(expected: Expected, target: Location, upload: str, validator: str, size: int | None) -> Unfinished:
    """Return what is to be remembered of an upload of a file."""
    return Unfinished(
        target=target.href,
        id=upload,
        part_bytes=PART_BYTES,
        source=shown(expected.href),
        stated_size=expected.size,
        stated_checksum=None if expected.checksum is None else expected.checksum.multihash,
        validator=validator,
        size=size,
    )


class _Object:
    """A file that is an object of the store, as it was when it was looked at."""

    def __init__(self, store: ObjectStore, location: Location, stored: Stored) -> None:
        self._store = store
        self._location = location
        self._stored = stored

    @property
    def validator(self) -> str:
        return self._stored.etag

    @property
    def size(self) -> int:
        return self._stored.size

    def chunks(self) -> Iterator[bytes]:
        return self._store.blocks(self._location, self._stored)

    def rest(self, start: int, left: Unfinished) -> Iterator[bytes]:
        if left.validator != self._stored.etag:
            raise StartOver
        return self._store.blocks(self._location, self._stored, start)


class Transfer:
    """Moves assets of one station into S3, in at most `AUXIP_TRANSFER_MEMORY` bytes of memory each."""

    def __init__(self, api: JsonApi, store: ObjectStore, settings: Settings) -> None:
        self._api = api
        self._store = store
        self._settings = settings
        self._parts_at_once = settings.transfer_memory // PART_BYTES - _OTHER_PARTS

    def fetch(self, asset: Asset, target: Location, progress: Progress, memory: Memory | None = None) -> Written:
        """Bring an asset to `target` and verify it: size and checksum as it comes, then what the store reports.

        The size is compared with `file:size`, else with the length that the source announces; the checksum with
        `file:checksum` where there is one. An object that was at the target stays until the new one is proven.

        With a `memory` a large file goes on where an earlier try was interrupted, provided that nothing is at the
        target and that the source knows the file again. What was sent before is then verified by reading the object
        back once it is complete; where it is not the file that was announced, it is deleted.

        Raises:
            ItemFailed: `unsupported-href`, `bad-checksum` (none that we know), `too-large`, `foreign-bucket`,
                `source-missing`.
            Retryable: `size-mismatch`, `checksum-mismatch`, `not-online`, and what `JsonApi` and `ObjectStore` raise.
            Rejected: `bad-href`, and what `JsonApi` and `ObjectStore` raise.
        """
        expected = Expected(asset.href, asset.size, checksum_of(asset.checksum))
        if expected.size is not None:
            self._limit(expected.size)
        if asset.href.startswith("s3://"):
            return self._from_s3(expected, target, progress, memory)
        if asset.href.startswith(("http://", "https://")):
            download = Download(self._api, expected.href, expected.size, expected.proven, self._settings)
            return self._bring(download, expected, target, progress, memory)
        raise ItemFailed("unsupported-href", f"{asset.href[:200]!r} is no http://, https:// or s3:// href")

    def _from_s3(self, expected: Expected, target: Location, progress: Progress, memory: Memory | None) -> Written:
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
        return self._bring(_Object(self._store, source, stored), expected, target, progress, memory)

    def _bring(
        self, source: Source, expected: Expected, target: Location, progress: Progress, memory: Memory | None
    ) -> Written:
        left = None if memory is None else memory.left()
        if memory is not None and left is not None:
            parts = self._parts_left(left, expected, target)
            if parts:
                told = _Told(progress)
                try:
                    return self._go_on(source, told, left, parts, expected, target, memory)
                except StartOver:
                    told.take_back()
            self._store.control.abort(Location.parse(left.target), left.id)
        while True:
            told = _Told(progress)
            try:
                return self._pass(source, told, expected, target, memory)
            except StartOver:
                told.take_back()

    def _parts_left(self, left: Unfinished, expected: Expected, target: Location) -> list[str]:
        """Return the ETags of the parts that an earlier try has sent of this file, if they are of use."""
        same = left == _remembered(expected, target, left.id, left.validator, left.size)
        if not same or self._store.head(target) is not None:
            return []
        return self._store.control.whole_parts(target, left.id)

    def _go_on(
        self,
        source: Source,
        told: "_Told",
        left: Unfinished,
        parts: list[str],
        expected: Expected,
        target: Location,
        memory: Memory,
    ) -> Written:
        """Send what is missing of an upload, complete it, and verify the object by reading it back."""
        start = size = len(parts) * PART_BYTES
        memory.begun(left)
        memory.kept(start)
        upload = PartUpload(self._store.control, target, left.id, parts, self._parts_at_once)
        with _kept_if_interrupted(upload, memory):
            try:
                for block in _blocks(told.over(source.rest(start, left))):
                    upload.write(block)
                    size += len(block)
            except StartOver:
                memory.kept(-start)
                raise
            expected.require_size(size)
            upload.complete()
        return self._read_back(target, size, expected)

    def _read_back(self, target: Location, size: int, expected: Expected) -> Written:
        """Verify an object that is complete, byte by byte; it is deleted where it is not what was announced."""
        stored = self._store.head(target)
        if stored is None or stored.size != size:
            found = "nothing" if stored is None else f"{stored.size} bytes"
            raise Retryable("s3-mismatch", f"{target.href} should hold {size} bytes, the store has {found}")
        with OverlappedDigest(expected.function) as digest:
            for block in self._store.blocks(target, stored):
                digest.update(block)
            written = replace(digest.result(), etag=stored.etag)
        try:
            expected.require(written.size, written.checksum)
        except Retryable:
            self._store.control.delete(target, stored.etag)
            raise
        return written

    def _pass(
        self, source: Source, told: "_Told", expected: Expected, target: Location, memory: Memory | None
    ) -> Written:
        """Write what comes; it is checked before the object is complete, so a wrong one leaves nothing behind."""
        blocks = _blocks(told.over(source.chunks()))
        first = list(islice(blocks, 1))
        if source.size is None or source.size <= _PUT_PARTS * PART_BYTES:
            first += islice(blocks, _PUT_PARTS)
            if len(first) <= _PUT_PARTS:
                return self._put(b"".join(first), expected, target)
        upload = PartUpload.begin(self._store.control, target, self._parts_at_once)
        memory = None if source.validator is None else memory  # no later try could know the file again
        with OverlappedDigest(expected.function) as digest, _kept_if_interrupted(upload, memory):
            if memory is not None and source.validator is not None:
                memory.begun(_remembered(expected, target, upload.id, source.validator, source.size))
            for block in chain(_drained(first), blocks):
                digest.update(block)
                upload.write(block)
            written = digest.result()
            expected.require(written.size, written.checksum)
            upload.complete()
        return self._store.verify(target, written)

    def _put(self, data: bytes, expected: Expected, target: Location) -> Written:
        written = digest_of(data, expected.function)
        expected.require(written.size, written.checksum)
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


@contextmanager
def _kept_if_interrupted(upload: PartUpload, memory: Memory | None) -> Iterator[None]:
    """Send an upload; it is aborted where what came is wrong, and kept for the next try where the rest did not come."""
    with upload:
        try:
            yield
        except BaseException as error:
            # In a store that is full, the parts of many uploads would keep each of them from its end.
            useless = isinstance(error, Retryable) and error.code.endswith(("-mismatch", "-full"))
            if useless or memory is None or isinstance(error, (StartOver, ItemFailed, Rejected)):
                upload.abort()
            raise


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


def _is_proven(stored: Stored, expected: Expected) -> bool:
    """Whether the ETag tells that an object of the store is the one that is wanted, so that it need not be read."""
    is_md5 = "-" not in stored.etag and len(stored.etag) == len(digest_of(b"").md5)
    wanted = expected.checksum or Checksum("md5", stored.etag)
    return is_md5 and wanted == Checksum("md5", stored.etag)
