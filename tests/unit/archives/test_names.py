import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archives import expanded_name, is_archive, manifest_for, prefix_beside, prefix_for
from shared.errors import UnsupportedArchive
from shared.storage.location import Location


@pytest.mark.parametrize("name", ["a.zip", "a.ZIP", "a.tar", "a.tgz", "Y.TGZ", "a.tar.gz", "a.Tar.GZ", "p/q/a.zip"])
def test_a_name_of_an_archive_is_known_in_any_letter_case(name: str) -> None:
    assert is_archive(name)


@pytest.mark.parametrize("name", ["a.gz", "a.EOF", "zip", ".zip", "a/.tgz", "a.zip.xml", "a.tar.bz2", ""])
def test_other_names_are_no_archives(name: str) -> None:
    assert not is_archive(name)


@pytest.mark.parametrize("name", ["a.EOF", "a.gz", ".zip"])
def test_the_expanded_name_of_no_archive_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedArchive, match="Unsupported archive type"):
        expanded_name(name)


@pytest.mark.parametrize(
    ("name", "expanded"),
    [("X.SEN3.zip", "X.SEN3"), ("x.tar.gz", "x"), ("Y.TGZ", "Y"), ("x.tar", "x"), ("z.tar.tgz", "z.tar")],
)
def test_the_expanded_name_is_the_name_without_its_suffix(name: str, expanded: str) -> None:
    assert expanded_name(name) == expanded
    assert expanded_name(name, [name, "other.xml", "other.zip"]) == expanded


def test_an_archive_whose_stem_is_a_sibling_keeps_its_suffix() -> None:
    assert expanded_name("a.zip", ["a", "a.zip"]) == "a_zip"


def test_archives_with_one_stem_all_keep_their_suffixes() -> None:
    siblings = ["a.zip", "a.tar.gz", "a.TGZ"]

    assert [expanded_name(name, siblings) for name in siblings] == ["a_zip", "a_tar_gz", "a_TGZ"]


def test_a_spelling_that_is_taken_is_made_longer() -> None:
    assert expanded_name("a.zip", ["a", "a_zip"]) == "a_zip_"


@given(
    st.sets(st.from_regex(r"(a|b|a_zip|a_tar_gz|a\.zip)(\.zip|\.ZIP|\.tar|\.tar\.gz|\.tgz|\.xml|)_?", fullmatch=True))
)
def test_no_two_siblings_come_to_one_name_whatever_their_order(names: set[str]) -> None:
    archives = sorted(filter(is_archive, names))

    expanded = [expanded_name(name, names) for name in archives]

    assert len({*expanded, *names}) == len(expanded) + len(names)
    for order in itertools.islice(itertools.permutations(names), 10):
        assert [expanded_name(name, list(order)) for name in archives] == expanded


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("path/some_adfs.zip", "path/some_adfs/"),
        ("path/x.tgz/x.tgz", "path/x/"),
        ("x.tgz/x.tgz", "x/"),
        ("x.tar.gz", "x/"),
        ("path/X.SEN3/X.SEN3.zip", "path/X.SEN3/X.SEN3/"),
    ],
)
def test_the_prefix_stands_where_the_archive_does(key: str, prefix: str) -> None:
    assert prefix_for(Location("b", key)) == Location("b", prefix)


def test_the_prefix_keeps_clear_of_the_siblings() -> None:
    assert prefix_for(Location("b", "p/a.zip"), ["a", "a.zip"]) == Location("b", "p/a_zip/")


def test_the_manifest_stands_beside_the_prefix() -> None:
    assert manifest_for(Location("b", "p/x/")) == Location("b", "p/x.manifest.json")


@pytest.mark.parametrize(
    ("key", "prefix"), [("o/c/x/a.zip", "o/c/x/a/"), ("o/c/x.tgz/x.tgz", "o/c/x.tgz/x/"), ("a.zip", "a/")]
)
def test_content_beside_its_archive_stays_in_the_folder_of_the_archive(key: str, prefix: str) -> None:
    assert prefix_beside(Location("b", key)) == Location("b", prefix)
