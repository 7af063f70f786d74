"""JSON documents that are written into the store entry by entry."""

import json
import uuid
from contextlib import suppress

import pytest

from shared.context import Context
from shared.errors import Retryable
from shared.storage.digests import PART_BYTES
from shared.storage.documents import JsonList
from shared.storage.keys import Place
from shared.storage.location import Location, Stored

ENTRY = json.dumps({"text": "x" * 2**20})


@pytest.fixture
def place(context: Context) -> Location:
    return Location(context.settings.s3_bucket, f"lists/{uuid.uuid4()}.json")


def content(context: Context, place: Location) -> bytes:
    data = context.store.get(place, 2**30)
    assert data is not None
    return data


def unfinished(context: Context, place: Location) -> list[str]:
    return [upload.key for upload in context.store.control.unfinished(Place(place.bucket, place.key))]


@pytest.mark.parametrize("batches", [[["1"]], [["1", "2"], ["3"]], [[], ["1"], [], ["2"]]])
def test_entries_are_a_list_however_they_come(context: Context, place: Location, batches: list[list[str]]) -> None:
    with JsonList(context.store, place) as document:
        for batch in batches:
            document.add(batch)

    assert json.loads(content(context, place)) == [int(entry) for batch in batches for entry in batch]


def test_a_document_may_be_an_object_whose_last_member_is_the_list(context: Context, place: Location) -> None:
    with JsonList(context.store, place, '{"type":"FeatureCollection","features":[', "]}") as document:
        document.add(["{}"])

    assert json.loads(content(context, place)) == {"type": "FeatureCollection", "features": [{}]}


def test_a_document_of_many_parts_is_whole_and_its_size_is_told(context: Context, place: Location) -> None:
    with JsonList(context.store, place) as document:
        for _ in range(20):
            document.add([ENTRY])

    written = content(context, place)
    assert json.loads(written) == [json.loads(ENTRY)] * 20
    assert document.written is not None
    assert document.written.size == len(written) > 2 * PART_BYTES


def test_a_document_that_is_begun_may_stay_empty(context: Context, place: Location) -> None:
    with JsonList(context.store, place) as document:
        document.begin()
    assert content(context, place) == b"[]"


def test_what_is_never_begun_is_no_document(context: Context, place: Location) -> None:
    with JsonList(context.store, place) as document:
        document.add([])

    assert document.written is None
    assert context.store.head(place) is None


@pytest.mark.parametrize("entries", [1, 20])
def test_a_document_that_is_left_with_an_error_leaves_nothing(context: Context, place: Location, entries: int) -> None:
    with suppress(ConnectionError), JsonList(context.store, place) as document:
        for _ in range(entries):
            document.add([ENTRY])
        raise ConnectionError("the catalog is gone")

    assert document.written is None
    assert context.store.head(place) is None
    assert unfinished(context, place) == []


def test_a_document_takes_the_place_of_the_one_before(context: Context, place: Location) -> None:
    for number in ("1", "2"):
        with JsonList(context.store, place) as document:
            document.add([number])
    assert json.loads(content(context, place)) == [2]


def test_what_the_store_holds_is_compared_with_what_was_sent(
    context: Context, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(location: Location) -> Stored:
        return Stored(location.key, 1, "etag")

    monkeypatch.setattr(context.store, "head", wrong)
    with pytest.raises(Retryable, match="s3-mismatch"), JsonList(context.store, place) as document:
        document.add(["1"])
