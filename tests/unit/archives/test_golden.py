"""Archives in, files out: every folder of tests/golden is a case."""

import json
from pathlib import Path
from typing import Literal

import pytest

from shared.archives import ArchiveFailed, Rules, expand, manifest_for
from tests.unit.archives.conftest import PREFIX, MemoryObjects

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path for path in GOLDEN.iterdir() if path.is_dir() and path.name != "__pycache__")
EXPANDED = {"flat": "expected", "tree": "expected-tree"}
EXPECTATIONS = {*EXPANDED.values(), "expected.json"}
LARGEST = 20 * 1024


def archive_of(case: Path) -> Path:
    (archive,) = (path for path in case.iterdir() if path.name not in EXPECTATIONS)
    return archive


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", ["flat", "tree"])
@pytest.mark.parametrize("case", [case for case in CASES if (case / "expected").is_dir()], ids=lambda case: case.name)
def test_an_archive_becomes_exactly_the_expected_files(
    case: Path, layout: Literal["flat", "tree"], store: MemoryObjects
) -> None:
    archive = archive_of(case)
    held = store.hold(f"owner/item/{archive.name}", archive.read_bytes())

    expansion = expand(store, held, PREFIX, Rules(layout=layout))

    expected = files_below(case / EXPANDED[layout])
    assert store.content() == expected
    assert (expansion.members, expansion.size) == (len(expected), sum(map(len, expected.values())))
    assert store.get(held, LARGEST) == archive.read_bytes()


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case / "expected.json").is_file()], ids=lambda case: case.name
)
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
        *("zip-stored", "zip-deflate", "zip-bzip2", "zip-lzma", "zip64", "zip-data-descriptors"),
        *("tar", "tar-gz", "tgz-upper-case", "nested-tar-gz-in-zip", "top-directory"),
    ],
)
def test_every_format_has_a_case_in_both_layouts(needed: str) -> None:
    assert all((GOLDEN / needed / folder).is_dir() for folder in EXPANDED.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_one_small_archive_and_what_it_comes_to(case: Path) -> None:
    assert archive_of(case).stat().st_size < LARGEST
    assert (case / "expected").is_dir() != (case / "expected.json").is_file()
    assert (case / "expected").is_dir() == (case / "expected-tree").is_dir()
