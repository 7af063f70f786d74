"""Any tree of files comes out of an archive as it went in."""

import string
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from shared.archives import ArchiveFailed, Rules, expand
from shared.archives.paths import safe_path
from shared.settings import Settings
from tests.golden.make import deflate64_zip, gzipped, tar_of, tgz_of, zip_of
from tests.unit.archives.conftest import PREFIX, MemoryObjects

SEGMENT = st.text(string.ascii_letters + "äß日%#+ -_", min_size=1, max_size=12)
TREES = st.recursive(
    st.binary(max_size=2000), lambda inner: st.dictionaries(SEGMENT, inner, min_size=1, max_size=4), max_leaves=12
).filter(lambda tree: isinstance(tree, dict) and len(tree) > 1)


def flattened(tree: object, path: str = "") -> dict[str, bytes]:
    if isinstance(tree, bytes):
        return {path: tree}
    assert isinstance(tree, dict)
    found: dict[str, bytes] = {}
    for name, inner in tree.items():
        found |= flattened(inner, f"{path}/{name}" if path else name)
    return found


@pytest.mark.parametrize(("suffix", "make"), [("zip", zip_of), ("tar", tar_of), ("TGZ", tgz_of)])
@given(tree=TREES)
@limits(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tree_comes_out_as_it_went_in(
    suffix: str, make: Callable[[dict[str, bytes]], bytes], tree: object, settings: Settings
) -> None:
    files = flattened(tree)
    store = MemoryObjects(settings)
    archive = store.hold(f"owner/item/x.{suffix}", make(files))

    expand(store, archive, PREFIX, Rules(layout="tree"))

    assert store.content() == files


def prefixed(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": content for path, content in files.items()}


@given(tree=TREES, makes=st.lists(st.sampled_from([("zip", zip_of), ("tar", tar_of), ("tgz", tgz_of)]), max_size=4))
@limits(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tree_comes_out_of_archives_within_archives(
    tree: object, makes: list[tuple[str, Callable[[dict[str, bytes]], bytes]]], settings: Settings
) -> None:
    files = flattened(tree)
    content = zip_of(files)
    suffix = "zip"
    for level, (outer, make) in enumerate(makes):
        files = prefixed(f"in {level}/nested", files) | {f"beside {level}": b"x"}
        content, suffix = make({f"in {level}/nested.{suffix}": content, f"beside {level}": b"x"}), outer
    store = MemoryObjects(settings)
    archive = store.hold(f"owner/item/x.{suffix}", content)

    expand(store, archive, PREFIX, Rules(layout="tree"))

    assert store.content() == files


@given(tree=TREES)
@limits(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tree_comes_out_of_a_deflate64_zip(tree: object, settings: Settings) -> None:
    files = flattened(tree)
    store = MemoryObjects(settings)
    archive = store.hold("owner/item/x.zip", deflate64_zip(files))

    expand(store, archive, PREFIX, Rules(layout="tree"))

    assert store.content() == files


@pytest.mark.parametrize(("suffix", "make"), [("zip", zip_of), ("tar.gz", tgz_of)])
@given(data=st.data())
@limits(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_refused_or_changes_nothing(
    suffix: str, make: Callable[[dict[str, bytes]], bytes], data: st.DataObject, settings: Settings
) -> None:
    files = {"a.xml": b"<a/>" * 50, "b.dat": bytes(range(256))}
    sound = make(files)
    at = data.draw(st.integers(0, len(sound) - 1))
    store = MemoryObjects(settings)
    archive = store.hold(f"owner/item/x.{suffix}", sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :])

    try:
        expand(store, archive, PREFIX, Rules())
    except ArchiveFailed:
        assert store.content() == {}
    else:
        assert store.content() == files


@given(cut=st.integers(1, 5000))
@limits(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_off_archive_is_never_taken_for_a_whole_one(cut: int, settings: Settings) -> None:
    store = MemoryObjects(settings)
    sound = gzipped(tar_of({"a": bytes(range(256)) * 30, "b": b"b"}))
    archive = store.hold("owner/item/x.tgz", sound[: -min(cut, len(sound))])

    with pytest.raises(ArchiveFailed):
        expand(store, archive, PREFIX, Rules())


@given(st.text(max_size=30))
def test_a_safe_path_leads_nowhere_else(raw: str) -> None:
    try:
        path = safe_path(raw)
    except ArchiveFailed:
        return
    assert not {"", ".", ".."} & set(path.split("/")) or path == ""
    assert "\\" not in path
