"""Archives in, files out: every folder of tests/golden is a case."""

import json
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from shared.archives import ArchiveFailed, FileSource, Kind, Rules, expand, inspect, load_manifest, manifest_for
from shared.archives.zips import METHODS
from tests.golden.cases import (
    ACCEPTED,
    CASES,
    EXPANDED,
    GOLDEN,
    LEAVING_OUT,
    REFUSED,
    archive_of,
    files_below,
    rules_of,
)
from tests.unit.archives.conftest import PREFIX, MemoryObjects

LARGEST = 20 * 1024


@pytest.mark.parametrize("layout", ["flat", "tree"])
@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_an_archive_becomes_exactly_the_expected_files(
    case: Path, layout: Literal["flat", "tree"], store: MemoryObjects
) -> None:
    archive = archive_of(case)
    held = store.hold(f"owner/item/{archive.name}", archive.read_bytes())

    expansion = expand(store, held, PREFIX, rules_of(case, layout))

    expected = files_below(case / EXPANDED[layout])
    assert store.content() == expected
    assert (expansion.members, expansion.size) == (len(expected), sum(map(len, expected.values())))
    assert store.get(held, LARGEST) == archive.read_bytes()


@pytest.mark.parametrize("layout", ["flat", "tree"])
@pytest.mark.parametrize("case", LEAVING_OUT, ids=lambda case: case.name)
def test_the_manifest_lists_each_member_that_was_left_out(
    case: Path, layout: Literal["flat", "tree"], store: MemoryObjects
) -> None:
    archive = archive_of(case)
    held = store.hold(f"owner/item/{archive.name}", archive.read_bytes())

    expansion = expand(store, held, PREFIX, rules_of(case, layout))

    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    left_out = [[problem.kind.value, problem.path] for problem in manifest.left_out]
    assert left_out == json.loads((case / "left-out.json").read_text())
    assert expansion.left_out == len(left_out)
    assert left_out[0][1] in expansion.note


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_inspection_says_what_an_expansion_would_do(case: Path) -> None:
    archive = archive_of(case)
    refusal = json.loads((case / "expected.json").read_text()) if (case / "expected.json").is_file() else None
    rules = rules_of(case, "flat") if refusal is None else Rules(**refusal.get("rules", {}))

    with archive.open("rb") as file:
        inspection = inspect(FileSource(file), archive.name, rules)

    if refusal is None:
        expected = files_below(case / "expected")
        assert {member.path: member.size for member in inspection.members} == {
            path: len(content) for path, content in expected.items()
        }
        assert not inspection.refused
    else:
        assert inspection.refused
        assert set(refusal["problems"]) <= {problem.kind.value for problem in inspection.problems}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_refused_archive_leaves_nothing_but_itself(case: Path, store: MemoryObjects) -> None:
    expected = json.loads((case / "expected.json").read_text())
    archive = archive_of(case)
    held = store.hold(f"owner/item/{archive.name}", archive.read_bytes())

    with pytest.raises(ArchiveFailed) as refused:
        expand(store, held, PREFIX, Rules(**expected.get("rules", {})))

    assert (refused.value.code, [problem.kind.value for problem in refused.value.problems]) == (
        expected["code"],
        expected["problems"],
    )
    assert held.href in refused.value.reason
    assert store.content() == {}
    assert store.head(manifest_for(PREFIX)) is None
    assert store.get(held, LARGEST) == archive.read_bytes()


@pytest.mark.parametrize(
    "needed",
    [
        *("zip-stored", "zip-deflate", "zip-deflate64", "zip-bzip2", "zip-lzma", "zip64", "zip-data-descriptors"),
        *("tar", "tar-gz", "tgz-upper-case", "nested-tar-gz-in-zip", "nested-zip", "nested-zip-in-zip"),
        *("nested-three-deep", "nested-zip-kept", "top-directory", "equal-files"),
    ],
)
def test_every_format_has_a_case_in_both_layouts(needed: str) -> None:
    assert all((GOLDEN / needed / folder).is_dir() for folder in EXPANDED.values())


def test_every_method_of_a_zip_that_is_read_has_a_case() -> None:
    found = set()
    for case in CASES:
        if (case / "expected").is_dir() and zipfile.is_zipfile(archive_of(case)):
            with zipfile.ZipFile(archive_of(case)) as archive:
                found |= {info.compress_type for info in archive.infolist()}
    assert set(METHODS) <= found


def test_every_kind_of_problem_has_a_case() -> None:
    refusals = [json.loads(path.read_text())["problems"] for path in GOLDEN.glob("*/expected.json")]
    left_out = [kind for path in GOLDEN.glob("*/left-out.json") for kind, _ in json.loads(path.read_text())]
    let_pass = {"merged", "nested-zip", "apple-double"}  # equal-files, nested-zip-kept, apple-double
    let_pass.add("stripped")  # test_choice.py
    by_size = {"ratio"}  # a bomb is no small file: test_a_bomb_is_stopped_while_it_goes_off
    assert {kind for kinds in refusals for kind in kinds} | set(left_out) == {*Kind} - let_pass - by_size


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_one_small_archive_and_what_it_comes_to(case: Path) -> None:
    assert archive_of(case).stat().st_size < LARGEST
    assert (case / "expected").is_dir() != (case / "expected.json").is_file()
    assert (case / "expected").is_dir() == (case / "expected-tree").is_dir()
