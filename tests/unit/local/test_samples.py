import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local import samples
from local.samples import DEMO_END, DEMO_PRODUCT_TYPES, DEMO_START, Defect, Product

BASE_URL = "http://127.0.0.1:1/auxip"
ARCHIVES = (".zip", ".tgz")
DIGEST_OF_ALL = """
import hashlib
from local import samples
made = [*samples.catalogue(), *(samples.faulty(defect).product for defect in samples.Defect)]
print(hashlib.sha256(b"".join(each.name.encode() + each.build() for each in made)).hexdigest())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("products")


@pytest.fixture(scope="module")
def items(folder: Path) -> dict[str, Any]:
    return {str(item["id"]): item for item in samples.write_samples(folder, BASE_URL)}


def in_window() -> list[Product]:
    return [each for each in samples.catalogue() if each.covers(DEMO_START, DEMO_END)]


def content_of(folder: Path, href: str) -> bytes:
    return (folder / href.removeprefix(f"{BASE_URL}/Products(").removesuffix(")/$value")).read_bytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def digest_in_another_process(hash_seed: str) -> bytes:
    environ = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.check_output([sys.executable, "-c", DIGEST_OF_ALL], env=environ)  # noqa: S603


@pytest.mark.long
def test_every_process_makes_the_same_bytes() -> None:
    assert digest_in_another_process("1") == digest_in_another_process("2")


def test_there_are_thirty_products_or_more() -> None:
    assert len(samples.catalogue()) >= 30


def test_names_are_unique() -> None:
    names = [each.name for each in samples.catalogue()]
    assert len(names) == len(set(names))


def test_the_window_is_covered_by_twenty_four_items_or_more() -> None:
    assert len({each.item_id for each in in_window()}) >= 24


def test_eight_items_of_the_window_or_more_carry_archives() -> None:
    assert len({each.item_id for each in in_window() if each.name.lower().endswith(ARCHIVES)}) >= 8


def test_every_demo_product_type_has_a_product_that_covers_the_window() -> None:
    assert {each.product_type for each in in_window()} == set(DEMO_PRODUCT_TYPES)


def test_a_product_as_long_as_the_window_covers_it() -> None:
    product = samples.product(samples.AS_LONG_AS_WINDOW)
    assert (product.start, product.end) == (DEMO_START, DEMO_END)
    assert product in in_window()


@pytest.mark.parametrize("name", [samples.STARTS_WITHIN_WINDOW, samples.ENDS_WITHIN_WINDOW])
def test_a_product_that_misses_the_window_by_a_second_does_not_cover_it(name: str) -> None:
    assert samples.product(name) not in in_window()


def test_all_files_together_are_forty_to_sixty_megabytes(folder: Path, items: dict[str, Any]) -> None:
    assert items
    assert 40e6 <= sum(file.stat().st_size for file in folder.iterdir()) <= 60e6


def test_sizes_and_checksums_are_true(folder: Path, items: dict[str, Any]) -> None:
    for product in samples.catalogue():
        asset = items[product.item_id]["assets"][product.name]
        content = content_of(folder, asset["href"])
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == md5(content)


def test_an_item_has_no_geometry(items: dict[str, Any]) -> None:
    assert {item["geometry"] for item in items.values()} == {None}


def test_an_open_end_is_spelled_as_an_instant_that_can_be_parsed(items: dict[str, Any]) -> None:
    product = samples.product(samples.OPEN_ENDED)
    assert "99999999T999999" in product.name
    assert items[product.item_id]["properties"]["end_datetime"] == "9999-12-31T23:59:59Z"


def test_products_of_one_stem_share_an_item(items: dict[str, Any]) -> None:
    stem = samples.ORBIT_AND_ARCHIVE
    assert set(items[stem]["assets"]) == {f"{stem}.EOF", f"{stem}.zip"}


def test_one_item_has_two_archives(items: dict[str, Any]) -> None:
    stem = samples.TWO_ARCHIVES
    assert set(items[stem]["assets"]) == {f"{stem}.zip", f"{stem}.TGZ"}


def test_every_zip_is_sound() -> None:
    for product in samples.catalogue():
        if product.name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(product.build())) as archive:
                assert archive.testzip() is None


def test_a_sentinel_3_archive_holds_one_folder_with_a_manifest() -> None:
    for product in samples.catalogue():
        if product.name.endswith(".SEN3.zip"):
            with zipfile.ZipFile(io.BytesIO(product.build())) as archive:
                names = archive.namelist()
            assert {name.partition("/")[0] for name in names} == {product.item_id}
            assert f"{product.item_id}/xfdumanifest.xml" in names


def test_an_upper_case_archive_is_a_gzipped_tar() -> None:
    product = samples.product(samples.UPPER_CASE_ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(product.build()), mode="r:gz") as archive:
        assert archive.getnames() == [f"{product.item_id}.HDR", f"{product.item_id}.DBL"]


def test_a_nested_archive_holds_a_file_and_an_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(samples.product(samples.NESTED_ARCHIVE).build())) as archive:
        assert archive.namelist() == ["file.xml", "content.tar.gz"]
        with tarfile.open(fileobj=io.BytesIO(archive.read("content.tar.gz")), mode="r:gz") as nested:
            assert nested.getnames() == ["tables/look_up.bin", "tables/coefficients.bin"]


def test_only_zarr_stores_have_two_files_of_one_name() -> None:
    for product in samples.catalogue():
        if product.name.endswith(".zip") and not product.name.endswith(".zarr.zip"):
            with zipfile.ZipFile(io.BytesIO(product.build())) as archive:
                names = [name.rpartition("/")[2] for name in archive.namelist()]
            assert len(names) == len(set(names))


def test_faulty_samples_are_outside_the_demo() -> None:
    assert samples.FAULTY_PRODUCT_TYPE not in DEMO_PRODUCT_TYPES


def test_every_faulty_sample_is_offered(items: dict[str, Any]) -> None:
    faulty = {samples.faulty(defect).item_id for defect in Defect}
    assert len(faulty) == len(Defect)
    assert faulty <= set(items)


def test_a_truncated_gzip_cannot_be_read_to_its_end() -> None:
    with pytest.raises(EOFError):
        gzip.decompress(samples.faulty(Defect.TRUNCATED_GZIP).product.build())


def test_a_zip_with_a_bad_crc_names_the_damaged_member() -> None:
    with zipfile.ZipFile(io.BytesIO(samples.faulty(Defect.BAD_CRC).product.build())) as archive:
        assert archive.testzip() == "damaged.nc"


def test_a_zip_with_path_traversal_has_a_member_outside() -> None:
    with zipfile.ZipFile(io.BytesIO(samples.faulty(Defect.PATH_TRAVERSAL).product.build())) as archive:
        assert "../../evil" in archive.namelist()


def test_an_item_may_have_no_assets(items: dict[str, Any]) -> None:
    assert items[samples.faulty(Defect.NO_ASSETS).item_id]["assets"] == {}


def test_an_asset_name_may_leave_its_folder(items: dict[str, Any]) -> None:
    sample = samples.faulty(Defect.UNSAFE_ASSET_NAME)
    assert list(items[sample.item_id]["assets"]) == [f"../../{sample.product.name}"]


def test_a_wrong_checksum_is_not_that_of_the_file(folder: Path, items: dict[str, Any]) -> None:
    sample = samples.faulty(Defect.WRONG_CHECKSUM)
    asset = items[sample.item_id]["assets"][sample.product.name]
    assert md5(content_of(folder, asset["href"])) != asset["file:checksum"]


def test_a_wrong_size_is_not_that_of_the_file(folder: Path, items: dict[str, Any]) -> None:
    sample = samples.faulty(Defect.WRONG_SIZE)
    asset = items[sample.item_id]["assets"][sample.product.name]
    assert len(content_of(folder, asset["href"])) == asset["file:size"] - 1


def test_the_file_behind_a_dead_link_is_absent(folder: Path) -> None:
    assert not (folder / str(samples.faulty(Defect.NOT_FOUND).product.uuid)).exists()
