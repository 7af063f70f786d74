"""A file of a station or of the store into a folder of this machine: verified before it has its name."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from shared.errors import ItemFailed, Rejected
from shared.http.api import JsonApi
from shared.settings import Settings
from shared.stac.item import Asset
from shared.storage.digests import Checksum, checksum_of, hasher, stated_size
from shared.storage.download import Download
from shared.storage.expected import Expected
from shared.storage.keys import safe_segment
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from shared.storage.uploads import StartOver

_BLOCK: Final = 2**20


def save_asset(api: JsonApi, name: str, asset: Asset, folder: Path, settings: Settings) -> Path:
    """Download an asset of a station into a folder, and return the path of the file.

    It has its name only when size and checksum are those that the station states. A file that has the name already
    stays: where it is the same, this is done, else it is an error.

    Args:
        api: of the station.
        name: of the file.
        asset: its href, size and checksum.
        folder: that exists.
        settings: the limits and the pauses.

    Raises:
        Rejected: `file-exists`, another file has that name; `bad-folder`, the folder cannot be written to; and what
            `Download` raises.
        ItemFailed: `unsafe-asset-name`, `unsupported-href`, `bad-checksum`, and what `Download` raises.
        Retryable: `size-mismatch`, `checksum-mismatch`, and what `Download` raises.
    """
    if not asset.href.startswith(("http://", "https://")):
        raise ItemFailed("unsupported-href", f"{asset.href[:200]!r} is no http:// or https:// href; stage it instead")
    target, checksum = folder / safe_segment(name, "unsafe-asset-name"), checksum_of(asset.checksum)
    expected = Expected(asset.href, stated_size(asset.size, asset.checksum), checksum)
    return _save(target, expected, lambda file: _download(api, expected, file, settings))


def save_object(store: ObjectStore, location: Location, path: str, folder: Path, expected: Expected) -> Path:
    """Copy an object of the store to a path below a folder, as `save_asset` does with a file of a station.

    Raises:
        Rejected: `file-exists`, `bad-folder`.
        ItemFailed: `unsafe-asset-name`; `s3-mismatch`, there is no such object.
        Retryable: `size-mismatch`, `checksum-mismatch`, and what the store raises.
    """
    target = folder.joinpath(*(safe_segment(segment, "unsafe-asset-name") for segment in path.split("/")))
    stored = store.head(location)
    if stored is None:
        raise ItemFailed("s3-mismatch", f"{location.href} is not there; `auxip audit` finds what else is missing")
    with _writable(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    return _save(target, expected, lambda file: _written(store.blocks(location, stored), file, expected.function))


def _save(target: Path, expected: Expected, fetch: Callable[[BinaryIO], tuple[int, Checksum]]) -> Path:
    """Have a file written under another name, and give it its own once it is what was expected."""
    checksum = expected.checksum
    with _writable(target.parent):
        if checksum is not None and target.is_file() and _digest(target, expected.function) == checksum:
            return target
        with _temporary(target.parent) as (file, path):
            received, found = fetch(file)
            expected.require(received, found)
            _name(path, target, found)
    return target


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Rejected("bad-folder", f"{folder}: {error.strerror or error}") from None


def _download(api: JsonApi, expected: Expected, file: BinaryIO, settings: Settings) -> tuple[int, Checksum]:
    """Write a file, and return how many bytes it has and their digest."""
    download = Download(api, expected.href, expected.size, expected.proven, settings)
    while True:
        with suppress(StartOver):
            return _written(download.chunks(), file, expected.function)


def _written(chunks: Iterable[bytes], file: BinaryIO, function: str) -> tuple[int, Checksum]:
    """Write these bytes to a file in place of what it has, and return how many they are and their digest."""
    digest = hasher(function)
    file.seek(0)
    file.truncate()
    for chunk in chunks:
        file.write(chunk)
        digest.update(chunk)
    file.flush()
    os.fsync(file.fileno())
    return file.tell(), Checksum(function, digest.hexdigest())


def _name(path: Path, target: Path, found: Checksum) -> None:
    """Give a complete file its name, unless another file has it."""
    try:
        os.link(path, target)  # one step, which fails where the name is taken
    except FileExistsError:
        if not target.is_file() or _digest(target, found.function) != found:
            raise Rejected("file-exists", f"{target} is there already with another content; move it away") from None
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise
        path.rename(target)


def _digest(path: Path, function: str) -> Checksum:
    digest = hasher(function)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return Checksum(function, digest.hexdigest())


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in a folder, which is gone after the block, unless it has got another name by then."""
    path = folder / f".auxip-{uuid.uuid4().hex}.part"
    try:
        with path.open("xb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)
