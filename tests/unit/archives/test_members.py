"""Patterns of members: what they match, what is no pattern, and that none takes long."""

import time

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.archives.members import Members, Selection
from shared.archives.rules import ArchiveFailed

MEMBERS = TypeAdapter[tuple[str, ...]](Members)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.xml", "a.xml"),
        ("*.xml", "folder/deep/a.xml"),
        ("*.xml", "outer.tar/a.xml"),
        ("a.xml", "folder/a.xml"),
        ("**", "folder/a.xml"),
        ("folder/*", "folder/a.xml"),
        ("folder/", "folder/deep/a.xml"),
        ("folder/**", "folder/deep/a.xml"),
        ("**/a.xml", "a.xml"),
        ("**/a.xml", "x/y/a.xml"),
        ("x/**/a.xml", "x/a.xml"),
        ("x/**/a.xml", "x/y/z/a.xml"),
        ("**/y/**/a.xml", "x/y/z/y/q/a.xml"),
        ("x/?[0-9].xml", "x/a1.xml"),
        ("x/[!b]*", "x/a1.xml"),
        ("x/[", "x/["),
        ("outer.tar/*.xml", "outer.tar/a.xml"),
        ("\u00e9*", "\u00e9t\u00e9"),
    ],
)
def test_a_pattern_matches(pattern: str, path: str) -> None:
    assert Selection(MEMBERS.validate_python((pattern,))).matches(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.xml", "a.XML"),
        ("*.xml", "a.xml.gz"),
        ("*.xml", "a.xml\n"),
        ("folder/*", "folder/deep/a.xml"),
        ("folder/*", "other/folder/a.xml"),
        ("folder/", "folders/a.xml"),
        ("x/**/a.xml", "x/y/b.xml"),
        ("**/y/**/a.xml", "x/z/a.xml"),
        ("x/a.xml", "x/y/a.xml"),
        ("a*b", "a/b"),
        ("**/a", "b/" * 1100 + "a"),
    ],
)
def test_a_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not Selection(MEMBERS.validate_python((pattern,))).matches(path)


@pytest.mark.parametrize(
    "patterns",
    [
        (),
        ("",),
        ("/",),
        ("/etc/passwd",),
        ("a//b",),
        ("../a",),
        ("a/./b",),
        ("a\\b",),
        ("a\0",),
        ("a\n",),
        ("a" * 513,),
        ("**/" * 65 + "a",),
        ("a",) * 101,
        (7,),
    ],
)
def test_what_is_no_pattern_is_refused(patterns: tuple[object, ...]) -> None:
    with pytest.raises(ValidationError):
        MEMBERS.validate_python(patterns)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 250 + "b", "a" * 255),
        ("**/" * 63 + "b", "a/" * 1000 + "c"),
        ("**/a/" * 31 + "b", "a/" * 1000 + "c"),
        ("**/*a*a*a*a/" * 31 + "b", ("a" * 200 + "/") * 100 + "c"),
        ("[a-z]*" * 80, "a" * 255 + "1"),
    ],
)
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    begun = time.process_time()
    Selection(MEMBERS.validate_python((pattern,) * 100)).matches(path)
    assert time.process_time() - begun < 5


def test_every_file_is_taken_without_patterns() -> None:
    everything = Selection(None)
    assert everything.matches("any")
    everything.require_match()


def test_patterns_that_have_matched_nothing_are_known() -> None:
    some = Selection(("*.xml", "*.tif"))
    assert some.matches("a.xml")
    some.require_match()
    assert some.unmatched == ["*.tif"]


def test_patterns_that_match_no_file_are_an_error_that_names_some_files() -> None:
    none = Selection(("*.tif",), earlier=("*.xml",))
    assert none.matches("a.xml")
    for name in "bcdefgh":
        assert not none.matches(name)
        none.leave(name)
    with pytest.raises(ArchiveFailed, match=r"no-such-member.*'\*\.tif'.*it has b, c, d, e, f, 2 more"):
        none.require_match()
