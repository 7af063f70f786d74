"""A caller chooses members and strips folders: what is written, what a second call adds, and what a failure leaves."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.archives import (
    ArchiveFailed,
    FileSource,
    Kind,
    Manifest,
    Rules,
    expand,
    inspect,
    load_manifest,
    manifest_for,
)
from shared.errors import ItemFailed
from shared.storage.location import Location
from tests.golden.make import APPLE_DOUBLE, tar_of, tgz_of, zip_of
from tests.unit.archives.conftest import PREFIX, MemoryObjects

FILES = {"top/a.xml": b"a", "top/b.xml": b"b", "top/deep/c.tif": b"c", "top/deep/d.txt": b"d"}
Make = Callable[[dict[str, bytes]], bytes]
XML = Rules(layout="tree", members=("*.xml",))
TIF = Rules(layout="tree", members=("*.tif",))
SUFFIX: dict[Make, str] = {zip_of: "zip", tgz_of: "tgz", tar_of: "tar"}

both = pytest.mark.parametrize("make", [zip_of, tgz_of], ids=["zip", "tgz"])


def hold(store: MemoryObjects, make: Make, files: dict[str, bytes] = FILES) -> Location:
    return store.hold(f"owner/item/product.{SUFFIX[make]}", make(files))


def manifest_of(store: MemoryObjects) -> Manifest:
    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    return manifest


@both
@pytest.mark.parametrize(
    ("members", "found"),
    [
        (("*.xml",), {"a.xml", "b.xml"}),
        (("top/deep/*",), {"deep/c.tif", "deep/d.txt"}),
        (("top/deep/",), {"deep/c.tif", "deep/d.txt"}),
        (("a.xml", "*.tif"), {"a.xml", "deep/c.tif"}),
        (("top/**/*.t*",), {"deep/c.tif", "deep/d.txt"}),
    ],
)
def test_only_the_members_that_match_are_written(
    store: MemoryObjects, make: Make, members: tuple[str, ...], found: set[str]
) -> None:
    expansion = expand(store, hold(store, make), PREFIX, Rules(layout="tree", members=members))

    assert set(store.content()) == found
    assert expansion.partial
    manifest = manifest_of(store)
    assert (manifest.chosen, manifest.not_chosen) == (members, len(FILES) - len(found))


@both
def test_what_matches_everything_is_no_part(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    assert not expand(store, archive, PREFIX, Rules(layout="tree", members=("top/",))).partial
    assert len(store.content()) == len(FILES)
    assert expand(store, archive, PREFIX, Rules(layout="tree")).reused


@both
def test_a_second_call_with_the_same_members_has_nothing_to_do(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, Rules(layout="tree", members=("*.xml", "*.tif")))
    assert expand(store, archive, PREFIX, XML).reused


@both
def test_a_second_call_with_other_members_adds_them(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, XML)
    expansion = expand(store, archive, PREFIX, TIF)

    assert set(store.content()) == {"a.xml", "b.xml", "deep/c.tif"}
    assert (expansion.reused, expansion.partial, expansion.members) == (False, True, 3)
    assert manifest_of(store).chosen == ("*.xml", "*.tif")
    assert expand(store, archive, PREFIX, XML).reused


@both
def test_a_second_call_for_everything_expands_the_rest(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, XML)
    expansion = expand(store, archive, PREFIX, Rules(layout="tree"))

    assert (expansion.reused, expansion.partial) == (False, False)
    assert len(store.content()) == len(FILES)
    assert expand(store, archive, PREFIX, TIF).reused


@both
def test_another_version_of_the_archive_has_the_members_of_the_last_call_only(store: MemoryObjects, make: Make) -> None:
    expand(store, hold(store, make), PREFIX, XML)
    expand(store, hold(store, make, {**FILES, "top/e.tif": b"e"}), PREFIX, TIF)
    assert set(store.content()) == {"deep/c.tif", "e.tif"}


@both
def test_another_layout_keeps_what_was_chosen_before(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, XML)
    expand(store, archive, PREFIX, replace(TIF, layout="flat"))
    assert set(store.content()) == {"a.xml", "b.xml", "c.tif"}


@both
def test_members_that_collide_with_those_of_an_earlier_call_make_a_tree(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make, {"x/a.xml": b"1", "x/m": b"2", "y/a.xml": b"3"})
    expand(store, archive, PREFIX, Rules(members=("x/",)))
    assert set(store.content()) == {"a.xml", "m"}
    expand(store, archive, PREFIX, Rules(members=("y/",)))
    assert set(store.content()) == {"x/a.xml", "x/m", "y/a.xml"}


@both
def test_the_rest_cannot_be_expanded_once_the_archive_is_gone(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, XML)
    store.delete(archive)

    assert expand(store, archive, PREFIX, XML).reused
    with pytest.raises(ItemFailed, match="archive-missing"):
        expand(store, archive, PREFIX, TIF)


@both
def test_where_nothing_matches_nothing_is_written(store: MemoryObjects, make: Make) -> None:
    with pytest.raises(ArchiveFailed, match=r"no-such-member.*'\*\.nc'.*it has top/a\.xml") as refused:
        expand(store, hold(store, make), PREFIX, Rules(members=("*.nc",)))

    assert refused.value.code == "no-such-member"
    assert store.content() == {}
    assert store.head(manifest_for(PREFIX)) is None


@both
def test_a_call_that_fails_leaves_what_was_chosen_before(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, XML)
    before, content = manifest_of(store), store.content()

    with pytest.raises(ArchiveFailed, match="no-such-member"):
        expand(store, archive, PREFIX, Rules(layout="tree", members=("*.nc",)))

    assert (manifest_of(store), store.content()) == (before, content)


@both
def test_a_call_that_was_cut_off_and_then_fails_leaves_what_was_chosen_before(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, XML)
    before, content = manifest_of(store), store.content()
    cut = before.model_copy(update={"state": "writing", "members": (), "chosen": ("*.xml", "*.tif"), "earlier": before})
    store.put(manifest_for(PREFIX), cut.model_dump_json().encode())
    store.put(Location(PREFIX.bucket, f"{PREFIX.key}deep/c.tif"), b"c")

    with pytest.raises(ArchiveFailed, match="no-such-member"):
        expand(store, archive, PREFIX, Rules(layout="tree", members=("*.nc",)))

    assert (manifest_of(store), store.content()) == (before, content)


@both
def test_what_a_call_that_was_cut_off_has_left_goes_if_nobody_asks_for_it_again(
    store: MemoryObjects, make: Make
) -> None:
    archive = hold(store, make)
    expand(store, archive, PREFIX, TIF)
    cut = manifest_of(store).model_copy(update={"state": "writing", "members": (), "not_chosen": 0})
    store.put(manifest_for(PREFIX), cut.model_dump_json().encode())

    expand(store, archive, PREFIX, XML)

    assert set(store.content()) == {"a.xml", "b.xml"}


def test_a_manifest_of_before_there_were_choices_is_of_everything(store: MemoryObjects) -> None:
    archive = hold(store, zip_of)
    expand(store, archive, PREFIX, Rules(layout="tree"))
    fields = manifest_of(store).model_dump(mode="json", exclude={"chosen", "not_chosen", "strip", "earlier"})
    store.put(manifest_for(PREFIX), Manifest.model_validate(fields).model_dump_json(exclude_unset=True).encode())

    assert expand(store, archive, PREFIX, Rules(layout="tree")).reused
    assert expand(store, archive, PREFIX, XML).reused


@both
def test_a_pattern_that_matches_nothing_beside_others_is_noticed(store: MemoryObjects, make: Make) -> None:
    expand(store, hold(store, make), PREFIX, Rules(members=("*.xml", "*.nc")))
    assert [(each.kind, each.path) for each in manifest_of(store).problems] == [(Kind.NO_SUCH_MEMBER, "*.nc")]


def test_the_content_of_members_that_are_not_chosen_is_not_read(store: MemoryObjects) -> None:
    data = zip_of({"a.xml": b"a" * 100, "b.tif": b"incompressible?"})
    damaged = data.replace(zip_of({"b.tif": b"incompressible?"})[35:48], b"\xff" * 13)
    assert damaged != data
    archive = store.hold("owner/item/product.zip", damaged)

    expand(store, archive, PREFIX, Rules(members=("*.xml",)))
    assert set(store.content()) == {"a.xml"}


@both
@pytest.mark.parametrize(
    ("members", "found"),
    [
        (("*.xml",), {"inner/a.xml", "z.xml"}),
        (("inner.tar/*",), {"inner/a.xml", "inner/b.tif"}),
        (("inner.tar",), {"inner/a.xml", "inner/b.tif"}),
        (("z.xml",), {"z.xml"}),
    ],
)
def test_patterns_choose_within_nested_archives(
    store: MemoryObjects, make: Make, members: tuple[str, ...], found: set[str]
) -> None:
    nested = tar_of({"a.xml": b"a", "b.tif": b"b"})
    archive = hold(store, make, {"inner.tar": nested, "z.xml": b"z"})
    expand(store, archive, PREFIX, Rules(layout="tree", members=members))
    assert set(store.content()) == found


@both
def test_an_apple_double_that_is_not_chosen_is_not_noticed(store: MemoryObjects, make: Make) -> None:
    expand(store, hold(store, make, {"a.xml": b"a", "._b.tif": APPLE_DOUBLE}), PREFIX, Rules(members=("*.xml",)))
    assert manifest_of(store).problems == ()


# Stripping


@both
@pytest.mark.parametrize(
    ("strip", "found"),
    [
        (1, {"a.xml", "b.xml", "deep/c.tif", "deep/d.txt"}),
        (2, {"c.tif", "d.txt"}),
    ],
)
def test_leading_folders_are_removed(store: MemoryObjects, make: Make, strip: int, found: set[str]) -> None:
    expansion = expand(store, hold(store, make), PREFIX, Rules(strip=strip))

    assert set(store.content()) == found
    manifest = manifest_of(store)
    assert (manifest.strip, manifest.layout) == (strip, "tree")
    stays = [each.path for each in manifest.problems if each.kind is Kind.STRIPPED]
    assert len(stays) == len(FILES) - len(found) == manifest.not_chosen
    assert expansion.partial is bool(stays)


@both
def test_another_strip_is_another_expansion(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make, {"a/b/c.xml": b"c"})
    expand(store, archive, PREFIX, Rules(strip=1))
    assert not expand(store, archive, PREFIX, Rules(strip=2)).reused
    assert set(store.content()) == {"c.xml"}
    assert expand(store, archive, PREFIX, Rules(strip=2)).reused


@both
def test_a_nested_archive_goes_where_its_path_is_stripped_to(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make, {"top/in.tar": tar_of({"x/a.xml": b"a"}), "top/b.xml": b"b"})
    expand(store, archive, PREFIX, Rules(strip=1))
    assert set(store.content()) == {"in/x/a.xml", "b.xml"}


@both
@pytest.mark.parametrize(
    "files",
    [
        {"a/m": b"1", "b/m": b"2"},
        {"a/m": b"1", "b/m": b"1"},
        {"a/m": b"1", "b/m/n": b"2"},
        {"a/m/n": b"1", "b/m": b"2"},
        {"a/m.tar": tar_of({"x": b"1"}), "b/m.tar": tar_of({"y": b"2"})},
        {"a/m.tar": tar_of({"x": b"1"}), "b/m/x": b"2"},
    ],
)
def test_names_that_collide_once_stripped_are_refused_before_anything_is_written(
    store: MemoryObjects, make: Make, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = hold(store, make, {"z/first": b"0", **files})
    monkeypatch.setattr(store, "put", None)  # what writes fails otherwise
    monkeypatch.setattr(store, "replace", None)
    with pytest.raises(ArchiveFailed, match=r"name-collision.*first 1 folders"):
        expand(store, archive, PREFIX, Rules(strip=1))


@both
def test_what_is_not_chosen_does_not_collide(store: MemoryObjects, make: Make) -> None:
    archive = hold(store, make, {"a/m": b"1", "b/m": b"2"})
    expand(store, archive, PREFIX, Rules(strip=1, members=("a/",)))
    assert store.content() == {"m": b"1"}


def test_looking_at_an_archive_shows_the_choice() -> None:
    found = inspect(FileSource(io.BytesIO(zip_of(FILES))), "x.zip", Rules(strip=1, members=("*.tif",)))
    assert [member.path for member in found.members] == ["deep/c.tif"]
    assert (found.refused, found.not_chosen) == (False, 3)

    none = inspect(FileSource(io.BytesIO(zip_of(FILES))), "x.zip", Rules(members=("*.nc",)))
    assert (none.refused, none.code) == (True, "no-such-member")
