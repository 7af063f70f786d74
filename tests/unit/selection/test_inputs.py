"""The inputs of a product: what its manifest names, wherever the manifest is, and nothing that is hostile in it."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Rejected
from shared.selection import NamesSelection, inputs_of
from shared.stac.item import Found
from shared.stac.search import Cql2
from tests.unit.selection.offering import offered

CAL = "S1A_AUX_CAL_V20190228T092500_G20210104T141310.SAFE"
PP1 = "S1A_AUX_PP1_V20190228T092500_G20220323T153041.SAFE"
ORBIT = "S1A_OPER_AUX_RESORB_OPOD_20250310T220905_V20250310T180852_20250310T212622.EOF"
SCENE = "S1A_IW_SLC__1SDV_20250310T204228_20250310T204255_058244_0732B5_1A2B.SAFE"
MANIFEST = f"""<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0">
 <metadataSection><metadataObject ID="processing"><metadataWrap><xmlData>
  <safe:processing name="SLC Post Processing">
   <safe:resource name="{SCENE}" role="Slice product">
    <safe:processing name="SLC Processing">
     <safe:resource name="./{PP1}" role="AUX_PP1"/>
     <safe:resource name="/data/aux/{CAL}/" role="AUX_CAL"/>
     <safe:resource name="D:\\aux\\{ORBIT}" role="AUX_RES"/>
     <safe:resource name="./{CAL}" role="AUX_CAL"/>
     <safe:resource name="../../etc/S1A_AUX_CAL" role="AUX_CAL"/>
     <safe:resource role="AUX_INS"/>
    </safe:processing>
   </safe:resource>
  </safe:processing>
 </xmlData></metadataWrap></metadataObject></metadataSection>
</xfdu:XFDU>"""


@pytest.fixture
def product(tmp_path: Path) -> Path:
    folder = tmp_path / SCENE
    folder.mkdir()
    (folder / "manifest.safe").write_text(MANIFEST)
    return folder


def test_the_inputs_are_the_files_that_the_manifest_names_each_once(product: Path) -> None:
    assert inputs_of(product) == (PP1, CAL, ORBIT)


def test_the_manifest_itself_and_a_zip_of_the_product_serve_as_well(product: Path, tmp_path: Path) -> None:
    packed = tmp_path / "product.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{SCENE}/preview/manifest.safe", "<other/>")
        archive.write(product / "manifest.safe", f"{SCENE}/manifest.safe")
    assert inputs_of(product / "manifest.safe") == inputs_of(packed) == inputs_of(product)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not well-formed"),
        ("<XFDU>", "not well-formed"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "declares a document type"),
        ("<x>" + "<a>" * 200 + "</a>" * 200 + "</x>", "levels"),
        ("<x>" + " " * (16 * 2**20) + "</x>", "more than 16777216 bytes"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "manifest.safe"
    file.write_text(content)
    with pytest.raises(Rejected, match=said) as refused:
        inputs_of(file)
    assert refused.value.code == "bad-product"


def test_a_folder_without_a_manifest_and_a_zip_without_one_are_refused(tmp_path: Path) -> None:
    packed = tmp_path / "x.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", "b")
    for path in (tmp_path, packed):
        with pytest.raises(Rejected, match="bad-product"):
            inputs_of(path)


# Files by their names


class _Station:
    def __init__(self, *ids: str) -> None:
        self.ids = ids
        self.asked: list[object] = []

    def __call__(self, search: Cql2) -> Iterator[Found]:
        wanted = search.filter["args"][1]  # type: ignore[index]
        self.asked.append(wanted)
        return (offered(each, "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z") for each in self.ids if each == wanted)


def test_files_are_found_by_their_names_without_extension_or_with_that_of_their_folder() -> None:
    bare = CAL.removesuffix(".SAFE")
    station = _Station(bare, PP1)
    found = list(NamesSelection(names=(CAL, f"{PP1}.zip")).choose(station))
    assert [one.item_id for one in found] == [bare, PP1]
    assert station.asked == [bare, PP1.removesuffix(".SAFE"), PP1]


def test_a_file_that_the_station_lacks_fails_by_its_name_and_the_others_do_not() -> None:
    found = list(NamesSelection(names=(ORBIT, CAL)).choose(_Station(CAL.removesuffix(".SAFE"))))
    assert [(one.item_id, one.code) for one in found] == [
        (ORBIT.removesuffix(".EOF"), "not-offered"),
        (CAL.removesuffix(".SAFE"), ""),
    ]


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 201])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names"):
        NamesSelection(names=(name,))
