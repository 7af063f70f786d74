"""The golden archives against a real S3 server, and an expansion whose process is killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from shared.archives import ArchiveFailed, Rules, expand, manifest_for, prefix_for
from shared.context import Context
from shared.errors import Retryable
from shared.settings import Settings, load_settings
from shared.storage.digests import Digest
from shared.storage.location import Location
from shared.storage.objects import UPLOADS_AT_ONCE, ObjectStore, ObjectWriter
from tests.golden.cases import ACCEPTED, EXPANDED, REFUSED, archive_of, files_below, rules_of
from tests.golden.make import tgz_of

LARGE = bytes(range(256)) * 2**17
FILES = {f"{number:03}.dat": bytes([number]) * 5000 for number in range(200)}

KILLED = """
import os, signal, sys, threading
from shared.archives import Rules, expand, prefix_for
from shared.settings import load_settings
from shared.storage.location import Location
from shared.storage.objects import ObjectStore

class Dying(ObjectStore):
    left, lock = 50, threading.Lock()
    def put(self, *arguments, **options):
        with self.lock:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().put(*arguments, **options)

archive = Location.parse(sys.argv[1])
expand(Dying(load_settings()), archive, prefix_for(archive), Rules())
"""


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


def hold(store: ObjectStore, key: str, data: bytes) -> Location:
    location = Location(load_settings().s3_bucket, key)
    store.put(location, data)
    return location


def content(store: ObjectStore, prefix: Location, limit: int = 2**20) -> dict[str, bytes]:
    found = [Location(prefix.bucket, stored.key) for stored in store.list(prefix)]
    return {location.key.removeprefix(prefix.key): store.get(location, limit) or b"" for location in found}


@pytest.mark.parametrize("layout", ["flat", "tree"])
@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_an_archive_becomes_exactly_the_expected_objects(
    case: Path, layout: Literal["flat", "tree"], store: ObjectStore
) -> None:
    source = archive_of(case)
    archive = hold(store, f"{case.name}-{layout}/{source.name}", source.read_bytes())

    expand(store, archive, prefix_for(archive), rules_of(case, layout))

    assert content(store, prefix_for(archive)) == files_below(case / EXPANDED[layout])
    assert expand(store, archive, prefix_for(archive), rules_of(case, layout)).reused


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_refused_archive_leaves_nothing_but_itself(case: Path, store: ObjectStore) -> None:
    expected = json.loads((case / "expected.json").read_text())
    source = archive_of(case)
    archive = hold(store, f"{case.name}/{source.name}", source.read_bytes())

    with pytest.raises(ArchiveFailed, match=expected["code"]):
        expand(store, archive, prefix_for(archive), Rules(**expected.get("rules", {})))

    assert content(store, prefix_for(archive)) == {}
    assert store.head(manifest_for(prefix_for(archive))) is None
    assert store.head(archive) is not None


def test_a_large_member_arrives_as_it_was(store: ObjectStore) -> None:
    archive = Location(load_settings().s3_bucket, "large/x.tgz")
    with store.open_writer(archive) as writer:
        writer.write(tgz_of({"large.dat": LARGE}))

    expand(store, archive, prefix_for(archive), Rules())

    assert store.get(Location(archive.bucket, "large/x/large.dat"), 2**30) == LARGE


class Counting(ObjectStore):
    """Notes which large objects are sent."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sent: list[str] = []

    def open_writer(
        self,
        location: Location,
        parts_at_once: int = UPLOADS_AT_ONCE,
        digest: Digest | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectWriter:
        self.sent.append(location.key)
        return super().open_writer(location, parts_at_once, digest, content_type)


def expanded_but_for_one(store: ObjectStore, folder: str) -> Location:
    """Expand an archive with a large member as far as an attempt that was killed before its last small one."""
    archive = hold(store, f"{folder}/x.tgz", tgz_of({"large.dat": LARGE, "small.dat": b"small"}))
    expand(store, archive, prefix_for(archive), Rules())
    store.delete(Location(archive.bucket, f"{folder}/x/small.dat"))
    return archive


def test_a_large_member_that_is_there_and_right_is_not_sent_again(store: ObjectStore) -> None:
    archive = expanded_but_for_one(store, "resumed")
    counting = Counting(load_settings())

    assert not expand(counting, archive, prefix_for(archive), Rules()).reused

    assert counting.sent == []
    assert content(store, prefix_for(archive), 2**30) == {"large.dat": LARGE, "small.dat": b"small"}


@pytest.mark.long
def test_a_large_member_that_is_there_and_wrong_is_sent_by_the_next_attempt(store: ObjectStore) -> None:
    archive = expanded_but_for_one(store, "resumed-wrong")
    with store.open_writer(Location(archive.bucket, "resumed-wrong/x/large.dat")) as writer:
        writer.write(bytes(len(LARGE)))

    with pytest.raises(Retryable, match="s3-mismatch"):
        expand(store, archive, prefix_for(archive), Rules())
    expand(store, archive, prefix_for(archive), Rules())

    assert content(store, prefix_for(archive), 2**30)["large.dat"] == LARGE


def test_an_expansion_whose_process_was_killed_is_finished_by_the_next(store: ObjectStore) -> None:
    archive = hold(store, "killed/x.tgz", tgz_of(FILES))
    prefix = prefix_for(archive)

    killed = subprocess.run([sys.executable, "-c", KILLED, archive.href], check=False)  # noqa: S603

    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(content(store, prefix)) < len(FILES)
    assert store.head(archive) is not None
    assert not expand(store, archive, prefix, Rules()).reused
    assert content(store, prefix) == FILES
