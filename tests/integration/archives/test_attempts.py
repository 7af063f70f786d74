"""Several attempts at one expansion, and writes that a slow store applies late: one of them commits, for good."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shared.archives import Manifest, Rules, expand, load_manifest, manifest_for, prefix_for
from shared.context import Context
from shared.errors import ItemFailed, Retryable
from shared.settings import Settings, load_settings
from shared.storage.digests import Written
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from tests.golden.make import tgz_of
from tests.integration.archives.test_seaweedfs import content, hold

FILES = {f"{number}.dat": bytes([number]) * 100 for number in range(5)}
NEWER = {f"{number}.dat": bytes([number]) * 200 for number in range(5)}


@dataclass(frozen=True)
class Sent:
    """One conditional write, as it was sent."""

    location: Location
    data: bytes
    known: str | None
    content_type: str

    def arrive(self, store: ObjectStore) -> Written:
        return store.replace(self.location, self.data, self.known, self.content_type)


class Recording(ObjectStore):
    """Notes the conditional writes, so that copies of them can arrive late."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sent: list[Sent] = []

    def replace(
        self, location: Location, data: bytes, known: str | None, content_type: str = "application/octet-stream"
    ) -> Written:
        self.sent.append(Sent(location, data, known, content_type))
        return super().replace(location, data, known, content_type)


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


def once(action: Callable[[], object]) -> Callable[[], None]:
    """What an attempt calls before it commits, or removes members: there another one comes between, once."""
    left = [action]

    def come_between() -> None:
        if left:
            left.pop()()

    return come_between


def manifest_of(store: ObjectStore, archive: Location) -> Manifest:
    manifest = load_manifest(store, prefix_for(archive))
    assert manifest is not None
    return manifest


def attempt(store: ObjectStore, archive: Location, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Expand, and return whether the work had been done before."""
    return expand(store, archive, prefix_for(archive), Rules(), still_ours=once(meanwhile)).reused


def test_a_claim_that_the_store_applies_late_is_refused_once_the_expansion_is_complete(store: ObjectStore) -> None:
    archive = hold(store, "late/x.tgz", tgz_of(FILES))
    recording = Recording(load_settings())
    attempt(recording, archive)
    claim, commit = recording.sent
    committed = manifest_of(store, archive)

    with pytest.raises(Retryable, match="s3-changed"):
        claim.arrive(store)

    assert (claim.known, commit.known is None) == (None, False)
    assert manifest_of(store, archive) == committed
    assert committed.state == "complete"


def test_a_second_claim_that_the_store_applies_late_is_refused_too(store: ObjectStore) -> None:
    archive = hold(store, "late-second/x.tgz", tgz_of(FILES))
    attempt(store, archive)
    store.delete(Location(archive.bucket, "late-second/x/0.dat"))
    recording = Recording(load_settings())
    attempt(recording, archive)

    with pytest.raises(Retryable, match="s3-changed"):
        recording.sent[0].arrive(store)

    assert manifest_of(store, archive).state == "complete"


def test_a_commit_that_is_sent_twice_has_succeeded(store: ObjectStore) -> None:
    archive = hold(store, "twice/x.tgz", tgz_of(FILES))
    recording = Recording(load_settings())
    attempt(recording, archive)

    assert recording.sent[1].arrive(store).etag == getattr(store.head(manifest_for(prefix_for(archive))), "etag", None)


@pytest.mark.parametrize("most", [None, 10], ids=["one-put", "multipart"])
def test_of_two_attempts_one_commits_and_the_other_finds_the_work_done(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    if most is not None:
        monkeypatch.setattr("shared.storage.objects.LARGEST_PUT", most)
    archive = hold(store, f"two-{most}/x.tgz", tgz_of(FILES))
    reused: list[bool] = []

    with pytest.raises(Retryable, match="s3-changed"):
        attempt(store, archive, lambda: reused.append(attempt(ObjectStore(load_settings()), archive)))
    committed = manifest_of(store, archive)

    assert reused == [False]
    assert committed.state == "complete"
    assert attempt(store, archive)
    assert manifest_of(store, archive) == committed


def test_an_attempt_that_sleeps_before_it_removes_an_older_version_removes_nothing_of_the_newer(
    store: ObjectStore,
) -> None:
    archive = hold(store, "newer/x.tgz", tgz_of(FILES))
    attempt(store, archive)
    hold(store, "newer/x.tgz", tgz_of(NEWER))

    with pytest.raises(Retryable, match="s3-changed"):
        attempt(store, archive, lambda: attempt(store, archive))

    assert content(store, prefix_for(archive)) == NEWER
    assert attempt(store, archive)


def test_an_attempt_that_fails_removes_nothing_of_one_that_came_between(store: ObjectStore) -> None:
    archive = hold(store, "withdrawn/x.tgz", tgz_of(FILES))

    def expand_with_another_md5() -> None:
        expand(store, archive, prefix_for(archive), Rules(), "0" * 32, once(lambda: attempt(store, archive)))

    with pytest.raises(Retryable, match="s3-changed"):
        expand_with_another_md5()
    assert content(store, prefix_for(archive)) == FILES
    assert manifest_of(store, archive).state == "complete"

    with pytest.raises(ItemFailed, match="archive-checksum"):
        expand_with_another_md5()
    assert content(store, prefix_for(archive)) == FILES


def test_whoever_has_lost_its_claim_neither_commits_nor_removes(store: ObjectStore) -> None:
    archive = hold(store, "lost/x.tgz", tgz_of(FILES))

    def lost() -> None:
        raise Retryable("claim-lost", "another worker has it")

    for md5 in (None, "0" * 32):
        with pytest.raises(Retryable, match="claim-lost"):
            expand(store, archive, prefix_for(archive), Rules(), md5, lost)
        assert content(store, prefix_for(archive)) == FILES
        assert manifest_of(store, archive).state == "writing"
