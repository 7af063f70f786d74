"""Assets that are in S3 already: copied by the store where their ETag proves them, else passed through and verified."""

import hashlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from shared.context import Context
from shared.errors import AuxipError, ItemFailed, Rejected, Retryable
from shared.settings import Settings
from shared.stac.item import Asset
from shared.storage import control
from shared.storage.digests import PART_BYTES
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from shared.storage.transfer import Transfer

CONTENT = b"the content of an orbit file\n" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = "1220" + hashlib.sha256(CONTENT).hexdigest()
LARGE = bytes(range(256)) * ((2 * PART_BYTES + 3_000_000) // 256)
BEFORE = b"an older version"
NAME = "with space+and%25 ä&=?#.EOF"


@pytest.fixture(scope="module")
def sources(context: Context) -> str:
    """Another bucket of the store."""
    bucket = f"sources-{uuid.uuid4().hex[:8]}"
    context.store.control.client.create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


@pytest.fixture
def source(sources: str) -> Location:
    return Location(sources, f"{uuid.uuid4().hex[:8]}/{NAME}")


@pytest.fixture
def target(context: Context) -> Location:
    return Location(context.settings.s3_bucket, f"copies-{uuid.uuid4().hex[:8]}/{NAME}")


@pytest.fixture
def settings(context: Context, sources: str) -> Settings:
    return context.settings.model_copy(update={"s3_source_buckets": [sources]})


class Noting(ObjectStore):
    """Notes what is read."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.reads = 0

    def read(self, location: Location, start: int, length: int, etag: str) -> bytes:
        self.reads += 1
        return super().read(location, start, length, etag)


@pytest.fixture
def noting(settings: Settings) -> Noting:
    return Noting(settings)


Fetch = Callable[..., str]


@pytest.fixture
def fetch(context: Context, settings: Settings, noting: Noting) -> Iterator[Fetch]:
    made: list[Transfer] = []

    def fetch(source: Location, target: Location, **stated: object) -> str:
        made.append(Transfer(context.station().api, noting, settings))
        asset = Asset.model_validate({"href": source.href, **{f"file:{name}": each for name, each in stated.items()}})
        steps: list[int] = []
        written = made[-1].fetch(asset, target, steps.append)
        assert sum(steps) == written.size
        return written.checksum.multihash

    yield fetch
    noting.control.close()


def refusal(fetch: Fetch, source: Location, target: Location, **stated: object) -> tuple[type[AuxipError], str]:
    with pytest.raises(AuxipError) as raised:
        fetch(source, target, **stated)
    return type(raised.value), raised.value.code


@pytest.mark.parametrize("stated", [{}, {"size": len(CONTENT)}, {"checksum": MD5}, {"checksum": f"d50110{MD5}"}])
def test_an_object_whose_etag_proves_it_is_copied_by_the_store(
    fetch: Fetch, noting: Noting, source: Location, target: Location, stated: dict[str, object]
) -> None:
    noting.put(source, CONTENT)

    assert fetch(source, target, **stated) == f"d50110{MD5}"
    assert noting.reads == 0
    assert noting.get(target, len(CONTENT)) == CONTENT


def test_an_object_whose_etag_proves_nothing_passes_through(
    fetch: Fetch, noting: Noting, source: Location, target: Location
) -> None:
    with noting.open_writer(source) as writer:
        writer.write(LARGE)

    assert fetch(source, target, checksum=writer.written.md5) == f"d50110{writer.written.md5}"
    assert noting.reads == 3
    assert noting.get(target, len(LARGE)) == LARGE


def test_a_checksum_of_another_kind_is_computed_and_kept(
    fetch: Fetch, noting: Noting, source: Location, target: Location
) -> None:
    noting.put(source, CONTENT)
    assert fetch(source, target, checksum=SHA256) == SHA256
    assert noting.get(target, len(CONTENT)) == CONTENT


def test_an_object_that_is_too_large_for_one_copy_is_copied_in_parts_and_read_back(
    fetch: Fetch, noting: Noting, source: Location, target: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = LARGE[: 11 * 2**20]
    monkeypatch.setattr(control, "LARGEST_COPY", 5 * 2**20)
    monkeypatch.setattr(control, "COPY_PART", 5 * 2**20)  # the least that a part may have
    noting.put(source, content)

    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert fetch(source, target, checksum=md5) == f"d50110{md5}"
    stored = noting.head(target)
    assert stored is not None
    assert stored.etag.endswith("-3")
    assert noting.get(target, len(content)) == content


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ({"size": len(CONTENT) + 1}, "size-mismatch"),
        ({"checksum": "0" * 32}, "checksum-mismatch"),
        ({"checksum": "1220" + "0" * 64}, "checksum-mismatch"),
    ],
)
def test_another_object_than_was_stated_leaves_the_older_one(
    fetch: Fetch, store: ObjectStore, source: Location, target: Location, stated: dict[str, object], code: str
) -> None:
    store.put(source, CONTENT)
    store.put(target, BEFORE)

    assert refusal(fetch, source, target, **stated) == (Retryable, code)
    assert store.get(target, 1000) == BEFORE


def test_a_bucket_that_nobody_has_named_is_not_read(
    fetch: Fetch, context: Context, store: ObjectStore, target: Location
) -> None:
    secret = Location(context.settings.s3_bucket, "another-owner/secret")
    store.put(secret, CONTENT)

    assert refusal(fetch, secret, target) == (ItemFailed, "foreign-bucket")
    assert store.head(target) is None


def test_an_object_that_is_not_there_fails_its_item(fetch: Fetch, source: Location, target: Location) -> None:
    assert refusal(fetch, source, target) == (ItemFailed, "source-missing")


@pytest.mark.parametrize("href", ["s3://", "s3://b", "s3://bucket/../x", "s3://bucket//x", "s3://Bucket/x"])
def test_an_href_that_names_no_object_is_refused(context: Context, target: Location, href: str) -> None:
    with pytest.raises(Rejected, match="bad-href"):
        context.transfer().fetch(Asset(href=href), target, lambda _: None)


def test_a_source_that_is_replaced_in_between_is_not_copied(
    settings: Settings, store: ObjectStore, source: Location, target: Location
) -> None:
    store.put(source, CONTENT)
    stored = store.head(source)
    assert stored is not None
    store.put(source, b"another")
    with pytest.raises(Retryable, match="s3-changed"):
        store.control.copy(source, stored, target)
    store.delete(source)
    with pytest.raises(Retryable, match="s3-changed"):
        store.control.copy(source, stored, target)
    assert store.head(target) is None
