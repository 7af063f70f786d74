"""A station, a catalog and a store that answer at once, so that a run's cost is that of its orchestration.

They stand at the edge, below everything that is ours: instead of a request over HTTP (`JsonApi.call`), of a request to
S3 (`ObjectStore`), of a download (`Transfer`), of the reading of an archive (`expand`). No step, message, claim or
record is left out. They remember what they were given in files that every worker maps, and refuse what does not fit:
an object that was not staged is not there, an item that was not published is not shown.
"""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote

import httpx

from shared.archives import Expansion, Rules, manifest_for
from shared.context import Context
from shared.http.api import Answer, JsonApi
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.catalog import Catalog
from shared.stac.item import Asset
from shared.stations.station import Station
from shared.storage.control import Control
from shared.storage.digests import Checksum, Digest, RunningDigest, Written, digest_of
from shared.storage.location import Location, Stored
from shared.storage.objects import UPLOADS_AT_ONCE, ObjectStore, ObjectWriter
from shared.storage.transfer import Progress, Transfer
from tests.benchmarks.shelves import (
    ASSET_BYTES,
    FOLDER,
    Shelf,
    Shelves,
    archives_of_type,
    md5_of,
    number_of,
    offered,
)

_RUNS = "runs/"


class FreeStation(JsonApi):
    """A station without end: whatever is asked for, its items come by their numbers until the search has enough."""

    def __init__(self) -> None:
        super().__init__("station", "http://127.0.0.1", httpx.Client(), 0, "")

    def call(
        self,
        method: str,
        url: str,
        body: Json | None = None,
        *,
        expected: tuple[int, ...] = (),
        unread: tuple[int, ...] = (),
        wait: float | None = None,
    ) -> Answer:
        """Answer a search with one page."""
        asked = body or {}
        start, size = cast("int", asked.get("token", 0)), cast("int", asked["limit"])
        sought = cast("Json", asked["filter"])
        archives = archives_of_type(str(cast("list[object]", sought["args"])[1]))
        features = [offered(number, archives) for number in range(start, start + size)]
        link: Json = {"rel": "next", "method": "POST", "href": url, "body": {"token": start + size, "filter": sought}}
        return Answer(200, cast("Json", {"type": "FeatureCollection", "features": features, "links": [link]}))


class FreeCatalog(JsonApi):
    """A catalog that shows what was written to it."""

    def __init__(self, shelves: Shelves) -> None:
        super().__init__("catalog", "http://127.0.0.1", httpx.Client(), 0, "")
        self._shelves = shelves

    def call(
        self,
        method: str,
        url: str,
        body: Json | None = None,
        *,
        expected: tuple[int, ...] = (),
        unread: tuple[int, ...] = (),
        wait: float | None = None,
    ) -> Answer:
        """Answer as a STAC API with transactions does."""
        match method, url.split("/")[1:], body:
            case "GET", [""] | ["collections", _], None:
                return Answer(200, {})
            case "GET", ["collections", collection, "items", name], None:
                found = self._shelves[unquote(collection)].read(number_of(unquote(name)))
                return Answer(404, {}) if found is None else Answer(200, found)
            case "POST", ["collections", collection, "items"], {"id": str(name), **_rest} if body is not None:
                shelf = self._shelves[unquote(collection)]
                if shelf.read(number_of(name)) is not None:
                    return Answer(409, {})
                shelf.write(number_of(name), body)
                return Answer(201, body)
            case "PUT", ["collections", collection, "items", name], dict():
                self._shelves[unquote(collection)].write(number_of(unquote(name)), body)
                return Answer(200, body)
            case "POST", ["search"], {"collections": [str(collection)], "ids": list(ids), **_rest}:
                shelf = self._shelves[collection]
                shown = [shelf.read(number_of(str(name))) for name in ids]
                features = [item for item in shown if item is not None]
                return Answer(200, cast("Json", {"type": "FeatureCollection", "features": features}))
        raise NotImplementedError(f"{method} {url}")


