"""Transfers that are interrupted: the next try asks the source only for what the store has not."""

import hashlib
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from shared.context import Context
from shared.errors import Retryable
from shared.runs.tidy import clean_up
from shared.stac.item import Asset
from shared.stations.config import StacConfig
from shared.stations.stac import StacStation
from shared.storage.digests import PART_BYTES
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from shared.storage.transfer import Transfer
from shared.storage.uploads import Unfinished
from tests.integration.source import Script, Source, serving

pytestmark = pytest.mark.long

_RANDOM = random.Random(6)  # noqa: S311 - bytes that are always the same
CONTENT = _RANDOM.randbytes(4 * PART_BYTES + 3_000_000)
OTHER = _RANDOM.randbytes(len(CONTENT))
SIZE = len(CONTENT)
WEAK = {"ETag": 'W/"one"'}


class Interrupted(BaseException):
    """What ends a try that is told to stop."""


class Tries:
    """Tries of one asset, with what they remember."""

    def __init__(self, context: Context, transfer: Transfer) -> None:
        self.store = context.store
        self.transfer = transfer
        self.target = Location(context.settings.s3_bucket, f"taken-up-{uuid.uuid4().hex[:8]}/object")
        self.upload: Unfinished | None = None
        self.came = self.there = 0

    def left(self) -> Unfinished | None:
        return self.upload

    def begun(self, upload: Unfinished) -> None:
        self.upload = upload

    def kept(self, size: int) -> None:
        self.there += size

    def fetch(self, href: str, content: bytes | None = CONTENT, stop_at: int = SIZE) -> None:
        """Try once; it is interrupted as soon as `stop_at` bytes have come, if they are not the last."""
        self.came = self.there = 0
        checksum = None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()
        asset = Asset.model_validate({"href": href, "file:size": None, "file:checksum": checksum})
        self.transfer.fetch(asset, self.target, lambda more: self._came(more, stop_at), self)

    def interrupted(self, href: str, stop_at: int, content: bytes | None = CONTENT) -> None:
        with pytest.raises(Interrupted):
            self.fetch(href, content, stop_at)

    def uploads(self) -> list[str]:
        """The ids of what is unfinished at the target."""
        bucket, key = self.target.bucket, self.target.key
        found = self.store.control.client.list_multipart_uploads(Bucket=bucket, Prefix=key)
        return [upload["UploadId"] for upload in found.get("Uploads", ())]

    @property
    def held(self) -> bytes | None:
        return self.store.get(self.target, limit=2**26)

    def _came(self, more: int, stop_at: int) -> None:
        self.came += more
        if stop_at <= self.came < SIZE:
            raise Interrupted


@pytest.fixture(scope="module")
def _server() -> Iterator[Source]:
    with serving() as server:
        yield server


@pytest.fixture
def source(_server: Source) -> Source:
    _server.play(Script(CONTENT))
    return _server


@pytest.fixture
def tries(context: Context, source: Source) -> Iterator[Tries]:
    settings = context.settings.model_copy(
        update={"backoff_base": 0.001, "s3_source_buckets": [context.settings.s3_bucket]}
    )
    station = StacStation("one", StacConfig.model_validate({"url": source.url, "allow_private": True}), settings)
    yield Tries(context, Transfer(station.api, context.store, settings))
    station.close()


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


def ranges(source: Source) -> list[str | None]:
    return [asked.get("range") for asked in source.script.asked]


def test_the_next_try_asks_only_for_what_the_store_has_not(tries: Tries, source: Source) -> None:
    tries.interrupted(source.url, stop_at=3 * PART_BYTES + 1_500_000)
    tries.fetch(source.url)

    assert ranges(source) == [None, f"bytes={3 * PART_BYTES}-"]
    assert source.script.asked[1]["if-range"] == '"one"'
    assert (tries.came, tries.there) == (SIZE - 3 * PART_BYTES, 3 * PART_BYTES)
    assert (tries.held, tries.uploads()) == (CONTENT, [])


