"""Downloads that break: the object is the same, wherever and however often, or there is a clear error and no object."""

import hashlib
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from shared.context import Context
from shared.errors import AuxipError, ItemFailed, Retryable
from shared.retries import RESUMES
from shared.stac.item import Asset
from shared.stations.config import StacConfig
from shared.stations.stac import StacStation
from shared.storage.digests import PART_BYTES
from shared.storage.download import FRUITFUL
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from shared.storage.transfer import Transfer
from tests.integration.source import Script, Source, serving

_RANDOM = random.Random(5)  # noqa: S311 - bytes that are always the same
CONTENT = _RANDOM.randbytes(4 * FRUITFUL)
LARGE = _RANDOM.randbytes(2 * PART_BYTES + 3_000_000)
SIZE = len(CONTENT)
BEFORE = b"an older version"
UNSURE = [{}, {"ETag": 'W/"one"'}, {"ETag": "one"}, {"ETag": '"one"', "Accept-Ranges": "none"}]
DATED = {"Last-Modified": "Tue, 15 Nov 1994 12:45:26 GMT"}


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with serving() as server:
        yield server


@contextmanager
def transfer_of(context: Context, source: Source, timeout: float) -> Iterator[Transfer]:
    settings = context.settings.model_copy(update={"backoff_base": 0.001, "max_asset_bytes": 2**25})
    config = StacConfig.model_validate({"url": source.url, "allow_private": True, "timeout": timeout})
    station = StacStation("one", config, settings)
    yield Transfer(station.api, context.store, settings)
    station.close()


@pytest.fixture(scope="module")
def transfer(context: Context, source: Source) -> Iterator[Transfer]:
    with transfer_of(context, source, timeout=5) as made:
        yield made


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


@pytest.fixture(scope="module")
def target(context: Context) -> Location:
    return Location(context.settings.s3_bucket, f"resume-{uuid.uuid4().hex[:8]}/object")


@pytest.fixture(autouse=True)
def _older_version(store: ObjectStore, target: Location) -> None:
    store.put(target, BEFORE)


def fetch(
    transfer: Transfer, source: Source, target: Location, content: bytes | None = None, size: int | None = None
) -> list[int]:
    """Download the source's file, whose MD5 is that of `content` where it is given; returns the progress."""
    checksum = None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()
    steps: list[int] = []
    asset = Asset.model_validate({"href": source.url, "file:size": size, "file:checksum": checksum})
    written = transfer.fetch(asset, target, steps.append)
    assert sum(steps) == written.size
    return steps


def refusal(transfer: Transfer, source: Source, target: Location, **stated: object) -> AuxipError:
    with pytest.raises(AuxipError) as raised:
        fetch(transfer, source, target, **stated)  # type: ignore[arg-type]  # what a test states
    return raised.value


def outcome(transfer: Transfer, source: Source, target: Location) -> str | None:
    """The code with which the download of `CONTENT` ends, or None."""
    try:
        fetch(transfer, source, target, CONTENT, SIZE)
    except Retryable as error:
        return error.code
    return None


def held(store: ObjectStore, target: Location) -> bytes | None:
    return store.get(target, limit=2**26)


@pytest.mark.long
@limits(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.one_of(st.integers(0, SIZE), st.integers(FRUITFUL, FRUITFUL + 5)), max_size=8),
    headers=st.sampled_from([{"ETag": '"one"'}, DATED, *UNSURE]),
    framing=st.sampled_from(["length", "chunked", "close"]),
    ranges=st.booleans(),
)
@example(cuts=[0, 0, 0], headers={"ETag": '"one"'}, framing="length", ranges=True)
@example(cuts=[SIZE, SIZE - 1], headers={"ETag": '"one"'}, framing="chunked", ranges=True)
def test_a_download_that_is_cut_anywhere_is_the_same_object_or_a_clear_error(
    store: ObjectStore,
    transfer: Transfer,
    source: Source,
    target: Location,
    cuts: list[int],
    headers: dict[str, str],
    framing: str,
    ranges: bool,
) -> None:
    store.put(target, BEFORE)
    source.play(Script(CONTENT, cuts=list(cuts), headers=headers, framing=framing, ranges=ranges))
    code = outcome(transfer, source, target)
    if code is None:
        assert held(store, target) == CONTENT
    else:
        assert code == "station-unavailable" or (framing, code) == ("close", "size-mismatch")
        assert held(store, target) == BEFORE
        assert len(cuts) > RESUMES


