from collections.abc import Iterable
from typing import cast

import pytest
from obstore.store import MemoryStore, S3Store

from shared.archives import Rules
from shared.settings import Settings
from shared.storage.control import Control
from shared.storage.location import Location, changed
from shared.storage.objects import ObjectStore

BUCKET = "auxip"
PREFIX = Location(BUCKET, "owner/item/product/")


class MemoryControl(Control):
    """What boto3 does elsewhere, over a store in memory."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        super().__init__(settings)
        self._store = store

    def delete(self, location: Location, etag: str) -> bool:
        stored = self._store.head(location)
        if stored is None or stored.etag != etag:
            return False
        self._store.delete(location)
        return True

    def replace(self, location: Location, data: bytes, known: str | None, content_type: str) -> None:
        stored = self._store.head(location)
        if (stored and stored.etag) != known:
            raise changed(location)
        self._store.put(location, data, content_type)

    def delete_all(self, locations: Iterable[Location]) -> None:
        for location in locations:
            self._store.delete(location)


class MemoryObjects(ObjectStore):
    """The façade over a store in memory. Its ETags are no digests, so every verification reads back."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.control = MemoryControl(settings, self)

    def _connect(self, bucket: str) -> S3Store:  # noqa: ARG002
        return cast("S3Store", MemoryStore())

    def hold(self, key: str, data: bytes) -> Location:
        """Put an object there and return where it is."""
        location = Location(BUCKET, key)
        with self.open_writer(location) as writer:
            writer.write(data)
        return location

    def content(self, prefix: Location = PREFIX) -> dict[str, bytes]:
        """Return what is below a prefix, by path."""
        found = [Location(prefix.bucket, stored.key) for stored in self.list(prefix)]
        return {location.key.removeprefix(prefix.key): self.get(location, 2**30) or b"" for location in found}


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate(
        {
            "redis_url": "redis://localhost",
            "stations_file": "stations.toml",
            "catalog_url": "http://localhost",
            "s3_endpoint": "http://localhost",
            "s3_access_key_id": "key",
            "s3_secret_access_key": "secret",
            "s3_bucket": BUCKET,
        }
    )


@pytest.fixture
def store(settings: Settings) -> MemoryObjects:
    return MemoryObjects(settings)


@pytest.fixture
def rules(settings: Settings) -> Rules:
    return Rules.from_settings(settings)
