"""What boto3 does beside the bytes, each condition against a real store; and where a store lacks a condition."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from shared.context import Context
from shared.errors import AuxipError, Refused, Retryable
from shared.storage.control import Control
from shared.storage.keys import Place
from shared.storage.location import Location
from shared.storage.objects import ObjectStore

LARGE = bytes(range(256)) * (9 * 2**20 // 256)


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


@pytest.fixture
def control(context: Context) -> Control:
    return context.store.control


@pytest.fixture
def location(context: Context) -> Location:
    return Location(context.settings.s3_bucket, f"control-{uuid.uuid4().hex}/a b+c%25 ä.dat")


def unfinished(control: Control, location: Location) -> list[str]:
    return [upload.key for upload in control.unfinished(Place(location.bucket, location.key))]


# Conditional deletes


def test_an_object_is_deleted_if_it_is_the_one_that_is_known(
    store: ObjectStore, control: Control, location: Location
) -> None:
    written = store.put(location, b"one")
    assert control.delete(location, written.etag) is True
    assert store.head(location) is None


def test_another_object_in_its_place_stays(store: ObjectStore, control: Control, location: Location) -> None:
    known = store.put(location, b"one")
    store.put(location, b"another")
    assert control.delete(location, known.etag) is False
    assert store.get(location, 100) == b"another"


def test_an_object_that_is_gone_is_not_the_known_one(control: Control, location: Location) -> None:
    assert control.delete(location, "0" * 32) is False


@contextmanager
def without_conditions(control: Control) -> Iterator[None]:
    """Let the store answer 501 to every condition, as some do."""

    def refuse(params: dict[str, object], **_: object) -> None:
        if {"IfMatch", "IfNoneMatch"} & params.keys():
            raise ClientError({"Error": {"Code": "NotImplemented", "Message": "no conditions here"}}, "any")

    events = control.client.meta.events
    events.register("provide-client-params.s3", refuse)
    try:
        yield
    finally:
        events.unregister("provide-client-params.s3", refuse)


def test_a_store_without_conditional_deletes_is_asked_what_it_has_and_then_told(
    store: ObjectStore, control: Control, location: Location
) -> None:
    known = store.put(location, b"one")
    with without_conditions(control):
        assert control.delete(location, "0" * 32) is False
        assert control.delete(location, known.etag) is True
        assert control.delete(location, known.etag) is False


# Large objects, replaced on a condition


def test_a_large_object_is_written_where_there_is_none(store: ObjectStore, location: Location) -> None:
    written = store.replace(location, LARGE, None)
    assert store.get(location, 2**30) == LARGE
    assert written.etag.endswith("-2")


def test_a_large_object_replaces_the_known_one_and_no_other(
    store: ObjectStore, control: Control, location: Location
) -> None:
    known = store.put(location, b"one")
    store.replace(location, LARGE, known.etag)
    for stale in (known.etag, None):
        with pytest.raises(Retryable, match="s3-changed"):
            store.replace(location, LARGE[::-1], stale)
    assert store.get(location, 2**30) == LARGE
    assert unfinished(control, location) == []


def test_a_store_without_conditional_completion_is_asked_what_it_has_first(
    store: ObjectStore, control: Control, location: Location
) -> None:
    known = store.put(location, b"one")
    with without_conditions(control):
        with pytest.raises(Retryable, match="s3-changed"):
            store.replace(location, LARGE, None)
        store.replace(location, LARGE, known.etag)
    assert store.get(location, 2**30) == LARGE


# Many at once


def test_more_objects_than_one_request_may_name_are_deleted(store: ObjectStore, location: Location) -> None:
    there = [Location(location.bucket, f"{location.key}/{number}") for number in range(3)]
    absent = [Location(location.bucket, f"{location.key}/absent-{number}") for number in range(1500)]
    for each in there:
        store.put(each, b"x")
    store.control.delete_all([*absent[:1000], *there, *absent[1000:]])
    assert [store.head(each) for each in there] == [None] * 3


# Errors


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"s3_secret_access_key": SecretStr("wrong")}, Refused, "s3-denied"),
        ({"s3_endpoint": "http://127.0.0.1:9"}, Retryable, "s3-unavailable"),
    ],
)
def test_a_store_that_refuses_us_is_told_from_one_that_is_away(
    context: Context, location: Location, changes: dict[str, object], error: type[AuxipError], code: str
) -> None:
    with closing(Control(context.settings.model_copy(update=changes))) as control:
        with pytest.raises(error, match=code):
            control.delete(location, "0" * 32)
        with pytest.raises(error, match=code):
            control.delete_all([location])
        with pytest.raises(error, match=code):
            list(control.unfinished(Place(location.bucket, "")))


def test_no_configuration_but_ours_is_read(
    context: Context, location: Location, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of-somebody-else")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    known = store.put(location, b"one")
    with closing(Control(context.settings)) as control:
        assert control.delete(location, known.etag)
