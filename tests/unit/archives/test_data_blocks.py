"""A .DBL is mostly no archive: it is expanded on request, and its content says whether it is one."""

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.archives import (
    ArchiveFailed,
    Rules,
    expand,
    expanded_name,
    is_archive,
    is_data_block,
    load_manifest,
    prefix_for,
)
from shared.storage.location import Location
from tests.golden.make import DATA, XML, tar_of, tgz_of, zip_of
from tests.unit.archives.conftest import BUCKET, PREFIX, MemoryObjects

FILES = {"a.xml": XML, "b.dat": DATA}
ON_REQUEST = Rules(dbl=True)
NO_ARCHIVES = [
    b"",
    b"GRIB" + bytes(1000),
    bytes(10_000),
    XML * 100,
    gzip.compress(b"GRIB" + bytes(1000), mtime=0),
    gzip.compress(b"", mtime=0),
    b"\x1f\x8b" + DATA,
    zip_of(FILES),
]
Make = Callable[[dict[str, bytes]], bytes]
made = pytest.mark.parametrize("make", [tar_of, tgz_of], ids=["tar", "tgz"])


def hold(store: MemoryObjects, data: bytes, name: str = "product.DBL") -> Location:
    return store.hold(f"owner/item/{name}", data)


@pytest.mark.parametrize("name", ["X.DBL", "p/X.dbl"])
def test_its_name_says_that_it_may_be_an_archive_and_not_that_it_is(name: str) -> None:
    assert is_data_block(name)
    assert not is_archive(name)
    assert not is_data_block("X.HDR")
    assert not is_data_block(".DBL")


def test_its_content_goes_beside_it_and_the_names_of_others_stay() -> None:
    assert expanded_name("X.DBL", ["X.DBL", "X.HDR"]) == "X"
    assert expanded_name("X.zip", ["X.DBL", "X.zip"]) == "X"
    assert expanded_name("X.DBL", ["X.DBL", "X.zip"]) == "X_DBL"
    assert prefix_for(Location(BUCKET, "p/X.DBL")).key == "p/X/"


@made
@pytest.mark.parametrize("layout", ["flat", "tree"])
def test_a_data_block_that_is_an_archive_is_expanded(store: MemoryObjects, make: Make, layout: str) -> None:
    rules = Rules(layout=layout)  # type: ignore[arg-type]
    expansion = expand(store, hold(store, make(FILES)), PREFIX, rules)

    assert store.content() == FILES
    assert expansion.left_out == 0
    manifest = load_manifest(store, PREFIX)
    assert manifest is not None
    assert manifest.problems == ()


@pytest.mark.parametrize("data", NO_ARCHIVES)
def test_a_data_block_that_is_no_archive_is_refused_and_nothing_is_written(store: MemoryObjects, data: bytes) -> None:
    with pytest.raises(ArchiveFailed, match="archive-type-mismatch") as refused:
        expand(store, hold(store, data), PREFIX, Rules())

    assert refused.value.is_of_another_type
    assert store.content() == {}


@made
@pytest.mark.parametrize("around", [zip_of, tgz_of], ids=["in zip", "in tgz"])
def test_one_within_an_archive_is_expanded_only_on_request(store: MemoryObjects, make: Make, around: Make) -> None:
    suffix = "zip" if around is zip_of else "tgz"
    archive = hold(store, around({"x.HDR": XML, "x.DBL": make(FILES)}), f"product.{suffix}")
    rules = Rules(layout="tree")

    expand(store, archive, PREFIX, rules)
    assert set(store.content()) == {"x.HDR", "x.DBL"}
    assert expand(store, archive, PREFIX, rules).reused
    assert not expand(store, archive, PREFIX, replace(rules, dbl=True)).reused
    assert set(store.content()) == {"x.HDR", "x/a.xml", "x/b.dat"}
    assert expand(store, archive, PREFIX, rules).reused


@pytest.mark.parametrize("data", NO_ARCHIVES)
@pytest.mark.parametrize("around", [zip_of, tgz_of], ids=["in zip", "in tgz"])
def test_one_within_an_archive_that_is_no_archive_stays_a_file(store: MemoryObjects, data: bytes, around: Make) -> None:
    suffix = "zip" if around is zip_of else "tgz"
    archive = hold(store, around({"x.HDR": XML, "x.DBL": data}), f"product.{suffix}")
    expand(store, archive, PREFIX, ON_REQUEST)
    assert store.content() == {"x.HDR": XML, "x.DBL": data}


def test_one_that_is_a_file_is_chosen_as_a_file(store: MemoryObjects) -> None:
    archive = hold(store, zip_of({"x.HDR": XML, "x.DBL": DATA}), "product.zip")
    expand(store, archive, PREFIX, Rules(dbl=True, members=("*.HDR",)))
    assert store.content() == {"x.HDR": XML}
    expand(store, archive, PREFIX, Rules(dbl=True, members=("*.DBL",)))
    assert store.content() == {"x.HDR": XML, "x.DBL": DATA}


def test_one_that_is_damaged_is_refused_as_an_archive(store: MemoryObjects) -> None:
    with pytest.raises(ArchiveFailed, match="archive-damaged") as refused:
        expand(store, hold(store, tgz_of(FILES)[:-6]), PREFIX, Rules())
    assert not refused.value.is_of_another_type
