"""Bytes from a station into S3, in one streamed pass that counts and hashes them; a wrong object never appears."""

from collections.abc import Callable
from typing import Final

import httpx

from shared.errors import ItemFailed, Retryable
from shared.stac.api import StacApi
from shared.stac.item import Asset
from shared.storage.digests import Written, md5_of_checksum
from shared.storage.objects import Location, ObjectStore

_CHUNK: Final = 2**20

Progress = Callable[[int], None]
"""Called with the number of bytes that have come since the last call."""


class Transfer:
    """Moves assets of one station into S3."""

    def __init__(self, api: StacApi, store: ObjectStore, max_bytes: int) -> None:
        self._api = api
        self._store = store
        self._max_bytes = max_bytes

    def fetch(self, asset: Asset, target: Location, progress: Progress) -> Written:
        """Download an asset to `target` and verify it: size and checksum as it comes, then what the store reports.

        The size is compared with `file:size`, else with the length that the station announces; the checksum with
        `file:checksum` where there is one. Memory is a few parts of a multipart upload, whatever the size.

        Raises:
            ItemFailed: `unsupported-href`, `bad-checksum` (no checksum we know), `too-large`.
            Retryable: `size-mismatch`, `checksum-mismatch`, `not-online`, and what `StacApi` and `ObjectStore` raise.
            Rejected: what `StacApi` and `ObjectStore` raise.
        """
        if not asset.href.startswith(("http://", "https://")):
            raise ItemFailed("unsupported-href", f"{asset.href[:200]!r} is no http:// or https:// href")
        md5 = md5_of_checksum(asset.checksum)
        # Identity: the size and the checksum are those of the file, not of a compressed answer.
        with self._api.open("GET", asset.href, headers={"accept-encoding": "identity", "accept": "*/*"}) as response:
            _require_content(response)
            expected = asset.size if asset.size is not None else _announced(response)
            self._limit(expected or 0)
            written = self._copy(response, target, progress, expected, md5)
        return self._store.verify(target, written)

    def _copy(
        self, response: httpx.Response, target: Location, progress: Progress, size: int | None, md5: str | None
    ) -> Written:
        """Write the body; a check that fails inside the writer's block leaves nothing behind."""
        with self._store.open_writer(target) as writer:
            received = 0
            for chunk in response.iter_raw(_CHUNK):
                writer.write(chunk)
                received += len(chunk)
                self._limit(received)
                progress(len(chunk))
            written = writer.written
            _check(written, size, md5, str(response.url))
        return written

    def _limit(self, size: int) -> None:
        if size > self._max_bytes:
            raise ItemFailed("too-large", f"the asset has more than {self._max_bytes} bytes (AUXIP_MAX_ASSET_BYTES)")


def _require_content(response: httpx.Response) -> None:
    """Refuse any other success than 200: a station answers 202 while it fetches a product from its archive."""
    if response.status_code != httpx.codes.OK:
        raise Retryable("not-online", f"{response.url} answered {response.status_code}: the product is not online yet")


def _announced(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _check(written: Written, size: int | None, md5: str | None, url: str) -> None:
    if size is not None and written.size != size:
        raise Retryable("size-mismatch", f"{url} gave {written.size} bytes where {size} were announced")
    if md5 is not None and written.md5 != md5:
        raise Retryable("checksum-mismatch", f"{url} has the MD5 {written.md5} where {md5} was announced")
