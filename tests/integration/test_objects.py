"""Objects in a real S3 service: what is written is there whole, or nothing is."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from obstore.store import S3Store
from pydantic import SecretStr

from local.processes import free_ports
from shared.context import Context
from shared.errors import AuxipError, ItemFailed, Refused, Rejected, Retryable
from shared.settings import Settings
from shared.storage.digests import PART_BYTES, Checksum, Written, digest_of
from shared.storage.location import Location
from shared.storage.objects import ObjectStore

OTHER_MD5 = "0" * 32


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


@pytest.fixture
def folder(context: Context) -> Iterator[Location]:
    """A prefix of its own, emptied afterwards."""
    prefix = Location(context.settings.s3_bucket, f"objects-{uuid.uuid4().hex[:8]}/")
    yield prefix
    for stored in list(context.store.list(prefix)):
        context.store.delete(Location(prefix.bucket, stored.key))


@pytest.fixture
def place(folder: Location) -> Location:
    return below(folder, "object")


def below(folder: Location, name: str) -> Location:
    return Location(folder.bucket, folder.key + name)


def names(store: ObjectStore, folder: Location) -> list[str]:
    return sorted(stored.key.removeprefix(folder.key) for stored in store.list(folder))


def md5(text: str) -> Checksum:
    return Checksum("md5", text)


def pieces(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("data", [b"", b"a", pieces(100_000)], ids=len)
def test_an_object_is_read_as_it_was_written(store: ObjectStore, place: Location, data: bytes) -> None:
    assert store.put(place, data) == digest_of(data)
    assert store.get(place, limit=len(data)) == data


def test_what_the_store_reports_of_an_object_is_its_size_and_its_etag(store: ObjectStore, place: Location) -> None:
    written = store.put(place, b"content")
    stored = store.head(place)

    assert stored is not None
    assert (stored.key, stored.size, stored.etag) == (place.key, 7, written.etag)


def test_an_object_is_replaced_whole(store: ObjectStore, place: Location) -> None:
    store.put(place, b"a longer content")
    store.put(place, b"short")
    assert store.get(place, limit=100) == b"short"


def test_an_object_is_replaced_by_whoever_knows_the_one_that_is_there(store: ObjectStore, place: Location) -> None:
    first = store.replace(place, b"first", None)
    second = store.replace(place, b"second", first.etag)

    assert store.get(place, limit=100) == b"second"
    assert second == digest_of(b"second")


@pytest.mark.parametrize("known", [None, OTHER_MD5])
def test_an_object_that_its_writer_does_not_know_is_not_replaced(
    store: ObjectStore, place: Location, known: str | None
) -> None:
    store.put(place, b"another's")
    with pytest.raises(Retryable, match="s3-changed"):
        store.replace(place, b"ours", known)
    assert store.get(place, limit=100) == b"another's"


def test_an_object_that_is_gone_is_not_replaced(store: ObjectStore, place: Location) -> None:
    with pytest.raises(Retryable, match="s3-changed"):
        store.replace(place, b"ours", OTHER_MD5)
    assert store.head(place) is None


@pytest.mark.parametrize("known", [None, OTHER_MD5])
def test_what_the_first_try_of_a_request_has_written_is_no_other_object(
    store: ObjectStore, place: Location, known: str | None
) -> None:
    store.put(place, b"ours")
    assert store.replace(place, b"ours", known) == digest_of(b"ours")


@pytest.mark.parametrize(
    "name",
    ["with space", "a+b=c&d", "100%25", "a#b?c", "日本 é.EOF", "~!@$^*()[]{}';,", 'a|b`<>"', ".hidden", "ending."],
)
def test_a_key_of_any_letters_is_one_object(store: ObjectStore, folder: Location, name: str) -> None:
    store.put(below(folder, name), b"content")

    assert names(store, folder) == [name]
    assert store.get(below(folder, name), limit=100) == b"content"
    store.delete(below(folder, name))
    assert names(store, folder) == []


def test_a_part_of_an_object_is_read(store: ObjectStore, place: Location) -> None:
    written = store.put(place, b"0123456789")
    assert store.read(place, 3, 4, written.etag) == b"3456"


def test_an_object_that_was_replaced_while_it_is_read_is_noticed(store: ObjectStore, place: Location) -> None:
    first = store.put(place, b"first")
    store.put(place, b"other")
    with pytest.raises(Retryable, match="s3-changed"):
        store.read(place, 0, 5, first.etag)


def test_an_object_that_is_gone_while_it_is_read_is_noticed(store: ObjectStore, place: Location) -> None:
    with pytest.raises(Retryable, match="s3-changed"):
        store.read(place, 0, 5, OTHER_MD5)


def test_where_there_is_no_object_there_is_none(store: ObjectStore, place: Location, folder: Location) -> None:
    assert store.head(place) is None
    assert store.get(place, limit=100) is None
    assert store.held(place, None, md5(OTHER_MD5)) is None
    assert list(store.list(folder)) == []
    store.delete(place)


def test_an_object_as_large_as_the_limit_is_read_and_no_larger_one(store: ObjectStore, place: Location) -> None:
    store.put(place, b"12345")
    assert store.get(place, limit=5) == b"12345"
    with pytest.raises(ItemFailed, match="too-large"):
        store.get(place, limit=4)


def test_every_object_below_a_prefix_is_listed_and_none_beside_it(store: ObjectStore, folder: Location) -> None:
    for name in ("a", "deep/b", "deep/er/c"):
        store.put(below(folder, name), b"1")
    store.put(Location(folder.bucket, folder.key.removesuffix("/") + "-beside/d"), b"1")

    assert names(store, folder) == ["a", "deep/b", "deep/er/c"]
    assert names(store, below(folder, "deep/")) == ["b", "er/c"]
    store.delete(Location(folder.bucket, folder.key.removesuffix("/") + "-beside/d"))


def test_a_list_tells_sizes_and_etags(store: ObjectStore, place: Location, folder: Location) -> None:
    store.put(place, b"content")
    assert list(store.list(folder)) == [store.head(place)]


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: ObjectStore, place: Location) -> None:
    store.put(place, b"content")
    store.delete(place)
    store.delete(place)
    assert store.head(place) is None


# Verified


def test_what_was_written_is_verified(store: ObjectStore, place: Location) -> None:
    store.verify(place, store.put(place, b"content"))


@pytest.mark.parametrize("sent", [b"other!!", b"longer than that", b""])
def test_something_else_than_was_sent_is_a_mismatch(store: ObjectStore, place: Location, sent: bytes) -> None:
    store.put(place, b"content")
    with pytest.raises(Retryable, match="s3-mismatch"):
        store.verify(place, digest_of(sent))


def test_nothing_where_something_was_sent_is_a_mismatch(store: ObjectStore, place: Location) -> None:
    with pytest.raises(Retryable, match=r"s3-mismatch.*the store has nothing"):
        store.verify(place, digest_of(b"content"))


def test_an_etag_that_does_not_follow_from_the_bytes_is_settled_by_reading_them(
    store: ObjectStore, place: Location
) -> None:
    data = pieces(PART_BYTES + 1)
    with store.open_writer(place) as writer:
        writer.write(data)
    whole = writer.written

    store.verify(place, Written(whole.size, whole.md5, "an ETag of encrypted parts"))
    with pytest.raises(Retryable, match="other bytes"):
        store.verify(place, Written(whole.size, OTHER_MD5, "an ETag of encrypted parts"))


def test_an_object_is_known_by_its_md5_and_its_size(store: ObjectStore, place: Location) -> None:
    written = store.put(place, b"content")

    assert store.held(place, 7, md5(written.md5)) == store.head(place)
    assert store.held(place, None, md5(written.md5)) == store.head(place)
    assert store.held(place, 8, md5(written.md5)) is None
    assert store.held(place, 7, md5(OTHER_MD5)) is None


def test_an_object_is_known_by_a_digest_of_another_kind_too(store: ObjectStore, place: Location) -> None:
    store.put(place, b"content")
    assert store.held(place, 7, Checksum("sha256", hashlib.sha256(b"content").hexdigest()))
    assert not store.held(place, 7, Checksum("sha256", hashlib.sha256(b"other").hexdigest()))


def test_an_object_of_several_parts_is_known_by_its_md5_too(store: ObjectStore, place: Location) -> None:
    with store.open_writer(place) as writer:
        writer.write(pieces(PART_BYTES + 1))
    assert store.held(place, None, md5(writer.written.md5))
    assert not store.held(place, None, md5(OTHER_MD5))


# Written in one pass


@pytest.mark.parametrize(
    "size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES], ids=["0", "1", "P-1", "P", "P+1", "2P"]
)
def test_the_store_reports_the_etag_that_follows_from_the_bytes(store: ObjectStore, place: Location, size: int) -> None:
    data = pieces(size)
    with store.open_writer(place) as writer:
        for start in range(0, size, 3_000_000):
            writer.write(memoryview(data)[start : start + 3_000_000])

    stored = store.head(place)
    assert stored is not None
    assert (stored.size, stored.etag) == (size, writer.written.etag)
    assert writer.written.md5 == digest_of(data).md5


def hang_up(store: ObjectStore, place: Location, data: bytes) -> None:
    """Write some of an object, and come to no end."""
    with suppress(ConnectionError), store.open_writer(place) as writer:
        writer.write(data)
        raise ConnectionError("the station hung up")


@pytest.mark.parametrize("size", [0, 10, PART_BYTES + 1], ids=["nothing", "a little", "more than a part"])
def test_a_writer_that_is_left_with_an_error_leaves_nothing(
    context: Context, store: ObjectStore, place: Location, folder: Location, size: int
) -> None:
    hang_up(store, place, pieces(size))

    assert store.head(place) is None
    assert names(store, folder) == []


def test_a_writer_that_is_left_with_an_error_leaves_what_was_there_before(store: ObjectStore, place: Location) -> None:
    store.put(place, b"before")
    hang_up(store, place, pieces(PART_BYTES + 1))

    assert store.get(place, limit=100) == b"before"


# Refused and unreachable


def code_of(store: ObjectStore, place: Location) -> list[tuple[type[AuxipError], str]]:
    """What each way to use a store comes to."""

    def write() -> None:
        with store.open_writer(place) as writer:
            writer.write(b"content")

    codes = []
    for use in (
        lambda: store.head(place),
        lambda: store.put(place, b"content"),
        lambda: store.read(place, 0, 1, OTHER_MD5),
        lambda: list(store.list(Location(place.bucket, "prefix/"))),
        lambda: store.delete(place),
        write,
    ):
        with pytest.raises(AuxipError) as raised:
            use()
        codes.append((type(raised.value), raised.value.code))
        assert "\n" not in raised.value.reason
    return codes


def changed(settings: Settings, **changes: object) -> ObjectStore:
    return ObjectStore(settings.model_copy(update=changes))


@pytest.mark.parametrize(
    "wrong", [{"s3_secret_access_key": SecretStr("wrong")}, {"s3_access_key_id": SecretStr("who")}]
)
def test_wrong_credentials_are_refused(context: Context, place: Location, wrong: dict[str, object]) -> None:
    assert code_of(changed(context.settings, **wrong), place) == [(Refused, "s3-denied")] * 6


def test_a_refusal_does_not_repeat_the_credentials(context: Context, place: Location) -> None:
    store = changed(context.settings, s3_secret_access_key=SecretStr("a-wrong-secret"))
    with pytest.raises(Refused) as raised:
        store.head(place)
    assert "a-wrong-secret" not in str(raised.value)
    assert context.settings.s3_access_key_id.get_secret_value() not in str(raised.value)


def test_a_store_that_cannot_be_reached_is_tried_again_later(
    context: Context, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(bucket: str, **options: object) -> S3Store:
        return S3Store(bucket, **{**options, "retry_config": {"max_retries": 0}})  # type: ignore[arg-type]

    monkeypatch.setattr("shared.storage.objects.S3Store", impatient)
    (port,) = free_ports(1)
    store = changed(context.settings, s3_endpoint=f"http://127.0.0.1:{port}")
    assert set(code_of(store, place)) == {(Retryable, "s3-unavailable")}


def test_a_bucket_that_is_not_there_holds_nothing(context: Context) -> None:
    assert context.store.head(Location("no-such-bucket", "key")) is None


@pytest.mark.parametrize("key", ["a//b", "a/../b", "a\nb"])
def test_a_key_that_the_store_cannot_hold_is_refused(store: ObjectStore, folder: Location, key: str) -> None:
    with pytest.raises(Rejected, match="s3-bad-key"):
        store.put(below(folder, key), b"content")
