"""A station's file into a folder of this machine, for a person: verified before it has its name."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from shared.storage.uploads import StartOver

_BLOCK: Final = 2**20


def save_asset(api: JsonApi, name: str, asset: Asset, folder: Path, settings: Settings) -> Path:
    """Download an asset into a folder, and return the path of the file.

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
    function = "md5" if checksum is None else checksum.function
    size = stated_size(asset.size, asset.checksum)
    try:
        if checksum is not None and target.is_file() and _digest(target, function) == checksum:
            return target
        with _temporary(folder) as (file, path):
            received, found = _download(api, asset.href, size, checksum, file, settings)
            _require(asset.href, size, checksum, received, found)
            _name(path, target, found)
    except OSError as error:
        raise Rejected("bad-folder", f"{folder}: {error.strerror or error}") from None
    return target


def _download(
    api: JsonApi, href: str, size: int | None, checksum: Checksum | None, file: BinaryIO, settings: Settings
) -> tuple[int, Checksum]:
    """Write a file, and return how many bytes it has and their digest."""
    download = Download(api, href, size, size is not None or checksum is not None, settings)
    function = "md5" if checksum is None else checksum.function
    while True:
        digest = hasher(function)
        file.seek(0)
        file.truncate()
        with suppress(StartOver):
            for chunk in download.chunks():
                file.write(chunk)
                digest.update(chunk)
            file.flush()
            os.fsync(file.fileno())
            return file.tell(), Checksum(function, digest.hexdigest())


def _require(href: str, size: int | None, checksum: Checksum | None, received: int, found: Checksum) -> None:
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
