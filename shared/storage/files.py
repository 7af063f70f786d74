"""A file of a station or of the store into a folder of this machine: verified before it has its name."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from shared.errors import ItemFailed, Rejected, Retryable
from shared.http.answers import shown
from shared.http.api import JsonApi
from shared.settings import Settings
from shared.stac.item import Asset
from shared.storage.digests import Checksum, checksum_of, hasher, stated_size
from shared.storage.download import Download
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
    announced = Announced(asset.href, stated_size(asset.size, asset.checksum), checksum)
    return _save(target, announced, lambda file: _download(api, announced, file, settings))


def save_object(store: ObjectStore, location: Location, path: str, folder: Path, announced: "Announced") -> Path:
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
    return _save(target, announced, lambda file: _written(store.blocks(location, stored), file, announced.function))


@dataclass(frozen=True)
class Announced:
    """What a station or a catalog states of a file: where it is, its size in bytes and its checksum, if it does."""

    href: str
    size: int | None
    checksum: Checksum | None

    @property
    def function(self) -> str:
        """The function by which its content is known."""
        return "md5" if self.checksum is None else self.checksum.function


def _save(target: Path, announced: Announced, fetch: Callable[[BinaryIO], tuple[int, Checksum]]) -> Path:
    """Have a file written under another name, and give it its own once it is what was announced."""
    checksum = announced.checksum
    with _writable(target.parent):
        if checksum is not None and target.is_file() and _digest(target, announced.function) == checksum:
            return target
        with _temporary(target.parent) as (file, path):
            received, found = fetch(file)
            _require(announced, received, found)
            _name(path, target, found)
    return target


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Rejected("bad-folder", f"{folder}: {error.strerror or error}") from None


def _download(api: JsonApi, announced: Announced, file: BinaryIO, settings: Settings) -> tuple[int, Checksum]:
    """Write a file, and return how many bytes it has and their digest."""
    proven = announced.size is not None or announced.checksum is not None
    download = Download(api, announced.href, announced.size, proven, settings)
    while True:
        with suppress(StartOver):
            return _written(download.chunks(), file, announced.function)


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


def _require(announced: Announced, received: int, found: Checksum) -> None:
    href, size, checksum = announced.href, announced.size, announced.checksum
    if size is not None and received != size:
        raise Retryable("size-mismatch", f"{shown(href)} gave {received} bytes where {size} were announced")
    if checksum is not None and found != checksum:
        raise Retryable(
            "checksum-mismatch",
            f"{shown(href)} has the {found.function} {found.hex} where {checksum.hex} was announced",
        )


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
