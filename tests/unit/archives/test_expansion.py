"""What a call of expand leaves in the store, and what it makes of what an earlier one has left."""

import gzip
import hashlib
import pickle
import random
from collections.abc import Callable, Iterator

import obstore
import pytest

from shared.archives import ArchiveFailed, Kind, Problem, Rules, expand, load_manifest, manifest_for
from shared.archives.reading import BLOCK_BYTES
from shared.archives.rules import Layout
from shared.errors import ItemFailed, Rejected, Retryable, UnsupportedArchive
from shared.settings import Settings
from shared.storage.digests import PART_BYTES, Digest, Written, digest_of
from shared.storage.location import Location, Stored
from shared.storage.objects import UPLOADS_AT_ONCE, ObjectWriter
from tests.golden.make import changed, tar_of, tgz_of, zip_of
from tests.unit.archives.conftest import BUCKET, PREFIX, MemoryObjects

FILES = {f"d/{number:02}.dat": bytes([number]) * (1000 + number) for number in range(20)}
FLAT = {path.removeprefix("d/"): content for path, content in FILES.items()}
Make = Callable[[dict[str, bytes]], bytes]
LARGE = {"large.dat": bytes(range(256)) * (PART_BYTES // 200), "small.dat": b"small"}


class FailingObjects(MemoryObjects):
    """Fails from its n-th write on, as when the network is gone or the process is killed."""

    def __init__(self, settings: Settings, writes: int) -> None:
        super().__init__(settings)
        self.left = writes

    def put(
        self,
        location: Location,
        data: bytes,
        content_type: str = "application/octet-stream",
        written: Written | None = None,
    ) -> Written:
        self._count()
        return super().put(location, data, content_type, written)

    def replace(
        self, location: Location, data: bytes, known: str | None, content_type: str = "application/octet-stream"
    ) -> Written:
        self._count()
        return super().replace(location, data, known, content_type)

    def open_writer(
        self,
        location: Location,
        parts_at_once: int = UPLOADS_AT_ONCE,
        digest: Digest | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectWriter:
        self._count()
        return super().open_writer(location, parts_at_once, digest, content_type)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Retryable("s3-unavailable", "gone")


class EtagObjects(MemoryObjects):
    """Reports the ETags that S3 would, and notes what is sent."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sent: list[str] = []
        self._etags: dict[str, str] = {}

    def put(
        self,
        location: Location,
        data: bytes,
        content_type: str = "application/octet-stream",
        written: Written | None = None,
    ) -> Written:
        super().put(location, data, content_type)
        written = written or digest_of(data)
        self.sent.append(location.key)
        self._etags[location.key] = written.etag
        return written

    def replace(
        self, location: Location, data: bytes, known: str | None, content_type: str = "application/octet-stream"
    ) -> Written:
        self.sent.append(location.key)
        return super().replace(location, data, known, content_type)

    def list(self, prefix: Location) -> Iterator[Stored]:
        for stored in super().list(prefix):
            yield Stored(stored.key, stored.size, self._etags.get(stored.key, stored.etag))


class IgnorantObjects(MemoryObjects):
    """Knows no conditional PUT."""

    def _send(
        self,
        location: Location,
        data: bytes,
        content_type: str,
        written: Written,
        mode: "obstore.PutMode",  # noqa: ARG002
    ) -> Written:
        return super()._send(location, data, content_type, written, "overwrite")


@pytest.fixture
def archive(store: MemoryObjects) -> Location:
    return store.hold("owner/item/product.zip", zip_of(FILES))


def test_an_unsupported_name_is_refused_before_anything_is_touched(store: MemoryObjects, rules: Rules) -> None:
    with pytest.raises(UnsupportedArchive, match="Unsupported archive type"):
        expand(store, Location(BUCKET, "owner/item/product.rar"), PREFIX, rules)


@pytest.mark.parametrize("prefix", ["owner/item/product", "owner/item/", "owner/"])
def test_a_prefix_that_would_hold_the_archive_is_refused(
    prefix: str, store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    with pytest.raises(Rejected, match="bad-prefix"):
        expand(store, archive, Location(BUCKET, prefix), rules)


def test_the_manifest_tells_every_member_and_the_archive(store: MemoryObjects, archive: Location, rules: Rules) -> None:
    expansion = expand(store, archive, PREFIX, rules)

    manifest = load_manifest(store, PREFIX)
    stored = store.head(archive)
    assert manifest is not None
    assert stored is not None
    assert {member.path: (member.size, member.sha256) for member in manifest.members} == {
        path: (len(content), hashlib.sha256(content).hexdigest()) for path, content in FLAT.items()
    }
    assert (manifest.state, manifest.archive, manifest.prefix) == ("complete", archive.href, PREFIX.href)
    assert (manifest.archive_etag, manifest.archive_size) == (stored.etag, stored.size)
    assert manifest.archive_md5 == hashlib.md5(zip_of(FILES), usedforsecurity=False).hexdigest()
    assert (expansion.archive, expansion.archive_etag, expansion.reused) == (archive.href, stored.etag, False)
    assert (expansion.prefix, expansion.manifest) == (PREFIX.href, manifest_for(PREFIX).href)


def test_the_manifest_tells_what_was_let_pass(store: MemoryObjects) -> None:
    archive = store.hold("owner/item/x.tar", tar_of({"a/f": b"same", "b/f": b"same", "in.zip": b"kept"}))

    expand(store, archive, PREFIX, Rules(nested_zip=False))

    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    assert [(problem.kind, problem.path) for problem in manifest.problems] == [
        (Kind.NESTED_ZIP, "in.zip"),
        (Kind.MERGED, "b/f"),
    ]


@pytest.mark.parametrize(("name", "make"), [("x.zip", zip_of), ("x.tgz", tgz_of), ("x.tar", tar_of)])
def test_members_larger_than_a_part_are_streamed(name: str, make: Make, store: MemoryObjects, rules: Rules) -> None:
    archive = store.hold(f"owner/item/{name}", make(LARGE))

    expand(store, archive, PREFIX, rules)

    assert store.content() == LARGE


def test_an_archive_of_many_blocks_is_read_whole_and_its_md5_known(store: MemoryObjects, rules: Rules) -> None:
    files = {f"{number}.dat": bytes([number]) * 6 * 2**20 for number in range(8)}
    tar = tar_of(files)
    archive = store.hold("owner/item/x.tar", tar)
    assert len(tar) > 5 * BLOCK_BYTES

    expand(store, archive, PREFIX, rules)

    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    assert manifest.archive_md5 == hashlib.md5(tar, usedforsecurity=False).hexdigest()
    assert store.content() == files


@pytest.mark.parametrize("layout", ["flat", "tree"])
@pytest.mark.parametrize(("name", "make"), [("x.zip", zip_of), ("x.tgz", tgz_of)])
def test_it_does_not_matter_where_blocks_begin(
    name: str, make: Make, layout: Layout, monkeypatch: pytest.MonkeyPatch, store: MemoryObjects
) -> None:
    monkeypatch.setattr("shared.archives.reading.BLOCK_BYTES", 1009)
    files = {f"{number}.dat": random.Random(number).randbytes(6000) for number in range(20)}  # noqa: S311
    content = make(files)
    archive = store.hold(f"owner/item/{name}", content)

    expand(store, archive, PREFIX, Rules(layout=layout))

    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    assert manifest.archive_md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert store.content() == files


def test_more_small_members_than_may_wait_are_all_written(store: MemoryObjects, archive: Location) -> None:
    expand(store, archive, PREFIX, Rules(memory=4000))

    assert store.content() == FLAT


# --- again -----------------------------------------------------------------------------------------------------------


def test_a_second_call_finds_the_work_done(store: MemoryObjects, archive: Location, rules: Rules) -> None:
    first = expand(store, archive, PREFIX, rules)

    second = expand(store, archive, PREFIX, rules)

    assert second == first.model_copy(update={"reused": True})


def test_a_call_after_the_archive_was_deleted_finds_the_work_done(
    store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    first = expand(store, archive, PREFIX, rules)
    store.delete(archive)

    assert expand(store, archive, PREFIX, rules) == first.model_copy(update={"reused": True})


def test_an_archive_that_never_was_is_missing(store: MemoryObjects, rules: Rules) -> None:
    with pytest.raises(ItemFailed, match="archive-missing"):
        expand(store, Location(BUCKET, "owner/item/product.zip"), PREFIX, rules)


def test_an_archive_that_went_before_it_was_expanded_is_missing(settings: Settings, rules: Rules) -> None:
    store = FailingObjects(settings, writes=10**6)
    archive = store.hold("owner/item/product.zip", zip_of(FILES))
    store.left = 5
    with pytest.raises(Retryable):
        expand(store, archive, PREFIX, rules)
    store.delete(archive)

    with pytest.raises(ItemFailed, match="archive-missing"):
        expand(store, archive, PREFIX, rules)


def test_whether_the_work_is_still_ours_is_asked_once_however_many_members_there_are(
    store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    asked: list[None] = []
    expand(store, archive, PREFIX, rules, still_ours=lambda: asked.append(None))
    assert len(asked) == 1


def test_a_store_that_ignores_conditions_is_written_to_as_well(settings: Settings, rules: Rules) -> None:
    store = IgnorantObjects(settings)
    archive = store.hold("owner/item/product.zip", zip_of(FILES))
    expand(store, archive, PREFIX, rules)
    store.delete(Location(BUCKET, f"{PREFIX.key}00.dat"))

    assert not expand(store, archive, PREFIX, rules).reused
    assert store.content() == FLAT


def test_a_member_that_is_gone_is_written_again(store: MemoryObjects, archive: Location, rules: Rules) -> None:
    expand(store, archive, PREFIX, rules)
    store.delete(Location(BUCKET, f"{PREFIX.key}03.dat"))

    assert not expand(store, archive, PREFIX, rules).reused
    assert store.content() == FLAT


def test_another_layout_is_another_expansion(store: MemoryObjects, rules: Rules) -> None:
    archive = store.hold("owner/item/x.tgz", tgz_of({"a/f": b"1", "b/g": b"2"}))
    expand(store, archive, PREFIX, rules)

    assert not expand(store, archive, PREFIX, Rules(layout="tree")).reused
    assert store.content() == {"a/f": b"1", "b/g": b"2"}


@pytest.mark.parametrize("pack", [zip_of, tgz_of])
def test_an_archive_whose_names_collide_is_a_tree_unless_flat_is_asked_for(
    store: MemoryObjects, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    suffix = "zip" if pack is zip_of else "tgz"
    archive = store.hold(f"owner/item/x.{suffix}", pack({"top/a/0.0": b"1", "top/b/0.0": b"2", "top/.zgroup": b"{}"}))

    assert not expand(store, archive, PREFIX, Rules()).reused
    assert store.content() == {"a/0.0": b"1", "b/0.0": b"2", ".zgroup": b"{}"}
    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    assert manifest.layout == "tree"
    assert expand(store, archive, PREFIX, Rules()).reused


def test_zeros_behind_a_zip_are_let_pass_up_to_16_mib(store: MemoryObjects, rules: Rules) -> None:
    padded = store.hold("owner/item/x.zip", zip_of({"a": b"1"}) + bytes(16 * 2**20 - 2**16))
    expand(store, padded, PREFIX, rules)
    assert store.content() == {"a": b"1"}

    endless = store.hold("owner/item/x.zip", zip_of({"a": b"1"}) + bytes(16 * 2**20 + 2**17))
    with pytest.raises(ArchiveFailed, match="archive-damaged"):
        expand(store, endless, PREFIX, rules)


def test_what_was_begun_as_a_tree_goes_on_as_a_tree(store: MemoryObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = store.hold("owner/item/x.tgz", tgz_of({"a/0.0": b"1", "b/0.0": b"2"}))
    expand(store, archive, PREFIX, Rules())
    store.delete(Location(BUCKET, f"{PREFIX.key}b/0.0"))
    monkeypatch.setattr(store.control, "delete_all", None)  # a beginning in the other layout would remove what is there

    assert not expand(store, archive, PREFIX, Rules()).reused
    assert store.content() == {"a/0.0": b"1", "b/0.0": b"2"}


def test_a_new_version_of_the_archive_replaces_what_the_old_one_left(
    store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    expand(store, archive, PREFIX, rules)
    store.hold(archive.key, zip_of({"new.dat": b"new"}))

    assert not expand(store, archive, PREFIX, rules).reused
    assert store.content() == {"new.dat": b"new"}


def test_what_an_earlier_attempt_has_sent_is_not_sent_again(settings: Settings, rules: Rules) -> None:
    store = EtagObjects(settings)
    archive = store.hold("owner/item/product.zip", zip_of(FILES))
    expand(store, archive, PREFIX, rules)
    store.delete(Location(BUCKET, f"{PREFIX.key}03.dat"))
    store.sent.clear()

    expand(store, archive, PREFIX, rules)

    manifest = manifest_for(PREFIX).key
    assert store.sent == [manifest, f"{PREFIX.key}03.dat", manifest]


# --- a prefix that is not ours ---------------------------------------------------------------------------------------


def test_objects_that_no_manifest_explains_are_left_alone(
    store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    store.hold(f"{PREFIX.key}foreign", b"foreign")

    with pytest.raises(ItemFailed, match="prefix-taken"):
        expand(store, archive, PREFIX, rules)

    assert store.content() == {"foreign": b"foreign"}
    assert store.head(manifest_for(PREFIX)) is None


def test_the_prefix_of_another_archive_is_left_alone(store: MemoryObjects, archive: Location, rules: Rules) -> None:
    expand(store, archive, PREFIX, rules)
    other = store.hold("owner/item/product.tgz", tgz_of({"other": b"other"}))

    with pytest.raises(ItemFailed, match=r"prefix-taken.*product\.zip"):
        expand(store, other, PREFIX, rules)

    assert store.content() == FLAT


def test_something_else_in_place_of_the_manifest_is_left_alone(
    store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    store.hold(manifest_for(PREFIX).key, b"no manifest")

    with pytest.raises(ItemFailed, match="prefix-taken"):
        expand(store, archive, PREFIX, rules)


def test_a_foreign_object_among_the_members_stops_a_new_version(
    store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    expand(store, archive, PREFIX, rules)
    store.hold(f"{PREFIX.key}foreign", b"foreign")
    store.hold(archive.key, zip_of({"new.dat": b"new"}))

    with pytest.raises(ItemFailed, match="prefix-taken"):
        expand(store, archive, PREFIX, rules)

    assert store.content() == {**FLAT, "foreign": b"foreign"}


def test_a_foreign_object_that_appears_meanwhile_is_kept_and_told(settings: Settings, rules: Rules) -> None:
    store = FailingObjects(settings, writes=10**6)
    archive = store.hold("owner/item/product.zip", zip_of(FILES))
    store.left = 5
    with pytest.raises(Retryable):
        expand(store, archive, PREFIX, rules)
    store.left = 10**6
    store.hold(f"{PREFIX.key}foreign", b"foreign")

    with pytest.raises(ItemFailed, match="prefix-taken"):
        expand(store, archive, PREFIX, rules)

    assert store.content() == {"foreign": b"foreign"}


# --- cut off ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "make"), [("x.zip", zip_of), ("x.tgz", tgz_of)])
@pytest.mark.parametrize("writes", [0, 1, 7, 20, 21])
def test_a_call_that_is_cut_off_anywhere_is_made_good_by_the_next(
    writes: int, name: str, make: Make, settings: Settings, rules: Rules
) -> None:
    store = FailingObjects(settings, writes=10**6)
    content = make(FILES)
    archive = store.hold(f"owner/item/{name}", content)
    store.left = writes
    with pytest.raises(Retryable, match="s3-unavailable"):
        expand(store, archive, PREFIX, rules)
    assert store.get(archive, 2**20) == content

    store.left = 10**6
    expansion = expand(store, archive, PREFIX, rules)

    assert (expansion.reused, expansion.members) == (False, len(FLAT))
    assert store.content() == FLAT
    assert store.get(archive, 2**20) == content


def test_a_large_member_that_is_cut_off_leaves_nothing_of_itself(store: MemoryObjects, rules: Rules) -> None:
    archive = store.hold("owner/item/x.tgz", changed(tgz_of(LARGE), -8, b"\0\0\0\0"))

    with pytest.raises(ArchiveFailed, match="archive-damaged"):
        expand(store, archive, PREFIX, rules)

    assert store.content() == {}


def test_what_a_cut_off_attempt_left_goes_when_the_archive_is_refused_later(settings: Settings) -> None:
    store = FailingObjects(settings, writes=10**6)
    archive = store.hold("owner/item/x.tgz", tgz_of(FILES))
    store.left = 15
    with pytest.raises(Retryable):
        expand(store, archive, PREFIX, Rules())
    store.left = 10**6

    with pytest.raises(ArchiveFailed, match="archive-limit"):
        expand(store, archive, PREFIX, Rules(max_members=3))

    assert store.content() == {}
    assert store.head(manifest_for(PREFIX)) is None


def test_a_member_that_does_not_arrive_is_noticed(settings: Settings, rules: Rules) -> None:
    class Losing(MemoryObjects):
        def list(self, prefix: Location) -> Iterator[Stored]:
            return (stored for stored in super().list(prefix) if not stored.key.endswith("07.dat"))

    store = Losing(settings)
    archive = store.hold("owner/item/product.zip", zip_of(FILES))

    with pytest.raises(Retryable, match=r"s3-mismatch.*07\.dat"):
        expand(store, archive, PREFIX, rules)


def test_a_short_answer_is_no_content(settings: Settings, rules: Rules) -> None:
    class Short(MemoryObjects):
        def read(self, location: Location, start: int, length: int, etag: str) -> bytes:
            return super().read(location, start, length, etag)[:-1]

    store = Short(settings)
    archive = store.hold("owner/item/product.zip", zip_of(FILES))

    with pytest.raises(Retryable, match="s3-mismatch"):
        expand(store, archive, PREFIX, rules)


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_collision_names_both_members_and_the_way_out(store: MemoryObjects) -> None:
    archive = store.hold("owner/item/x.tgz", tgz_of({"a/m.xml": b"1", "b/m.xml": b"2"}))

    with pytest.raises(ArchiveFailed, match=r"(?s)name-collision.*b/m\.xml.*a/m\.xml.*layout=tree"):
        expand(store, archive, PREFIX, Rules(layout="flat"))


def test_a_problem_in_a_nested_archive_is_told_with_the_way_to_it(store: MemoryObjects, rules: Rules) -> None:
    deep = tgz_of({"in/evil": b"x", "../evil": b"x"})
    archive = store.hold("owner/item/x.zip", zip_of({"one/two.tgz": deep}))

    with pytest.raises(ArchiveFailed) as refused:
        expand(store, archive, PREFIX, rules)

    assert [problem.path for problem in refused.value.problems] == ["one/two.tgz/../evil"]


def test_of_many_problems_twenty_are_told_and_the_rest_counted(store: MemoryObjects, rules: Rules) -> None:
    archive = store.hold("owner/item/x.zip", zip_of({f"../{number}": b"x" for number in range(30)}))

    with pytest.raises(ArchiveFailed, match="and 10 more") as refused:
        expand(store, archive, PREFIX, rules)

    assert (len(refused.value.problems), refused.value.total) == (20, 30)


def test_a_refusal_survives_the_way_to_another_process() -> None:
    failed = ArchiveFailed([Problem(Kind.SYMLINK, "a" * 500, "a symbolic link")], 7, "s3://b/x.zip")

    copy = pickle.loads(pickle.dumps(failed))  # noqa: S301

    assert (str(copy), copy.problems, copy.total) == (str(failed), failed.problems, 7)
    assert len(copy.reason) < 400


def test_a_bomb_is_stopped_while_it_goes_off(monkeypatch: pytest.MonkeyPatch, store: MemoryObjects) -> None:
    monkeypatch.setattr("shared.archives.budget.RATIO_FLOOR", 2**20)
    archive = store.hold("owner/item/x.tgz", tgz_of({"zeros": bytes(10 * 2**20)}))

    with pytest.raises(ArchiveFailed, match=r"archive-limit.*ratio"):
        expand(store, archive, PREFIX, Rules())

    assert store.content() == {}


def test_small_files_that_compress_well_are_no_bomb(store: MemoryObjects) -> None:
    archive = store.hold("owner/item/x.tgz", tgz_of({"zeros": bytes(10 * 2**20)}))

    assert expand(store, archive, PREFIX, Rules()).size == 10 * 2**20


def test_a_manifest_larger_than_a_part_is_written_too(
    monkeypatch: pytest.MonkeyPatch, store: MemoryObjects, archive: Location, rules: Rules
) -> None:
    monkeypatch.setattr("shared.storage.objects.LARGEST_PUT", 1000)

    assert expand(store, archive, PREFIX, rules).manifest == manifest_for(PREFIX).href
    assert expand(store, archive, PREFIX, rules).reused


def test_an_archive_of_nested_padding_is_stopped(store: MemoryObjects) -> None:
    padded = tar_of({"in.tar": tar_of({"a": b"x"}) + bytes(17 * 2**20)})
    archive = store.hold("owner/item/x.tgz", gzip.compress(padded, compresslevel=1))

    with pytest.raises(ArchiveFailed, match=r"archive-damaged.*trailing-data.*in\.tar"):
        expand(store, archive, PREFIX, Rules())


def test_the_rules_are_those_of_the_settings(settings: Settings) -> None:
    assert Rules.from_settings(settings) == Rules()