class FreeStore(ObjectStore):
    """A store that knows which items' archives it has, and keeps what else is written as files."""

    def __init__(self, settings: Settings, shelves: Shelves) -> None:
        super().__init__(settings)
        self.control = FreeControl(settings, self)
        self._shelves = shelves

    def receive(self, location: Location) -> Written:
        """Let the archive of an item stand, whole and verified."""
        shelf, number, key = self._archive(location)
        shelf.set_archive(number, key, there=True)
        return Written(ASSET_BYTES, md5_of(number), md5_of(number))

    def head(self, location: Location) -> Stored | None:
        """See `ObjectStore`."""
        if not _is_archive(location):
            data = self._read(location)
            return None if data is None else Stored(location.key, len(data), digest_of(data).etag)
        shelf, number, key = self._archive(location)
        return Stored(location.key, ASSET_BYTES, md5_of(number)) if shelf.has_archive(number, key) else None

    def held(self, location: Location, size: int | None, checksum: Checksum) -> Stored | None:
        """See `ObjectStore`."""
        stored = self.head(location)
        return stored if stored is not None and (size, checksum.hex) == (stored.size, stored.etag) else None

    def read(self, location: Location, start: int, length: int, etag: str) -> bytes:
        """See `ObjectStore`."""
        return (self._read(location) or b"")[start : start + length]

    def put(
        self,
        location: Location,
        data: bytes,
        content_type: str = "application/octet-stream",
        written: Written | None = None,
    ) -> Written:
        """See `ObjectStore`."""
        self._path(location).write_bytes(data)
        return written or digest_of(data)

    def open_writer(
        self,
        location: Location,
        parts_at_once: int = UPLOADS_AT_ONCE,
        digest: Digest | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectWriter:
        """See `ObjectStore`."""
        return FreeWriter(self._path(location), digest or RunningDigest())

    def verify(self, location: Location, written: Written) -> Written:
        """See `ObjectStore`; what was written stands."""
        return written

    def list(self, prefix: Location) -> Iterator[Stored]:
        """See `ObjectStore`; nobody lists here."""
        raise NotImplementedError(prefix.href)

    def delete(self, location: Location) -> None:
        """See `ObjectStore`."""
        self._path(location).unlink(missing_ok=True)

    def delete_archive(self, location: Location) -> None:
        """Let the archive of an item be gone."""
        shelf, number, key = self._archive(location)
        shelf.set_archive(number, key, there=False)

    def _archive(self, location: Location) -> tuple[Shelf, int, str]:
        _owner, collection, name, key = location.key.split("/")[-4:]
        return self._shelves[collection], number_of(name), key

    def _path(self, location: Location) -> Path:
        return self._shelves.folder / f"object-{quote(location.key, safe='')}"

    def _read(self, location: Location) -> bytes | None:
        path = self._path(location)
        return path.read_bytes() if path.exists() else None


class FreeControl(Control):
    """Deletes archives."""

    def __init__(self, settings: Settings, store: FreeStore) -> None:
        super().__init__(settings)
        self._store = store

    def delete(self, location: Location, etag: str) -> bool:
        """See `Control`."""
        stored = self._store.head(location)
        if stored is None or stored.etag != etag:
            return False
        self._store.delete_archive(location)
        return True


class FreeWriter(ObjectWriter):
    """Writes an object of the store, in one pass."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self._digest = digest
        self._target = path.open("wb")

    def write(self, chunk: bytes | memoryview) -> None:
        """See `ObjectWriter`."""
        self._digest.update(chunk)
        self._target.write(chunk)

    def __exit__(self, *_: object) -> None:
        self._target.close()


class FreeTransfer(Transfer):
    """Has an asset in the store as soon as it is asked for."""

    def __init__(self, store: FreeStore) -> None:
        self._free = store

    def close(self) -> None:
        """Nothing is open."""

    def fetch(self, asset: Asset, target: Location, progress: Progress, memory: object = None) -> Written:
        """See `Transfer`."""
        written = self._free.receive(target)
        progress(written.size)
        return written


class FreeContext(Context):
    """The context of a worker, with these services; owners, ledger and settings are the real ones."""

    @cached_property
    def _shelves(self) -> Shelves:
        return Shelves(Path(os.environ[FOLDER]))

    @cached_property
    def store(self) -> FreeStore:
        """The store."""
        return FreeStore(self.settings, self._shelves)

    def station(self, name: str = "") -> Station:
        """Return a station of the settings that asks the free one."""
        station = super().station(name)
        if not isinstance(station.api, FreeStation):
            station.api.close()
            station.api = FreeStation()
        return station

    def catalog_of(self, owner: str) -> Catalog:
        """Return the catalog of an owner, which asks the free one."""
        catalog = super().catalog_of(owner)
        if not isinstance(catalog.api, FreeCatalog):
            catalog.api.close()
            catalog.api = FreeCatalog(self._shelves)
        return catalog

    def transfer(self, station: str = "") -> FreeTransfer:
        """Return what brings assets of a station at once."""
        self.station(station)
        return FreeTransfer(self.store)


def expand(
    store: ObjectStore,
    archive: Location,
    prefix: Location,
    rules: Rules,
    md5: str | None = None,
    still_ours: Callable[[], None] = lambda: None,
) -> Expansion:
    """Say what an archive is expanded to, as `shared.archives.expand` does, and read and write nothing.

    Raises:
        ValueError: the archive is not in the store, or not the one that the catalog tells of.
    """
    stored = store.head(archive)
    if stored is None or stored.etag != md5:
        raise ValueError(archive.href)
    still_ours()
    return Expansion(
        archive=archive.href,
        archive_etag=stored.etag,
        prefix=prefix.href,
        manifest=manifest_for(prefix).href,
        members=3,
        size=3 * ASSET_BYTES,
        reused=False,
    )


def _is_archive(location: Location) -> bool:
    return _RUNS not in location.key