def test_every_interruption_costs_less_than_a_part(tries: Tries, source: Source) -> None:
    came = 0
    tries.interrupted(source.url, stop_at=2 * PART_BYTES + PART_BYTES // 2)
    came += tries.came
    for _ in range(2):
        tries.interrupted(source.url, stop_at=PART_BYTES + 1_000_000)
        came += tries.came
    tries.fetch(source.url)

    assert ranges(source) == [None, *(f"bytes={count * PART_BYTES}-" for count in (2, 3, 4))]
    assert came + tries.came < SIZE + 3 * PART_BYTES
    assert (tries.held, tries.uploads()) == (CONTENT, [])


def test_an_upload_that_lacks_a_part_goes_on_at_that_part(tries: Tries, source: Source, store: ObjectStore) -> None:
    tries.interrupted(source.url, stop_at=2 * PART_BYTES + 2_000_000)
    assert tries.upload is not None
    store.control.upload_part(tries.target, tries.upload.id, 4, CONTENT[3 * PART_BYTES : 4 * PART_BYTES])
    tries.fetch(source.url)

    assert ranges(source) == [None, f"bytes={2 * PART_BYTES}-"]
    assert tries.held == CONTENT


def test_an_upload_that_lacks_nothing_but_its_end_is_completed(
    tries: Tries, source: Source, store: ObjectStore
) -> None:
    content = CONTENT[: 3 * PART_BYTES]
    source.play(Script(content))
    tries.interrupted(source.url, stop_at=2 * PART_BYTES + 2_000_000, content=content)
    assert tries.upload is not None
    store.control.upload_part(tries.target, tries.upload.id, 3, content[2 * PART_BYTES :])
    tries.fetch(source.url, content)

    assert ranges(source) == [None, f"bytes={3 * PART_BYTES}-"]
    assert (tries.held, tries.came) == (content, 0)


def _changes(tries: Tries, source: Source) -> None:
    source.script.content, source.script.headers = OTHER, {"ETag": '"two"'}


def _gives_no_ranges(tries: Tries, source: Source) -> None:
    source.script.ranges = False


def _is_gone(tries: Tries, source: Source) -> None:
    assert tries.upload is not None
    tries.store.control.abort(tries.target, tries.upload.id)


def _is_of_another_file(tries: Tries, source: Source) -> None:
    assert tries.upload is not None
    tries.upload = tries.upload.model_copy(update={"source": f"{source.url}/another"})


def _has_other_parts(tries: Tries, source: Source) -> None:
    assert tries.upload is not None
    tries.upload = tries.upload.model_copy(update={"part_bytes": 5 * 2**20})


CHANGES: dict[str, Callable[[Tries, Source], None]] = {
    "the file changes": _changes,
    "the source gives no ranges": _gives_no_ranges,
    "the upload is gone": _is_gone,
    "the upload is of another file": _is_of_another_file,
    "the upload has parts of another size": _has_other_parts,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_gone_on_with_is_aborted_and_begun_anew(tries: Tries, source: Source, change: str) -> None:
    tries.interrupted(source.url, stop_at=3 * PART_BYTES, content=None)
    (first,) = tries.uploads()
    CHANGES[change](tries, source)
    tries.fetch(source.url, content=None)

    assert tries.held == source.script.content
    assert (tries.came, tries.there) == (SIZE, 0)
    assert tries.uploads() == []
    assert tries.upload is not None
    assert tries.upload.id != first


def test_a_file_that_an_item_states_otherwise_by_now_is_begun_anew(tries: Tries, source: Source) -> None:
    tries.interrupted(source.url, stop_at=3 * PART_BYTES, content=OTHER)
    tries.fetch(source.url, content=CONTENT)

    assert ranges(source) == [None, None]
    assert (tries.held, tries.uploads()) == (CONTENT, [])


def test_of_a_file_that_cannot_be_known_again_nothing_is_kept(tries: Tries, source: Source) -> None:
    source.script.headers = WEAK
    tries.interrupted(source.url, stop_at=3 * PART_BYTES)
    assert tries.uploads() == []


def test_a_mixture_of_two_files_that_share_an_etag_is_deleted(tries: Tries, source: Source) -> None:
    tries.interrupted(source.url, stop_at=3 * PART_BYTES, content=OTHER)
    source.script.content = OTHER
    with pytest.raises(Retryable, match="checksum-mismatch"):
        tries.fetch(source.url, content=OTHER)
    assert (tries.held, tries.uploads()) == (None, [])

    tries.fetch(source.url, content=OTHER)
    assert tries.held == OTHER


def test_an_older_object_stays_until_the_new_one_is_proven(tries: Tries, source: Source, store: ObjectStore) -> None:
    store.put(tries.target, b"an older version")
    tries.interrupted(source.url, stop_at=3 * PART_BYTES, content=OTHER)
    with pytest.raises(Retryable, match="checksum-mismatch"):
        tries.fetch(source.url, content=OTHER)
    assert (ranges(source), tries.held) == ([None, None], b"an older version")


def test_a_try_whose_source_goes_away_leaves_what_has_come(tries: Tries, source: Source) -> None:
    source.script.cuts = [2 * PART_BYTES + 1_000_000, *[0] * 50]
    with pytest.raises(Retryable, match="station-unavailable"):
        tries.fetch(source.url)
    source.play(Script(CONTENT))
    tries.fetch(source.url)

    assert ranges(source) == [f"bytes={2 * PART_BYTES}-"]
    assert (tries.held, tries.uploads()) == (CONTENT, [])


def test_an_object_of_the_store_goes_on_where_it_was_interrupted(tries: Tries, store: ObjectStore) -> None:
    source = Location(tries.target.bucket, f"{tries.target.key}-source")
    with store.open_writer(source) as writer:
        writer.write(CONTENT)
    tries.interrupted(source.href, stop_at=3 * PART_BYTES + 1)
    tries.fetch(source.href)

    assert (tries.came, tries.there) == (SIZE - 3 * PART_BYTES, 3 * PART_BYTES)
    assert (tries.held, tries.uploads()) == (CONTENT, [])


def test_the_clean_up_spares_an_upload_that_was_taken_up_lately(
    tries: Tries, source: Source, apart: Context, store: ObjectStore
) -> None:
    tries.interrupted(source.url, stop_at=3 * PART_BYTES)
    store.control.begin_upload(tries.target, "text/plain")
    assert tries.upload is not None
    apart.ledger.redis.zadd("auxip:uploads", {tries.upload.id: apart.ledger.redis.time()[0] + 60})
    assert tries.target.key in clean_up(apart, timedelta())

    assert tries.uploads() == [tries.upload.id]