@pytest.mark.parametrize("headers", [{"ETag": '"one"'}, DATED])
def test_only_the_rest_is_asked_for_and_only_of_the_same_file(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, headers: dict[str, str]
) -> None:
    script = source.play(Script(CONTENT, cuts=[70_000, 100_000], headers=headers))
    fetch(transfer, source, target)

    assert held(store, target) == CONTENT
    assert [asked.get("range") for asked in script.asked] == [None, "bytes=70000-", "bytes=170000-"]
    assert {asked.get("if-range") for asked in script.asked[1:]} == set(headers.values())
    assert source.sent == SIZE


def test_a_large_file_goes_on_in_the_same_upload(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    source.play(Script(LARGE, cuts=[PART_BYTES - 1, PART_BYTES + 2, 1_000_000]))
    steps = fetch(transfer, source, target, LARGE, len(LARGE))

    assert held(store, target) == LARGE
    assert (source.sent, min(steps) > 0) == (len(LARGE), True)


def test_progress_allows_any_number_of_cuts(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    content = CONTENT * 4
    script = source.play(Script(content, cuts=[FRUITFUL] * 15))
    fetch(transfer, source, target, content)
    assert (held(store, target), len(script.asked)) == (content, 16)


def test_connections_that_bring_nothing_are_left_to_the_next_try_of_the_step(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    script = source.play(Script(CONTENT, cuts=[100] * 20))
    error = refusal(transfer, source, target)

    assert (type(error), error.code) == (Retryable, "station-unavailable")
    assert (held(store, target), len(script.asked)) == (BEFORE, 1 + RESUMES)


@pytest.mark.parametrize("headers", UNSURE)
def test_a_file_that_cannot_be_known_again_is_begun_anew(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, headers: dict[str, str]
) -> None:
    script = source.play(Script(LARGE, cuts=[2 * PART_BYTES + 1_500_000], headers=headers))
    steps = fetch(transfer, source, target, LARGE)

    assert held(store, target) == LARGE
    assert [asked.get("range") for asked in script.asked] == [None, None]
    assert min(steps) < 0


def test_a_modification_too_new_to_tell_two_versions_apart_is_begun_anew(
    transfer: Transfer, source: Source, target: Location
) -> None:
    script = source.play(Script(CONTENT, cuts=[70_000], headers={}))
    script.headers = {"Last-Modified": _Now()}  # type: ignore[dict-item]  # a text that is told when it is sent
    fetch(transfer, source, target)
    assert [asked.get("range") for asked in script.asked] == [None, None]


class _Now:
    def __str__(self) -> str:
        from email.utils import formatdate

        return formatdate(usegmt=True)


def test_a_source_that_gives_no_ranges_is_begun_anew(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    script = source.play(Script(CONTENT, cuts=[70_000], ranges=False))
    fetch(transfer, source, target, CONTENT)
    assert held(store, target) == CONTENT
    assert [asked.get("range") for asked in script.asked] == [None, "bytes=70000-", None]


@pytest.mark.parametrize("other", [CONTENT[::-1], CONTENT + b"more", CONTENT[:70_000], b""], ids=len)
def test_a_file_that_changes_meanwhile_is_begun_anew_and_never_a_mixture(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, other: bytes
) -> None:
    source.play(Script(CONTENT, cuts=[70_000], changes={1: (other, {"ETag": '"two"'})}))
    fetch(transfer, source, target, other)
    assert held(store, target) == other


@pytest.mark.parametrize("said", ["bytes 70001-262143/262144", "bytes 70000-262143/262145", "bytes 0-9/*", "x", ""])
def test_a_rest_that_begins_elsewhere_is_not_taken(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, said: str
) -> None:
    wrong = {"ETag": '"one"', "Content-Range": said}
    right = {"ETag": '"one"'}
    script = source.play(Script(CONTENT, cuts=[70_000], changes={1: (CONTENT, wrong), 2: (CONTENT, right)}))
    fetch(transfer, source, target)
    assert held(store, target) == CONTENT
    assert [asked.get("range") for asked in script.asked] == [None, "bytes=70000-", None]


def test_a_file_that_has_shrunk_under_the_same_etag_is_begun_anew(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    less = CONTENT[:69_990]
    source.play(Script(CONTENT, cuts=[70_000], changes={1: (less, {"ETag": '"one"'})}))
    fetch(transfer, source, target, less)
    assert held(store, target) == less


def test_a_file_that_changes_under_every_reader_is_given_up(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    changes = {number: (CONTENT, {"ETag": f'"{number}"'}) for number in range(99)}
    script = source.play(Script(CONTENT, cuts=[70_000] * 99, changes=changes, ranges=False))
    error = refusal(transfer, source, target)
    assert (type(error), error.code) == (Retryable, "station-unavailable")
    assert held(store, target) == BEFORE
    assert len(script.asked) <= 2 * (RESUMES + 1)


def test_a_connection_that_breaks_behind_the_last_byte_loses_nothing(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    script = source.play(Script(CONTENT, framing="chunked", cuts=[SIZE - 1, 1]))
    script.cuts = [70_000]
    fetch(transfer, source, target, CONTENT)
    assert held(store, target) == CONTENT


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_source_that_cannot_answer_in_between_is_asked_again(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, status: int
) -> None:
    source.play(Script(CONTENT, cuts=[70_000], statuses={1: status, 2: status}))
    fetch(transfer, source, target, CONTENT)
    assert (held(store, target), source.sent) == (CONTENT, SIZE)


@pytest.mark.parametrize(("status", "code", "asked"), [(403, "station-unauthorized", 2), (404, "station-not-found", 1)])
def test_a_source_that_refuses_in_between_is_believed(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, status: int, code: str, asked: int
) -> None:
    script = source.play(Script(CONTENT, cuts=[70_000], statuses=dict.fromkeys((1, 2), status)))
    assert refusal(transfer, source, target).code == code
    assert (held(store, target), len(script.asked)) == (BEFORE, 1 + asked)


# Bodies that are wrong


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("stated", [SIZE, None])
def test_an_endless_body_is_left_at_the_first_byte_too_many(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, framing: str, stated: int | None
) -> None:
    source.play(Script(CONTENT, framing=framing, endless=True))
    error = refusal(transfer, source, target, size=stated)

    expected = (Retryable, "size-mismatch") if stated else (ItemFailed, "too-large")
    assert (type(error), error.code) == expected
    assert held(store, target) == BEFORE
    assert source.sent < (stated or 2**25) + 2**24  # what is in the buffers of the sockets


def test_a_length_that_is_not_the_stated_one_is_seen_before_a_byte_comes(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    source.play(Script(LARGE))
    assert refusal(transfer, source, target, size=len(LARGE) + 1).code == "size-mismatch"
    assert source.sent < len(LARGE)
    assert held(store, target) == BEFORE


@pytest.mark.parametrize(("head", "code"), [(SIZE, None), (None, None), (SIZE + 1, "size-mismatch")])
def test_where_nobody_states_a_size_head_is_asked(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location, head: int | None, code: str | None
) -> None:
    source.play(Script(CONTENT, framing="chunked", head=head))
    if code is None:
        fetch(transfer, source, target)
    else:
        assert refusal(transfer, source, target).code == code
    assert held(store, target) == (CONTENT if code is None else BEFORE)


def test_a_body_that_ends_with_its_connection_is_taken_up_again_where_head_tells_that_more_is_there(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    source.play(Script(CONTENT, framing="close", cuts=[70_000], head=SIZE))
    fetch(transfer, source, target)
    assert (held(store, target), source.sent) == (CONTENT, SIZE)


def test_a_source_that_drips_is_cut_off(context: Context, store: ObjectStore, source: Source, target: Location) -> None:
    script = source.play(Script(CONTENT, drip=5))
    with transfer_of(context, source, timeout=0.2) as impatient:
        error = refusal(impatient, source, target)

    assert (type(error), error.code) == (Retryable, "station-unavailable")
    assert (held(store, target), len(script.asked)) == (BEFORE, 1 + RESUMES)


def test_an_encoded_body_is_taken_where_the_item_tells_what_it_must_be(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    source.play(Script(CONTENT, headers={"Content-Encoding": "x-gzip"}))  # as servers say of a plain .tgz
    fetch(transfer, source, target, CONTENT)
    assert held(store, target) == CONTENT


def test_an_encoded_body_that_nothing_tells_from_the_file_is_refused(
    store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    source.play(Script(CONTENT, headers={"Content-Encoding": "gzip"}))
    assert refusal(transfer, source, target).code == "station-bad-answer"
    assert held(store, target) == BEFORE


def test_a_wrong_large_file_leaves_the_older_one_and_no_upload(
    context: Context, store: ObjectStore, transfer: Transfer, source: Source, target: Location
) -> None:
    source.play(Script(LARGE))
    with suppress(Retryable):
        fetch(transfer, source, target, content=CONTENT)
    assert held(store, target) == BEFORE
